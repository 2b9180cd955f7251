//! One HTTP/2 connection: its streams, its time limits, its end.

mod ahead;
mod errors;
mod farewell;
mod frames;
mod heads;
mod io;
mod request;
mod streams;
mod tracked;
mod tunnel;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;

use self::io::Http2Io;
use self::streams::{Ending, Exchange, Expired, Streams};
use self::tracked::Tracked;
use super::Handler;
use super::connection::ErrorChain;
use super::io::Connection;
use super::shutdown::{Stage, Watch};
use super::worker::Worker;
use crate::incoming::Incoming;
use crate::peer::Peer;

pub(super) use self::errors::{Errors, Reporter};
pub(super) use self::frames::PREFACE;

/// How many requests a client may have under way on one connection.
const MAX_STREAMS: u32 = 100;
/// The largest list of fields, in bytes as RFC 9113 §6.5.2 counts them.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// How many streams may be reset before they have been looked at (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// How many streams we may reset for what the client did wrong on them (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 1024;
/// What a client may send of one body, and of all, before it is taken: these bytes are held here.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What is held of one answer for a client that has made room and does not read.
const SEND_BUFFER: usize = 32 * 1024;
/// How often a client is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the connection, whose preface has been seen or agreed upon, until it closes.
pub(super) async fn serve<H: Handler>(
    connection: Rc<Connection>,
    watch: &Watch,
    peer: &Rc<Peer>,
    worker: &Rc<Worker<H>>,
) {
    let streams =
        Streams::new(Rc::clone(&connection), Rc::clone(peer), Rc::clone(&worker.reporter), worker.strangers.nothing());
    run(&connection, &streams, watch, peer, worker).await;
    if streams.are_cut() {
        linger(&connection, watch).await;
    }
}

/// Reads what a client still sends that is cut: a connection closed with bytes unread is reset, and what was said last is lost
/// (RFC 9112 §9.6).
async fn linger(connection: &Connection, watch: &Watch) {
    connection.linger();
    poll_fn(|cx| {
        if watch.stage(cx) == Stage::Cut || connection.poll_goodbye(cx).is_ready() {
            return Poll::Ready(());
        }
        connection.deadline().poll_elapsed(cx)
    })
    .await;
}

async fn run<H: Handler>(
    connection: &Rc<Connection>,
    streams: &Streams,
    watch: &Watch,
    peer: &Rc<Peer>,
    worker: &Rc<Worker<H>>,
) {
    let _ending = Ending(streams.clone());
    let io = Http2Io::new(Rc::clone(connection), streams.clone());
    let service = service_fn(|request| {
        let exchange = streams.begin();
        answer(request, Rc::clone(peer), Rc::clone(worker), exchange, streams.clone())
    });
    let mut http = pin!(builder(streams).serve_connection(io, service));
    let mut is_closing = false;
    poll_fn(|cx| {
        let stage = watch.stage(cx);
        if stage >= Stage::Announce && !is_closing {
            is_closing = true;
            http.as_mut().graceful_shutdown();
        }
        if streams.are_crowded_out(cx) && !is_closing {
            is_closing = true;
            http.as_mut().graceful_shutdown();
            streams.hurry();
        }
        if poll_all(http.as_mut(), streams, cx).is_ready() {
            return Poll::Ready(());
        }
        if stage >= Stage::CloseIdle {
            streams.hurry();
        }
        if stage == Stage::Cut {
            worker.drain.cut(streams.are_open());
            return Poll::Ready(());
        }
        match streams.poll_expired(cx) {
            Poll::Ready(Expired::Idle) => {
                http.as_mut().graceful_shutdown();
                streams.hurry();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Expired::Over) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// Drives the connection and its streams as far as they go. Ready at the end of the connection.
fn poll_all(
    mut http: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    streams: &Streams,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let mut odd = 0;
    loop {
        match http.as_mut().poll(cx) {
            // To a CONNECT that has a length hyper says that it is done: the connection goes on with all others.
            Poll::Ready(Ok(())) if odd < MAX_STREAMS && !streams.are_over() => {
                odd += 1;
                continue;
            }
            Poll::Ready(ended) => {
                let _ = ended.inspect_err(|error| tracing::debug!(error = %ErrorChain(error), "connection ended"));
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        // What they have written, and new ones, are the connection's to see to.
        if !streams.poll(cx) {
            return Poll::Pending;
        }
    }
}

fn builder(streams: &Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

async fn answer<H: Handler>(
    mut request: Request<hyper::body::Incoming>,
    peer: Rc<Peer>,
    worker: Rc<Worker<H>>,
    exchange: Exchange,
    streams: Streams,
) -> Result<Response<Tracked<H::Body>>, Infallible> {
    let upgrade = tunnel::take_upgrade(&mut request);
    let is_head = request.method() == Method::HEAD;
    let mut reply = match request::normalise(&mut request) {
        Ok(()) => {
            let _unanswered = streams.unanswered();
            let (head, body) = request.into_parts();
            worker.handler.handle(Rc::new(head), Incoming::http2(body, streams.ahead().demand()), &peer, None).await
        }
        Err(denial) => worker.handler.refuse(denial, &peer, Some(Rc::new(request.into_parts().0))),
    };
    if H::is_forwarded(&reply.body) {
        streams.has_passed();
    }
    if let Some(upgrade) = upgrade
        && let Some(tunnel) = H::take_tunnel(&mut reply.body)
    {
        streams.spawn(tunnel::serve::<H>(tunnel, upgrade, Rc::clone(&worker.drain), exchange.another()));
    }
    Ok(reply.map(|body| Tracked::new(body, exchange, is_head)).into())
}

#[cfg(test)]
mod tests;
