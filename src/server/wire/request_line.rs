//! The request line, and the characters of its target (RFC 9112 §3).

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Uri, Version};

use super::head::{is_host, malformed};
use crate::denial::Denial;
use crate::target;

/// The most bytes of a request target.
pub(in crate::server) const MAX_TARGET: usize = 16 * 1024;

/// Why a request line is refused.
pub(super) struct Refused {
    pub(super) denial: Denial,
    /// Whether the head has the method and as much of the target as stands before what is wrong with it.
    pub(super) is_shown: bool,
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self { denial, is_shown: false }
    }
}

/// `method SP request-target SP HTTP-version`, one space each. `whole` is what the line is a part of.
pub(super) fn parse(line: &[u8], whole: &Bytes, parts: &mut Parts) -> Result<(), Refused> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(refuse_words(line, parts));
    };
    parts.method =
        Method::from_bytes(method).map_err(|_| malformed("the method has a character that none may have"))?;
    if target.len() > MAX_TARGET {
        return Err(Denial::UriTooLong { size: target.len(), limit: MAX_TARGET }.into());
    }
    if let Some(at) = first_refused(target) {
        return Err(refuse_target(target, at, parts));
    }
    check_form(method, target)?;
    parts.version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(malformed("the version is neither HTTP/1.1 nor HTTP/1.0").into()),
    };
    match Uri::from_maybe_shared(whole.slice_ref(target)) {
        Ok(uri) => parts.uri = uri,
        Err(_) if keep_raw(parts, target) => {}
        Err(_) => return Err(malformed("the request target cannot be read").into()),
    }
    Ok(())
}

/// The four forms of RFC 9112 §3.2.
fn check_form(method: &[u8], target: &[u8]) -> Result<(), Denial> {
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

/// Refuses the first character of a target that may not stand there.
pub(in crate::server) fn check_characters(target: &[u8]) -> Result<(), Denial> {
    first_refused(target).map_or(Ok(()), |at| Err(refused_character(target, at)))
}

/// Where the first one is.
fn first_refused(target: &[u8]) -> Option<usize> {
    let at = target.iter().position(|byte| !is_usual(*byte))?;
    // Browsers take a backslash in a path for a slash; a query has no segments.
    let has_query = target.get(..at).is_some_and(|before| before.contains(&b'?'));
    if target.get(at) != Some(&b'\\') || !has_query {
        return Some(at);
    }
    let is_refused = |byte: &u8| !is_usual(*byte) && *byte != b'\\';
    target.get(at..)?.iter().position(is_refused).map(|behind| at.saturating_add(behind))
}

/// Whether a character passes wherever it stands: what RFC 3986 knows, and what clients send raw and no parser takes for
/// something else.
const fn is_usual(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\')
}

fn refused_character(target: &[u8], at: usize) -> Denial {
    match target.get(at) {
        Some(b'#') => Denial::AmbiguousRequest(format!("the request target has a fragment after {at} bytes").into()),
        Some(b'\\') => Denial::MalformedRequest(format!("the path has a backslash after {at} bytes").into()),
        Some(b' ') => Denial::MalformedRequest(format!("the request target has a space after {at} bytes").into()),
        byte => {
            let byte = byte.copied().unwrap_or_default();
            Denial::MalformedRequest(format!("the request target has the byte 0x{byte:02X} after {at} bytes").into())
        }
    }
}

/// Keeps for the log what stands before the character that is wrong.
#[cold]
fn refuse_target(target: &[u8], at: usize, parts: &mut Parts) -> Refused {
    let safe = target.get(..at).unwrap_or_default();
    let is_shown = check_form(b"", safe).is_ok()
        && (Uri::try_from(safe).map(|uri| parts.uri = uri).is_ok() || keep_raw(parts, safe));
    Refused { denial: refused_character(target, at), is_shown }
}

/// A target with spaces makes more words than three.
#[cold]
fn refuse_words(line: &[u8], parts: &mut Parts) -> Refused {
    let words = || malformed("the request line does not have three parts").into();
    let target = line.strip_suffix(b" HTTP/1.1").or_else(|| line.strip_suffix(b" HTTP/1.0"));
    let (Some(target), Some(space)) = (target, memchr::memchr(b' ', line)) else { return words() };
    let (Some(method), Some(target)) = (line.get(..space), target.get(space.saturating_add(1)..)) else {
        return words();
    };
    let Ok(method) = Method::from_bytes(method) else { return words() };
    // Two spaces in a row, or one at an end, are not of the target.
    if target.len() > MAX_TARGET || target.starts_with(b" ") || target.ends_with(b" ") {
        return words();
    }
    parts.method = method;
    first_refused(target).map_or_else(words, |at| refuse_target(target, at, parts))
}

#[cold]
fn keep_raw(parts: &mut Parts, text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| target::keep_raw(parts, text))
}
