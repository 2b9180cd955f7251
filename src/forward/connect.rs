//! A connection to the origin.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::denial::Denial;

/// Connects to the origin; its name is resolved anew.
pub(super) async fn connect(upstream: &Authority, limit: Duration) -> Result<OriginIo, Denial> {
    // Brackets are a URI's, not an address's.
    let host = upstream.host().trim_start_matches('[').trim_end_matches(']');
    let port = upstream.port_u16().unwrap_or(80);
    let connected = timeout(limit, TcpStream::connect((host, port))).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(upstream, &error.to_string())),
        Err(_elapsed) => return Err(unreachable(upstream, &format!("no connection within {} s", limit.as_secs_f32()))),
    };
    stream.set_nodelay(true).map_err(|error| unreachable(upstream, &error.to_string()))?;
    Ok(OriginIo { stream, received: Rc::default() })
}

fn unreachable(upstream: &Authority, cause: &str) -> Denial {
    Denial::UpstreamUnreachable(format!("{upstream}: {cause}").into())
}

/// The origin's socket, which tells whether anything has come from it.
#[derive(Debug)]
pub(super) struct OriginIo {
    stream: TcpStream,
    received: Rc<Cell<bool>>,
}

impl OriginIo {
    /// Set at the first byte after it was last cleared.
    pub(super) fn received(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.received)
    }
}

impl AsyncRead for OriginIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.received.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OriginIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
