//! From a header field to a verified token.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod cache;
pub mod claims;
pub mod claims_headers;
pub mod credentials;
pub mod handshake;
mod recent;
mod verifier;

pub use self::cache::CacheCounters;
pub use self::credentials::Credentials;
pub use self::handshake::{Handshake, HandshakePlace};
pub use self::verifier::{AccessToken, Verifier};
