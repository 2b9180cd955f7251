//! claimgate.
fn main() {}
