//! The gate as others see it: over sockets, and by its exit codes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod claims;
mod cli;
mod clock_skew;
mod credentials;
mod crowds;
mod denials;
mod faults;
mod forwarding;
mod grpc;
mod hardening;
mod headers;
mod held;
mod hostile;
mod http2;
mod inject;

mod listener;
mod lists;
mod liveness;
mod manual;
mod matrix;
mod metrics;
mod outage;
mod output;
mod overload;
mod panics;
mod private_keys;
mod refused_uploads;
mod restart;
mod rooms;
mod rotation;
mod shutdown;
mod signature;
mod slow;
mod streams;
mod support;
mod token_cache;
mod upstream_kinds;
mod vectors;
mod websocket;
mod wire;
