//! What comes before HTTP on a connection: a PROXY header and TLS, within the time of the first head.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

use super::proxy_protocol::{self, BadHeader, Source};
use super::shutdown::{Drain, Stage, Watch};
use super::stream::{Socket, Stream};
use super::tls::Tls;
use crate::deadline::Deadline;
use crate::denial::Denial;
use crate::peer::{Peer, TrustedProxies};

/// How long one that has begun may take when idle connections are closed.
const LAST_TIME: Duration = Duration::from_secs(1);

/// What every connection begins with.
#[derive(Debug)]
pub(super) struct Preamble {
    /// Who sends a PROXY header; `None` for no such header.
    pub(super) proxy_protocol: Option<TrustedProxies>,
    /// `None` for HTTP in the clear.
    pub(super) tls: Option<Arc<Tls>>,
}

/// A connection on which HTTP begins.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// When its first head must be complete.
    pub(super) deadline: Deadline,
    /// What it is answered, whatever it asks.
    pub(super) refusal: Option<Denial>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("its peer is not a --trusted-proxy")]
    Untrusted,
    #[error("PROXY protocol: {0}")]
    Header(#[from] BadHeader),
    #[error("TLS: {0}")]
    Tls(io::Error),
}

impl Preamble {
    /// Where there is none, the connection; else what [`Preamble::pass`] is to be given.
    pub(super) fn skip(
        &self,
        socket: Socket,
        peer: Peer,
        deadline: Deadline,
    ) -> Result<Opened, (Socket, Peer, Deadline)> {
        if self.proxy_protocol.is_none() && self.tls.is_none() {
            return Ok(Opened { stream: Stream::Plain(socket), peer, deadline, refusal: None });
        }
        Err((socket, peer, deadline))
    }

    /// Waits for it to pass; `None` when it does not, which the client sees as the end.
    pub(super) async fn pass(
        &self,
        (socket, peer, deadline): (Socket, Peer, Deadline),
        drain: &Rc<Drain>,
    ) -> Option<Opened> {
        let shown = peer.to_string();
        let (stream, peer, refusal) = match within(&deadline, &drain.watch(), self.read(socket, peer)).await? {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(peer = shown, %error, "a connection ended before HTTP began");
                return None;
            }
        };
        Some(Opened { stream, peer, deadline, refusal })
    }

    async fn read(&self, mut socket: Socket, mut peer: Peer) -> Result<(Stream, Peer, Option<Denial>), Failed> {
        if let Some(trusted) = &self.proxy_protocol {
            if !trusted.contain(&peer) {
                warn_of_untrusted(&peer);
                return Err(Failed::Untrusted);
            }
            if let Source::Client(address) = proxy_protocol::read(&mut socket).await? {
                peer = Peer::behind_proxy(address);
            }
        }
        let Some(tls) = &self.tls else { return Ok((Stream::Plain(socket), peer, None)) };
        if is_plain_http(&socket).await.map_err(Failed::Tls)? {
            let denial = Denial::MalformedRequest("plain HTTP, where TLS is spoken".into());
            return Ok((Stream::Plain(socket), peer, Some(denial)));
        }
        let stream = TlsAcceptor::from(tls.config()).accept(socket).await.map_err(Failed::Tls)?;
        peer.is_tls = true;
        Ok((Stream::Tls(Box::new(stream)), peer, None))
    }
}

/// A method, where a TLS record has its type, which is no letter. A unix socket cannot be looked into.
async fn is_plain_http(socket: &Socket) -> io::Result<bool> {
    let mut first = [0];
    match socket {
        Socket::Tcp(socket) => Ok(socket.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase()),
        Socket::Unix(_) => Ok(false),
    }
}

/// Waits until the deadline, or until the worker ends.
async fn within<T>(deadline: &Deadline, watch: &Watch, reading: impl Future<Output = T>) -> Option<T> {
    let mut reading = pin!(reading);
    let mut is_ending = false;
    poll_fn(|cx| {
        if let Poll::Ready(read) = reading.as_mut().poll(cx) {
            return Poll::Ready(Some(read));
        }
        let stage = watch.stage(cx);
        if stage >= Stage::CloseIdle && !is_ending {
            is_ending = true;
            deadline.arm_in(LAST_TIME);
        }
        if stage == Stage::Cut {
            return Poll::Ready(None);
        }
        deadline.poll_elapsed(cx).map(|()| None)
    })
    .await
}

/// Says once that somebody is kept out, who may be the proxy.
fn warn_of_untrusted(peer: &Peer) {
    /// One for all workers.
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    if !HAS_WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(%peer, "--proxy-protocol: closed, as it is not from a proxy; if it is yours: --trusted-proxy {peer}");
    }
}
