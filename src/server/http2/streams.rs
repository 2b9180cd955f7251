//! The streams of one connection: polled by its own task, counted for its time limits.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream as _};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::super::io::Connection;
use crate::deadline::Deadline;

/// What an idle client may take to go once it has been told to.
const FAREWELL: Duration = Duration::from_secs(1);

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
    open: Cell<usize>,
    /// How many there ever were.
    begun: Cell<u64>,
    connection: Rc<Connection>,
    waiting_for: Cell<Awaited>,
    is_in_fields: Cell<bool>,
    is_write_stalled: Cell<bool>,
    must_hurry: Cell<bool>,
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
    /// That the client reads.
    Reading,
    /// Nothing: we are at work.
    Nothing,
}

impl Streams {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        Self(Rc::new(State {
            tasks: RefCell::default(),
            new: RefCell::default(),
            next: RefCell::default(),
            open: Cell::new(0),
            begun: Cell::new(0),
            connection,
            waiting_for: Cell::new(Awaited::First),
            is_in_fields: Cell::new(false),
            is_write_stalled: Cell::new(false),
            must_hurry: Cell::new(false),
        }))
    }

    /// A request begins. hyper executes its task right after.
    pub(super) fn begin(&self) -> Exchange {
        let state = &self.0;
        state.open.set(state.open.get() + 1);
        state.begun.set(state.begun.get() + 1);
        state.settle();
        let stall = Rc::new(Stall(state.connection.deadline().another()));
        state.next.replace(Some(Rc::clone(&stall)));
        Exchange { state: Rc::clone(state), stall }
    }

    /// Whether a request is being answered.
    pub(super) fn are_open(&self) -> bool {
        self.0.open.get() > 0
    }

    /// How many requests there ever were.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.get()
    }

    /// An idle client gets no more time than to say goodbye.
    pub(super) fn hurry(&self) {
        self.0.must_hurry.set(true);
        self.0.settle();
    }

    /// A list of fields has begun and not ended, or has.
    pub(super) fn read(&self, is_in_fields: bool) {
        if self.0.is_in_fields.replace(is_in_fields) != is_in_fields {
            self.0.settle();
        }
    }

    /// The client does not read what is written, or does again.
    pub(super) fn wrote(&self, is_stalled: bool) {
        if self.0.is_write_stalled.replace(is_stalled) || is_stalled {
            self.0.settle();
        }
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
                Poll::Ready(None) | Poll::Pending => return has_gone_on,
            }
        }
    }

    /// Ready when the client has taken too long.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.connection.deadline().poll_elapsed(cx)
    }
}

impl State {
    /// Whose move is it? What is awaited already is not awaited anew, whatever else comes.
    fn settle(&self) {
        let awaited = if self.is_write_stalled.get() {
            Awaited::Reading
        } else if self.is_in_fields.get() {
            Awaited::Fields
        } else if self.open.get() > 0 {
            Awaited::Nothing
        } else if self.must_hurry.get() {
            Awaited::Farewell
        } else if self.begun.get() == 0 {
            Awaited::First
        } else {
            Awaited::Request
        };
        if self.waiting_for.replace(awaited) == awaited && awaited != Awaited::Reading {
            return;
        }
        let (deadline, limits) = (self.connection.deadline(), self.connection.limits());
        let limit = match awaited {
            Awaited::First | Awaited::Fields => limits.header,
            Awaited::Request => limits.idle,
            Awaited::Farewell => FAREWELL,
            Awaited::Reading => limits.write,
            Awaited::Nothing => return deadline.disarm(),
        };
        deadline.arm(Instant::now() + limit);
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

/// How long the client may leave an answer where it is.
struct Stall(Deadline);

/// A request from its fields to the end of its answer, whichever way that ends.
pub(super) struct Exchange {
    state: Rc<State>,
    stall: Rc<Stall>,
}

impl Exchange {
    /// The answer's body, whose end is the exchange's.
    pub(super) fn track<B>(self, body: B) -> Tracked<B> {
        Tracked { body, exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.state.open.set(self.state.open.get().saturating_sub(1));
        self.state.settle();
    }
}

pin_project_lite::pin_project! {
    /// An answer's body.
    pub(super) struct Tracked<B> {
        #[pin]
        body: B,
        exchange: Exchange,
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        let exchange: &Exchange = this.exchange;
        match polled {
            // Asked for again once the client has made room.
            Poll::Ready(_) => exchange.stall.0.arm(Instant::now() + exchange.state.connection.limits().write),
            Poll::Pending => exchange.stall.0.disarm(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
