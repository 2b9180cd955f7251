//! To the origin and back.

use std::time::Duration;

use http::HeaderName;
use http::uri::Authority;
use ipnet::IpNet;

/// Where the origin is and how long it may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host and port of the origin; the name is resolved at each connect.
    pub upstream: Authority,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// How long the response header may take, from the last byte of the request body.
    pub response_timeout: Duration,
    /// How long a pooled connection may have been idle to be used again.
    pub idle_timeout: Duration,
    /// How long a body may stand still, in either direction.
    pub stream_idle_timeout: Duration,
    /// How many bytes a request body must bring per 10 s on average after its first 30 s; 0 for no minimum.
    pub min_body_rate: u64,
    /// The largest request body, in bytes; `None` for no limit.
    pub max_body_size: Option<u64>,
    /// Peers whose forwarding headers are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the origin sees the token itself.
    pub forward_token: ForwardToken,
    /// Names that only we may set, beside the prefix `x-jwt-`.
    pub identity_names: Vec<HeaderName>,
}

/// What happens to the `Authorization` header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForwardToken {
    /// The origin gets it as it came.
    Keep,
    /// It ends here.
    Strip,
}
