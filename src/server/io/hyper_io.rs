//! A client's connection as hyper's input and output.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::stream::Stream;
use super::{Connection, LINGER_TIME, Through};

/// How much of it is read and thrown away, so that the answer arrives before the connection closes.
const LINGER_SIZE: usize = 64 * 1024;

/// The connection as hyper's input and output.
#[derive(Debug)]
pub(in crate::server) struct ClientIo {
    connection: Rc<Connection>,
    lingered: Option<usize>,
}

impl ClientIo {
    pub(in crate::server) fn new(connection: Rc<Connection>) -> Self {
        Self { connection, lingered: None }
    }

    /// Reads a large body straight into hyper's buffer.
    fn poll_direct(&mut self, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut counted = Counted { stream: &mut self.connection.stream.borrow_mut(), count: 0 };
        ready!(hyper::rt::Read::poll_read(Pin::new(&mut TokioIo::new(&mut counted)), cx, cursor))?;
        self.connection.wire.borrow_mut().went_direct(counted.count);
        self.connection.settle();
        Poll::Ready(Ok(()))
    }

    fn note_stall<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() != self.connection.is_write_stalled.get() {
            self.connection.stalled(written.is_pending());
        }
        written
    }

    /// Reads and throws away what still comes, within bounds: a connection closed with bytes unread is reset, and the
    /// answer lost (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            self.lingered = Some(0);
            self.connection.deadline.arm(Instant::now() + LINGER_TIME);
        }
        loop {
            let mut scratch = self.connection.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            let lingered = self.lingered.unwrap_or_default();
            match ready!(Pin::new(&mut *self.connection.stream.borrow_mut()).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() && lingered < LINGER_SIZE => {
                    self.lingered = Some(lingered + buffer.filled().len());
                }
                // The end, enough of it, or the client's own reset.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl hyper::rt::Read for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let limit = cursor.remaining();
            let mut wire = this.connection.wire.borrow_mut();
            if wire.direct() >= limit as u64 && limit > 0 {
                drop(wire);
                return this.poll_direct(cx, cursor);
            }
            if wire.pass(limit, |bytes| cursor.put_slice(bytes)).map_err(|_| io::ErrorKind::InvalidData)? {
                drop(wire);
                this.connection.settle();
                return Poll::Ready(Ok(()));
            }
            if wire.is_awaiting_answer() {
                *this.connection.reader.borrow_mut() = Some(cx.waker().clone());
            }
            if wire.is_full() {
                return Poll::Pending;
            }
            drop(wire);
            let through = this.connection.poll_through(cx, &mut cursor);
            if through.is_pending() && this.connection.wire.borrow().is_between() {
                this.connection.await_head();
            }
            match ready!(through)? {
                Through::Held => {}
                Through::Passed | Through::End => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl hyper::rt::Write for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut *this.connection.stream.borrow_mut()).poll_write(cx, bytes);
        this.note_stall(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.connection.poll_write_pieces(cx, slices);
        this.note_stall(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper has written everything when it flushes, so what TLS keeps back is all that a client leaves unread. Interim
    /// responses are written now: their answer waits for them, so that nothing of it is written yet.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.connection.interim.is_empty() {
            let interim = this.connection.interim.clone();
            ready!(interim.poll_write_to(|bytes| Pin::new(&mut *this).poll_write(cx, bytes)))?;
        }
        let flushed = Pin::new(&mut *this.connection.stream.borrow_mut()).poll_flush(cx);
        this.note_stall(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.awaits_head.set(false);
        this.connection.has_said_goodbye.set(true);
        if this.lingered.is_none() {
            ready!(Pin::new(&mut *this.connection.stream.borrow_mut()).poll_shutdown(cx))?;
            this.connection.owes_the_end.set(false);
        }
        if this.connection.must_linger.get() { this.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}

/// Counts what is read, which hyper's cursor does not tell.
struct Counted<'s> {
    stream: &'s mut Stream,
    count: u64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *this.stream).poll_read(cx, buffer))?;
        this.count += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}
