//! What hostile or unlucky peers do, and what it must not cost.

use std::time::Duration;

use claimgate::clock::{Clock, NumericDate};

use crate::support::origin::Received;
use crate::support::{Client, Exposition, Gate, House, Issuer, Origin, Reply, client, eventually, now};

const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];

#[tokio::test]
async fn a_request_behind_a_body_that_was_answered_early_is_answered_too() {
    let house = House::start(&OPEN).await;
    house.origin.reply_at("/early", Reply::early("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"));
    let bodies = [
        ("Content-Length: 20", "0123456789", "0123456789"),
        ("Transfer-Encoding: chunked", "14\r\n0123456789", "0123456789\r\n0\r\n\r\n"),
    ];
    for (round, (framing, half, rest)) in bodies.into_iter().enumerate() {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(format!("POST /early HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{half}")).await;
        assert_eq!(client.response().await.text(), "early", "{framing}");
        client.send(format!("{rest}{}", client::request("GET", "/next", None, ""))).await;
        assert_eq!(client.response().await.text(), "ok", "{framing}");
        // The next one has a connection of its own to the origin, and may be through before.
        let is_whole = |received: &Received| received.target == "/early" && received.body == b"01234567890123456789";
        let whole = || house.origin.received().iter().filter(|received| is_whole(received)).count();
        eventually(framing, async || whole() == round + 1).await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_the_end_of_an_answer_that_is_handed_over() {
    let house = House::start(&["--idle-timeout", "200ms", "--skip-auth-route", "/*"]).await;
    // What is handed over and not taken by the kernel is only some of these sizes' end.
    let sizes = (10..45).map(|hundreds| hundreds * 100_000);
    let mut clients = Vec::new();
    for size in sizes {
        let target = format!("/{size}");
        house.origin.reply_at(&target, Reply::pattern(size));
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("GET", &target, None, "")).await;
        clients.push((size, client));
    }
    // Several times the limit between requests.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (size, mut client) in clients {
        assert_eq!(client.response().await.body.len() as u64, size);
    }
}

#[tokio::test]
async fn a_connection_that_closes_after_a_body_is_not_kept_for_a_client_that_stays() {
    let house = House::start(&OPEN).await;
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", None, "Connection: close\r\nContent-Length: 2\r\n") + "ab").await;
    assert_eq!(client.response().await.status, 200);
    assert!(client.is_closed().await, "it says that it is over");
    // And is, though the client does not say so: a request that comes after it must not be acted upon (RFC 9112 §9.6).
    let admin = house.gate.admin_addr();
    let connections = async || Exposition::scrape(admin).await.value("claimgate_client_connections");
    eventually("it is over on our side", async || connections().await < 1.0).await;
    assert_eq!(house.origin.begun(), 1);
}

#[tokio::test]
async fn what_hyper_would_refuse_without_a_word_is_refused_with_one() {
    let house = House::start(&OPEN).await;
    let cases = [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\x0c\r\n\r\n", "a form feed is no white space"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0cchunked\r\n\r\n", "nor before a value"),
        ("GET / HTTP/1.1\r\nHost: x%zz\r\n\r\n", "no escape"),
        ("GET / HTTP/1.1\r\nHost: %78\r\n\r\n", "an escape"),
        ("GET http://x%2e/ HTTP/1.1\r\nHost: x\r\n\r\n", "an escape in an absolute target"),
    ];
    for (head, why) in cases {
        let response = client::exchange(house.gate.addr(), head).await;
        assert_eq!(response.denial().reason, "malformed_request", "{why}: {head:?}");
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn an_origin_that_answers_and_takes_no_more_holds_nobody() {
    let house = House::start(&["--stream-idle-timeout", "300ms", "--skip-auth-route", "/*"]).await;
    house.origin.reply(Reply::early("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno").hold());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").await;
    assert_eq!(client.response().await.status, 413);
    // More than all buffers on the way to the origin hold.
    let block = vec![0; 1024 * 1024];
    eventually("the gate closes", async || {
        while client.send_at_once(&block).is_some() {}
        client.is_reset()
    })
    .await;
    house.origin.release();
    eventually("the origin is let go", async || house.origin.open() == 0).await;
}

#[tokio::test]
async fn a_body_keeps_its_chunks_whatever_the_method() {
    let house = House::start(&OPEN).await;
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST"] {
        for fields in ["", "Connection: transfer-encoding\r\n"] {
            let fields = format!("{fields}Transfer-Encoding: chunked\r\n");
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(client::request(method, "/", None, &fields) + "5\r\nhello\r\n0\r\n\r\n").await;
            assert_eq!(client.response_head().await.status, 200, "{method}");
            let received = house.origin.last();
            assert_eq!((&*received.method, &*received.body), (method, b"hello".as_slice()), "{}", received.head);
            assert_eq!(received.header("transfer-encoding"), Some("chunked"), "{}", received.head);
        }
    }
}

#[tokio::test]
async fn a_refused_token_is_accepted_when_the_clock_is_set_back() {
    let clock = Clock::system();
    let start = clock.now().as_seconds();
    let at = |seconds: f64| NumericDate::from_seconds(start + seconds).unwrap();
    let clock = Clock::manual(at(0.0));
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let gate = Gate::start_at(clock.clone(), &issuer, &origin, &["--workers", "1"]);
    gate.is_ready().await;
    let token = issuer.token().claim("iat", now() - 10).claim("exp", now() + 300).sign();
    for (seconds, status) in [(400.0, 401), (401.0, 401), (200.0, 200), (400.0, 401), (399.0, 401)] {
        clock.set(at(seconds));
        assert_eq!(client::get(gate.addr(), "/", Some(&token)).await.status, status, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_length_that_two_clients_could_read_differently_is_not_passed_on() {
    let house = House::start(&OPEN).await;
    for length in ["2, 2", "02", "2,2", "00000000000000000002"] {
        house.origin.reply(Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nok")));
        // What answers HEAD is framed by no field (RFC 9112 §6.3, the first rule).
        for (method, status) in [("GET", 502), ("HEAD", 200)] {
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(client::request(method, "/", None, "")).await;
            let head = client.response_head().await;
            assert_eq!(head.status, status, "{method}: {length}");
            assert!(method == "GET" || head.header("content-length").is_none(), "{method}: {}", head.head);
        }
    }
    house.origin.reply(Reply::raw("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n"));
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("HEAD", "/", None, "")).await;
    assert_eq!(client.response_head().await.header("content-length"), None);
}
