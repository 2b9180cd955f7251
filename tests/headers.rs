//! What the origin learns of the client, and that only the gate can say it.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::origin::Received;
use crate::support::token::compact;
use crate::support::{Binary, Client, House, Issuer, Origin, client, eventually};

/// Every spelling that some origin reads as `X-JWT-Claims`, or as a header of its family.
const ALIASES: [&str; 13] = [
    "X-JWT-Claims",
    "x-jwt-claims",
    "X_JWT_Claims",
    "X_Jwt-Claims",
    "X.JWT.Claims",
    "X-JWT--Claims",
    "X-JWT_.Claims",
    "_X-JWT-Claims",
    "X-JWT-Claims_",
    "X-JWT-Claims'",
    "X!JWT!Claims",
    "X-JWT-Sub",
    "X_JWT_Anything",
];

async fn sent(house: &House, fields: &str) -> Received {
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), fields);
    let response = client::exchange(house.gate.addr(), request).await;
    assert_eq!(response.status, 200, "{fields}: {response:?}");
    house.origin.last()
}

/// Header fields as they stand in a request.
fn lines<N: Display>(fields: impl IntoIterator<Item = (N, &'static str)>) -> String {
    let lines: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    lines.concat()
}

fn claims(received: &Received) -> Value {
    let claims = received.header("x-jwt-claims").unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

// --- the claims

#[tokio::test]
async fn the_claims_arrive_byte_for_byte_as_they_were_signed() {
    let house = House::start(&[]).await;
    let token = house.issuer.token();
    let payload = format!(
        "{{ \"iss\" :\"{}\",\r\n\t\"exp\":{}.50 , \"name\":\"Ren\\u00e9 ü 😀\", \"big\":12345678901234567890.10 }}",
        house.issuer.url(),
        crate::support::now() + 60
    );
    let signed = compact(token.jose_header(), &payload, |input| token.key.sign(input));
    assert_eq!(house.verdict(&signed).await, "passed");
    let received = house.origin.only();
    let header = received.header("x-jwt-claims").unwrap();
    assert_eq!(header, signed.split('.').nth(1).unwrap());
    assert_eq!(URL_SAFE_NO_PAD.decode(header).unwrap(), payload.as_bytes());
}

#[tokio::test]
async fn the_claims_header_has_the_name_it_is_given() {
    let house = House::start(&["--claims-header", "X-Userinfo"]).await;
    let received = sent(&house, "X_Userinfo: forged\r\nX-JWT-Claims: forged\r\n").await;
    assert_eq!(received.headers_named("x-userinfo").len(), 1);
    assert_ne!(received.header("x-userinfo"), Some("forged"));
    assert_eq!(received.names().iter().filter(|name| name.contains("jwt") || name.contains('_')).count(), 0);
}

#[tokio::test]
async fn as_json_the_claims_are_ascii_and_say_the_same() {
    let house = House::start(&["--claims-format", "json"]).await;
    let token = house.issuer.token().claim("name", "René 😀\u{7f}\n").claim("roles", json!(["a", {"b": [1, null]}]));
    assert_eq!(house.verdict(&token.sign()).await, "passed");
    let header = house.origin.only().header("x-jwt-claims").unwrap().to_owned();
    assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{header}");
    let (seen, expected): (Value, Value) =
        (serde_json::from_str(&header).unwrap(), serde_json::from_str(&token.payload()).unwrap());
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn single_claims_arrive_as_text_in_headers_of_their_own() {
    let flags = [
        ("sub", "X-User"),
        ("realm_access.roles", "X-Roles"),
        ("https://example.com/tenant", "X-Tenant"),
        ("https://example.com/app.id", "X-App"),
        ("level", "X-Level"),
        ("admin", "X-Admin"),
        ("nothing", "X-Nothing"),
        ("sub.inner", "X-Inner"),
    ];
    let pairs = flags.map(|(claim, header)| format!("{claim}={header}"));
    let flags: Vec<_> = pairs.iter().flat_map(|pair| ["--claim-header", pair]).collect();
    let house = House::start(&flags).await;
    let token = house
        .issuer
        .token()
        .claim("realm_access", json!({"roles": ["reader", "writer"]}))
        .claim("https://example.com/tenant", "acme")
        .claim("https://example.com/app", json!({"id": 7}))
        .claim("level", 1.5)
        .claim("admin", false);
    let fields = "X-Inner: forged\r\nX_Nothing: forged\r\nX-User: forged\r\n";
    let request = client::request("GET", "/", Some(&token.sign()), fields);
    assert_eq!(client::exchange(house.gate.addr(), request).await.status, 200);
    let received = house.origin.only();
    let expected = [
        ("x-user", Some("alice")),
        ("x-roles", Some("reader,writer")),
        ("x-tenant", Some("acme")),
        ("x-app", Some("7")),
        ("x-level", Some("1.5")),
        ("x-admin", Some("false")),
        ("x-nothing", None),
        ("x-inner", None),
        ("x_nothing", None),
    ];
    for (name, value) in expected {
        assert_eq!(received.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_claim_that_cannot_stand_in_a_header_is_refused_and_never_mangled() {
    let house = House::start(&["--claim-header", "name=X-Name"]).await;
    let cases = [
        json!("René"),
        json!("a\r\nX-Admin: 1"),
        json!("a\u{0}b"),
        json!({"first": "a"}),
        json!(["a,b", "c"]),
        json!([["a"]]),
        json!(" padded "),
    ];
    for name in cases {
        let response = house.get("/", &house.issuer.token().claim("name", name.clone()).sign()).await;
        let problem = response.denial();
        assert_eq!((response.status, &*problem.reason), (403, "claim_not_forwardable"), "{name}");
        assert!(problem.detail.unwrap().contains("name"), "{name}");
    }
    assert_eq!(house.verdict(&house.issuer.token().claim("name", "plain").sign()).await, "passed");
}

#[tokio::test]
async fn claims_beyond_their_budget_are_refused() {
    let house = House::start(&["--claims-header-max", "1KiB"]).await;
    let small = house.issuer.token().claim("groups", "x".repeat(400));
    assert_eq!(house.verdict(&small.sign()).await, "passed");
    let large = house.get("/", &house.issuer.token().claim("groups", "x".repeat(1000)).sign()).await;
    assert_eq!((large.status, &*large.denial().reason), (431, "claims_too_large"));
    assert_eq!(large.header("www-authenticate"), None);
}

// --- forgery

#[tokio::test]
async fn an_identity_header_of_the_clients_never_arrives_in_any_spelling() {
    let house = House::start(&["--skip-auth-route", "/public", "--claim-header", "sub=X-User"]).await;
    let spellings = ALIASES.into_iter().chain(["X-User", "x_user", "X..User"]);
    let fields = lines(spellings.map(|name| (name, "forged")));
    let received = sent(&house, &fields).await;
    assert_eq!(received.headers.iter().filter(|(_, value)| value == "forged").count(), 0, "{}", received.head);
    assert_eq!((&claims(&received)["sub"], received.header("x-user")), (&json!("alice"), Some("alice")));

    let public = client::request("GET", "/public", None, &fields);
    assert_eq!(client::exchange(house.gate.addr(), public).await.status, 200);
    let received = house.origin.last();
    assert_eq!(received.headers.iter().filter(|(_, value)| value == "forged").count(), 0, "{}", received.head);
    assert_eq!((received.header("x-jwt-claims"), received.header("x-user")), (None, None));
}

#[tokio::test]
async fn a_token_on_a_public_route_makes_no_identity() {
    let house = House::start(&["--skip-auth-route", "/public"]).await;
    for token in [house.issuer.token().sign(), "rubbish".to_owned()] {
        assert_eq!(house.get("/public", &token).await.status, 200);
        assert_eq!(house.origin.last().header("x-jwt-claims"), None);
    }
}

#[tokio::test]
async fn identity_headers_are_stripped_where_a_body_is_expected_to_be_asked_for() {
    let house = House::start(&[]).await;
    let fields = "Expect: 100-continue\r\nContent-Length: 2\r\nX_JWT_Claims: forged\r\nX-JWT-Claims: forged\r\n";
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", Some(&house.issuer.token().sign()), fields)).await;
    assert_eq!(client.next_status().await, 100);
    client.send("ok").await;
    assert_eq!(client.response().await.status, 200);
    let received = house.origin.only();
    assert_eq!(claims(&received)["sub"], "alice");
    assert_eq!(received.header("x_jwt_claims"), None);
}

#[tokio::test]
async fn what_the_client_names_in_connection_ends_here_and_cannot_end_ours() {
    let house = House::start(&[]).await;
    let fields = "Connection: close, X-JWT-Claims, x-forwarded-for, X-Debug, authorization, Via, X-Request-Id\r\n\
                  X-Debug: 1\r\nX-Kept: 1\r\n";
    let received = sent(&house, fields).await;
    assert_eq!(claims(&received)["sub"], "alice");
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!((received.header("x-debug"), received.header("x-kept")), (None, Some("1")));
    assert!(received.header("via").is_some() && received.header("x-request-id").is_some(), "{}", received.head);
    let connection = "Connection: Host, Content-Length, Transfer-Encoding\r\nContent-Length: 2\r\n";
    let request = client::request("POST", "/", Some(&house.issuer.token().sign()), connection) + "ok";
    assert_eq!(client::exchange(house.gate.addr(), request).await.status, 200);
    let received = house.origin.last();
    assert_eq!((received.header("host"), &*received.body), (Some("gate.test"), &b"ok"[..]));
}

#[tokio::test]
async fn a_field_that_another_parser_could_take_for_a_framing_or_routing_one_is_refused() {
    let house = House::start(&["--skip-auth-route", "/public"]).await;
    let token = house.issuer.token().sign();
    let names = [
        "Authorization_",
        "_Authorization",
        "Content_Length",
        "Content.Length",
        "Transfer_Encoding",
        "Transfer-Encoding_",
        "Host_",
        "Keep_Alive",
        "Proxy_Connection",
        "HTTP2_Settings",
        "Content_Type",
        "Cookie_",
        "Proxy_Authorization",
        "Connection_",
        "Upgrade'",
        "Expect_",
        "Te_",
        "Trailer_",
    ];
    for name in names {
        for (target, token) in [("/", Some(&*token)), ("/public", None)] {
            let request = client::request("GET", target, token, &format!("{name}: 1\r\n"));
            let response = client::exchange(house.gate.addr(), request).await;
            let problem = response.denial();
            assert_eq!((response.status, &*problem.reason), (400, "ambiguous_request"), "{name} at {target}");
        }
    }
    assert_eq!(house.origin.begun(), 0);
}

// --- the connection before ours

const FORWARDING: [(&str, &str); 10] = [
    ("X-Forwarded-For", "203.0.113.7, 10.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example.com"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Prefix", "/shop"),
    ("Forwarded", "for=203.0.113.7;proto=https"),
    ("X-Real-IP", "203.0.113.7"),
    ("X-Original-URL", "/admin"),
    ("X-Rewrite-URL", "/admin"),
    ("X-Forwarded-Client-Cert", "Hash=00"),
];

fn forwarding_fields() -> String {
    lines(FORWARDING)
}

#[tokio::test]
async fn forwarding_headers_of_an_untrusted_peer_are_replaced() {
    let house = House::start(&[]).await;
    let received = sent(&house, &forwarding_fields()).await;
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-forwarded-host"), Some("gate.test"));
    for (name, value) in FORWARDING {
        assert!(!received.headers_named(name).contains(&value), "{name}: {}", received.head);
    }
    for name in ["forwarded", "x-original-url", "x-rewrite-url", "x-forwarded-client-cert", "x-forwarded-prefix"] {
        assert_eq!(received.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn one_warning_names_the_flag_for_a_proxy_that_is_not_believed() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let flags = ["--issuer", &issuer.url(), "--upstream", &origin.url(), "--workers", "2"];
    let binary = Binary::start(&flags);
    let (addr, token) = (binary.addr().await, issuer.token().sign());
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    let warnings = || binary.stderr().iter().filter(|line| line.contains("--trusted-proxy")).count();
    assert_eq!(warnings(), 0);
    for _ in 0..6 {
        let request = client::request("GET", "/", Some(&token), "X-Forwarded-For: 1.2.3.4\r\n");
        assert_eq!(client::exchange(addr, request).await.status, 200);
    }
    binary.signal("TERM");
    let stderr = binary.wait().await.stderr;
    assert_eq!(stderr.matches("--trusted-proxy").count(), 1, "{stderr}");
}

#[tokio::test]
async fn forwarding_headers_of_a_trusted_proxy_are_kept_and_added_to() {
    for network in ["127.0.0.1", "127.0.0.0/8"] {
        let house = House::start(&["--trusted-proxy", "10.1.2.3", "--trusted-proxy", network]).await;
        let received = sent(&house, &forwarding_fields()).await;
        assert_eq!(received.headers_named("x-forwarded-for").join(", "), "203.0.113.7, 10.0.0.1, 127.0.0.1");
        for (name, value) in &FORWARDING[1..] {
            assert_eq!(received.header(name), Some(*value), "{name}");
        }
    }
}

#[tokio::test]
async fn other_spellings_of_forwarding_headers_never_arrive() {
    for flags in [&[][..], &["--trusted-proxy", "127.0.0.1"]] {
        let house = House::start(flags).await;
        let names = FORWARDING.map(|(name, _)| name.replace('-', "_")).into_iter().filter(|name| name.contains('_'));
        let fields = lines(names.chain(["Forwarded_".to_owned()]).map(|name| (name, "forged")));
        let received = sent(&house, &fields).await;
        assert_eq!(received.headers.iter().filter(|(_, value)| value == "forged").count(), 0, "{}", received.head);
    }
}

#[tokio::test]
async fn proxy_is_removed_and_via_appended() {
    let house = House::start(&[]).await;
    let received = sent(&house, "Proxy: http://evil.example.com\r\nVia: 1.0 fred\r\nVia: 1.1 p.example.net\r\n").await;
    assert_eq!(received.header("proxy"), None);
    assert_eq!(received.headers_named("via").join(", "), "1.0 fred, 1.1 p.example.net, 1.1 claimgate");
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_end_here() {
    let house = House::start(&[]).await;
    let fields = "Connection: keep-alive, upgrade\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
                  Upgrade: websocket\r\nTE: gzip\r\nHTTP2-Settings: AAMAAABk\r\nProxy-Authorization: Basic eDp5\r\n";
    let received = sent(&house, fields).await;
    for name in ["keep-alive", "proxy-connection", "upgrade", "te", "http2-settings", "proxy-authorization"] {
        assert_eq!(received.header(name), None, "{}", received.head);
    }
    assert_ne!(received.header("connection"), Some("upgrade"));
}

#[tokio::test]
async fn te_trailers_is_asked_for_afresh() {
    let house = House::start(&[]).await;
    let received = sent(&house, "TE: gzip, trailers\r\nConnection: TE\r\n").await;
    assert_eq!(received.header("te"), Some("trailers"));
    assert!(received.header("connection").unwrap().eq_ignore_ascii_case("te"));
}
