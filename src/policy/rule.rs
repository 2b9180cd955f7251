//! Which requests a rule is for.

use std::fmt;
use std::str::FromStr;

use http::Method;

/// `[METHOD=]PATH`, where the path is exact, or a prefix with a final `/*`.
///
/// A request path that two parsers could read differently (percent-escapes, `//`, `.`, `..`, `;`, and `"`, `<`, `>` or a
/// backtick) never matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    method: Option<Method>,
    path: String,
    is_prefix: bool,
}

/// Why a text is no [`Route`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRoute {
    /// Not a method token.
    #[error("the part before `=` must be a method in capitals, as in GET=/health")]
    Method,
    /// No leading slash.
    #[error("the path must start with `/`")]
    Relative,
    /// A `*` elsewhere than in a final `/*`.
    #[error("`*` may only stand in a final `/*`; everything else is matched exactly")]
    Wildcard,
    /// A path that no request can match.
    #[error(
        "a path with a query, a fragment, percent-escapes, `//`, `;`, `.` or `..` segments never matches a request"
    )]
    Unmatchable,
}

impl Route {
    /// Whether this route is for `method` and `path` (without the query).
    pub fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own == method) && self.matches_path(path) && is_unambiguous(path)
    }

    /// Whether this route is for one method alone.
    pub fn has_method(&self) -> bool {
        self.method.is_some()
    }

    /// Whether each path is under it.
    pub fn is_everything(&self) -> bool {
        self.is_prefix && self.path.is_empty()
    }

    fn matches_path(&self, path: &str) -> bool {
        if self.is_prefix {
            path.strip_prefix(&*self.path).is_some_and(|rest| rest.starts_with('/'))
        } else {
            path == self.path
        }
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let (method, path) = match text.split_once('=') {
            Some((method, path)) if !method.starts_with('/') => (Some(parse_method(method)?), path),
            _ => (None, text),
        };
        if !path.starts_with('/') {
            return Err(InvalidRoute::Relative);
        }
        let (path, is_prefix) = match path.strip_suffix("/*") {
            Some(prefix) => (prefix, true),
            None => (path, false),
        };
        if path.contains('*') {
            return Err(InvalidRoute::Wildcard);
        }
        if path.contains(['?', '#']) || !is_unambiguous(path) {
            return Err(InvalidRoute::Unmatchable);
        }
        Ok(Self { method, path: path.to_owned(), is_prefix })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method}=")?;
        }
        f.write_str(&self.path)?;
        f.write_str(if self.is_prefix { "/*" } else { "" })
    }
}

fn parse_method(text: &str) -> Result<Method, InvalidRoute> {
    let is_capitals = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !is_capitals {
        return Err(InvalidRoute::Method);
    }
    Method::from_str(text).map_err(|_| InvalidRoute::Method)
}

/// Whether every origin reads this path as the same one. Some file systems read `"`, `<` and `>` as wildcards.
fn is_unambiguous(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b';' | b'\\' | b'"' | b'<' | b'>' | b'`');
    path.bytes().all(plain) && !path.contains("//") && path.split('/').all(|segment| !matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Route {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_route_matches_exactly_or_below_its_prefix() {
        let cases = [
            ("/health", "GET", "/health", true),
            ("/health", "POST", "/health", true),
            ("/health", "GET", "/health/", false),
            ("/health", "GET", "/healthy", false),
            ("/health", "GET", "/Health", false),
            ("GET=/health", "GET", "/health", true),
            ("GET=/health", "HEAD", "/health", false),
            ("/public/*", "GET", "/public/a/b.css", true),
            ("/public/*", "GET", "/public/", true),
            ("/public/*", "GET", "/public", false),
            ("/public/*", "GET", "/publicity/a", false),
            ("/*", "DELETE", "/anything", true),
            ("/a=b", "GET", "/a=b", true),
        ];
        for (text, method, path, expected) in cases {
            let matches = route(text).matches(&method.parse().unwrap(), path);
            assert_eq!(matches, expected, "{text} for {method} {path}");
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_never_matches() {
        // CVE-2021-29492, CVE-2026-42272, CVE-2026-42274: what the gate sees as public, the origin resolves elsewhere.
        let paths = [
            "/public/../admin",
            "/public/./x",
            "/public/..",
            "/public//admin",
            "/public/%2e%2e/admin",
            "/public/%2F..%2Fadmin",
            "/public/..;/admin",
            "/public/a;b=c",
            "/public/..\\admin",
            "/public/\"\"/admin",
            "/public/a<<",
            "/public/>",
            "/public/`a`",
            "/public/\u{7f}",
        ];
        for path in paths {
            assert!(!route("/public/*").matches(&Method::GET, path), "{path}");
        }
    }

    #[test]
    fn a_route_that_cannot_match_is_refused_with_the_reason() {
        let cases = [
            ("health", InvalidRoute::Relative),
            ("", InvalidRoute::Relative),
            ("get=/health", InvalidRoute::Method),
            ("=/health", InvalidRoute::Method),
            ("/a*", InvalidRoute::Wildcard),
            ("/*/b", InvalidRoute::Wildcard),
            ("/a?b", InvalidRoute::Unmatchable),
            ("/a/../b", InvalidRoute::Unmatchable),
            ("/%61", InvalidRoute::Unmatchable),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Route>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_route_prints_as_it_was_given() {
        for text in ["/health", "GET=/health", "/public/*", "POST=/*"] {
            assert_eq!(route(text).to_string(), text);
        }
    }
}
