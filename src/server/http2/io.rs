//! A client's connection as HTTP/2's input and output, its frames looked at on the way.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;

use super::super::io::Connection;
use super::frames::Reason;
use super::streams::Streams;

pub(super) struct Http2Io {
    connection: Rc<Connection>,
    streams: Streams,
}

impl Http2Io {
    pub(super) fn new(connection: Rc<Connection>, streams: Streams) -> Self {
        Self { connection, streams }
    }
}

impl hyper::rt::Read for Http2Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.streams.must_yield() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.streams.ahead().must_wait(cx) {
            ready!(this.connection.poll_departed(cx));
            this.streams.end();
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let looked = ready!(this.connection.poll_unframed(cx, cursor.remaining(), |bytes| {
            cursor.put_slice(bytes);
            this.streams.read(bytes)
        }));
        let looked = looked.inspect_err(|_| this.streams.end())?;
        if let Err(flood) = looked {
            this.streams.say_goaway(cx, Reason::EnhanceYourCalm);
            return Poll::Ready(Err(io::Error::other(flood)));
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Http2Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.connection.poll_write_pieces(cx, slices);
        this.streams.wrote(slices, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Everything has been written when this is asked for, so what TLS keeps back is all that a client leaves unread.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = this.connection.poll_flush(cx);
        this.streams.flushed(&flushed);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.streams.end();
        this.connection.poll_shutdown(cx)
    }
}
