//! One wrapper per body: its limits, and why it ended.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};

use super::answer::Answer;
pub(super) use super::exchange::{Cut, Exchange, Limits};
use super::expiry::KeyWatch;
use super::grpc::{self, Ends, Why};
use super::pace::Pace;
use super::request_head::HeadWriter;
use super::response_head::may_be_trailer;
use super::tunnel::Tunnel;
use crate::deadline::Deadline;
use crate::incoming::{Broken, Incoming};
use crate::reply::is_field_name;

/// A request body on its way to the origin. Most requests have none, and are spared to carry all that it takes.
#[derive(Debug)]
pub(super) struct RequestBody(Option<Box<Content>>);

#[derive(Debug)]
struct Content {
    inner: Option<Incoming>,
    exchange: Rc<Exchange>,
    head: Rc<HeadWriter>,
    /// What the origin has not acted upon and gets again, before all others.
    again: VecDeque<Frame<Bytes>>,
    received: u64,
    /// Armed only when there is something to wait for.
    idle: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    deadline: Deadline,
    pace: Pace,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, exchange: &Rc<Exchange>, head: &Rc<HeadWriter>) -> Self {
        if inner.is_end_stream() {
            return Self::empty();
        }
        let (exchange, head) = (Rc::clone(exchange), Rc::clone(head));
        let again = VecDeque::new();
        Self(Some(Box::new(Content { inner: Some(inner), exchange, head, again, received: 0, idle: None })))
    }

    /// No body at all, as for a request that is sent again.
    pub(super) const fn empty() -> Self {
        Self(None)
    }

    /// The same once more, with what has been taken of it.
    pub(super) fn again(mut self, mut frames: VecDeque<Frame<Bytes>>) -> Self {
        if let Some(content) = &mut self.0 {
            frames.append(&mut content.again);
            content.again = frames;
        }
        self
    }
}

impl Content {
    fn cut(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.inner = None;
        self.exchange.cut_by(cut);
        Poll::Ready(Some(Err(cut)))
    }

    fn complete(&mut self) {
        self.inner = None;
        self.idle = None;
        self.exchange.complete();
    }

    /// Counts what came, unless it is too much or what it names is no field.
    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Cut> {
        let size = frame.data_ref().map_or(0, Bytes::len);
        self.received += size as u64;
        if self.exchange.limits().max_size.is_some_and(|max| self.received > max) {
            return Err(Cut::TooLarge);
        }
        let now = self.exchange.deadline().now();
        self.exchange.moves(now);
        if let Some(waiting) = &mut self.idle {
            waiting.pace.receive(now);
            waiting.deadline.disarm();
        }
        self.exchange.await_origin();
        frame.filter_trailers(|name| self.head.may_pass_as_trailer(name)).ok_or(Cut::Malformed)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(frame) = self.again.pop_front() {
            // Its limits have been seen to; the time that counts begins again.
            if self.is_end() {
                self.exchange.complete();
            } else {
                self.exchange.await_origin();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match Pin::new(&mut *inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let is_end = inner.is_end_stream();
                match self.pass(frame) {
                    Err(cut) => self.cut(cut),
                    Ok(frame) => {
                        if is_end {
                            self.complete();
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                }
            }
            Poll::Ready(Some(Err(Broken::Malformed))) => self.cut(Cut::Malformed),
            Poll::Ready(Some(Err(Broken::Gone))) => self.cut(Cut::Gone),
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match self.wait(cx) {
                Some(cut) => self.cut(cut),
                None => Poll::Pending,
            },
        }
    }

    fn is_end(&self) -> bool {
        self.again.is_empty() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        if !self.again.is_empty() {
            return SizeHint::default();
        }
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }

    /// Nothing has come: for how long, and is that too long?
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<Cut> {
        let (now, limits) = (self.exchange.deadline().now(), self.exchange.limits());
        let waiting = self.idle.get_or_insert_with(|| {
            let deadline = self.exchange.deadline().another();
            Waiting { deadline, pace: Pace::new(now) }
        });
        if self.exchange.is_being_answered() {
            // It is the response that stands still, or not.
            waiting.pace.receive(now);
        }
        match waiting.pace.check(now, self.received, limits) {
            Err(cut) => Some(cut),
            Ok(next) => {
                // The client's move: its time is the one that counts.
                self.exchange.disarm();
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
        match &mut self.get_mut().0 {
            Some(content) => content.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|content| content.is_end())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |content| content.size_hint())
    }
}

/// A response body on its way to the client.
#[derive(Debug)]
pub struct ResponseBody {
    inner: Answer,
    exchange: Rc<Exchange>,
    idle: Option<Deadline>,
    /// What ends it before its own end, for a stream.
    ends: Option<Box<StreamEnd>>,
    /// What follows a 101.
    tunnel: Option<Tunnel>,
    /// How it ends, once what came before has gone out.
    cut: Option<Box<ResponseCut>>,
    /// That was told in trailers.
    is_told: bool,
}

/// What ends a stream before its own end.
#[derive(Debug)]
struct StreamEnd {
    time: Option<(Deadline, Why)>,
    key: Option<KeyWatch>,
}

impl StreamEnd {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<ResponseCut> {
        if let Some((deadline, why)) = &self.time
            && deadline.poll_elapsed(cx).is_ready()
        {
            return Poll::Ready(match why {
                Why::TokenExpired => ResponseCut::TokenExpired(h2::Reason::CANCEL.into()),
                Why::DeadlineExceeded => ResponseCut::DeadlineExceeded(h2::Reason::CANCEL.into()),
            });
        }
        let Some(key) = &self.key else { return Poll::Pending };
        key.poll_withdrawn(cx).map(|()| ResponseCut::KeyWithdrawn(h2::Reason::CANCEL.into()))
    }
}

/// Why a response body was cut; the client can tell, because its connection is too.
#[derive(Debug, thiserror::Error)]
pub enum ResponseCut {
    /// The origin's connection ended, or what it sent was no body.
    #[error("the origin's response was cut: {0}")]
    Origin(#[source] Box<dyn Error + Send + Sync>),
    /// It stood still for too long.
    #[error("the origin's response stood still")]
    Idle,
    /// Its token ended. Over HTTP/2 the source tells hyper how the stream is reset.
    #[error("the token of the stream has expired")]
    TokenExpired(#[source] h2::Error),
    /// The key of its token was withdrawn.
    #[error("the key of the stream's token was withdrawn")]
    KeyWithdrawn(#[source] h2::Error),
    /// It was a gRPC call and its deadline had passed.
    #[error("the deadline of the call has passed")]
    DeadlineExceeded(#[source] h2::Error),
}

impl ResponseBody {
    /// `ends`: when it is cut, if it is a stream; `key`: before that, if its token's key is withdrawn.
    pub(super) fn new(mut inner: Answer, exchange: Rc<Exchange>, ends: Option<Ends>, key: Option<KeyWatch>) -> Self {
        if !exchange.is_complete() {
            inner.detach();
        }
        let time = ends.map(|Ends { at, why }| {
            let deadline = exchange.deadline().another();
            deadline.arm(at);
            (deadline, why)
        });
        let ends = (time.is_some() || key.is_some()).then(|| Box::new(StreamEnd { time, key }));
        let mut body = Self { inner, exchange, idle: None, ends, tunnel: None, cut: None, is_told: false };
        if body.inner.is_end_stream() {
            body.complete();
        }
        body
    }

    /// Of a 101, which has none; what follows it is no HTTP.
    pub(super) const fn switched(inner: Answer, exchange: Rc<Exchange>, tunnel: Tunnel) -> Self {
        let tunnel = Some(tunnel);
        Self { inner, exchange, idle: None, ends: None, tunnel, cut: None, is_told: false }
    }

    /// What follows it, when that is no HTTP.
    pub const fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    fn complete(&mut self) {
        self.exchange.ended();
        self.inner.complete(&self.exchange);
    }

    /// What came before goes out first: with an error at hand, hyper drops what it has not yet written.
    fn cut<T>(&mut self, cut: ResponseCut, cx: &Context<'_>) -> Poll<T> {
        self.cut = Some(Box::new(cut));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle.get_or_insert_with(|| {
            let idle = self.exchange.deadline().another();
            idle.arm_in(self.exchange.limits().idle);
            idle
        });
        ready!(idle.poll_elapsed(cx));
        match self.exchange.moved().map(|moved| moved + self.exchange.limits().idle) {
            // Something came from the client meanwhile.
            Some(later) if idle.now() < later => {
                idle.arm(later);
                idle.poll_elapsed(cx)
            }
            _ => Poll::Ready(()),
        }
    }

    /// How it ended, when that was told in trailers.
    pub fn told(&self) -> Option<&ResponseCut> {
        self.cut.as_deref().filter(|_| self.is_told)
    }

    /// As the client is told.
    fn end(&mut self, cut: Box<ResponseCut>) -> Result<Frame<Bytes>, ResponseCut> {
        let Some(trailers) = self.exchange.is_call().then(|| grpc::trailers(&cut)).flatten() else { return Err(*cut) };
        (self.cut, self.is_told) = (Some(cut), true);
        Ok(Frame::trailers(trailers))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseCut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseCut>>> {
        let this = self.get_mut();
        if this.is_told {
            return Poll::Ready(None);
        }
        if let Some(cut) = this.cut.take() {
            return Poll::Ready(Some(this.end(cut)));
        }
        if let Some(ends) = this.ends.as_deref()
            && let Poll::Ready(cut) = ends.poll(cx)
        {
            this.ends = None;
            return this.cut(cut, cx);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.idle = None;
                let Some(frame) = frame.filter_trailers(may_be_trailer) else {
                    return this.cut(ResponseCut::Origin("the name of a trailer".into()), cx);
                };
                if this.exchange.is_call() {
                    this.exchange.moves(this.exchange.deadline().now());
                }
                if this.inner.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.cut(ResponseCut::Origin(error.into_cause()), cx),
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_idle(cx).map(|()| Some(this.end(Box::new(ResponseCut::Idle)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        // A cut that is still to be seen is no end, though the origin has sent all that it will.
        (self.cut.is_none() || self.is_told) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

trait FilterTrailers: Sized {
    /// The frame without the trailers that may not pass; `None` if one of them has a name that no field has.
    fn filter_trailers(self, may_pass: impl Fn(&HeaderName) -> bool) -> Option<Self>;
}

impl FilterTrailers for Frame<Bytes> {
    fn filter_trailers(self, may_pass: impl Fn(&HeaderName) -> bool) -> Option<Self> {
        let trailers = match self.into_trailers() {
            Ok(trailers) => trailers,
            Err(frame) => return Some(frame),
        };
        let mut passing = HeaderMap::with_capacity(trailers.len());
        for (name, value) in &trailers {
            if !is_field_name(name) {
                return None;
            }
            if may_pass(name) {
                passing.append(name, value.clone());
            }
        }
        Some(Self::trailers(passing))
    }
}
