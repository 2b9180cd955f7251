//! A connection, and what has been read from it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::task::coop::unconstrained;

use crate::forward::stream::OriginIo;
use crate::turn::LoopTurn;

/// The most that is read at once, in bytes: 64 KiB of a body together with the head before it. A response head alone may
/// be as large.
pub(super) const MAX_READ: usize = 72 * 1024;

/// What a worker's connections read to and write from, in turn. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(in crate::forward) struct Scratch(Rc<Buffers>);

#[derive(Debug, Default)]
struct Buffers {
    read: RefCell<BytesMut>,
    write: RefCell<Vec<u8>>,
}

impl Scratch {
    /// An empty buffer for what is written.
    pub(super) fn written<T>(&self, with: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut buffer = self.0.write.borrow_mut();
        buffer.clear();
        with(&mut buffer)
    }
}

/// A connection. Clones are the same; it closes with the last one.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Connection(Rc<Link>);

#[derive(Debug)]
struct Link {
    io: RefCell<OriginIo>,
    scratch: Scratch,
    /// What has come and was not looked at yet.
    held: RefCell<BytesMut>,
    /// Something came in answer to the request.
    has_received: Cell<bool>,
    /// The request was cut: no end that the connection comes to is that of the response.
    is_broken: Cell<bool>,
}

impl Connection {
    pub(in crate::forward) fn new(io: OriginIo, scratch: &Scratch) -> Self {
        Self(Rc::new(Link {
            io: RefCell::new(io),
            scratch: scratch.clone(),
            held: RefCell::default(),
            has_received: Cell::new(false),
            is_broken: Cell::new(false),
        }))
    }

    pub(super) fn scratch(&self) -> &Scratch {
        &self.0.scratch
    }

    /// Whether the origin has nothing to say before it is asked, if the connection was last used in the turn `since`.
    pub(in crate::forward) fn is_fit(&self, since: LoopTurn) -> bool {
        self.has_nothing_left() && self.0.io.borrow_mut().is_quiet(since)
    }

    /// Whether everything that came belonged to what was asked.
    pub(super) fn has_nothing_left(&self) -> bool {
        self.0.held.borrow().is_empty()
    }

    /// Whether anything has come since the request began.
    pub(super) fn has_received(&self) -> bool {
        self.0.has_received.get()
    }

    /// A request begins. Whether the runtime has not heard from the origin that the connection is over.
    pub(super) fn begin(&self, cx: &mut Context<'_>) -> bool {
        let is_open = {
            let is_heard = self.0.io.borrow().is_heard();
            // Asked also by a task that has done so much that tokio lets nothing be ready for it.
            !is_heard || pin!(unconstrained(poll_fn(|cx| self.poll_fill(cx)))).poll(cx).is_pending()
        };
        self.0.has_received.set(false);
        is_open
    }

    /// The request was cut: the origin is told so, and whoever waits for the rest of the response.
    pub(super) fn shut(&self) {
        self.0.is_broken.set(true);
        self.0.io.borrow().shut();
    }

    /// It ends in a reset: the origin is not to wait for the rest of a request, nor the kernel for the origin to take what
    /// there is of it.
    pub(super) fn abort(&self) {
        self.0.io.borrow().abort();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.is_broken.get()
    }

    /// Writes as much as the origin takes.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut *self.0.io.borrow_mut()).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => written,
        }
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.io.borrow_mut()).poll_flush(cx)
    }

    /// Looks at what is held, and may take of it.
    pub(super) fn held<T>(&self, with: impl FnOnce(&mut BytesMut) -> T) -> T {
        with(&mut self.0.held.borrow_mut())
    }

    /// Reads once, behind what is held; how many bytes, 0 at the end.
    pub(super) fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let held = &mut *self.0.held.borrow_mut();
        let io = &mut *self.0.io.borrow_mut();
        let count = if held.is_empty() {
            // Nobody holds a buffer who has nothing in it.
            let scratch = &mut *self.0.scratch.0.read.borrow_mut();
            scratch.clear();
            scratch.reserve(MAX_READ);
            let count = ready!(pin!(io.read_buf(&mut (&mut *scratch).limit(MAX_READ))).poll(cx))?;
            if count > 0 {
                std::mem::swap(held, scratch);
            }
            count
        } else {
            held.reserve(held.len().min(MAX_READ));
            ready!(pin!(io.read_buf(&mut (&mut *held).limit(MAX_READ))).poll(cx))?
        };
        self.0.has_received.set(self.0.has_received.get() || count > 0);
        Poll::Ready(Ok(count))
    }

    /// What was held is taken: its buffer is anybody's.
    pub(super) fn give_back(&self) {
        let held = &mut *self.0.held.borrow_mut();
        if held.is_empty() && held.capacity() > 0 {
            let held = std::mem::take(held);
            let mut scratch = self.0.scratch.0.read.borrow_mut();
            // One that a large head has made larger than it need be ends with it.
            if scratch.capacity() < held.capacity() && held.capacity() <= MAX_READ {
                *scratch = held;
            }
        }
    }

    /// The connection for what is no HTTP any more, with what has come of that; `None` when somebody else uses it.
    pub(super) fn into_parts(self) -> Option<(OriginIo, Bytes)> {
        let Link { io, held, .. } = Rc::into_inner(self.0)?;
        // A tunnel may last for long: it keeps no buffer for a few bytes.
        Some((io.into_inner(), Bytes::copy_from_slice(&held.into_inner())))
    }
}
