//! A client's socket and its state: read through [`Wire`], its time limits kept.

mod hyper_io;
mod tunnel_io;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

pub(super) use self::hyper_io::ClientIo;
pub(super) use self::tunnel_io::TunnelIo;
use super::stream::Stream;
use super::wire::Wire;
use crate::deadline::Deadline;
use crate::denial::Denial;
use crate::interim::Interim;

/// How long what still comes after a refusal is read at the most.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// How long a connection is idle before it is taken for silent, and gives its buffers back.
const SILENCE: Duration = Duration::from_millis(200);

/// The most bytes that are put together to be written in one piece.
const FLAT_SIZE: usize = 4 * 1024;

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
    scratch: Scratch,
    wire: RefCell<Wire>,
    deadline: Deadline,
    limits: Limits,
    phase: Cell<Phase>,
    refusal: RefCell<Option<Denial>>,
    /// The task, when it waits for bytes that are here already once the answer is written.
    reader: RefCell<Option<Waker>>,
    must_linger: Cell<bool>,
    /// hyper has nothing left to do but to wait for the next head.
    awaits_head: Cell<bool>,
    /// An answer is here that the client does not read.
    is_write_stalled: Cell<bool>,
    /// The answer has no other end than the connection's, which has not come yet.
    owes_the_end: Cell<bool>,
    /// What is to be written before the answer.
    interim: Interim,
    has_said_goodbye: Cell<bool>,
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
    pub(super) fn new(stream: Stream, scratch: Scratch, max_head: usize, deadline: Deadline, limits: Limits) -> Self {
        Self {
            stream: RefCell::new(stream),
            scratch,
            wire: RefCell::new(Wire::new(max_head)),
            deadline,
            limits,
            phase: Cell::new(Phase::Head),
            refusal: RefCell::default(),
            reader: RefCell::default(),
            must_linger: Cell::new(false),
            awaits_head: Cell::new(false),
            is_write_stalled: Cell::new(false),
            owes_the_end: Cell::new(false),
            interim: Interim::default(),
            has_said_goodbye: Cell::new(false),
        }
    }

    /// Answers with this, whatever is asked.
    pub(super) fn refuse(&self, denial: Denial) {
        self.wire.borrow_mut().refuse();
        *self.refusal.borrow_mut() = Some(denial);
    }

    /// A request begins; why it is refused, when its head was.
    pub(super) fn begin(&self, has_body: bool) -> Option<Denial> {
        self.awaits_head.set(false);
        self.must_linger.set(has_body);
        self.interim.begin();
        self.enter(Phase::Serving);
        let refusal = self.refusal.take();
        if refusal.is_some() {
            self.must_linger.set(true);
        }
        refusal
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

    /// The answer is whole when the connection ends in order (RFC 9112 §6.3), and only then.
    pub(super) fn end_by_close(&self) {
        self.owes_the_end.set(true);
    }

    /// The answer has been handed over; the next request may come.
    pub(super) fn end(&self) {
        let answered = self.wire.borrow_mut().answered();
        self.refuse_if(answered);
        self.settle();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Whether no request is being answered, none has begun to arrive, and the last answer is on its way.
    pub(super) fn is_idle(&self) -> bool {
        let is_between = match self.phase.get() {
            Phase::Idle | Phase::Silent => true,
            Phase::Head => !self.wire.borrow().is_in_head(),
            Phase::Serving => false,
        };
        is_between && !self.is_write_stalled.get()
    }

    /// Whether its end was announced, or there was no reason to.
    pub(super) fn has_said_goodbye(&self) -> bool {
        self.has_said_goodbye.get()
    }

    /// Whether the client has said that it speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.wire.borrow().is_http2() || self.stream.borrow().is_http2()
    }

    /// Waits until a head is complete, or refused, or is none of HTTP/1; `false` when the client goes away before.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.wire.borrow().is_between() {
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(false);
            }
            self.begin_head();
        }
        Poll::Ready(true)
    }

    /// Ready when the client goes away before its answer is written. What else comes meanwhile is kept for later.
    ///
    /// hyper would look as well, into a buffer that it allocates for each request.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase.get() != Phase::Serving {
            return Poll::Pending;
        }
        loop {
            let wire = self.wire.borrow();
            if !wire.is_awaiting_answer() || wire.is_full() {
                return Poll::Pending;
            }
            drop(wire);
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }

    /// Reads some bytes into the wire; how many, 0 at the end.
    fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_received(cx, |bytes| {
            self.receive(bytes);
            bytes.len()
        })
    }

    /// Reads some bytes into the wire, and through it to hyper where that can be done at once.
    fn poll_through(&self, cx: &mut Context<'_>, cursor: &mut ReadBufCursor<'_>) -> Poll<io::Result<Through>> {
        self.poll_received(cx, |bytes| {
            if bytes.is_empty() {
                return Through::End;
            }
            let limit = cursor.remaining();
            let received = self.wire.borrow_mut().receive_through(bytes, limit, |head| cursor.put_slice(head));
            if let Ok(true) = received {
                return Through::Passed;
            }
            self.begin_head();
            self.refuse_if(received.map(drop));
            Through::Held
        })
    }

    fn poll_received<T>(&self, cx: &mut Context<'_>, then: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        let mut scratch = self.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
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
        let mut scratch = self.scratch.borrow_mut();
        let size = limit.min(scratch.len());
        let mut buffer = ReadBuf::new(scratch.get_mut(..size).unwrap_or_default());
        ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(then(buffer.filled())))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }

    /// Writes what is in several pieces. Small ones are put together before: the kernel takes one faster.
    pub(super) fn poll_write_pieces(
        &self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut *self.stream.borrow_mut();
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        if size > FLAT_SIZE {
            return Pin::new(stream).poll_write_vectored(cx, slices);
        }
        let mut scratch = self.scratch.borrow_mut();
        let mut whole = ReadBuf::new(&mut scratch);
        for slice in slices {
            whole.put_slice(slice);
        }
        Pin::new(stream).poll_write(cx, whole.filled())
    }

    /// Waits for the deadline; ready when the connection is silent, or to be closed without another word.
    ///
    /// A head that has begun is refused instead, and the task that reads is to go on.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Pause> {
        ready!(self.deadline.poll_elapsed(cx));
        let is_at_rest = self.awaits_head.get() && !self.is_write_stalled.get();
        if self.phase.get() == Phase::Idle && is_at_rest && self.limits.idle > SILENCE {
            self.enter(Phase::Silent);
            return Poll::Ready(Pause::Silence);
        }
        if self.phase.get() == Phase::Head && self.wire.borrow().is_in_head() {
            self.wire.borrow_mut().refuse();
            let late = format!("the head was not complete within {} s", self.limits.header.as_secs_f32());
            *self.refusal.borrow_mut() = Some(Denial::RequestTimeout(late.into()));
            self.deadline.arm(Instant::now() + LINGER_TIME);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Pause::End)
    }

    /// Once the message and its answer are done, the next one is awaited. To be called whenever bytes were passed on.
    fn settle(&self) {
        let gone_on = self.wire.borrow_mut().go_on();
        self.refuse_if(gone_on);
        let wire = self.wire.borrow();
        if self.phase.get() == Phase::Serving && wire.is_between() {
            self.enter(if wire.is_in_head() { Phase::Head } else { Phase::Idle });
        }
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
            (Phase::Idle, false) if self.awaits_head.get() => self.limits.idle.min(SILENCE),
            (Phase::Idle, false) => self.limits.idle,
            (Phase::Silent, false) => self.limits.idle.saturating_sub(SILENCE),
            (Phase::Serving, false) => return self.deadline.disarm(),
        };
        self.deadline.arm(Instant::now() + limit);
    }

    /// hyper waits for a head. Until it does, it may still hold a part of a body, or be closing.
    fn await_head(&self) {
        if !self.awaits_head.replace(true) && self.phase.get() == Phase::Idle {
            self.arm();
        }
    }

    /// A head has begun, if more has come than an empty line.
    fn begin_head(&self) {
        if matches!(self.phase.get(), Phase::Idle | Phase::Silent) && self.wire.borrow().is_in_head() {
            self.enter(Phase::Head);
        }
    }

    /// Keeps what comes behind a request that is being answered.
    fn receive(&self, bytes: &[u8]) {
        let received = self.wire.borrow_mut().receive(bytes);
        self.refuse_if(received);
    }

    fn refuse_if(&self, refused: Result<(), Denial>) {
        if let Err(denial) = refused {
            *self.refusal.borrow_mut() = Some(denial);
        }
    }

    /// The client does not read, or does again: each byte that it takes gives it more time.
    fn stalled(&self, is_stalled: bool) {
        self.is_write_stalled.set(is_stalled);
        if self.phase.get() != Phase::Head {
            self.arm();
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
    /// It has become something else than HTTP.
    Switch,
    /// It is over.
    End,
}

/// What became of bytes that were read.
enum Through {
    /// hyper has them.
    Passed,
    /// The wire has them.
    Held,
    /// There were none.
    End,
}

/// Where a worker's connections read to before their bytes have been looked at.
pub(super) type Scratch = Rc<RefCell<Box<[u8]>>>;
