//! Uploads that are refused while they come: the answer arrives at a client that reads it only when all has gone out.

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::entrance::{Departure, Entrance, Way};
use crate::support::http2::{Http2, get, post, whole};
use crate::support::{Client, House, Response, client, patiently};

const SIZE: usize = 1 << 20;

/// What a client gets that sends all of this before it reads.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, body: &[u8], what: &str) -> Response {
    assert!(client.try_send(body).await, "{what}: a broken pipe");
    let response = client.response().await;
    assert!(client.is_closed_in_order().await, "{what}: a reset could overtake the answer");
    response
}

fn length() -> String {
    format!("Content-Length: {SIZE}\r\n")
}

#[tokio::test]
async fn a_client_that_sends_all_of_its_body_first_gets_its_401() {
    let plain = vec![b'x'; SIZE];
    let chunked = [format!("{SIZE:x}\r\n").as_bytes(), &plain, b"\r\n0\r\n\r\n"].concat();
    for way in [Way::Tcp, Way::Tls, Way::Unix] {
        let entrance = Entrance::new(way);
        let flags = entrance.flags();
        let house = House::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for (fields, body) in [(&*length(), &plain), ("Transfer-Encoding: chunked\r\n", &chunked)] {
            let what = format!("{way:?}, {fields}");
            let mut client = entrance.client(&house.gate, Departure::Closes).await;
            client.send(client::request("POST", "/", None, fields)).await;
            let response = answer(&mut client, body, &what).await;
            assert_eq!((response.status, response.header("connection")), (401, Some("close")), "{what}");
            assert_eq!(response.denial().reason, "token_missing", "{what}");
        }
        assert_eq!(house.origin.begun(), 0);
    }
}

#[tokio::test]
async fn so_does_one_whose_body_is_too_large_or_malformed() {
    let house = House::start(&["--max-body-size", "1KiB"]).await;
    let token = house.issuer.token().sign();
    let plain = vec![b'x'; SIZE];
    let large = [b"100000\r\n", &*plain].concat();
    let malformed = [b"1\r\nx\r\nno size\r\n", &*plain].concat();
    for (fields, body, status, reason) in [
        (&*length(), &plain, 413, "body_too_large"),
        ("Transfer-Encoding: chunked\r\n", &large, 413, "body_too_large"),
        ("Transfer-Encoding: chunked\r\n", &malformed, 400, "malformed_request"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", &large, 400, "ambiguous_request"),
        ("Expect: the impossible\r\nContent-Length: 1048576\r\n", &plain, 417, "expectation_failed"),
    ] {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("POST", "/", Some(&token), fields)).await;
        let response = answer(&mut client, body, fields).await;
        assert_eq!((response.status, &*response.denial().reason), (status, reason), "{fields}");
    }
}

#[tokio::test]
async fn so_does_one_that_went_on_too_late() {
    let house = House::start(&["--stream-idle-timeout", "1s"]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    client.send(client::request("POST", "/", Some(&token), &length()) + "the first of it").await;
    assert!(!client.some_or_end().await, "an answer");
    let response = answer(&mut client, &vec![b'x'; SIZE], "late").await;
    assert_eq!((response.status, &*response.denial().reason), (408, "request_timeout"));
}

#[tokio::test]
async fn over_http2_its_stream_ends_without_an_error_and_others_go_on() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Http2::connect(house.gate.addr()).await;
    for _ in 0..3 {
        let (response, mut sending) = client.begin(post("/", None), false).await;
        // As much as there is room for.
        sending.reserve_capacity(SIZE);
        let room = sending.capacity();
        sending.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
        assert_eq!(whole(response).await.unwrap().status, 401);
        let reset = std::future::poll_fn(|cx| sending.poll_reset(cx));
        assert_eq!(patiently("it is reset", reset).await.unwrap(), Reason::NO_ERROR);
        assert_eq!(client.exchange(get("/", Some(&token))).await.status, 200);
    }
}
