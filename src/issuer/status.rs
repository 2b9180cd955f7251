//! What can be told about an issuer's keys.

use std::time::Duration;

use crate::clock::NumericDate;
use crate::jose::{AlgorithmSet, UnusableKey};

/// How an issuer stands now.
#[derive(Clone, Debug)]
pub struct Status {
    /// The issuer, byte for byte.
    pub identifier: String,
    /// The keys that verify tokens now; empty: none, so requests get 503.
    pub keys: Vec<KeyStatus>,
    /// The keys of the set that cannot be used, and why.
    pub unusable_keys: Vec<UnusableKey>,
    /// Changes only when the set of usable keys does; 0 without keys.
    pub generation: u64,
    /// How long ago the issuer last confirmed the keys.
    pub age: Option<Duration>,
    /// Whether they are those that an earlier process kept on disk.
    pub restored: bool,
    /// How long from now the next attempt begins; `None` while one is under way.
    pub next_attempt: Option<Duration>,
    /// What the attempts found out.
    pub report: Report,
}

/// One usable key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyStatus {
    /// Its `kid`.
    pub kid: Option<String>,
    /// What it verifies.
    pub algorithms: AlgorithmSet,
}

/// What the attempts found out so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many attempts brought keys.
    pub successes: u64,
    /// How many did not.
    pub failures: u64,
    /// When an attempt last brought or confirmed keys.
    pub last_success: Option<NumericDate>,
    /// Why the last attempt failed; `None` when it did not.
    pub last_error: Option<Failure>,
    /// The form of discovery that worked; `None` before, and without discovery.
    pub metadata_form: Option<String>,
    /// Where the keys are, without user information and query.
    pub jwks_uri: Option<String>,
    /// Seconds by which the issuer's clock is ahead of ours; negative: behind. Exact to about a second.
    pub clock_skew: Option<f64>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// When.
    pub at: NumericDate,
    /// At which step and why: DNS, TCP, TLS, time-out, status, size, parsing.
    pub cause: String,
}
