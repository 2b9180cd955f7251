use super::*;
use crate::server::wire::{MAX_TARGET, Spare};

const MAX: usize = 64 * 1024;

/// How long it is and how its body ends, when it is complete.
fn read(head: &[u8]) -> Result<Option<(usize, Framing)>, Denial> {
    let Some(length) = find(head, 0, MAX)? else { return Ok(None) };
    let Head { framing, length: found, .. } = parse(head, &mut Spare::default())?;
    assert_eq!(found, length);
    Ok(Some((length, framing)))
}

fn reason(head: &[u8]) -> &'static str {
    match read(head) {
        Err(denial) => denial.row().reason,
        Ok(Some(_)) => "complete",
        Ok(None) => "incomplete",
    }
}

#[test]
fn a_head_ends_where_its_empty_line_does() {
    let get = "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n";
    let complete = |len, framing| Ok(Some((len, framing)));
    assert_eq!(read(get.as_bytes()), complete(get.len(), Framing::Length(0)));
    let post = "POST / HTTP/1.1\r\nhost: x:80\r\ncontent-LENGTH:  12 \r\n\r\n";
    assert_eq!(read(format!("{post}hello").as_bytes()), complete(post.len(), Framing::Length(12)));
    let chunked = "POST / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: Chunked\r\n\r\n";
    assert_eq!(read(chunked.as_bytes()), complete(chunked.len(), Framing::Chunked));
    let old = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(read(old.as_bytes()), complete(old.len(), Framing::Length(0)));
    for cut in 0..get.len() {
        assert_eq!(read(&get.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        assert_eq!(find(get.as_bytes(), cut, MAX), Ok(Some(get.len())), "after {cut}");
    }
}

#[test]
fn a_head_is_what_came() {
    let text =
        "PATCH /a%20b?c=d HTTP/1.0\r\nHOST: x\r\nX-Empty:\r\nx-twice: 1\r\nX-B: \u{e9}t\u{e9} \t\r\nX-Twice:2\r\n\r\n";
    let Head { parts, .. } = parse(text.as_bytes(), &mut Spare::default()).unwrap();
    assert_eq!((parts.method.as_str(), parts.version), ("PATCH", Version::HTTP_10));
    assert_eq!(parts.uri.path_and_query().unwrap(), "/a%20b?c=d");
    let all = |name| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    assert_eq!((all("host"), all("x-empty"), all("x-twice")), (vec![&b"x"[..]], vec![&b""[..]], vec![&b"1"[..], b"2"]));
    assert_eq!(all("x-b"), ["\u{e9}t\u{e9}".as_bytes()]);
    let Head { parts, .. } = parse(b"GET http://y:1/z HTTP/1.1\r\nHost: x\r\n\r\n", &mut Spare::default()).unwrap();
    assert_eq!(parts.uri, "http://y:1/z");
}

#[test]
fn what_a_client_says_of_its_connection_is_understood() {
    for (version, fields, expected) in [
        ("1.1", "", (true, false, false)),
        ("1.1", "Connection: close\r\n", (false, false, false)),
        ("1.1", "Connection: x, Close\r\nConnection: keep-alive\r\n", (false, false, false)),
        ("1.0", "", (false, false, false)),
        ("1.0", "Connection: Keep-Alive\r\n", (true, false, false)),
        ("1.0", "Connection: keep-alive, close\r\n", (false, false, false)),
        ("1.1", "Expect: 100-Continue\r\nTE: gzip, trailers\r\n", (true, true, true)),
        ("1.0", "Expect: 100-continue\r\n", (false, false, false)),
        ("1.1", "Expect: something\r\nTE: gzip\r\n", (true, false, false)),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: x\r\n{fields}\r\n");
        let head = parse(text.as_bytes(), &mut Spare::default()).unwrap();
        assert_eq!((head.persists, head.expects_continue, head.takes_trailers), expected, "{text:?}");
    }
}

#[test]
fn a_request_line_is_read_in_one_way_only() {
    let cases: &[(&str, &str)] = &[
        ("GET / HTTP/1.1", "complete"),
        ("OPTIONS * HTTP/1.1", "complete"),
        ("GET http://x:80/a?b HTTP/1.1", "complete"),
        ("GET HTTPS://x HTTP/1.1", "complete"),
        ("CONNECT x:443 HTTP/1.1", "complete"),
        ("M-SEARCH /{a}|b?'c' HTTP/1.1", "complete"),
        ("GET  / HTTP/1.1", "malformed_request"),
        ("GET /  HTTP/1.1", "malformed_request"),
        ("GET\t/ HTTP/1.1", "malformed_request"),
        ("GET / HTTP/1.1 ", "malformed_request"),
        (" GET / HTTP/1.1", "malformed_request"),
        ("GET /a b HTTP/1.1", "malformed_request"),
        ("GET /", "malformed_request"),
        ("GET / HTTP/1.2", "malformed_request"),
        ("GET / HTTP/2.0", "malformed_request"),
        ("GET / http/1.1", "malformed_request"),
        ("GET / HTTP/01.1", "malformed_request"),
        ("G(T / HTTP/1.1", "malformed_request"),
        ("GET * HTTP/1.1", "malformed_request"),
        ("GET a HTTP/1.1", "malformed_request"),
        ("GET ?a HTTP/1.1", "malformed_request"),
        ("GET ftp://x/ HTTP/1.1", "malformed_request"),
        ("GET http:///a HTTP/1.1", "malformed_request"),
        ("GET http://u@x/ HTTP/1.1", "malformed_request"),
        ("GET /\u{e9} HTTP/1.1", "malformed_request"),
        ("GET /a\u{7f} HTTP/1.1", "malformed_request"),
        ("GET /\0 HTTP/1.1", "malformed_request"),
        ("CONNECT / HTTP/1.1", "malformed_request"),
        ("GET /public#/admin HTTP/1.1", "ambiguous_request"),
        ("GET /\r HTTP/1.1", "ambiguous_request"),
    ];
    for (line, expected) in cases {
        assert_eq!(reason(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()), *expected, "{line:?}");
    }
}

#[test]
fn every_target_that_passes_is_kept_as_it_is() {
    for byte in 0..=255_u8 {
        for (target, is_query) in [(vec![b'/', byte, b'a'], false), (vec![b'/', b'?', byte, b'a'], true)] {
            let head = [b"GET ", target.as_slice(), b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
            let parsed = parse(&head, &mut Spare::default());
            let passes = byte.is_ascii_graphic() && byte != b'#' && (is_query || byte != b'\\');
            assert_eq!(parsed.is_ok(), passes, "{:?}", char::from(byte));
            if let Ok(head) = parsed {
                let kept = crate::target::path_and_query(&head.parts).map(str::as_bytes);
                assert_eq!(kept, Some(target.as_slice()), "{:?}", char::from(byte));
            }
        }
    }
}

/// Field lines, and what becomes of them beside one `Host: x`.
const FIELDS: &[(&str, &str)] = &[
    ("X: a\tb \u{e9}", "complete"),
    ("X:", "complete"),
    ("X : a", "ambiguous_request"),
    ("X\t: a", "ambiguous_request"),
    (" X: a", "ambiguous_request"),
    ("X: a\r\n b", "ambiguous_request"),
    ("X: a\nY: b", "ambiguous_request"),
    ("X: a\rY: b", "ambiguous_request"),
    ("X: a\r\r\nY: b", "ambiguous_request"),
    ("X", "malformed_request"),
    (": a", "malformed_request"),
    ("X(: a", "malformed_request"),
    ("X\u{e9}: a", "malformed_request"),
    ("X: a\0b", "malformed_request"),
    ("X: a\u{b}b", "malformed_request"),
    ("X: a\u{7f}b", "malformed_request"),
    // RFC 9112 §3.2
    ("Host: x", "ambiguous_request"),
    ("host: y", "ambiguous_request"),
    // RFC 9112 §6.3, request smuggling in its spellings
    ("Content-Length: 5", "complete"),
    ("Content-Length: 0", "complete"),
    ("Content-Length: 5\r\nContent-Length: 5", "ambiguous_request"),
    ("Content-Length: 5\r\nContent-Length: 6", "ambiguous_request"),
    ("Content-Length: 05", "ambiguous_request"),
    ("Content-Length: 00", "ambiguous_request"),
    ("Content-Length: 5, 5", "malformed_request"),
    ("Content-Length: +5", "malformed_request"),
    ("Content-Length: -5", "malformed_request"),
    ("Content-Length: 0x5", "malformed_request"),
    ("Content-Length: 5 6", "malformed_request"),
    ("Content-Length: ", "malformed_request"),
    ("Content-Length: 99999999999999999999", "malformed_request"),
    ("Content-Length: 18446744073709551615", "malformed_request"),
    ("Content-Length: 9223372036854775808", "malformed_request"),
    ("Content-Length: 9223372036854775807", "complete"),
    ("Content-Length: 9999999999999999999", "malformed_request"),
    ("Content-Length : 5", "ambiguous_request"),
    ("Transfer-Encoding: chunked", "complete"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5", "ambiguous_request"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", "ambiguous_request"),
    ("Content-Length: zz\r\nTransfer-Encoding: chunked", "malformed_request"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "ambiguous_request"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "unsupported_transfer_coding"),
    ("Transfer-Encoding: chunked, chunked", "ambiguous_request"),
    ("Transfer-Encoding: chunked, gzip", "ambiguous_request"),
    ("Transfer-Encoding: ,chunked", "ambiguous_request"),
    ("Transfer-Encoding: \"chunked\"", "ambiguous_request"),
    ("Transfer-Encoding: chunked;q=1", "ambiguous_request"),
    ("Transfer-Encoding: ", "ambiguous_request"),
    ("Transfer-Encoding: \u{b}chunked", "malformed_request"),
    ("Transfer-Encoding: xchunked", "unsupported_transfer_coding"),
    ("Transfer-Encoding: identity", "unsupported_transfer_coding"),
    ("Transfer-Encoding: gzip, chunked", "unsupported_transfer_coding"),
];

#[test]
fn fields_are_read_in_one_way_only() {
    for (fields, expected) in FIELDS {
        assert_eq!(
            reason(format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n").as_bytes()),
            *expected,
            "{fields:?}"
        );
    }
}

#[test]
fn a_host_is_one_name_or_address_with_a_port() {
    let cases = [
        ("example.com", true),
        ("example.com:8080", true),
        ("127.0.0.1:80", true),
        ("[::1]", true),
        ("[::1]:80", true),
        ("xn--nxasmq6b", true),
        ("", false),
        (":80", false),
        ("a b", false),
        ("a,b", false),
        ("a:b", false),
        ("a:1:2", false),
        ("a:123456", false),
        ("u@a", false),
        ("a/b", false),
        ("::1", false),
        ("[::1", false),
        ("[x]", false),
        ("a\\b", false),
    ];
    for (host, is_valid) in cases {
        let expected = if is_valid { "complete" } else { "malformed_request" };
        assert_eq!(reason(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()), expected, "{host:?}");
    }
}

#[test]
fn what_is_missing_or_doubled_in_a_head_is_refused() {
    assert_eq!(reason(b"GET / HTTP/1.1\r\n\r\n"), "ambiguous_request");
    assert_eq!(reason(b"GET http://x/ HTTP/1.1\r\n\r\n"), "ambiguous_request");
    assert_eq!(reason(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "ambiguous_request");
    assert_eq!(reason(b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"), "ambiguous_request");
}

#[test]
fn a_bare_line_feed_is_refused_without_waiting_for_more() {
    assert_eq!(reason(b"GET / HTTP/1.1\nHost: x\n\n"), "ambiguous_request");
    assert_eq!(reason(b"\nGET / HTTP/1.1\r\n"), "ambiguous_request");
}

#[test]
fn sizes_end_where_they_are_said_to() {
    let target = |size| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(size - 1));
    assert_eq!(reason(target(MAX_TARGET).as_bytes()), "complete");
    assert_eq!(reason(target(MAX_TARGET + 1).as_bytes()), "uri_too_long");
    let fields = |count| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(reason(fields(MAX_FIELDS).as_bytes()), "complete");
    assert_eq!(reason(fields(MAX_FIELDS + 1).as_bytes()), "headers_too_large");
    let head = |size: usize| format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(size - 32));
    assert_eq!(reason(head(MAX).as_bytes()), "complete");
    assert_eq!(reason(head(MAX + 1).as_bytes()), "headers_too_large");
    assert_eq!(reason("x".repeat(MAX + 1).as_bytes()), "headers_too_large");
}
