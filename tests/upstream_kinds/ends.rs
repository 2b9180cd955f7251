//! Where a response of an HTTP/2 origin ends, and where it was cut.

use h2::Reason;

use super::failures::before;
use super::raw::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, RawOrigin, STATUS_200, frame, ok};
use crate::support::client::request;
use crate::support::http2::{self, Http2, whole};
use crate::support::{Client, client, eventually};

/// Fields in HPACK, literal and not indexed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let part = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [&[0x00][..], &part(name), &part(value)].concat()
}

/// What an origin sends on a stream: the flags and fields of its head, then frames.
type Sent = (&'static str, Vec<u8>, Vec<(u8, u8, Vec<u8>)>);

/// A gate before an origin that answers each request so, but a POST without a body as one should.
async fn answering(sent: &Sent) -> (RawOrigin, crate::support::Gate, String) {
    let (_, head, rest) = sent.clone();
    let origin = RawOrigin::start(&[], move |received| {
        // `:method: POST` of the static table of HPACK, without a body.
        let is_good = received.flags & END_STREAM != 0 && received.payload.first() == Some(&0x83);
        (received.kind == HEADERS).then(|| {
            if is_good {
                return ok(received.stream);
            }
            let head = frame(HEADERS, END_HEADERS, received.stream, &head);
            let rest = rest.iter().map(|(kind, flags, payload)| frame(*kind, *flags, received.stream, payload));
            rest.fold(head, |bytes, frame| [bytes, frame].concat())
        })
    })
    .await;
    let (gate, token) = before(&origin, &[]).await;
    (origin, gate, token)
}

fn no_error() -> (u8, u8, Vec<u8>) {
    (RST_STREAM, 0, u32::from(Reason::NO_ERROR).to_be_bytes().to_vec())
}

fn data(flags: u8) -> (u8, u8, Vec<u8>) {
    (DATA, flags, b"whole".to_vec())
}

fn with_length(length: &str) -> Vec<u8> {
    [STATUS_200, &literal("content-length", length)].concat()
}

/// Responses that end too early with a reset that tells of no error (RFC 9113 §8.1).
fn cut() -> Vec<Sent> {
    vec![
        ("a body", STATUS_200.to_vec(), vec![data(0), no_error()]),
        ("no byte of a body", STATUS_200.to_vec(), vec![no_error()]),
        ("a part of its length", with_length("6"), vec![data(0), no_error()]),
        (
            "trailers that do not come",
            [STATUS_200, &literal("trailer", "x-sum")].concat(),
            vec![data(0), data(0), no_error()],
        ),
    ]
}

/// Responses that have ended before it, or have come in their whole length.
fn complete() -> Vec<Sent> {
    vec![
        ("END_STREAM", STATUS_200.to_vec(), vec![data(END_STREAM), no_error()]),
        ("an empty end", STATUS_200.to_vec(), vec![data(0), (DATA, END_STREAM, Vec::new()), no_error()]),
        (
            "trailers",
            STATUS_200.to_vec(),
            vec![data(0), (HEADERS, END_HEADERS | END_STREAM, literal("x-sum", "1")), no_error()],
        ),
        ("its length", with_length("5"), vec![data(0), no_error()]),
    ]
}

#[tokio::test]
async fn a_reset_without_an_error_before_the_end_cuts_the_answer() {
    for (sent, is_whole) in
        cut().into_iter().map(|sent| (sent, false)).chain(complete().into_iter().map(|sent| (sent, true)))
    {
        let (_origin, gate, token) = answering(&sent).await;
        for (method, fields) in
            [("GET", "Connection: close\r\n"), ("POST", "Connection: close\r\nContent-Length: 1000000\r\n")]
        {
            let mut client = Client::connect(gate.addr()).await;
            client.send(request(method, "/", Some(&token), fields)).await;
            let head = client.response_head().await;
            assert_eq!(head.status, 200, "{}", sent.0);
            let body = client.rest().await;
            let end: &[u8] = if head.header("content-length").is_some() { b"whole" } else { b"0\r\n\r\n" };
            let is_seen_whole = body.ends_with(end) && head.header("content-length") != Some("6");
            assert_eq!(is_seen_whole, is_whole, "{} of a {method}: {:?}", sent.0, String::from_utf8_lossy(&body));
        }
    }
}

#[tokio::test]
async fn a_cut_answer_is_reset_with_an_error_for_http_2_clients_and_calls() {
    for content_type in ["text/plain", "application/grpc"] {
        for sent in cut() {
            let (_origin, gate, token) = answering(&sent).await;
            let mut client = Http2::connect(gate.addr()).await;
            let mut request = http2::get("/", Some(&token));
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
            let (response, _) = client.begin(request, true).await;
            let error = whole(response).await.unwrap_err();
            // `NO_ERROR` would say again that it is whole.
            let seen = (error.is_reset(), error.reason());
            assert_eq!(seen, (true, Some(Reason::INTERNAL_ERROR)), "{} of {content_type}", sent.0);
        }
        for sent in complete() {
            let (_origin, gate, token) = answering(&sent).await;
            let mut client = Http2::connect(gate.addr()).await;
            let mut request = http2::get("/", Some(&token));
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
            let (response, _) = client.begin(request, true).await;
            assert_eq!(whole(response).await.unwrap().text(), "whole", "{} of {content_type}", sent.0);
        }
    }
}

/// RFC 9110 §6.4.1: the head is all of such a response.
#[tokio::test]
async fn what_comes_behind_a_head_without_a_body_reaches_no_client() {
    let statuses = [("200", STATUS_200), ("204", &[0x89]), ("304", &[0x8b]), ("404", &[0x8d])];
    for (method, status, behind, is_reset) in [
        ("GET", "204", vec![data(END_STREAM)], true),
        ("GET", "204", vec![data(0), data(0)], true),
        ("GET", "304", vec![data(END_STREAM)], true),
        ("GET", "304", vec![data(0)], true),
        ("GET", "304", vec![], true),
        ("GET", "204", vec![(DATA, END_STREAM, Vec::new())], false),
        ("GET", "204", vec![(HEADERS, END_HEADERS | END_STREAM, literal("x-sum", "1"))], false),
        ("HEAD", "200", vec![data(END_STREAM)], true),
        ("HEAD", "200", vec![data(0)], true),
        ("HEAD", "404", vec![], true),
        ("HEAD", "200", vec![(DATA, 0, Vec::new()), (DATA, END_STREAM, Vec::new())], false),
    ] {
        let what = format!("{method} {status} {behind:?}");
        let (_, head) = statuses.into_iter().find(|known| known.0 == status).unwrap();
        let ends = behind.iter().any(|frame| frame.1 & END_STREAM != 0);
        let (origin, gate, token) = answering(&("", head.to_vec(), behind)).await;
        let mut client = Http2::connect(gate.addr()).await;
        let mut request = http2::get("/", Some(&token));
        *request.method_mut() = method.parse().unwrap();
        let (response, _) = client.begin(request, true).await;
        let response = whole(response).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(
            (response.status.to_string(), response.text(), response.trailers),
            (status.into(), String::new(), vec![]),
            "{what}"
        );
        assert_eq!(client.exchange(http2::post("/", Some(&token))).await.status, 200, "{what}");
        let mut old = Client::connect(gate.addr()).await;
        old.send(client::request(method, "/", Some(&token), "")).await;
        old.send(client::request("POST", "/", Some(&token), "Connection: close\r\n")).await;
        assert_eq!(old.response_head().await.status.to_string(), status, "{what}");
        assert_eq!(old.response_head().await.status, 200, "{what}");
        if is_reset && !ends {
            eventually(&format!("it is reset: {what}"), async || origin.frames(RST_STREAM).len() == 2).await;
        }
        let connections = origin.frames(HEADERS).iter().map(|frame| frame.connection).max();
        assert!(is_reset || origin.frames(RST_STREAM).is_empty() && connections <= Some(3), "{what}");
    }
}

/// RFC 9110 §5.1: the h2 crate lets `"` into the names of fields.
#[tokio::test]
async fn a_name_that_no_field_has_does_not_come_from_an_origin() {
    for name in ["x\"a", "\"", "content-length\""] {
        let odd = literal(name, "1");
        let (_origin, gate, token) = answering(&("", [STATUS_200, &odd].concat(), vec![data(END_STREAM)])).await;
        let response = client::get(gate.addr(), "/", Some(&token)).await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{name}");
        let mut client = Http2::connect(gate.addr()).await;
        let response = client.exchange(http2::get("/", Some(&token))).await;
        assert_eq!((response.status, &*http2::reason(&response)), (502, "upstream_protocol"), "{name}");
        assert_eq!(client.exchange(http2::post("/", Some(&token))).await.status, 200, "{name}");
        // In trailers.
        let announced = [STATUS_200, &literal("trailer", "x-sum")].concat();
        let trailers = [literal("x-sum", "1"), odd.clone()].concat();
        let behind = vec![data(0), (HEADERS, END_HEADERS | END_STREAM, trailers)];
        let (_origin, gate, token) = answering(&("", announced, behind)).await;
        let mut old = Client::connect(gate.addr()).await;
        old.send(request("GET", "/", Some(&token), "TE: trailers\r\nConnection: TE\r\n")).await;
        assert_eq!(old.response_head().await.status, 200, "{name}");
        assert_eq!(old.rest().await, b"5\r\nwhole\r\n", "{name}: no last chunk");
        let mut client = Http2::connect(gate.addr()).await;
        let (response, _) = client.begin(http2::get("/", Some(&token)), true).await;
        assert!(whole(response).await.unwrap_err().is_reset(), "{name}");
        // In an interim response: `:status`, the eighth of the static table, as a literal.
        let early = [&b"\x08\x03103"[..], &odd].concat();
        let origin = RawOrigin::start(&[], move |received| {
            let early = frame(HEADERS, END_HEADERS, received.stream, &early);
            (received.kind == HEADERS).then(|| [early, ok(received.stream)].concat())
        })
        .await;
        let (gate, token) = before(&origin, &[]).await;
        let mut client = Client::connect(gate.addr()).await;
        client.send(request("GET", "/", Some(&token), "")).await;
        assert_eq!(client.next_status().await, 200, "{name}");
    }
    // What looks odd and is a name.
    let (_origin, gate, token) =
        answering(&("", [STATUS_200, &literal("x!#$%&'*+-.^_`|~9", "1")].concat(), vec![data(END_STREAM)])).await;
    let response = client::get(gate.addr(), "/", Some(&token)).await;
    assert_eq!((response.status, response.header("x!#$%&'*+-.^_`|~9")), (200, Some("1")));
}
