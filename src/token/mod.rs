//! From a header field to a verified token.

pub mod claims_headers;
