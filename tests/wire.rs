//! Raw bytes in, raw bytes out (RFC 9112): what can be read in two ways is read in none.

use std::time::Duration;

use crate::support::{Client, House, client, patiently};

/// Every one of these is followed by a request that must never be seen.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read() {
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n folded\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nX(: y\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET /\u{e9}x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET /\x7fx HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET /a\\b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET /#x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "ambiguous_request"),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        ("GET /\r\n\r\n", 400, "malformed_request"),
        ("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400, "malformed_request"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "ambiguous_request"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 05\r\n\r\n", 400, "ambiguous_request"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", 400, "malformed_request"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", 400, "malformed_request"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "ambiguous_request",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "ambiguous_request",
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "unsupported_transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 501, "unsupported_transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400, "ambiguous_request"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400, "malformed_request"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "ambiguous_request"),
    ];
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (head, status, reason) in cases {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(format!("{head}{SMUGGLED}")).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.denial().reason), (status, reason), "{head:?}");
        assert_eq!(response.header("connection"), Some("close"), "{head:?}");
        assert!(client.is_closed().await, "{head:?}");
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn sizes_end_where_they_are_said_to() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let line = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n");
    let target = |size: usize| line(&format!("/{}", "a".repeat(size - 1))) + "\r\n";
    let fields = |count: usize| line("/") + &"X: y\r\n".repeat(count - 1) + "\r\n";
    let head = |size: usize| {
        let rest = line("/") + "X: \r\n\r\n";
        line("/") + &format!("X: {}\r\n\r\n", "a".repeat(size - rest.len()))
    };
    let cases = [
        (target(16 * 1024), 200, None),
        (target(16 * 1024 + 1), 414, Some("uri_too_long")),
        (fields(100), 200, None),
        (fields(101), 431, Some("headers_too_large")),
        (head(64 * 1024), 200, None),
        (head(64 * 1024 + 1), 431, Some("headers_too_large")),
    ];
    for (request, status, reason) in cases {
        let response = client::exchange(house.gate.addr(), &request).await;
        let seen = reason.map(|_| response.denial().reason);
        assert_eq!((response.status, seen.as_deref()), (status, reason), "{} bytes", request.len());
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    for byte in client::request("GET", "/slow", Some(&token), "").bytes() {
        client.send([byte]).await;
    }
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn one_empty_line_before_a_request_is_forgiven() {
    let house = House::start(&[]).await;
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "");
    assert_eq!(client::exchange(house.gate.addr(), format!("\r\n{request}")).await.status, 200);
}

#[tokio::test]
async fn a_silent_or_half_sent_head_ends_and_an_idle_connection_outlives_it() {
    let house = House::start(&["--header-timeout", "1s"]).await;
    let token = house.issuer.token().sign();
    let request = client::request("GET", "/", Some(&token), "");
    let mut idle = Client::connect(house.gate.addr()).await;
    idle.send(&request).await;
    assert_eq!(idle.response().await.status, 200);

    let mut silent = Client::connect(house.gate.addr()).await;
    let mut half = Client::connect(house.gate.addr()).await;
    half.send(&request[..request.len() - 3]).await;
    let mut later = Client::connect(house.gate.addr()).await;
    later.send(&request).await;
    assert_eq!(later.response().await.status, 200);
    later.send("GET / HT").await;

    for halved in [&mut half, &mut later] {
        let response = halved.response().await;
        assert_eq!((response.status, &*response.denial().reason), (408, "request_timeout"));
        assert!(halved.is_closed().await);
    }
    assert!(silent.is_closed().await, "with nothing said, nothing is answered");
    idle.send(&request).await;
    assert_eq!(idle.response().await.status, 200, "between requests another limit holds");
}

#[tokio::test]
async fn a_connection_between_requests_ends_after_its_own_limit() {
    let house = House::start(&["--idle-timeout", "1s"]).await;
    let mut idle = Client::connect(house.gate.addr()).await;
    idle.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    assert_eq!(idle.response().await.status, 200);
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let house = House::start(&["--max-connections", "2"]).await;
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "");
    let mut first = Client::connect(house.gate.addr()).await;
    let mut second = Client::connect(house.gate.addr()).await;
    for client in [&mut first, &mut second] {
        client.send(&request).await;
        assert_eq!(client.response().await.status, 200);
    }
    let mut third = Client::connect(house.gate.addr()).await;
    third.send(&request).await;
    for _ in 0..10 {
        first.send(&request).await;
        assert_eq!(first.response().await.status, 200);
    }
    assert_eq!(house.origin.begun(), 12, "the third one waits");
    drop(second);
    assert_eq!(third.response().await.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_is_not_given_more_time() {
    let house = House::start(&["--header-timeout", "1s"]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_secs(5) && client.try_send("X: y\r\n").await {
        if tokio::time::timeout(Duration::from_millis(100), client.some()).await.is_ok() {
            break;
        }
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending_its_body() {
    let house = House::start(&[]).await;
    for (before, after) in [(1_000, 0), (60_000, 0), (1_000, 30_000)] {
        let mut client = Client::connect(house.gate.addr()).await;
        let length = format!("Content-Length: {}\r\n", before + after);
        client.send(client::request("POST", "/", None, &length) + &"x".repeat(before)).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (401, Some("close")));
        // On a connection that was reset, the second of these would fail.
        for _ in 0..2 {
            client.send("x".repeat(after / 2)).await;
        }
        client.half_close().await;
        assert!(client.is_closed_in_order().await, "a reset could overtake the answer");
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn a_refused_body_is_not_read_without_end() {
    let house = House::start(&[]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", None, "Content-Length: 1073741824\r\n")).await;
    assert_eq!(client.response().await.status, 401);
    let chunk = vec![b'x'; 64 * 1024];
    // It is time that ends it, however much comes.
    let sending = async { while client.try_send(&chunk).await {} };
    patiently("it is read no more", sending).await;
}

#[tokio::test]
async fn a_refusal_without_a_body_keeps_the_connection() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    for _ in 0..3 {
        client.send(client::request("GET", "/", None, "")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (401, None));
        client.send(client::request("GET", "/", Some(&token), "")).await;
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_denial_to_a_head_request_has_no_body() {
    let house = House::start(&[]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("HEAD", "/", None, "Connection: close\r\n")).await;
    let response = client.response_head().await;
    assert_eq!(response.status, 401);
    assert!(response.header("www-authenticate").is_some());
    assert!(client.is_closed().await, "a body would follow here");
}

#[tokio::test]
async fn an_empty_line_behind_a_request_begins_no_head_whose_time_counts() {
    let house = House::start(&["--skip-auth-route", "/*", "--idle-timeout", "300ms", "--header-timeout", "1m"]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    // As some clients send it behind a body (RFC 9112 §2.2).
    client.send(client::request("POST", "/", None, "Content-Length: 4\r\n") + "body\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert!(client.is_closed_in_order().await);
}
