//! JWK sets (RFC 7517): each odd key stands for itself, and only a set that nobody could read is lost.

use claimgate::jose::{AlgorithmSet, JwkSet};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Caller;
use crate::support::{House, Issuer, Key};

/// The name, the source, the algorithm of a sound key, what is changed in it (`null` takes out), and the verdict on a
/// token that is really signed with it.
type KeyCase = (&'static str, &'static str, &'static str, &'static str, &'static str);

const KEYS: &[KeyCase] = &[
    ("a sound key", "RFC 7517 §4", "ES256", r"{}", "passed"),
    ("for encryption", "RFC 7517 §4.2", "ES256", r#"{"use":"enc"}"#, "unknown_key"),
    ("use in another case", "RFC 7517 §4.2", "ES256", r#"{"use":"SIG"}"#, "unknown_key"),
    ("use is empty", "RFC 7517 §4.2", "ES256", r#"{"use":""}"#, "unknown_key"),
    ("use in a list", "RFC 7517 §4.2", "ES256", r#"{"use":["sig"]}"#, "unknown_key"),
    ("no use", "RFC 7517 §4.2", "ES256", r#"{"use":null}"#, "passed"),
    ("key_ops verify", "RFC 7517 §4.3", "ES256", r#"{"key_ops":["verify"]}"#, "passed"),
    ("key_ops sign", "RFC 7517 §4.3", "ES256", r#"{"key_ops":["sign"]}"#, "unknown_key"),
    ("key_ops of encryption", "RFC 7517 §4.3", "ES256", r#"{"key_ops":["encrypt","wrapKey"]}"#, "unknown_key"),
    ("key_ops in another case", "RFC 7517 §4.3", "ES256", r#"{"key_ops":["Verify"]}"#, "unknown_key"),
    ("key_ops empty", "RFC 7517 §4.3", "ES256", r#"{"key_ops":[]}"#, "passed"),
    ("key_ops as text", "RFC 7517 §4.3", "ES256", r#"{"key_ops":"verify"}"#, "unknown_key"),
    ("key_ops with a number", "RFC 7517 §4.3", "ES256", r#"{"key_ops":["verify",1]}"#, "unknown_key"),
    ("alg of another curve", "RFC 7517 §4.4", "ES256", r#"{"alg":"ES384"}"#, "unknown_key"),
    ("alg of another type", "CVE-2026-22817", "ES256", r#"{"alg":"RS256"}"#, "unknown_key"),
    ("alg HS256", "CVE-2026-44699", "RS256", r#"{"alg":"HS256"}"#, "unknown_key"),
    ("alg none", "RFC 7518 §3.6", "ES256", r#"{"alg":"none"}"#, "unknown_key"),
    ("alg of encryption", "RFC 7518 §4.3", "RS256", r#"{"alg":"RSA-OAEP-256"}"#, "unknown_key"),
    ("alg in small letters", "RFC 7517 §4.4", "ES256", r#"{"alg":"es256"}"#, "unknown_key"),
    ("alg is a number", "RFC 7517 §4.4", "ES256", r#"{"alg":256}"#, "unknown_key"),
    ("no alg", "RFC 7517 §4.4", "ES256", r#"{"alg":null}"#, "passed"),
    ("alg of a sibling", "RFC 8725 §3.1", "RS256", r#"{"alg":"PS256"}"#, "algorithm_not_allowed"),
    ("a private EC key", "RFC 7518 §6.2.2", "ES256", r#"{"d":"AQ"}"#, "unknown_key"),
    ("a private part of a wrong type", "RFC 7518 §6.2.2", "ES256", r#"{"d":{}}"#, "unknown_key"),
    ("a private RSA key", "RFC 7518 §6.3.2", "RS256", r#"{"d":"AQ"}"#, "unknown_key"),
    ("one prime of an RSA key", "RFC 7518 §6.3.2", "RS256", r#"{"p":"AQ"}"#, "unknown_key"),
    ("other primes", "RFC 7518 §6.3.2.7", "RS256", r#"{"oth":[{"r":"AQ"}]}"#, "unknown_key"),
    ("no other primes", "RFC 7518 §6.3.2.7", "RS256", r#"{"oth":[]}"#, "passed"),
    ("a private part in an empty list", "RFC 7518 §6.3.2", "RS256", r#"{"d":[]}"#, "unknown_key"),
    ("a private Ed25519 key", "RFC 8037 §2", "EdDSA", r#"{"d":"AQ"}"#, "unknown_key"),
    ("a secret beside", "RFC 7518 §6.4", "ES256", r#"{"k":"AQ"}"#, "unknown_key"),
    ("kty oct", "RFC 7518 §6.4", "ES256", r#"{"kty":"oct"}"#, "unknown_key"),
    ("kty in small letters", "RFC 7517 §4.1", "ES256", r#"{"kty":"ec"}"#, "unknown_key"),
    ("kty unknown", "RFC 7517 §4.1", "ES256", r#"{"kty":"LATTICE"}"#, "unknown_key"),
    ("kty of another key", "RFC 7517 §4.1", "ES256", r#"{"kty":"OKP"}"#, "unknown_key"),
    ("kty is a number", "RFC 7517 §4.1", "ES256", r#"{"kty":1}"#, "unknown_key"),
    ("no kty", "RFC 7517 §4.1", "ES256", r#"{"kty":null}"#, "unknown_key"),
    ("another curve", "RFC 7518 §6.2.1.1", "ES256", r#"{"crv":"P-384"}"#, "unknown_key"),
    ("an unknown curve", "RFC 7518 §6.2.1.1", "ES256", r#"{"crv":"P-999"}"#, "unknown_key"),
    ("Bitcoin's curve", "RFC 8812 §3.1", "ES256", r#"{"crv":"secp256k1"}"#, "unknown_key"),
    ("no curve", "RFC 7518 §6.2.1.1", "ES256", r#"{"crv":null}"#, "unknown_key"),
    ("key agreement", "RFC 8037 §3.2", "EdDSA", r#"{"crv":"X25519"}"#, "unknown_key"),
    ("the larger Edwards curve", "RFC 8037 §3.1", "EdDSA", r#"{"crv":"Ed448"}"#, "unknown_key"),
    (
        "a point off the curve",
        "CVE-2015-7940",
        "ES256",
        r#"{"y":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}"#,
        "unknown_key",
    ),
    ("a coordinate too short", "RFC 7518 §6.2.1.2", "ES256", r#"{"x":"AQ"}"#, "unknown_key"),
    ("a coordinate that is empty", "RFC 7518 §6.2.1.2", "ES256", r#"{"x":""}"#, "unknown_key"),
    ("a coordinate with spaces", "RFC 7515 §2", "ES256", r#"{"x":" A Q "}"#, "unknown_key"),
    ("a coordinate that is a number", "RFC 7518 §6.2.1.2", "ES256", r#"{"x":1}"#, "unknown_key"),
    ("an RSA exponent of one", "CWE-310", "RS256", r#"{"e":"AQ"}"#, "unknown_key"),
    ("an RSA exponent of two", "RFC 8017 §3.1", "RS256", r#"{"e":"Ag"}"#, "unknown_key"),
    ("an RSA exponent of zero", "RFC 8017 §3.1", "RS256", r#"{"e":"AA"}"#, "unknown_key"),
    ("an RSA exponent of 40 bits", "CWE-400", "RS256", r#"{"e":"AQAAAAE"}"#, "unknown_key"),
    ("an RSA exponent that is not the key's", "RFC 7518 §6.3.1.2", "RS256", r#"{"e":"Aw"}"#, "invalid_signature"),
    ("an RSA modulus of eight bits", "RFC 7518 §3.3", "RS256", r#"{"n":"_w"}"#, "unknown_key"),
    ("no RSA modulus", "RFC 7518 §6.3.1.1", "RS256", r#"{"n":null}"#, "unknown_key"),
    (
        "certificates that say otherwise",
        "RFC 7517 §4.7",
        "ES256",
        r#"{"x5c":["MIIB"],"x5u":"http://x/","x5t":1}"#,
        "passed",
    ),
    ("members that nobody knows", "RFC 7517 §4", "ES256", r#"{"ext":true,"x":null,"__proto__":{}}"#, "unknown_key"),
    ("unknown members only", "RFC 7517 §4", "ES256", r#"{"ext":true,"__proto__":{}}"#, "passed"),
];

/// The name, the source, the document (`$` is a sound key), and how many keys of it can be used; `None`: no set.
type SetCase = (&'static str, &'static str, &'static str, Option<usize>);

const SETS: &[SetCase] = &[
    ("one key", "RFC 7517 §5", r#"{"keys":[$]}"#, Some(1)),
    ("no key", "RFC 7517 §5.1", r#"{"keys":[]}"#, Some(0)),
    ("the same key twice", "RFC 7517 §4.5", r#"{"keys":[$,$]}"#, Some(2)),
    ("keys of every wrong type beside", "RFC 7517 §5", r#"{"keys":[null,1,"x",true,[],{},$]}"#, Some(1)),
    ("a key that has a member twice beside", "RFC 7517 §4", r#"{"keys":[{"kty":"EC","kty":"oct"},$]}"#, Some(1)),
    ("other members of the set", "RFC 7517 §5", r#"{"issuer":{"a":[1]},"keys":[$]}"#, Some(1)),
    ("a key without a set", "RFC 7517 §5", r"$", None),
    ("a list without a set", "RFC 7517 §5", r"[$]", None),
    ("a set within a list", "RFC 7517 §5", r#"[{"keys":[$]}]"#, None),
    ("a list within a list", "RFC 7517 §5.1", r"[[$]]", None),
    ("keys in an object", "RFC 7517 §5.1", r#"{"keys":{"0":$}}"#, None),
    ("keys by their names", "RFC 7517 §5.1", r#"{"key-0":$}"#, None),
    ("keys of null", "RFC 7517 §5.1", r#"{"keys":null}"#, None),
    ("KEYS", "RFC 7517 §5", r#"{"KEYS":[$]}"#, None),
    ("keys twice", "RFC 7517 §5", r#"{"keys":[],"keys":[$]}"#, None),
    ("a second document behind", "RFC 8259 §2", r#"{"keys":[$]}{"keys":[]}"#, None),
    ("a byte order mark", "RFC 8259 §8.1", "\u{feff}{\"keys\":[$]}", None),
    ("an error page", "CVE-2026-31837", "<html><body>502 Bad Gateway</body></html>", None),
    ("an error as JSON", "CVE-2026-48524", r#"{"error":"server_error"}"#, None),
    ("a signed set", "RFC 7515 §7.1", "eyJhbGciOiJub25lIn0.eyJrZXlzIjpbXX0.", None),
    ("nothing", "CVE-2026-48524", "", None),
    ("a set cut off", "CVE-2026-48524", r#"{"keys":[$,"#, None),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    let keys = KEYS.iter().map(|(name, source, ..)| (*name, *source));
    keys.chain(SETS.iter().map(|(name, source, ..)| (*name, *source))).collect()
}

fn changed(key: &Key, changes: &str) -> Value {
    let mut jwk = key.jwk();
    let changes: Value = serde_json::from_str(changes).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk
}

#[tokio::test]
async fn each_odd_key_verifies_nothing_and_costs_no_other_key() {
    let issuer = Issuer::start();
    let keys: Vec<_> = KEYS.iter().map(|(name, _, alg, ..)| Key::new(alg, name)).collect();
    for (key, (.., changes, _)) in keys.iter().zip(KEYS) {
        issuer.publish(changed(key, changes));
    }
    // Unknown keys are asked for together, so that they wait for one fetch and not in turn.
    let house = House::with_issuer(issuer, &["--jwks-refresh-cooldown", "1s"]).await;
    let mut verdicts = JoinSet::new();
    for (key, (name, source, .., expected)) in keys.iter().zip(KEYS) {
        let (addr, token) = (house.gate.addr(), house.issuer.token_by(key).sign());
        verdicts.spawn(async move { (Caller::new(addr).verdict(&token).await, expected, name, source) });
    }
    while let Some(verdict) = verdicts.join_next().await {
        let (seen, expected, name, source) = verdict.unwrap();
        assert_eq!(seen, *expected, "{name} ({source})");
    }
    let passing = KEYS.iter().filter(|(.., expected)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}

#[test]
fn a_set_is_read_key_by_key_or_not_at_all() {
    let sound = Key::new("ES256", "key-0").jwk().to_string();
    for (name, source, template, expected) in SETS {
        let document = template.replace('$', &sound);
        let usable = JwkSet::parse(document.as_bytes(), AlgorithmSet::ALL).ok().map(|set| set.usable.len());
        assert_eq!(usable, *expected, "{name} ({source})");
    }
}

#[tokio::test]
async fn two_keys_of_one_name_are_both_tried() {
    let issuer = Issuer::start();
    let (one, other) = (Key::new("ES256", "same"), Key::new("ES256", "same"));
    for key in [&one, &other] {
        issuer.publish(key.jwk());
    }
    issuer.publish(json!({"kty": "oct", "kid": "same", "k": "AQ"}));
    let house = House::with_issuer(issuer, &[]).await;
    for (key, expected) in [(&one, "passed"), (&other, "passed"), (&one.forged(), "invalid_signature")] {
        assert_eq!(house.verdict(&house.issuer.token_by(key).sign()).await, expected);
    }
}
