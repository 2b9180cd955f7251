//! Sockets and workers; knows nothing of tokens.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Where to listen, with how many threads, and how long a client may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address; an IPv6 wildcard is dual-stack.
    pub listen: SocketAddr,
    /// How many worker threads.
    pub workers: NonZeroUsize,
    /// The most connections at a time, over all workers.
    pub max_connections: usize,
    /// From accept to the first complete head, and for a later head from its first byte.
    pub header_timeout: Duration,
    /// Between requests on one connection.
    pub idle_timeout: Duration,
    /// The largest request head, in bytes.
    pub max_header_size: usize,
    /// How long connections are still accepted after the signal to stop.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that, before they are cut.
    pub shutdown_grace_period: Duration,
}
