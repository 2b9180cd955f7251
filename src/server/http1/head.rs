//! The head of an answer (RFC 9112 §4 to §6).

use std::io::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use crate::reply::{self, Fields};
use crate::server::io::Date;
use crate::server::wire::Head;

/// What of a request decides about the form of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    is_head: bool,
    version: Version,
    takes_trailers: bool,
    /// Whether the client would go on after the answer.
    persists: bool,
}

impl Asked {
    pub(super) fn of(head: &Head) -> Self {
        Self {
            is_head: head.parts.method == Method::HEAD,
            version: head.parts.version,
            takes_trailers: head.takes_trailers,
            persists: head.persists,
        }
    }

    /// By a head that was refused.
    pub(super) const fn nothing() -> Self {
        Self { is_head: false, version: Version::HTTP_11, takes_trailers: false, persists: false }
    }

    fn is_http_10(self) -> bool {
        self.version == Version::HTTP_10
    }

    /// The same of a connection that ends with its answer.
    #[must_use]
    pub(super) const fn for_the_last_time(self) -> Self {
        Self { persists: false, ..self }
    }
}

/// How the end of an answer is told (RFC 9112 §6.3).
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Coding {
    /// So much is left.
    Length(u64),
    /// Chunks, behind which these trailers may be.
    Chunked(Vec<HeaderName>),
    /// With the connection.
    Close,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) coding: Coding,
    /// Whether another request may follow.
    pub(super) persists: bool,
}

/// What was said of an answer by fields that are not written by the way.
#[derive(Default)]
struct Said<'h> {
    closes: bool,
    has_date: bool,
    length: Option<&'h HeaderValue>,
    /// Those that were announced, if the client takes any.
    trailers: Vec<HeaderName>,
}

/// Writes the head of an answer whose body has this length, where that is known.
pub(super) fn write(to: &mut Vec<u8>, head: &reply::Head, length: Option<u64>, asked: Asked, date: &Date) -> Written {
    write_status(to, head, asked);
    let (said, is_framed) = match &head.fields {
        Fields::Lines(lines) => {
            to.extend_from_slice(lines.as_bytes());
            (Said { has_date: lines.has_date, ..Said::default() }, lines.has_length)
        }
        Fields::Map(headers) => (write_fields(to, headers, asked), false),
    };
    let Said { closes, has_date, length: announced, trailers } = said;
    let coding = match length.filter(|_| is_framed) {
        Some(length) => Coding::Length(length),
        None => write_length(to, head.status, length, announced, trailers, asked),
    };
    let persists = asked.persists && !closes && coding != Coding::Close;
    if !persists && !closes && !asked.is_http_10() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        to.extend_from_slice(b"connection: close\r\n");
    } else if persists && asked.is_http_10() {
        to.extend_from_slice(b"connection: keep-alive\r\n");
    }
    if !has_date {
        date.with(|date| add(to, &header::DATE, date));
    }
    to.extend_from_slice(b"\r\n");
    Written { coding, persists }
}

fn write_fields<'h>(to: &mut Vec<u8>, headers: &'h HeaderMap, asked: Asked) -> Said<'h> {
    let mut said = Said::default();
    for (name, value) in headers {
        match *name {
            // Told behind them, if at all.
            header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH => {
                said.length = said.length.or(Some(value));
                continue;
            }
            header::TRAILER if asked.is_http_10() => continue,
            header::TRAILER if asked.takes_trailers => said.trailers.extend(names(value)),
            header::CONNECTION => said.closes |= value.as_bytes().eq_ignore_ascii_case(b"close"),
            header::DATE => said.has_date = true,
            _ => {}
        }
        add(to, name, value.as_bytes());
    }
    said
}

fn write_status(to: &mut Vec<u8>, head: &reply::Head, asked: Asked) {
    to.extend_from_slice(if asked.is_http_10() { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    to.extend_from_slice(head.status.as_str().as_bytes());
    to.push(b' ');
    let reason = head.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
    to.extend_from_slice(reason.unwrap_or_else(|| head.status.canonical_reason().unwrap_or_default().as_bytes()));
    to.extend_from_slice(b"\r\n");
}

pub(super) fn add(to: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    to.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

/// Tells how the body ends, and how it will. `announced` is what the origin says of its length.
fn write_length(
    to: &mut Vec<u8>,
    status: StatusCode,
    length: Option<u64>,
    announced: Option<&HeaderValue>,
    trailers: Vec<HeaderName>,
    asked: Asked,
) -> Coding {
    let has_none = status.is_informational() || status == StatusCode::NO_CONTENT;
    if has_none {
        return Coding::Length(0);
    }
    // What there would be (RFC 9110 §8.6); nothing of it is sent.
    if asked.is_head || status == StatusCode::NOT_MODIFIED {
        match (announced, length) {
            (Some(announced), _) => add(to, &header::CONTENT_LENGTH, announced.as_bytes()),
            (None, Some(length @ 1..)) if asked.is_head => add_length(to, length),
            (None, _) => {}
        }
        return Coding::Length(0);
    }
    let digits = announced.map(HeaderValue::as_bytes);
    let announced = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match (length.or(announced), digits) {
        (Some(length), Some(digits)) if announced == Some(length) => {
            add(to, &header::CONTENT_LENGTH, digits);
            Coding::Length(length)
        }
        (Some(length), _) => {
            add_length(to, length);
            Coding::Length(length)
        }
        (None, _) if asked.is_http_10() => Coding::Close,
        (None, _) => {
            to.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Coding::Chunked(trailers)
        }
    }
}

fn add_length(to: &mut Vec<u8>, length: u64) {
    // To memory: it cannot fail.
    let _ = write!(to, "content-length: {length}\r\n");
}

fn names(list: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    list.to_str().unwrap_or_default().split(',').filter_map(|name| name.trim().parse().ok())
}
