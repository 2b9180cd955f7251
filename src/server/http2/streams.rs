//! The streams of one connection: polled by its own task, watched for its time limits.

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, Stream as _};
use tokio::time::Instant;

use super::super::allowance::Held;
use super::super::io::Connection;
use super::ahead::Ahead;
use super::errors::{Ended, Reporter};
use super::farewell::Farewell;
use super::frames::{Flood, Frames, Reason};
use crate::deadline::Deadline;
use crate::peer::Peer;

/// What an idle client may take to go once it has been told to.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a client that is cut may take to read what it is sent last.
const PARTING: Duration = Duration::from_secs(5);

/// How many frames that lead to nothing are looked at before other connections have their turn.
const TURN: u64 = 100;

/// What a connection takes on which no request has passed, in bytes.
const STRANGER_SIZE: usize = 32 * 1024;

/// All streams of one connection. Clones share them.
#[derive(Clone)]
pub(super) struct Streams(Rc<State>);

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct State {
    tasks: RefCell<FuturesUnordered<Task>>,
    /// Those that came while others were being polled.
    new: RefCell<Vec<Task>>,
    /// The exchange that the next task is for.
    next: RefCell<Option<Rc<Stall>>>,
    frames: RefCell<Frames>,
    connection: Rc<Connection>,
    peer: Rc<Peer>,
    reporter: Rc<Reporter>,
    /// How many requests are being answered.
    exchanges: Cell<usize>,
    has_begun: Cell<bool>,
    /// The client, or hyper, has ended the connection.
    is_over: Cell<bool>,
    is_write_stalled: Cell<bool>,
    must_hurry: Cell<bool>,
    ahead: Ahead,
    farewell: Farewell,
    /// Until a request has passed.
    stranger: Held,
    has_passed: Cell<bool>,
    waiting_for: Cell<Awaited>,
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaited {
    /// The first request; armed when the connection was accepted.
    First,
    /// The end of a list of fields that has begun.
    Fields,
    /// The next request.
    Request,
    /// The client's end, after our GOAWAY.
    Farewell,
    /// That a client that is cut reads what it is sent last.
    Parting,
    /// That the client reads what is written, or makes room for the last of its answers.
    Reading,
    /// Nothing: we are at work.
    Nothing,
}

/// What is to be done when the client has taken too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expired {
    /// It is told to go.
    Idle,
    /// The connection ends.
    Over,
}

impl Streams {
    pub(super) fn new(connection: Rc<Connection>, peer: Rc<Peer>, reporter: Rc<Reporter>, stranger: Held) -> Self {
        Self(Rc::new(State {
            tasks: RefCell::default(),
            new: RefCell::default(),
            next: RefCell::default(),
            frames: RefCell::new(Frames::new()),
            connection,
            peer,
            reporter,
            exchanges: Cell::new(0),
            has_begun: Cell::new(false),
            is_over: Cell::new(false),
            is_write_stalled: Cell::new(false),
            must_hurry: Cell::new(false),
            ahead: Ahead::default(),
            farewell: Farewell::default(),
            stranger,
            has_passed: Cell::new(false),
            waiting_for: Cell::new(Awaited::First),
        }))
    }

    /// A request begins. hyper executes its task right after.
    pub(super) fn begin(&self) -> Exchange {
        let state = &self.0;
        state.exchanges.set(state.exchanges.get() + 1);
        state.has_begun.set(true);
        state.settle(false);
        let stall = Rc::new(Stall(state.connection.deadline().another()));
        state.next.replace(Some(Rc::clone(&stall)));
        Exchange { state: Rc::clone(state), stall }
    }

    /// Goes on beside them, for as long as the connection lives.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.new.borrow_mut().push(Box::pin(task));
    }

    /// Whether an answer is still owed, or a part of it.
    pub(super) fn are_open(&self) -> bool {
        self.0.exchanges.get() > 0 || self.0.frames.borrow().have_open() || self.0.is_write_stalled.get()
    }

    /// An idle client gets no more time than to say goodbye.
    pub(super) fn hurry(&self) {
        self.0.must_hurry.set(true);
        self.0.settle(false);
    }

    /// Whether it is the turn of other connections, this once.
    pub(super) fn must_yield(&self) -> bool {
        self.0.frames.borrow_mut().take_paid() >= TURN
    }

    /// A request has passed: the client has a right to be here.
    pub(super) fn has_passed(&self) {
        self.0.has_passed.set(true);
        self.0.stranger.release();
    }

    /// Whether too many connections are here on which no request has passed, and this is the oldest of them.
    pub(super) fn are_crowded_out(&self, cx: &Context<'_>) -> bool {
        if self.0.has_passed.get() {
            return false;
        }
        let is_overdue = self.0.stranger.is_overdue();
        if !is_overdue {
            self.0.stranger.hold(STRANGER_SIZE, cx);
        }
        is_overdue
    }

    /// What has come of bodies that are not wanted yet.
    pub(super) fn ahead(&self) -> &Ahead {
        &self.0.ahead
    }

    /// A request has no answer until what is returned is dropped.
    pub(super) fn unanswered(&self) -> Unanswered {
        self.0.ahead.begin();
        Unanswered(Rc::clone(&self.0))
    }

    /// This has come.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<(), Flood> {
        if bytes.is_empty() {
            self.end();
        }
        let mut frames = self.0.frames.borrow_mut();
        frames.read(bytes, Instant::now())?;
        self.0.ahead.receive(frames.take_content());
        drop(frames);
        self.0.settle(false);
        Ok(())
    }

    /// This much of it has gone, if the client reads.
    pub(super) fn wrote(&self, slices: &[io::IoSlice<'_>], written: &Poll<io::Result<usize>>) {
        let mut has_body = false;
        if let Poll::Ready(Ok(count)) = written {
            let (mut frames, mut left) = (self.0.frames.borrow_mut(), *count);
            for slice in slices {
                let part = slice.get(..left).unwrap_or(slice);
                has_body |= frames.wrote(part);
                left -= part.len();
            }
            for ended in frames.take_ended() {
                self.0.reporter.report(&self.0.peer, ended);
            }
        }
        if let Poll::Ready(Err(_)) = written {
            self.end();
        }
        self.0.is_write_stalled.set(written.is_pending());
        self.0.settle(has_body);
    }

    /// What was written before has gone, if the client reads.
    pub(super) fn flushed(&self, flushed: &Poll<io::Result<()>>) {
        if let Poll::Ready(Err(_)) = flushed {
            self.end();
        }
        self.0.is_write_stalled.set(flushed.is_pending());
        self.0.settle(false);
    }

    /// The connection has come to its end.
    pub(super) fn end(&self) {
        self.0.is_over.set(true);
    }

    /// Whether it has.
    pub(super) fn are_over(&self) -> bool {
        self.0.is_over.get()
    }

    /// The client is cut: it is sent the rest of the frame that has begun and a GOAWAY, and nothing of it is read.
    pub(super) fn cut(&self) {
        self.0.farewell.begin();
        self.0.reporter.report(&self.0.peer, Ended { stream: None, code: Reason::EnhanceYourCalm as u32 });
    }

    /// Whether it is.
    pub(super) fn are_cut(&self) -> bool {
        self.0.farewell.is_due()
    }

    /// As of [`Frames::left_of_sent`].
    pub(super) fn left_of_sent(&self) -> Option<NonZeroUsize> {
        self.0.frames.borrow().left_of_sent()
    }

    /// Ready when a client that is cut has been sent all that it gets.
    pub(super) fn poll_farewell(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.0.settle(false);
        let said = ready!(self.0.farewell.poll(cx, &self.0.connection, &self.0.frames.borrow()));
        Poll::Ready(said.err().unwrap_or_else(|| io::Error::other(Flood)))
    }

    /// Lets those go on that can; whether any did.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> bool {
        let mut has_gone_on = false;
        loop {
            let new = std::mem::take(&mut *self.0.new.borrow_mut());
            let mut tasks = self.0.tasks.borrow_mut();
            has_gone_on |= !new.is_empty();
            tasks.extend(new);
            match Pin::new(&mut *tasks).poll_next(cx) {
                Poll::Ready(Some(())) => has_gone_on = true,
                Poll::Ready(None) | Poll::Pending => {
                    self.0.ahead.have_begun();
                    return has_gone_on;
                }
            }
        }
    }

    /// Ready when the client has taken too long.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Expired> {
        ready!(self.0.connection.deadline().poll_elapsed(cx));
        match self.0.waiting_for.get() {
            Awaited::First | Awaited::Request => Poll::Ready(Expired::Idle),
            Awaited::Fields => {
                self.cut();
                self.0.settle(false);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Awaited::Farewell | Awaited::Parting | Awaited::Reading | Awaited::Nothing => Poll::Ready(Expired::Over),
        }
    }
}

impl State {
    /// Whose move is it? What is awaited already is not awaited anew, whatever else comes; but what the client reads of a
    /// body gives it more time for the rest.
    fn settle(&self, has_read: bool) {
        let frames = self.frames.borrow();
        let awaited = if self.farewell.is_due() {
            Awaited::Parting
        } else if self.is_write_stalled.get() {
            Awaited::Reading
        } else if frames.are_in_fields() {
            Awaited::Fields
        } else if self.exchanges.get() > 0 {
            Awaited::Nothing
        } else if frames.have_open() && self.has_begun.get() {
            Awaited::Reading
        } else if self.must_hurry.get() {
            Awaited::Farewell
        } else if self.has_begun.get() {
            Awaited::Request
        } else {
            Awaited::First
        };
        if self.waiting_for.replace(awaited) == awaited && !(has_read && awaited == Awaited::Reading) {
            return;
        }
        let (deadline, limits) = (self.connection.deadline(), self.connection.limits());
        let limit = match awaited {
            Awaited::First | Awaited::Fields => limits.header,
            Awaited::Request => limits.idle,
            Awaited::Farewell => FAREWELL,
            Awaited::Parting => PARTING,
            Awaited::Reading => limits.write,
            Awaited::Nothing => return deadline.disarm(),
        };
        deadline.arm_in(limit);
    }
}

/// The streams end with their connection, which each of them keeps alive.
pub(super) struct Ending(pub(super) Streams);

impl Drop for Ending {
    fn drop(&mut self) {
        let state = &self.0.0;
        drop((state.tasks.take(), state.new.take(), state.next.take()));
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        let task: Task = match self.0.next.take() {
            // Its answer may wait for a client that makes no room for it (RFC 9113 §5.2).
            Some(stall) => Box::pin(async move {
                tokio::select! {
                    biased;
                    () = future => {}
                    () = stall.0.elapsed() => {}
                }
            }),
            None => Box::pin(future),
        };
        self.0.new.borrow_mut().push(task);
    }
}

/// A request that has no answer yet.
pub(super) struct Unanswered(Rc<State>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.ahead.end();
    }
}

/// How long the client may leave an answer where it is.
struct Stall(Deadline);

/// A request from its fields to the end of its answer, whichever way that ends.
pub(super) struct Exchange {
    state: Rc<State>,
    stall: Rc<Stall>,
}

impl Exchange {
    /// What goes on behind an answer, as one more.
    pub(super) fn another(&self) -> Self {
        self.state.exchanges.set(self.state.exchanges.get() + 1);
        Self { state: Rc::clone(&self.state), stall: Rc::clone(&self.stall) }
    }

    /// The client is given time to make room for more of the answer (RFC 9113 §5.2).
    pub(super) fn await_room(&self) {
        self.stall.0.arm_in(self.state.connection.limits().write);
    }

    /// It has made some, or need not.
    pub(super) fn has_room(&self) {
        self.stall.0.disarm();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.state.exchanges.set(self.state.exchanges.get().saturating_sub(1));
        self.state.settle(false);
    }
}
