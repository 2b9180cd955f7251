//! Answers that have no body whatever their fields say (RFC 9112 §6.3, the first rule): to HEAD, and 204 and 304 to any method.

use crate::support::Http2Reply;
use crate::support::http2::{Http2, get};
use crate::support::{Client, House, Reply, client};
use crate::upstream_kinds::House2;

/// The name, the source, the method, the answer, and the length that the client is told.
type Case = (&'static str, &'static str, &'static str, &'static str, Option<&'static str>);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("HEAD, a length", "RFC 9110 §8.6", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", Some("1234")),
    ("HEAD, chunked", "RFC 9112 §6.1", "HEAD", "HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("HEAD, both, as Cowboy sends them", "RFC 9112 §6.3", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n", None),
    ("HEAD, both, the other way round", "RFC 9112 §6.3", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n", None),
    ("HEAD, identity, as fasthttp sends it", "RFC 9112 §7", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", None),
    ("HEAD, compressed and chunked", "RFC 9112 §7", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", None),
    ("HEAD, two codings", "RFC 9112 §7", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("HEAD, a coding in HTTP/1.0", "RFC 9112 §6.1", "HEAD", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("HEAD, two lengths", "RFC 9110 §8.6", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", None),
    ("HEAD, a list of lengths", "RFC 9110 §8.6", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", None),
    ("HEAD, leading zeros", "RFC 9110 §8.6", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 007\r\n\r\n", None),
    ("HEAD, a word", "RFC 9110 §8.6", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", None),
    ("HEAD, 2^63", "CWE-190", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", None),
    ("HEAD, 2^63 - 1", "CWE-190", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n", Some("9223372036854775807")),
    ("HEAD, 204 with a length", "RFC 9110 §8.6", "HEAD", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
    ("304, a length", "RFC 9110 §8.6", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: a\r\n\r\n", Some("500")),
    ("304, chunked", "RFC 9112 §6.1", "GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("304, both", "RFC 9112 §6.3", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("304, identity", "RFC 9112 §7", "GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: identity\r\n\r\n", None),
    ("304, no length in the field", "RFC 9110 §8.6", "POST", "HTTP/1.1 304 Not Modified\r\nContent-Length:\r\n\r\n", None),
    ("204, both", "RFC 9112 §6.3", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("204, identity", "RFC 9112 §7", "DELETE", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: identity\r\n\r\n", None),
    ("204, two lengths", "RFC 9110 §8.6", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", None),
];

/// What an interim response says of a body is for nobody either.
const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\nLink: </a>\r\n\r\n\
                       HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn no_field_frames_an_answer_that_has_no_body() {
    let house = House::start(&["--workers", "1", "--skip-auth-route", "/*"]).await;
    for (name, source, method, bytes, length) in CASES {
        let mut client = Client::connect(house.gate.addr()).await;
        house.origin.reply_next([Reply::raw(*bytes)]);
        client.send(client::request(method, "/", None, "")).await;
        let head = client.response_head().await;
        assert!(matches!(head.status, 200 | 204 | 304 | 404), "{name} ({source}): {}", head.head);
        assert_eq!(head.header("content-length"), *length, "{name} ({source}): {}", head.head);
        assert_eq!(head.header("transfer-encoding"), None, "{name} ({source}): {}", head.head);
        client.send(client::request("GET", "/", None, "")).await;
        assert_eq!(client.response().await.text(), "ok", "behind {name} ({source})");
    }
    house.origin.reply_next([Reply::raw(INTERIM)]);
    assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "final");
    house.origin.reply_next([Reply::raw("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")]);
    let reset = client::get(house.gate.addr(), "/", None).await;
    assert_eq!((reset.status, reset.header("content-length")), (205, Some("0")));
}

#[tokio::test]
async fn a_client_of_http2_is_told_the_same_length_of_an_answer_to_head() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (name, source, method, bytes, length) in CASES.iter().filter(|(_, _, method, ..)| *method == "HEAD") {
        house.origin.reply_next([Reply::raw(*bytes)]);
        let mut request = get("/", None);
        *request.method_mut() = method.parse().unwrap();
        let response = Http2::connect(house.gate.addr()).await.exchange(request).await;
        assert_eq!(response.header("content-length"), *length, "{name} ({source})");
        assert!(response.body.is_empty(), "{name} ({source})");
    }
}

#[tokio::test]
async fn a_length_of_an_origin_with_http2_is_judged_alike() {
    let house = House2::start(&["--skip-auth-route", "/*"]).await;
    let ask = async |method, fields: &[(&str, &str)]| {
        house.origin.reply(Http2Reply::late().head(200, fields).end());
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request(method, "/", None, "")).await;
        let head = client.response_head().await;
        (head.status, head.header("content-length").map(str::to_owned))
    };
    let beyond = [("content-length", "9223372036854775808")];
    assert_eq!(ask("HEAD", &beyond).await, (200, None));
    assert_eq!(ask("HEAD", &[("content-length", "5"), ("content-length", "5")]).await, (200, None));
    assert_eq!(ask("HEAD", &[("content-length", "5")]).await, (200, Some("5".to_owned())));
    assert_eq!(ask("GET", &beyond).await.0, 502);
}
