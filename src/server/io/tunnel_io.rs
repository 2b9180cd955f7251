//! A client's connection when it is no longer HTTP.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connection;
use crate::liveness::Liveness;

/// The bytes of the client, beginning with those that came behind its request.
#[derive(Debug)]
pub(in crate::server) struct TunnelIo(Rc<Connection>);

impl TunnelIo {
    pub(in crate::server) const fn new(connection: Rc<Connection>) -> Self {
        Self(connection)
    }
}

impl Liveness for TunnelIo {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let is_gone = self.0.stream.borrow().socket().readiness().is_error();
        if is_gone { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let limit = buffer.remaining();
        let mut wire = self.0.wire.borrow_mut();
        if wire.has_held() {
            wire.give(limit, |bytes| buffer.put_slice(bytes));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}
