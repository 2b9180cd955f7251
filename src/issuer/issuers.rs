//! The issuers whose tokens are accepted, by their names.

use std::sync::Arc;

use super::Issuer;

/// The issuers that are trusted.
#[derive(Clone, Debug)]
pub struct Issuers(Arc<[Arc<Issuer>]>);

impl Issuers {
    /// Exactly these.
    pub fn new(issuers: Vec<Arc<Issuer>>) -> Self {
        Self(issuers.into())
    }

    /// The issuer of this name. Only compares with configured ones, byte for byte; no URL is made of it.
    pub fn select(&self, iss: &str) -> Option<&Arc<Issuer>> {
        self.iter().find(|issuer| issuer.identifier() == iss)
    }

    /// Changes whenever any of them publishes other keys.
    pub fn epoch(&self) -> u64 {
        self.iter().map(|issuer| issuer.snapshot.load().generation()).fold(0, u64::wrapping_add)
    }

    /// Each of them, as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.0.iter()
    }
}
