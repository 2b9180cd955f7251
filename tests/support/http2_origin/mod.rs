//! A real HTTP/2 origin, in clear text, in TLS or on a unix socket: it records what it received and says what it is told
//! to.

mod reply;
mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::reply::Http2Reply;
use self::stream::serve_stream;
use super::Certificate;
use super::eventually;
use super::origin::Received;
use super::server::{Server, listen_at, reserve};

/// An origin. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Http2Origin {
    addr: SocketAddr,
    certificate: Option<Certificate>,
    shared: Shared,
    server: Mutex<Option<Server>>,
    /// Keeps the port while nobody listens.
    _reserved: socket2::Socket,
}

/// What its connections know.
#[derive(Clone, Debug)]
struct Shared {
    state: Arc<Mutex<State>>,
    release: Arc<watch::Sender<usize>>,
    /// Counts how often every connection was told to end.
    farewells: Arc<watch::Sender<usize>>,
}

#[derive(Debug)]
struct State {
    default: Http2Reply,
    by_path: HashMap<String, Http2Reply>,
    received: Vec<Received>,
    begun: usize,
    opened: usize,
    closed: usize,
    /// Streams at this moment, and the most that there ever were.
    streams: usize,
    most_streams: usize,
    max_streams: u32,
    /// With what the other end reset streams.
    resets: Vec<Option<Reason>>,
    /// Bytes of patterns that were written.
    written: u64,
}

impl Http2Origin {
    /// In clear text; it answers `200 ok`.
    pub(crate) fn start() -> Self {
        Self::with(None)
    }

    /// In TLS.
    pub(crate) fn start_tls(certificate: &Certificate) -> Self {
        Self::with(Some(certificate.clone()))
    }

    fn with(certificate: Option<Certificate>) -> Self {
        let (reserved, addr) = reserve();
        let state = State {
            default: Http2Reply::ok("ok"),
            by_path: HashMap::new(),
            received: Vec::new(),
            begun: 0,
            opened: 0,
            closed: 0,
            streams: 0,
            most_streams: 0,
            max_streams: 1000,
            resets: Vec::new(),
            written: 0,
        };
        let shared = Shared {
            state: Arc::new(Mutex::new(state)),
            release: Arc::new(watch::Sender::new(0)),
            farewells: Arc::new(watch::Sender::new(0)),
        };
        let origin = Self { addr, certificate, shared, server: Mutex::default(), _reserved: reserved };
        origin.start_again();
        origin
    }

    /// Listens, after [`Http2Origin::stop`].
    pub(crate) fn start_again(&self) {
        let listener = listen_at(self.addr);
        let (shared, acceptor) =
            (self.shared.clone(), self.certificate.as_ref().map(|own| own.offering(&["h2"]).acceptor()));
        let serve = move |stopped| serve(listener, acceptor, shared, stopped);
        *self.server.lock().unwrap() = Some(Server::spawn("http2 origin", serve));
    }

    /// Is gone, with every connection, and refuses new ones.
    pub(crate) fn stop(&self) {
        drop(self.server.lock().unwrap().take());
        let mut state = self.state();
        state.closed = state.opened;
        state.streams = 0;
    }

    /// Says on every connection that it takes no more streams, and ends it when those that it has are over.
    pub(crate) fn say_farewell(&self) {
        self.shared.farewells.send_modify(|count| *count += 1);
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "h2c" };
        format!("{scheme}://{}", self.addr)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replies so from now on.
    pub(crate) fn reply(&self, reply: Http2Reply) {
        self.state().default = reply;
    }

    /// Replies so to this path from now on.
    pub(crate) fn reply_at(&self, path: &str, reply: Http2Reply) {
        self.state().by_path.insert(path.to_owned(), reply);
    }

    /// How many streams the connections that come may have.
    pub(crate) fn permit_streams(&self, count: u32) {
        self.state().max_streams = count;
    }

    /// Lets every reply go on that waits for this, or will.
    pub(crate) fn release(&self) {
        self.shared.release.send_modify(|count| *count += 1);
    }

    /// How many requests have begun to arrive.
    pub(crate) fn begun(&self) -> usize {
        self.state().begun
    }

    /// The requests that ended, well or not, in the order they did.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// The latest request that was received.
    pub(crate) fn last(&self) -> Received {
        self.state().received.last().cloned().expect("a request")
    }

    /// How many connections were opened.
    pub(crate) fn opened(&self) -> usize {
        self.state().opened
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        let state = self.state();
        state.opened - state.closed
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.state().streams
    }

    /// The most streams at a time.
    pub(crate) fn most_streams(&self) -> usize {
        self.state().most_streams
    }

    /// With what the other end reset streams; `None` where its connection ended.
    pub(crate) fn resets(&self) -> Vec<Option<Reason>> {
        self.state().resets.clone()
    }

    /// How many bytes of patterns it could write.
    pub(crate) fn written(&self) -> u64 {
        self.state().written
    }

    /// Waits until so many requests have begun to arrive.
    pub(crate) async fn has_begun(&self, count: usize) {
        eventually(&format!("{count} requests at the origin"), async || self.begun() >= count).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn reply_to(&mut self, path: &str) -> Http2Reply {
        self.begun += 1;
        self.streams += 1;
        self.most_streams = self.most_streams.max(self.streams);
        self.by_path.get(path).unwrap_or(&self.default).clone()
    }
}

async fn serve(
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Shared,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let stream = accepted.unwrap().0;
                stream.set_nodelay(true).unwrap();
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                connections.spawn_local(async move {
                    match acceptor {
                        None => serve_connection(stream, shared).await,
                        Some(acceptor) => {
                            // A client that wants another certificate is none of ours.
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            serve_connection(stream, shared).await;
                        }
                    }
                });
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            _ = &mut stopped => return,
        }
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Shared) {
    let max_streams = {
        let mut state = shared.state();
        state.opened += 1;
        state.max_streams
    };
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(max_streams)
        .initial_connection_window_size(1 << 20)
        .enable_connect_protocol()
        .handshake::<_, Bytes>(stream);
    if let Ok(mut connection) = handshake.await {
        let mut farewells = shared.farewells.subscribe();
        let (close, mut closed) = watch::channel(false);
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                request = connection.accept() => match request {
                    Some(Ok((request, respond))) => {
                        streams.spawn_local(serve_stream(request, respond, shared.clone(), close.clone()));
                    }
                    Some(Err(_)) | None => break,
                },
                Ok(()) = farewells.changed() => connection.graceful_shutdown(),
                Ok(()) = closed.changed() => break,
                Some(ended) = streams.join_next(), if !streams.is_empty() => {
                    if let Err(error) = ended {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
        // What the streams noticed of it is noted.
        drop(connection);
        while streams.join_next().await.is_some() {}
    }
    shared.state().closed += 1;
}
