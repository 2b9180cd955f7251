//! The names that only we may set: always stripped, then inserted. Knows names, never what they carry.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::borrow::Cow;

use http::HeaderName;

/// How every name that speaks for us begins: `X-JWT-`, which alone folds to this.
const PREFIX: &str = "x-jwt";

/// A name as CGI, WSGI and PHP see it: each run of what is neither letter nor digit is one `-`, and none at the ends.
///
/// `X_JWT_Claims`, `X.Jwt.Claims` and `X-JWT-Claims` are one variable there (CVE-2025-64484, CVE-2026-88011).
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if is_folded(name.as_bytes()) {
        return Cow::Borrowed(name);
    }
    let words = name.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    Cow::Owned(words.collect::<Vec<_>>().join("-").to_ascii_lowercase())
}

fn is_folded(name: &[u8]) -> bool {
    let mut last = Kind::Dash;
    for byte in name {
        match (kind(*byte), last) {
            (Kind::Other, _) | (Kind::Dash, Kind::Dash) => return false,
            (kind, _) => last = kind,
        }
    }
    last != Kind::Dash
}

/// What a byte is in a folded name.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    LetterOrDigit,
    Dash,
    Other,
}

/// By a table, as each name of each request is looked at.
fn kind(byte: u8) -> Kind {
    KINDS.get(usize::from(byte)).copied().unwrap_or(Kind::Other)
}

#[cfg_attr(not(test), expect(clippy::indexing_slicing, reason = "whatever is wrong here does not compile"))]
const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Other; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            kinds[byte as usize] = Kind::LetterOrDigit;
        }
        byte += 1;
    }
    kinds[b'-' as usize] = Kind::Dash;
    kinds
};

/// Which names speak for us.
#[derive(Clone, Debug)]
pub(super) struct IdentityNames(Vec<String>);

impl IdentityNames {
    /// These, and every name that begins with `x-jwt-`.
    pub(super) fn new(names: &[HeaderName]) -> Self {
        let folded = names.iter().map(|name| fold(name.as_str()).into_owned());
        Self(folded.filter(|name| !has_prefix(name)).collect())
    }

    /// Whether a folded name is one of them.
    pub(super) fn contain(&self, folded: &str) -> bool {
        has_prefix(folded) || self.0.iter().any(|name| name == folded)
    }
}

fn has_prefix(folded: &str) -> bool {
    folded.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_as_origins_read_them() {
        let cases = [
            ("x-jwt-claims", "x-jwt-claims"),
            ("x_jwt_claims", "x-jwt-claims"),
            ("x.jwt.claims", "x-jwt-claims"),
            ("x--jwt-_claims", "x-jwt-claims"),
            ("-x-jwt-claims_", "x-jwt-claims"),
            ("x!jwt~claims", "x-jwt-claims"),
            ("content_length", "content-length"),
            ("xjwtclaims", "xjwtclaims"),
            ("a", "a"),
            ("_", ""),
        ];
        for (name, folded) in cases {
            assert_eq!(fold(name), folded, "{name}");
            assert_eq!(matches!(fold(name), Cow::Borrowed(_)), name == folded, "{name}");
        }
    }

    #[test]
    fn folding_twice_changes_nothing() {
        for name in ["x_jwt_claims", "--a..b__c--", "a1.2b"] {
            let once = fold(name).into_owned();
            assert_eq!(fold(&once), once);
        }
    }

    #[test]
    fn the_prefix_and_the_configured_names_are_ours() {
        let names =
            IdentityNames::new(&[HeaderName::from_static("x-user_id"), HeaderName::from_static("x-jwt-claims")]);
        for (folded, is_ours) in [
            ("x-jwt-claims", true),
            ("x-jwt-anything", true),
            ("x-user-id", true),
            ("x-user", false),
            ("x-jwt", true),
            ("x-jwts", false),
            ("my-x-jwt-claims", false),
        ] {
            assert_eq!(names.contain(folded), is_ours, "{folded}");
        }
    }
}
