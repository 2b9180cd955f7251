//! The fields of a response that goes to its client as it came.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::{StatusCode, Version};
use httparse::Header;

use super::response::{Said, has_no_body};
use crate::field_lines::FieldLines;
use crate::forward::response_head::{is_event_stream_type, is_plain_number};

/// The fields without those that are for this connection alone, and what was said by any of them; `None` if one has to be
/// looked at by somebody who knows the whole head.
pub(super) fn plain<'h>(
    fields: &[Header<'h>],
    size: usize,
    status: StatusCode,
    version: Version,
) -> Option<(FieldLines, Said<'h>)> {
    if has_no_body(status) || version != Version::HTTP_11 {
        return None;
    }
    let (mut lines, mut said) = (FieldLines::with_capacity(size), Said::default());
    for field in fields {
        match kind(field.name, field.value) {
            Kind::Date => lines.has_date = true,
            Kind::Length if said.length.is_none() && said.coding.is_none() => {
                said.length = Some(field.value);
                lines.has_length = true;
            }
            Kind::Chunked if said.length.is_none() && said.coding.is_none() => {
                said.coding = Some(field.value);
                continue;
            }
            Kind::Connection if said.is_option(field.value) => continue,
            Kind::KeepAlive => continue,
            Kind::Other => {}
            Kind::Length | Kind::Chunked | Kind::Connection | Kind::Odd => return None,
        }
        lines.push(field.name, field.value);
    }
    Some((lines, said))
}

/// What a field is to whoever passes it on.
#[derive(Debug, Eq, PartialEq)]
enum Kind {
    Date,
    /// A length as it should be.
    Length,
    /// A transfer coding as it should be.
    Chunked,
    Connection,
    KeepAlive,
    /// Nobody's business.
    Other,
    /// Somebody's.
    Odd,
}

/// By the length of its name first: few names have one that matters.
fn kind(name: &str, value: &[u8]) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 if is("te") => Kind::Odd,
        4 if is("date") => Kind::Date,
        7 if is("trailer") || is("upgrade") => Kind::Odd,
        10 if is("connection") => Kind::Connection,
        10 if is("keep-alive") => Kind::KeepAlive,
        12 if is("content-type") && is_event_stream_type(value) => Kind::Odd,
        14 if is("content-length") => {
            if is_plain_number(value) {
                Kind::Length
            } else {
                Kind::Odd
            }
        }
        16 if is("proxy-connection") => Kind::Odd,
        17 if is("transfer-encoding") => {
            if value.eq_ignore_ascii_case(b"chunked") {
                Kind::Chunked
            } else {
                Kind::Odd
            }
        }
        18 if is("proxy-authenticate") => Kind::Odd,
        19 if is("proxy-authorization") => Kind::Odd,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::hop_by_hop::is_hop_by_hop;

    fn passed(fields: &[(&str, &str)]) -> Option<(String, FieldLines)> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let (lines, _) = plain(&fields, 0, StatusCode::OK, Version::HTTP_11)?;
        Some((String::from_utf8(lines.as_bytes().to_vec()).unwrap(), lines))
    }

    #[test]
    fn what_is_for_the_client_passes_as_it_came() {
        let fields = [
            ("Server", "x"),
            ("Connection", "Keep-Alive"),
            ("DATE", "today"),
            ("Keep-Alive", "timeout=5"),
            ("content-Length", "10"),
            ("Set-Cookie", "a=1"),
            ("X-Empty", ""),
            ("set-cookie", "b=\u{e9}"),
            ("Content-Type", "text/plain"),
        ];
        let (text, lines) = passed(&fields).unwrap();
        let expected = "Server: x\r\nDATE: today\r\ncontent-Length: 10\r\nSet-Cookie: a=1\r\nX-Empty: \r\n\
                        set-cookie: b=\u{e9}\r\nContent-Type: text/plain\r\n";
        assert_eq!((text.as_str(), lines.has_date, lines.has_length), (expected, true, true));
        let (text, lines) = passed(&[("Transfer-Encoding", "Chunked"), ("A", "b")]).unwrap();
        assert_eq!((text.as_str(), lines.has_date, lines.has_length), ("A: b\r\n", false, false));
    }

    #[test]
    fn what_has_to_be_looked_at_does_not() {
        for fields in [
            &[("Content-Length", "1"), ("Content-Length", "1")][..],
            &[("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "chunked"), ("Content-Length", "1")],
            &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("Content-Length", "01")],
            &[("Content-Length", "1, 1")],
            &[("Content-Length", "")],
            &[("Connection", "close, X-Hop"), ("X-Hop", "1")],
            &[("Connection", "")],
            &[("Content-Type", "Text/Event-Stream; charset=utf-8")],
            &[("Trailer", "digest")],
        ] {
            assert!(passed(fields).is_none(), "{fields:?}");
        }
        for (status, version) in
            [(204, Version::HTTP_11), (304, Version::HTTP_11), (103, Version::HTTP_11), (200, Version::HTTP_10)]
        {
            assert!(plain(&[], 0, StatusCode::from_u16(status).unwrap(), version).is_none(), "{status} {version:?}");
        }
    }

    #[test]
    fn no_field_of_a_hop_passes() {
        for hop in [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
        ] {
            assert!(is_hop_by_hop(hop), "{hop}");
            for name in [hop.to_owned(), hop.to_ascii_uppercase()] {
                assert_ne!(kind(&name, b"x"), Kind::Other, "{name}");
            }
        }
    }
}
