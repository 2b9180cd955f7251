//! Who signed (RFC 7515, RFC 7518, RFC 8725).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::issuer::Discovery;
use crate::support::key::{self, ALGORITHMS, base64url};
use crate::support::token::compact;
use crate::support::{House, Issuer, Key, Token};

/// One key per algorithm, beside the issuer's own.
async fn house_of_all_algorithms() -> (House, Vec<Key>) {
    let issuer = Issuer::start();
    let keys: Vec<_> = ALGORITHMS.iter().map(|alg| Key::new(alg, &format!("key of {alg}"))).collect();
    for key in &keys {
        issuer.add(key);
    }
    (House::with_issuer(issuer, &[]).await, keys)
}

#[tokio::test]
async fn each_algorithm_passes_and_with_one_flipped_bit_does_not() {
    let (house, keys) = house_of_all_algorithms().await;
    for key in &keys {
        let token = house.issuer.token_by(key).sign();
        assert_eq!(house.verdict(&token).await, "passed", "{}", key.alg);
        for flipped in flipped_signatures(&token) {
            assert_eq!(house.verdict(&flipped).await, "invalid_signature", "{}", key.alg);
        }
    }
}

#[tokio::test]
async fn a_changed_payload_or_header_does_not_pass_under_the_old_signature() {
    let (house, keys) = house_of_all_algorithms().await;
    for key in &keys {
        let token = house.issuer.token_by(key);
        let signed = token.sign();
        let [header, payload, signature] = parts(&signed);
        let promoted = base64url(token.clone().claim("sub", "admin").payload());
        assert_eq!(
            house.verdict(&format!("{header}.{promoted}.{signature}")).await,
            "invalid_signature",
            "{}",
            key.alg
        );
        let renamed = base64url(token.clone().header("x", 1).jose_header());
        assert_eq!(
            house.verdict(&format!("{renamed}.{payload}.{signature}")).await,
            "invalid_signature",
            "{}",
            key.alg
        );
    }
}

#[tokio::test]
async fn a_key_of_the_same_name_that_somebody_else_made_is_refused() {
    let (house, keys) = house_of_all_algorithms().await;
    let fetches = house.issuer.key_fetches();
    for key in &keys {
        let token = house.issuer.token_by(key).signed_by(&key.forged()).sign();
        assert_eq!(house.verdict(&token).await, "invalid_signature", "{}", key.alg);
    }
    assert_eq!(house.issuer.key_fetches(), fetches, "a known kid never causes a fetch");
}

#[tokio::test]
async fn alg_none_is_refused_in_any_spelling_and_with_any_signature() {
    let house = House::start(&[]).await;
    for none in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let token = house.issuer.token().header("alg", none);
        let unsigned = compact(token.jose_header(), token.payload(), |_| Vec::new());
        assert_eq!(house.verdict(&unsigned).await, "algorithm_not_allowed", "{none:?} unsigned");
        assert_eq!(house.verdict(&token.sign()).await, "algorithm_not_allowed", "{none:?} signed");
        let nameless = token.without_header("kid");
        let unsigned = compact(nameless.jose_header(), nameless.payload(), |_| Vec::new());
        assert_eq!(house.verdict(&unsigned).await, "algorithm_not_allowed", "{none:?} without kid");
    }
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let (house, keys) = house_of_all_algorithms().await;
    for key in &keys {
        let token = house.issuer.token_by(key).header("alg", "HS256");
        for secret in [key.public_bytes().to_vec(), key.jwk().to_string().into_bytes()] {
            let forged = compact(token.jose_header(), token.payload(), |input| key::hs256(&secret, input));
            assert_eq!(house.verdict(&forged).await, "algorithm_not_allowed", "{}", key.alg);
        }
    }
}

#[tokio::test]
async fn a_symmetric_key_in_the_set_is_no_key_at_all() {
    let issuer = Issuer::start();
    issuer.publish(json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": base64url("secret")}));
    let house = House::with_issuer(issuer, &[]).await;
    let token = house.issuer.token().header("alg", "HS256").header("kid", "shared");
    let signed = compact(token.jose_header(), token.payload(), |input| key::hs256(b"secret", input));
    assert_eq!(house.verdict(&signed).await, "algorithm_not_allowed");
}

#[tokio::test]
async fn a_key_in_the_token_is_never_used_and_never_fetched() {
    let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
    let attacker = Issuer::start_with(Discovery::JwksOnly, "");
    let own = Key::new("ES256", "key-0");
    attacker.add(&own);
    let url = attacker.jwks_url();
    let members = [("jwk", own.jwk()), ("jku", json!(url)), ("x5u", json!(url)), ("x5c", json!(["MIIB"]))];
    for (name, value) in members {
        let token = house.issuer.token().header(name, value).signed_by(&own);
        assert_eq!(house.verdict(&token.sign()).await, "invalid_signature", "{name} under a known kid");
        let nameless = token.without_header("kid").sign();
        assert_eq!(house.verdict(&nameless).await, "unknown_key", "{name} without kid");
    }
    let both = house.issuer.token().header("jwk", own.jwk()).header("jku", url.clone());
    assert_eq!(house.verdict(&both.sign()).await, "passed", "what is never used does no harm");
    assert_eq!(attacker.key_fetches(), 0);
}

#[tokio::test]
async fn an_es256_signature_of_zeros_or_in_der_is_refused() {
    let house = House::start(&[]).await;
    let token = house.issuer.token();
    let signed_with = |signature: &dyn Fn(&[u8]) -> Vec<u8>| compact(token.jose_header(), token.payload(), signature);
    let cases = [
        ("zeros", signed_with(&|_| vec![0; 64])),
        ("DER", signed_with(&|input| token.key.sign_in_der(input))),
        ("empty", signed_with(&|_| Vec::new())),
        ("half", signed_with(&|input| token.key.sign(input)[..32].to_vec())),
        ("one byte more", signed_with(&|input| [token.key.sign(input), vec![0]].concat())),
        ("r and s of the order", signed_with(&|_| P256_ORDER.repeat(2))),
    ];
    for (name, forged) in cases {
        assert_eq!(house.verdict(&forged).await, "invalid_signature", "{name}");
    }
}

/// FIPS 186-5: n of P-256.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[tokio::test]
async fn the_key_decides_the_algorithm_and_the_header_has_to_agree() {
    let (house, keys) = house_of_all_algorithms().await;
    let rsa = keys.iter().find(|key| key.alg == "RS256").unwrap();
    for alg in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let token = house.issuer.token_by(&rsa.with_alg(alg)).sign();
        assert_eq!(house.verdict(&token).await, "algorithm_not_allowed", "an RS256 key and {alg}");
    }
    for alg in ["ES256", "ES384", "EdDSA", "HS256", "RS1", "rs256", "ES256K"] {
        let token = house.issuer.token_by(rsa).header("alg", alg).sign();
        assert_eq!(house.verdict(&token).await, "algorithm_not_allowed", "an RS256 key and {alg}");
    }
}

#[tokio::test]
async fn only_the_allowed_algorithms_are_accepted() {
    let issuer = Issuer::start();
    let rsa = Key::new("RS256", "rsa");
    issuer.add(&rsa);
    let house = House::with_issuer(issuer, &["--allowed-alg", "ES256", "--allowed-alg", "EdDSA"]).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    assert_eq!(house.verdict(&house.issuer.token_by(&rsa).sign()).await, "algorithm_not_allowed");
}

#[tokio::test]
async fn a_trusted_key_speaks_for_its_own_issuer_only() {
    let (one, other) = (Issuer::start(), Issuer::start());
    let urls = [one.url(), other.url()];
    // Both have a key of this name.
    let (own, foreign) = (one.key(), other.key());
    assert_eq!(own.kid, foreign.kid);
    let house = House::with_issuer(one, &["--issuer", &urls[0], "--issuer", &urls[1]]).await;
    for (iss, key, expected) in [
        (&urls[0], &own, "passed"),
        (&urls[1], &foreign, "passed"),
        (&urls[0], &foreign, "invalid_signature"),
        (&urls[1], &own, "invalid_signature"),
    ] {
        assert_eq!(house.verdict(&Token::new(iss, key).sign()).await, expected);
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_configured_is_refused_whoever_signed() {
    let house = House::start(&[]).await;
    let url = house.issuer.url();
    let stranger = Issuer::start();
    assert_eq!(house.verdict(&stranger.token().sign()).await, "untrusted_issuer");
    assert_eq!(stranger.hits("/.well-known/openid-configuration"), 0, "an unverified iss never builds a URL");
    for iss in [json!(format!("{url}/")), json!(url.to_uppercase()), json!([url]), json!(1), json!(null), json!("")] {
        let token = house.issuer.token().claim("iss", iss.clone()).sign();
        assert_eq!(house.verdict(&token).await, "untrusted_issuer", "{iss}");
    }
    assert_eq!(house.verdict(&house.issuer.token().without("iss").sign()).await, "untrusted_issuer");
}

#[tokio::test]
async fn an_odd_key_is_skipped_and_does_not_lose_the_set() {
    let issuer = Issuer::start();
    let odd = Key::new("ES256", "odd");
    let with = |name: &str, value| {
        let mut jwk = odd.with_kid(name).jwk();
        jwk[name] = value;
        jwk
    };
    issuer.publish(with("use", json!("enc")));
    issuer.publish(with("key_ops", json!(["sign"])));
    issuer.publish(with("d", json!(base64url([7; 32]))));
    issuer.publish(with("crv", json!("P-999")));
    issuer.publish(with("kty", json!("XYZ")));
    issuer.publish(json!("not even an object"));
    issuer.publish(json!({"kty": "RSA", "kid": "small", "n": base64url([0xff; 128]), "e": "AQAB"}));
    let house = House::with_issuer(issuer, &["--jwks-refresh-cooldown", "1s"]).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    for name in ["use", "key_ops", "d", "crv", "kty"] {
        let token = house.issuer.token_by(&odd.with_kid(name)).sign();
        assert_eq!(house.verdict(&token).await, "unknown_key", "{name}");
    }
}

#[tokio::test]
async fn base64url_is_read_in_one_way_only() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let [header, payload, signature] = parts(&token);
    let standard = token.replace('-', "+").replace('_', "/");
    let cases = [
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!("{header}.{payload}.{}", with_trailing_bits(signature)),
        format!("{token}~"),
    ];
    for spoilt in cases.iter().chain((standard != token).then_some(&standard)) {
        let seen = house.verdict(spoilt).await;
        let is_refused = matches!(seen.as_str(), "malformed_token" | "malformed_credentials");
        assert!(is_refused, "{seen}: {spoilt}");
    }
    assert_eq!(house.verdict(&format!("{header}.{payload}.{signature}.{header}.{payload}")).await, "encrypted_token");
}

/// The token with single bits of its signature flipped.
fn flipped_signatures(token: &str) -> Vec<String> {
    let [header, payload, signature] = parts(token);
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let places = [(0, 0x80), (0, 1), (bytes.len() / 2, 0x10), (bytes.len() - 1, 1)];
    let flip = |(index, bit): (usize, u8)| {
        let mut flipped = bytes.clone();
        flipped[index] ^= bit;
        format!("{header}.{payload}.{}", base64url(flipped))
    };
    places.into_iter().map(flip).collect()
}

/// 64 bytes are 86 characters, the last of which carries 4 bits and 2 that have to be zero.
fn with_trailing_bits(signature: &str) -> String {
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet.find(last).unwrap();
    let twin = alphabet.chars().nth(value ^ 1).unwrap();
    format!("{}{twin}", &signature[..signature.len() - 1])
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().unwrap()
}

#[test]
fn the_tokens_of_this_suite_are_what_another_library_signs_and_reads() {
    for alg in ALGORITHMS {
        // It has neither ES512 nor the name Ed25519.
        if matches!(alg, "ES512" | "Ed25519") {
            continue;
        }
        let key = Key::new(alg, "witness");
        let token = Token::new("https://issuer.example.com", &key).sign();
        let jwk = serde_json::from_value(key.jwk()).unwrap();
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let validation = jsonwebtoken::Validation::new(alg.parse().unwrap());
        let decoded = jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "alice", "{alg}");
    }
}
