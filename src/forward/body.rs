//! One wrapper per body: its limits, and why it ended.

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::pace::Pace;
use super::pool::Lease;
use super::request_head::HeadWriter;
use super::response_head::may_be_trailer;
use crate::deadline::Deadline;

/// Why a request body ended before it was complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Cut {
    /// Not valid HTTP.
    #[error("the request body is malformed")]
    Malformed,
    /// The client went away.
    #[error("the client went away")]
    Gone,
    /// Larger than accepted.
    #[error("the request body is too large")]
    TooLarge,
    /// It stood still for too long.
    #[error("the request body stood still")]
    Idle,
    /// It came too slowly.
    #[error("the request body came too slowly")]
    TooSlow,
}

/// What request bodies are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle: Duration,
    /// Bytes per 10 s; 0 for no minimum.
    pub(super) min_rate: u64,
    pub(super) max_size: Option<u64>,
    /// From the end of the request body to the response header.
    pub(super) response: Duration,
}

/// What the two ends of one exchange tell each other: the body why it was cut, the limits when they begin.
#[derive(Debug)]
pub(super) struct Exchange {
    cut: Cell<Option<Cut>>,
    is_complete: Cell<bool>,
    deadline: Deadline,
    limits: Limits,
}

impl Exchange {
    pub(super) fn new(deadline: Deadline, limits: Limits) -> Self {
        Self { cut: Cell::new(None), is_complete: Cell::new(false), deadline, limits }
    }

    /// Why the request body was cut, if it was.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// Whether the request has been passed on to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// The limit for what the origin is to do next.
    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// The next move is the origin's: to take what is passed on.
    pub(super) fn await_origin(&self) {
        self.deadline.arm(Instant::now() + self.limits.idle);
    }

    /// The request has been passed on: the origin's time begins.
    pub(super) fn complete(&self) {
        self.is_complete.set(true);
        self.deadline.arm(Instant::now() + self.limits.response);
    }
}

/// A request body on its way to the origin.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Option<Incoming>,
    exchange: Rc<Exchange>,
    head: Rc<HeadWriter>,
    received: u64,
    /// Armed only when there is something to wait for.
    idle: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    deadline: Deadline,
    pace: Pace,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, exchange: Rc<Exchange>, head: Rc<HeadWriter>) -> Self {
        let inner = Some(inner).filter(|body| !body.is_end_stream());
        Self { inner, exchange, head, received: 0, idle: None }
    }

    /// No body at all, as for a request that is sent again.
    pub(super) fn empty(exchange: Rc<Exchange>, head: Rc<HeadWriter>) -> Self {
        Self { inner: None, exchange, head, received: 0, idle: None }
    }

    fn cut(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.inner = None;
        self.exchange.cut.set(Some(cut));
        Poll::Ready(Some(Err(cut)))
    }

    fn complete(&mut self) {
        self.inner = None;
        self.idle = None;
        self.exchange.complete();
    }

    /// Counts what came; `None` when it is too much.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let size = frame.data_ref().map_or(0, Bytes::len);
        self.received += size as u64;
        if self.exchange.limits.max_size.is_some_and(|max| self.received > max) {
            return None;
        }
        let now = Instant::now();
        if let Some(waiting) = &mut self.idle {
            waiting.pace.receive(now);
            waiting.deadline.disarm();
        }
        self.exchange.await_origin();
        Some(frame.map_trailers(|trailers| self.filter(&trailers)))
    }

    fn filter(&self, trailers: &HeaderMap) -> HeaderMap {
        filter(trailers, |name| self.head.may_pass_as_trailer(name))
    }

    /// Nothing has come: for how long, and is that too long?
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<Cut> {
        let (now, limits) = (Instant::now(), self.exchange.limits);
        let waiting = self.idle.get_or_insert_with(|| {
            Box::new(Waiting { deadline: self.exchange.deadline.another(), pace: Pace::new(now) })
        });
        match waiting.pace.check(now, self.received, limits) {
            Err(cut) => Some(cut),
            Ok(next) => {
                // The client's move: its time is the one that counts.
                self.exchange.deadline.disarm();
                waiting.deadline.arm(next);
                // Registers the task.
                let _ = waiting.deadline.poll_elapsed(cx);
                None
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match Pin::new(&mut *inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let is_end = inner.is_end_stream();
                let Some(frame) = this.pass(frame) else { return this.cut(Cut::TooLarge) };
                if is_end {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.cut(cause(&error)),
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match this.wait(cx) {
                Some(cut) => this.cut(cut),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Whose fault it was: what the reader in front of hyper, or hyper, found to be no body is the client's.
fn cause(error: &hyper::Error) -> Cut {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Cut::Malformed,
        _ => Cut::Gone,
    }
}

/// A response body on its way to the client.
#[derive(Debug)]
pub struct ResponseBody {
    inner: Incoming,
    lease: Option<Lease>,
    exchange: Rc<Exchange>,
    idle: Option<Deadline>,
    /// When its token ends, for a stream.
    ends: Option<Deadline>,
    /// How it ends, once what came before has gone out.
    cut: Option<ResponseCut>,
}

/// Why a response body was cut; the client can tell, because its connection is too.
#[derive(Debug, thiserror::Error)]
pub enum ResponseCut {
    /// The origin's connection ended, or what it sent was no body.
    #[error("the origin's response was cut: {0}")]
    Origin(#[from] hyper::Error),
    /// It stood still for too long.
    #[error("the origin's response stood still")]
    Idle,
    /// Its token ended. Over HTTP/2 the source tells hyper how the stream is reset.
    #[error("the token of the stream has expired")]
    TokenExpired(#[source] h2::Error),
}

impl ResponseBody {
    /// `ends`: when it is cut, if it is a stream.
    pub(super) fn new(inner: Incoming, mut lease: Lease, exchange: Rc<Exchange>, ends: Option<Instant>) -> Self {
        if !exchange.is_complete() {
            lease.detach();
        }
        let ends = ends.map(|at| {
            let ends = exchange.deadline.another();
            ends.arm(at);
            ends
        });
        let mut body = Self { inner, lease: Some(lease), exchange, idle: None, ends, cut: None };
        if body.inner.is_end_stream() {
            body.complete();
        }
        body
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end(&self.exchange);
        }
    }

    /// What came before goes out first: with an error at hand, hyper drops what it has not yet written.
    fn cut<T>(&mut self, cut: ResponseCut, cx: &Context<'_>) -> Poll<T> {
        self.cut = Some(cut);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle.get_or_insert_with(|| {
            let idle = self.exchange.deadline.another();
            idle.arm(Instant::now() + self.exchange.limits.idle);
            idle
        });
        idle.poll_elapsed(cx)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseCut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseCut>>> {
        let this = self.get_mut();
        if let Some(cut) = this.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        if this.ends.as_ref().is_some_and(|ends| ends.poll_elapsed(cx).is_ready()) {
            this.ends = None;
            // The origin's connection closes, which tells it.
            this.lease = None;
            return this.cut(ResponseCut::TokenExpired(h2::Reason::CANCEL.into()), cx);
        }
        let polled = match &mut this.lease {
            Some(lease) => lease.poll_frame(cx, &mut this.inner),
            None => Pin::new(&mut this.inner).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.idle = None;
                if this.inner.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame.map_trailers(|trailers| filter(&trailers, may_be_trailer)))))
            }
            Poll::Ready(Some(Err(error))) => this.cut(error.into(), cx),
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_idle(cx).map(|()| Some(Err(ResponseCut::Idle))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

trait MapTrailers {
    fn map_trailers(self, map: impl FnOnce(HeaderMap) -> HeaderMap) -> Self;
}

impl MapTrailers for Frame<Bytes> {
    fn map_trailers(self, map: impl FnOnce(HeaderMap) -> HeaderMap) -> Self {
        match self.into_trailers() {
            Ok(trailers) => Self::trailers(map(trailers)),
            Err(frame) => frame,
        }
    }
}

fn filter(trailers: &HeaderMap, may_pass: impl Fn(&http::HeaderName) -> bool) -> HeaderMap {
    let mut passing = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers {
        if may_pass(name) {
            passing.append(name, value.clone());
        }
    }
    passing
}
