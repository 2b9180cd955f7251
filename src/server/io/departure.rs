//! A client that goes away while nothing is read from it.

use std::task::{Context, Poll};

use super::Connection;
use crate::server::stream::Stream;

impl Connection {
    /// Ready when the client will not take the answer, as its socket tells; looks at that again after a while.
    pub(in crate::server) fn poll_departed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_departed() {
            return Poll::Ready(());
        }
        self.lookout.borrow_mut().watch(cx, &self.deadline);
        Poll::Pending
    }

    fn has_departed(&self) -> bool {
        let ready = self.stream.borrow().socket().readiness();
        if ready.is_error() || ready.is_write_closed() {
            return true;
        }
        ready.is_read_closed() && self.ends_too_soon()
    }

    /// Whether the client's end, behind what is unread, is that of a client that is gone. Behind a whole request it is, as
    /// where it is read, and so it is in HTTP/2; behind a part of a body only where the rest can be seen to be missing.
    fn ends_too_soon(&self) -> bool {
        let wire = self.wire.borrow();
        if wire.is_awaiting_answer() || self.is_http2() {
            return true;
        }
        // What is left under TLS is not to be told from outside.
        let Stream::Plain(socket) = &*self.stream.borrow() else { return false };
        let Ok(unread) = rustix::io::ioctl_fionread(socket) else { return false };
        wire.left().is_some_and(|left| wire.held_size().saturating_add(unread) < left)
    }
}
