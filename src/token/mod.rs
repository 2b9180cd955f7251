//! From a header field to a verified token.

mod cache;
pub mod claims;
pub mod claims_headers;
pub mod credentials;
pub mod handshake;
mod verifier;

pub use self::cache::CacheCounters;
pub use self::credentials::Credentials;
pub use self::handshake::{Handshake, HandshakePlace};
pub use self::verifier::{AccessToken, Verifier};
