//! Request heads that two parsers could read differently (RFC 9112 §11.2), each with a request behind it that must
//! never be seen.

use crate::support::{Client, House, client};

type Case = (&'static str, &'static str, &'static [u8], &'static str);

const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

const LENGTHS: &[Case] = &[
    (
        "CL.TE",
        "smuggling: CL.TE",
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        "ambiguous_request",
    ),
    (
        "TE.CL",
        "smuggling: TE.CL",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
        "ambiguous_request",
    ),
    (
        "CL.TE, a length that is none",
        "smuggling: CL.TE",
        b"Content-Length: zz\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "malformed_request",
    ),
    (
        "CL.TE, the length zero",
        "smuggling: CL.TE",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "CL.TE, a coding that is none",
        "smuggling: CL.TE",
        b"Content-Length: 6\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "unsupported_transfer_coding",
    ),
    (
        "CL.TE, in small letters",
        "smuggling: CL.TE",
        b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX",
        "ambiguous_request",
    ),
    ("CL.CL, alike", "RFC 9112 §6.3", b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "ambiguous_request"),
    (
        "CL.CL, the first shorter",
        "smuggling: CL.CL",
        b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "CL.CL, the second shorter",
        "smuggling: CL.CL",
        b"Content-Length: 44\r\nContent-Length: 0\r\n\r\n",
        "ambiguous_request",
    ),
    ("a list of lengths", "RFC 9110 §8.6", b"Content-Length: 5, 5\r\n\r\nhello", "malformed_request"),
    ("a list of two lengths", "RFC 9110 §8.6", b"Content-Length: 5,6\r\n\r\nhello", "malformed_request"),
    ("a length with a plus", "CVE-2022-24801", b"Content-Length: +5\r\n\r\nhello", "malformed_request"),
    ("a negative length", "CVE-2022-24801", b"Content-Length: -5\r\n\r\n", "malformed_request"),
    ("minus zero", "RFC 9110 §8.6", b"Content-Length: -0\r\n\r\n", "malformed_request"),
    ("a hexadecimal length", "RFC 9110 §8.6", b"Content-Length: 0x5\r\n\r\nhello", "malformed_request"),
    ("a length with an exponent", "RFC 9110 §8.6", b"Content-Length: 5e0\r\n\r\nhello", "malformed_request"),
    ("a length with a fraction", "RFC 9110 §8.6", b"Content-Length: 5.0\r\n\r\nhello", "malformed_request"),
    ("a length with an underscore", "RFC 9110 §8.6", b"Content-Length: 1_0\r\n\r\n", "malformed_request"),
    ("spaces within a length", "CVE-2018-7159", b"Content-Length: 1 0\r\n\r\n0123456789", "malformed_request"),
    ("leading zeros", "RFC 9110 §8.6", b"Content-Length: 005\r\n\r\nhello", "ambiguous_request"),
    ("no length", "RFC 9110 §8.6", b"Content-Length:\r\n\r\n", "malformed_request"),
    ("a length in quotes", "RFC 9110 §8.6", b"Content-Length: \"5\"\r\n\r\nhello", "malformed_request"),
    ("a length and a parameter", "RFC 9110 §8.6", b"Content-Length: 5;\r\n\r\nhello", "malformed_request"),
    ("2^63", "CWE-190", b"Content-Length: 9223372036854775808\r\n\r\nhello", "malformed_request"),
    ("2^64 - 3", "CWE-190", b"Content-Length: 18446744073709551613\r\n\r\nhello", "malformed_request"),
    ("2^64 + 5", "CWE-190", b"Content-Length: 18446744073709551621\r\n\r\nhello", "malformed_request"),
    (
        "a length of many digits",
        "CWE-190",
        b"Content-Length: 100000000000000000000000000000005\r\n\r\n",
        "malformed_request",
    ),
    ("a length with NUL behind", "CWE-158", b"Content-Length: 5\0\r\n\r\nhello", "malformed_request"),
    (
        "a vertical tab before a length",
        "smuggling: white space",
        b"Content-Length: \x0b5\r\n\r\nhello",
        "malformed_request",
    ),
    ("digits of another script", "RFC 9110 §8.6", b"Content-Length: \xd9\xa5\r\n\r\nhello", "malformed_request"),
    ("0.CL: a space before the colon", "smuggling: 0.CL", b"Content-Length : 5\r\n\r\nhello", "ambiguous_request"),
    ("0.CL: a tab before the colon", "smuggling: 0.CL", b"Content-Length\t: 5\r\n\r\nhello", "ambiguous_request"),
    ("0.CL: folded", "smuggling: 0.CL", b"Content-Length:\r\n 5\r\n\r\nhello", "malformed_request"),
    ("0.CL: a space before the name", "smuggling: 0.CL", b" Content-Length: 5\r\n\r\nhello", "ambiguous_request"),
    ("0.CL: behind a bare LF", "smuggling: 0.CL", b"X: y\nContent-Length: 5\r\n\r\nhello", "ambiguous_request"),
    ("0.CL: behind a bare CR", "smuggling: 0.CL", b"X: y\rContent-Length: 5\r\n\r\nhello", "ambiguous_request"),
    ("0.CL: in a value's NUL", "smuggling: 0.CL", b"X: y\0Content-Length: 5\r\n\r\nhello", "malformed_request"),
    ("0.CL: with an underscore", "smuggling: 0.CL", b"Content_Length: 5\r\n\r\nhello", "ambiguous_request"),
    ("0.CL: with NUL in the name", "smuggling: 0.CL", b"Content-Length\0: 5\r\n\r\nhello", "malformed_request"),
    ("0.CL: two colons", "smuggling: 0.CL", b"Content-Length:: 5\r\n\r\nhello", "malformed_request"),
];

const CODINGS: &[Case] = &[
    (
        "TE.TE: a second coding",
        "smuggling: TE.TE",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "unsupported_transfer_coding",
    ),
    (
        "TE.TE: identity behind",
        "smuggling: TE.TE",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "unsupported_transfer_coding",
    ),
    (
        "TE.TE: chunked twice",
        "RFC 9112 §6.1",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "TE.TE: chunked twice in a list",
        "RFC 9112 §6.1",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "TE.TE: chunked not last",
        "RFC 9112 §6.1",
        b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    ("TE.TE: xchunked", "smuggling: TE.TE", b"Transfer-Encoding: xchunked\r\n\r\n", "unsupported_transfer_coding"),
    (
        "TE.TE: chunked and a semicolon",
        "smuggling: TE.TE",
        b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    ("TE.TE: in quotes", "smuggling: TE.TE", b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "ambiguous_request"),
    ("TE.TE: a comma before", "RFC 9110 §5.6.1", b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "ambiguous_request"),
    ("TE.TE: a comma behind", "RFC 9110 §5.6.1", b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "ambiguous_request"),
    (
        "TE.TE: a vertical tab before",
        "CVE-2019-18277",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "malformed_request",
    ),
    ("TE.TE: a CR before", "CVE-2022-1705", b"Transfer-Encoding: \rchunked\r\n\r\n0\r\n\r\n", "ambiguous_request"),
    ("TE.TE: NUL behind", "smuggling: TE.TE", b"Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", "malformed_request"),
    (
        "TE.TE: a space before the colon",
        "CVE-2019-16869",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "TE.TE: a tab before the colon",
        "CVE-2019-16869",
        b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    ("TE.TE: folded", "RFC 9112 §5.2", b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "ambiguous_request"),
    (
        "TE.TE: folded behind another field",
        "RFC 9112 §5.2",
        b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "TE.TE: a space before the name",
        "smuggling: TE.TE",
        b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "TE.TE: behind a bare LF",
        "smuggling: TE.TE",
        b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    (
        "TE.TE: with an underscore",
        "smuggling: TE.TE",
        b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
    ("TE.TE: with a dot", "smuggling: TE.TE", b"Transfer.Encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_request"),
    (
        "TE.TE: with a letter beyond ASCII",
        "smuggling: TE.TE",
        b"Transfer-\xc5\xbfncoding: chunked\r\n\r\n0\r\n\r\n",
        "malformed_request",
    ),
    ("TE.TE: a coding of nothing", "RFC 9112 §6.1", b"Transfer-Encoding:\r\n\r\n", "ambiguous_request"),
    (
        "TE.TE: compressed, then chunked",
        "RFC 9112 §7.2",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "unsupported_transfer_coding",
    ),
    (
        "TE.TE: a letter changed by case mapping",
        "Unicode UTS 39",
        b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n\r\n0\r\n\r\n",
        "ambiguous_request",
    ),
];

const FIELDS: &[Case] = &[
    ("no end of a name", "RFC 9112 §5", b"nonsense\r\n\r\n", "malformed_request"),
    ("no name", "RFC 9112 §5", b": y\r\n\r\n", "malformed_request"),
    ("a space in a name", "RFC 9112 §5.1", b"X Y: z\r\n\r\n", "malformed_request"),
    ("brackets in a name", "RFC 9110 §5.1", b"X[0]: z\r\n\r\n", "malformed_request"),
    ("a name beyond ASCII", "RFC 9110 §5.1", b"X-\xc3\xa9: z\r\n\r\n", "malformed_request"),
    ("DEL in a value", "RFC 9110 §5.5", b"X: a\x7fb\r\n\r\n", "malformed_request"),
    ("an escape character in a value", "CWE-150", b"X: a\x1b[2Jb\r\n\r\n", "malformed_request"),
    ("NUL in a value", "CWE-158", b"X: a\0b\r\n\r\n", "malformed_request"),
    ("a value folded with a tab", "RFC 9112 §5.2", b"X: a\r\n\tb\r\n\r\n", "ambiguous_request"),
    ("bare LF at the end of a field", "RFC 9112 §2.2", b"X: a\nY: b\r\n\r\n", "ambiguous_request"),
    ("bare LF at the end of the head", "RFC 9112 §2.2", b"X: a\r\n\n", "ambiguous_request"),
    ("LF CR for CR LF", "RFC 9112 §2.2", b"X: a\n\rY: b\r\n\r\n", "ambiguous_request"),
    ("CR CR LF", "CVE-2022-32214", b"X: a\r\r\nY: b\r\n\r\n", "ambiguous_request"),
    ("bare CR in a value", "CVE-2022-32214", b"X: a\rY: b\r\n\r\n", "ambiguous_request"),
    ("bare CR at the start of a line", "CVE-2022-32214", b"\rX: a\r\n\r\n", "ambiguous_request"),
    ("a second Host alike", "RFC 9112 §3.2", b"Host: gate.test\r\n\r\n", "ambiguous_request"),
    ("a second Host", "RFC 9112 §3.2", b"Host: evil.example\r\n\r\n", "ambiguous_request"),
    ("a second Host, empty", "RFC 9112 §3.2", b"Host:\r\n\r\n", "malformed_request"),
    ("a second Host in capitals", "RFC 9112 §3.2", b"HOST: evil.example\r\n\r\n", "ambiguous_request"),
    ("a Host before a space", "RFC 9112 §5.1", b"Host : evil.example\r\n\r\n", "ambiguous_request"),
    ("a Host with an underscore", "CVE-2026-88011", b"Host_: evil.example\r\n\r\n", "ambiguous_request"),
    ("another expectation", "RFC 9110 §10.1.1", b"Expect: 200-ok\r\n\r\n", "expectation_failed"),
    (
        "two expectations",
        "RFC 9110 §10.1.1",
        b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
        "expectation_failed",
    ),
    ("an expectation with a letter more", "RFC 9110 §10.1.1", b"Expect: 100-continues\r\n\r\n", "expectation_failed"),
];

/// In place of `Host: gate.test`.
const HOSTS: &[Case] = &[
    ("no Host", "RFC 9112 §3.2", b"X: y\r\n\r\n", "ambiguous_request"),
    ("a Host of nothing", "RFC 9112 §3.2", b"Host: \r\n\r\n", "malformed_request"),
    ("a Host with user information", "RFC 9110 §4.2.4", b"Host: gate.test@evil.example\r\n\r\n", "malformed_request"),
    ("a Host with a path", "RFC 9110 §7.2", b"Host: gate.test/evil\r\n\r\n", "malformed_request"),
    ("a Host with a query", "RFC 9110 §7.2", b"Host: gate.test?evil\r\n\r\n", "malformed_request"),
    ("a Host with a fragment", "RFC 9110 §7.2", b"Host: gate.test#evil\r\n\r\n", "malformed_request"),
    ("a Host with a backslash", "RFC 9110 §7.2", b"Host: gate.test\\evil\r\n\r\n", "malformed_request"),
    ("two Hosts in one field", "RFC 9110 §5.3", b"Host: gate.test, evil.example\r\n\r\n", "malformed_request"),
    ("a Host with a scheme", "RFC 9110 §7.2", b"Host: http://gate.test\r\n\r\n", "malformed_request"),
    ("a port that is no number", "RFC 3986 §3.2.3", b"Host: gate.test:x\r\n\r\n", "malformed_request"),
    ("two ports", "RFC 3986 §3.2.3", b"Host: gate.test:80:81\r\n\r\n", "malformed_request"),
    ("an address without brackets", "RFC 3986 §3.2.2", b"Host: ::1\r\n\r\n", "malformed_request"),
    ("brackets around a name", "RFC 3986 §3.2.2", b"Host: [gate.test]\r\n\r\n", "malformed_request"),
    ("a bracket too many", "RFC 3986 §3.2.2", b"Host: [::1]]\r\n\r\n", "malformed_request"),
    ("a Host beyond ASCII", "RFC 9110 §7.2", b"Host: g\xc3\xa4te.test\r\n\r\n", "malformed_request"),
    ("a Host with a space within", "RFC 9110 §7.2", b"Host: gate .test\r\n\r\n", "malformed_request"),
];

/// Each table with what stands before its bytes.
const TABLES: [(&[u8], &[Case]); 4] = [
    (b"POST / HTTP/1.1\r\nHost: gate.test\r\n", LENGTHS),
    (b"POST / HTTP/1.1\r\nHost: gate.test\r\n", CODINGS),
    (b"GET / HTTP/1.1\r\nHost: gate.test\r\n", FIELDS),
    (b"GET / HTTP/1.1\r\n", HOSTS),
];

fn all() -> impl Iterator<Item = (&'static [u8], &'static Case)> {
    TABLES.into_iter().flat_map(|(start, table)| table.iter().map(move |case| (start, case)))
}

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    all().map(|(_, (name, source, ..))| (*name, *source)).collect()
}

#[tokio::test]
async fn a_head_that_two_parsers_could_read_differently_goes_no_further() {
    // Where no token is asked for, so that nothing else can be the reason.
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (start, (name, source, bytes, expected)) in all() {
        let before = house.origin.begun();
        let mut client = Client::connect(house.gate.addr()).await;
        client.send([start, bytes, SMUGGLED].concat()).await;
        let response = client.response().await;
        assert_eq!(response.denial().reason, *expected, "{name} ({source})");
        if response.header("connection") == Some("close") {
            assert!(client.is_closed().await, "{name} ({source}): something follows the refusal");
            assert_eq!(house.origin.begun(), before, "{name} ({source})");
        } else {
            // A request that has one reading and is refused for what it asks; what follows it is another.
            assert_eq!(*expected, "expectation_failed", "{name} ({source})");
            assert_eq!(client.response().await.status, 200, "{name} ({source})");
            assert_eq!(house.origin.last().target, "/smuggled", "{name} ({source})");
        }
    }
}

#[tokio::test]
async fn the_same_heads_are_refused_in_whatever_pieces_they_come() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (start, (name, source, bytes, expected)) in
        all().filter(|(_, (.., expected))| *expected != "expectation_failed")
    {
        let mut client = Client::connect(house.gate.addr()).await;
        let whole = [start, bytes].concat();
        let (first, second) = whole.split_at(whole.len() - 5);
        client.send(first).await;
        // It may have heard enough already.
        client.try_send(second).await;
        assert_eq!(client.response().await.denial().reason, *expected, "{name} ({source})");
    }
    assert_eq!(house.origin.begun(), 0);
    assert_eq!(client::get(house.gate.addr(), "/", None).await.status, 200);
}
