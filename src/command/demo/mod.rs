//! `claimgate demo`: an issuer, an origin and the gate between them, on one machine, all real HTTP.

mod issuer;
mod origin;

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::issuer::DemoIssuer;
use crate::app::{App, Ended, StartError};
use crate::cli::Flags;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};

/// Where the gate listens when nothing else does; then any free port.
const GATE: &str = "127.0.0.1:4180";
const ISSUER: &str = "127.0.0.1:4190";
const ORIGIN: &str = "127.0.0.1:4191";
/// How often the issuer changes its key. Tokens live longer than that, and nobody notices.
const ROTATION: Duration = Duration::from_mins(1);
const AUDIENCE: &str = "demo";

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A socket failed.
    #[error("the demo needs three ports on 127.0.0.1: {0}")]
    Io(#[from] io::Error),
    /// A key could not be made.
    #[error("the demo's issuer cannot make a key: {0}")]
    Key(String),
    /// The gate's own settings are refused, which is a mistake of ours.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The gate's flags are refused, which is a mistake of ours.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The gate does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Runs all three until `shutdown`, and prints what to try.
pub async fn run(shutdown: impl Future<Output = ()>) -> Result<Ended, DemoError> {
    let clock = Clock::system();
    let issuer_listener = listen(ISSUER).await?;
    let origin_listener = listen(ORIGIN).await?;
    let issuer = Arc::new(DemoIssuer::new(issuer_listener.local_addr()?, AUDIENCE, clock.clone())?);
    let gate = gate(&issuer, origin_listener.local_addr()?, clock).await?;
    print_what_to_try(&mut io::stdout().lock(), gate.addr()?, issuer.address())?;

    let mut neighbours = JoinSet::new();
    let rotating = Arc::clone(&issuer);
    neighbours.spawn(async move { rotating.rotate_every(ROTATION).await });
    neighbours.spawn(serve(issuer_listener, move |request| issuer.answer(request)));
    neighbours.spawn(serve(origin_listener, origin::answer));
    Ok(gate.run(shutdown).await?)
}

async fn gate(issuer: &DemoIssuer, origin: SocketAddr, clock: Clock) -> Result<App, DemoError> {
    // Free for a moment is all that can be known; binding says the rest.
    let listen = listen(GATE).await?.local_addr()?;
    let (listen, upstream) = (listen.to_string(), format!("http://{origin}"));
    let flags = Flags::try_parse_from([
        "claimgate",
        "--upstream",
        &upstream,
        "--issuer",
        issuer.identifier(),
        "--audience",
        AUDIENCE,
        "--listen",
        &listen,
        "--admin-listen",
        "off",
        "--claim-header",
        "sub=X-User",
    ])?;
    Ok(App::bind(Config::resolve(&flags)?, clock)?)
}

/// The documented port, or any that is free.
async fn listen(address: &str) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(_in_use) => TcpListener::bind("127.0.0.1:0").await,
    }
}

async fn serve<F>(listener: TcpListener, answer: F)
where
    F: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let answer = answer.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request);
                async { Ok::<_, Infallible>(response) }
            });
            // Whoever breaks the connection off knows it.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

fn print_what_to_try(out: &mut impl Write, gate: SocketAddr, issuer: SocketAddr) -> io::Result<()> {
    writeln!(
        out,
        r#"claimgate demo: an issuer on {issuer}, a small origin, and the gate on {gate}. Ctrl-C ends it.

# 1. A valid token: 200, and the origin shows the claims that it received.
curl -i -H "Authorization: Bearer $(curl -s http://{issuer}/token)" http://{gate}/hello

# 2. An expired token: 401 "Token has expired", and since when.
curl -i -H "Authorization: Bearer $(curl -s 'http://{issuer}/token?expired')" http://{gate}/hello

# 3. No token: 401 "No token provided".
curl -i http://{gate}/hello

# 4. A forged identity beside a valid token: 200, and the origin sees alice, not mallory.
curl -i -H "X-User: mallory" -H "X_Jwt_Claims: e30" -H "Authorization: Bearer $(curl -s http://{issuer}/token)" http://{gate}/hello

# 5. A token that somebody else signed: 401 "the signature does not verify".
curl -i -H "Authorization: Bearer $(curl -s 'http://{issuer}/token?forged')" http://{gate}/hello

# The issuer changes its key every {} s; the lines above go on working.
"#,
        ROTATION.as_secs()
    )?;
    out.flush()
}
