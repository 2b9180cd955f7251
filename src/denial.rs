//! Why this proxy answers instead of the origin: the only list of reasons.
//!
//! A reason is at once the `reason` of the body, the metric label, the log field and the first word of the gRPC
//! message. What varies stands in the variant: it always goes to the log, and to the client only where the row says
//! *shared*, which no row does that can be reached before the signature has been checked.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::clock::NumericDate;

/// A refusal, with what varies about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.row().reason)]
pub enum Denial {
    // --- the credentials (RFC 6750 §2, RFC 9110 §11)
    /// No token where tokens are looked for.
    TokenMissing,
    /// An `Authorization` field of another scheme.
    UnsupportedScheme,
    /// Two `Authorization` fields, a comma-joined pair, or two configured places.
    MultipleTokens,
    /// An `Authorization` field that is no credentials at all.
    MalformedCredentials,
    /// More bytes than a token may have.
    TokenTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most it may have.
        limit: usize,
    },
    // --- the token (RFC 7515, RFC 7519, RFC 8725)
    /// Not a well-formed JWT; why, for the log.
    MalformedToken(Text),
    /// Five parts: a JWE.
    EncryptedToken,
    /// A `typ` that is not accepted here.
    UnexpectedType(Text),
    /// `crit`, `b64` or `zip`.
    UnsupportedCritical(Text),
    /// `none`, an unknown algorithm, or one that the key or the settings do not permit.
    AlgorithmNotAllowed(Text),
    /// `iss` names no configured issuer.
    UntrustedIssuer(Text),
    /// No key of the issuer has this `kid`, or fits a token without one.
    UnknownKey(Text),
    /// The signature does not verify.
    InvalidSignature(Text),
    // --- the claims (RFC 7519 §4.1): reached with a verified signature only
    /// A required claim is absent.
    MissingClaim(Text),
    /// A claim has the wrong type.
    MalformedClaim {
        /// Its name.
        claim: Text,
        /// What it should have been, as in "must be a number".
        expected: &'static str,
    },
    /// `exp` and the leeway have passed.
    Expired {
        /// `exp`.
        at: NumericDate,
        /// The time it was checked.
        now: NumericDate,
        /// As in [`Denial::with_clock_skew`].
        clock_skew: Option<f64>,
    },
    /// `nbf` or `iat` lies beyond the leeway.
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Its value.
        at: NumericDate,
        /// The time it was checked.
        now: NumericDate,
        /// As in [`Denial::with_clock_skew`].
        clock_skew: Option<f64>,
    },
    /// From `iat` to `exp` is longer than accepted.
    LifetimeTooLong {
        /// Its lifetime.
        lifetime: Duration,
        /// The longest that is accepted.
        limit: Duration,
    },
    /// `aud` names nobody that we are.
    WrongAudience {
        /// `aud`.
        found: Text,
        /// Our audiences, for the log alone.
        expected: Option<Box<str>>,
    },
    /// A claim cannot stand in a header field; which.
    ClaimNotForwardable(Text),
    /// The claims headers exceed their budget.
    ClaimsTooLarge {
        /// Their size in bytes.
        size: usize,
        /// The budget.
        limit: usize,
        /// The largest claims with their sizes.
        largest: Text,
    },
    // --- the request (RFC 9110, RFC 9112)
    /// Two parsers could read it differently; how.
    AmbiguousRequest(Text),
    /// Not valid HTTP; why.
    MalformedRequest(Text),
    /// The head or the body did not arrive in time.
    RequestTimeout(Text),
    /// The request target is too long.
    UriTooLong {
        /// Its size in bytes.
        size: usize,
        /// The most it may have.
        limit: usize,
    },
    /// An expectation other than `100-continue`.
    ExpectationFailed,
    /// The head is too large, or has too many fields; which.
    HeadersTooLarge(Text),
    /// A transfer coding other than one final `chunked`.
    UnsupportedTransferCoding,
    /// `CONNECT` or `TRACE`.
    MethodRefused,
    /// The body is larger than accepted.
    BodyTooLarge {
        /// The most it may have.
        limit: u64,
    },
    // --- our own trouble, and the origin's: never 401
    /// A fault of ours; what, for the log.
    Internal(Text),
    /// No key set of the issuer, or none new enough to judge by.
    KeysUnavailable {
        /// When it is worth asking again.
        retry_after: Duration,
        /// Why there are none.
        cause: Text,
    },
    /// At a limit; which.
    Overloaded {
        /// When it is worth asking again.
        retry_after: Duration,
        /// Which limit.
        limit: Text,
    },
    /// No connection to the origin; why.
    UpstreamUnreachable(Text),
    /// The origin's answer is not valid HTTP, or is not one; how.
    UpstreamProtocol(Text),
    /// The origin did not answer in time; which limit.
    UpstreamTimeout(Text),
}

/// A detail that is usually a constant, sometimes a value from a token.
pub type Text = Cow<'static, str>;

/// What a reason means to a client: one line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// The HTTP status code.
    pub status: u16,
    /// The error code of RFC 6750 §3.1.
    pub error: Option<&'static str>,
    /// The gRPC status code.
    pub grpc: u8,
    /// The stable name.
    pub reason: &'static str,
    /// The sentence for people.
    pub title: &'static str,
    /// Whether the client may see what varies: [`Denial::shared_detail`].
    pub shared: bool,
}

const REQUEST: Option<&str> = Some("invalid_request");
const TOKEN: Option<&str> = Some("invalid_token");

impl Denial {
    /// One of each, in the order of the table, with empty details.
    pub const ALL: [Self; 36] = [
        Self::TokenMissing,
        Self::UnsupportedScheme,
        Self::MultipleTokens,
        Self::MalformedCredentials,
        Self::TokenTooLarge { size: 0, limit: 0 },
        Self::MalformedToken(NONE),
        Self::EncryptedToken,
        Self::UnexpectedType(NONE),
        Self::UnsupportedCritical(NONE),
        Self::AlgorithmNotAllowed(NONE),
        Self::UntrustedIssuer(NONE),
        Self::UnknownKey(NONE),
        Self::InvalidSignature(NONE),
        Self::MissingClaim(NONE),
        Self::MalformedClaim { claim: NONE, expected: "" },
        Self::Expired { at: NumericDate::EPOCH, now: NumericDate::EPOCH, clock_skew: None },
        Self::NotYetValid { claim: "nbf", at: NumericDate::EPOCH, now: NumericDate::EPOCH, clock_skew: None },
        Self::LifetimeTooLong { lifetime: Duration::ZERO, limit: Duration::ZERO },
        Self::WrongAudience { found: NONE, expected: None },
        Self::ClaimNotForwardable(NONE),
        Self::ClaimsTooLarge { size: 0, limit: 0, largest: NONE },
        Self::AmbiguousRequest(NONE),
        Self::MalformedRequest(NONE),
        Self::RequestTimeout(NONE),
        Self::UriTooLong { size: 0, limit: 0 },
        Self::ExpectationFailed,
        Self::HeadersTooLarge(NONE),
        Self::UnsupportedTransferCoding,
        Self::Internal(NONE),
        Self::MethodRefused,
        Self::KeysUnavailable { retry_after: Duration::ZERO, cause: NONE },
        Self::Overloaded { retry_after: Duration::ZERO, limit: NONE },
        Self::BodyTooLarge { limit: 0 },
        Self::UpstreamUnreachable(NONE),
        Self::UpstreamProtocol(NONE),
        Self::UpstreamTimeout(NONE),
    ];

    /// The line of the table. Every variant has its own; there is no arm for "the others".
    #[rustfmt::skip]
    pub const fn row(&self) -> Row {
        match self {
            Self::TokenMissing => row(401, None, 16, "token_missing", "No token provided"),
            Self::UnsupportedScheme => row(401, None, 16, "unsupported_scheme", "The Authorization scheme is not Bearer"),
            Self::MultipleTokens => row(400, REQUEST, 3, "multiple_tokens", "More than one token was sent"),
            Self::MalformedCredentials => row(400, REQUEST, 3, "malformed_credentials", "The Authorization header is malformed"),
            Self::TokenTooLarge { .. } => row(400, REQUEST, 3, "token_too_large", "The token is too large"),
            Self::MalformedToken(_) => row(401, TOKEN, 16, "malformed_token", "Invalid token: not a well-formed JWT"),
            Self::EncryptedToken => row(401, TOKEN, 16, "encrypted_token", "Invalid token: encrypted tokens are not supported"),
            Self::UnexpectedType(_) => row(401, TOKEN, 16, "unexpected_type", "Invalid token: its typ is not accepted here"),
            Self::UnsupportedCritical(_) => row(401, TOKEN, 16, "unsupported_critical", "Invalid token: it requires an extension that is not supported"),
            Self::AlgorithmNotAllowed(_) => row(401, TOKEN, 16, "algorithm_not_allowed", "Invalid token: its algorithm is not accepted"),
            Self::UntrustedIssuer(_) => row(401, TOKEN, 16, "untrusted_issuer", "Invalid token: its issuer is not trusted"),
            Self::UnknownKey(_) => row(401, TOKEN, 16, "unknown_key", "Invalid token: no key of the issuer matches"),
            Self::InvalidSignature(_) => row(401, TOKEN, 16, "invalid_signature", "Invalid token: the signature does not verify"),
            Self::MissingClaim(_) => shared(row(401, TOKEN, 16, "missing_claim", "Invalid token: a required claim is missing")),
            Self::MalformedClaim { .. } => shared(row(401, TOKEN, 16, "malformed_claim", "Invalid token: a claim has the wrong type")),
            Self::Expired { .. } => shared(row(401, TOKEN, 16, "expired", "Token has expired")),
            Self::NotYetValid { .. } => shared(row(401, TOKEN, 16, "not_yet_valid", "Token is not valid yet")),
            Self::LifetimeTooLong { .. } => shared(row(401, TOKEN, 16, "lifetime_too_long", "Invalid token: its lifetime is longer than accepted")),
            Self::WrongAudience { .. } => shared(row(401, TOKEN, 16, "wrong_audience", "Invalid token: it is meant for another audience")),
            Self::ClaimNotForwardable(_) => shared(row(403, None, 7, "claim_not_forwardable", "A claim cannot be sent to the origin")),
            Self::ClaimsTooLarge { .. } => shared(row(431, None, 8, "claims_too_large", "The token's claims are too large to forward")),
            Self::AmbiguousRequest(_) => row(400, None, 3, "ambiguous_request", "The request can be read in two ways"),
            Self::MalformedRequest(_) => row(400, None, 3, "malformed_request", "The request is not valid HTTP"),
            Self::RequestTimeout(_) => row(408, None, 4, "request_timeout", "The request did not arrive in time"),
            Self::UriTooLong { .. } => row(414, None, 3, "uri_too_long", "The request target is too long"),
            Self::ExpectationFailed => row(417, None, 3, "expectation_failed", "The expectation is not supported"),
            Self::HeadersTooLarge(_) => row(431, None, 8, "headers_too_large", "The request headers are too large"),
            Self::UnsupportedTransferCoding => row(501, None, 12, "unsupported_transfer_coding", "The transfer coding is not supported"),
            Self::MethodRefused => row(405, None, 12, "method_refused", "This method is not proxied"),
            Self::BodyTooLarge { .. } => row(413, None, 8, "body_too_large", "The request body is too large"),
            Self::Internal(_) => row(500, None, 13, "internal", "The proxy failed"),
            Self::KeysUnavailable { .. } => row(503, None, 14, "keys_unavailable", "The issuer's keys are not available"),
            Self::Overloaded { .. } => row(503, None, 14, "overloaded", "The proxy is at its limit"),
            Self::UpstreamUnreachable(_) => row(502, None, 14, "upstream_unreachable", "The origin cannot be reached"),
            Self::UpstreamProtocol(_) => row(502, None, 14, "upstream_protocol", "The origin sent an invalid response"),
            Self::UpstreamTimeout(_) => row(504, None, 4, "upstream_timeout", "The origin did not answer in time"),
        }
    }

    /// When the client may ask again (RFC 9110 §10.2.3), for the rows that carry `Retry-After`.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::KeysUnavailable { retry_after, .. } | Self::Overloaded { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// What varies, for the client: nothing unless the row is *shared*; a claim's value is cut at 64 characters.
    pub fn shared_detail(&self) -> Option<String> {
        if self.row().shared { self.detail(64) } else { None }
    }

    /// What varies, for the log; a claim's value is cut at 256 characters. What is wrong with the issuer's clock, and
    /// which audiences are ours, is for the operator alone.
    pub fn logged_detail(&self) -> Option<String> {
        if let Self::WrongAudience { found, expected } = self {
            let (found, expected) =
                (Cut { text: found, limit: 256 }, Cut { text: expected.as_deref().unwrap_or_default(), limit: 256 });
            let found = if found.text.is_empty() { "no one".to_owned() } else { found.to_string() };
            return Some(format!("the token is for {found}; accepted are {expected}"));
        }
        let detail = self.detail(256)?;
        let (Self::Expired { clock_skew: Some(skew), .. } | Self::NotYetValid { clock_skew: Some(skew), .. }) = self
        else {
            return Some(detail);
        };
        let side = if *skew < 0.0 { "behind" } else { "ahead" };
        Some(format!("{detail}; the issuer's clock is {:.0} s {side}", skew.abs()))
    }

    /// By how many seconds the issuer's clock is ahead of ours, where the reason is about time and this may be its cause.
    #[must_use]
    pub fn with_clock_skew(mut self, seconds: f64) -> Self {
        if let Self::Expired { clock_skew, .. } | Self::NotYetValid { clock_skew, .. } = &mut self {
            *clock_skew = Some(seconds);
        }
        self
    }

    fn detail(&self, limit: usize) -> Option<String> {
        let cut = |text| Cut { text, limit };
        let detail = match self {
            Self::TokenMissing
            | Self::UnsupportedScheme
            | Self::MultipleTokens
            | Self::MalformedCredentials
            | Self::EncryptedToken
            | Self::ExpectationFailed
            | Self::UnsupportedTransferCoding
            | Self::MethodRefused => return None,
            Self::TokenTooLarge { size, limit } | Self::UriTooLong { size, limit } => {
                format!("{size} bytes, at most {limit} are accepted")
            }
            Self::MissingClaim(claim) => format!("{} is required", cut(claim)),
            Self::MalformedClaim { claim, expected } => format!("{} {expected}", cut(claim)),
            Self::Expired { at, now, .. } => format!("expired at {at}, {} s ago", now.seconds_since(*at)),
            Self::NotYetValid { claim, at, now, .. } => format!("{claim} is {at}, in {} s", at.seconds_since(*now)),
            Self::LifetimeTooLong { lifetime, limit } => {
                format!("{} s, at most {} s are accepted", lifetime.as_secs(), limit.as_secs())
            }
            Self::ClaimsTooLarge { size, limit: budget, largest } => {
                format!("{size} bytes, the budget is {budget}; the largest: {}", cut(largest))
            }
            Self::BodyTooLarge { limit } => format!("at most {limit} bytes are accepted"),
            // Of parts that are cut each, and never for the client.
            Self::UnknownKey(text) => Cut { text, limit: 1024 }.to_string(),
            Self::MalformedToken(text)
            | Self::UnexpectedType(text)
            | Self::UnsupportedCritical(text)
            | Self::AlgorithmNotAllowed(text)
            | Self::UntrustedIssuer(text)
            | Self::InvalidSignature(text)
            | Self::WrongAudience { found: text, .. }
            | Self::ClaimNotForwardable(text)
            | Self::AmbiguousRequest(text)
            | Self::MalformedRequest(text)
            | Self::RequestTimeout(text)
            | Self::HeadersTooLarge(text)
            | Self::Internal(text)
            | Self::KeysUnavailable { cause: text, .. }
            | Self::Overloaded { limit: text, .. }
            | Self::UpstreamUnreachable(text)
            | Self::UpstreamProtocol(text)
            | Self::UpstreamTimeout(text) => cut(text).to_string(),
        };
        Some(detail).filter(|detail| !detail.is_empty())
    }
}

const fn row(status: u16, error: Option<&'static str>, grpc: u8, reason: &'static str, title: &'static str) -> Row {
    Row { status, error, grpc, reason, title, shared: false }
}

const fn shared(row: Row) -> Row {
    Row { shared: true, ..row }
}

/// A text cut at so many characters, its control characters escaped.
struct Cut<'a> {
    text: &'a str,
    limit: usize,
}

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, character) in self.text.chars().enumerate() {
            if index == self.limit {
                return f.write_char('…');
            }
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

const NONE: Text = Text::Borrowed("");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_list_of_all_leaves_none_out_and_names_each_once() {
        let reasons: HashSet<_> = Denial::ALL.iter().map(|denial| denial.row().reason).collect();
        let arms = include_str!("denial.rs")
            .lines()
            .filter(|line| line.contains("row(") && line.trim_start().starts_with("Self::"));
        assert_eq!((reasons.len(), arms.count()), (Denial::ALL.len(), Denial::ALL.len()));
    }

    #[test]
    fn nothing_is_shared_before_the_signature_was_checked() {
        let first = Denial::ALL.iter().position(|denial| denial.row().shared);
        let signature = Denial::ALL.iter().position(|denial| matches!(denial, Denial::InvalidSignature(_)));
        assert!(signature < first);
    }

    #[test]
    fn a_detail_reads_well_is_cut_and_its_control_characters_are_escaped() {
        let at = NumericDate::from_seconds(1_795_428_000.0).unwrap();
        let expired = Denial::Expired { at, now: at.plus(Duration::from_secs(35)), clock_skew: None };
        let told = "expired at 2026-11-23T10:00:00Z, 35 s ago";
        assert_eq!((&*expired.shared_detail().unwrap(), &*expired.logged_detail().unwrap()), (told, told));
        for (skew, side) in [(-41.2, "41 s behind"), (90.0, "90 s ahead")] {
            let skewed = expired.clone().with_clock_skew(skew);
            assert_eq!(skewed.shared_detail().unwrap(), told);
            assert_eq!(skewed.logged_detail().unwrap(), format!("{told}; the issuer's clock is {side}"));
        }
        let for_others =
            |found: String| Denial::WrongAudience { found: found.into(), expected: Some("orders, api".into()) };
        let other = for_others("a".to_owned());
        assert_eq!(other.shared_detail().unwrap(), "a");
        assert_eq!(other.logged_detail().unwrap(), "the token is for a; accepted are orders, api");
        assert_eq!(other.clone().with_clock_skew(90.0), other);
        let long = for_others(format!("\r\n\u{85}{}", "x".repeat(300)));
        let shared = long.shared_detail().unwrap();
        assert!(shared.starts_with(r"\r\n\u{85}x") && shared.ends_with("x…"), "{shared}");
        assert_eq!(shared.matches('x').count(), 61);
        assert_eq!(long.logged_detail().unwrap().matches('x').count(), 253);
        assert_eq!(Denial::UnknownKey("abc".into()).shared_detail(), None);
    }
}
