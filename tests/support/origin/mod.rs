//! A real HTTP/1.1 origin on a bare socket: it records what it received, byte for byte, and says what it is told to.

mod connection;
mod pattern;
mod reply;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::BytesMut;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::connection::Connection;
pub(crate) use self::connection::KEPT_BODY;
pub(crate) use self::pattern::{is_pattern, pattern};
pub(crate) use self::reply::Reply;
use self::stream::Listener;
use super::Certificate;
use super::eventually;
use super::server::{Server, listen_at, reserve};

/// An origin. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Origin {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    release: watch::Sender<usize>,
    /// Counts how often whoever waited for another request was sent away.
    dismissals: watch::Sender<usize>,
    server: Mutex<Option<Server>>,
    certificate: Option<Certificate>,
    socket: Option<PathBuf>,
    /// Keeps the port while nobody listens.
    _reserved: socket2::Socket,
}

#[derive(Debug, Default)]
struct State {
    default: Reply,
    /// Before all others, each once.
    next: VecDeque<Reply>,
    by_path: HashMap<String, Reply>,
    received: Vec<Received>,
    /// Requests whose head is here, whether or not their body is.
    begun: usize,
    opened: usize,
    closed: usize,
    /// Connections that ended before their reply did.
    abandoned: usize,
    /// Bytes of patterns that were written.
    written: u64,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    /// In the order and spelling they came in.
    pub(crate) headers: Vec<(String, String)>,
    /// The first 64 KiB.
    pub(crate) body: Vec<u8>,
    pub(crate) body_length: u64,
    /// Whether every byte was that of the [`pattern`].
    pub(crate) is_pattern: bool,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether the body came to its end.
    pub(crate) is_complete: bool,
    /// The head, byte for byte (one byte, one character).
    pub(crate) head: String,
}

impl Origin {
    /// One that answers `200 ok`.
    pub(crate) fn start() -> Self {
        Self::with(None, None)
    }

    /// The same in TLS.
    pub(crate) fn start_tls(certificate: &Certificate) -> Self {
        Self::start_tls_offering(certificate, &["http/1.1"])
    }

    /// The same, offering these protocols, whatever it speaks.
    pub(crate) fn start_tls_offering(certificate: &Certificate, protocols: &[&str]) -> Self {
        Self::with(Some(certificate.offering(protocols)), None)
    }

    /// The same on a unix socket.
    pub(crate) fn start_unix() -> Self {
        // The path of a socket is short, and a build's folder need not be.
        let path = std::env::temp_dir().join(format!("origin-{:016x}.sock", fastrand::u64(..)));
        Self::with(None, Some(path))
    }

    fn with(certificate: Option<Certificate>, socket: Option<PathBuf>) -> Self {
        let (reserved, addr) = reserve();
        let origin = Self {
            addr,
            state: Arc::default(),
            release: watch::Sender::new(0),
            dismissals: watch::Sender::new(0),
            server: Mutex::default(),
            certificate,
            socket,
            _reserved: reserved,
        };
        origin.start_again();
        origin
    }

    /// Listens, after [`Origin::stop`].
    pub(crate) fn start_again(&self) {
        let listener = match &self.socket {
            None => Listener::Tcp(listen_at(self.addr), self.certificate.clone()),
            Some(path) => Listener::unix(path),
        };
        let state = Arc::clone(&self.state);
        let (released, dismissals) = (self.release.subscribe(), self.dismissals.subscribe());
        let serve = move |stopped| serve(listener, state, released, dismissals, stopped);
        *self.server.lock().unwrap() = Some(Server::spawn("origin", serve));
    }

    /// Is gone, with every connection, and refuses new ones.
    pub(crate) fn stop(&self) {
        drop(self.server.lock().unwrap().take());
        let mut state = self.state();
        state.closed = state.opened;
    }

    /// Closes every connection that waits for another request, as a server does that has waited for long.
    pub(crate) fn close_idle(&self) {
        self.dismissals.send_modify(|count| *count += 1);
    }

    pub(crate) fn url(&self) -> String {
        match (&self.socket, &self.certificate) {
            (Some(path), _) => format!("unix:{}", path.display()),
            (None, Some(_)) => format!("https://{}", self.addr),
            (None, None) => format!("http://{}", self.addr),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replies so from now on.
    pub(crate) fn reply(&self, reply: Reply) {
        self.state().default = reply;
    }

    /// Replies so to the next requests, one after another, before all others.
    pub(crate) fn reply_next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state().next.extend(replies);
    }

    /// Replies so to this target from now on.
    pub(crate) fn reply_at(&self, target: &str, reply: Reply) {
        self.state().by_path.insert(target.to_owned(), reply);
    }

    /// Lets every reply go on that waits for this, or will.
    pub(crate) fn release(&self) {
        self.release.send_modify(|count| *count += 1);
    }

    /// How many requests have begun to arrive.
    pub(crate) fn begun(&self) -> usize {
        self.state().begun
    }

    /// The requests that ended, well or not, in the order they did.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// The one request that was received.
    pub(crate) fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "one request: {received:#?}");
        received.into_iter().next().unwrap()
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

    /// How many connections the other end closed in the middle of an exchange.
    pub(crate) fn abandoned(&self) -> usize {
        self.state().abandoned
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
        self.state.lock().unwrap()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl State {
    fn reply_to(&mut self, target: &str) -> Reply {
        self.begun += 1;
        let next = self.next.pop_front().or_else(|| self.by_path.get(target).cloned());
        next.unwrap_or_else(|| self.default.clone())
    }
}

impl Received {
    /// The one field of this name, in whatever spelling.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers_named(name);
        assert!(all.len() <= 1, "one {name}: {}", self.head);
        all.first().copied()
    }

    /// All fields of this name, in whatever spelling.
    pub(crate) fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

async fn serve(
    listener: Listener,
    state: Arc<Mutex<State>>,
    released: watch::Receiver<usize>,
    dismissals: watch::Receiver<usize>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = listener.listen();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                state.lock().unwrap().opened += 1;
                let (state, released, dismissals) = (Arc::clone(&state), released.clone(), dismissals.clone());
                connections.spawn_local(async move {
                    // Whoever wants another certificate goes away.
                    let Some(stream) = accepted.ready().await else {
                        state.lock().unwrap().closed += 1;
                        return;
                    };
                    let connection = Connection { stream, buffer: BytesMut::new() };
                    connection.run(state, released, dismissals).await;
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
