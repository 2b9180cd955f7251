//! The gate as others see it: over sockets, and by its exit codes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod rooms;
mod support;
