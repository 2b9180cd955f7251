//! Chunked bodies (RFC 9112 §7.1) that two parsers could read differently. The head is sound and the token good: the origin
//! may see the request begin, but no such body ever comes to its end there, and nothing behind it is ever a request.

use crate::support::{Client, House, client, eventually};

type Case = (&'static str, &'static str, &'static [u8]);

const MALFORMED: &[Case] = &[
    ("bare LF behind the size", "smuggling: TERM", b"5\nhello\r\n0\r\n\r\n"),
    ("bare CR behind the size", "smuggling: TERM", b"5\rhello\r\n0\r\n\r\n"),
    ("bare LF behind the data", "smuggling: TERM", b"5\r\nhello\n0\r\n\r\n"),
    ("bare CR behind the data", "smuggling: TERM", b"5\r\nhello\r0\r\n\r\n"),
    ("any two bytes behind the data", "smuggling: SPILL.TERM", b"5\r\nhelloXX0\r\n\r\n"),
    ("one byte more than said", "smuggling: SPILL", b"5\r\nhelloX\r\n0\r\n\r\n"),
    ("one byte less than said", "smuggling: SPILL", b"5\r\nhell\r\n0\r\n\r\n\r\n"),
    ("nothing behind the data", "RFC 9112 §7.1", b"5\r\nhello0\r\n\r\n"),
    ("LF ends an extension", "smuggling: EXT.TERM", b"5;\nxx\r\n4c\r\n0\r\n\r\n"),
    ("CR within an extension", "smuggling: TERM.EXT", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("NUL within an extension", "CWE-158", b"5;a\0b\r\nhello\r\n0\r\n\r\n"),
    ("a control byte within an extension", "RFC 9112 §7.1.1", b"5;a=\x01\r\nhello\r\n0\r\n\r\n"),
    ("a space behind the size", "RFC 9112 §7.1.1", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("a space before an extension", "RFC 9112 §7.1.1", b"5 ;a=b\r\nhello\r\n0\r\n\r\n"),
    ("a tab behind the size", "RFC 9112 §7.1", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("a space before the size", "RFC 9112 §7.1", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0x", "CVE-2022-24801", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a plus", "RFC 9112 §7.1", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", "CWE-190", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("a size with an underscore", "RFC 9112 §7.1", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("a size with an h behind", "RFC 9112 §7.1", b"5h\r\nhello\r\n0\r\n\r\n"),
    ("a size of another script", "RFC 9112 §7.1", b"\xd9\xa5\r\nhello\r\n0\r\n\r\n"),
    ("2^64 + 5", "CVE-2013-2028", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("2^64 - 1", "CVE-2002-0392", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("2^63", "CVE-2013-2028", b"8000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("no size", "RFC 9112 §7.1", b"\r\nhello\r\n0\r\n\r\n"),
    ("an extension only", "RFC 9112 §7.1", b";a=b\r\nhello\r\n0\r\n\r\n"),
    ("two sizes", "RFC 9112 §7.1", b"5,6\r\nhello\r\n0\r\n\r\n"),
    ("a comment", "RFC 9112 §7.1", b"5#x\r\nhello\r\n0\r\n\r\n"),
    ("bare LF behind the last chunk", "smuggling: TERM", b"5\r\nhello\r\n0\n\n"),
    ("bare LF at the very end", "smuggling: TERM", b"5\r\nhello\r\n0\r\n\n"),
    ("bare LF behind a trailer", "smuggling: TERM", b"0\r\nX: y\n\r\n"),
    ("a folded trailer", "RFC 9112 §5.2", b"0\r\nX: y\r\n z\r\n\r\n"),
    ("a space before a trailer's colon", "RFC 9112 §5.1", b"0\r\nX : y\r\n\r\n"),
    ("a trailer without a colon", "RFC 9112 §5", b"0\r\nnonsense\r\n\r\n"),
    ("NUL in a trailer", "CWE-158", b"0\r\nX: a\0b\r\n\r\n"),
    ("bare CR in a trailer", "CVE-2022-32214", b"0\r\nX: a\rY: b\r\n\r\n"),
    ("a request for a trailer", "smuggling: TE.0", b"0\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
];

/// What has one reading, and the body that the origin sees.
const SOUND: &[(&str, &str, &[u8], &[u8])] = &[
    ("the usual", "RFC 9112 §7.1", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("no chunk but the last", "RFC 9112 §7.1", b"0\r\n\r\n", b""),
    ("a size in capitals", "RFC 9112 §7.1", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("a size with zeros before", "RFC 9112 §7.1", b"0005\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("a last chunk of many zeros", "RFC 9112 §7.1", b"5\r\nhello\r\n000\r\n\r\n", b"hello"),
    ("extensions", "RFC 9112 §7.1.1", b"5;a;b=c;d=\"e f\"\r\nhello\r\n0;x\r\n\r\n", b"hello"),
    ("an extension that looks like a chunk", "smuggling: EXT", b"5;0\\r\\n\\r\\nGET\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("data that looks like the end", "RFC 9112 §7.1", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    (
        "data that looks like a request",
        "RFC 9112 §7.1",
        b"12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    let malformed = MALFORMED.iter().map(|(name, source, _)| (*name, *source));
    malformed.chain(SOUND.iter().map(|(name, source, ..)| (*name, *source))).collect()
}

fn head(house: &House) -> String {
    client::request("POST", "/chunked", Some(&house.issuer.token().sign()), "Transfer-Encoding: chunked\r\n")
}

#[tokio::test]
async fn a_malformed_chunk_ends_the_request_and_the_connection() {
    let house = House::start(&[]).await;
    let smuggled = client::request("GET", "/smuggled", Some(&house.issuer.token().sign()), "");
    for (name, source, body) in MALFORMED {
        for pieces in [vec![*body], body.chunks(1).collect()] {
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(head(&house)).await;
            for piece in pieces {
                // It may have heard enough already.
                client.try_send(piece).await;
            }
            client.try_send(&smuggled).await;
            client.half_close().await;
            let response = client.response().await;
            assert_eq!(response.denial().reason, "malformed_request", "{name} ({source})");
            assert_eq!(response.header("connection"), Some("close"), "{name} ({source})");
            assert!(client.is_closed().await, "{name} ({source}): something follows the refusal");
        }
    }
    eventually("the origin has seen the end of each", async || house.origin.open() == 0).await;
    for received in house.origin.received() {
        assert_eq!((&*received.target, received.is_complete), ("/chunked", false), "{received:?}");
    }
}

#[tokio::test]
async fn a_sound_chunked_body_arrives_as_it_was_meant() {
    let house = House::start(&[]).await;
    for (name, source, body, expected) in SOUND {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send([head(&house).as_bytes(), body].concat()).await;
        assert_eq!(client.response().await.status, 200, "{name} ({source})");
        let received = house.origin.last();
        assert_eq!((&*received.body, received.is_complete), (*expected, true), "{name} ({source})");
    }
    assert_eq!(house.origin.begun(), SOUND.len());
}
