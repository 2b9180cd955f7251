//! Where the origin is, and what is spoken to it.

use std::fmt;
use std::path::PathBuf;

use http::HeaderValue;
use http::uri::{Authority, Scheme};

/// Where the origin is, and what is spoken to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// Where.
    pub address: Address,
    /// What.
    pub protocol: Protocol,
}

/// Where the origin listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A host and a port; the name is resolved at each connect.
    Tcp(Authority),
    /// A unix socket.
    Unix(PathBuf),
}

/// What is spoken to the origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1 in clear text.
    Http1,
    /// HTTP/2 in clear text, with prior knowledge (RFC 9113 §3.3).
    Http2,
    /// TLS, and in it what the origin chooses of HTTP/2 and HTTP/1.1 (RFC 7301).
    Tls,
}

impl Origin {
    /// The port of a TCP address.
    pub fn port(&self, authority: &Authority) -> u16 {
        authority.port_u16().unwrap_or(if self.protocol == Protocol::Tls { 443 } else { 80 })
    }

    /// What a request is for that names no host.
    pub(super) fn host(&self) -> HeaderValue {
        let localhost = HeaderValue::from_static("localhost");
        match &self.address {
            Address::Tcp(authority) => HeaderValue::from_str(authority.as_str()).unwrap_or(localhost),
            Address::Unix(_) => localhost,
        }
    }

    /// `:scheme` in HTTP/2.
    pub(super) fn scheme(&self) -> Scheme {
        if self.protocol == Protocol::Tls { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.protocol) {
            (Address::Tcp(authority), Protocol::Http1) => write!(f, "http://{authority}"),
            (Address::Tcp(authority), Protocol::Http2) => write!(f, "h2c://{authority}"),
            (Address::Tcp(authority), Protocol::Tls) => write!(f, "https://{authority}"),
            (Address::Unix(path), Protocol::Http2) => write!(f, "unix+h2c:{}", path.display()),
            (Address::Unix(path), _) => write!(f, "unix:{}", path.display()),
        }
    }
}
