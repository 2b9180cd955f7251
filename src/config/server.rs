//! Flags about the listener and its clients.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use super::mistakes::Mistakes;
use super::{DAY, HOUR, KIB, MILLISECOND, MINUTE, SECOND, size, values};
use crate::cli::Flags;
use crate::peer::TrustedProxies;
use crate::server::{self, Listen};

pub(super) fn settings(flags: &Flags, stream_idle_timeout: Duration, mistakes: &Mistakes<'_>) -> server::Settings {
    let (listen, limits) = (&flags.listen, &flags.limits);
    let parallelism = available_parallelism().map_or(1, NonZeroUsize::get).min(4);
    let workers = mistakes.number("workers", listen.workers.as_ref(), parallelism, 1..=64);
    let everywhere = Listen::Tcp((Ipv4Addr::UNSPECIFIED, 4180).into());
    let max_header_size = limits.max_header_size.as_ref();
    let duration =
        |flag, value: &Option<String>, default, range| mistakes.duration(flag, value.as_ref(), default, range);
    server::Settings {
        listen: mistakes.or_default("listen", listen.listen.as_ref(), everywhere, values::listen),
        workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
        max_connections: mistakes.number("max-connections", listen.max_connections.as_ref(), 10_000, 1..=1_000_000),
        header_timeout: duration("header-timeout", &limits.header_timeout, 10 * SECOND, 10 * MILLISECOND..=10 * MINUTE),
        idle_timeout: duration("idle-timeout", &limits.idle_timeout, 75 * SECOND, 10 * MILLISECOND..=DAY),
        stream_idle_timeout,
        max_header_size: size(max_header_size, "max-header-size", 64 * KIB, 8 * KIB..=1024 * KIB, mistakes),
        drain_delay: duration("drain-delay", &listen.drain_delay, Duration::ZERO, Duration::ZERO..=HOUR),
        shutdown_grace_period: duration(
            "shutdown-grace-period",
            &listen.shutdown_grace_period,
            25 * SECOND,
            Duration::ZERO..=DAY,
        ),
    }
}

/// For forwarding headers and the PROXY protocol.
pub(super) fn trusted_proxies(flags: &Flags, mistakes: &Mistakes<'_>) -> TrustedProxies {
    let mut proxies = TrustedProxies::default();
    for text in &flags.origin.trusted_proxy {
        match mistakes.read("trusted-proxy", text, values::trusted_proxy) {
            Some(Some(network)) => proxies.networks.push(network),
            Some(None) => proxies.unix = true,
            None => {}
        }
    }
    proxies
}
