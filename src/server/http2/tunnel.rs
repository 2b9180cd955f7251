//! Extended CONNECT (RFC 8441): a stream that becomes a tunnel.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::{Method, Request};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::streams::Exchange;
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
        tunnel.run(TokioIo::new(stream), cut).await;
    }
    drop(exchange);
}
