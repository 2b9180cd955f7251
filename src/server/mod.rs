//! Sockets and workers; knows nothing of tokens.
//!
//! One acceptor hands each connection to the worker with the fewest. A worker is a thread with a runtime, connections
//! and a [`Handler`] of its own, so that nothing on the path of a request is shared or locked.

mod allowance;
mod connection;
mod descriptors;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod http2;
mod io;
mod listener;
mod listening;
mod preamble;
mod proxy_protocol;
mod shutdown;
mod stream;
mod tls;
mod wire;
mod worker;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::descriptors::Descriptors;
pub use self::listener::{Connections, Ended, Server};
pub use self::listening::{Listen, Listening, bind};
pub use self::tls::{Tls, TlsFile, TlsSettings, TlsVersion, UnusableFile};
use crate::deadline::Deadlines;
use crate::denial::Denial;
use crate::incoming::Incoming;
use crate::interim::Interim;
use crate::liveness::Liveness;
use crate::peer::{Peer, TrustedProxies};
use crate::reply::Reply;

/// Where to listen, with how many threads, and how long a client may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where.
    pub listen: Listen,
    /// TLS towards clients; `None` for HTTP in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Who begins each connection with a PROXY header; `None` for no such header.
    pub proxy_protocol: Option<TrustedProxies>,
    /// How many worker threads.
    pub workers: NonZeroUsize,
    /// The most connections at a time, over all workers.
    pub max_connections: usize,
    /// From accept to the first complete head, and for a later head from its first byte.
    pub header_timeout: Duration,
    /// Between requests on one connection.
    pub idle_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub stream_idle_timeout: Duration,
    /// The largest request head, in bytes.
    pub max_header_size: usize,
    /// How long connections are still accepted after the signal to stop.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that, before they are cut.
    pub shutdown_grace_period: Duration,
}

/// Answers the requests of one worker.
pub trait Handler: 'static {
    /// What an answer's body is made of.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static;
    /// What an answer of 101 may lead to.
    type Tunnel: Tunnel;

    /// Answers one request. Dropped when the client goes away. `interim` is where it is told of interim responses, if it
    /// can be.
    fn handle(
        &self,
        head: Rc<Parts>,
        body: Incoming,
        peer: &Peer,
        interim: Option<&Interim>,
    ) -> impl Future<Output = Reply<Self::Body>>;

    /// Answers what never became a request; the connection then closes. Over HTTP/2 it may have a head, and only its
    /// stream ends.
    fn refuse(&self, denial: Denial, peer: &Peer, head: Option<Rc<Parts>>) -> Reply<Self::Body>;

    /// Whether an answer is the origin's, so that its request passed.
    fn is_forwarded(_: &Self::Body) -> bool {
        true
    }

    /// What goes on behind an answer of 101. Asked for once, before the answer is sent.
    fn take_tunnel(_: &mut Self::Body) -> Option<Self::Tunnel> {
        None
    }
}

/// What a connection is used for after HTTP (RFC 9110 §7.8).
pub trait Tunnel: 'static {
    /// Serves the client until it is over; soon after `cut`, which is when it must be.
    fn run(
        self,
        client: impl AsyncRead + AsyncWrite + Liveness + Unpin,
        cut: impl Future<Output = ()>,
    ) -> impl Future<Output = ()>;
}

/// There is none.
impl Tunnel for Infallible {
    async fn run(self, _: impl AsyncRead + AsyncWrite + Liveness + Unpin, _: impl Future<Output = ()>) {}
}

/// Makes each worker's [`Handler`], on that worker's thread and inside its runtime.
pub trait MakeHandler: Clone + Send + 'static {
    /// What it makes.
    type Handler: Handler;

    /// One worker's handler; `deadlines` are that worker's time limits.
    fn make(self, deadlines: &Deadlines) -> Self::Handler;
}
