//! Requests that ask the origin to act upon another method than the one in their first line.
//!
//! Frameworks honour a header field or a parameter of the query for it: `X-HTTP-Method-Override` (Rails, Spring, Symfony),
//! `X-HTTP-Method` (Microsoft's web services), `X-Method-Override` (Express), `_method` (Rails, Laravel, Symfony); ASP.NET MVC
//! takes the names of the fields in the query, too. A rule for one method is no rule for such a request.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::request::Parts;

use crate::target;

/// Whether a request names another method in a header field or in its query.
///
/// A `_method` in the content is not looked at: content is forwarded, not read.
pub(super) fn is_asked_for(head: &Parts) -> bool {
    head.headers.keys().any(|name| is_field(name.as_str())) || target::query(head).is_some_and(is_in_query)
}

/// Whether a field of this name overrides the method, however an origin spells it: CGI, WSGI and PHP read
/// `X_HTTP_Method_Override` as the same variable.
pub(super) fn is_field(name: &str) -> bool {
    // Every request field is asked, and few have this in common with one that does.
    name.len() >= "http-method".len() && is_override(&letters(name.bytes()))
}

fn is_override(letters: &str) -> bool {
    letters.ends_with("methodoverride")
        || matches!(letters, "xhttpmethod" | "httpmethod" | "xtunnelmethod" | "xoriginalmethod" | "xforwardedmethod")
}

/// Parameters are divided by `&`, by some also by `;`.
fn is_in_query(query: &str) -> bool {
    query.split(['&', ';']).any(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let letters = letters(unescaped(name.as_bytes()));
        // A plain `method` is a parameter like any other; PHP reads `.method`, `+_method` and `_method[]` as `_method`.
        is_override(&letters) || (letters == "method" && unescaped(name.as_bytes()).count() > letters.len())
    })
}

/// Letters and digits alone, in lower case.
fn letters(text: impl Iterator<Item = u8>) -> String {
    text.filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// With its percent-escapes resolved; what is none stands for itself.
fn unescaped(mut text: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (byte, rest) = match text {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), rest)
            }
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        text = rest;
        Some(byte)
    })
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok()).unwrap_or_default()
}
