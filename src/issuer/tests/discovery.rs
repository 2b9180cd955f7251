//! What an issuer says in place of metadata, or of keys.

use super::*;

const SERVER: &str = "/.well-known/oauth-authorization-server";
const METADATA: &str = r#"{"issuer":"@","jwks_uri":"@/.well-known/jwks.json"}"#;

/// Answers with which servers say that there is no such document, and with what comes of an application there.
const NOT_HERE: [(&str, &str); 17] = [
    ("400 Bad Request", ""),
    ("401 Unauthorized", ""),
    ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"),
    ("404 Not Found", ""),
    ("405 Method Not Allowed", ""),
    ("406 Not Acceptable", ""),
    ("410 Gone", ""),
    ("421 Misdirected Request", ""),
    ("451 Unavailable For Legal Reasons", ""),
    ("501 Not Implemented", ""),
    ("200 OK", "<!doctype html><html><div id=app></div></html>"),
    ("200 OK", ""),
    ("200 OK", "[]"),
    ("200 OK", "{\"message\":\"Not Found\"}"),
    ("200 OK", "\u{feff}{\"issuer\":\"@\"}"),
    ("200 OK", "{}"),
    ("200 OK", r#"{"keys":[]}"#),
];

/// Answers of an issuer that is down, busy or wrongly set up.
const FAILED: [(&str, &str); 11] = [
    ("408 Request Timeout", ""),
    ("425 Too Early", ""),
    ("429 Too Many Requests", ""),
    ("500 Internal Server Error", ""),
    ("502 Bad Gateway", "<html>"),
    ("503 Service Unavailable", METADATA),
    ("504 Gateway Timeout", ""),
    ("200 OK", r#"{"issuer":"https://other.example","jwks_uri":"@/.well-known/jwks.json"}"#),
    ("200 OK", r#"{"issuer":"@","jwks_uri":"ftp://issuer.example/keys"}"#),
    ("200 OK", r#"{"issuer":"@"}"#),
    ("200 OK", r#"{"jwks_uri":"@/.well-known/jwks.json"}"#),
];

#[tokio::test]
async fn an_answer_that_is_no_metadata_leads_to_the_next_form() {
    for (status, body) in NOT_HERE {
        for form in [SERVER, KEYS] {
            let origin = Origin::start().await;
            origin.publish(&["a"]);
            origin.say(OIDC, status, "", body);
            origin.say(SERVER, status, "", body);
            if form == SERVER {
                origin.say(SERVER, "200 OK", "", METADATA);
            }
            let (issuer, _readiness, _tasks) = run(origin.settings());
            attempts(&issuer, 1).await;
            let report = issuer.status().report;
            assert!(report.last_error.is_none(), "{status} {body:?}: {:?}", report.last_error);
            let expected = if form == SERVER { "RFC 8414" } else { "a key set without metadata" };
            assert_eq!(report.metadata_form.as_deref(), Some(expected), "{status} {body:?}");
        }
    }
}

#[tokio::test]
async fn metadata_that_is_too_large_is_none() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    origin.say(OIDC, "200 OK", "", &" ".repeat(600 * 1024));
    let (issuer, _readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 1).await;
    assert!(issuer.key(&header(Some("a"))).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_down_busy_or_another_is_not_looked_for_in_the_next_form() {
    for (status, body) in FAILED {
        let origin = Origin::start().await;
        origin.publish(&["a"]);
        origin.say(OIDC, status, "", body);
        let (issuer, _readiness, _tasks) = run(origin.settings());
        attempts(&issuer, 1).await;
        assert!(issuer.status().report.last_error.is_some(), "{status} {body:?}");
        assert!(issuer.keys().is_none() && origin.hits() == 0, "{status} {body:?}");
    }
}

/// An issuer with metadata whose keys could not be had once, so that it is discovered again: what then stands in its
/// place, and whether a new key is found.
async fn finds_a_new_key(status: &str, body: &str) -> bool {
    let origin = Origin::start().await;
    let at = |kids: &[&str]| {
        let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
        origin.say("/keys", "200 OK", "", &format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
    };
    at(&["a"]);
    origin.say(OIDC, "200 OK", "", r#"{"issuer":"@","jwks_uri":"@/keys"}"#);
    let settings = Settings { refresh_cooldown: Duration::from_millis(10), ..origin.settings() };
    let (issuer, _readiness, _tasks) = run(settings);
    attempts(&issuer, 1).await;
    origin.say("/keys", "500 Internal Server Error", "", "");
    assert!(issuer.key(&header(Some("b"))).await.is_err());
    at(&["a", "b"]);
    origin.say(OIDC, status, "", body);
    issuer.key(&header(Some("b"))).await.is_ok()
}

#[tokio::test]
async fn a_known_place_of_the_keys_serves_on_when_there_is_no_metadata_any_more() {
    for (status, body) in NOT_HERE.into_iter().chain([("503 Service Unavailable", ""), ("429 Too Many Requests", "")]) {
        assert!(finds_a_new_key(status, body).await, "{status} {body:?}");
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_passed_over() {
    for (status, body) in FAILED.into_iter().filter(|(status, _)| status.starts_with('2')) {
        assert!(!finds_a_new_key(status, body).await, "{status} {body:?}");
    }
}

#[tokio::test]
async fn keys_that_are_gone_from_the_known_place_are_looked_for_at_the_bare_one_and_back_again() {
    let origin = Origin::start().await;
    let set = |kid| format!(r#"{{"keys":[{}]}}"#, jwk(kid));
    origin.say("/keys", "200 OK", "", &set("a"));
    origin.say(OIDC, "200 OK", "", r#"{"issuer":"@","jwks_uri":"@/keys"}"#);
    let settings = Settings { refresh_cooldown: Duration::from_millis(10), ..origin.settings() };
    let (issuer, _readiness, _tasks) = run(settings);
    attempts(&issuer, 1).await;
    origin.say("/keys", "404 Not Found", "", "");
    origin.say(OIDC, "404 Not Found", "", "");
    let asks = async |kid| issuer.key(&header(Some(kid))).await.is_ok();
    // Of the known place, and then of the bare one, which has none either.
    assert!(!asks("b").await && !asks("b").await);
    origin.say("/keys", "200 OK", "", &set("b"));
    assert!(asks("b").await, "back at the known place");
    origin.say("/keys", "404 Not Found", "", "");
    origin.say(KEYS, "200 OK", "", &set("c"));
    assert!(!asks("c").await, "it is gone");
    assert!(asks("c").await, "and there is another");
}

#[tokio::test]
async fn nothing_found_names_each_place_that_was_asked_and_the_flag_that_helps() {
    let origin = Origin::start().await;
    origin.say(OIDC, "403 Forbidden", "", "");
    origin.say(SERVER, "200 OK", "", "<html>");
    let (issuer, _readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 1).await;
    let cause = issuer.status().report.last_error.unwrap().cause;
    for expected in
        ["jwks.json: status 404", "--jwks-url", "openid-configuration: status 403", "server: metadata: not a"]
    {
        assert!(cause.contains(expected), "{expected}: {cause}");
    }
}

#[tokio::test]
async fn a_fetch_asks_for_no_coding_and_for_any_type_as_a_last_resort() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let (issuer, _readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 1).await;
    let head = lock(&origin.head).clone();
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
    assert!(head.contains("accept: application/json, application/jwk-set+json, */*;q=0.1\r\n"), "{head}");
}

#[tokio::test]
async fn what_came_in_place_of_keys_is_named_with_the_flag_that_helps() {
    let certificates = r#"{"k1":"-----BEGIN CERTIFICATE-----\nMIIB","k2":"-----BEGIN CERTIFICATE-----\nMIIC"}"#;
    let fixed = "is --jwks-url the address of the key set itself?";
    for (fields, body, what, hint_for_fixed) in [
        ("", "<!DOCTYPE html><html>", "it is HTML, such as a login page", fixed),
        ("content-encoding: br\r\n", "}}}", "it is compressed (br)", fixed),
        ("", "\u{feff}{\"keys\":[]}", "it begins with a byte order mark", fixed),
        ("", certificates, "it is a map of X.509 certificates", fixed),
        ("", r#"{"error":"x"}"#, "it is a JSON object without `keys`", fixed),
        ("", METADATA, "it is metadata, and its jwks_uri names the JWK set", "or leave --jwks-url out"),
        ("", "", "it is empty", fixed),
    ] {
        let origin = Origin::start().await;
        origin.say(KEYS, "200 OK", fields, body);
        let jwks_url = Url::parse(&format!("{}{KEYS}", origin.url)).unwrap();
        for (jwks_url, hint) in [(None, "; name the key set with --jwks-url"), (Some(jwks_url), hint_for_fixed)] {
            let (issuer, _readiness, _tasks) = run(Settings { jwks_url, ..origin.settings() });
            attempts(&issuer, 1).await;
            let cause = issuer.status().report.last_error.unwrap().cause;
            assert!(cause.contains("key set: not a JWK set: line 1, column "), "{cause}");
            assert!(cause.contains(what) && cause.contains(hint), "{what}: {cause}");
        }
    }
}
