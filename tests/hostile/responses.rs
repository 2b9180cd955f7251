//! Responses that two clients could read differently, or that answer what nobody asked (RFC 9112 §6.3).

use crate::support::{Client, House, Reply, client, eventually};

type Case = (&'static str, &'static str, &'static str);

/// Each of these is a 502 to the client, and its connection is never used again.
const REFUSED: &[Case] = &[
    (
        "a length and a coding",
        "smuggling: response CL.TE",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding and a length",
        "smuggling: response TE.CL",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "RFC 9112 §6.3", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    ("two lengths alike", "RFC 9112 §6.3", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    ("a list of lengths", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
    ("a length with a plus", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("a negative length", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
    ("a hexadecimal length", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok"),
    ("leading zeros", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok"),
    ("no length", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
    ("2^63", "CWE-190", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nok"),
    ("2^64 - 1", "CWE-190", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nok"),
    ("2^63 in HTTP/1.0", "CWE-190", "HTTP/1.0 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nok"),
    (
        "205, which may have content, with both framings",
        "RFC 9112 §6.3",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("2^64 + 2", "CWE-190", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok"),
    ("a length that is a word", "RFC 9110 §8.6", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
    ("compressed and chunked", "RFC 9112 §7", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", "RFC 9112 §6.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (
        "two codings",
        "smuggling: response TE.TE",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("xchunked", "smuggling: response TE.TE", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("identity", "RFC 9112 §7", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\nok"),
    (
        "101 unasked",
        "RFC 9110 §15.2.2",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ),
    (
        "101 to a WebSocket unasked",
        "RFC 6455 §4.1",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    ("a fold in the head", "RFC 9112 §5.2", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
    ("a space before a colon", "RFC 9112 §5.1", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    ("NUL in a value", "CWE-158", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok"),
    ("bare CR in a value", "CWE-113", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"),
    ("a field without a colon", "RFC 9112 §5", "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of two digits", "RFC 9110 §15", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of four digits", "RFC 9110 §15", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of zero", "RFC 9110 §15", "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("no version", "RFC 9112 §4", "200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("another protocol", "RFC 9112 §4", "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/2 in words", "RFC 9112 §2.3", "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/0.9", "RFC 9112 §2.3", "<html>ok</html>\r\n\r\n"),
];

/// Each of these has a sound head: the client gets the head, but never an end of the body.
const CUT: &[Case] = &[
    ("a chunk with bare LF", "smuggling: TERM", "5\nhello\r\n0\r\n\r\n"),
    ("a chunk longer than said", "smuggling: SPILL", "2\r\nhello\r\n0\r\n\r\n"),
    ("a chunk of no size", "RFC 9112 §7.1", "\r\nhello\r\n0\r\n\r\n"),
    ("a chunk beyond 64 bits", "CVE-2013-2070", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("a chunk with a minus", "CWE-190", "-1\r\nhello\r\n0\r\n\r\n"),
    ("two CRs behind the size", "smuggling: TERM", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("CR before an extension", "smuggling: TERM.EXT", "5\r;a\r\nhello\r\n0\r\n\r\n"),
    ("a form feed behind the size", "RFC 9112 §7.1.1", "5\x0c\r\nhello\r\n0\r\n\r\n"),
    ("bare LF at the very end of a response", "smuggling: TERM", "5\r\nhello\r\n0\r\n\n"),
    ("bare LF behind a response's trailer", "smuggling: TERM", "0\r\nX: y\n\r\n"),
    ("rubbish in place of a chunk", "RFC 9112 §7.1", "<html>\r\n\r\n"),
];

/// What an origin says behind a whole response is an answer to nobody.
const SURPLUS: &[Case] = &[
    ("a second response behind a length", "CWE-444", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (
        "a second response behind chunks",
        "CWE-444",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    ("a second response behind 204", "RFC 9110 §15.3.5", "HTTP/1.1 204 No Content\r\n\r\n"),
    ("a second response behind 304", "RFC 9110 §15.4.5", "HTTP/1.1 304 Not Modified\r\n\r\n"),
];

/// What has no content and announces some: it may come yet, in answer to whoever is next.
const ANNOUNCED: &[Case] = &[
    ("204 with a length", "RFC 9110 §8.6", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n"),
    ("204 with a coding", "RFC 9112 §6.1", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
];

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    [REFUSED, CUT, SURPLUS, ANNOUNCED].into_iter().flatten().map(|(name, source, _)| (*name, *source)).collect()
}

#[tokio::test]
async fn a_response_that_two_clients_could_read_differently_is_a_502() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (name, source, bytes) in REFUSED {
        house.origin.reply_next([Reply::raw(*bytes).then(POISON)]);
        let response = client::get(house.gate.addr(), "/", None).await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{name} ({source})");
        eventually("its connection is dropped", async || house.origin.open() == 0).await;
        assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok", "after {name} ({source})");
        house.origin.close_idle();
    }
}

#[tokio::test]
async fn a_response_whose_chunks_are_broken_has_no_end() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (name, source, chunks) in CUT {
        house.origin.reply_next([Reply::raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))]);
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("GET", "/", None, "")).await;
        let rest = client.rest().await;
        let text = String::from_utf8_lossy(&rest);
        let is_refused = text.starts_with("HTTP/1.1 502 ");
        assert!(is_refused || !text.ends_with("\r\n0\r\n\r\n"), "{name} ({source}): {text}");
        eventually("its connection is dropped", async || house.origin.open() == 0).await;
    }
}

#[tokio::test]
async fn what_an_origin_says_unasked_answers_nobody() {
    let house = House::start(&["--workers", "1", "--skip-auth-route", "/*"]).await;
    for (name, source, bytes) in SURPLUS {
        house.origin.reply_next([Reply::raw(format!("{bytes}{POISON}"))]);
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("GET", "/", None, "")).await;
        assert!(client.response().await.status < 400, "{name} ({source})");
        for _ in 0..3 {
            client.send(client::request("GET", "/", None, "")).await;
            assert_eq!(client.response().await.text(), "ok", "{name} ({source})");
        }
    }
}

#[tokio::test]
async fn content_that_there_cannot_be_is_not_waited_for_by_the_next_request() {
    let house = House::start(&["--workers", "1", "--skip-auth-route", "/*"]).await;
    for (name, source, bytes) in ANNOUNCED {
        house.origin.reply_next([Reply::raw(*bytes)]);
        assert_eq!(client::get(house.gate.addr(), "/", None).await.status, 204, "{name} ({source})");
        eventually("its connection is dropped", async || house.origin.open() == 0).await;
    }
    house.origin.reply_next([Reply::raw("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")]);
    assert_eq!(client::get(house.gate.addr(), "/", None).await.status, 204);
    assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok");
    assert_eq!(house.origin.open(), 1, "one that announces nothing goes on");
}

#[tokio::test]
async fn the_largest_length_there_is_is_awaited_until_the_end() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    // From 2^63 on, a signed number is negative.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n";
    house.origin.reply(Reply::raw(format!("{head}first")).close());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", None, "")).await;
    assert_eq!(client.response_head().await.header("content-length"), Some("9223372036854775807"));
    assert_eq!(client.rest().await, b"first");
}
