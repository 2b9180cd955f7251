//! Tokens, well made or otherwise.

use claimgate::clock::Clock;
use serde_json::{Map, Value, json};

use super::key::{Key, base64url};

/// A token before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) key: Key,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    /// Five minutes of life from now, for `alice`.
    pub(crate) fn new(issuer: &str, key: &Key) -> Self {
        let mut token = Self { key: key.clone(), header: Map::new(), claims: Map::new() };
        for (name, value) in [("alg", json!(key.alg)), ("typ", json!("JWT")), ("kid", json!(key.kid))] {
            token.header.insert(name.to_owned(), value);
        }
        let now = now();
        for (name, value) in [("iss", json!(issuer)), ("sub", json!("alice")), ("iat", json!(now))] {
            token.claims.insert(name.to_owned(), value);
        }
        token.claim("exp", now + 300)
    }

    /// With this claim.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without this claim.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// With this member of the JOSE header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Without this member of the JOSE header.
    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Over for a minute, which is more than the leeway.
    pub(crate) fn expired(self) -> Self {
        let now = now();
        self.claim("iat", now - 360).claim("exp", now - 60)
    }

    /// Signed with another key, the header as it was.
    pub(crate) fn signed_by(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    /// The payload, byte for byte what is signed.
    pub(crate) fn payload(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    /// The JOSE header as it will stand in the token.
    pub(crate) fn jose_header(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// The compact serialization.
    pub(crate) fn sign(&self) -> String {
        compact(self.jose_header(), self.payload(), |input| self.key.sign(input))
    }
}

/// RFC 7515 §7.1 over any bytes at all.
pub(crate) fn compact(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let input = format!("{}.{}", base64url(header), base64url(payload));
    let signature = base64url(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a time of today")]
    let now = Clock::system().now().as_seconds() as i64;
    now
}
