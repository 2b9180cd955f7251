//! What the two ends of one exchange tell each other.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::grpc::{self, Ends};
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
    /// For gRPC.
    call: Option<Box<Call>>,
}

/// What is known of a gRPC call beside.
#[derive(Debug)]
struct Call {
    ends: Option<Ends>,
    /// When something last came from either side.
    moved: Cell<Instant>,
    /// The response has begun: it has the limits from here on.
    is_answered: Cell<bool>,
    /// And has ended: what is left of the request has them again.
    has_ended: Cell<bool>,
}

impl Exchange {
    pub(super) fn new(deadline: Deadline, limits: Limits) -> Self {
        Self { cut: Cell::new(None), is_complete: Cell::new(false), deadline, limits, call: None }
    }

    /// One that is a gRPC call.
    pub(super) fn call(deadline: Deadline, limits: Limits, ends: Option<Ends>) -> Self {
        let call = Box::new(Call {
            ends,
            moved: Cell::new(deadline.now()),
            is_answered: Cell::new(false),
            has_ended: Cell::new(false),
        });
        let exchange = Self { call: Some(call), ..Self::new(deadline, grpc::limits(limits)) };
        if let Some(ends) = ends {
            exchange.deadline.arm(ends.at);
        }
        exchange
    }

    /// When it ends whatever happens.
    pub(super) fn ends(&self) -> Option<Ends> {
        self.call.as_ref()?.ends
    }

    /// Whether it is a gRPC call.
    pub(super) const fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// When something last came from either side, where that counts for both.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.call.as_ref().map(|call| call.moved.get())
    }

    /// Something came, from either side.
    pub(super) fn moves(&self, now: Instant) {
        if let Some(call) = &self.call {
            call.moved.set(now);
        }
    }

    /// Why the request body was cut, if it was.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Notes why the request body was cut.
    pub(super) fn cut_by(&self, cut: Cut) {
        self.cut.set(Some(cut));
    }

    /// Whether the request has been passed on to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// The limit for what the origin is to do next.
    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// The response begins.
    pub(super) fn answered(&self) {
        self.deadline.disarm();
        if let Some(call) = &self.call {
            call.is_answered.set(true);
        }
    }

    /// The response is complete.
    pub(super) fn ended(&self) {
        if let Some(call) = &self.call {
            call.has_ended.set(true);
        }
    }

    /// Whether it is a call whose response has begun and not ended.
    pub(super) fn is_being_answered(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_answered.get() && !call.has_ended.get())
    }

    /// When a call without a response ends.
    fn end(&self) -> Option<Instant> {
        let call = self.call.as_ref().filter(|call| !call.is_answered.get())?;
        Some(call.ends?.at)
    }

    fn arm(&self, at: Instant) {
        match self.end() {
            None => self.deadline.arm(at),
            // Armed anew, it would not elapse.
            Some(end) if end <= self.deadline.now() => {}
            Some(end) => self.deadline.arm(at.min(end)),
        }
    }

    /// The origin's time does not pass.
    pub(super) fn disarm(&self) {
        match self.end() {
            None => self.deadline.disarm(),
            Some(end) => self.arm(end),
        }
    }

    /// The next move is the origin's: to take what is passed on.
    pub(super) fn await_origin(&self) {
        self.arm(self.deadline.now() + self.limits.idle);
    }

    /// The request has been passed on: the origin's time begins.
    pub(super) fn complete(&self) {
        self.is_complete.set(true);
        self.arm(self.deadline.now() + self.limits.response);
    }
}
