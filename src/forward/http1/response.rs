//! The head of a response (RFC 9112 §4 to §6).

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use httparse::Header;
use hyper::ext::ReasonPhrase;

use super::{Error, lines};
use crate::forward::response_head::{MAX_FIELDS, MAX_HEAD, NO_LENGTH, TOO_LARGE, TOO_MANY_FIELDS};
use crate::reply::{self, Fields};

/// For so many fields there is room without asking for memory.
const USUAL_FIELDS: usize = 100;

/// What of a request decides about the form of its response.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::forward) struct Asks {
    /// It asks for the head alone, and the response has no body.
    pub(in crate::forward) head_alone: bool,
    /// The fields may be lines, where nobody has to look at one of them.
    pub(in crate::forward) lines: bool,
}

/// The head of one response.
#[derive(Debug)]
pub(super) struct Head {
    /// What of it passes.
    pub(super) reply: reply::Head,
    /// How its body ends.
    pub(super) framing: Framing,
    /// Whether the connection may be used again after it.
    pub(super) persists: bool,
}

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// The first head, if it is complete, and how long it is.
pub(super) fn parse(bytes: &[u8], asks: Asks) -> Result<Option<(usize, Head)>, Error> {
    match parse_any(bytes, asks)? {
        Some((length, _)) if length > MAX_HEAD as usize => Err(Error::TooLarge(TOO_LARGE)),
        parsed => Ok(parsed),
    }
}

fn parse_any(bytes: &[u8], asks: Asks) -> Result<Option<(usize, Head)>, Error> {
    if asks.lines
        && let Some(plain) = lines::read(bytes)
    {
        let lines::Plain { status, phrase, fields, said, length } = plain;
        let reply = reply::Head { fields: Fields::Lines(fields), ..head(status, phrase)? };
        return Ok(Some((length, said.head(reply, Version::HTTP_11, asks)?)));
    }
    match parse_into(bytes, &mut [const { MaybeUninit::uninit() }; USUAL_FIELDS], asks) {
        Err(Refused::TooManyFields) => parse_into(bytes, &mut vec![MaybeUninit::uninit(); MAX_FIELDS], asks),
        parsed => parsed,
    }
    .map_err(|refused| match refused {
        Refused::TooManyFields => Error::TooLarge(TOO_MANY_FIELDS),
        Refused::Other(error) => error,
    })
}

/// Why a head is refused.
enum Refused {
    /// There is no room for them.
    TooManyFields,
    Other(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Reads a head into this room for its fields.
fn parse_into<'b>(
    bytes: &'b [u8],
    fields: &mut [MaybeUninit<Header<'b>>],
    asks: Asks,
) -> Result<Option<(usize, Head)>, Refused> {
    let mut parsed = httparse::Response::new(&mut []);
    let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, fields);
    let length = match outcome {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooManyFields),
        Err(error) => return Err(Error::Malformed(reason(error, bytes)).into()),
    };
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Error::Malformed(NO_STATUS))?;
    let mut reply = head(status, parsed.reason.unwrap_or_default().as_bytes())?;
    let said = add_fields(reply.fields.map(), parsed.headers, bytes.get(..length).unwrap_or_default())?;
    Ok(Some((length, said.head(reply, version, asks)?)))
}

/// Without its fields yet.
fn head(status: StatusCode, phrase: &[u8]) -> Result<reply::Head, Error> {
    let mut head = reply::Head { status, ..reply::Head::default() };
    if !phrase.is_empty() && status.canonical_reason().map(str::as_bytes) != Some(phrase) {
        // The server writes it as it came.
        let phrase = ReasonPhrase::try_from(phrase).map_err(|_| Error::Malformed(BAD_PHRASE))?;
        head.extensions.insert(phrase);
    }
    Ok(head)
}

/// Makes a map of them; `bytes` are those of the head.
fn add_fields<'h>(headers: &mut HeaderMap, fields: &[Header<'h>], bytes: &[u8]) -> Result<Said<'h>, Error> {
    // One piece of memory for all values.
    let whole = Bytes::copy_from_slice(bytes);
    headers.reserve(fields.len());
    let mut said = Said::default();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Error::Malformed(BAD_NAME))?;
        if said.is_for_us(&name, field.value) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(part(&whole, bytes, field.value));
        headers.append(name, value.map_err(|_| Error::Malformed(BAD_VALUE))?);
    }
    Ok(said)
}

/// The bytes of `field`, which stands in `bytes`, of which `whole` is a copy.
fn part(whole: &Bytes, bytes: &[u8], field: &[u8]) -> Bytes {
    let start = field.as_ptr().addr().saturating_sub(bytes.as_ptr().addr()).min(whole.len());
    whole.slice(start..start.saturating_add(field.len()).min(whole.len()))
}

const NO_STATUS: &str = "its status is not three digits from 100 to 999";
const BAD_PHRASE: &str = "its reason phrase has a control character";
const BAD_NAME: &str = "a field's name is not a token with a colon right behind it";
const BAD_VALUE: &str = "a field's value has a control character";

/// The rule that was broken.
fn reason(error: httparse::Error, bytes: &[u8]) -> &'static str {
    // What follows the status, httparse takes for a part of it.
    let is_phrase = || matches!(bytes.get(9..13), Some([b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ']));
    match error {
        httparse::Error::HeaderName => BAD_NAME,
        httparse::Error::HeaderValue => BAD_VALUE,
        httparse::Error::Status if is_phrase() => BAD_PHRASE,
        httparse::Error::Status => NO_STATUS,
        httparse::Error::NewLine => "a carriage return or a line feed stands alone",
        httparse::Error::Token | httparse::Error::Version => "it does not begin with HTTP/1.1 or HTTP/1.0",
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
    }
}

/// What is said of the connection and of how the message ends.
#[derive(Default)]
pub(super) struct Said<'h> {
    close: bool,
    keep_alive: bool,
    pub(super) length: Option<&'h [u8]>,
    pub(super) coding: Option<&'h [u8]>,
}

impl<'h> Said<'h> {
    /// Notes what a field says; whether that is about the connection alone, in its usual form: nobody behind this has to look
    /// for it again.
    fn is_for_us(&mut self, name: &HeaderName, value: &'h [u8]) -> bool {
        match *name {
            header::CONTENT_LENGTH => self.length = self.length.or(Some(value)),
            header::TRANSFER_ENCODING => self.coding = self.coding.or(Some(value)),
            header::CONNECTION => return self.is_plain_option(value),
            _ => return name.as_str() == "keep-alive",
        }
        false
    }

    fn is_plain_option(&mut self, value: &[u8]) -> bool {
        if self.is_option(value) {
            return true;
        }
        for option in value.split(|byte| *byte == b',') {
            self.is_option(option.trim_ascii());
        }
        false
    }

    /// Notes one option; whether it is about the connection alone.
    pub(super) fn is_option(&mut self, option: &[u8]) -> bool {
        let is = |known: &[u8]| option == known || option.eq_ignore_ascii_case(known);
        let keep_alive = is(b"keep-alive");
        let close = !keep_alive && is(b"close");
        self.keep_alive |= keep_alive;
        self.close |= close;
        keep_alive || close
    }

    /// With fields that said this.
    fn head(&self, reply: reply::Head, version: Version, asks: Asks) -> Result<Head, Error> {
        let status = reply.status;
        let framing = self.framing(status, version, asks.head_alone)?;
        let persists = framing != Framing::Close && self.persists(version) && !self.is_odd(status);
        Ok(Head { reply, framing, persists })
    }

    /// What contradicts itself is refused with its reason by whoever looks at the whole head; until then no byte of a body
    /// is believed.
    fn framing(&self, status: StatusCode, version: Version, answers_head: bool) -> Result<Framing, Error> {
        if has_no_body(status) || answers_head {
            return Ok(Framing::Length(0));
        }
        if let Some(coding) = self.coding {
            if version == Version::HTTP_10 {
                return Err(Error::Malformed("HTTP/1.0 has no transfer codings"));
            }
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            return Ok(if is_chunked { Framing::Chunked } else { Framing::Close });
        }
        let Some(length) = self.length else { return Ok(Framing::Close) };
        let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
        length.map(Framing::Length).ok_or(Error::Malformed(NO_LENGTH))
    }

    /// RFC 9112 §9.3.
    fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    /// A 204 that announces content (RFC 9110 §8.6, RFC 9112 §6.1) may send it yet: what comes would answer the next
    /// request.
    fn is_odd(&self, status: StatusCode) -> bool {
        status == StatusCode::NO_CONTENT && (self.coding.is_some() || self.length.is_some_and(|length| length != b"0"))
    }
}

pub(super) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, answers_head: bool) -> Result<(Framing, bool), Error> {
        let asks = Asks { head_alone: answers_head, lines: false };
        for end in 0..text.len() {
            assert!(matches!(parse(&text.as_bytes()[..end], asks), Ok(None) | Err(_)), "{end} of {text:?}");
        }
        let with_more = [text.as_bytes(), b"more"].concat();
        let (length, head) = parse(&with_more, asks)?.expect("it is complete");
        assert_eq!(length, text.len());
        Ok((head.framing, head.persists))
    }

    #[test]
    fn a_body_ends_as_rfc_9112_says_and_the_connection_with_it_or_not() {
        use Framing::{Chunked, Close, Length};
        for (status, fields, expected) in [
            ("1.1 200 OK", "Content-Length: 5\r\n", (Length(5), true)),
            ("1.1 200 OK", "content-length:0\r\n", (Length(0), true)),
            ("1.1 200 OK", "Transfer-Encoding: chunked\r\n", (Chunked, true)),
            ("1.1 200 OK", "Transfer-Encoding: Chunked\r\nConnection: x, Close\r\n", (Chunked, false)),
            ("1.1 200 OK", "Transfer-Encoding: gzip\r\n", (Close, false)),
            ("1.1 200 OK", "Transfer-Encoding: gzip, chunked\r\n", (Close, false)),
            ("1.1 200 OK", "", (Close, false)),
            ("1.1 200 OK", "Content-Length: 5\r\nConnection: close\r\n", (Length(5), false)),
            ("1.1 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\n", (Length(5), true)),
            ("1.0 200 OK", "Content-Length: 5\r\n", (Length(5), false)),
            ("1.0 200 OK", "Content-Length: 5\r\nConnection: Keep-Alive\r\n", (Length(5), true)),
            ("1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\nConnection: close\r\n", (Length(5), false)),
            ("1.1 204 No Content", "", (Length(0), true)),
            ("1.1 204 No Content", "Content-Length: 0\r\n", (Length(0), true)),
            ("1.1 204 No Content", "Content-Length: 5\r\n", (Length(0), false)),
            ("1.1 204 No Content", "Transfer-Encoding: chunked\r\n", (Length(0), false)),
            ("1.1 304 Not Modified", "Transfer-Encoding: chunked\r\n", (Length(0), true)),
            ("1.1 103 Early Hints", "", (Length(0), true)),
            ("1.1 200", "Content-Length: 18446744073709551615\r\n", (Length(u64::MAX), true)),
        ] {
            let text = format!("HTTP/{status}\r\n{fields}\r\n");
            assert_eq!(head(&text, false).unwrap(), expected, "{text:?}");
            assert_eq!(head(&text, true).unwrap().0, Length(0), "in answer to HEAD: {text:?}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nName : space\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "<html>\r\n\r\n",
        ] {
            assert!(matches!(head(text, false), Err(Error::Malformed(_))), "{text:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1001));
        assert!(matches!(parse(many.as_bytes(), Asks::default()), Err(Error::TooLarge(_))));
    }

    #[test]
    fn fields_and_the_reason_are_what_came() {
        let text =
            "HTTP/1.1 200 Fine by me\r\nA: 1\r\nSet-Cookie: a=1\r\nx:\r\nB: \u{e9}t\u{e9}  \r\nset-cookie: b=2\r\n\r\n";
        let (_, Head { mut reply, .. }) = parse(text.as_bytes(), Asks::default()).unwrap().unwrap();
        let map = reply.fields.map();
        let all = |name| map.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(all("set-cookie"), [b"a=1", b"b=2"]);
        assert_eq!((all("a"), all("x"), all("b")), (vec![&b"1"[..]], vec![&b""[..]], vec!["\u{e9}t\u{e9}".as_bytes()]));
        assert_eq!(reply.extensions.get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine by me");
        let (_, Head { reply, .. }) = parse(b"HTTP/1.1 404 Not Found\r\n\r\n", Asks::default()).unwrap().unwrap();
        assert!(reply.extensions.get::<ReasonPhrase>().is_none());
    }
}
