//! Request targets (RFC 9112 §3.2): what the origin sees of each, or why it sees none.

use crate::support::http2::{Http2, get};
use crate::support::{Binary, Client, House, Issuer, Origin, client, eventually};
use crate::upstream_kinds::House2;

/// The name, the source, the request line, and the target and `Host` at the origin, or the reason of the refusal.
type Case = (&'static str, &'static str, &'static str, Result<(&'static str, &'static str), &'static str>);

const CASES: &[Case] = &[
    ("a path", "RFC 9112 §3.2.1", "GET /a/b HTTP/1.1", Ok(("/a/b", "gate.test"))),
    ("a path and a query", "RFC 9112 §3.2.1", "GET /a?b=c&d HTTP/1.1", Ok(("/a?b=c&d", "gate.test"))),
    ("an empty query", "RFC 3986 §3.4", "GET /a? HTTP/1.1", Ok(("/a?", "gate.test"))),
    ("a question mark in a query", "RFC 3986 §3.4", "GET /?a?b HTTP/1.1", Ok(("/?a?b", "gate.test"))),
    (
        "escapes as they are",
        "RFC 3986 §6.2.2",
        "GET /%7e%2F%2f%00%0d%0a HTTP/1.1",
        Ok(("/%7e%2F%2f%00%0d%0a", "gate.test")),
    ),
    ("an escape of an escape", "RFC 3986 §2.4", "GET /%252e%252e/ HTTP/1.1", Ok(("/%252e%252e/", "gate.test"))),
    ("half an escape", "RFC 3986 §2.1", "GET /%2 HTTP/1.1", Ok(("/%2", "gate.test"))),
    ("dots as they are", "CVE-2026-42274", "GET /a/../b/./c HTTP/1.1", Ok(("/a/../b/./c", "gate.test"))),
    ("slashes as they are", "CVE-2021-29492", "GET //a///b HTTP/1.1", Ok(("//a///b", "gate.test"))),
    (
        "slashes that look like an authority",
        "RFC 3986 §4.2",
        "GET //evil.example/a HTTP/1.1",
        Ok(("//evil.example/a", "gate.test")),
    ),
    (
        "a path that looks like a URL",
        "RFC 9112 §3.2.1",
        "GET /http://evil.example/ HTTP/1.1",
        Ok(("/http://evil.example/", "gate.test")),
    ),
    ("an at sign in a path", "RFC 3986 §3.3", "GET /@evil.example HTTP/1.1", Ok(("/@evil.example", "gate.test"))),
    ("a semicolon in a path", "CVE-2020-1957", "GET /a;/../b HTTP/1.1", Ok(("/a;/../b", "gate.test"))),
    ("braces that real clients send", "RFC 3986 §2.2", "GET /a?{b}|c HTTP/1.1", Ok(("/a?{b}|c", "gate.test"))),
    ("a method of its own", "RFC 9110 §9.1", "PURGE /a HTTP/1.1", Ok(("/a", "gate.test"))),
    ("a method in small letters is another", "RFC 9110 §9.1", "get /a HTTP/1.1", Ok(("/a", "gate.test"))),
    ("asterisk", "RFC 9112 §3.2.4", "OPTIONS * HTTP/1.1", Ok(("*", "gate.test"))),
    ("absolute", "RFC 9112 §3.2.2", "GET http://gate.test/a?b HTTP/1.1", Ok(("/a?b", "gate.test"))),
    (
        "absolute, another host than Host",
        "RFC 9112 §3.2.2",
        "GET http://other.test/a HTTP/1.1",
        Ok(("/a", "other.test")),
    ),
    ("absolute, a port", "RFC 9112 §3.2.2", "GET http://other.test:81/a HTTP/1.1", Ok(("/a", "other.test:81"))),
    ("absolute, no path", "RFC 9112 §3.2.2", "GET http://gate.test HTTP/1.1", Ok(("/", "gate.test"))),
    ("absolute, a query and no path", "RFC 9112 §3.2.2", "GET http://gate.test?a HTTP/1.1", Ok(("/?a", "gate.test"))),
    ("absolute, in capitals", "RFC 3986 §3.1", "GET HTTP://gate.test/a HTTP/1.1", Ok(("/a", "gate.test"))),
    ("absolute, user information", "RFC 9110 §4.2.4", "GET http://user@gate.test/ HTTP/1.1", Err("malformed_request")),
    ("absolute, two at signs", "GHSA-c5c4-8r6x-56w3", "GET http://a@b@gate.test/ HTTP/1.1", Err("malformed_request")),
    ("absolute, no host", "RFC 9110 §4.2.1", "GET http:///a HTTP/1.1", Err("malformed_request")),
    ("absolute, a port that is none", "RFC 3986 §3.2.3", "GET http://gate.test:a/ HTTP/1.1", Err("malformed_request")),
    ("absolute, one slash", "RFC 3986 §3", "GET http:/a HTTP/1.1", Err("malformed_request")),
    ("absolute, another scheme", "RFC 9110 §4.2", "GET ftp://gate.test/ HTTP/1.1", Err("malformed_request")),
    ("absolute, a file", "CWE-918", "GET file:///etc/passwd HTTP/1.1", Err("malformed_request")),
    ("absolute, a fragment", "RFC 9110 §4.2.5", "GET http://gate.test/#a HTTP/1.1", Err("ambiguous_request")),
    (
        "absolute, a backslash",
        "RFC 3986 §3.2",
        "GET http://gate.test\\@evil.example/ HTTP/1.1",
        Err("malformed_request"),
    ),
    ("authority for GET", "RFC 9112 §3.2.3", "GET gate.test:80 HTTP/1.1", Err("malformed_request")),
    ("authority for CONNECT", "RFC 9110 §9.3.6", "CONNECT gate.test:80 HTTP/1.1", Err("method_refused")),
    ("a path for CONNECT", "RFC 9112 §3.2.3", "CONNECT /a HTTP/1.1", Err("malformed_request")),
    ("a URL for CONNECT", "RFC 9112 §3.2.3", "CONNECT http://gate.test/ HTTP/1.1", Err("malformed_request")),
    ("TRACE", "RFC 9110 §9.3.8", "TRACE / HTTP/1.1", Err("method_refused")),
    ("asterisk for GET", "RFC 9112 §3.2.4", "GET * HTTP/1.1", Err("malformed_request")),
    ("a path without its slash", "RFC 9112 §3.2.1", "GET a HTTP/1.1", Err("malformed_request")),
    ("a query without a path", "RFC 9112 §3.2.1", "GET ?a HTTP/1.1", Err("malformed_request")),
    ("a fragment", "GHSA-pxq7-h93f-9jrg", "GET /a#b HTTP/1.1", Err("ambiguous_request")),
    ("an empty fragment", "GHSA-pxq7-h93f-9jrg", "GET /a# HTTP/1.1", Err("ambiguous_request")),
    ("a fragment behind a query", "GHSA-pxq7-h93f-9jrg", "GET /a?b#c HTTP/1.1", Err("ambiguous_request")),
    ("an escaped number sign is a path", "GHSA-pxq7-h93f-9jrg", "GET /a%23b HTTP/1.1", Ok(("/a%23b", "gate.test"))),
    ("a space in a target", "RFC 9112 §3", "GET /a b HTTP/1.1", Err("malformed_request")),
    ("a request line within a target", "CWE-444", "GET /a HTTP/1.1 x HTTP/1.1", Err("malformed_request")),
    ("two spaces", "RFC 9112 §3", "GET  / HTTP/1.1", Err("malformed_request")),
    ("a space at the end", "RFC 9112 §3", "GET / HTTP/1.1 ", Err("malformed_request")),
    ("a space at the start", "RFC 9112 §3", " GET / HTTP/1.1", Err("malformed_request")),
    ("tabs for spaces", "RFC 9112 §3", "GET\t/\tHTTP/1.1", Err("malformed_request")),
    ("a form feed for a space", "RFC 9112 §3", "GET\u{c}/ HTTP/1.1", Err("malformed_request")),
    ("a tab in a target", "RFC 9112 §3.2", "GET /a\tb HTTP/1.1", Err("malformed_request")),
    ("NUL in a target", "CWE-158", "GET /a\0b HTTP/1.1", Err("malformed_request")),
    ("DEL in a target", "RFC 9112 §3.2", "GET /a\u{7f}b HTTP/1.1", Err("malformed_request")),
    ("a letter beyond ASCII in a target", "RFC 3986 §2", "GET /\u{e9} HTTP/1.1", Err("malformed_request")),
    ("a backslash in a target", "CVE-2021-29492", "GET /a\\b HTTP/1.1", Err("malformed_request")),
    ("a backslash in a query", "RFC 3986 §3.4", "GET /a?b=\\c HTTP/1.1", Ok(("/a?b=\\c", "gate.test"))),
    ("a backslash in a path before a query", "CVE-2021-29492", "GET /a\\b?c HTTP/1.1", Err("malformed_request")),
    ("a backslash in both", "CVE-2021-29492", "GET /a?b\\c#\\d HTTP/1.1", Err("ambiguous_request")),
    ("quotes in a path", "RFC 3986 §2", "GET /a/{\"b\":\"c\"} HTTP/1.1", Ok(("/a/{\"b\":\"c\"}", "gate.test"))),
    ("quotes in a query", "RFC 3986 §2", "GET /q?a=up{b=\"c\"} HTTP/1.1", Ok(("/q?a=up{b=\"c\"}", "gate.test"))),
    ("quotes in HTTP/1.0", "RFC 3986 §2", "GET /a\"b?\" HTTP/1.0", Ok(("/a\"b?\"", "gate.test"))),
    ("angle brackets in a path", "RFC 3986 §2", "GET /<a>/b HTTP/1.1", Ok(("/<a>/b", "gate.test"))),
    ("angle brackets in a query", "RFC 3986 §2", "GET /a?<b> HTTP/1.1", Ok(("/a?<b>", "gate.test"))),
    ("backticks", "RFC 3986 §2", "GET /`a`?`b` HTTP/1.1", Ok(("/`a`?`b`", "gate.test"))),
    ("carets, braces and bars", "RFC 3986 §2", "GET /a^{b}|c?^{}| HTTP/1.1", Ok(("/a^{b}|c?^{}|", "gate.test"))),
    (
        "all of them beside escapes",
        "RFC 3986 §2",
        "GET /%3C<%3e>\"?%22\"\\ HTTP/1.1",
        Ok(("/%3C<%3e>\"?%22\"\\", "gate.test")),
    ),
    (
        "absolute, angle brackets",
        "RFC 9112 §3.2.2",
        "GET http://other.test/<a>?\"b HTTP/1.1",
        Ok(("/<a>?\"b", "other.test")),
    ),
    (
        "absolute, no path and quotes",
        "RFC 9112 §3.2.2",
        "GET http://gate.test?\"a\" HTTP/1.1",
        Ok(("/?\"a\"", "gate.test")),
    ),
    ("absolute, quotes in the host", "RFC 3986 §3.2", "GET http://ga\"te.test/ HTTP/1.1", Err("malformed_request")),
    ("quotes without a path", "RFC 9112 §3.2.1", "GET \"/a\" HTTP/1.1", Err("malformed_request")),
    ("brackets for CONNECT", "RFC 9112 §3.2.3", "CONNECT <gate.test:80> HTTP/1.1", Err("malformed_request")),
    ("bytes beyond ASCII behind quotes", "RFC 3986 §2", "GET /a?\"\u{e9} HTTP/1.1", Err("malformed_request")),
    ("bare CR in a target", "CVE-2022-32214", "GET /a\rb HTTP/1.1", Err("ambiguous_request")),
    ("bare LF behind the request line", "RFC 9112 §2.2", "GET / HTTP/1.1\nX: y", Err("ambiguous_request")),
    ("no version", "RFC 9112 §3", "GET /", Err("malformed_request")),
    ("HTTP/0.9 by its name", "RFC 9112 §2.3", "GET / HTTP/0.9", Err("malformed_request")),
    ("HTTP/1.2", "RFC 9112 §2.3", "GET / HTTP/1.2", Err("malformed_request")),
    ("HTTP/1.10", "RFC 9112 §2.3", "GET / HTTP/1.10", Err("malformed_request")),
    ("HTTP/2 by its name", "RFC 9113 §3.4", "GET / HTTP/2", Err("malformed_request")),
    ("a version in small letters", "RFC 9112 §2.3", "GET / http/1.1", Err("malformed_request")),
    ("another protocol", "RFC 9112 §2.3", "GET / ICAP/1.1", Err("malformed_request")),
    ("no method", "RFC 9112 §3.1", " / HTTP/1.1", Err("malformed_request")),
    ("a method with a colon", "RFC 9110 §9.1", "GET: / HTTP/1.1", Err("malformed_request")),
    ("a method with NUL", "CWE-158", "GET\0 / HTTP/1.1", Err("malformed_request")),
    ("a method in quotes", "RFC 9110 §9.1", "\"GET\" / HTTP/1.1", Err("malformed_request")),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn the_origin_sees_the_target_byte_for_byte_or_not_at_all() {
    let house = House::start(&["--skip-auth-route", "/only-here"]).await;
    let token = house.issuer.token().sign();
    for (name, source, line, expected) in CASES {
        let before = house.origin.begun();
        let mut client = Client::connect(house.gate.addr()).await;
        let fields = format!("Host: gate.test\r\nAuthorization: Bearer {token}\r\n");
        client.send(format!("{line}\r\n{fields}\r\n")).await;
        let response = client.response().await;
        match expected {
            Ok(expected) => {
                assert_eq!(response.status, 200, "{name} ({source})");
                let received = house.origin.last();
                assert_eq!((&*received.target, received.header("host").unwrap()), *expected, "{name} ({source})");
                assert_eq!(received.method, line.split(' ').next().unwrap(), "{name} ({source})");
            }
            Err(reason) => {
                assert_eq!(response.denial().reason, *reason, "{name} ({source})");
                assert_eq!(house.origin.begun(), before, "{name} ({source})");
            }
        }
    }
}

/// A target, and what the log says of it: the path as far as it may be shown, and the rest.
#[rustfmt::skip]
const REFUSED: &[(&str, Option<&str>, &str)] = &[
    ("/safe/a\\b?secret", Some("/safe/a"), "the path has a backslash after 7 bytes"),
    ("/safe?secret=a#b", Some("/safe"), "the request target has a fragment after 14 bytes"),
    ("/safe/\u{e9}?secret", Some("/safe/"), "the request target has the byte 0xC3 after 6 bytes"),
    ("/<safe>\u{7f}", Some("/<safe>"), "the request target has the byte 0x7F after 7 bytes"),
    ("/safe\t", Some("/safe"), "the request target has the byte 0x09 after 5 bytes"),
    ("/safe/a secret", Some("/safe/a"), "the request target has a space after 7 bytes"),
    ("http://a.test/safe\\", Some("/safe"), "the path has a backslash after 18 bytes"),
    ("\\secret", None, "the path has a backslash after 0 bytes"),
];

#[tokio::test]
async fn a_refused_target_is_logged_with_its_method_its_safe_part_and_the_character() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url()]);
    let addr = binary.addr().await;
    for (number, (target, path, detail)) in REFUSED.iter().enumerate() {
        let method = format!("M{number}");
        let response = client::exchange(addr, client::request(&method, target, None, "")).await;
        assert_eq!(response.status, 400, "{target:?}");
        assert_eq!(response.denial().detail, None, "{target:?}");
        let logged = || binary.log().into_iter().find(|line| line["detail"] == *detail);
        eventually(&format!("it is logged: {detail}"), async || logged().is_some()).await;
        let line = logged().unwrap();
        assert_eq!(line["path"].as_str(), *path, "{target:?}: {line}");
        assert_eq!(line["method"].as_str(), path.map(|_| &*method), "{target:?}: {line}");
        assert!(!line.to_string().contains("secret"), "{line}");
    }
}

#[tokio::test]
async fn a_public_route_is_judged_by_the_bytes_that_are_forwarded() {
    let house = House::start(&["--skip-auth-route", "/open/*,GET=/exact"]).await;
    for (target, status) in [
        ("/exact?<a>=\"b\"", 200),
        ("/exact?\"&_method=PUT", 401),
        ("/exact<", 401),
        ("/exact\"", 401),
        ("/open/a?`b`\\", 200),
        ("/open/<a>", 401),
        ("/open/`/../a", 401),
        ("/open/%3Ca%3E", 401),
        ("http://gate.test/open/a?<", 200),
        ("http://gate.test/<?/open/a", 401),
    ] {
        let response = client::get(house.gate.addr(), target, None).await;
        assert_eq!(response.status, status, "{target}");
        let seen = target.strip_prefix("http://gate.test").unwrap_or(target);
        assert!(status != 200 || house.origin.last().target == seen, "{target}");
    }
}

#[tokio::test]
async fn what_http2_does_not_carry_is_refused_where_it_is_seen() {
    let house = House2::start(&[]).await;
    for (target, status) in
        [("/a?b={\\}|^", 200), ("/a\"b\"", 200), ("/a<b", 400), ("/a`b", 400), ("/a?b=\"c\"", 400), ("/a?b>", 400)]
    {
        let response = client::get(house.gate.addr(), target, Some(&house.token())).await;
        assert_eq!(response.status, status, "{target}");
        assert!(status == 200 || response.denial().reason == "malformed_request", "{target}");
        assert!(status == 400 || house.origin.last().target == target, "{target}");
    }
}

#[tokio::test]
async fn what_http2_carries_reaches_an_origin_with_http1() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for target in ["/a\"b\"/{c}", "/a?b=\\c", "/a?`b`^|"] {
        let response = Http2::connect(house.gate.addr()).await.exchange(get(target, Some(&token))).await;
        assert_eq!((response.status, &*house.origin.last().target), (200, target), "{target}");
    }
}
