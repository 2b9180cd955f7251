//! What breaks around the gate, and what it costs: an issuer, keys and an origin that misbehave on cue.
//!
//! Beside it stand the tests of single parts: `outage.rs`, `rotation.rs`, `restart.rs`, `clock_skew.rs`, `shutdown.rs`,
//! `forwarding/failures.rs`.

mod cut;
mod retries;
mod upstream;
