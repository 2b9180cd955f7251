//! The one assembler: from settings to a running gate.

mod control;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use self::control::Reload;
use crate::admin;
use crate::background::{Background, Panics};
use crate::clock::Clock;
use crate::config::Config;
use crate::deadline::Deadlines;
use crate::denial::Denial;
use crate::forward::{Places, PoolCounters, Upstream, Usage};
use crate::gateway::{self, AnswerBody, Gateway};
use crate::incoming::Incoming;
use crate::interim::Interim;
use crate::issuer::{InvalidSettings, Issuer, Issuers, Refresher};
use crate::liveness::Liveness;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::readiness::Readiness;
use crate::reply::Reply;
pub use crate::server::Ended;
use crate::server::{self, Connections, Descriptors, Handler, Listening, MakeHandler, Server, Tunnel};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::{Metrics, Samples, families};
use crate::telemetry::{Observer, dropped_diagnostics};
use crate::token::{CacheCounters, Verifier};

/// Why a gate with valid settings does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An issuer's keys could never be fetched.
    #[error("--issuer: {0}")]
    Issuer(#[from] InvalidSettings),
    /// A port cannot be had.
    #[error("--{flag} {address}: {source}{}", remedy(source, flag))]
    Bind {
        /// Which listener.
        flag: &'static str,
        /// Its address.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// What helps, for the errors that users make.
fn remedy(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another process listens there (`ss -ltnp` shows which): stop it, or choose another port with --{flag}"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("; ports below 1024 need the capability NET_BIND_SERVICE: choose one above with --{flag}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("; this machine has no such address: choose one that it has, or all with 0.0.0.0, in --{flag}")
        }
        _ => String::new(),
    }
}

/// A gate whose ports are bound and which does not serve yet.
pub struct App {
    config: Config,
    clock: Clock,
    issuers: Vec<(Arc<Issuer>, Refresher)>,
    data: Listening,
    health: Option<TcpListener>,
    admin: Option<TcpListener>,
    /// What an operator should know.
    notes: Vec<String>,
    access_log: Box<dyn io::Write + Send>,
    reload: Arc<Notify>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

impl App {
    /// Prepares everything and binds every port.
    pub fn bind(config: Config, clock: Clock) -> Result<Self, StartError> {
        let issuers = config.issuers.iter().map(|settings| Issuer::new(settings.clone(), clock.clone()));
        let issuers = issuers.collect::<Result<_, _>>()?;
        let listen = &config.server.listen;
        let data = Listening::open(listen).map_err(|source| not_bound("listen", listen, source))?;
        let health = config.health_listen.map(|address| bind("health-listen", address)).transpose()?;
        let admin = config.admin_listen.map(|address| bind("admin-listen", address)).transpose()?;
        let (clients, upstream) = (config.server.max_connections, config.forward.max_connections);
        let shortage = Descriptors::claim().shortage(clients, upstream);
        let complaint = config.server.tls.as_ref().and_then(|tls| tls.complaint(&clock));
        let notes = config.warnings().into_iter().chain(shortage).chain(complaint).collect();
        let (access_log, reload) = (Box::new(io::stdout()), Arc::default());
        Ok(Self { config, clock, issuers, data, health, admin, notes, access_log, reload })
    }

    /// Writes the access log to `output` instead of stdout, which a process may need for something else.
    #[must_use]
    pub fn with_access_log(self, output: impl io::Write + Send + 'static) -> Self {
        Self { access_log: Box::new(output), ..self }
    }

    /// Once notified, the gate reads its files again and fetches the keys of every issuer.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Where requests are taken; an error for a unix socket.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.data.local_addr()
    }

    /// Where the kubelet asks, if anywhere.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health.as_ref()?.local_addr().ok()
    }

    /// Where operators ask, if anywhere.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Serves until `shutdown` and through the drain after it. The runtime that polls this accepts connections and answers
    /// probes; what may have to wait runs beside it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<Ended> {
        self.say_what_is_served();
        let readiness = Readiness::new();
        let metrics = Metrics::new(self.clock.now());
        let forward = &self.config.forward;
        let places = Places::new(forward.max_connections, forward.max_waiting);
        // What there is none of yet, or never, is there with 0.
        metrics.collect(|samples| {
            add_cache(samples, &CacheCounters::default());
            add_pool(samples, &PoolCounters::default());
        });
        let used = places.clone();
        metrics.collect(move |samples| add_usage(samples, used.usage()));
        let panics = Panics::default();
        let (issuers, refreshers): (Vec<_>, Vec<_>) = self.issuers.into_iter().unzip();
        let view = admin::View {
            readiness: readiness.clone(),
            issuers: issuers.clone(),
            notes: self.notes,
            metrics: metrics.clone(),
            origin: self.config.origin_health.clone(),
            panics: panics.clone(),
            reload: Arc::clone(&self.reload),
            verbose: false,
        };
        // Both end with this function.
        let _ports = control::serve_ports(self.health, self.admin, &view);
        let reload = Reload {
            asked: self.reload,
            trusts: self.config.trusts().cloned().collect(),
            tls: self.config.server.tls.clone(),
            issuers: issuers.clone(),
            clock: self.clock.clone(),
        };
        let background = Background::start("background", control::tasks(refreshers, reload, &readiness), &panics)?;
        metrics.collect(move |samples| samples.count(&families::TASK_PANICS, &[], panics.total()));
        let log = AccessLog::start(&self.config.telemetry, self.access_log)?;
        let logged = log.clone();
        metrics.collect(move |samples| {
            samples.count(&families::LOG_DROPPED, &["access"], logged.dropped());
            samples.count(&families::LOG_DROPPED, &["diagnostics"], dropped_diagnostics());
        });
        let make = MakeGateway { config: Arc::new(self.config), issuers, clock: self.clock, log, metrics, places };
        let settings = make.config.server.clone();
        let server = Server::start(self.data, settings, &make)?;
        let connections = server.connections();
        make.metrics.collect(move |samples| add_connections(samples, &connections));
        let draining = async {
            shutdown.await;
            readiness.drain();
            tracing::info!("draining");
        };
        let ended = server.run(draining).await;
        background.stop();
        tracing::info!(?ended, "stopped");
        Ok(ended)
    }

    fn say_what_is_served(&self) {
        let address = |listener: Option<&TcpListener>| {
            listener.and_then(|listener| listener.local_addr().ok()).map_or("off".to_owned(), |addr| addr.to_string())
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = %self.data,
            health_listen = address(self.health.as_ref()),
            admin_listen = address(self.admin.as_ref()),
            settings = %self.config.changes(),
            "claimgate serves"
        );
        tracing::debug!(settings = %self.config.summary(), "all settings");
        for reading in self.config.readings() {
            tracing::info!("{reading}");
        }
        for warning in &self.notes {
            tracing::warn!("{warning}");
        }
    }
}

fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    server::bind(address).map_err(|source| not_bound(flag, &address, source))
}

fn not_bound(flag: &'static str, address: &dyn std::fmt::Display, source: io::Error) -> StartError {
    StartError::Bind { flag, address: address.to_string(), source }
}

/// Assembles one worker's gate on its thread.
#[derive(Clone)]
struct MakeGateway {
    config: Arc<Config>,
    issuers: Vec<Arc<Issuer>>,
    clock: Clock,
    log: AccessLog,
    metrics: Metrics,
    places: Places,
}

impl MakeHandler for MakeGateway {
    type Handler = Gateway;

    fn make(self, deadlines: &Deadlines) -> Gateway {
        let Self { config, issuers, clock, log, metrics, places } = self;
        let cache_size = config.token_cache_size / config.server.workers.get() as u64;
        let verifier = Verifier::new(
            Issuers::new(issuers.clone()),
            config.expectations.clone(),
            config.claims_headers.clone(),
            cache_size,
        );
        for issuer in &issuers {
            tokio::task::spawn_local(recall_streams(Arc::clone(issuer), deadlines.clone()));
        }
        let upstream = Upstream::new(&config.forward, &places, deadlines);
        if let Some(counters) = verifier.cache_counters().cloned() {
            metrics.collect(move |samples| add_cache(samples, &counters));
        }
        let counters = Arc::clone(upstream.counters());
        metrics.collect(move |samples| add_pool(samples, &counters));
        let observer = Observer::new(log, &metrics);
        let policy = Policy::new(config.policy.clone());
        Gateway::new(policy, verifier, upstream, &config.realm, clock, observer)
            .with_handshake_place(config.handshake_place.clone())
    }
}

/// Has the streams of one worker look whether their keys are still there, each time that an issuer has others.
async fn recall_streams(issuer: Arc<Issuer>, deadlines: Deadlines) {
    let mut seen = 0;
    loop {
        seen = issuer.other_keys(seen).await;
        deadlines.recall(Upstream::KEY_WITHDRAWAL);
    }
}

fn add_connections(samples: &mut Samples, connections: &Connections) {
    samples.count(&families::CLIENTS_ACCEPTED, &[], connections.accepted());
    samples.count(&families::ACCEPT_FAILURES, &[], connections.failures());
    for (scope, error, number) in connections.http2_errors() {
        samples.count(&families::HTTP2_ERRORS, &[scope, error], number);
    }
    samples.count(&families::CLIENTS, &[], connections.current());
}

fn add_cache(samples: &mut Samples, counters: &CacheCounters) {
    samples.count(&families::CACHE_HITS, &["accepted"], counters.accepted_hits.value());
    samples.count(&families::CACHE_HITS, &["refused"], counters.refused_hits.value());
    samples.count(&families::CACHE_MISSES, &[], counters.misses.value());
    samples.count(&families::CACHE_ENTRIES, &["accepted"], counters.accepted.value());
    samples.count(&families::CACHE_ENTRIES, &["refused"], counters.refused.value());
}

fn add_pool(samples: &mut Samples, counters: &PoolCounters) {
    samples.count(&families::UPSTREAM_OPENED, &[], counters.opened.value());
    samples.count(&families::UPSTREAM_REUSED, &[], counters.reused.value());
}

fn add_usage(samples: &mut Samples, usage: Usage) {
    let active = usage.taken.saturating_sub(usage.idle);
    samples.count(&families::UPSTREAM_CONNECTIONS, &["active"], active as u64);
    samples.count(&families::UPSTREAM_CONNECTIONS, &["idle"], usage.idle as u64);
    samples.count(&families::UPSTREAM_WAITING, &[], usage.waiting as u64);
    samples.count(&families::UPSTREAM_WAITS, &[], usage.waited);
}

impl Handler for Gateway {
    type Body = AnswerBody;
    type Tunnel = gateway::Tunnel;

    fn handle(
        &self,
        head: Rc<Parts>,
        body: Incoming,
        peer: &Peer,
        interim: Option<&Interim>,
    ) -> impl Future<Output = Reply<AnswerBody>> {
        Self::handle(self, head, body, peer, interim)
    }

    fn refuse(&self, denial: Denial, peer: &Peer, head: Option<Rc<Parts>>) -> Reply<AnswerBody> {
        Self::refuse(self, denial, peer, head)
    }

    fn is_forwarded(body: &AnswerBody) -> bool {
        body.is_forwarded()
    }

    fn take_tunnel(body: &mut AnswerBody) -> Option<gateway::Tunnel> {
        body.take_tunnel()
    }
}

impl Tunnel for gateway::Tunnel {
    fn run(
        self,
        client: impl AsyncRead + AsyncWrite + Liveness + Unpin,
        cut: impl Future<Output = ()>,
    ) -> impl Future<Output = ()> {
        Self::run(self, client, cut)
    }
}
