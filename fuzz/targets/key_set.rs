//! Any document as a JWK set.
#![no_main]

use claimgate::jose::{AlgorithmSet, CompactJws, JwkSet, MAX_KEYS};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Of every family one, signed by nobody.
const TOKENS: [&str; 3] =
    ["eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"];

fuzz_target!(|data: &[u8]| {
    let Ok(set) = JwkSet::parse(data, AlgorithmSet::ALL) else { return };
    assert!(set.usable.len() + set.unusable.len() <= MAX_KEYS);
    for key in &set.usable {
        assert!(!key.algorithms().is_empty());
        assert_ne!(key.thumbprint(), [0; 32]);
        for token in TOKENS {
            assert!(key.verify(&CompactJws::parse(token).unwrap()).is_err());
        }
    }
    for key in &set.unusable {
        assert!(key.reason.len() < 200 && !key.reason.contains('\n'), "{}", key.reason);
    }
    // Whoever else reads it finds as many keys, and no private part in one that is used.
    if let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(data) {
        let keys = object["keys"].as_array().unwrap();
        assert_eq!(keys.len(), set.usable.len() + set.unusable.len());
        let public = keys.iter().filter(|key| key["kty"].is_string() && key.get("d").is_none());
        assert!(set.usable.len() <= public.count());
    }
});
