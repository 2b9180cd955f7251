//! Where the origin is, seen from the gate: on this machine, or the gate itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::mistakes::Mistakes;
use crate::forward::{Address, Origin, Protocol};
use crate::server::Listen;

/// Notes an upstream that is a listener of the gate: each request would go round until its head is too large.
pub(super) fn check_loop(
    origin: &Origin,
    listen: &Listen,
    others: [(&str, Option<SocketAddr>); 2],
    mistakes: &Mistakes<'_>,
) {
    let others = others.into_iter().filter_map(|(flag, address)| Some((flag, Listen::Tcp(address?))));
    for (flag, listener) in [("listen", listen.clone())].into_iter().chain(others) {
        if is_taken_by(&listener, origin) {
            let problem = format!(
                "it is this gate's own --{flag} {listener}, so that each request would come back until it is refused; give \
                 the address of the service, such as http://127.0.0.1:3000, or let the gate listen elsewhere"
            );
            mistakes.note_value("upstream", &origin.to_string(), problem);
            return;
        }
    }
}

/// Whether claims and tokens are sent to the origin in clear text over a network.
pub(super) fn is_in_the_clear(origin: &Origin) -> bool {
    let Address::Tcp(authority) = &origin.address else { return false };
    let is_here = |address: &IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    origin.protocol != Protocol::Tls && !addresses(authority.host()).iter().any(is_here)
}

fn is_taken_by(listener: &Listen, origin: &Origin) -> bool {
    match (listener, &origin.address) {
        (Listen::Tcp(address), Address::Tcp(authority)) => {
            let is_taken = |host: &IpAddr| takes(address.ip(), host.to_canonical());
            address.port() == origin.port(authority) && addresses(authority.host()).iter().any(is_taken)
        }
        // Compared by its parts: `/run//gate.sock` and `/run/./gate.sock` are one.
        (Listen::Unix(listener), Address::Unix(origin)) => listener == origin,
        _ => false,
    }
}

/// Whether what is sent to `host` reaches one who listens at `listener` of this machine.
fn takes(listener: IpAddr, host: IpAddr) -> bool {
    // The kernel sends what is for "any" to loopback.
    let host = match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    match listener {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => host.is_ipv4() && host.is_loopback(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => host.is_loopback(),
        listener => listener.to_canonical() == host,
    }
}

/// The addresses that a host stands for without asking DNS.
fn addresses(host: &str) -> Vec<IpAddr> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    if lower == "localhost" || lower.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    name.parse().into_iter().collect()
}
