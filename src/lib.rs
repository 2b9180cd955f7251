//! claimgate: a reverse proxy that lets a request through only with a JWT that its issuer really signed.
//!
//! A request goes one way, in [`gateway`]; what is refused leaves it at a `?`:
//!
//! ```text
//! server ─ a request
//!   ├─ forward::check       can it be read in one way only?     400 405 417
//!   ├─ policy               which rule is it under?
//!   ├─ token::credentials   where is the token?                 400 401
//!   ├─ token::verifier      form, issuer, key, signature, claims: in this order, always   401 503
//!   ├─ policy               may it pass? → Permit               403
//!   └─ forward::Upstream    no Permit, no forward               502 504
//! ```
//!
//! Keys go one way, with one writer for each issuer: [`issuer`] discovers and fetches them in the background, and publishes
//! each set as an immutable snapshot that the workers read.
//!
//! Arrows run one way: `denial clock counter readiness deadline liveness turn peer interim incoming chunked reply target trust` ← `jose` ← `issuer` ← `token` ← `policy` ← `forward`; [`respond`] and
//! [`server`] stand aside; [`gateway`] ← [`app`] ← [`command`]. `tests/rooms.rs` holds them.

pub mod admin;
pub mod app;
pub mod background;
pub mod chunked;
pub mod cli;
pub mod clock;
pub mod command;
pub mod command_line;
pub mod config;
pub mod counter;
pub mod deadline;
pub mod denial;
pub mod forward;
pub mod gateway;
pub mod incoming;
pub mod interim;
pub mod issuer;
pub mod jose;
pub mod liveness;
pub mod peer;
pub mod policy;
pub mod readiness;
pub mod reply;
pub mod respond;
pub mod server;
pub mod target;
pub mod telemetry;
pub mod token;
pub mod trust;
pub mod turn;
