//! claimgate.
pub mod clock;
pub mod denial;
pub mod readiness;
