//! A client's connection as where the body of a request comes from.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;

use super::buffers::BUFFER_SIZE;
use super::{Connection, UNTAKEN_SIZE};
use crate::chunked::take;
use crate::incoming::{Broken, Content};

/// What is known of one request's body beside its bytes.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The client waits to be told to go on (RFC 9110 §10.1.1).
    awaits_continue: Cell<bool>,
    /// Nobody reads on.
    is_abandoned: Cell<bool>,
    /// The task that takes the body waits for more of it to come.
    is_being_read: Cell<bool>,
    /// The connection's task, when it waits for who reads; and the other way round.
    watcher: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
}

impl State {
    pub(super) fn begin(&self, awaits_continue: bool) {
        self.awaits_continue.set(awaits_continue);
        self.is_abandoned.set(false);
        self.is_being_read.set(false);
    }

    /// Whether a read is under way, which will meet the end of the connection.
    pub(super) fn is_being_read(&self) -> bool {
        self.is_being_read.get()
    }

    /// The answer begins: what the client waits for has come.
    pub(super) fn answer(&self) {
        self.awaits_continue.set(false);
    }

    /// Wakes this task when the body has come to its end, or nobody reads on.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        note(&self.watcher, cx);
    }

    fn tell(&self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }
}

fn note(waker: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    match &mut *waker.borrow_mut() {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

impl Drop for State {
    /// With the connection: who waits for more of it is told.
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Connection {
    /// Waits until the body is taken, or nobody takes it: what has come of it is then thrown away. Whether it has come to
    /// its end.
    pub(in crate::server) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.wire.borrow().is_awaiting_answer() {
            return Poll::Ready(true);
        }
        if !self.content.is_abandoned.get() {
            self.content.watch(cx);
            return Poll::Pending;
        }
        let mut left = UNTAKEN_SIZE;
        while let Poll::Ready(Some(Ok(frame))) = self.poll_content(cx) {
            left = left.saturating_sub(frame.data_ref().map_or(1, Bytes::len));
            if left == 0 {
                break;
            }
        }
        Poll::Ready(self.wire.borrow().is_awaiting_answer())
    }

    fn poll_content(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let mut wire = self.wire.borrow_mut();
            if let Some(frame) = wire.next_frame().map_err(|_| Broken::Malformed)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if wire.is_awaiting_answer() {
                return Poll::Ready(None);
            }
            let direct = wire.direct();
            drop(wire);
            match direct {
                Some(left) => return self.poll_direct(cx, left).map(Some),
                None => {
                    if !matches!(ready!(self.poll_fill(cx, BUFFER_SIZE)), Ok(1..)) {
                        return Poll::Ready(Some(Err(Broken::Gone)));
                    }
                }
            }
        }
    }

    /// Reads a body of which so much is left straight to who takes it.
    fn poll_direct(&self, cx: &mut Context<'_>, left: u64) -> Poll<Result<Frame<Bytes>, Broken>> {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_SIZE);
        let buffer = &mut *self.buffers.body();
        buffer.clear();
        buffer.reserve(limit);
        let stream = &mut *self.stream.borrow_mut();
        let read = ready!(pin!(Pin::new(stream).read_buf(&mut (&mut *buffer).limit(limit))).poll(cx));
        let Ok(count @ 1..) = read else { return Poll::Ready(Err(Broken::Gone)) };
        self.wire.borrow_mut().went_direct(count);
        Poll::Ready(Ok(Frame::data(take(buffer, count))))
    }

    /// Tells a client that waits for it to go on, unless it has already.
    fn say_continue(&self) {
        if self.content.awaits_continue.replace(false) && !self.wire.borrow().has_held() {
            self.interim.push(StatusCode::CONTINUE, &HeaderMap::new());
            self.content.tell();
        }
    }
}

impl Content for Connection {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.say_continue();
        let polled = self.poll_content(cx);
        self.content.is_being_read.set(polled.is_pending());
        if polled.is_pending() {
            note(&self.content.reader, cx);
        } else if self.wire.borrow().is_awaiting_answer() {
            self.content.tell();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.wire.borrow().is_awaiting_answer()
    }

    fn size_hint(&self) -> SizeHint {
        self.wire.borrow().size_hint()
    }

    fn abandon(&self) {
        self.content.is_abandoned.set(true);
        self.content.is_being_read.set(false);
        self.content.tell();
    }
}
