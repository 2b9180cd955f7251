//! Listeners of their own: health for the kubelet, and the same with details and metrics for operators on loopback.

mod health;
mod metrics;
mod origin;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use self::origin::{HealthCheck, InvalidHealthCheck, OriginHealth, Way};
use crate::issuer::Issuer;
use crate::readiness::Readiness;
use crate::telemetry::metrics::Metrics;

/// The most connections of one listener: probes and a few people.
const MAX_CONNECTIONS: usize = 64;
/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole connection; whoever asks more connects anew.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// What a listener shows.
#[derive(Clone, Debug)]
pub struct View {
    /// Whether requests should come.
    pub readiness: Readiness,
    /// Whose keys are spoken of.
    pub issuers: Vec<Arc<Issuer>>,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// What is counted.
    pub metrics: Metrics,
    /// How the origin is asked for.
    pub origin: OriginHealth,
    /// Whether details and metrics are shown, and then only to this machine.
    pub verbose: bool,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, view: View) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a health listener could not be registered"),
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let health = Arc::new(health::Health { view, has_started: AtomicBool::new(false) });
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let health = Arc::clone(&health);
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let health = Arc::clone(&health);
                async move { Ok::<_, Infallible>(health.answer(&request).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            // Whoever breaks it off, or takes too long, knows it.
            let _ = timeout(CONNECTION_TIMEOUT, builder.serve_connection(TokioIo::new(stream), service)).await;
        });
    }
}
