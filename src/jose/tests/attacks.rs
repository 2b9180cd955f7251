//! Signatures: what a witness signed is accepted, and nothing that an attacker can make of it.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use jsonwebtoken::{DecodingKey, Validation};

use super::*;

#[test]
fn each_algorithm_verifies_what_its_signer_signed() {
    for algorithm in Algorithm::ALL {
        let token = token(algorithm, &header(algorithm), PAYLOAD);
        let claims = verify(&signer(algorithm).verification_key(), &token).unwrap();
        assert_eq!(claims.raw(), PAYLOAD.as_bytes(), "{algorithm}");
    }
}

#[test]
fn what_is_accepted_here_the_witness_accepts() {
    for algorithm in Algorithm::ALL {
        // It has neither ES512 nor the name Ed25519.
        if matches!(algorithm, Algorithm::Es512 | Algorithm::Ed25519) {
            continue;
        }
        let jwk: Jwk = serde_json::from_value(signer(algorithm).jwk.clone()).unwrap();
        let mut validation = Validation::new(witnessed(algorithm));
        validation.validate_aud = false;
        let token = token(algorithm, &header(algorithm), PAYLOAD);
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "u-1", "{algorithm}");
    }
}

#[test]
fn the_token_of_rfc_7515_appendix_a_3_verifies() {
    let token = "eyJhbGciOiJFUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let key = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    assert_eq!(verify(&only_key(&key), token).unwrap().issuer(), Claim::Is("joe"));
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    for algorithm in Algorithm::ALL {
        let key = signer(algorithm).verification_key();
        let token = token(algorithm, &header(algorithm), PAYLOAD).into_bytes();
        let mut forged = token.clone();
        for index in 0..token.len() {
            forged[index] ^= 1 << (index % 7);
            let refused = verify(&key, std::str::from_utf8(&forged).unwrap()).is_err();
            assert!(refused, "{algorithm}: byte {index}");
            forged[index] = token[index];
        }
    }
}

#[test]
fn a_header_or_payload_of_another_token_is_refused() {
    let key = P256.verification_key();
    let one = token(Algorithm::Es256, &header(Algorithm::Es256), PAYLOAD);
    let two = token(Algorithm::Es256, r#"{"alg":"ES256"}"#, r#"{"iss":"x"}"#);
    let (one, two): (Vec<_>, Vec<_>) = (one.split('.').collect(), two.split('.').collect());
    let mixes = [[two[0], one[1], one[2]], [one[0], two[1], one[2]], [one[0], one[1], two[2]]];
    for mix in mixes {
        assert_eq!(reason(verify(&key, &mix.join("."))), "invalid_signature");
    }
}

#[test]
fn alg_none_is_refused_in_every_spelling_cve_2015_9235() {
    for name in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let header = json!({"alg": name, "typ": "JWT"}).to_string();
        let unsigned = format!("{}.{}.", encode(&header), encode(PAYLOAD));
        assert_eq!(reason(CompactJws::parse(&unsigned)), "algorithm_not_allowed", "{name:?}");
        let signed = token(Algorithm::Es256, &header, PAYLOAD);
        assert_eq!(reason(CompactJws::parse(&signed)), "algorithm_not_allowed", "{name:?}");
    }
}

#[test]
fn a_public_key_is_no_hmac_secret_cve_2016_10555() {
    let secret = RSA.jwk["n"].as_str().unwrap();
    for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        let message = format!("{}.{}", encode(json!({"alg": name, "kid": "k"}).to_string()), encode(PAYLOAD));
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), message.as_bytes());
        let forged = format!("{message}.{}", encode(tag));
        assert_eq!(reason(verify(&RSA.verification_key(), &forged)), "algorithm_not_allowed", "{name}");
    }
}

#[test]
fn a_key_in_the_header_is_not_used_cve_2018_0114() {
    // The attacker signs with an own key, and sends it along.
    let stranger = elliptic_curve(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256);
    let headers = [
        json!({"alg": "ES256", "kid": "k", "jwk": stranger.jwk}),
        json!({"alg": "ES256", "kid": "k", "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x"}),
        json!({"alg": "ES256", "kid": "k", "x5c": ["MIIB"]}),
    ];
    for header in headers {
        let message = format!("{}.{}", encode(header.to_string()), encode(PAYLOAD));
        let forged = format!("{message}.{}", stranger.sign(Algorithm::Es256, &message));
        assert_eq!(reason(verify(&P256.verification_key(), &forged)), "invalid_signature");
    }
}

#[test]
fn ecdsa_signatures_out_of_range_or_shape_are_refused_cve_2022_21449() {
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap()).collect();
    let key = P256.verification_key();
    let good = token(Algorithm::Es256, &header(Algorithm::Es256), PAYLOAD);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let padded = [&[0], r, &[0], s].concat();
    let cases: [(&str, &[&[u8]]); 12] = [
        ("empty", &[]),
        ("zeros", &[&zero, &zero]),
        ("r is zero", &[&zero, s]),
        ("s is zero", &[r, &zero]),
        ("r is the order", &[&order, s]),
        ("s is the order", &[r, &order]),
        ("both are the order", &[&order, &order]),
        ("a byte short", &[r, &s[..31]]),
        ("a byte more", &[r, s, &[0]]),
        ("each padded", &[&padded]),
        ("swapped", &[s, r]),
        ("twice", &[r, s, r, s]),
    ];
    for (name, parts) in cases {
        let forged = format!("{message}.{}", encode(parts.concat()));
        assert_eq!(reason(verify(&key, &forged)), "invalid_signature", "{name}");
    }
    assert_eq!(reason(verify(&key, &good)), "accepted");
}

#[test]
fn a_der_signature_is_no_jws_signature_rfc_7518_section_3_4() {
    let Key::Witness(pkcs8) = &P256.key else { panic!("P-256 is the witness's") };
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_bytes()).unwrap();
    let message = format!("{}.{}", encode(header(Algorithm::Es256)), encode(PAYLOAD));
    let der = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let forged = format!("{message}.{}", encode(der));
    assert_eq!(reason(verify(&P256.verification_key(), &forged)), "invalid_signature");
}

#[test]
fn rsa_and_ed25519_signatures_out_of_shape_are_refused() {
    for (algorithm, size) in [(Algorithm::Rs256, 256), (Algorithm::Ps256, 256), (Algorithm::EdDsa, 64)] {
        let good = token(algorithm, &header(algorithm), PAYLOAD);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(signature.len(), size);
        let cases = [
            ("empty", Vec::new()),
            ("zeros", vec![0; size]),
            ("one", [vec![0; size - 1], vec![1]].concat()),
            ("all bits", vec![255; size]),
            ("a byte short", signature[..size - 1].to_vec()),
            ("a zero in front", [&[0], &*signature].concat()),
            ("a zero behind", [&*signature, &[0]].concat()),
        ];
        for (name, octets) in cases {
            let forged = format!("{message}.{}", encode(octets));
            assert_eq!(reason(verify(&signer(algorithm).verification_key(), &forged)), "invalid_signature", "{name}");
        }
    }
}

#[test]
fn the_header_cannot_choose_an_algorithm_that_the_key_does_not_have_rfc_8725_section_3_1() {
    let mut bound = RSA.jwk.clone();
    bound["alg"] = json!("RS256");
    let bound = only_key(&bound);
    assert_eq!(reason(verify(&bound, &token(Algorithm::Rs256, &header(Algorithm::Rs256), PAYLOAD))), "accepted");
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::Rs256) {
        let forged = token(algorithm, &header(algorithm), PAYLOAD);
        assert_eq!(reason(verify(&bound, &forged)), "algorithm_not_allowed", "{algorithm}");
    }
    // Signed as one algorithm, declared as another that the key has as well.
    let confused = token(Algorithm::Rs256, &header(Algorithm::Ps256), PAYLOAD);
    assert_eq!(reason(verify(&RSA.verification_key(), &confused)), "invalid_signature");
    let confused = token(Algorithm::Rs256, &header(Algorithm::Rs512), PAYLOAD);
    assert_eq!(reason(verify(&RSA.verification_key(), &confused)), "invalid_signature");
}

#[test]
fn what_is_not_allowed_verifies_nothing() {
    let set = json!({"keys": [RSA.jwk, P256.jwk]}).to_string();
    let allowed = AlgorithmSet::of(&[Algorithm::Ps256]);
    let set = JwkSet::parse(set.as_bytes(), allowed).unwrap();
    assert_eq!((set.usable.len(), set.unusable.len()), (1, 1));
    assert_eq!(set.unusable[0].reason, "ES256 is not among the accepted algorithms");
    let key = &set.usable[0];
    assert_eq!(key.algorithms(), allowed);
    assert_eq!(reason(verify(key, &token(Algorithm::Ps256, &header(Algorithm::Ps256), PAYLOAD))), "accepted");
    let other = token(Algorithm::Rs256, &header(Algorithm::Rs256), PAYLOAD);
    assert_eq!(reason(verify(key, &other)), "algorithm_not_allowed");
}
