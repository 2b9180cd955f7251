//! claimgate.
pub mod clock;
pub mod denial;
pub mod forward;
pub mod jose;
pub mod policy;
pub mod readiness;
pub mod server;
pub mod token;
