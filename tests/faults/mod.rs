//! What breaks around the gate, and what it costs: an issuer, keys and an origin that misbehave on cue.
//!
//! Beside it stand the tests of single parts: `outage.rs`, `rotation.rs`, `restart.rs`, `clock_skew.rs`, `shutdown.rs`,
//! `forwarding/failures.rs`.

mod cut;
mod heads;
mod issuer;
mod keys;
mod retries;
mod stuck;
mod upstream;

use crate::support::{Gate, client};

/// What an operator is told of the issuers.
async fn details(gate: &Gate) -> String {
    client::get_local(gate.admin_addr(), "/readyz?verbose").await.text()
}
