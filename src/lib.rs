//! claimgate.
pub mod clock;
pub mod deadline;
pub mod denial;
pub mod forward;
pub mod issuer;
pub mod jose;
pub mod policy;
pub mod readiness;
pub mod respond;
pub mod server;
pub mod token;
