//! What a connection is after 101: two streams of bytes, one in each direction, until both have ended.

mod flow;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::flow::Flow;
use super::expiry::KeyWatch;
use super::stream::OriginIo;
use super::websocket::{Close, FrameCounter};
use crate::deadline::Deadline;
use crate::liveness::{Liveness, Lookout};

/// How long a frame that has begun may take when the connection is to end.
const UNFINISHED: Duration = Duration::from_secs(5);
/// How long the answer to a close frame is awaited.
const ANSWER: Duration = Duration::from_secs(1);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the client.
    ToOrigin,
    /// From the origin.
    ToClient,
}

/// Why a tunnel has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TunnelEnd {
    /// Both ends have closed, or the client's connection broke.
    Closed,
    /// The origin's connection broke.
    Origin,
    /// The token has ended.
    TokenExpired,
    /// The key of the token was withdrawn.
    KeyWithdrawn,
    /// Nothing came from either end for too long.
    Idle,
    /// It was cut, as its future was told to.
    Cut,
}

/// How long a tunnel may last.
#[derive(Debug)]
pub(super) struct Limits {
    /// Not armed yet.
    pub(super) deadline: Deadline,
    /// Without a byte in either direction.
    pub(super) idle: Duration,
    /// When its token ends.
    pub(super) ends: Option<Instant>,
    /// Before that, if the key of its token is withdrawn.
    pub(super) key: Option<KeyWatch>,
}

/// The origin's end of a connection that has switched protocols.
#[derive(Debug)]
pub struct Tunnel(Box<Ends<OriginIo>>);

impl Tunnel {
    pub(super) fn new(ends: Ends<OriginIo>) -> Self {
        Self(Box::new(ends))
    }

    /// Joins the client to the origin until both have ended, or `cut` has. What goes either way is told to `count`.
    pub async fn join(
        self,
        client: impl AsyncRead + AsyncWrite + Liveness + Unpin,
        cut: impl Future<Output = ()>,
        count: impl FnMut(Direction, usize),
    ) -> TunnelEnd {
        self.0.join(client, cut, count).await
    }
}

/// The same over whatever leads to the origin.
#[derive(Debug)]
pub(super) struct Ends<O> {
    pub(super) origin: O,
    /// What came from it together with its answer.
    pub(super) received: Bytes,
    pub(super) is_websocket: bool,
    pub(super) limits: Limits,
}

impl<O: AsyncRead + AsyncWrite + Liveness + Unpin> Ends<O> {
    pub(super) async fn join(
        self,
        mut client: impl AsyncRead + AsyncWrite + Liveness + Unpin,
        cut: impl Future<Output = ()>,
        mut count: impl FnMut(Direction, usize),
    ) -> TunnelEnd {
        let Self { mut origin, received, is_websocket, limits } = self;
        let mut cut = pin!(cut);
        let mut joint = Joint::new(is_websocket, received, limits);
        let end = poll_fn(|cx| {
            if cut.as_mut().poll(cx).is_ready() {
                joint.say_goodbye(&mut client, &mut origin);
                return Poll::Ready(TunnelEnd::Cut);
            }
            joint.poll(cx, &mut client, &mut origin, &mut count)
        })
        .await;
        if !joint.to_origin.is_passed_on() {
            origin.abort();
        }
        // As far as it can be said without waiting: TLS tells an end from a cut.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut client).poll_shutdown(&mut cx);
        let _ = Pin::new(&mut origin).poll_shutdown(&mut cx);
        end
    }
}

/// Both directions and what ends them.
struct Joint {
    to_origin: Flow,
    to_client: Flow,
    limits: Limits,
    /// When a byte was last passed on.
    last: Instant,
    ending: Option<Ending>,
    lookout: Lookout,
}

/// The connection is about to end.
#[derive(Clone, Copy)]
struct Ending {
    end: TunnelEnd,
    /// Both have been told; their answers are awaited.
    is_told: bool,
    until: Instant,
}

impl Joint {
    fn new(is_websocket: bool, received: Bytes, limits: Limits) -> Self {
        let frames = is_websocket.then(FrameCounter::default);
        let to_client = Flow::new(frames.clone(), received);
        let to_origin = Flow::new(frames, Bytes::new());
        let last = limits.deadline.now();
        let joint = Self { to_origin, to_client, limits, last, ending: None, lookout: Lookout::default() };
        joint.arm();
        joint
    }

    fn arm(&self) {
        let idle = self.last + self.limits.idle;
        let next = match self.ending {
            Some(Ending { until, .. }) => until,
            None => self.limits.ends.map_or(idle, |ends| ends.min(idle)),
        };
        self.limits.deadline.arm(next);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut (impl AsyncRead + AsyncWrite + Liveness + Unpin),
        origin: &mut (impl AsyncRead + AsyncWrite + Liveness + Unpin),
        count: &mut impl FnMut(Direction, usize),
    ) -> Poll<TunnelEnd> {
        loop {
            let mut has_moved = false;
            let mut note = |direction, bytes| {
                has_moved = true;
                count(direction, bytes);
            };
            let out = self.to_origin.poll(cx, client, origin, |bytes| note(Direction::ToOrigin, bytes));
            let back = self.to_client.poll(cx, origin, client, |bytes| note(Direction::ToClient, bytes));
            if has_moved {
                self.last = self.limits.deadline.now();
            }
            let ended = match (out, back) {
                (Poll::Ready(Err(_)), _) | (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Some(TunnelEnd::Closed),
                (_, Poll::Ready(Err(_))) => Some(TunnelEnd::Origin),
                _ => self.gone(cx, client, origin),
            };
            if let Some(end) = ended {
                return Poll::Ready(self.ending.map_or(end, |ending| ending.end));
            }
            ready!(self.poll_limits(cx));
            if let Some(end) = self.is_over() {
                return Poll::Ready(end);
            }
        }
    }

    /// How it ends when an end is gone from which nothing is read: the other one takes nothing, or it has said all.
    fn gone(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut impl Liveness,
        origin: &mut impl Liveness,
    ) -> Option<TunnelEnd> {
        let (reads_client, reads_origin) = (self.to_origin.is_reading(), self.to_client.is_reading());
        if !reads_client && client.poll_gone(cx).is_ready() {
            return Some(TunnelEnd::Closed);
        }
        if !reads_origin && origin.poll_gone(cx).is_ready() {
            return Some(TunnelEnd::Origin);
        }
        if !(reads_client && reads_origin) {
            self.lookout.watch(cx, &self.limits.deadline);
        }
        None
    }

    /// Ready when a limit was met and there is something to do about it.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(ending) = &mut self.ending
            && !ending.is_told
            && self.to_origin.is_told()
            && self.to_client.is_told()
        {
            *ending = Ending { is_told: true, until: self.limits.deadline.now() + ANSWER, ..*ending };
            self.arm();
        }
        if self.is_answered() {
            return Poll::Ready(());
        }
        if self.ending.is_none()
            && let Some(key) = &self.limits.key
            && key.poll_withdrawn(cx).is_ready()
        {
            self.end(TunnelEnd::KeyWithdrawn, Close::KEY_WITHDRAWN, self.limits.deadline.now());
            self.arm();
            return Poll::Ready(());
        }
        ready!(self.limits.deadline.poll_elapsed(cx));
        if self.ending.is_none() {
            let now = self.limits.deadline.now();
            if self.limits.ends.is_some_and(|ends| ends <= now) {
                self.end(TunnelEnd::TokenExpired, Close::EXPIRED, now);
            } else if self.last + self.limits.idle <= now {
                self.end(TunnelEnd::Idle, Close::IDLE, now);
            }
            self.arm();
        }
        Poll::Ready(())
    }

    fn end(&mut self, end: TunnelEnd, close: Close, now: Instant) {
        self.ending = Some(Ending { end, is_told: false, until: now + UNFINISHED });
        self.to_origin.close(close.masked());
        self.to_client.close(close.unmasked());
    }

    fn is_answered(&self) -> bool {
        self.ending.is_some_and(|ending| ending.is_told) && self.to_origin.has_closed() && self.to_client.has_closed()
    }

    /// Whether nothing more is to be awaited of a connection that is about to end.
    fn is_over(&self) -> Option<TunnelEnd> {
        let ending = self.ending?;
        // What is no WebSocket has no way of saying that it is over.
        let is_over = self.is_answered() || !self.to_client.can_close() || ending.until <= self.limits.deadline.now();
        is_over.then_some(ending.end)
    }

    /// Closes at a frame boundary, as far as that can be done at once.
    fn say_goodbye(&mut self, client: &mut (impl AsyncWrite + Unpin), origin: &mut (impl AsyncWrite + Unpin)) {
        self.to_origin.close(Close::GOING_AWAY.masked());
        self.to_client.close(Close::GOING_AWAY.unmasked());
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.to_origin.poll_held(&mut cx, origin, |_| {});
        let _ = self.to_client.poll_held(&mut cx, client, |_| {});
        let _ = Pin::new(client).poll_flush(&mut cx);
        let _ = Pin::new(origin).poll_flush(&mut cx);
    }
}
