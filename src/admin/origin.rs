//! `/healthz/origin`: whether the origin is well, for a kubelet that cannot reach it.
//!
//! An origin behind the gate listens on loopback, where no probe from outside arrives. The gate asks for it, but only
//! what it was told at its start: the health listener is open to everybody in the cluster.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::form_urlencoded;

use crate::trust::explain_io;

/// Where it is asked for.
pub(super) const PATH: &str = "/healthz/origin";
/// No probe waits longer; most wait 1 s.
const TIMEOUT: Duration = Duration::from_secs(10);
const AGENT: &str = concat!("claimgate/", env!("CARGO_PKG_VERSION"), " (health check)");
/// The most of an answer over gRPC that is read.
const MAX_ANSWER: usize = 4096;

/// Where the origin is, and what may be checked there.
#[derive(Clone, Debug)]
pub struct OriginHealth {
    /// What is asked for.
    pub origin: Authority,
    /// How it is reached.
    pub way: Way,
    /// Whether HTTP/2 is spoken in clear text.
    pub is_http2: bool,
    /// Nothing else is.
    pub checks: Vec<HealthCheck>,
}

/// How the origin is reached.
#[derive(Clone)]
pub enum Way {
    /// The host and this port.
    Tcp(u16),
    /// The same in TLS.
    Tls(u16, Arc<ClientConfig>, ServerName<'static>),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => f.debug_tuple("Tcp").field(port).finish(),
            Self::Tls(port, ..) => f.debug_tuple("Tls").field(port).finish(),
            Self::Unix(path) => f.debug_tuple("Unix").field(path).finish(),
        }
    }
}

/// What leads there.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One thing that a kubelet can ask of a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HealthCheck {
    /// A GET is answered with 200 to 399, as the kubelet judges `httpGet`.
    Get(PathAndQuery),
    /// A connection is accepted.
    Tcp,
    /// This service is serving, by the gRPC health checking protocol; `""` is the server as a whole.
    Grpc(String),
}

/// What a check must look like.
#[derive(Debug, thiserror::Error)]
#[error("it must be /PATH, tcp, grpc or grpc:SERVICE")]
pub struct InvalidHealthCheck;

impl FromStr for HealthCheck {
    type Err = InvalidHealthCheck;

    fn from_str(text: &str) -> Result<Self, InvalidHealthCheck> {
        let is_service =
            |name: &&str| (1..128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        match text {
            "tcp" => Ok(Self::Tcp),
            "grpc" => Ok(Self::Grpc(String::new())),
            // A fragment would be dropped without a word.
            _ if text.starts_with('/') && !text.contains('#') => {
                text.parse().map(Self::Get).map_err(|_| InvalidHealthCheck)
            }
            _ => {
                let service = text.strip_prefix("grpc:").filter(is_service);
                service.map(|name| Self::Grpc(name.to_owned())).ok_or(InvalidHealthCheck)
            }
        }
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(target) => write!(f, "{target}"),
            Self::Tcp => f.write_str("tcp"),
            Self::Grpc(service) if service.is_empty() => f.write_str("grpc"),
            Self::Grpc(service) => write!(f, "grpc:{service}"),
        }
    }
}

impl HealthCheck {
    /// The query of `PATH` that asks for it.
    pub fn query(&self) -> String {
        let pair =
            |name, value: &str| form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        match self {
            // A plain path stays legible.
            Self::Get(target) => pair("path", target.as_str()).replace("%2F", "/"),
            Self::Tcp => "tcp".to_owned(),
            Self::Grpc(service) if service.is_empty() => "grpc".to_owned(),
            Self::Grpc(service) => pair("grpc", service),
        }
    }
}

impl OriginHealth {
    /// The check that a query asks for, if it was given at the start.
    pub(super) fn find(&self, query: &str) -> Option<&HealthCheck> {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (name, value) = pairs.next()?;
        let is_asked = |check: &&HealthCheck| match check {
            HealthCheck::Get(target) => name == "path" && value == target.as_str(),
            HealthCheck::Tcp => name == "tcp" && value.is_empty(),
            HealthCheck::Grpc(service) => name == "grpc" && value == service.as_str(),
        };
        if pairs.next().is_some() { None } else { self.checks.iter().find(is_asked) }
    }

    /// Whether the origin passes, or why not. Quotes nothing that the origin sent.
    pub(super) async fn run(&self, check: &HealthCheck) -> Result<(), String> {
        let checked = async {
            let connected = self.connect().await;
            let connected = connected
                .map_err(|error| format!("no connection to the origin: {}", explain_io(&error, "--upstream-ca-file")));
            let (stream, is_http2) = connected?;
            match check {
                HealthCheck::Tcp => Ok(()),
                HealthCheck::Get(target) if is_http2 => self.get_by_http2(stream, target).await,
                HealthCheck::Get(target) => self.get(stream, target).await,
                HealthCheck::Grpc(service) => self.serving(stream, service).await,
            }
        };
        timeout(TIMEOUT, checked).await.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
    }

    /// Whether HTTP/2 is spoken as well.
    async fn connect(&self) -> std::io::Result<(Box<dyn Stream>, bool)> {
        // Brackets are a URI's, not an address's.
        let host = self.origin.host().trim_start_matches('[').trim_end_matches(']');
        match &self.way {
            Way::Tcp(port) => Ok((Box::new(TcpStream::connect((host, *port)).await?), self.is_http2)),
            Way::Unix(path) => Ok((Box::new(UnixStream::connect(path).await?), self.is_http2)),
            Way::Tls(port, config, name) => {
                let stream = TcpStream::connect((host, *port)).await?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                Ok((Box::new(stream), is_http2))
            }
        }
    }

    fn uri(&self, target: &str) -> Result<Uri, String> {
        let scheme = if matches!(self.way, Way::Tls(..)) { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.origin.clone()).path_and_query(target).build().map_err(said)
    }

    async fn get_by_http2(&self, stream: Box<dyn Stream>, target: &PathAndQuery) -> Result<(), String> {
        let request = Request::get(self.uri(target.as_str())?).header(USER_AGENT, AGENT).header("accept", "*/*");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(said)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = request.body(Full::<Bytes>::default()).map_err(said)?;
        is_well(sender.send_request(request).await.map_err(said)?.status())
    }

    async fn get(&self, stream: Box<dyn Stream>, target: &PathAndQuery) -> Result<(), String> {
        let request = Request::get(target.as_str()).header(HOST, self.origin.as_str()).header(USER_AGENT, AGENT);
        let request = request.header("accept", "*/*").header("connection", "close").body(Full::<Bytes>::default());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request.map_err(said)?).await.map_err(said)?;
        is_well(response.status())
    }

    async fn serving(&self, stream: Box<dyn Stream>, service: &str) -> Result<(), String> {
        let uri = self.uri("/grpc.health.v1.Health/Check")?;
        let request = Request::post(uri).header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
        let message = Full::new(Bytes::from(health_check_request(service)));
        let request = request.header(USER_AGENT, AGENT).body(message);
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(said)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request.map_err(said)?).await.map_err(said)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the origin answered {}", response.status().as_u16()));
        }
        let (head, body) = response.into_parts();
        judge(&head.headers, body).await
    }
}

fn is_well(status: StatusCode) -> Result<(), String> {
    match status.as_u16() {
        200..400 => Ok(()),
        status => Err(format!("the origin answered {status}")),
    }
}

async fn judge(head: &HeaderMap, body: Incoming) -> Result<(), String> {
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(said)?;
    // A trailers-only answer has its status in the head.
    let trailers = body.trailers().unwrap_or(head);
    let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse::<u32>().ok());
    match (status, serving_status(&body.to_bytes())) {
        (Some(0), Some(1)) => Ok(()),
        (Some(0), _) => Err("the origin is not serving".to_owned()),
        (Some(12), _) => Err("the origin has no grpc.health.v1.Health".to_owned()),
        (Some(status), _) => Err(format!("the origin answered with gRPC status {status}")),
        (None, _) => Err("the origin answered without a gRPC status".to_owned()),
    }
}

fn said(error: impl fmt::Display) -> String {
    format!("the origin does not answer as it should: {error}")
}

/// `HealthCheckRequest { service = 1 }` in one message of gRPC.
fn health_check_request(service: &str) -> Vec<u8> {
    // Less than 128, see `FromStr`: one byte in every place.
    let length = u8::try_from(service.len()).unwrap_or(0);
    match length {
        0 => vec![0; 5],
        _ => [&[0, 0, 0, 0, length + 2, 0x0a, length], service.as_bytes()].concat(),
    }
}

/// The number of `HealthCheckResponse { status = 1 }`: 1 is SERVING.
fn serving_status(message: &[u8]) -> Option<u8> {
    match message {
        [0, 0, 0, 0, 2, 0x08, status @ 0..=127] => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(checks: &[&str]) -> OriginHealth {
        let checks = checks.iter().map(|check| check.parse().unwrap()).collect();
        OriginHealth { origin: Authority::from_static("127.0.0.1:3000"), way: Way::Tcp(3000), is_http2: false, checks }
    }

    #[test]
    fn only_what_was_given_at_the_start_is_found() {
        let health = health(&["/healthz", "/ready?full=1&a=b", "tcp", "grpc", "grpc:a.b.C"]);
        for (query, expected) in [
            ("path=/healthz", Some("/healthz")),
            ("path=%2Fhealthz", Some("/healthz")),
            ("path=/ready%3Ffull%3D1%26a%3Db", Some("/ready?full=1&a=b")),
            ("tcp", Some("tcp")),
            ("tcp=", Some("tcp")),
            ("grpc", Some("grpc")),
            ("grpc=a.b.C", Some("grpc:a.b.C")),
            ("", None),
            ("path=", None),
            ("path", None),
            ("path=/admin", None),
            ("path=/healthz/../admin", None),
            ("path=/healthz&path=/admin", None),
            ("path=/ready", None),
            ("path=/ready?full=1&a=b", None),
            ("grpc=other", None),
            ("tcp=1", None),
        ] {
            assert_eq!(health.find(query).map(ToString::to_string).as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn a_check_is_found_by_its_own_query() {
        let health = health(&["/healthz", "/a b+c".replace(' ', "%20").as_str(), "/ready?full=1&a=b", "tcp", "grpc:a"]);
        for check in &health.checks {
            assert_eq!(health.find(&check.query()), Some(check), "{}", check.query());
        }
        assert_eq!(health.checks[0].query(), "path=/healthz");
    }

    #[test]
    fn the_messages_of_grpc_are_those_of_its_health_protocol() {
        assert_eq!(health_check_request(""), [0, 0, 0, 0, 0]);
        assert_eq!(health_check_request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), None);
        assert_eq!(serving_status(&[]), None);
    }
}
