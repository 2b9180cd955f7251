//! The body of a request on its way in, in whichever protocol it comes.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a request.
#[derive(Debug, Default)]
pub struct Incoming(Source);

#[derive(Debug, Default)]
enum Source {
    #[default]
    Empty,
    Http1(Weak<dyn Content>),
    Http2(hyper::body::Incoming, Rc<Demand>),
}

/// Whether the gate has begun to read a body that came over one HTTP/2 connection. It does so once a request may pass, and
/// until then the connection need not read what the client sends ahead.
#[derive(Debug, Default)]
pub struct Demand {
    has_arisen: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl Demand {
    /// Whether there has been any.
    pub const fn has_arisen(&self) -> bool {
        self.has_arisen.get()
    }

    /// Wakes this task once there is any, or the connection's reader may go on for another reason.
    pub fn watch(&self, cx: &Context<'_>) {
        self.reader.replace(Some(cx.waker().clone()));
    }

    /// Lets the connection's reader look again.
    pub fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn arise(&self) {
        if !self.has_arisen.replace(true) {
            self.wake();
        }
    }
}

/// Where the content of a request over HTTP/1 comes from: a connection, which may end before its reader does.
pub trait Content: fmt::Debug {
    /// The next frame, as of [`Body::poll_frame`].
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;

    /// As of [`Body::is_end_stream`].
    fn is_end_stream(&self) -> bool;

    /// As of [`Body::size_hint`].
    fn size_hint(&self) -> SizeHint;

    /// Nobody reads on.
    fn abandon(&self);
}

/// Why it ended early.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// What came is no body.
    #[error("the body is not valid HTTP")]
    Malformed,
    /// The client went away.
    #[error("the client went away")]
    Gone,
}

impl Incoming {
    /// What `content` says, for as long as it lives.
    pub fn http1(content: Weak<dyn Content>) -> Self {
        Self(Source::Http1(content))
    }

    /// A body that came over HTTP/2, on a connection that waits for this demand.
    pub fn http2(body: hyper::body::Incoming, demand: &Rc<Demand>) -> Self {
        Self(if body.is_end_stream() { Source::Empty } else { Source::Http2(body, Rc::clone(demand)) })
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let source = &mut self.get_mut().0;
        match source {
            Source::Empty => Poll::Ready(None),
            Source::Http1(content) => {
                let Some(content) = content.upgrade() else { return Poll::Ready(Some(Err(Broken::Gone))) };
                let polled = content.poll_frame(cx);
                if content.is_end_stream() {
                    // The next body on the connection is another request's.
                    *source = Source::Empty;
                }
                polled
            }
            Source::Http2(body, demand) => {
                demand.arise();
                Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(frame) => Some(frame.map_err(|error| cause(&error))),
                    // hyper takes a stream that was reset without an error for one that has ended.
                    None if !body.is_end_stream() => Some(Err(Broken::Gone)),
                    None => None,
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Empty => true,
            Source::Http1(content) => content.upgrade().is_some_and(|content| content.is_end_stream()),
            Source::Http2(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(content) => content.upgrade().map(|content| content.size_hint()).unwrap_or_default(),
            Source::Http2(body, _) => body.size_hint(),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Source::Http1(content) = &self.0
            && let Some(content) = content.upgrade()
        {
            content.abandon();
        }
    }
}

/// Whose fault it was: what hyper found to be no body is the client's.
fn cause(error: &hyper::Error) -> Broken {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Broken::Malformed,
        _ => Broken::Gone,
    }
}
