//! What a refusal tells of its cause: enough to mend it, to the one who may know.

use serde_json::json;

use crate::support::token::compact;
use crate::support::{House, Issuer, Key};

#[tokio::test]
async fn a_claim_that_is_not_forwardable_is_told_with_its_reason_and_what_has_it() {
    let house = House::start(&["--claim-header", "name=X-Name", "--claims-header", "X-Claims"]).await;
    let cases = [
        (json!("\u{d6}zdemir"), "name has the character U+00D6; x-claims has it whole"),
        (json!("a\nb"), "name has the character U+000A; x-claims has it whole"),
        (json!(" a"), "name begins or ends with a space, which would be lost on the way"),
        (json!({"first": "A"}), "name is an object; x-claims has it whole"),
        (json!(["a,b"]), "name has a comma in an item of its list"),
        (json!(["a", null]), "name has a null in a list; x-claims has it whole"),
        (json!([["a"]]), "name has a list within a list; x-claims has it whole"),
        (json!(["a", " b"]), "name has an item that begins or ends with white space"),
    ];
    for (value, expected) in cases {
        let response = house.get("/", &house.issuer.token().claim("name", value.clone()).sign()).await;
        assert_eq!(response.denial().reason, "claim_not_forwardable", "{value}");
        let told = response.denial().detail.unwrap();
        // It is cut for the caller.
        assert!(told.starts_with(expected.get(..64).unwrap_or(expected)), "{value}: {told}");
        let line = house.gate.logged(expected).await;
        assert!(line.contains("claim_not_forwardable"), "{line}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_told_to_the_log_with_its_issuer_the_source_and_the_known_keys() {
    let issuer = Issuer::start();
    for index in 1..11 {
        issuer.add(&Key::new("EdDSA", &format!("key-{index}")));
    }
    issuer.publish(json!({"kty": "oct", "kid": "secret", "k": "AQ"}));
    let house = House::with_issuer(issuer, &["--jwks-refresh-cooldown", "1s"]).await;
    let (url, jwks_url) = (house.issuer.url(), house.issuer.jwks_url());
    let known = "key-0, key-1, key-2, key-3, key-4, key-5, key-6, key-7, 3 more";
    let long = "k".repeat(4000);
    let cases = [
        ("stray".to_owned(), format!("kid stray; {url} at {jwks_url} has {known}")),
        ("a\r\nb".to_owned(), format!("b; {url} at {jwks_url} has {known}")),
        (long.clone(), format!("kid {}; {url} at {jwks_url} has {known}", &long[..128])),
        ("secret".to_owned(), format!("kid secret is unusable: its kty is oct; {url} at {jwks_url}")),
    ];
    for (kid, expected) in cases {
        let response = house.get("/", &house.issuer.token().header("kid", &*kid).sign()).await;
        assert_eq!(response.denial().reason, "unknown_key");
        assert_eq!(response.denial().detail, None, "not for the caller");
        assert!(!response.text().contains("key-0") && !response.text().contains(&url), "{}", response.text());
        let line = house.gate.logged(&expected).await;
        assert!(line.contains("unknown_key") && line.len() < 2000, "{line}");
    }
}

#[tokio::test]
async fn a_wrong_audience_is_told_to_the_log_with_ours_and_to_the_caller_without() {
    let house = House::start(&["--audience", "orders", "--audience", "urn:shop"]).await;
    let cases = [
        (json!("billing"), "the token is for billing; accepted are orders, urn:shop", Some("billing")),
        (json!(["b", "c"]), "the token is for b, c; accepted are orders, urn:shop", Some("b, c")),
        (json!([]), "the token is for no one; accepted are orders, urn:shop", None),
    ];
    for (audience, logged, shared) in cases {
        let token = house.issuer.token().claim("aud", audience.clone()).sign();
        // The second answer is remembered.
        for _ in 0..2 {
            let response = house.get("/", &token).await;
            assert_eq!(response.denial().reason, "wrong_audience");
            assert_eq!(response.denial().detail.as_deref(), shared, "{audience}");
            assert!(!response.text().contains("orders") && !response.head.contains("orders"), "{audience}");
        }
        let line = house.gate.logged(logged).await;
        assert!(line.contains("wrong_audience"), "{line}");
    }
}

#[tokio::test]
async fn an_algorithm_that_is_refused_on_purpose_is_told_as_such_to_the_log() {
    let house = House::start(&[]).await;
    let cases = [
        ("HS256", "HS256: it is refused on purpose"),
        ("hs512", "hs512: it is refused on purpose"),
        ("none", "none: it is refused on purpose"),
        ("nOnE", "nOnE: it is refused on purpose"),
        ("ES256K", "\"ES256K\""),
    ];
    for (alg, expected) in cases {
        let usual = house.issuer.token().header("alg", alg);
        let token = compact(usual.jose_header(), usual.payload(), |input| usual.key.sign(input));
        let response = house.get("/", &token).await;
        assert_eq!((&*response.denial().reason, response.denial().detail), ("algorithm_not_allowed", None), "{alg}");
        house.gate.logged(expected).await;
    }
}
