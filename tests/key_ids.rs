//! Keys and tokens with and without `kid` (RFC 7515 §4.1.4, RFC 7517 §4.5), and members of a key that are there in name only.

use serde_json::{Value, json};

use crate::support::{House, Issuer, Key};

/// A key as it is published, with these members beside or instead.
fn with(key: &Key, members: &Value) -> Value {
    let mut jwk = key.jwk();
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn nameless(key: &Key) -> Value {
    let mut jwk = key.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

/// An issuer of these keys alone.
fn issuer_of(jwks: Vec<Value>) -> Issuer {
    let issuer = Issuer::start();
    issuer.retire(&issuer.key().kid);
    for jwk in jwks {
        issuer.publish(jwk);
    }
    issuer
}

#[tokio::test]
async fn a_member_of_a_key_that_is_null_or_an_empty_list_is_as_absent() {
    let nulls = json!({"d": null, "p": null, "q": null, "dp": null, "dq": null, "qi": null, "oth": null, "k": null});
    let cases = [
        ("RS256", nulls, "passed"),
        ("RS256", json!({"oth": []}), "passed"),
        ("ES256", json!({"d": null}), "passed"),
        ("ES256", json!({"use": null}), "passed"),
        ("ES256", json!({"alg": null}), "passed"),
        ("ES256", json!({"key_ops": null}), "passed"),
        ("ES256", json!({"key_ops": []}), "passed"),
        ("EdDSA", json!({"use": null, "alg": null, "key_ops": [], "x5c": [], "x5t": null, "x5u": null}), "passed"),
        ("ES256", json!({"d": []}), "unknown_key"),
        ("ES256", json!({"d": ""}), "unknown_key"),
        ("ES256", json!({"use": []}), "unknown_key"),
        ("ES256", json!({"key_ops": [null]}), "unknown_key"),
        ("RS256", json!({"oth": [null]}), "unknown_key"),
        ("ES256", json!({"x": null}), "unknown_key"),
    ];
    for (index, (alg, members, expected)) in cases.iter().enumerate() {
        let key = Key::new(alg, &format!("k-{index}"));
        let house =
            House::with_issuer(issuer_of(vec![with(&key, members), Key::new("ES384", "good").jwk()]), &[]).await;
        assert_eq!(house.verdict(&house.issuer.token_by(&key).sign()).await, *expected, "{members}");
    }
}

#[tokio::test]
async fn a_kid_of_null_in_a_set_is_no_kid() {
    let key = Key::new("ES256", "any");
    let jwks = vec![with(&key, &json!({"kid": null})), Key::new("ES384", "other").jwk()];
    let house = House::with_issuer(issuer_of(jwks), &[]).await;
    let token = house.issuer.token_by(&key).without_header("kid").sign();
    assert_eq!(house.verdict(&token).await, "passed");
}

#[tokio::test]
async fn where_no_key_of_a_set_has_a_kid_a_token_with_one_is_tried_as_one_without() {
    let (one, other) = (Key::new("ES256", "a"), Key::new("ES256", "b"));
    for jwks in [
        vec![nameless(&one)],
        vec![nameless(&one), nameless(&other)],
        vec![with(&other, &json!({"kid": null})), nameless(&one)],
        vec![nameless(&Key::new("RS256", "c")), nameless(&one)],
    ] {
        let shown = format!("{jwks:?}");
        let house = House::with_issuer(issuer_of(jwks), &["--jwks-refresh-cooldown", "1s"]).await;
        let token = house.issuer.token_by(&one);
        assert_eq!(house.verdict(&token.sign()).await, "passed", "{shown}");
        assert_eq!(house.verdict(&token.clone().header("kid", "").sign()).await, "passed", "{shown}");
        assert_eq!(house.verdict(&token.clone().without_header("kid").sign()).await, "passed", "{shown}");
        assert_eq!(house.verdict(&token.clone().signed_by(&one.forged()).sign()).await, "unknown_key", "{shown}");
        assert_eq!(house.verdict(&token.header("alg", "HS256").sign()).await, "algorithm_not_allowed", "{shown}");
    }
}

#[tokio::test]
async fn where_one_key_of_a_set_has_a_kid_a_token_with_another_is_not_tried() {
    let key = Key::new("ES256", "a");
    for named in [Key::new("ES256", "b").jwk(), with(&Key::new("ES384", "b"), &json!({"use": "enc"}))] {
        let house =
            House::with_issuer(issuer_of(vec![nameless(&key), named]), &["--jwks-refresh-cooldown", "1s"]).await;
        let token = house.issuer.token_by(&key);
        assert_eq!(house.verdict(&token.sign()).await, "unknown_key");
        assert_eq!(house.verdict(&token.without_header("kid").sign()).await, "passed");
    }
}

#[tokio::test]
async fn a_forged_token_does_not_keep_out_the_next_key_of_a_set_without_kids() {
    let (old, new) = (Key::new("ES256", "a"), Key::new("ES256", "a"));
    let house = House::with_issuer(issuer_of(vec![nameless(&old)]), &["--jwks-refresh-cooldown", "1s"]).await;
    let forged = house.issuer.token_by(&old).signed_by(&old.forged()).sign();
    assert_eq!(house.verdict(&forged).await, "unknown_key");
    house.issuer.publish(nameless(&new));
    assert_eq!(house.verdict(&house.issuer.token_by(&new).sign()).await, "passed", "its kid is that of the forged one");
}

#[tokio::test]
async fn of_keys_without_kid_in_the_token_eight_are_tried_and_the_refusal_counts_them() {
    let keys: Vec<_> = (0..10).map(|index| Key::new("EdDSA", &format!("member-{index}"))).collect();
    let mut jwks: Vec<_> = keys.iter().map(Key::jwk).collect();
    // Of another algorithm: neither tried nor counted.
    jwks.insert(0, Key::new("ES256", "other").jwk());
    let house = House::with_issuer(issuer_of(jwks), &["--jwks-refresh-cooldown", "1s", "--access-log", "all"]).await;
    for (index, key) in keys.iter().enumerate() {
        let token = house.issuer.token_by(key).without_header("kid").sign();
        assert_eq!(house.verdict(&token).await, if index < 8 { "passed" } else { "unknown_key" }, "key {index}");
    }
    let line = house.gate.logged("unknown_key").await;
    assert!(line.contains("no kid; 8 of 10 keys for EdDSA were tried"), "{line}");
}

#[tokio::test]
async fn a_token_without_kid_that_no_key_verifies_is_told_how_many_were_tried() {
    for (count, expected) in [(1, "no kid; 1 of 1 keys for EdDSA"), (5, "no kid; 5 of 5 keys for EdDSA")] {
        let jwks = (0..count).map(|index| Key::new("EdDSA", &format!("k{index}")).jwk()).collect();
        let house = House::with_issuer(issuer_of(jwks), &["--jwks-refresh-cooldown", "1s"]).await;
        let token = house.issuer.token_by(&Key::new("EdDSA", "x")).without_header("kid").sign();
        assert_eq!(house.verdict(&token).await, "unknown_key");
        let line = house.gate.logged("unknown_key").await;
        assert!(line.contains(expected), "{line}");
    }
}
