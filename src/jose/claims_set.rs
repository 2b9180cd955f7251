//! The claims of a token whose signature was verified.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::jws::{CompactJws, TokenType};
use super::strict_json::{Members, Value};

/// A signed JWT claims set (RFC 7519 §4), exactly as it was signed. Only [`super::VerificationKey::verify`] makes one.
#[derive(Clone)]
pub struct ClaimsSet<'j>(&'j CompactJws<'j>);

impl<'j> ClaimsSet<'j> {
    /// To be called after the signature was verified, from nowhere else.
    pub(super) const fn of(jws: &'j CompactJws<'_>) -> Self {
        Self(jws)
    }

    /// The JSON object, byte for byte what was signed.
    pub fn raw(&self) -> &'j [u8] {
        self.0.payload()
    }

    /// Its base64url text, byte for byte what was signed.
    pub fn encoded(&self) -> &'j str {
        self.0.encoded_payload()
    }

    /// The header's `typ`.
    pub fn token_type(&self) -> Option<TokenType> {
        self.0.header().token_type()
    }

    /// `iss`.
    pub fn issuer(&self) -> Claim<&'j str> {
        self.0.registered().issuer.as_ref().map(String::as_str)
    }

    /// `exp` in seconds since the epoch; finite, of any size and sign. An integer within 64 bits stays below 2^63.
    pub fn expiration(&self) -> Claim<f64> {
        self.0.registered().expiration
    }

    /// `nbf` in seconds since the epoch; finite, of any size and sign. An integer within 64 bits stays below 2^63.
    pub fn not_before(&self) -> Claim<f64> {
        self.0.registered().not_before
    }

    /// `iat` in seconds since the epoch; finite, of any size and sign. An integer within 64 bits stays below 2^63.
    pub fn issued_at(&self) -> Claim<f64> {
        self.0.registered().issued_at
    }

    /// `aud`; a single string counts as a list of one (RFC 7519 §4.1.3).
    pub fn audience(&self) -> Claim<&'j [String]> {
        self.0.registered().audience.as_ref().map(Vec::as_slice)
    }

    /// Whether there is an `at_hash` or a `c_hash`, as in ID tokens (`OpenID` Connect Core 1.0 §3.1.3.6, §3.3.2.11).
    pub fn has_token_hash(&self) -> bool {
        self.0.registered().token_hash
    }

    /// Whether it is a security event token (RFC 8417 §2.2), such as a logout token (`OpenID` Connect Back-Channel
    /// Logout 1.0 §2.4), which tells of something that happened and permits nothing.
    pub fn is_security_event(&self) -> bool {
        self.0.registered().security_event
    }

    /// The members of the set, each value in the text that was signed: a double would change the digits of a number.
    pub fn members(&self) -> BTreeMap<String, &'j RawValue> {
        // It was read before by the same parser under stricter rules.
        serde_json::from_str(self.0.payload_text()).unwrap_or_default()
    }
}

impl fmt::Debug for ClaimsSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimsSet").finish_non_exhaustive()
    }
}

/// A registered claim: there is a difference between none and one that is wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Claim<T> {
    /// No such member.
    #[default]
    Absent,
    /// A value of another type, `null` included.
    WrongType,
    /// Its value.
    Is(T),
}

impl<T> Claim<T> {
    /// Its value, if it has one of the right type.
    pub fn value(self) -> Option<T> {
        if let Self::Is(value) = self { Some(value) } else { None }
    }

    fn as_ref(&self) -> Claim<&T> {
        match self {
            Self::Absent => Claim::Absent,
            Self::WrongType => Claim::WrongType,
            Self::Is(value) => Claim::Is(value),
        }
    }

    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Claim<U> {
        match self {
            Self::Absent => Claim::Absent,
            Self::WrongType => Claim::WrongType,
            Self::Is(value) => Claim::Is(convert(value)),
        }
    }
}

impl<T> From<Option<T>> for Claim<T> {
    /// A member is there; `None` when its type is wrong.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::WrongType, Self::Is)
    }
}

/// The registered claims, taken out once while the payload is read.
#[derive(Default)]
pub(super) struct RegisteredClaims {
    pub(super) issuer: Claim<String>,
    expiration: Claim<f64>,
    not_before: Claim<f64>,
    issued_at: Claim<f64>,
    audience: Claim<Vec<String>>,
    token_hash: bool,
    security_event: bool,
}

impl From<Members<'_>> for RegisteredClaims {
    fn from(members: Members<'_>) -> Self {
        let mut claims = Self::default();
        for (name, value) in members {
            match &*name {
                "iss" => claims.issuer = text(value).into(),
                "exp" => claims.expiration = number(&value).into(),
                "nbf" => claims.not_before = number(&value).into(),
                "iat" => claims.issued_at = number(&value).into(),
                "aud" => claims.audience = texts(value).into(),
                "events" => claims.security_event = matches!(value, Value::Object(_)),
                "at_hash" | "c_hash" => claims.token_hash = true,
                _ => {}
            }
        }
        claims
    }
}

fn text(value: Value<'_>) -> Option<String> {
    if let Value::String(text) = value { Some(text.into_owned()) } else { None }
}

fn texts(value: Value<'_>) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.into_owned()]),
        Value::Strings(texts) => Some(texts.into_iter().map(std::borrow::Cow::into_owned).collect()),
        _ => None,
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    if let Value::Number(number) = value { Some(*number) } else { None }
}
