//! Flags about the listeners for probes and operators.

use std::net::{Ipv4Addr, SocketAddr};

use http::uri::Authority;

use super::mistakes::Mistakes;
use super::values;
use crate::admin::{HealthCheck, OriginHealth, Way};
use crate::cli::Flags;
use crate::forward::{self, Address, Protocol};

pub(super) fn health_listen(flags: &Flags, mistakes: &Mistakes<'_>) -> Option<SocketAddr> {
    mistakes.or_default("health-listen", flags.listen.health_listen.as_ref(), None, values::address_or_off)
}

pub(super) fn admin_listen(flags: &Flags, mistakes: &Mistakes<'_>) -> Option<SocketAddr> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9180));
    mistakes.or_default("admin-listen", flags.listen.admin_listen.as_ref(), Some(default), address)
}

/// Its details are for operators: not even probes come from elsewhere.
fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    match values::address_or_off(text)? {
        Some(address) if !address.ip().is_loopback() => {
            Err("it must be on loopback; for probes from elsewhere use --health-listen".to_owned())
        }
        address => Ok(address),
    }
}

pub(super) fn origin_health(flags: &Flags, forward: &forward::Settings, mistakes: &Mistakes<'_>) -> OriginHealth {
    let read = |text: &String| mistakes.read("origin-health-check", text, str::parse::<HealthCheck>);
    let origin = &forward.upstream;
    let way = match (&origin.address, &forward.tls) {
        (Address::Unix(path), _) => Way::Unix(path.clone()),
        (Address::Tcp(authority), None) => Way::Tcp(origin.port(authority)),
        (Address::Tcp(authority), Some(tls)) => Way::Tls(origin.port(authority), tls.config(true), tls.name().clone()),
    };
    OriginHealth {
        origin: match &origin.address {
            Address::Tcp(authority) => authority.clone(),
            Address::Unix(_) => Authority::from_static("localhost"),
        },
        way,
        is_http2: origin.protocol == Protocol::Http2,
        checks: flags.listen.origin_health_check.iter().filter_map(read).collect(),
    }
}
