//! One client connection: from its first head to close.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Write as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::http2;
use super::io::{ClientIo, Connection, Pause, TunnelIo};
use super::preamble::Opened;
use super::shutdown::{Drain, Stage, Watch};
use super::worker::Worker;
use super::{Handler, Tunnel as _};
use crate::peer::Peer;

/// One connection's state, and who is at its other end.
pub(super) fn open<H>(opened: Opened, worker: &Worker<H>) -> (Rc<Connection>, Rc<Peer>) {
    let connection = worker.connection(opened.stream, opened.deadline);
    if let Some(denial) = opened.refusal {
        connection.refuse(denial);
    }
    (Rc::new(connection), Rc::new(opened.peer))
}

/// Serves one connection until it closes.
pub(super) async fn serve<H: Handler>(connection: Rc<Connection>, peer: Rc<Peer>, worker: Rc<Worker<H>>) {
    let watch = worker.drain.watch();
    // hyper's buffers are made for a client that has said what it wants: one that is silent, at first or later, or takes
    // its time, goes without.
    while has_head(&connection, &watch).await {
        if connection.is_http2() {
            return Box::pin(http2::serve(connection, &watch, &peer, &worker)).await;
        }
        let tunnel = RefCell::new(None);
        let speaking = Box::pin(serve_while_speaking(&connection, &watch, &peer, &worker, &tunnel));
        match (speaking.await, tunnel.into_inner()) {
            (Pause::Silence, _) => {}
            (Pause::Switch, Some(tunnel)) => {
                return Box::pin(serve_tunnel::<H>(tunnel, connection, &watch, &worker.drain)).await;
            }
            _ => return,
        }
    }
}

async fn serve_while_speaking<H: Handler>(
    connection: &Rc<Connection>,
    watch: &Watch,
    peer: &Rc<Peer>,
    worker: &Rc<Worker<H>>,
    tunnel: &RefCell<Option<H::Tunnel>>,
) -> Pause {
    let io = ClientIo::new(Rc::clone(connection));
    let service = service_fn(|request| {
        let exchange = Exchange(Rc::clone(connection));
        answer(request, Rc::clone(peer), Rc::clone(worker), exchange, tunnel)
    });
    let mut http = pin!(builder(worker).serve_connection(io, service));
    let mut goodbye = ClientIo::new(Rc::clone(connection));
    let (mut is_closing, mut is_done) = (false, false);
    poll_fn(|cx| {
        let stage = watch.stage(cx);
        if stage >= Stage::CloseIdle && !is_closing {
            is_closing = true;
            // What has arrived is read before an idle connection closes.
            match http.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => is_done = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Pause::End),
                Poll::Pending => http.as_mut().graceful_shutdown(),
            }
        }
        if !is_done && let Poll::Ready(ended) = http.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(error = %ErrorChain(&error), "connection ended");
                return Poll::Ready(Pause::End);
            }
            is_done = true;
        }
        if is_done {
            // Where an upgrade was asked for, hyper leaves the end to whoever takes it over.
            let is_switched = tunnel.borrow().is_some();
            if is_switched || connection.has_said_goodbye() || Pin::new(&mut goodbye).poll_shutdown(cx).is_ready() {
                return Poll::Ready(if is_switched { Pause::Switch } else { Pause::End });
            }
        }
        if stage == Stage::Cut {
            worker.drain.cut(!connection.is_idle());
            return Poll::Ready(Pause::End);
        }
        if connection.poll_gone(cx).is_ready() {
            return Poll::Ready(Pause::End);
        }
        connection.poll_expired(cx)
    })
    .await
}

/// A tunnel is one long answer, and cut as others are.
async fn serve_tunnel<H: Handler>(tunnel: H::Tunnel, connection: Rc<Connection>, watch: &Watch, drain: &Drain) {
    let cut = poll_fn(|cx| match watch.stage(cx) {
        Stage::Cut => {
            drain.cut(true);
            Poll::Ready(())
        }
        _ => Poll::Pending,
    });
    tunnel.run(TunnelIo::new(connection), cut).await;
}

/// Waits for a head: within the time of a first one, or of an idle connection and then of a head.
async fn has_head(connection: &Connection, watch: &Watch) -> bool {
    poll_fn(|cx| {
        // Agreed upon before the first byte.
        if connection.is_http2() {
            return Poll::Ready(true);
        }
        // A request that is here is answered, even when idle connections are being closed.
        if let Poll::Ready(has_head) = connection.poll_head(cx) {
            return Poll::Ready(has_head);
        }
        if watch.stage(cx) >= Stage::CloseIdle {
            return Poll::Ready(false);
        }
        connection.poll_expired(cx).map(|_| false)
    })
    .await
}

fn builder<H: Handler>(worker: &Worker<H>) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        // It is `Connection::poll_gone` that looks.
        .half_close(true)
        // `Wire` has its own limits and answers for them; hyper's come after. Its default of 100 fields is ours too: set,
        // it would be two allocations per head.
        .max_buf_size(worker.max_head + 4096);
    builder
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    peer: Rc<Peer>,
    worker: Rc<Worker<H>>,
    exchange: Exchange,
    tunnel: &RefCell<Option<H::Tunnel>>,
) -> Result<Response<Tracked<H::Body>>, Infallible> {
    let refusal = exchange.0.begin(!request.body().is_end_stream());
    // HTTP/1.0 has neither chunks nor interim responses (RFC 9110 §15.2).
    let knows_chunks = request.version() > Version::HTTP_10;
    let mut response = if let Some(denial) = refusal {
        worker.handler.refuse(denial, &peer, None)
    } else {
        let interim = exchange.0.interim();
        let response = worker.handler.handle(request, &peer, knows_chunks.then_some(interim)).await;
        if !interim.is_empty() {
            poll_fn(|cx| interim.poll_empty(cx)).await;
        }
        response
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        exchange.0.switch();
        *tunnel.borrow_mut() = H::take_tunnel(response.body_mut());
    } else if worker.drain.stage() > Stage::Serve {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if !knows_chunks && response.body().size_hint().exact().is_none() {
        exchange.0.end_by_close();
    }
    Ok(response.map(|body| Tracked { body, exchange }))
}

/// A request from its head to the end of its answer, whichever way that ends.
struct Exchange(Rc<Connection>);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.end();
    }
}

pin_project_lite::pin_project! {
    /// An answer's body; its end is the exchange's.
    struct Tracked<B> {
        #[pin]
        body: B,
        exchange: Exchange,
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An error with its causes, for the log.
pub(super) struct ErrorChain<'e>(pub(super) &'e (dyn std::error::Error + 'static));

impl std::fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
