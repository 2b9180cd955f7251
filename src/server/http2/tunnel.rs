//! Extended CONNECT (RFC 8441): a stream that becomes a tunnel.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Method, Request};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::streams::Exchange;
use crate::liveness::Liveness;
use crate::server::shutdown::{Drain, Stage};
use crate::server::{Handler, Tunnel as _};

/// Whether a request is to begin a WebSocket. It goes on as the `GET` that it is in HTTP/1.1 (RFC 8441 §5), with the
/// protocol among its extensions: the rules of methods and paths are then the same for both.
pub(super) fn take_upgrade<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    let is_websocket = |protocol: &Protocol| protocol.as_str().eq_ignore_ascii_case("websocket");
    if request.method() != Method::CONNECT || !request.extensions().get::<Protocol>().is_some_and(is_websocket) {
        return None;
    }
    *request.method_mut() = Method::GET;
    Some(hyper::upgrade::on(request))
}

/// Serves a tunnel from when its answer has been sent. It is one long answer, and cut as others are.
pub(super) async fn serve<H: Handler>(tunnel: H::Tunnel, upgrade: OnUpgrade, drain: Rc<Drain>, exchange: Exchange) {
    let watch = drain.watch();
    let cut = poll_fn(|cx| match watch.stage(cx) {
        Stage::Cut => {
            drain.cut(true);
            Poll::Ready(())
        }
        _ => Poll::Pending,
    });
    if let Ok(stream) = upgrade.await {
        tunnel.run(StreamIo(TokioIo::new(stream)), cut).await;
    }
    drop(exchange);
}

/// The bytes of the stream.
struct StreamIo(TokioIo<Upgraded>);

impl Liveness for StreamIo {
    /// A stream that was reset is not flushed. The end of the connection ends all that is done for it.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.0).poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
