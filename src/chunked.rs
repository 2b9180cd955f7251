//! A chunked body (RFC 9112 §7.1), taken out of its frames: a client's in the one way in which it may be read, an origin's
//! in those that origins are known to write, and no other.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The most bytes of all trailers together, and of them.
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;
/// The most that is copied out of a buffer, in bytes, so that the buffer can be used again.
const MAX_COPY: usize = 8 * 1024;

/// Where in the body the next byte stands.
#[derive(Debug)]
pub struct Chunked {
    state: State,
    sender: Sender,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sender {
    Client,
    Origin,
}

impl Sender {
    /// The most bytes of one chunk's line.
    const fn max_line(self) -> usize {
        match self {
            Self::Client => 4 * 1024,
            Self::Origin => 16 * 1024,
        }
    }
}

const TRAILERS_TOO_LARGE: Malformed = Malformed("its trailers are too large");

/// What cannot be read as a chunked body, or not in one way only.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    /// So many bytes of them were looked at.
    Trailers {
        seen: usize,
    },
    Done,
}

/// What the next bytes of a body are.
#[derive(Debug, Eq, PartialEq)]
pub enum Piece {
    /// Some of the content.
    Data(Bytes),
    /// The fields behind it.
    Trailers(HeaderMap),
}

impl Chunked {
    /// The body of a request.
    pub const fn of_request() -> Self {
        Self { state: State::Size, sender: Sender::Client }
    }

    /// The body of a response.
    pub const fn of_response() -> Self {
        Self { state: State::Size, sender: Sender::Origin }
    }

    /// Whether its end has come.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece; `None` at the end, or until more comes.
    ///
    /// # Errors
    /// When it is no chunked body.
    pub fn next(&mut self, held: &mut BytesMut) -> Result<Option<Piece>, Malformed> {
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
                State::Size => match line(held, self.sender.max_line())? {
                    // A line that is not here yet cannot become what it is not.
                    None if !may_become_size(held) => return Err(Malformed("the size of a chunk")),
                    None => return Ok(None),
                    Some((line, length)) => {
                        self.state = match parse_size(line, self.sender)? {
                            0 => State::Trailers { seen: 0 },
                            size => State::Data(size),
                        };
                        held.advance(length);
                    }
                },
                State::DataEnd => match line(held, self.sender.max_line())? {
                    None if matches!(**held, [] | [b'\r']) => return Ok(None),
                    Some(([], length)) => {
                        held.advance(length);
                        self.state = State::Size;
                    }
                    _ => return Err(Malformed("a chunk is longer than it says")),
                },
                State::Trailers { seen } => {
                    let Some(length) = find_trailers_end(held, seen)? else {
                        self.state = State::Trailers { seen: held.len() };
                        return Ok(None);
                    };
                    let trailers = parse_trailers(held.get(..length).unwrap_or_default())?;
                    held.advance(length);
                    self.state = State::Done;
                    return Ok(Some(trailers).filter(|trailers| !trailers.is_empty()).map(Piece::Trailers));
                }
            }
        }
    }
}

/// The first line, if it is complete, and its length with its end.
fn line(held: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let end = memchr::memchr(b'\n', held);
    // Whether it comes in one piece or in many.
    if end.unwrap_or(held.len()) > max {
        return Err(Malformed("a chunk's line is too long"));
    }
    let Some(end) = end else { return Ok(None) };
    let line = held.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(Malformed("a chunk's line ends in a bare line feed"))?;
    Ok(Some((line, end.saturating_add(1))))
}

/// `chunk-size [ chunk-ext ]`. Some origins fill up the size with spaces; in what a client sends, not even an extension may
/// hold what one reader could take for the end of a line.
fn parse_size(line: &[u8], sender: Sender) -> Result<u64, Malformed> {
    let invalid = Malformed("the size of a chunk");
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, mut rest) = line.split_at_checked(digits).unwrap_or_default();
    let is_allowed = match sender {
        Sender::Client => {
            rest.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) && digits < 16
        }
        Sender::Origin => {
            while let [b' ' | b'\t', behind @ ..] = rest {
                rest = behind;
            }
            !rest.contains(&b'\r')
        }
    };
    if !is_allowed || !(rest.is_empty() || rest.starts_with(b";")) {
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

/// How long the fields behind the last chunk are, with the empty line; `None` while they are not complete. They may come byte
/// by byte: only what is behind `seen` is looked at.
fn find_trailers_end(held: &[u8], seen: usize) -> Result<Option<usize>, Malformed> {
    for at in memchr::memchr_iter(b'\n', held.get(seen..).unwrap_or_default()) {
        let line = held.get(..seen.saturating_add(at)).unwrap_or_default();
        // httparse takes it for the end of a line.
        let line = line.strip_suffix(b"\r").ok_or(Malformed("a trailer's line ends in a bare line feed"))?;
        if line.is_empty() || line.ends_with(b"\n") {
            let length = line.len().saturating_add(2);
            return if length > MAX_TRAILERS { Err(TRAILERS_TOO_LARGE) } else { Ok(Some(length)) };
        }
    }
    if held.len() > MAX_TRAILERS { Err(TRAILERS_TOO_LARGE) } else { Ok(None) }
}

/// The fields behind the last chunk, of which these are all bytes.
fn parse_trailers(bytes: &[u8]) -> Result<HeaderMap, Malformed> {
    let invalid = |_| Malformed("a trailer");
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(bytes, &mut fields) else {
        return Err(Malformed("a trailer"));
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed("a trailer"))?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(invalid)?);
    }
    Ok(trailers)
}

/// Takes bytes out of a buffer; few of them leave the buffer to be used again.
pub fn take(held: &mut BytesMut, count: usize) -> Bytes {
    let count = count.min(held.len());
    if count > MAX_COPY {
        return held.split_to(count).freeze();
    }
    let taken = held.get(..count).map(Bytes::copy_from_slice).unwrap_or_default();
    held.advance(count);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why it is no whole body.
    #[derive(Debug, PartialEq)]
    enum Broken {
        Malformed,
        Incomplete,
    }

    /// The data, the trailers and what is left, when it comes in pieces of this size.
    fn decode(mut chunked: Chunked, body: &str, size: usize) -> Result<(String, HeaderMap, String), Broken> {
        let mut held = BytesMut::new();
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        for piece in body.as_bytes().chunks(size) {
            held.extend_from_slice(piece);
            while let Some(piece) = chunked.next(&mut held).map_err(|_| Broken::Malformed)? {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields,
                }
            }
        }
        if !chunked.is_done() {
            return Err(Broken::Incomplete);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(&data), trailers, text(&held)))
    }

    const BOTH: [fn() -> Chunked; 2] = [Chunked::of_request, Chunked::of_response];

    /// A body, its data, its trailer, and what is behind it.
    type Whole<'t> = (&'t str, &'t str, &'t str, &'t str);

    fn check((body, data, trailers, left): Whole<'_>, begin: fn() -> Chunked) {
        for size in [1, 2, 3, 7, 1000, 200_000] {
            let (found, fields, rest) = decode(begin(), body, size).unwrap();
            assert!(found == data, "{size}: {body:.100}");
            assert_eq!(fields.get("x-sum").map_or("", |sum| sum.to_str().unwrap()), trailers, "{size}: {body:.100}");
            // What comes after the end in pieces stays as well.
            assert_eq!(rest, left, "{size}: {body:.100}");
        }
    }

    #[test]
    fn data_and_trailers_are_taken_out_however_they_are_cut() {
        let large = "x".repeat(100_000);
        for whole in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", "", ""),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP/1.1 200", "hello world", "", "HTTP/1.1 200"),
            ("5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "hello", "", "GET / HTTP/1.1\r\n"),
            ("a;name=\"v v\"\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", ""),
            ("00A\r\n0123456789\r\n000;x\r\n\r\n", "0123456789", "", ""),
            ("1\r\n\n\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n", "\n", "1", ""),
            ("0\r\n\r\n", "", "", ""),
            (&format!("186a0\r\n{large}\r\n0\r\n\r\n"), &large, "", ""),
        ] {
            for begin in BOTH {
                check(whole, begin);
            }
        }
        // What some origins fill the size up with.
        for whole in [
            ("00A   \r\n0123456789\r\n000;x\r\n\r\n", "0123456789", "", ""),
            ("00000000000000000000A \t;x\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", ""),
        ] {
            check(whole, Chunked::of_response);
            assert_eq!(decode(Chunked::of_request(), whole.0, 1000), Err(Broken::Malformed), "{:?}", whole.0);
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused_however_it_is_cut() {
        for (body, why) in [
            ("5\nhello\r\n0\r\n\r\n", "bare LF after the size"),
            ("5\r\nhello\n0\r\n\r\n", "bare LF after the data"),
            ("5\r\nhelloXX0\r\n\r\n", "surplus bytes in place of CRLF"),
            ("5\r\nhellothere", "the same, and no end"),
            (" 5\r\nhello\r\n0\r\n\r\n", "space before the size"),
            ("0x5\r\nhello\r\n0\r\n\r\n", "a prefix"),
            ("+5\r\nhello\r\n0\r\n\r\n", "a sign"),
            ("5_0\r\nhello\r\n0\r\n\r\n", "an underscore"),
            ("-1\r\n\r\n", "a negative size"),
            ("\r\nhello\r\n", "no size"),
            ("no chunk", "no size, and no end"),
            ("10000000000000005\r\nhello", "a size beyond 64 bits, cut by some to 5"),
            ("5;a\rb\r\nhello\r\n0\r\n\r\n", "CR in an extension (TERM.EXT)"),
            ("5;a\nhello\r\n0\r\n\r\n", "LF ends an extension (EXT.TERM)"),
            ("5\r\r\nhello\r\n0\r\n\r\n", "CR after the size"),
            ("5 \r \r\nhello\r\n0\r\n\r\n", "CR among the spaces after it"),
            ("5\r;a\r\nhello\r\n0\r\n\r\n", "CR before an extension"),
            ("5\x0c\r\nhello\r\n0\r\n\r\n", "a form feed after the size"),
            ("0\r\n\n", "bare LF in place of trailers"),
            ("0\n\r\n", "bare LF after the last size"),
            ("0\r\nX: 1\nY: 2\r\n\r\n", "bare LF in trailers"),
            ("0\r\nX: 1\r\n\n", "bare LF after them"),
            ("0\r\nX : 1\r\n\r\n", "space before the colon of a trailer"),
            ("0\r\nX: 1\r\n folded\r\n\r\n", "a folded trailer"),
            ("0\r\nX: a\0b\r\n\r\n", "NUL in a trailer"),
            ("0\r\nnothing\r\n\r\n", "a trailer without a colon"),
        ] {
            for size in [1, 2, 1000] {
                for begin in BOTH {
                    assert_eq!(decode(begin(), body, size), Err(Broken::Malformed), "{size}: {why}: {body:?}");
                }
            }
        }
        for (body, why) in [
            ("5 \r\nhello\r\n0\r\n\r\n", "space after the size"),
            ("5;a\0b\r\nhello\r\n0\r\n\r\n", "NUL in an extension"),
            ("0000000000000005\r\nhello\r\n0\r\n\r\n", "more digits than 64 bits need"),
        ] {
            for size in [1, 2, 1000] {
                assert_eq!(
                    decode(Chunked::of_request(), body, size),
                    Err(Broken::Malformed),
                    "{size}: {why}: {body:?}"
                );
            }
        }
    }

    #[test]
    fn endless_lines_and_trailers_end() {
        for (begin, sender) in BOTH.into_iter().zip([Sender::Client, Sender::Origin]) {
            let line = format!("5;{}", "x".repeat(2 * sender.max_line()));
            let trailer = format!("0\r\nx: {}", "x".repeat(2 * MAX_TRAILERS));
            for (begun, end) in [(line, "\r\nhello\r\n0\r\n\r\n"), (trailer, "\r\n\r\n")] {
                for (body, size) in [(&begun, 1000), (&begun, 200_000), (&(begun.clone() + end), 200_000)] {
                    assert_eq!(decode(begin(), body, size), Err(Broken::Malformed), "{body:.20}");
                }
            }
        }
    }

    #[test]
    fn a_body_that_ends_early_is_not_whole() {
        for body in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "0\r\nX: 1\r\n"] {
            for begin in BOTH {
                assert_eq!(decode(begin(), body, 1), Err(Broken::Incomplete), "{body:?}");
            }
        }
    }
}
