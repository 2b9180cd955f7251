//! A response between the origin and its client.
//!
//! Its fields are those that came, as they stand in HTTP/1.1, where nobody has to look at one of them, as with most
//! responses: to make a map of them and to write it out again costs as much as all checks of a token that is known. And it
//! is small, without the map at hand that [`http::Response`] has: a response is passed on some twenty times.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// A response.
#[derive(Debug, Default)]
pub struct Reply<B> {
    /// All that comes before its content.
    pub head: Head,
    /// Its content.
    pub body: B,
}

/// What comes before the content of a response.
#[derive(Debug, Default)]
pub struct Head {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub fields: Fields,
    /// What is known of it beside; a reason phrase, if it is not the usual one.
    pub extensions: Extensions,
}

/// Header fields.
#[derive(Debug)]
pub enum Fields {
    /// By name.
    Map(Box<HeaderMap>),
    /// As they came, for a client of HTTP/1.1.
    Lines(FieldLines),
}

impl<B> Reply<B> {
    /// The same with another body.
    pub fn map<T>(self, map: impl FnOnce(B) -> T) -> Reply<T> {
        Reply { head: self.head, body: map(self.body) }
    }
}

impl<B> From<Response<B>> for Reply<B> {
    fn from(response: Response<B>) -> Self {
        let (head, body) = response.into_parts();
        let fields = Fields::Map(Box::new(head.headers));
        Self { head: Head { status: head.status, fields, extensions: head.extensions }, body }
    }
}

impl<B> From<Reply<B>> for Response<B> {
    fn from(Reply { mut head, body }: Reply<B>) -> Self {
        let mut response = Self::new(body);
        *response.headers_mut() = std::mem::take(head.fields.map());
        *response.status_mut() = head.status;
        *response.extensions_mut() = head.extensions;
        response
    }
}

impl Fields {
    /// All of them by name, for whoever wants to look at one.
    pub fn map(&mut self) -> &mut HeaderMap {
        if let Self::Lines(lines) = self {
            *self = Self::Map(Box::new(lines.iter().collect()));
        }
        match self {
            Self::Map(map) => map,
            Self::Lines(_) => unreachable!("they are a map now"),
        }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::Lines(FieldLines::default())
    }
}

/// Whole lines, each with its end.
#[derive(Debug, Default)]
pub struct FieldLines {
    lines: Vec<u8>,
    /// Whether `Date` is among them.
    pub has_date: bool,
    /// Whether `Content-Length` is, once, and says how long the body will be.
    pub has_length: bool,
}

impl FieldLines {
    /// Adds one, of a name and a value that have no character which none may have (RFC 9110 §5.5, §5.6.2).
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
    }

    /// Adds some that are whole.
    pub fn push_lines(&mut self, lines: &[u8]) {
        self.lines.extend_from_slice(lines);
    }

    /// All of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let (name, value) = line.strip_suffix(b"\r")?.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = HeaderValue::from_bytes(value.strip_prefix(b": ")?);
            Some((HeaderName::from_bytes(name).ok()?, value.ok()?))
        })
    }
}

/// Whether all names are those of fields (RFC 9110 §5.1). HTTP/1 checks names when it reads them; the table of the http crate
/// for HTTP/2 has a character more.
pub fn are_field_names(fields: &HeaderMap) -> bool {
    fields.keys().all(is_field_name)
}

/// Whether this is the name of a field (RFC 9110 §5.1).
pub fn is_field_name(name: &HeaderName) -> bool {
    name.as_str().bytes().all(is_tchar)
}

/// Whether a name may have this character (RFC 9110 §5.6.2).
pub fn is_tchar(byte: u8) -> bool {
    TCHAR.get(usize::from(byte)).copied().unwrap_or_default()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_a_map_with_all_that_they_say() {
        let mut lines = FieldLines::default();
        lines.push_lines(b"Set-Cookie: a=1\r\nX-Time: 12:00: now\r\nX-Empty: \r\n");
        lines.push(b"SET-COOKIE", b"b=\xe9");
        let head = Head { fields: Fields::Lines(lines), ..Head::default() };
        let response = Response::from(Reply { head, body: () });
        let all = |name| response.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(response.headers().len(), 4);
        assert_eq!(all("set-cookie"), [&b"a=1"[..], b"b=\xe9"]);
        assert_eq!((all("x-time"), all("x-empty")), (vec![&b"12:00: now"[..]], vec![&b""[..]]));
    }
}
