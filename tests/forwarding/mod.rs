//! What passes, passes as it is (RFC 9110 §7, RFC 9112).

mod bodies;
mod failures;
mod memory;
mod requests;
mod responses;
