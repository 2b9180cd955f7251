//! A client's socket and its state: read through [`Wire`], its time limits kept.

mod buffers;
mod content;
mod date;
mod departure;
mod output;
mod tunnel_io;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};

pub(super) use self::buffers::Buffers;
use self::buffers::HEAD_READ_SIZE;
pub(super) use self::date::Date;
pub(super) use self::tunnel_io::TunnelIo;
use super::allowance::Held;
use super::stream::Stream;
use super::wire::{Head, Spare, Wire};
use crate::deadline::Deadline;
use crate::denial::Denial;
use crate::interim::Interim;
use crate::liveness::Lookout;

/// For how long what still comes after a refusal is read at the most.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much of a body that is not taken is thrown away so that its connection may go on, in bytes.
const UNTAKEN_SIZE: usize = 64 * 1024;

/// How long a connection is idle before it is taken for silent, and gives its buffers back.
const SILENCE: Duration = Duration::from_millis(200);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// One connection: its socket and its state, shared by its requests and its task.
#[derive(Debug)]
pub(super) struct Connection {
    stream: RefCell<Stream>,
    buffers: Buffers,
    wire: RefCell<Wire>,
    /// A head that has begun, among those of the worker.
    unfinished: Held,
    deadline: Deadline,
    limits: Limits,
    phase: Cell<Phase>,
    refusal: RefCell<Option<Denial>>,
    must_linger: Cell<bool>,
    /// The answer is written and its end said: what still comes is thrown away.
    is_lingering: Cell<bool>,
    content: content::State,
    /// While nothing is read.
    lookout: RefCell<Lookout>,
    /// An answer is here that the client does not read.
    is_write_stalled: Cell<bool>,
    /// The answer has no other end than the connection's, which has not come yet.
    owes_the_end: Cell<bool>,
    /// What is to be written before the answer.
    interim: Interim,
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Between requests.
    Idle,
    /// The same, for [`SILENCE`] and longer.
    Silent,
    /// A head has begun; before the first one, the connection has.
    Head,
    /// A request is being answered.
    Serving,
}

impl Connection {
    /// A connection whose first head is awaited, until `deadline`.
    pub(super) fn new(
        stream: Stream,
        buffers: Buffers,
        max_head: usize,
        unfinished: Held,
        deadline: Deadline,
        limits: Limits,
    ) -> Self {
        Self {
            stream: RefCell::new(stream),
            buffers,
            wire: RefCell::new(Wire::new(max_head)),
            unfinished,
            deadline,
            limits,
            phase: Cell::new(Phase::Head),
            refusal: RefCell::default(),
            must_linger: Cell::new(false),
            is_lingering: Cell::new(false),
            content: content::State::default(),
            lookout: RefCell::default(),
            is_write_stalled: Cell::new(false),
            owes_the_end: Cell::new(false),
            interim: Interim::default(),
        }
    }

    /// Answers with this, whatever is asked.
    pub(super) fn refuse(&self, denial: Denial) {
        self.wire.borrow_mut().refuse();
        *self.refusal.borrow_mut() = Some(denial);
    }

    /// A request begins to be answered, or to be refused.
    pub(super) fn begin(&self, head: Result<&Head, ()>) {
        self.unfinished.release();
        self.must_linger.set(head.is_err() || !self.wire.borrow().is_awaiting_answer());
        self.content.begin(head.is_ok_and(|head| head.expects_continue));
        self.interim.begin();
        self.enter(Phase::Serving);
    }

    /// What follows the answer is not HTTP: what has come behind the request is a part of it.
    pub(super) fn switch(&self) {
        self.wire.borrow_mut().switch();
    }

    /// What the connection is waited for with. Before the first head it is armed already.
    pub(super) const fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// What is to be written before the answer.
    pub(super) fn interim(&self) -> &Interim {
        &self.interim
    }

    /// Whether the request has a body that has not come.
    pub(super) fn awaits_content(&self) -> bool {
        !self.wire.borrow().is_awaiting_answer()
    }

    /// The answer begins, and comes before whatever could still be said. One that ends with the connection is whole when that
    /// ends in order (RFC 9112 §6.3), and only then.
    pub(super) fn answer(&self, ends_with_connection: bool) {
        self.content.answer();
        self.owes_the_end.set(ends_with_connection);
    }

    /// The answer is written; the next head is awaited. Not before the whole message has come: whether it has.
    pub(super) fn end(&self) -> bool {
        let mut wire = self.wire.borrow_mut();
        let has_gone_on = wire.go_on();
        let phase = if wire.is_in_head() { Phase::Head } else { Phase::Idle };
        drop(wire);
        if has_gone_on {
            self.enter(phase);
        }
        has_gone_on
    }

    /// Whether no request is being answered, none has begun to arrive, and the last answer is on its way.
    pub(super) fn is_idle(&self) -> bool {
        let is_between = match self.phase.get() {
            Phase::Idle | Phase::Silent => true,
            Phase::Head => !self.wire.borrow().is_in_head(),
            // The answer is written, and all that is waited for is that the client closes.
            Phase::Serving => self.is_lingering.get(),
        };
        is_between && !self.is_write_stalled.get()
    }

    /// Whether the client has said that it speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.wire.borrow().is_http2() || self.stream.borrow().is_http2()
    }

    /// Waits until a head is complete, or refused, or is none of HTTP/1; `false` when the client goes away before.
    pub(super) fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let has_head = self.wire.borrow_mut().has_head();
            match has_head {
                Ok(false) if self.refusal.borrow().is_none() => self.begin_head(),
                Ok(_) => return Poll::Ready(true),
                Err(denial) => {
                    *self.refusal.borrow_mut() = Some(denial);
                    return Poll::Ready(true);
                }
            }
            if !matches!(ready!(self.poll_fill(cx, HEAD_READ_SIZE)), Ok(1..)) {
                return Poll::Ready(false);
            }
        }
    }

    /// Takes the next head, or why it is refused; `None` when the client goes away before.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>, spare: &mut Spare) -> Poll<Option<Result<Head, Denial>>> {
        let mut taken = self.wire.borrow_mut().take_head(spare);
        loop {
            if let Some(denial) = self.refusal.take() {
                return Poll::Ready(Some(Err(denial)));
            }
            if let Some(head) = taken.transpose() {
                return Poll::Ready(Some(head));
            }
            let received = self.poll_received(cx, HEAD_READ_SIZE, |bytes| {
                (!bytes.is_empty()).then(|| self.wire.borrow_mut().receive_head(bytes, spare))
            });
            taken = match ready!(received) {
                Ok(Some(taken)) => taken,
                Ok(None) | Err(_) => return Poll::Ready(None),
            };
            self.begin_head();
        }
    }

    /// Ready when the client goes away before its answer is written. A little of what else comes is kept for later, and the
    /// rest left in the socket.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase.get() != Phase::Serving {
            return Poll::Pending;
        }
        loop {
            let wire = self.wire.borrow();
            if !wire.is_awaiting_answer() {
                // A read of the body meets it, and what reads tells when the body has come to its end.
                self.content.watch(cx);
                drop(wire);
                return if self.content.is_being_read() { Poll::Pending } else { self.poll_departed(cx) };
            }
            let room = wire.room();
            drop(wire);
            if room == 0 {
                return self.poll_departed(cx);
            }
            if !matches!(ready!(self.poll_fill(cx, room)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }

    /// Reads at most `limit` bytes into the wire; how many, 0 at the end.
    fn poll_fill(&self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        self.poll_received(cx, limit, |bytes| {
            self.wire.borrow_mut().receive(bytes);
            bytes.len()
        })
    }

    fn poll_received<T>(
        &self,
        cx: &mut Context<'_>,
        limit: usize,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut scratch = self.buffers.read();
        let size = limit.min(scratch.len());
        let mut buffer = ReadBuf::new(scratch.get_mut(..size).unwrap_or_default());
        ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(then(buffer.filled())))
    }

    /// Reads at most `limit` bytes of what is no HTTP/1: first those that told.
    pub(super) fn poll_unframed<T>(
        &self,
        cx: &mut Context<'_>,
        limit: usize,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut wire = self.wire.borrow_mut();
        if wire.has_held() {
            return Poll::Ready(Ok(wire.give(limit, then)));
        }
        drop(wire);
        self.poll_received(cx, limit, then)
    }

    /// Waits for the deadline; ready when the connection is silent, or to be closed without another word.
    ///
    /// A head that has begun is refused instead, and the task that reads is to go on.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Pause> {
        if self.is_crowded_out(cx) {
            let limit = "unfinished heads hold as much as they may";
            self.give_up(Denial::Overloaded { retry_after: Duration::from_secs(1), limit: limit.into() }, cx);
            return Poll::Pending;
        }
        ready!(self.deadline.poll_elapsed(cx));
        if self.phase.get() == Phase::Idle && self.limits.idle > SILENCE {
            self.enter(Phase::Silent);
            return Poll::Ready(Pause::Silence);
        }
        if self.phase.get() == Phase::Head && self.wire.borrow().is_in_head() {
            let late = format!("the head was not complete within {} s", self.limits.header.as_secs_f32());
            self.give_up(Denial::RequestTimeout(late.into()), cx);
            return Poll::Pending;
        }
        Poll::Ready(Pause::End)
    }

    /// Refuses a head that has begun. The task that reads is to go on.
    fn give_up(&self, denial: Denial, cx: &Context<'_>) {
        self.refuse(denial);
        self.deadline.arm_in(LINGER_TIME);
        cx.waker().wake_by_ref();
    }

    /// Counts a head that has begun among those of the worker; whether it is the oldest of too many.
    fn is_crowded_out(&self, cx: &Context<'_>) -> bool {
        if self.phase.get() != Phase::Head {
            return false;
        }
        let wire = self.wire.borrow();
        if !wire.is_in_head() {
            return false;
        }
        let is_overdue = self.unfinished.is_overdue();
        if !is_overdue {
            self.unfinished.hold(wire.held_capacity(), cx);
        }
        is_overdue
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.arm();
    }

    /// Whose move is it? An answer that is handed over may still wait for a client that reads slowly.
    fn arm(&self) {
        let limit = match (self.phase.get(), self.is_write_stalled.get()) {
            (Phase::Head, _) => self.limits.header,
            (Phase::Serving | Phase::Idle | Phase::Silent, true) => self.limits.write,
            (Phase::Idle, false) => self.limits.idle.min(SILENCE),
            (Phase::Silent, false) => self.limits.idle.saturating_sub(SILENCE),
            (Phase::Serving, false) => return self.deadline.disarm(),
        };
        self.deadline.arm_in(limit);
    }

    /// A head has begun, if more has come than an empty line.
    fn begin_head(&self) {
        if matches!(self.phase.get(), Phase::Idle | Phase::Silent) && self.wire.borrow().is_in_head() {
            self.enter(Phase::Head);
        }
    }
}

impl Drop for Connection {
    /// To a client that would take the end of the connection for that of the answer, half an answer ends in a reset.
    fn drop(&mut self) {
        if self.owes_the_end.get() {
            let _ = SockRef::from(self.stream.get_mut().socket()).set_linger(Some(Duration::ZERO));
        } else {
            self.stream.get_mut().say_goodbye();
        }
    }
}

/// Why a connection has nothing more to say in HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pause {
    /// It has been idle for a while.
    Silence,
    /// It is over.
    End,
}
