//! claimgate.
pub mod clock;
pub mod deadline;
pub mod denial;
pub mod issuer;
pub mod jose;
pub mod policy;
pub mod readiness;
pub mod server;
pub mod token;
