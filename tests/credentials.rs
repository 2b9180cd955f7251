//! Where a token stands in a request (RFC 6750 §2, RFC 9110 §11).

use crate::support::{House, Reply, client};

#[tokio::test]
async fn a_token_is_found_in_any_case_of_bearer_and_after_any_spaces() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR    "] {
        let fields = format!("Authorization: {scheme}{token}\r\nConnection: close\r\n");
        let response = client::exchange(house.gate.addr(), client::request("GET", "/", None, &fields)).await;
        assert_eq!(response.status, 200, "{scheme:?}: {response:?}");
    }
}

#[tokio::test]
async fn what_is_no_single_bearer_token_is_refused_with_its_reason() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let cases = [
        ("", 401, "token_missing"),
        ("Proxy-Authorization: Bearer {token}\r\n", 401, "token_missing"),
        ("Cookie: token={token}\r\n", 401, "token_missing"),
        ("X-Authorization: Bearer {token}\r\n", 401, "token_missing"),
        ("Authorization: Basic dXNlcjpwYXNz\r\n", 401, "unsupported_scheme"),
        ("Authorization: {token}\r\n", 401, "unsupported_scheme"),
        ("Authorization: Negotiate {token}\r\n", 401, "unsupported_scheme"),
        ("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n", 400, "multiple_tokens"),
        ("Authorization: Bearer {token}\r\nauthorization: Basic dXNlcjpwYXNz\r\n", 400, "multiple_tokens"),
        ("Authorization: Bearer {token}, Bearer {token}\r\n", 400, "multiple_tokens"),
        ("Authorization: Bearer\r\n", 400, "malformed_credentials"),
        ("Authorization:\r\n", 400, "malformed_credentials"),
        ("Authorization: Bearer {token} and more\r\n", 400, "malformed_credentials"),
        ("Authorization: Bearer \"{token}\"\r\n", 400, "malformed_credentials"),
        ("Authorization: Bearer\t{token}\r\n", 400, "malformed_credentials"),
        ("Authorization: Bearer x\r\n", 401, "malformed_token"),
    ];
    for (fields, status, reason) in cases {
        let fields = fields.replace("{token}", &token);
        let response = client::exchange(house.gate.addr(), client::request("GET", "/", None, &fields)).await;
        assert_eq!((response.status, &*response.denial().reason), (status, reason), "{fields}");
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn a_token_in_the_query_is_not_looked_at() {
    let house = House::start(&[]).await;
    let target = format!("/?access_token={}", house.issuer.token().sign());
    let response = client::get(house.gate.addr(), &target, None).await;
    assert_eq!(response.denial().reason, "token_missing");
}

#[tokio::test]
async fn a_token_may_have_16_kib_and_no_byte_more() {
    let house = House::start(&[]).await;
    let refused = house.get("/", &"a".repeat(16 * 1024 + 1)).await;
    assert_eq!((refused.status, &*refused.denial().reason), (400, "token_too_large"));
    let read = house.get("/", &"a".repeat(16 * 1024)).await;
    assert_eq!((read.status, &*read.denial().reason), (401, "malformed_token"));
}

#[tokio::test]
async fn the_origin_sees_the_token_unless_it_is_told_to_be_stripped() {
    for (flags, expected) in
        [(&[][..], true), (&["--forward-token", "keep"], true), (&["--forward-token", "strip"], false)]
    {
        let house = House::start(flags).await;
        let token = house.issuer.token().sign();
        assert_eq!(house.get("/", &token).await.status, 200);
        let expected = expected.then(|| format!("Bearer {token}"));
        assert_eq!(house.origin.only().header("authorization"), expected.as_deref(), "{flags:?}");
    }
}

#[tokio::test]
async fn a_public_route_needs_no_token_and_any_other_does() {
    let flags = ["--skip-auth-route", "/health", "--skip-auth-route", "GET=/public/*"];
    let house = House::start(&flags).await;
    let cases = [
        ("GET", "/health", "passed"),
        ("POST", "/health", "passed"),
        ("GET", "/health?x=/../y", "passed"),
        ("GET", "/public/a/b", "passed"),
        ("GET", "/public/", "passed"),
        ("GET", "http://gate.test/health", "passed"),
        ("POST", "/public/a", "token_missing"),
        ("GET", "/public", "token_missing"),
        ("GET", "/publicity", "token_missing"),
        ("GET", "/health/", "token_missing"),
        ("GET", "/Health", "token_missing"),
        ("GET", "/", "token_missing"),
        ("GET", "/public/../private", "token_missing"),
        ("GET", "/public/./a", "token_missing"),
        ("GET", "/public//a", "token_missing"),
        ("GET", "/public/%2e%2e/private", "token_missing"),
        ("GET", "/public/a%2fb", "token_missing"),
        ("GET", "/public/..;/private", "token_missing"),
        ("GET", "/public/a;b", "token_missing"),
    ];
    for (method, target, expected) in cases {
        let request = client::request(method, target, None, "Connection: close\r\n");
        let response = client::exchange(house.gate.addr(), request).await;
        let seen = if response.status == 200 { "passed".to_owned() } else { response.denial().reason };
        assert_eq!(seen, expected, "{method} {target}");
    }
}

#[tokio::test]
async fn a_preflight_passes_only_where_it_may_and_only_if_it_is_one() {
    let preflight = "Origin: https://app.example.com\r\nAccess-Control-Request-Method: PUT\r\n";
    let cases = [
        ("OPTIONS", preflight, &["--skip-auth-preflight"][..], "passed"),
        ("OPTIONS", preflight, &[], "token_missing"),
        ("GET", preflight, &["--skip-auth-preflight"], "token_missing"),
        ("OPTIONS", "Origin: https://app.example.com\r\n", &["--skip-auth-preflight"], "token_missing"),
        ("OPTIONS", "Access-Control-Request-Method: PUT\r\n", &["--skip-auth-preflight"], "token_missing"),
    ];
    for (method, fields, flags, expected) in cases {
        let house = House::start(flags).await;
        house.origin.reply(Reply::new(200, &[("Access-Control-Allow-Origin", "*")], ""));
        let request = client::request(method, "/x", None, fields);
        let response = client::exchange(house.gate.addr(), request).await;
        let seen = if response.status == 200 { "passed".to_owned() } else { response.denial().reason };
        assert_eq!(seen, expected, "{method} {fields} {flags:?}");
    }
}
