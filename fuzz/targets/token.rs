//! Any claims, really signed, and any text as a token: what is accepted, every reader reads alike.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claimgate::clock::NumericDate;
use claimgate::jose::{AlgorithmSet, CompactJws, JwkSet, VerificationKey};
use claimgate::token::claims::Expectations;
use claimgate::token::claims_headers::{ClaimHeader, ClaimsFormat, Settings};
use http::HeaderName;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static KEY: LazyLock<VerificationKey> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(PAIR.public_key());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
    JwkSet::parse(set.as_bytes(), AlgorithmSet::ALL).unwrap().usable.remove(0)
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(jws) = CompactJws::parse(text)
    {
        assert!(KEY.verify(&jws).is_err(), "nobody signed it");
    }
    read_signed(br#"{"alg":"EdDSA"}"#, data);
    read_signed(data, br#"{"iss":"i","exp":4102444800}"#);
});

fn read_signed(header: &[u8], payload: &[u8]) {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(PAIR.sign(message.as_bytes())));
    let Ok(jws) = CompactJws::parse(&token) else { return };
    let header: Value = serde_json::from_slice(header).expect("another reader reads the header");
    assert!(matches!(header["alg"].as_str(), Some(alg) if alg == jws.header().alg().name()));
    assert!(["crit", "b64", "zip", "enc"].iter().all(|name| header.get(name).is_none()));
    let Ok(claims) = KEY.verify(&jws) else { return };
    assert_eq!(claims.raw(), payload);
    let object: Value = serde_json::from_slice(payload).expect("another reader reads the claims");
    assert_eq!(object["iss"].as_str(), claims.issuer().value());

    let expectations = Expectations {
        audiences: vec!["a".to_owned()],
        leeway: Duration::from_secs(30),
        max_lifetime: None,
    };
    let now = NumericDate::from_seconds(1.9e9).unwrap();
    if let Ok(validity) = expectations.check(&claims, "i", now) {
        assert_eq!(object["iss"], "i");
        assert!(object["exp"].as_f64().unwrap() > 1.9e9 - 31.0);
        assert!(object["aud"] == "a" || object["aud"].as_array().is_some_and(|all| all.iter().any(|one| one == "a")));
        assert!(!object["events"].is_object());
        assert!(expectations.check_time(&validity, now).is_ok());
    }
    for format in [ClaimsFormat::Base64Url, ClaimsFormat::Json] {
        let settings = Settings {
            header: HeaderName::from_static("x-jwt-claims"),
            format,
            claim_headers: vec![ClaimHeader { claim: "c".to_owned(), header: HeaderName::from_static("x-c") }],
            max_size: 8192,
        };
        let Ok(headers) = settings.encode(&claims) else { continue };
        for (_, value) in &headers {
            assert!(value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')));
        }
        if format == ClaimsFormat::Json {
            assert_eq!(serde_json::from_slice::<Value>(headers[0].1.as_bytes()).unwrap(), object);
        }
    }
}
