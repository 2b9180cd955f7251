//! A chunked body, read the one way in which RFC 9112 §7.1 lets it be read. hyper decodes it; this only watches.

use super::head::split_field;

/// The most bytes of one chunk's line, and of all trailers together.
const MAX_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 16 * 1024;

/// Where in the body the next byte stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The line so far, when it came in pieces.
    line: Vec<u8>,
    trailers: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What cannot be read one way only.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::server) struct MalformedChunk;

impl Chunked {
    pub(super) const fn new() -> Self {
        Self { state: State::Size, line: Vec::new(), trailers: 0 }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many of `bytes` may be passed on: all of them, or those up to the end of the body.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, MalformedChunk> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_done() {
            rest = match self.state {
                State::Data(left) => self.skip_data(left, rest),
                State::Size | State::DataEnd | State::Trailers => self.take_line(rest)?,
                State::Done => rest,
            };
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    fn skip_data<'b>(&mut self, left: u64, bytes: &'b [u8]) -> &'b [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(taken as u64);
        self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
        bytes.get(taken..).unwrap_or_default()
    }

    fn take_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], MalformedChunk> {
        let end = memchr::memchr(b'\n', bytes);
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end.saturating_add(1)));
        if self.line.len().saturating_add(piece.len()) > MAX_LINE {
            return Err(MalformedChunk);
        }
        if end.is_none() {
            self.line.extend_from_slice(piece);
        } else if self.line.is_empty() {
            self.end_line(piece)?;
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(piece);
            self.end_line(&line)?;
        }
        Ok(rest)
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), MalformedChunk> {
        let line = line.strip_suffix(b"\r\n").ok_or(MalformedChunk)?;
        self.state = match self.state {
            State::Size => match parse_size(line)? {
                0 => State::Trailers,
                size => State::Data(size),
            },
            State::DataEnd if line.is_empty() => State::Size,
            State::Trailers if line.is_empty() => State::Done,
            State::Trailers => {
                self.trailers = self.trailers.saturating_add(line.len());
                if self.trailers > MAX_TRAILERS || line.contains(&b'\r') {
                    return Err(MalformedChunk);
                }
                split_field(line).map_err(|_| MalformedChunk)?;
                State::Trailers
            }
            State::DataEnd | State::Data(_) | State::Done => return Err(MalformedChunk),
        };
        Ok(())
    }
}

/// `chunk-size [ chunk-ext ]`: hexadecimal digits, then nothing or an extension of visible characters.
fn parse_size(line: &[u8]) -> Result<u64, MalformedChunk> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    let is_extension = extension.is_empty() || (extension.starts_with(b";") && extension.iter().all(is_visible));
    if !is_extension || digits > 15 {
        return Err(MalformedChunk);
    }
    let size = std::str::from_utf8(size).map_err(|_| MalformedChunk)?;
    u64::from_str_radix(size, 16).map_err(|_| MalformedChunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same body whole and byte by byte.
    fn pass(body: &str) -> Result<(usize, bool), MalformedChunk> {
        let mut whole = Chunked::new();
        let passed = whole.pass(body.as_bytes());
        let mut pieces = Chunked::new();
        let mut sum = Ok(0);
        for byte in body.as_bytes().chunks(1) {
            sum = sum.and_then(|sum| Ok(sum + pieces.pass(byte)?));
        }
        assert_eq!(passed, sum, "{body:?} in pieces");
        Ok((passed?, whole.is_done()))
    }

    #[test]
    fn a_body_passes_up_to_its_end() {
        let cases = [
            ("5\r\nhello\r\n0\r\n\r\n", 15, true),
            ("5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", 15, true),
            ("a;name=\"v v\"\r\n0123456789\r\n0\r\n\r\n", 31, true),
            ("0\r\nX-Sum: 1\r\nY: 2\r\n\r\n", 21, true),
            ("00A\r\n0123456789\r\n0;x\r\n\r\n", 24, true),
            ("5\r\nhel", 6, false),
            ("1\r\n\n\r\n0\r\n", 9, false),
        ];
        for (body, len, is_done) in cases {
            assert_eq!(pass(body), Ok((len, is_done)), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_two_parsers_could_read_differently_does_not_pass() {
        let cases = [
            ("5\nhello\r\n0\r\n\r\n", "bare LF after the size"),
            ("5\r\nhello\n0\r\n\r\n", "bare LF after the data"),
            ("5\r\nhelloXX0\r\n\r\n", "surplus bytes in place of CRLF"),
            ("5 \r\nhello\r\n0\r\n\r\n", "space after the size"),
            (" 5\r\nhello\r\n0\r\n\r\n", "space before the size"),
            ("0x5\r\nhello\r\n0\r\n\r\n", "a prefix"),
            ("+5\r\nhello\r\n0\r\n\r\n", "a sign"),
            ("5_0\r\nhello\r\n0\r\n\r\n", "an underscore"),
            ("-1\r\n\r\n", "a negative size"),
            ("\r\nhello\r\n", "no size"),
            ("10000000000000005\r\nhello", "a size beyond 64 bits, cut by some to 5"),
            ("5;a\0b\r\nhello\r\n0\r\n\r\n", "NUL in an extension"),
            ("5;a\rb\r\nhello\r\n0\r\n\r\n", "CR in an extension (TERM.EXT)"),
            ("5;a\nhello\r\n0\r\n\r\n", "LF ends an extension (EXT.TERM)"),
            ("0\r\nX: 1\nY: 2\r\n\r\n", "bare LF in trailers"),
            ("0\r\nX : 1\r\n\r\n", "space before the colon of a trailer"),
            ("0\r\nX: 1\r\n folded\r\n\r\n", "a folded trailer"),
            ("0\r\nX: a\0b\r\n\r\n", "NUL in a trailer"),
            ("0\r\nnothing\r\n\r\n", "a trailer without a colon"),
        ];
        for (body, why) in cases {
            assert_eq!(pass(body), Err(MalformedChunk), "{why}: {body:?}");
        }
    }

    #[test]
    fn endless_lines_and_trailers_end() {
        assert_eq!(pass(&format!("5;{}", "x".repeat(MAX_LINE))), Err(MalformedChunk));
        assert_eq!(pass(&format!("0\r\n{}", "X: 0123456789\r\n".repeat(2000))), Err(MalformedChunk));
    }
}
