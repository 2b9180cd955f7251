//! Flags about the origin.

use std::time::Duration;

use http::HeaderName;

use super::mistakes::Mistakes;
use super::{DAY, HOUR, KIB, MILLISECOND, MINUTE, SECOND, origin, values};
use crate::cli::Flags;
use crate::forward::{self, ForwardToken, StreamExpiry};
use crate::peer::TrustedProxies;
use crate::token::claims_headers;
use crate::trust::Bundle;

pub(super) fn settings(
    flags: &Flags,
    claims: &claims_headers::Settings,
    trusted_proxies: &TrustedProxies,
    stream_idle_timeout: Duration,
    replaced_roots: Option<Bundle>,
    mistakes: &Mistakes<'_>,
) -> forward::Settings {
    let (origin, limits) = (&flags.origin, &flags.limits);
    let upstream = origin::origin(origin, mistakes);
    let min_body_rate = limits.min_body_rate.as_ref();
    let max_body_size = limits.max_body_size.as_ref();
    let duration =
        |flag, value: &Option<String>, default, range| mistakes.duration(flag, value.as_ref(), default, range);
    let idle = |default| duration("upstream-idle-timeout", &limits.upstream_idle_timeout, default, MILLISECOND..=HOUR);
    forward::Settings {
        tls: origin::tls(&upstream, origin, replaced_roots, mistakes),
        upstream,
        max_connections: mistakes.number(
            "max-upstream-connections",
            limits.max_upstream_connections.as_ref(),
            1024,
            1..=1_000_000,
        ),
        max_waiting: mistakes.number("max-waiting-requests", limits.max_waiting_requests.as_ref(), 1024, 0..=1_000_000),
        connect_timeout: duration(
            "upstream-connect-timeout",
            &limits.upstream_connect_timeout,
            2 * SECOND,
            MILLISECOND..=MINUTE,
        ),
        response_timeout: duration("upstream-timeout", &limits.upstream_timeout, 30 * SECOND, MILLISECOND..=DAY),
        idle_timeout: idle(SECOND),
        // A request that meets the end of its connection may be lost with HTTP/1.1; with HTTP/2 it can be told.
        http2_idle_timeout: idle(MINUTE),
        stream_idle_timeout,
        min_body_rate: min_body_rate
            .and_then(|size| mistakes.size("min-body-rate", size, 0..=1024 * 1024 * KIB))
            .unwrap_or(KIB),
        max_body_size: max_body_size.and_then(|size| mistakes.size("max-body-size", size, 1..=u64::MAX)),
        trusted_proxies: trusted_proxies.clone(),
        forward_token: mistakes.word(
            "forward-token",
            origin.forward_token.as_ref(),
            ForwardToken::Keep,
            &[("keep", ForwardToken::Keep), ("strip", ForwardToken::Strip)],
        ),
        stream_expiry: mistakes.word(
            "stream-expiry",
            limits.stream_expiry.as_ref(),
            StreamExpiry::Close,
            &[("close", StreamExpiry::Close), ("ignore", StreamExpiry::Ignore)],
        ),
        allowed_upgrades: allowed_upgrades(flags, mistakes),
        identity_names: identity_names(claims),
    }
}

fn allowed_upgrades(flags: &Flags, mistakes: &Mistakes<'_>) -> Vec<String> {
    let read = |text: &String| mistakes.read("allow-upgrade", text, values::upgrade);
    flags.origin.allow_upgrade.iter().filter_map(read).collect()
}

/// The names that carry claims.
fn identity_names(claims: &claims_headers::Settings) -> Vec<HeaderName> {
    claims.claim_headers.iter().map(|claim| claim.header.clone()).chain([claims.header.clone()]).collect()
}
