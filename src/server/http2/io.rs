//! A client's connection as HTTP/2's input and output, its frames looked at on the way.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;

use super::super::io::Connection;
use super::frames::Flood;
use super::streams::Streams;

pub(super) struct Http2Io {
    connection: Rc<Connection>,
    streams: Streams,
}

impl Http2Io {
    pub(super) fn new(connection: Rc<Connection>, streams: Streams) -> Self {
        Self { connection, streams }
    }

    fn write(&self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.connection.poll_write_pieces(cx, slices);
        self.streams.wrote(slices, &written);
        written
    }
}

impl hyper::rt::Read for Http2Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.streams.are_cut() {
            return this.streams.poll_farewell(cx).map(Err);
        }
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
        if looked == Err(Flood) {
            this.streams.cut();
            return this.streams.poll_farewell(cx).map(Err);
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
        if this.streams.are_cut() {
            let Some(left) = this.streams.left_of_sent() else { return this.streams.poll_farewell(cx).map(Err) };
            let next = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
            return this.write(cx, &[io::IoSlice::new(next.get(..left.get()).unwrap_or(next))]);
        }
        this.write(cx, slices)
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
