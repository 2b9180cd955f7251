//! Who is at the other end of a connection, and who of them is believed.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;
use ipnet::IpNet;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; an IPv4 one that came in over IPv6 is an IPv4 one again. Over a unix socket there is none.
    pub address: Option<IpAddr>,
    /// The same as it is forwarded, for all of its requests.
    pub text: HeaderValue,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// Whether a proxy tells of it, and nobody else: then it has not opened our socket itself.
    pub is_behind_proxy: bool,
}

impl Peer {
    /// At this address, or over a unix socket, in the clear.
    pub fn new(address: Option<IpAddr>) -> Self {
        // What other proxies write, too: a service that misses the field takes its own peer, us, for the client.
        const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");
        let address = address.map(|address| address.to_canonical());
        // Digits, dots and colons always are a header value.
        let text = address.and_then(|address| HeaderValue::try_from(address.to_string()).ok()).unwrap_or(UNKNOWN);
        Self { address, text, is_tls: false, is_behind_proxy: false }
    }

    /// One that the proxy before us tells of, at this address, or of none.
    pub fn behind_proxy(address: Option<IpAddr>) -> Self {
        Self { is_behind_proxy: true, ..Self::new(address) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// Peers that speak for others: what they say of a client is believed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies {
    /// Where they are.
    pub networks: Vec<IpNet>,
    /// Whether whoever can open the unix socket is one.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether this peer is one.
    pub fn contain(&self, peer: &Peer) -> bool {
        match peer.address {
            Some(address) => self.networks.iter().any(|network| network.contains(&address)),
            None => self.unix && !peer.is_behind_proxy,
        }
    }

    /// Whether nobody is.
    pub const fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let all: Vec<_> = networks.chain(self.unix.then(|| "unix".to_owned())).collect();
        f.write_str(&all.join(","))
    }
}
