//! claimgate.
pub mod clock;
pub mod denial;
pub mod forward;
pub mod policy;
pub mod readiness;
pub mod server;
pub mod token;
