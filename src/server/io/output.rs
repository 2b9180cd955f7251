//! What is written to a client's connection, and what becomes of a client that does not read it.

use std::cell::RefMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, ReadBuf};

use super::buffers::BUFFER_SIZE;
use super::{Connection, Date, LINGER_TIME, Phase};

/// The most bytes that are put together to be written in one piece.
const FLAT_SIZE: usize = 4 * 1024;

/// How many reads of a refused body are thrown away before other connections have their turn.
const LINGER_READS: usize = 16;

impl Connection {
    /// Everything has been written when this is asked for, so what TLS keeps back is all that a client leaves unread.
    pub(in crate::server) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    pub(in crate::server) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }

    /// What the client sends when nothing more will come is read for a while: it may be at it.
    pub(in crate::server) fn linger(&self) {
        self.must_linger.set(true);
    }

    /// Says that nothing more will come, and sees to it that the last answer arrives: a connection closed with bytes unread
    /// is reset, and the answer lost (RFC 9112 §9.6). What still comes is read and thrown away until the client closes or
    /// [`LINGER_TIME`] is over; the deadline is the caller's to wait for. How much that is does not matter: a client that
    /// sends without looking reads its answer only when all of its body has gone out.
    pub(in crate::server) fn poll_goodbye(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_lingering.get() {
            ready!(self.note_stall(self.poll_shutdown(cx)))?;
            self.owes_the_end.set(false);
            if !self.must_linger.get() {
                return Poll::Ready(Ok(()));
            }
            self.is_lingering.set(true);
            // Keeps nothing of what has come either.
            self.wire.borrow_mut().refuse();
            self.deadline.arm_in(LINGER_TIME);
        }
        for _ in 0..LINGER_READS {
            if !matches!(ready!(self.poll_received(cx, BUFFER_SIZE, <[u8]>::len)), Ok(1..)) {
                // The end, or the client's own reset.
                return Poll::Ready(Ok(()));
            }
        }
        // Other connections have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes interim responses, where nothing else is half written.
    pub(in crate::server) fn poll_interim(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            // TLS may have kept back what was written: a client may wait for it before it goes on.
            return if self.is_write_stalled.get() { self.poll_flushed(cx) } else { Poll::Ready(Ok(())) };
        }
        ready!(self.interim.poll_write_to(|bytes| self.poll_write(cx, bytes, &[], &[])))?;
        self.poll_flushed(cx)
    }

    /// Writes some of an answer: of these bytes, then of a large piece, then of what is behind it.
    pub(in crate::server) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        large: &[u8],
        tail: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let stream = Pin::new(&mut *stream);
        let written = if large.is_empty() && tail.is_empty() {
            stream.poll_write(cx, bytes)
        } else {
            stream.poll_write_vectored(cx, &[bytes, large, tail].map(io::IoSlice::new))
        };
        match self.note_stall(written) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => written,
        }
    }

    /// Ready when nothing of what was written is kept back.
    pub(in crate::server) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note_stall(self.poll_flush(cx))
    }

    /// The date for an answer that has none.
    pub(in crate::server) fn date(&self) -> &Date {
        self.buffers.date()
    }

    /// An empty buffer for what is written. Whoever has it must not ask for it again.
    pub(in crate::server) fn gathered(&self) -> RefMut<'_, Vec<u8>> {
        let mut buffer = self.buffers.write();
        buffer.clear();
        buffer
    }

    fn note_stall<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() != self.is_write_stalled.get() {
            self.stalled(written.is_pending());
        }
        written
    }

    /// Writes what is in several pieces. Small ones are put together before: the kernel takes one faster.
    pub(in crate::server) fn poll_write_pieces(
        &self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut *self.stream.borrow_mut();
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        if size > FLAT_SIZE {
            return Pin::new(stream).poll_write_vectored(cx, slices);
        }
        let mut scratch = self.buffers.read();
        let mut whole = ReadBuf::new(&mut scratch);
        for slice in slices {
            whole.put_slice(slice);
        }
        Pin::new(stream).poll_write(cx, whole.filled())
    }

    /// The client does not read, or does again: each byte that it takes gives it more time.
    fn stalled(&self, is_stalled: bool) {
        self.is_write_stalled.set(is_stalled);
        if self.phase.get() != Phase::Head {
            self.arm();
        }
    }
}
