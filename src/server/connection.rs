//! One client connection: from its first head to close.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::io::{Connection, TunnelIo};
use super::preamble::Opened;
use super::shutdown::{Drain, Stage, Watch};
use super::worker::Worker;
use super::{Handler, Tunnel as _, http1, http2};
use crate::peer::Peer;

/// One connection's state, and who is at its other end.
pub(super) fn open<H>(opened: Opened, worker: &Worker<H>) -> (Rc<Connection>, Rc<Peer>) {
    let connection = worker.connection(opened.stream, opened.deadline);
    if let Some(denial) = opened.refusal {
        connection.refuse(denial);
    }
    (Rc::new(connection), Rc::new(opened.peer))
}

/// Serves one connection until it closes.
pub(super) async fn serve<H: Handler>(connection: Rc<Connection>, peer: Rc<Peer>, worker: Rc<Worker<H>>) {
    let watch = worker.drain.watch();
    // What a request takes is made for a client that has said what it wants: one that is silent, at first or later, or takes
    // its time, goes without.
    while has_head(&connection, &watch).await {
        if connection.is_http2() {
            return Box::pin(http2::serve(connection, &watch, &peer, &worker)).await;
        }
        match Box::pin(http1::serve(&connection, &watch, &peer, &worker)).await {
            http1::Pause::Silence => {}
            http1::Pause::Switch(tunnel) => {
                return Box::pin(serve_tunnel::<H>(tunnel, connection, &watch, &worker.drain)).await;
            }
            // What the request took is given back by now.
            http1::Pause::Goodbye => return say_goodbye(&connection, &watch, &worker.drain).await,
            http1::Pause::End => return,
        }
    }
}

/// Sees to it that the last answer arrives. A shutdown does not wait for that.
async fn say_goodbye(connection: &Connection, watch: &Watch, drain: &Drain) {
    poll_fn(|cx| {
        if connection.poll_goodbye(cx).is_ready() {
            return Poll::Ready(());
        }
        match watch.stage(cx) {
            Stage::CloseIdle if connection.is_idle() => Poll::Ready(()),
            Stage::Cut => {
                drain.cut(!connection.is_idle());
                Poll::Ready(())
            }
            _ => connection.poll_expired(cx).map(drop),
        }
    })
    .await;
}

/// A tunnel is one long answer, and cut as others are.
async fn serve_tunnel<H: Handler>(tunnel: H::Tunnel, connection: Rc<Connection>, watch: &Watch, drain: &Drain) {
    let cut = poll_fn(|cx| match watch.stage(cx) {
        Stage::Cut => {
            drain.cut(true);
            Poll::Ready(())
        }
        _ => Poll::Pending,
    });
    tunnel.run(TunnelIo::new(connection), cut).await;
}

/// Waits for a head: within the time of a first one, or of an idle connection and then of a head.
async fn has_head(connection: &Connection, watch: &Watch) -> bool {
    poll_fn(|cx| {
        // Agreed upon before the first byte.
        if connection.is_http2() {
            return Poll::Ready(true);
        }
        // A request that is here is answered, even when idle connections are being closed.
        if let Poll::Ready(has_begun) = connection.poll_begun(cx) {
            return Poll::Ready(has_begun);
        }
        if watch.stage(cx) >= Stage::CloseIdle {
            return Poll::Ready(false);
        }
        connection.poll_expired(cx).map(|_| false)
    })
    .await
}

/// An error with its causes, for the log.
pub(super) struct ErrorChain<'e>(pub(super) &'e (dyn std::error::Error + 'static));

impl std::fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
