//! One HTTP/1 request head, read the one way in which RFC 9112 lets it be read.

use std::net::Ipv6Addr;
use std::rc::Rc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Version, header};

use super::request_line;
use super::spare::Spare;
use crate::denial::Denial;
use crate::reply::is_tchar;

/// The most header fields of a request.
pub(in crate::server) const MAX_FIELDS: usize = 100;
/// The longest body that can be announced: a reader who takes the number for a signed one would take more for negative.
pub(in crate::server) const MAX_LENGTH: u64 = i64::MAX as u64;
pub(in crate::server) const LENGTH_TOO_LARGE: &str = "Content-Length is 2^63 or more";
/// The end of the last field, and the empty line after it.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// How long the body is (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::server) enum Framing {
    /// So many bytes, often none.
    Length(u64),
    /// Chunks, the last of them empty.
    Chunked,
}

/// The head of one request.
#[derive(Debug)]
pub(in crate::server) struct Head {
    pub(in crate::server) parts: Rc<Parts>,
    /// In bytes.
    pub(super) length: usize,
    pub(in crate::server) framing: Framing,
    /// Whether the client would go on after the answer (RFC 9112 §9.3).
    pub(in crate::server) persists: bool,
    /// Whether it waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub(in crate::server) expects_continue: bool,
    /// Whether it takes trailers (RFC 9110 §10.1.4).
    pub(in crate::server) takes_trailers: bool,
}

/// How long the head is that these bytes begin with, `None` while it is not complete. `from` is where an earlier look at the
/// same bytes ended.
pub(super) fn find(bytes: &[u8], from: usize, max_size: usize) -> Result<Option<usize>, Denial> {
    match find_end(bytes, from) {
        Some(length) if length > max_size => Err(too_large(max_size)),
        None => check_unfinished(bytes, from, max_size).map(|()| None),
        found => Ok(found),
    }
}

/// Whether these bytes are likely to be one whole head and no more, as most are. Its lines then lead to its end, and nobody
/// need search for it.
pub(super) fn is_whole(bytes: &[u8], max_size: usize) -> bool {
    bytes.len() <= max_size && bytes.ends_with(HEAD_END)
}

/// Reads the head that these bytes begin with and hold the end of, into the room of a spare one.
pub(super) fn parse(bytes: &[u8], spare: &mut Spare) -> Result<Head, Denial> {
    let mut shared = spare.take();
    let parts = Rc::make_mut(&mut shared);
    // One piece of memory for the target and all values.
    let whole = spare.hold(bytes);
    let mut lines = Lines(&whole);
    let request_line = lines.next().ok_or(malformed("an empty head"))??;
    if let Err(refused) = request_line::parse(request_line, &whole, parts) {
        if refused.is_shown {
            spare.keep_refused(shared);
        }
        return Err(refused.denial);
    }
    let mut met = Met::default();
    for line in lines.by_ref() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = split_field(line)?;
        let name =
            HeaderName::from_bytes(name).map_err(|_| malformed("a header name has a character that none may have"))?;
        let value = HeaderValue::from_maybe_shared(whole.slice_ref(value))
            .map_err(|_| malformed("a header value has a control character"))?;
        met.add(&name, value.as_bytes())?;
        parts.headers.append(name, value);
    }
    let length = whole.len().saturating_sub(lines.0.len());
    let framing = met.finish(parts.version == Version::HTTP_10)?;
    Ok(met.head(shared, length, framing))
}

/// One field line: `name: value` (RFC 9112 §5). Which characters either may have is for the types that they become.
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Denial> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(ambiguous("a header field is folded over two lines"));
    }
    let colon = memchr::memchr(b':', line).ok_or(malformed("a header line has no colon"))?;
    let (name, value) = line.split_at(colon);
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err(ambiguous("white space before the colon of a header field"));
    }
    Ok((name, trim(value.get(1..).unwrap_or_default())))
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

/// What decides about the message and its connection, collected from the fields.
#[derive(Default)]
struct Met {
    count: usize,
    hosts: usize,
    lengths: usize,
    codings: usize,
    length: u64,
    /// What is said of it; that it closes is said for good.
    persists: Option<bool>,
    expects_continue: bool,
    takes_trailers: bool,
}

impl Met {
    fn add(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Denial> {
        self.count = self.count.saturating_add(1);
        if self.count > MAX_FIELDS {
            return Err(Denial::HeadersTooLarge(format!("more than {MAX_FIELDS} fields").into()));
        }
        match *name {
            header::HOST => {
                self.hosts = self.hosts.saturating_add(1);
                if !is_host(value) {
                    return Err(malformed("the Host field is not valid"));
                }
            }
            header::CONTENT_LENGTH => {
                self.lengths = self.lengths.saturating_add(1);
                self.length = parse_length(value)?;
            }
            header::TRANSFER_ENCODING => {
                self.codings = self.codings.saturating_add(1);
                check_coding(value)?;
            }
            header::CONNECTION => {
                if lists(value, b"close") {
                    self.persists = Some(false);
                } else if lists(value, b"keep-alive") {
                    self.persists = self.persists.or(Some(true));
                }
            }
            header::EXPECT => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            header::TE => self.takes_trailers |= lists(value, b"trailers"),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §9.3; HTTP/1.0 knows no interim responses (RFC 9110 §15.2).
    fn head(&self, parts: Rc<Parts>, length: usize, framing: Framing) -> Head {
        let is_http_11 = parts.version == Version::HTTP_11;
        Head {
            parts,
            length,
            framing,
            persists: self.persists.unwrap_or(is_http_11),
            expects_continue: self.expects_continue && is_http_11,
            takes_trailers: self.takes_trailers,
        }
    }

    fn finish(&self, is_http_10: bool) -> Result<Framing, Denial> {
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

/// Whether a list has this item, in any case.
fn lists(list: &[u8], item: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|given| given.trim_ascii().eq_ignore_ascii_case(item))
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
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|length| *length <= MAX_LENGTH)
        .ok_or(malformed(LENGTH_TOO_LARGE))
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
    let (host, port) = split_port(value);
    if port.len() > 5 {
        return false;
    }
    match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        _ => !host.is_empty() && host.iter().all(|byte| is_host_byte(*byte)),
    }
}

/// A host, and the digits behind the colon after it.
fn split_port(value: &[u8]) -> (&[u8], &[u8]) {
    let mut before = value;
    while let [rest @ .., b'0'..=b'9'] = before {
        before = rest;
    }
    match before.strip_suffix(b":") {
        Some(host) => value.split_at_checked(before.len()).map_or((host, b""), |(_, port)| (host, port)),
        None => (value, b""),
    }
}

/// `reg-name` of RFC 3986 §3.2.2 without the comma, which separates the hosts of a list.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
        )
}

fn too_large(max_size: usize) -> Denial {
    Denial::HeadersTooLarge(format!("more than {max_size} bytes").into())
}

pub(super) const fn ambiguous(how: &'static str) -> Denial {
    Denial::AmbiguousRequest(std::borrow::Cow::Borrowed(how))
}

pub(super) const fn malformed(why: &'static str) -> Denial {
    Denial::MalformedRequest(std::borrow::Cow::Borrowed(why))
}

#[cfg(test)]
mod tests;
