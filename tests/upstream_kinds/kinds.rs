//! Every kind of origin carries every kind of message.

use super::House2;
use crate::support::client::request;
use crate::support::origin::pattern;
use crate::support::{Certificate, Client, Gate, Http2Origin, Http2Reply, Issuer, Origin, Reply, client};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"];

/// Sends one request without a body and one with, by every method; the origin tells what came.
async fn every_method(gate: &Gate, issuer: &Issuer) {
    let token = issuer.token().sign();
    for method in METHODS {
        for (fields, body) in
            [("", ""), ("Content-Length: 4\r\n", "body"), ("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n")]
        {
            let mut client = Client::connect(gate.addr()).await;
            client.send(request(method, "/a/%2e?b=%20c", Some(&token), fields) + body).await;
            let mut response = client.response_head().await;
            if method != "HEAD" {
                client.read_body(&mut response).await;
                assert_eq!(response.text(), "ok", "{method} {body:?}");
            }
            assert_eq!((response.status, response.header("x-origin")), (200, Some("1")), "{method} {body:?}");
        }
    }
}

#[tokio::test]
async fn an_http2_origin_gets_every_method_with_and_without_a_body() {
    for house in [House2::start(&[]).await, House2::start_tls(&[]).await] {
        house.origin.reply(Http2Reply::new(200, &[("x-origin", "1"), ("content-length", "2")], "ok"));
        every_method(&house.gate, &house.issuer).await;
        let received = house.origin.received();
        assert_eq!(received.len(), METHODS.len() * 3);
        for (index, received) in received.iter().enumerate() {
            assert_eq!((&*received.method, &*received.target), (METHODS[index / 3], "/a/%2e?b=%20c"));
            assert_eq!(received.body, if index % 3 == 0 { &b""[..] } else { b"body" }, "{received:?}");
            assert!(received.is_complete && received.trailers.is_empty());
        }
    }
}

#[tokio::test]
async fn an_http1_origin_in_tls_or_on_a_socket_gets_every_method_with_and_without_a_body() {
    let certificate = Certificate::new();
    for origin in [Origin::start_tls(&certificate), Origin::start_unix()] {
        let issuer = Issuer::start();
        let ca = ["--upstream-ca-file", certificate.path()];
        let flags: &[&str] = if origin.url().starts_with("https") { &ca } else { &[] };
        let gate = Gate::start(&issuer, &origin, flags);
        gate.is_ready().await;
        origin.reply(Reply::new(200, &[("X-Origin", "1")], "ok"));
        // To HEAD, the same without the body.
        origin.reply_at("/head", Reply::raw("HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: 2\r\n\r\n"));
        let token = issuer.token().sign();
        for method in METHODS.into_iter().filter(|method| *method != "HEAD") {
            for (fields, body) in [("", ""), ("Content-Length: 4\r\n", "body")] {
                let response = client::exchange(gate.addr(), request(method, "/", Some(&token), fields) + body).await;
                assert_eq!((response.status, &*response.text()), (200, "ok"), "{method}");
                let received = origin.last();
                assert_eq!(
                    (&*received.method, &*received.version, &*received.body),
                    (method, "HTTP/1.1", body.as_bytes())
                );
            }
        }
        let mut client = Client::connect(gate.addr()).await;
        client.send(request("HEAD", "/head", Some(&token), "")).await;
        assert_eq!(client.response_head().await.header("content-length"), Some("2"));
        assert!(origin.opened() <= 2, "connections are used again: {}", origin.opened());
    }
}

#[tokio::test]
async fn an_http2_origin_gets_the_head_that_http2_wants() {
    let house = House2::start_tls(&[]).await;
    let fields = "Connection: X-Hop, TE\r\nTE: trailers\r\nX-Hop: 1\r\nCookie: a=1\r\nCookie: b=2\r\nX-A: 1\r\nX-A: 2\r\n\
                  Keep-Alive: 1\r\nUpgrade: h2c\r\nContent-Length: 1\r\n";
    let bytes = request("POST", "/", Some(&house.token()), fields) + "x";
    assert_eq!(client::exchange(house.gate.addr(), bytes).await.status, 200);
    let received = house.origin.last();
    assert_eq!(received.header(":scheme"), Some("https"));
    assert_eq!(received.header(":authority"), Some("gate.test"));
    assert_eq!(received.header("te"), Some("trailers"));
    assert_eq!(received.header("content-length"), Some("1"));
    assert_eq!(received.header("via"), Some("1.1 claimgate"));
    assert_eq!(received.headers_named("cookie"), ["a=1", "b=2"]);
    assert_eq!(received.headers_named("x-a"), ["1", "2"]);
    for gone in ["host", "connection", "x-hop", "keep-alive", "upgrade", "transfer-encoding"] {
        assert_eq!(received.header(gone), None, "{gone}");
    }
    assert!(received.header("x-jwt-claims").is_some());
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let house = House2::start(&[]).await;
    house.origin.reply(
        Http2Reply::late()
            .head(200, &[("trailer", "x-sum")])
            .data("ab")
            .trailers(&[("x-sum", "7"), ("content-length", "3")]),
    );
    let fields = "Transfer-Encoding: chunked\r\nTrailer: X-Up\r\nTE: trailers\r\nConnection: te\r\n";
    let bytes =
        request("POST", "/", Some(&house.token()), fields) + "1\r\nx\r\n0\r\nX-Up: 1\r\nX-JWT-Claims: forged\r\n\r\n";
    let response = client::exchange(house.gate.addr(), bytes).await;
    assert_eq!(response.text(), "ab");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(house.origin.last().trailers, [("x-up".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn a_body_is_echoed_as_it_comes() {
    let house = House2::start(&[]).await;
    house.origin.reply(Http2Reply::echo());
    let mut client = Client::connect(house.gate.addr()).await;
    client
        .send(request("POST", "/", Some(&house.token()), "Transfer-Encoding: chunked\r\nConnection: close\r\n"))
        .await;
    assert_eq!(client.response_head().await.status, 200);
    // Neither side waits for the end of the other.
    for letters in ["uvw", "x", "yz"].repeat(4) {
        client.send(format!("{}\r\n{letters}\r\n", letters.len())).await;
        let mut echoed = String::new();
        // The sizes of chunks are none of those letters.
        while echoed.replace(|character: char| !character.is_alphabetic(), "") != letters {
            echoed.push(char::from(client.bytes(1).await[0]));
        }
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.rest().await, b"\r\n0\r\n\r\n");
    assert_eq!(house.origin.last().body_length, 24);
}

#[tokio::test]
async fn large_bodies_pass_unchanged_both_ways() {
    const SIZE: usize = 3_000_000;
    let house = House2::start_tls(&[]).await;
    house.origin.reply(Http2Reply::pattern(SIZE as u64));
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request("POST", "/", Some(&house.token()), &format!("Content-Length: {SIZE}\r\n"))).await;
    let mut sent = 0;
    while sent < SIZE {
        let bytes = pattern(sent as u64, SIZE - sent);
        client.send(bytes).await;
        sent += bytes.len();
    }
    let response = client.response().await;
    assert_eq!(response.body.len(), SIZE);
    assert!(crate::support::origin::is_pattern(0, &response.body));
    let received = house.origin.last();
    assert_eq!((received.body_length, received.is_pattern), (SIZE as u64, true));
}

#[tokio::test]
async fn an_http2_origin_on_a_socket_is_spoken_to() {
    let origin = Http2Origin::start();
    let path = std::env::temp_dir().join(format!("h2c-{:016x}.sock", fastrand::u64(..)));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let addr = origin.addr();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(addr).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let issuer = Issuer::start();
    let gate = Gate::start_before(&issuer, &format!("unix+h2c:{}", path.display()), &[]);
    gate.is_ready().await;
    let response = client::get(gate.addr(), "/", Some(&issuer.token().sign())).await;
    assert_eq!((response.status, &*response.text()), (200, "ok"));
    assert_eq!(origin.last().header(":scheme"), Some("http"));
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn the_health_of_every_kind_of_origin_can_be_asked_for() {
    let (issuer, certificate) = (Issuer::start(), Certificate::new());
    let http1 = [Origin::start(), Origin::start_unix(), Origin::start_tls(&certificate)];
    let http2 = [Http2Origin::start(), Http2Origin::start_tls(&certificate)];
    for url in http1.iter().map(Origin::url).chain(http2.iter().map(Http2Origin::url)) {
        let mut flags = vec!["--health-listen", "127.0.0.1:0", "--origin-health-check", "/health,tcp"];
        if url.starts_with("https") {
            flags.extend(["--upstream-ca-file", certificate.path()]);
        }
        let gate = Gate::start_before(&issuer, &url, &flags);
        for query in ["path=/health", "tcp"] {
            let asked = client::get(gate.health_addr(), &format!("/healthz/origin?{query}"), None).await;
            assert_eq!(asked.status, 200, "{url} {query}: {}", asked.text());
        }
    }
    for origin in &http1 {
        assert_eq!(origin.last().target, "/health");
    }
    for origin in &http2 {
        assert_eq!(origin.last().target, "/health");
    }
}
