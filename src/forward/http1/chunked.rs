//! A chunked body (RFC 9112 §7.1), taken out of its frames.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Error;
use super::connection::take;

/// The most bytes of one chunk's line, and of all trailers together.
const MAX_LINE: usize = 16 * 1024;
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;

/// Where in the body the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What the next bytes of a body are.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece; `None` at the end, or until more comes.
    pub(super) fn next(&mut self, held: &mut BytesMut) -> Result<Option<Piece>, Error> {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Data(left) => {
                    if held.is_empty() {
                        return Ok(None);
                    }
                    let data = take(held, usize::try_from(left).unwrap_or(usize::MAX));
                    self.state = match left.saturating_sub(data.len() as u64) {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Some(Piece::Data(data)));
                }
                State::Size => match line(held)? {
                    // A line that is not here yet cannot become what it is not.
                    None if !may_become_size(held) => return Err(Error::Malformed("the size of a chunk")),
                    None => return Ok(None),
                    Some((line, length)) => {
                        self.state = match parse_size(line)? {
                            0 => State::Trailers,
                            size => State::Data(size),
                        };
                        held.advance(length);
                    }
                },
                State::DataEnd => match line(held)? {
                    None if matches!(**held, [] | [b'\r']) => return Ok(None),
                    Some(([], length)) => {
                        held.advance(length);
                        self.state = State::Size;
                    }
                    _ => return Err(Error::Malformed("a chunk is longer than it says")),
                },
                State::Trailers => {
                    let Some((trailers, length)) = parse_trailers(held)? else { return Ok(None) };
                    held.advance(length);
                    self.state = State::Done;
                    return Ok(Some(trailers).filter(|trailers| !trailers.is_empty()).map(Piece::Trailers));
                }
            }
        }
    }
}

/// The first line, if it is complete, and its length with its end.
fn line(held: &[u8]) -> Result<Option<(&[u8], usize)>, Error> {
    let end = memchr::memchr(b'\n', held);
    // Whether it comes in one piece or in many.
    if end.unwrap_or(held.len()) > MAX_LINE {
        return Err(Error::Malformed("a chunk's line is too long"));
    }
    let Some(end) = end else { return Ok(None) };
    let line = held.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(Error::Malformed("a chunk's line ends in a bare line feed"))?;
    Ok(Some((line, end.saturating_add(1))))
}

/// `chunk-size [ chunk-ext ]`. Some origins fill up the size with spaces.
fn parse_size(line: &[u8]) -> Result<u64, Error> {
    let invalid = Error::Malformed("the size of a chunk");
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, mut rest) = line.split_at_checked(digits).unwrap_or_default();
    while let [b' ' | b'\t', behind @ ..] = rest {
        rest = behind;
    }
    if !(rest.is_empty() || rest.starts_with(b";") && !rest.contains(&b'\r')) {
        return Err(invalid);
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    size.ok_or(invalid)
}

fn may_become_size(begun: &[u8]) -> bool {
    let digits = begun.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let behind = begun.get(digits);
    begun.is_empty() || digits > 0 && behind.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b';' | b'\r'))
}

/// The fields behind the last chunk, with the empty line, and their length.
fn parse_trailers(held: &[u8]) -> Result<Option<(HeaderMap, usize)>, Error> {
    let invalid = |_| Error::Malformed("a trailer");
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = httparse::parse_headers(held, &mut fields).map_err(|_| Error::Malformed("a trailer"))?;
    let (length, complete) = match parsed {
        httparse::Status::Complete((length, fields)) => (length, Some(fields)),
        httparse::Status::Partial => (held.len(), None),
    };
    if length > MAX_TRAILERS {
        return Err(Error::Malformed("its trailers are too large"));
    }
    let Some(fields) = complete else { return Ok(None) };
    if has_bare_line_feed(held.get(..length).unwrap_or_default()) {
        return Err(Error::Malformed("a trailer's line ends in a bare line feed"));
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Error::Malformed("a trailer"))?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(invalid)?);
    }
    Ok(Some((trailers, length)))
}

/// httparse takes it for the end of a line.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.any(|line| line.ends_with(b"\n") && !line.ends_with(b"\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, the trailers and what is left, when it comes in pieces of this size.
    fn decode(body: &str, size: usize) -> Result<(String, HeaderMap, String), Error> {
        let (mut chunked, mut held) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        for piece in body.as_bytes().chunks(size) {
            held.extend_from_slice(piece);
            while let Some(piece) = chunked.next(&mut held)? {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields,
                }
            }
        }
        if !chunked.is_done() {
            return Err(Error::Incomplete);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(&data), trailers, text(&held)))
    }

    #[test]
    fn data_and_trailers_are_taken_out_however_they_are_cut() {
        let large = "x".repeat(100_000);
        for (body, data, trailers, left) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", "", ""),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP/1.1 200", "hello world", "", "HTTP/1.1 200"),
            ("a;name=\"v v\"\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", ""),
            ("00A   \r\n0123456789\r\n000;x\r\n\r\n", "0123456789", "", ""),
            ("00000000000000000000A \t;x\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", ""),
            ("1\r\n\n\r\n0\r\nX-Sum: 1\r\n\r\n", "\n", "1", ""),
            ("0\r\n\r\n", "", "", ""),
            (&format!("186a0\r\n{large}\r\n0\r\n\r\n"), &large, "", ""),
        ] {
            for size in [1, 2, 3, 7, 1000, 200_000] {
                let (found, fields, rest) = decode(body, size).unwrap();
                assert!(found == data, "{size}: {body:.100}");
                assert_eq!(
                    fields.get("x-sum").map_or("", |sum| sum.to_str().unwrap()),
                    trailers,
                    "{size}: {body:.100}"
                );
                // What comes after the end in pieces stays as well.
                assert_eq!(rest, left, "{size}: {body:.100}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused_however_it_is_cut() {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhellothere",
            " 5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "5_0\r\nhello\r\n0\r\n\r\n",
            "-1\r\n\r\n",
            "\r\nhello\r\n",
            "no chunk",
            "10000000000000005\r\nhello",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5\r\r\nhello\r\n0\r\n\r\n",
            "5 \r \r\nhello\r\n0\r\n\r\n",
            "5\r;a\r\nhello\r\n0\r\n\r\n",
            "5\x0c\r\nhello\r\n0\r\n\r\n",
            "0\r\n\n",
            "0\n\r\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nX: 1\r\n\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\nX: a\0b\r\n\r\n",
            "0\r\nnothing\r\n\r\n",
        ] {
            for size in [1, 2, 1000] {
                assert!(matches!(decode(body, size), Err(Error::Malformed(_))), "{size}: {body:?}");
            }
        }
    }

    #[test]
    fn endless_lines_and_trailers_end() {
        let begun = [format!("5;{}", "x".repeat(2 * MAX_LINE)), format!("0\r\nx: {}", "x".repeat(2 * MAX_TRAILERS))];
        for (begun, end) in begun.iter().zip(["\r\nhello\r\n0\r\n\r\n", "\r\n\r\n"]) {
            for (body, size) in [(begun, 1000), (begun, 200_000), (&(begun.clone() + end), 200_000)] {
                assert!(matches!(decode(body, size), Err(Error::Malformed(_))), "{body:.20}");
            }
        }
    }

    #[test]
    fn a_body_that_ends_early_is_not_whole() {
        for body in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "0\r\nX: 1\r\n"] {
            assert!(matches!(decode(body, 1), Err(Error::Incomplete)), "{body:?}");
        }
    }
}
