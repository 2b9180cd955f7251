//! A client's connection as HTTP/2's input and output, its frames looked at on the way.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;

use super::super::io::Connection;
use super::frames::Frames;
use super::streams::Streams;

pub(super) struct Http2Io {
    connection: Rc<Connection>,
    streams: Streams,
    frames: Frames,
}

impl Http2Io {
    pub(super) fn new(connection: Rc<Connection>, streams: Streams) -> Self {
        Self { connection, streams, frames: Frames::new() }
    }

    /// What was written is worth some frames of the client's, as are requests.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.streams.wrote(written.is_pending());
        if let Poll::Ready(Ok(count)) = &written {
            self.frames.wrote(*count);
        }
        written
    }
}

impl hyper::rt::Read for Http2Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (frames, streams) = (&mut this.frames, &this.streams);
        let looked = ready!(this.connection.poll_unframed(cx, cursor.remaining(), |bytes| {
            cursor.put_slice(bytes);
            frames.read(bytes, streams.begun())
        }))?;
        if let Err(flood) = looked {
            tracing::debug!(%flood, "connection closed");
            return Poll::Ready(Err(io::Error::other(flood)));
        }
        streams.read(frames.are_in_fields());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Http2Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.connection.poll_write_pieces(cx, &[io::IoSlice::new(bytes)]);
        this.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.connection.poll_write_pieces(cx, slices);
        this.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().connection.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().connection.poll_shutdown(cx)
    }
}
