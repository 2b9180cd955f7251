//! Listeners of their own: health for the kubelet, and the same with details and metrics for operators on loopback.

mod connections;
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
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use self::connections::{Activity, Connections};
pub use self::origin::{HealthCheck, InvalidHealthCheck, OriginHealth, Way};
use crate::background::Panics;
use crate::issuer::Issuer;
use crate::readiness::Readiness;
use crate::telemetry::metrics::Metrics;

/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest head, in bytes, and the least that hyper lets us set: with hyper's own limit, these connections would hold
/// 50 MiB.
const MAX_HEAD: usize = 8 * 1024;
/// For a whole connection; a client that asks more connects again.
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
    /// How often background tasks have panicked.
    pub panics: Panics,
    /// Is notified when a reload is asked for.
    pub reload: Arc<Notify>,
    /// Whether details and metrics are shown, and then only to this machine.
    pub verbose: bool,
}

/// Serves until it is dropped.
pub async fn serve(listener: Arc<TcpListener>, view: View) {
    let listener = match listener.try_clone().and_then(tokio::net::TcpListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a health listener could not be registered"),
    };
    let health = Arc::new(health::Health { view, has_started: AtomicBool::new(false) });
    let mut connections = Connections::default();
    loop {
        connections.make_room().await;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let activity = Activity::default();
        connections.spawn(activity.clone(), answer(stream, Arc::clone(&health), activity));
    }
}

async fn answer(stream: TcpStream, health: Arc<health::Health>, activity: Activity) {
    let service = service_fn(|request| {
        let (health, activity) = (Arc::clone(&health), activity.clone());
        async move {
            let _in_progress = activity.begin();
            Ok::<_, Infallible>(health.answer(&request).await)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    // A peer that breaks it off, or takes too long, knows it.
    let _ = timeout(CONNECTION_TIMEOUT, builder.serve_connection(TokioIo::new(stream), service)).await;
}
