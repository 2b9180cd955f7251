//! `claimgate healthcheck`: for a probe that runs inside the container, where there is no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::HealthcheckFlags;

const ADMIN: &str = "127.0.0.1:9180";
/// The most of an answer that is shown.
const MAX_ANSWER: usize = 4096;

/// Why the gate does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// A flag cannot be read.
    #[error("--{flag} '{value}': {problem}")]
    Flag {
        /// Which.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Neither listener is there to be asked.
    #[error("both listeners are off; one of --health-listen and --admin-listen has to be there")]
    NobodyToAsk,
    /// No answer came.
    #[error("{address}: {cause}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// Why there was none.
        cause: String,
    },
    /// The gate says so itself.
    #[error("{address}: {status}: {text}")]
    NotReady {
        /// Who was asked.
        address: String,
        /// Its status code.
        status: u16,
        /// What it said.
        text: String,
    },
}

/// Asks once.
pub async fn run(flags: &HealthcheckFlags) -> Result<(), Unhealthy> {
    let address = address(flags)?;
    let wrong = |flag, value: &str, problem| Unhealthy::Flag { flag, value: value.to_owned(), problem };
    let patience = humantime::parse_duration(&flags.timeout);
    let patience = patience.map_err(|_| wrong("timeout", &flags.timeout, "it must be a duration such as 2s"))?;
    let request = Request::get(&*flags.path).header(HOST, "localhost").header("connection", "close");
    let request = request.body(Full::<Bytes>::default());
    let request = request.ok().filter(|_| flags.path.starts_with('/'));
    let request = request.ok_or_else(|| wrong("path", &flags.path, "it must be a path such as /readyz"))?;
    let asked = ask(&address, request, patience).await;
    let (status, text) = asked.map_err(|cause| Unhealthy::Unreachable { address: address.clone(), cause })?;
    if status.as_u16() == flags.status {
        Ok(())
    } else {
        Err(Unhealthy::NotReady { address, status: status.as_u16(), text: text.trim().replace('\n', "; ") })
    }
}

async fn ask(address: &str, request: Request<Full<Bytes>>, patience: Duration) -> Result<(StatusCode, String), String> {
    let asked = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let text =
            Limited::new(body, MAX_ANSWER).collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Ok((head.status, String::from_utf8_lossy(&text).into_owned()))
    };
    timeout(patience, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// Where a gate with these flags answers, as `HOST:PORT`.
fn address(flags: &HealthcheckFlags) -> Result<String, Unhealthy> {
    let health = read("health-listen", flags.health_listen.as_deref(), None)?;
    let admin = read("admin-listen", flags.admin_listen.as_deref(), Some(ADMIN))?;
    health.or(admin).ok_or(Unhealthy::NobodyToAsk)
}

fn read(flag: &'static str, value: Option<&str>, default: Option<&str>) -> Result<Option<String>, Unhealthy> {
    let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()).or(default) else { return Ok(None) };
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    if let Ok(address) = text.parse() {
        return Ok(Some(reachable(address).to_string()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            Ok(Some(format!("{}:{port}", if host.is_empty() { "127.0.0.1" } else { host })))
        }
        _ => {
            let problem = "it must be an address with its port, such as 127.0.0.1:9180";
            Err(Unhealthy::Flag { flag, value: text.to_owned(), problem })
        }
    }
}

/// Whoever listens on all addresses is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
