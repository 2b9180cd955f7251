//! One HTTP/1 request head, read the one way in which RFC 9112 lets it be read.

use std::net::Ipv6Addr;

use crate::denial::Denial;

/// The most bytes of a request target.
pub(in crate::server) const MAX_TARGET: usize = 16 * 1024;
/// The most header fields of a request.
pub(in crate::server) const MAX_FIELDS: usize = 100;
/// The end of the last field, and the empty line after it.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// How long the body is (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// So many bytes, often none.
    Length(u64),
    /// Chunks, the last of them empty.
    Chunked,
}

/// What a look at the bytes so far brought.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Scan {
    /// The head goes on.
    Incomplete,
    /// It ends after so many bytes.
    Complete { len: usize, framing: Framing },
}

/// Reads one head from the start of `bytes`. `from` is where an earlier look at the same bytes ended.
pub(super) fn scan(bytes: &[u8], from: usize, max_size: usize) -> Result<Scan, Denial> {
    // A head in one piece, as most are, need not be searched for its end: its lines lead there.
    let is_whole = from == 0 && bytes.len() <= max_size && bytes.ends_with(HEAD_END);
    if !is_whole {
        let Some(len) = find_end(bytes, from) else {
            check_unfinished(bytes, from, max_size)?;
            return Ok(Scan::Incomplete);
        };
        if len > max_size {
            return Err(too_large(max_size));
        }
    }
    let mut lines = Lines(bytes);
    let request_line = lines.next().ok_or(Denial::MalformedRequest("an empty head".into()))??;
    let is_http_10 = parse_request_line(request_line)?;
    let mut fields = Fields::default();
    for line in lines.by_ref() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        fields.add(line)?;
    }
    Ok(Scan::Complete { len: bytes.len().saturating_sub(lines.0.len()), framing: fields.finish(is_http_10)? })
}

/// One field line of a head or of trailers: `name: value` (RFC 9112 §5).
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Denial> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(ambiguous("a header field is folded over two lines"));
    }
    let colon = memchr::memchr(b':', line).ok_or(malformed("a header line has no colon"))?;
    let (name, value) = line.split_at(colon);
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err(ambiguous("white space before the colon of a header field"));
    }
    if name.is_empty() || !name.iter().all(|byte| is_tchar(*byte)) {
        return Err(malformed("a header name has a character that none may have"));
    }
    let value = trim(value.get(1..).unwrap_or_default());
    // No early exit, so that the compiler can look at many bytes at a time.
    if !value.iter().fold(true, |valid, byte| valid & is_field_byte(*byte)) {
        return Err(malformed("a header value has a control character"));
    }
    Ok((name, value))
}

/// Without the white space around it, which is spaces and tabs (RFC 9110 §5.6.3) and not, as in ASCII, form feeds too.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Where the head ends: after the first empty line.
fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    let found = memchr::memmem::find(bytes.get(start..)?, HEAD_END)?;
    start.checked_add(found)?.checked_add(HEAD_END.len())
}

/// An unfinished head can already be known to be refused, and then need not be waited for. Only what is new is looked
/// at: a head may come byte by byte.
fn check_unfinished(bytes: &[u8], from: usize, max_size: usize) -> Result<(), Denial> {
    if bytes.len() > max_size {
        return Err(too_large(max_size));
    }
    if memchr::memchr_iter(b'\n', bytes.get(from..).unwrap_or_default())
        .any(|at| from.saturating_add(at).checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r'))
    {
        return Err(ambiguous("a line ends without a carriage return"));
    }
    Ok(())
}

/// Lines that end in CRLF and hold neither character elsewhere.
struct Lines<'b>(&'b [u8]);

impl<'b> Iterator for Lines<'b> {
    type Item = Result<&'b [u8], Denial>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = memchr::memchr2(b'\r', b'\n', self.0) else {
            return Some(Err(malformed("a line has no end")));
        };
        let (line, rest) = self.0.split_at(end);
        match rest.strip_prefix(b"\r\n") {
            Some(rest) => {
                self.0 = rest;
                Some(Ok(line))
            }
            None => Some(Err(ambiguous("a carriage return or a line feed stands alone"))),
        }
    }
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3), one space each; tells whether the version is HTTP/1.0.
fn parse_request_line(line: &[u8]) -> Result<bool, Denial> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("the request line does not have three parts"));
    };
    if method.is_empty() || !method.iter().all(|byte| is_tchar(*byte)) {
        return Err(malformed("the method has a character that none may have"));
    }
    check_target(method, target)?;
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(malformed("the version is neither HTTP/1.1 nor HTTP/1.0")),
    }
}

/// The four forms of RFC 9112 §3.2.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Denial> {
    if target.len() > MAX_TARGET {
        return Err(Denial::UriTooLong { size: target.len(), limit: MAX_TARGET });
    }
    if target.contains(&b'#') {
        return Err(ambiguous("the request target has a fragment"));
    }
    if !target.iter().all(|byte| is_target_byte(*byte)) {
        return Err(malformed("the request target has a character that none may have"));
    }
    if method == b"CONNECT" {
        return if is_host(target) { Ok(()) } else { Err(malformed("the target of CONNECT is no authority")) };
    }
    match target {
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        _ => check_absolute_form(target),
    }
}

fn check_absolute_form(target: &[u8]) -> Result<(), Denial> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
        })
        .ok_or(malformed("the request target is neither a path nor an http URL"))?;
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?')).next().unwrap_or_default();
    if is_host(authority) { Ok(()) } else { Err(malformed("the authority of the request target is not valid")) }
}

/// What decides about the message, collected from its fields.
#[derive(Default)]
struct Fields {
    count: usize,
    hosts: usize,
    lengths: usize,
    codings: usize,
    length: u64,
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Denial> {
        let (name, value) = split_field(line)?;
        self.count = self.count.saturating_add(1);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts = self.hosts.saturating_add(1);
                if !is_host(value) {
                    return Err(malformed("the Host field is not valid"));
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.lengths = self.lengths.saturating_add(1);
                self.length = parse_length(value)?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings = self.codings.saturating_add(1);
                check_coding(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, is_http_10: bool) -> Result<Framing, Denial> {
        if self.count > MAX_FIELDS {
            return Err(Denial::HeadersTooLarge(
                format!("{} fields, at most {MAX_FIELDS} are accepted", self.count).into(),
            ));
        }
        if self.hosts > 1 {
            return Err(ambiguous("two Host fields"));
        }
        if self.hosts == 0 && !is_http_10 {
            return Err(ambiguous("no Host field"));
        }
        match (self.codings, self.lengths) {
            (0, 0) => Ok(Framing::Length(0)),
            (0, 1) => Ok(Framing::Length(self.length)),
            (0, _) => Err(ambiguous("two Content-Length fields")),
            (_, 1..) => Err(ambiguous("Content-Length beside Transfer-Encoding")),
            (2.., _) => Err(ambiguous("two Transfer-Encoding fields")),
            _ if is_http_10 => Err(ambiguous("Transfer-Encoding in HTTP/1.0")),
            _ => Ok(Framing::Chunked),
        }
    }
}

/// One number in one spelling (RFC 9110 §8.6).
fn parse_length(value: &[u8]) -> Result<u64, Denial> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed("Content-Length is not a number"));
    }
    if value.len() > 1 && value.starts_with(b"0") {
        return Err(ambiguous("Content-Length has leading zeros"));
    }
    let digits = std::str::from_utf8(value).ok();
    // hyper keeps the two largest numbers for itself.
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|length| *length < u64::MAX - 1)
        .ok_or(malformed("Content-Length is beyond 64 bits"))
}

/// Only one final `chunked` is understood (RFC 9112 §6.1).
fn check_coding(value: &[u8]) -> Result<(), Denial> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if codings.clone().any(|coding| coding.is_empty() || !coding.iter().all(|byte| is_tchar(*byte))) {
        return Err(ambiguous("Transfer-Encoding is not a list of codings"));
    }
    if codings.clone().filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count() > 1 {
        return Err(ambiguous("chunked twice in Transfer-Encoding"));
    }
    let is_last = codings.next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    if !is_last && codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(ambiguous("chunked is not the last of the transfer codings"));
    }
    Err(Denial::UnsupportedTransferCoding)
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), without user information, and without the percent-escapes that no host on
/// the web has and that two parsers could read differently.
pub(in crate::server) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if value.get(at) == Some(&b':') => {
            let (host, port) = value.split_at(at);
            (host, port.get(1..).unwrap_or_default())
        }
        _ => (value, &b""[..]),
    };
    if !port.iter().all(u8::is_ascii_digit) || port.len() > 5 {
        return false;
    }
    match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        _ => {
            !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte))
        }
    }
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    TCHAR.get(usize::from(byte)).copied().unwrap_or_default()
}

#[cfg_attr(not(test), expect(clippy::indexing_slicing, reason = "whatever is wrong here does not compile"))]
const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let symbols = b"!#$%&'*+-.^_`|~";
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < symbols.len() {
        table[symbols[index] as usize] = true;
        index += 1;
    }
    table
};

/// RFC 9110 §5.5: visible characters, spaces, tabs, and what is not ASCII.
const fn is_field_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// What RFC 3986 knows, and the few characters beside it that real clients send and no parser reads differently.
pub(in crate::server) const fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'\\')
}

fn too_large(max_size: usize) -> Denial {
    Denial::HeadersTooLarge(format!("more than {max_size} bytes").into())
}

const fn ambiguous(how: &'static str) -> Denial {
    Denial::AmbiguousRequest(std::borrow::Cow::Borrowed(how))
}

const fn malformed(why: &'static str) -> Denial {
    Denial::MalformedRequest(std::borrow::Cow::Borrowed(why))
}

#[cfg(test)]
mod tests;
