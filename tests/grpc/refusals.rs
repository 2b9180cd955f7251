//! A refusal is what a gRPC client reads: trailers alone.

use claimgate::denial::Denial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{call, request};
use crate::support::{Caller, House, client, patiently};

/// The status and the message of a refusal.
async fn refusal(caller: &Caller, token: Option<&str>) -> (String, String) {
    let answer = call(caller, token, &[]).await.answer().await;
    let field = |name| answer.header(name).map(str::to_owned);
    assert_eq!((answer.status, &*field("content-type").unwrap()), (200, "application/grpc"));
    assert!(answer.body.is_end_stream() && field("x-request-id").is_some(), "{answer:?}");
    (field("grpc-status").unwrap(), field("grpc-message").unwrap())
}

#[tokio::test]
async fn each_refusal_is_told_by_its_status_and_a_message_that_begins_with_its_reason() {
    let house = House::start(&["--claim-header", "name=X-Name", "--audience", "a"]).await;
    let caller = Caller::connect(house.gate.addr()).await;
    let token = || house.issuer.token().claim("aud", "a");
    for (token, status, message) in [
        (None, "16", "token_missing: No token provided"),
        (Some("a.b".to_owned()), "16", "malformed_token: Invalid token: not a well-formed JWT"),
        (Some(token().expired().sign()), "16", "expired: Token has expired: expired at 20"),
        (
            Some(token().claim("aud", "100% \u{e9}").sign()),
            "16",
            "wrong_audience: Invalid token: it is meant for another audience: 100%25 %C3%A9",
        ),
        (
            Some(token().claim("name", "a\r\nb").sign()),
            "7",
            "claim_not_forwardable: A claim cannot be sent to the origin",
        ),
    ] {
        let (told, text) = refusal(&caller, token.as_deref()).await;
        assert!(told == status && text.starts_with(message), "{told}: {text}");
    }
    house.origin.stop();
    let (status, text) = refusal(&caller, Some(&token().sign())).await;
    assert_eq!((&*status, &*text), ("14", "upstream_unreachable: The origin cannot be reached"));
}

#[tokio::test]
async fn a_challenge_goes_along_as_metadata() {
    let house = House::start(&[]).await;
    let caller = Caller::connect(house.gate.addr()).await;
    let answer = call(&caller, None, &[("x-request-id", "r1")]).await.answer().await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"claimgate\""));
    assert_eq!((answer.header("x-request-id"), answer.header("content-length")), (Some("r1"), None));
}

#[tokio::test]
async fn what_is_no_call_gets_the_answer_of_http() {
    let house = House::start(&[]).await;
    let caller = Caller::connect(house.gate.addr()).await;
    for content_type in ["application/grpc-web", "application/grpc-web+proto", "application/grpcs", "application/json"]
    {
        let mut answer = call(&caller, None, &[("content-type", content_type)]).await.answer().await;
        assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")));
        assert!(String::from_utf8(answer.end().await.0).unwrap().contains("token_missing"));
    }
    let mut get = request(None, &[]);
    *get.method_mut() = http::Method::GET;
    assert_eq!(caller.begin(get, true).await.answer().await.status, 401);
    let http1 = client::request("POST", "/", None, "Content-Type: application/grpc\r\nContent-Length: 0\r\n");
    assert_eq!(client::exchange(house.gate.addr(), http1).await.denial().reason, Denial::TokenMissing.row().reason);
}

/// A field that is not indexed and not compressed (RFC 7541 §6.2.2), for names and values of less than 127 bytes.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Its type, flags and stream.
async fn next_frame(stream: &mut TcpStream) -> (u8, u8, u8) {
    let mut head = [0; 9];
    patiently("a frame", stream.read_exact(&mut head)).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    patiently("a frame", stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()])).await.unwrap();
    (head[3], head[4], head[8])
}

#[tokio::test]
async fn a_refusal_is_one_frame_of_headers_that_ends_the_stream() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    let house = House::start(&[]).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gate.test"),
        (":path", "/a.B/C"),
        ("content-type", "application/grpc+proto"),
    ];
    let block: Vec<_> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    // The stream stays open on our side, as that of a call does.
    let headers = frame(HEADERS, 4, 1, &block);
    let mut stream = TcpStream::connect(house.gate.addr()).await.unwrap();
    stream
        .write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(SETTINGS, 0, 0, &[]), &headers].concat())
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(_, _, stream)| *stream == 0) {
        seen.push(next_frame(&mut stream).await);
    }
    // What comes behind it, if anything, comes before the answer to a ping.
    stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
    while !matches!(seen.last(), Some((PING, 1, 0))) {
        seen.push(next_frame(&mut stream).await);
    }
    let of_stream: Vec<_> = seen.into_iter().filter(|(_, _, stream)| *stream == 1).collect();
    // END_STREAM and END_HEADERS; then, as the client still sends, a reset that is no error (RFC 9113 §8.1).
    assert_eq!(of_stream[0], (HEADERS, 1 | 4, 1), "{of_stream:?}");
    assert!(of_stream[1..].iter().all(|(kind, _, _)| *kind == RST_STREAM), "{of_stream:?}");
}

#[tokio::test]
async fn a_call_that_cannot_be_read_in_one_way_is_told_as_one() {
    let house = House::start(&[]).await;
    let caller = Caller::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let mut call = call(&caller, Some(&token), &[("host", "another.test"), ("x-request-id", "mine")]).await;
    let answer = call.answer().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc")));
    assert_eq!((answer.header("grpc-status"), answer.header("x-request-id")), (Some("3"), Some("mine")));
    assert!(answer.header("grpc-message").is_some_and(|message| message.starts_with("ambiguous_request")));
}
