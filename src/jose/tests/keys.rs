//! JWK sets: which keys are usable, and what is said of the others.

use super::*;

/// RFC 7638 §3.1.
const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4\
    n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q\
    MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnq\
    DKgw";

/// A test key with some members set; `null` removes one.
fn changed(signer: &Signer, changes: &Value) -> Value {
    let mut jwk = signer.jwk.clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let rsa = json!({"kty": "RSA", "n": N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let cases = [
        ("RFC 7638 §3.1", rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        ("RFC 8037 appendix A.3", ed25519, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ];
    for (name, jwk, expected) in cases {
        assert_eq!(encode(only_key(&jwk).thumbprint()), expected, "{name}");
    }
    for signer in [&*P256, &*P384] {
        let witness: Jwk = serde_json::from_value(signer.jwk.clone()).unwrap();
        let expected = witness.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(encode(signer.verification_key().thumbprint()), expected);
    }
}

#[test]
fn one_key_has_one_thumbprint_however_it_is_written() {
    let octets = URL_SAFE_NO_PAD.decode(N).unwrap();
    let key = |n: String| only_key(&json!({"kty": "RSA", "n": n, "e": "AAEAAQ=="}));
    let plain = key(N.to_owned());
    let spellings = [
        ("padded", format!("{N}==")),
        ("the standard alphabet", STANDARD.encode(&octets)),
        ("a zero in front, RFC 7518 §6.3.1.1", encode([&[0], &*octets].concat())),
    ];
    for (name, n) in spellings {
        assert_eq!(key(n).thumbprint(), plain.thumbprint(), "{name}");
    }
}

#[test]
fn a_key_permits_what_fits_its_type_and_its_alg() {
    let rsa = "RS256, RS384, RS512, PS256, PS384, PS512";
    let cases = [
        ("RSA without alg", changed(&RSA, &json!({})), rsa),
        ("RSA for signatures", changed(&RSA, &json!({"use": "sig", "key_ops": ["verify"]})), rsa),
        ("RSA with alg", changed(&RSA, &json!({"alg": "PS384"})), "PS384"),
        ("RSA with an exponent of 32 bits", changed(&RSA, &json!({"e": encode([255; 4])})), rsa),
        ("P-256", changed(&P256, &json!({})), "ES256"),
        ("P-384", changed(&P384, &json!({"alg": "ES384"})), "ES384"),
        ("P-521", changed(&P521, &json!({})), "ES512"),
        ("Ed25519", changed(&ED25519, &json!({})), "EdDSA, Ed25519"),
        ("Ed25519, RFC 8037 name", changed(&ED25519, &json!({"alg": "EdDSA"})), "EdDSA, Ed25519"),
        ("Ed25519, RFC 9864 name", changed(&ED25519, &json!({"alg": "Ed25519"})), "EdDSA, Ed25519"),
        ("no kid", changed(&P256, &json!({"kid": null})), "ES256"),
        ("no operations", changed(&P256, &json!({"key_ops": []})), "ES256"),
        ("more key_ops", changed(&P256, &json!({"key_ops": ["sign", "verify"]})), "ES256"),
        ("certificates, RFC 7517 §4.7", changed(&P256, &json!({"x5c": [1], "x5t": "x", "n": "unread"})), "ES256"),
    ];
    for (name, jwk, expected) in cases {
        let key = only_key(&jwk);
        assert_eq!(key.algorithms().to_string(), expected, "{name}");
        assert_eq!(key.kid(), jwk["kid"].as_str(), "{name}");
    }
}

/// Each case: its name with the source, the key, and a part of what is said of it.
fn assert_unusable(cases: &[(&str, Value, &str)]) {
    for (name, jwk, expected) in cases {
        let set = key_set(&[jwk.clone(), P256.jwk.clone()]);
        assert_eq!((set.usable.len(), set.unusable.len()), (1, 1), "{name}");
        let UnusableKey { kid, reason } = &set.unusable[0];
        assert!(reason.contains(expected), "{name}: {reason}");
        assert_eq!(kid.as_deref(), jwk["kid"].as_str(), "{name}");
        assert!(!reason.contains("secret") && !reason.contains(N), "{name}: {reason}");
    }
}

#[test]
fn a_key_for_another_purpose_is_unusable() {
    assert_unusable(&[
        ("an encryption key, RFC 7517 §4.2", changed(&RSA, &json!({"use": "enc"})), "its use is enc"),
        ("use of another type", changed(&RSA, &json!({"use": ["sig"]})), "its use is not a string"),
        ("foreign operations, RFC 7517 §4.3", changed(&RSA, &json!({"key_ops": ["encrypt"]})), "do not include verify"),
        ("key_ops of another type", changed(&RSA, &json!({"key_ops": "verify"})), "not an array of strings"),
        ("a private RSA key, RFC 7518 §6.3.2", changed(&RSA, &json!({"d": "secret"})), "has private members"),
        ("a private EC key, RFC 7518 §6.2.2", changed(&P256, &json!({"d": 1})), "has private members"),
        ("a prime", changed(&RSA, &json!({"qi": "secret"})), "has private members"),
        ("a secret, RFC 7518 §6.4", json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}), "its kty is oct"),
        ("an unknown type", changed(&RSA, &json!({"kty": "AKP"})), "its kty is AKP"),
        ("a type in the wrong case", changed(&RSA, &json!({"kty": "rsa"})), "its kty is rsa"),
        ("no type", changed(&RSA, &json!({"kty": null})), "it has no kty"),
        ("another type's alg", changed(&RSA, &json!({"alg": "ES256"})), "its alg ES256 does not fit"),
        ("another curve's alg", changed(&P384, &json!({"alg": "ES256"})), "its alg ES256 does not fit"),
        ("an encryption alg", changed(&RSA, &json!({"alg": "RSA-OAEP"})), "its alg is RSA-OAEP"),
        ("alg none", changed(&RSA, &json!({"alg": "none"})), "its alg is none"),
        ("HMAC on a public key", changed(&RSA, &json!({"alg": "HS256"})), "its alg is HS256"),
        ("alg of another type", changed(&RSA, &json!({"alg": 1})), "its alg is not a string"),
        ("key material in the wrong place", changed(&RSA, &json!({"alg": N})), "its alg is not one that is known"),
        ("kid of another type", changed(&RSA, &json!({"kid": 1})), "its kid is not a string"),
        ("no object", json!("key"), "not a JSON object"),
        ("null", json!(null), "not a JSON object"),
    ]);
}

#[test]
fn an_unsound_rsa_key_is_unusable() {
    let modulus = |bits: usize| [vec![1 << ((bits - 1) % 8)], vec![0xff; (bits - 1) / 8]].concat();
    let rsa = |n: Vec<u8>, e: &[u8]| changed(&RSA, &json!({"n": encode(n), "e": encode(e)}));
    let sound = &[1, 0, 1];
    let even = [vec![255; 255], vec![254]].concat();
    assert_unusable(&[
        ("1024 bits", rsa(modulus(1024), sound), "RSA modulus of 1024 bits, at least 2048 are required"),
        ("2047 bits", rsa(modulus(2047), sound), "RSA modulus of 2047 bits, at least 2048"),
        ("8193 bits", rsa(modulus(8193), sound), "RSA modulus of 8193 bits, at most 8192"),
        ("a modulus of zeros", rsa(vec![0; 256], sound), "RSA modulus of 0 bits"),
        ("an even modulus", rsa(even, sound), "not one of a sound key"),
        ("an exponent of 1", rsa(modulus(2048), &[1]), "not one of a sound key"),
        ("an even exponent", rsa(modulus(2048), &[1, 0, 0]), "not one of a sound key"),
        ("no exponent", rsa(modulus(2048), &[]), "not one of a sound key"),
        ("a huge exponent", rsa(modulus(2048), &[1, 0, 0, 0, 1]), "not one of a sound key"),
        ("no modulus", changed(&RSA, &json!({"n": null})), "it has no n"),
        ("a modulus that is a number", changed(&RSA, &json!({"n": 1})), "its n is not a string"),
        ("a modulus that is not base64", changed(&RSA, &json!({"n": "a b"})), "its n is not base64url"),
    ]);
}

#[test]
fn a_key_off_its_curve_is_unusable() {
    assert_unusable(&[
        ("Bitcoin's curve, RFC 8812", changed(&P256, &json!({"crv": "secp256k1"})), "its crv is secp256k1"),
        ("another curve's size", changed(&P256, &json!({"crv": "P-384"})), "coordinates of 32 and 32 octets"),
        ("no curve", changed(&P256, &json!({"crv": null})), "it has no crv"),
        ("a short coordinate", changed(&P256, &json!({"x": encode([1; 31])})), "coordinates of 31 and 32 octets"),
        ("a padded coordinate, RFC 7518 §6.2.1.2", changed(&P256, &json!({"x": encode([0; 33])})), "33 and 32 octets"),
        (
            "a point off the curve, CVE-2015-7940",
            changed(&P256, &json!({"x": encode([1; 32])})),
            "not a point on the curve",
        ),
        ("P-384 off the curve", changed(&P384, &json!({"y": encode([1; 48])})), "not a point on the curve"),
        ("P-521 off the curve", changed(&P521, &json!({"y": encode([1; 66])})), "not a point on the curve"),
        ("the point of zeros", changed(&P256, &json!({"x": encode([0; 32]), "y": encode([0; 32])})), "not a point on"),
        ("no y", changed(&P256, &json!({"y": null})), "it has no y"),
        ("key agreement, RFC 8037 §3.2", changed(&ED25519, &json!({"crv": "X25519"})), "its crv is X25519"),
        ("Ed448", changed(&ED25519, &json!({"crv": "Ed448"})), "its crv is Ed448"),
        ("a short x", changed(&ED25519, &json!({"x": encode([1; 31])})), "its x has 31 octets"),
        ("an Ed25519 key with ES256", changed(&ED25519, &json!({"alg": "ES256"})), "does not fit"),
    ]);
}

#[test]
fn a_key_that_two_parsers_would_read_differently_is_unusable_and_alone() {
    let odd = r#"{"kty":"RSA","n":"AQAB","n":"AQAC"}"#;
    let deep = format!("{{\"kty\":\"EC\",\"x5c\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let json = format!(r#"{{"more":{{"a":1}},"keys":[{odd},{deep},{}]}}"#, P256.jwk);
    let set = JwkSet::parse(json.as_bytes(), AlgorithmSet::ALL).unwrap();
    let reasons: Vec<_> = set.unusable.iter().map(|key| key.reason.as_str()).collect();
    assert_eq!(reasons, ["a member occurs twice", "nested too deeply"]);
    assert_eq!(set.usable.len(), 1);
}

#[test]
fn what_is_no_jwk_set_is_refused_as_a_whole() {
    let many = format!(r#"{{"keys":[{}]}}"#, vec!["{}"; MAX_KEYS + 1].join(","));
    let cases: [(&str, &[u8], &str); 11] = [
        ("nothing", b"", "not a JWK set"),
        ("HTML", b"<html>", "not a JWK set"),
        ("a list of keys", br#"[[{"kty":"oct"}]]"#, "not a JWK set"),
        ("no keys, RFC 7517 §5.1", br#"{"error":"secret"}"#, "not a JWK set"),
        ("keys of another type", br#"{"keys":"secret"}"#, "not a JWK set: line 1, column 16"),
        ("keys of null", br#"{"keys":null}"#, "not a JWK set"),
        ("keys twice", br#"{"keys":[],"keys":[]}"#, "not a JWK set"),
        ("more after the set", br#"{"keys":[]}{}"#, "not a JWK set"),
        ("cut off", br#"{"keys":[{"kty":"RSA""#, "not a JWK set"),
        ("not UTF-8", b"{\"keys\":[\"\xff\"]}", "not UTF-8"),
        ("too many keys", many.as_bytes(), "257 keys, at most 256 are accepted"),
    ];
    for (name, json, expected) in cases {
        let error = JwkSet::parse(json, AlgorithmSet::ALL).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains("secret"), "{name}: {error}");
    }
    for count in [0, MAX_KEYS] {
        let set = key_set(&vec![P256.jwk.clone(); count]);
        assert_eq!((set.usable.len(), set.unusable.len()), (count, 0));
    }
}

#[test]
fn a_key_shows_no_material() {
    for signer in [&*RSA, &*P256, &*P521, &*ED25519] {
        let shown = format!("{:?}", key_set(std::slice::from_ref(&signer.jwk)));
        let named = format!("kid: Some(\"k\"), algorithms: {{{}}}", signer.verification_key().algorithms());
        assert!(shown.contains(&named) && shown.len() < 200, "{shown}");
    }
}

#[test]
fn the_log_names_the_key_that_did_not_sign() {
    let other = elliptic_curve(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256);
    let token = token(Algorithm::Es256, &header(Algorithm::Es256), PAYLOAD);
    for (kid, expected) in [(json!("k"), "ES256 with key \"k\""), (json!(null), "ES256 with a key without kid")] {
        let key = only_key(&changed(&other, &json!({"kid": kid})));
        assert_eq!(verify(&key, &token).err(), Some(Denial::InvalidSignature(expected.into())));
    }
}

#[test]
fn keys_may_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<VerificationKey>();
    shared::<ClaimsSet<'_>>();
}
