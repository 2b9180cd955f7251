//! The header values that tell the origin who is calling.

use http::HeaderName;

/// Which claims go into which header, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The header for the whole claims set.
    pub header: HeaderName,
    /// How the claims set is written there.
    pub format: ClaimsFormat,
    /// Single claims and their headers.
    pub claim_headers: Vec<ClaimHeader>,
    /// The most that all of them may take, names and values, in bytes.
    pub max_size: usize,
}

/// How the claims set is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimsFormat {
    /// The token's payload, base64url without padding, byte for byte what was signed.
    Base64Url,
    /// The same object as ASCII-only JSON.
    Json,
}

/// One claim as text in a header of its own.
#[derive(Clone, Debug)]
pub struct ClaimHeader {
    /// The claim's name; nested with `.`.
    pub claim: String,
    /// Its header.
    pub header: HeaderName,
}
