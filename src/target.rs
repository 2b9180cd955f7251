//! The target of a request: the same bytes are judged, shown and forwarded.
//!
//! A [`Uri`] holds nearly every target as it came. Real clients also send `"`, `<`, `>` and a backtick where it takes none of
//! them: such a target is kept beside it, and is what these functions give. The `Uri` then holds the target with
//! percent-escapes, so that code that asks it by mistake sees a path that no public route matches.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

/// The path and query of a target that no [`Uri`] holds.
#[derive(Clone, Debug)]
struct Raw(Box<str>);

/// The path, without the query.
pub fn path(head: &Parts) -> &str {
    match raw(head) {
        Some(raw) => raw.split_once('?').map_or(raw, |(path, _)| path),
        None => head.uri.path(),
    }
}

/// The query, if there is one.
pub fn query(head: &Parts) -> Option<&str> {
    match raw(head) {
        Some(raw) => raw.split_once('?').map(|(_, query)| query),
        None => head.uri.query(),
    }
}

/// Path and query as they came; `None` where the target has neither.
pub fn path_and_query(head: &Parts) -> Option<&str> {
    raw(head).or_else(|| head.uri.path_and_query().map(PathAndQuery::as_str))
}

/// The first character that no [`Uri`] holds, and behind how many bytes of path and query it stands.
pub fn uncarried(head: &Parts) -> Option<(char, usize)> {
    let raw = raw(head)?;
    // Whatever begins with one that is refused is refused: the first is found in few steps.
    let (mut carried, mut refused) = (0_usize, raw.len());
    while refused.saturating_sub(carried) > 1 {
        let middle = carried.midpoint(refused);
        let is_carried = raw.get(..middle).is_some_and(|part| PathAndQuery::try_from(part).is_ok());
        if is_carried { carried = middle } else { refused = middle }
    }
    raw.get(carried..).and_then(|rest| rest.chars().next()).map(|character| (character, carried))
}

/// Keeps a target of visible ASCII characters, a path or an absolute URL, which no [`Uri`] holds. Whether it could be kept.
#[cold]
pub fn keep_raw(head: &mut Parts, target: &str) -> bool {
    let Ok(uri) = Uri::try_from(escaped(target)) else { return false };
    let behind_scheme =
        if target.starts_with('/') { Some(target) } else { target.split_once("://").map(|(_, rest)| rest) };
    let Some(start) = behind_scheme.and_then(|rest| rest.get(rest.find(['/', '?'])?..)) else { return false };
    let slash = if start.starts_with('/') { "" } else { "/" };
    head.uri = uri;
    head.extensions.insert(Raw(format!("{slash}{start}").into()));
    true
}

fn raw(head: &Parts) -> Option<&str> {
    head.extensions.get::<Raw>().map(|raw| &*raw.0)
}

/// With percent-escapes for all that RFC 3986 has no place for.
fn escaped(target: &str) -> String {
    let escape = |character: char| match character {
        '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => format!("%{:02X}", u32::from(character)),
        other => other.to_string(),
    };
    target.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn kept(target: &str) -> Option<Parts> {
        let (mut head, ()) = Request::new(()).into_parts();
        keep_raw(&mut head, target).then_some(head)
    }

    #[test]
    fn a_target_is_kept_as_it_came_and_its_uri_matches_no_route() {
        for (target, expected) in [
            ("/a<b>", ("/a<b>", None)),
            ("/a?b=\"c\"", ("/a", Some("b=\"c\""))),
            ("/a`?b?<", ("/a`", Some("b?<"))),
            ("http://h:1/a<?b", ("/a<", Some("b"))),
            ("http://h?<", ("/", Some("<"))),
        ] {
            let head = kept(target).unwrap();
            assert_eq!((path(&head), query(&head)), expected, "{target}");
            assert!(path_and_query(&head).is_some_and(|raw| target.ends_with(raw.trim_start_matches('/'))), "{target}");
            assert!(head.uri.path_and_query().unwrap().as_str().contains('%'), "{target}");
        }
        assert_eq!(kept("http://h:1/a<?b").unwrap().uri.authority().unwrap(), "h:1");
        for target in ["http://h<", "a<", "", "/\u{1}<"] {
            assert!(kept(target).is_none(), "{target}");
        }
    }

    #[test]
    fn the_first_character_that_no_uri_holds_is_found() {
        for (target, expected) in
            [("/<", ('<', 1)), ("/a{}\"?b=\\`\"<", ('"', 10)), ("/aaaaaaaa`aaaaaaa", ('`', 9)), ("/a?b>", ('>', 4))]
        {
            assert_eq!(uncarried(&kept(target).unwrap()), Some(expected), "{target}");
        }
        let (head, ()) = Request::get("/a\"b").body(()).unwrap().into_parts();
        assert_eq!((uncarried(&head), path(&head)), (None, "/a\"b"));
    }
}
