//! The formats of JOSE: compact JWS (RFC 7515), JWK sets (RFC 7517), JWT claims sets (RFC 7519).
//!
//! Pure: bytes in, types or a reason out; no clock, no I/O. What is parsed is not yet trusted; only
//! [`VerificationKey::verify`] makes a [`ClaimsSet`].

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod algorithm;
mod claims_set;
mod jwk;
mod jws;
mod strict_json;
#[cfg(test)]
pub(crate) mod tests;

pub use algorithm::{Algorithm, AlgorithmSet, UnknownAlgorithm, refused_on_purpose};
pub use claims_set::{Claim, ClaimsSet};
pub use jwk::{JwkSet, MAX_KEYS, MalformedJwkSet, UnusableKey, VerificationKey};
pub use jws::{CompactJws, JoseHeader, MAX_TOKEN_SIZE, TokenType};
