//! What is refused of an HTTP/2 request that the h2 crate lets through, and what is put in the one form that HTTP/1.1
//! has for it. Field names in upper case, connection-specific fields, and pseudo-header fields that are missing, doubled,
//! unknown or late are its own to refuse (RFC 9113 §8.1.1): it resets their streams.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::super::wire::{LENGTH_TOO_LARGE, MAX_FIELDS, MAX_LENGTH, MAX_TARGET, check_characters, is_host};
use crate::denial::Denial;

/// Refuses what can be read in two ways, and joins the cookies.
pub(super) fn normalise<B>(request: &mut Request<B>) -> Result<(), Denial> {
    check_target(request)?;
    check_host(request)?;
    for value in request.headers().values() {
        check_value(value)?;
    }
    check_length(request.headers())?;
    join_cookies(request.headers_mut());
    // Browsers send each cookie in a field of its own, where HTTP/1.1 has one for all.
    if request.headers().len() > MAX_FIELDS {
        return Err(Denial::HeadersTooLarge(format!("more than {MAX_FIELDS} header fields").into()));
    }
    Ok(())
}

fn check_target<B>(request: &Request<B>) -> Result<(), Denial> {
    let target = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if target.len() > MAX_TARGET {
        return Err(Denial::UriTooLong { size: target.len(), limit: MAX_TARGET });
    }
    let is_asterisk = target == "*" && request.method() == Method::OPTIONS;
    if request.method() != Method::CONNECT && !target.starts_with('/') && !is_asterisk {
        return Err(malformed("the request target is no path"));
    }
    check_characters(target.as_bytes())?;
    match request.uri().scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(malformed("the scheme is neither http nor https")),
    }
}

/// RFC 9113 §8.3.1: `Host` must not differ from `:authority`, and takes its place where there is none.
fn check_host<B>(request: &mut Request<B>) -> Result<(), Denial> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ambiguous("two Host fields"));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host.map(HeaderValue::as_bytes)) {
        (None, None) => Err(malformed("neither :authority nor Host")),
        (Some(authority), _) if !is_host(authority) => Err(malformed(":authority is not valid")),
        (Some(authority), Some(host)) if !host.eq_ignore_ascii_case(authority) => {
            Err(ambiguous(":authority and Host differ"))
        }
        (None, Some(host)) if !is_host(host) => Err(malformed("the Host field is not valid")),
        _ => Ok(()),
    }
}

/// RFC 9113 §8.2.1: none has white space around it. Control characters never get here.
fn check_value(value: &HeaderValue) -> Result<(), Denial> {
    let bytes = value.as_bytes();
    if matches!(bytes.first(), Some(b' ' | b'\t')) || matches!(bytes.last(), Some(b' ' | b'\t')) {
        return Err(malformed("white space around a header value"));
    }
    Ok(())
}

/// The h2 crate holds the body to one length; it takes several fields, and other spellings, for one.
fn check_length(headers: &HeaderMap) -> Result<(), Denial> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let digits = length.as_bytes();
    let is_plain =
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits[0] != b'0');
    if lengths.next().is_some() || !is_plain {
        return Err(ambiguous("the length is not one plain number"));
    }
    let length = length.to_str().ok().and_then(|digits| digits.parse::<u64>().ok());
    if length.is_none_or(|length| length > MAX_LENGTH) {
        return Err(malformed(LENGTH_TOO_LARGE));
    }
    Ok(())
}

/// RFC 9113 §8.2.3: to be put together for whoever does not speak HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.nth(1).is_none() {
        return;
    }
    let mut joined = BytesMut::new();
    for cookie in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie.as_bytes());
    }
    // Values, put together with two characters that a value may have.
    if let Ok(joined) = HeaderValue::from_maybe_shared(joined.freeze()) {
        headers.insert(header::COOKIE, joined);
    }
}

fn malformed(how: &'static str) -> Denial {
    Denial::MalformedRequest(how.into())
}

fn ambiguous(how: &'static str) -> Denial {
    Denial::AmbiguousRequest(how.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(request: http::request::Builder) -> Option<&'static str> {
        normalise(&mut request.body(()).unwrap()).err().map(|denial| denial.row().reason)
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let get = |uri| Request::get(uri);
        for (request, expected) in [
            (get("http://a.test/"), None),
            (get("http://a.test/").header("host", "A.test"), None),
            (get("http://a.test/").header("host", "b.test"), Some("ambiguous_request")),
            (get("http://a.test/").header("host", "a.test").header("host", "a.test"), Some("ambiguous_request")),
            (get("/").header("host", "a.test"), None),
            (get("/"), Some("malformed_request")),
            (get("/").header("host", ""), Some("malformed_request")),
            (get("/").header("host", "a.test/b"), Some("malformed_request")),
            (get("http://u@a.test/"), Some("malformed_request")),
            (get("http://a.test:999999/"), Some("malformed_request")),
            (get("ftp://a.test/"), Some("malformed_request")),
            (get("http://a.test/a\\b"), Some("malformed_request")),
            (get("http://a.test/").header("x", HeaderValue::from_bytes(b" v").unwrap()), Some("malformed_request")),
            (get("http://a.test/").header("content-length", "02"), Some("ambiguous_request")),
            (get("http://a.test/").header("content-length", "9223372036854775807"), None),
            (get("http://a.test/").header("content-length", "9223372036854775808"), Some("malformed_request")),
            (
                get("http://a.test/").header("content-length", "2").header("content-length", "2"),
                Some("ambiguous_request"),
            ),
        ] {
            let shown = format!("{request:?}");
            assert_eq!(reason(request), expected, "{shown}");
        }
        let long = format!("http://a.test/{}", "a".repeat(MAX_TARGET));
        assert_eq!(reason(get(&long)), Some("uri_too_long"));
        let many =
            (0..=MAX_FIELDS).fold(Request::get("http://a.test/"), |request, n| request.header(format!("x-{n}"), "v"));
        assert_eq!(reason(many), Some("headers_too_large"));
    }

    #[test]
    fn cookies_are_joined_in_their_order() {
        let request = Request::get("http://a.test/").header("cookie", "a=1").header("x", "y").header("cookie", "b=2");
        let mut request = request.body(()).unwrap();
        normalise(&mut request).unwrap();
        let cookies: Vec<_> = request.headers().get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
