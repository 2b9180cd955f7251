//! HTTP/1.1 to the origin: one request at a time on a connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::{Connections, Failure};
use crate::forward::answer::Broken;
use crate::forward::body::{Exchange, RequestBody};
use crate::forward::relay::Relay;
use crate::forward::stream::{OriginIo, Watch};
use crate::interim::Interim;

/// The most that is read at once, in bytes: 64 KiB of a body together with the head before it. A response head alone may
/// be as large.
const MAX_READ: usize = 72 * 1024;

/// A connection that no request uses.
#[derive(Debug)]
pub(in crate::forward) struct Connection {
    sender: SendRequest<RequestBody>,
    watch: Watch,
    driver: Driver,
    relay: Relay,
}

/// What reads and writes.
///
/// Whoever waits for the response does so itself: a task for each connection would be woken, and would wake the other,
/// several times per request.
#[derive(Debug)]
enum Driver {
    Inline(Box<http1::Connection<TokioIo<OriginIo>, RequestBody>>),
    /// While request and response go on at their own pace, neither may wait for the other.
    Task {
        _guard: Guard,
    },
    /// It is no longer HTTP.
    Switched(Box<http1::Parts<TokioIo<OriginIo>>>),
    Ended,
}

/// A task that ends with its connection: by itself, it would go on for as long as the origin takes nothing of a request
/// that nobody waits for any more.
#[derive(Debug)]
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Driver {
    /// `may_switch`: what is left of the connection may be something else than HTTP.
    fn poll(&mut self, cx: &mut Context<'_>, may_switch: bool) {
        let Self::Inline(driver) = self else { return };
        if let Poll::Ready(ended) = Pin::new(driver).poll(cx) {
            let may_switch = may_switch && ended.is_ok();
            log_end(ended);
            *self = match std::mem::replace(self, Self::Ended) {
                Self::Inline(driver) if may_switch => Self::Switched(Box::new(driver.into_parts())),
                _ => Self::Ended,
            };
        }
    }

    fn detach(&mut self) {
        *self = match std::mem::replace(self, Self::Ended) {
            Self::Inline(driver) => {
                let task = tokio::task::spawn_local(async { log_end(driver.await) });
                Self::Task { _guard: Guard(task.abort_handle()) }
            }
            other => other,
        };
    }
}

/// An error goes to the exchange that it concerns.
fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection to the origin ended");
    }
}

impl Connection {
    pub(super) async fn begin(io: OriginIo) -> hyper::Result<Self> {
        let watch = io.watch();
        let (sender, driver) = http1::Builder::new().max_buf_size(MAX_READ).handshake(TokioIo::new(io)).await?;
        Ok(Self { sender, watch, driver: Driver::Inline(Box::new(driver)), relay: Relay::new() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the origin has nothing to say before it is asked.
    pub(super) fn is_fit(&self) -> bool {
        self.sender.is_ready() && self.watch.is_quiet()
    }

    /// Waits until another request may be sent; whether one may.
    async fn ready(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        // For as long as it takes, in a task of its own, which the connection wakes itself.
        poll_fn(|cx| {
            driver.poll(cx, false);
            sender.poll_ready(cx)
        })
        .await
        .is_ok()
    }
}

/// A connection for one exchange; dropped before [`Lease::end`], the connection closes.
#[derive(Debug)]
pub(in crate::forward) struct Lease {
    connection: Connection,
    pool: Weak<Connections>,
    is_fresh: bool,
    may_switch: bool,
}

impl Lease {
    /// Of a connection that has just been opened.
    pub(super) const fn fresh(connection: Connection, pool: Weak<Connections>) -> Self {
        Self { connection, pool, is_fresh: true, may_switch: false }
    }

    /// Of one that was used before.
    pub(super) fn again(connection: Connection, pool: Weak<Connections>) -> Self {
        connection.watch.begin();
        Self { connection, pool, is_fresh: false, may_switch: false }
    }

    /// What is to be sent asks for another protocol.
    pub(super) const fn let_switch(&mut self) {
        self.may_switch = true;
    }

    /// Sends one request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        client: Option<&Interim>,
    ) -> Result<Response<Incoming>, Failure> {
        let Connection { sender, driver, relay, watch } = &mut self.connection;
        let may_switch = self.may_switch;
        watch.interim().begin(client);
        let quiet = relay.quiet();
        let mut sent = pin!(sender.try_send_request(request));
        drop(quiet);
        let sent = poll_fn(|cx| {
            relay.poll(cx, |cx| {
                driver.poll(cx, may_switch);
                sent.as_mut().poll(cx)
            })
        });
        sent.await.map_err(|mut error| Failure {
            unsent: error.take_message().map(Request::into_body),
            has_answered: self.connection.watch.has_received(),
            was_idle: !self.is_fresh,
            error: Broken::Http1(error.into_error()),
        })
    }

    /// The origin has switched protocols: its end of the connection, and what came behind the head of its answer.
    pub(in crate::forward) async fn switched(mut self) -> Option<(OriginIo, Bytes)> {
        let driver = &mut self.connection.driver;
        poll_fn(|cx| {
            driver.poll(cx, true);
            if matches!(driver, Driver::Inline(_)) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        match std::mem::replace(driver, Driver::Ended) {
            Driver::Switched(parts) => Some((parts.io.into_inner().switched(), parts.read_buf)),
            _ => None,
        }
    }

    /// Goes on with the response.
    pub(in crate::forward) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Connection { driver, relay, .. } = &mut self.connection;
        let mut poll_body = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
        if !matches!(driver, Driver::Inline(_)) {
            return poll_body(cx);
        }
        relay.poll(cx, |cx| {
            let polled = poll_body(cx);
            if polled.is_ready() {
                return polled;
            }
            driver.poll(cx, false);
            poll_body(cx)
        })
    }

    /// The response has begun before the request has ended.
    pub(in crate::forward) fn detach(&mut self) {
        self.connection.driver.detach();
    }

    /// The response is complete: the connection may be used again, once the request is.
    pub(in crate::forward) fn end(self, exchange: &Rc<Exchange>) {
        let Self { mut connection, pool, .. } = self;
        if connection.sender.is_ready() {
            if let Some(pool) = pool.upgrade() {
                pool.put(connection);
            }
        } else if !connection.sender.is_closed() {
            // The rest of the request is still on its way, for as long as the origin takes it.
            let exchange = Rc::clone(exchange);
            exchange.await_origin();
            tokio::task::spawn_local(async move {
                tokio::select! {
                    is_ready = connection.ready() => if is_ready && let Some(pool) = pool.upgrade() {
                        pool.put(connection);
                    },
                    () = exchange.deadline().elapsed() => {}
                }
            });
        }
    }
}
