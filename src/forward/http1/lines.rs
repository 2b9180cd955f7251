//! The head of a response whose fields go to its client as they came.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::StatusCode;
use memchr::Memchr;

use super::response::{Said, has_no_body};
use crate::forward::response_head::{MAX_FIELDS, is_event_stream_type, is_length};
use crate::reply::{FieldLines, is_tchar};

/// No longer name can be that of a field in a map.
const MAX_NAME: usize = u16::MAX as usize;

/// A head whose fields pass.
pub(super) struct Plain<'h> {
    pub(super) status: StatusCode,
    pub(super) phrase: &'h [u8],
    /// The fields without those that are for this connection alone.
    pub(super) fields: FieldLines,
    pub(super) said: Said<'h>,
    /// In bytes.
    pub(super) length: usize,
}

/// Reads the head that these bytes begin with, if it is written as most are; `None` if it is not complete, or if one of its
/// fields has to be looked at by somebody who knows them all. What is wrong with it is for others to find.
pub(super) fn read(bytes: &[u8]) -> Option<Plain<'_>> {
    let mut lines = Lines::of(bytes);
    let (status, phrase) = lines.next()?.strip_prefix(b"HTTP/1.1 ")?.split_at_checked(3)?;
    let status = StatusCode::from_bytes(status).ok().filter(|status| !has_no_body(*status))?;
    let phrase = phrase.strip_prefix(b" ").filter(|phrase| phrase.is_ascii())?;
    let (mut said, mut passing) = (Said::default(), Passing::behind(&lines));
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            break;
        }
        let Field { name, value, is_usual } = Field::of(line)?;
        match kind(name, value) {
            Kind::Date => passing.fields.has_date = true,
            Kind::Length if said.length.is_none() && said.coding.is_none() => {
                said.length = Some(value);
                passing.fields.has_length = true;
            }
            Kind::Chunked if said.length.is_none() && said.coding.is_none() => {
                said.coding = Some(value);
                passing.leave_out(&lines);
                continue;
            }
            Kind::Connection if said.is_option(value) => {
                passing.leave_out(&lines);
                continue;
            }
            Kind::KeepAlive => {
                passing.leave_out(&lines);
                continue;
            }
            Kind::Other => {}
            Kind::Length | Kind::Chunked | Kind::Connection | Kind::Odd => return None,
        }
        if !is_usual {
            passing.leave_out(&lines);
            passing.fields.push(name, value);
        }
    }
    passing.leave_out(&lines);
    // Each line has two at its end; any other is in a place where it must not be, or a tab.
    let controls = count_controls(bytes.get(..lines.at)?);
    let is_text = controls == lines.count.saturating_mul(2);
    let has_too_many = lines.count.saturating_sub(2) > MAX_FIELDS;
    (is_text && !has_too_many).then_some(Plain { status, phrase, fields: passing.fields, said, length: lines.at })
}

/// Lines that end in CRLF, one after another.
struct Lines<'h> {
    bytes: &'h [u8],
    feeds: Memchr<'h>,
    /// Where the line begins that was the last.
    begin: usize,
    /// Where the next one does.
    at: usize,
    count: usize,
}

impl<'h> Lines<'h> {
    fn of(bytes: &'h [u8]) -> Self {
        Self { bytes, feeds: memchr::memchr_iter(b'\n', bytes), begin: 0, at: 0, count: 0 }
    }

    fn next(&mut self) -> Option<&'h [u8]> {
        let feed = self.feeds.next()?;
        (self.begin, self.at) = (self.at, feed.saturating_add(1));
        self.count = self.count.saturating_add(1);
        self.bytes.get(self.begin..feed)?.strip_suffix(b"\r")
    }
}

struct Field<'h> {
    name: &'h [u8],
    value: &'h [u8],
    /// Whether it is written with one space between them and no other around.
    is_usual: bool,
}

impl<'h> Field<'h> {
    fn of(line: &'h [u8]) -> Option<Self> {
        let (name, rest) =
            line.split_at_checked(name_length(line)).filter(|(name, _)| (1..=MAX_NAME).contains(&name.len()))?;
        let rest = rest.strip_prefix(b":")?;
        match rest.strip_prefix(b" ") {
            Some(value) if !value.starts_with(b" ") && !value.ends_with(b" ") => {
                Some(Self { name, value, is_usual: true })
            }
            // With tabs around it, it does not pass here.
            _ => Some(Self { name, value: rest.trim_ascii(), is_usual: false }),
        }
    }
}

/// Nobody has to look at a name byte by byte that nearly every head has.
fn name_length(line: &[u8]) -> usize {
    for usual in [&b"Content-Type:"[..], b"Content-Length:", b"Date:", b"Server:", b"Connection:"] {
        if line.starts_with(usual) {
            return usual.len().saturating_sub(1);
        }
    }
    line.iter().take_while(|byte| is_tchar(**byte)).count()
}

/// The lines that pass.
struct Passing<'h> {
    bytes: &'h [u8],
    fields: FieldLines,
    /// From where on nothing has been left out.
    from: usize,
}

impl<'h> Passing<'h> {
    /// All that is behind the line that was the last, until something is left out.
    fn behind(lines: &Lines<'h>) -> Self {
        Self { bytes: lines.bytes, fields: FieldLines::default(), from: lines.at }
    }

    /// The line that was the last. What stands between two of them is copied at once.
    fn leave_out(&mut self, lines: &Lines<'_>) {
        self.fields.push_lines(self.bytes.get(self.from..lines.begin).unwrap_or_default());
        self.from = lines.at;
    }
}

/// How many bytes are control characters.
fn count_controls(bytes: &[u8]) -> usize {
    // In bytes, so that the compiler counts many at once.
    let count = |chunk: &[u8]| chunk.iter().fold(0_u8, |count, byte| count.wrapping_add(u8::from(is_control(*byte))));
    bytes.chunks(u8::MAX.into()).map(|chunk| usize::from(count(chunk))).fold(0, usize::saturating_add)
}

const fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
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
fn kind(name: &[u8], value: &[u8]) -> Kind {
    // Nearly all are spelled like this.
    let is = |known: &str| name == known.as_bytes() || name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 if is("TE") => Kind::Odd,
        4 if is("Date") => Kind::Date,
        7 if is("Trailer") || is("Upgrade") => Kind::Odd,
        10 if is("Connection") => Kind::Connection,
        10 if is("Keep-Alive") => Kind::KeepAlive,
        12 if is("Content-Type") && is_event_stream_type(value) => Kind::Odd,
        14 if is("Content-Length") => {
            if is_length(value) {
                Kind::Length
            } else {
                Kind::Odd
            }
        }
        16 if is("Proxy-Connection") => Kind::Odd,
        17 if is("Transfer-Encoding") => {
            if value == b"chunked" || value.eq_ignore_ascii_case(b"chunked") {
                Kind::Chunked
            } else {
                Kind::Odd
            }
        }
        18 if is("Proxy-Authenticate") => Kind::Odd,
        19 if is("Proxy-Authorization") => Kind::Odd,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::hop_by_hop::is_hop_by_hop;

    fn passed(fields: &[(&str, &str)]) -> Option<(String, FieldLines)> {
        let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat());
        for end in 0..head.len() {
            assert!(read(&head.as_bytes()[..end]).is_none(), "{end} of {head:?}");
        }
        let with_more = [head.as_bytes(), b"more\r\n\r\n"].concat();
        let Plain { fields, length, .. } = read(&with_more)?;
        assert_eq!(length, head.len());
        Some((String::from_utf8(fields.as_bytes().to_vec()).unwrap(), fields))
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
    fn white_space_around_a_value_does_not_pass() {
        let head = b"HTTP/1.1 404 Not Found\r\nA:b\r\nC:  d \r\nE: f  g\r\nH: i \r\nJ:\r\nK:   \r\n\r\n";
        let Plain { status, phrase, fields, .. } = read(head).unwrap();
        assert_eq!((status.as_u16(), phrase), (404, &b"Not Found"[..]));
        let expected = "A: b\r\nC: d\r\nE: f  g\r\nH: i\r\nJ: \r\nK: \r\n";
        assert_eq!(str::from_utf8(fields.as_bytes()).unwrap(), expected);
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
            &vec![("A", "b"); MAX_FIELDS + 1],
        ] {
            assert!(passed(fields).is_none(), "{fields:?}");
        }
        assert!(passed(&vec![("A", "b"); MAX_FIELDS]).is_some());
    }

    #[test]
    fn what_is_written_otherwise_is_for_others() {
        assert!(read(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n").is_some());
        for head in [
            "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n",
            "HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
            "HTTP/1.1 099 Low\r\nA: b\r\n\r\n",
            "HTTP/1.1 2000 OK\r\nA: b\r\n\r\n",
            "HTTP/1.1 200\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 \u{e9}\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \u{7f}b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\tc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA:\tb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        ] {
            assert!(read(head.as_bytes()).is_none(), "{head:?}");
        }
        for (length, passes) in [(MAX_NAME, true), (MAX_NAME + 1, false)] {
            let head = format!("HTTP/1.1 200 OK\r\n{}: b\r\n\r\n", "a".repeat(length));
            assert_eq!(read(head.as_bytes()).is_some(), passes, "a name of {length}");
        }
        // More than can be counted in a byte.
        let controls = "\u{1}".repeat(256);
        assert!(read(format!("HTTP/1.1 200 OK\r\nA: {controls}\r\n\r\n").as_bytes()).is_none());
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
                assert_ne!(kind(name.as_bytes(), b"x"), Kind::Other, "{name}");
            }
        }
    }
}
