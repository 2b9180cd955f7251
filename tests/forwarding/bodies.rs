//! Bodies of requests.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::{Client, House, Reply, client, eventually};

fn post(token: &str, fields: &str) -> String {
    client::request("POST", "/", Some(token), fields)
}

#[tokio::test]
async fn a_body_arrives_whole_and_in_its_framing() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let cases = [
        ("Content-Length: 5\r\n", "hello", Some("5"), None),
        ("Content-Length: 0\r\n", "", Some("0"), None),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None, Some("chunked")),
        ("Transfer-Encoding: chunked\r\n", "2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n", None, Some("chunked")),
        ("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n", None, Some("chunked")),
    ];
    for (fields, body, length, coding) in cases {
        let response = client::exchange(house.gate.addr(), post(&token, fields) + body).await;
        assert_eq!(response.status, 200, "{fields}: {response:?}");
        let received = house.origin.last();
        let expected: &[u8] = if body.contains('h') { b"hello" } else { b"" };
        assert_eq!(received.body, expected, "{fields}");
        assert_eq!(received.headers_named("content-length"), length.into_iter().collect::<Vec<_>>(), "{fields}");
        assert_eq!(received.headers_named("transfer-encoding"), coding.into_iter().collect::<Vec<_>>(), "{fields}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_gets_none() {
    let house = House::start(&[]).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    let received = house.origin.only();
    assert_eq!((received.header("content-length"), received.header("transfer-encoding")), (None, None));
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let house = House::start(&[]).await;
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "Content-Length: 5\r\n");
    assert_eq!(client::exchange(house.gate.addr(), request + "hello").await.status, 200);
    assert_eq!(house.origin.only().body, b"hello");
}

#[tokio::test]
async fn a_body_begins_to_arrive_before_it_is_complete() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    house.origin.reply(
        Reply::early("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n").hold().then("0\r\n\r\n"),
    );
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(post(&token, "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n").await;
    assert_eq!(client.response_head().await.status, 200, "the answer is here while the request still goes on");
    assert_eq!(client.bytes(8).await, b"3\r\nyes\r\n");
    client.send("6\r\n world\r\n0\r\n\r\n").await;
    house.origin.release();
    assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
    eventually("the request is complete", async || !house.origin.received().is_empty()).await;
    assert_eq!(house.origin.only().body, b"hello world");
}

#[tokio::test]
async fn trailers_of_a_request_pass_if_they_were_announced_and_are_no_fields_of_ours() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let trailer = "Trailer: X-Digest, X-JWT-Claims, Content-Length, Authorization, X-Forwarded-For\r\n";
    let fields = format!("Transfer-Encoding: chunked\r\n{trailer}");
    let body = "2\r\nok\r\n0\r\nX-Digest: abc\r\nX-JWT-Claims: e30\r\nX_JWT_Claims: e30\r\nContent-Length: 7\r\n\
                Authorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Jwt-Sub: root\r\n\r\n";
    let response = client::exchange(house.gate.addr(), post(&token, &fields) + body).await;
    assert_eq!(response.status, 200, "{response:?}");
    let received = house.origin.only();
    assert_eq!(received.trailers, [("x-digest".to_owned(), "abc".to_owned())]);
    assert_eq!(received.header("trailer"), Some("x-digest"));
}

#[tokio::test]
async fn a_body_that_is_expected_to_be_asked_for_is_asked_for_by_the_gate() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(post(&token, "Expect: 100-continue\r\nContent-Length: 5\r\n")).await;
    assert_eq!(client.next_status().await, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.status, 200);
    let received = house.origin.only();
    assert_eq!((received.header("expect"), &*received.body), (None, &b"hello"[..]));
}

#[tokio::test]
async fn with_a_bad_token_no_body_is_asked_for_or_read() {
    let house = House::start(&[]).await;
    for token in [house.issuer.token().expired().sign(), "x".to_owned()] {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(post(&token, "Expect: 100-continue\r\nContent-Length: 5\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.interim), (401, &[][..]));
        assert_eq!(response.header("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn any_other_expectation_fails() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for expect in ["Expect: 200-ok\r\n", "Expect: 100-continue, x\r\n", "Expect: 100-continue\r\nExpect: x\r\n"] {
        let response = client::exchange(house.gate.addr(), post(&token, expect)).await;
        assert_eq!((response.status, &*response.denial().reason), (417, "expectation_failed"), "{expect}");
    }
}

#[tokio::test]
async fn a_body_larger_than_the_limit_is_refused_before_or_while_it_comes() {
    let house = House::start(&["--max-body-size", "1KiB"]).await;
    let token = house.issuer.token().sign();
    let announced = client::exchange(house.gate.addr(), post(&token, "Content-Length: 1025\r\n")).await;
    assert_eq!((announced.status, &*announced.denial().reason), (413, "body_too_large"));
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let chunked = post(&token, "Transfer-Encoding: chunked\r\n");
    let found = client::exchange(house.gate.addr(), format!("{chunked}{chunk}1\r\ny\r\n")).await;
    assert_eq!((found.status, &*found.denial().reason), (413, "body_too_large"));
    let exact = client::exchange(house.gate.addr(), format!("{chunked}{chunk}0\r\n\r\n")).await;
    assert_eq!(exact.status, 200);
}

#[tokio::test]
async fn a_body_that_stands_still_is_refused() {
    let house = House::start(&["--stream-idle-timeout", "1s"]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(post(&token, "Content-Length: 10\r\n") + "half").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.denial().reason), (408, "request_timeout"));
    assert!(client.is_closed().await);
    eventually("the origin is rid of it", async || house.origin.abandoned() == 1).await;
}

#[tokio::test]
async fn a_malformed_body_is_the_clients_fault_and_not_the_origins() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for body in
        ["zz\r\n", "5\r\nhelloX\r\n", "-1\r\n", "5 \r\nhello\r\n", "\r\n", "ffffffffffffffff1\r\n", "5\nhello\r\n"]
    {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(post(&token, "Transfer-Encoding: chunked\r\n") + "1\r\na\r\n" + body).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.denial().reason), (400, "malformed_request"), "{body:?}");
        assert!(client.is_closed().await, "{body:?}");
    }
    eventually("no request went through", async || house.origin.open() == 0).await;
    assert!(house.origin.received().iter().all(|received| !received.is_complete));
}

#[tokio::test]
async fn a_body_that_drips_is_refused_however_often_a_byte_comes() {
    // 30 s are every body's; then a kilobyte in 10 s is the least.
    let post = |house: &House| post(&house.issuer.token().sign(), "Content-Length: 1000000\r\n");
    let house = House::start(&[]).await;
    let (mut slow, mut steady) = (Client::connect(house.gate.addr()).await, Client::connect(house.gate.addr()).await);
    slow.send(post(&house)).await;
    steady.send(post(&house)).await;
    let (start, mut sent) = (Instant::now(), 0);
    while timeout(Duration::from_millis(250), slow.some_or_end()).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(90), "it goes on for ever");
        slow.try_send("x").await;
        steady.send(vec![b'x'; 100]).await;
        sent += 100;
    }
    let response = slow.response().await;
    assert_eq!((response.status, &*response.denial().reason), (408, "request_timeout"));
    assert!(slow.is_closed().await);
    for _ in 0..100 {
        steady.send(vec![b'x'; (1_000_000 - sent) / 100]).await;
    }
    steady.send(vec![b'x'; (1_000_000 - sent) % 100]).await;
    assert_eq!(steady.response().await.status, 200, "one that is fast enough goes on");
}
