//! One worker's connections to the origin.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::admission::{Admission, Turn};
use super::body::{Exchange, RequestBody};
use super::connect::{OriginIo, Watch, connect};
use super::places::{Place, Places};
use super::relay::Relay;
use crate::counter::Counter;
use crate::deadline::{Deadline, Deadlines};
use crate::denial::Denial;
use crate::interim::Interim;

/// The most that is read at once, in bytes: 64 KiB of a body together with the head before it. A response head alone may
/// be as large.
const MAX_READ: usize = 72 * 1024;

/// The connections that are idle. A clone is the same pool.
#[derive(Clone, Debug)]
pub(super) struct Pool(Rc<Connections>);

/// What one worker counts of its connections to the origin. On no cache line of another's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolCounters {
    /// Connections that were opened.
    pub opened: Counter,
    /// Times that one was used once more.
    pub reused: Counter,
}

#[derive(Debug)]
struct Connections {
    upstream: Authority,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// The one used last is taken first: the others may then end.
    idle: RefCell<Vec<Idle>>,
    /// When the oldest of them has been idle for too long.
    prune: Deadline,
    admission: Admission<Connection>,
    counters: Arc<PoolCounters>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
struct Connection {
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
    /// Whether the origin has nothing to say before it is asked.
    fn is_fit(&self) -> bool {
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
pub(super) struct Lease {
    connection: Connection,
    pool: Weak<Connections>,
    is_fresh: bool,
    may_switch: bool,
}

/// What became of a request that got no response.
pub(super) struct Failure {
    /// The request, when nothing of it was sent.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// Whether the origin had begun to answer.
    pub(super) has_answered: bool,
    /// Whether the connection had been used before: it may have been closed meanwhile.
    pub(super) was_idle: bool,
    pub(super) error: hyper::Error,
}

impl Pool {
    /// An empty pool. Needs a local runtime, in which its connections live.
    pub(super) fn new(settings: &super::Settings, places: &Places, deadlines: &Deadlines) -> Self {
        let connections = Rc::new(Connections {
            upstream: settings.upstream.clone(),
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            idle: RefCell::default(),
            prune: deadlines.deadline(),
            admission: Admission::new(places.join()),
            counters: Arc::default(),
        });
        tokio::task::spawn_local(prune(Rc::clone(&connections)));
        tokio::task::spawn_local(attend(Rc::clone(&connections)));
        Self(connections)
    }

    pub(super) fn counters(&self) -> &Arc<PoolCounters> {
        &self.0.counters
    }

    /// A connection that was used before and can be used again.
    pub(super) fn take(&self) -> Option<Lease> {
        let mut idle = self.0.idle.borrow_mut();
        let now = Instant::now();
        while let Some(Idle { connection, since }) = idle.pop() {
            self.0.admission.idle(idle.len());
            if now < since + self.0.idle_timeout && connection.is_fit() {
                return Some(self.again(connection));
            }
        }
        None
    }

    /// A connection when none is idle: a new one, or one that is put back while this request waits for it.
    pub(super) async fn lease(&self, exchange: &Exchange) -> Result<Lease, Denial> {
        let pool = &self.0;
        let admitted = pool.admission.admit(|| {
            // The origin knows nothing of this request: its time does not pass.
            exchange.disarm();
            let deadline = exchange.deadline().another();
            deadline.arm(Instant::now() + pool.connect_timeout);
            (deadline, pool.connect_timeout)
        });
        let turn = admitted.await?;
        if exchange.is_complete() {
            exchange.complete();
        }
        match turn {
            Turn::Again(connection) => Ok(self.again(connection)),
            Turn::New(place) => self.connect(place).await,
        }
    }

    fn again(&self, connection: Connection) -> Lease {
        connection.watch.begin();
        self.0.counters.reused.add(1);
        Lease { connection, pool: Rc::downgrade(&self.0), is_fresh: false, may_switch: false }
    }

    async fn connect(&self, place: Place) -> Result<Lease, Denial> {
        let io = connect(&self.0.upstream, self.0.connect_timeout, place).await?;
        let watch = io.watch();
        let handshake = http1::Builder::new().max_buf_size(MAX_READ).handshake(TokioIo::new(io));
        let (sender, driver) =
            handshake.await.map_err(|error| Denial::UpstreamUnreachable(error.to_string().into()))?;
        self.0.counters.opened.add(1);
        let connection = Connection { sender, watch, driver: Driver::Inline(Box::new(driver)), relay: Relay::new() };
        Ok(Lease { connection, pool: Rc::downgrade(&self.0), is_fresh: true, may_switch: false })
    }
}

impl Lease {
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
            unsent: error.take_message(),
            has_answered: self.connection.watch.has_received(),
            was_idle: !self.is_fresh,
            error: error.into_error(),
        })
    }

    /// The origin has switched protocols: its end of the connection, and what came behind the head of its answer.
    pub(super) async fn switched(mut self) -> Option<(OriginIo, Bytes)> {
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
    pub(super) fn poll_frame(
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
    pub(super) fn detach(&mut self) {
        self.connection.driver.detach();
    }

    /// The response is complete: the connection may be used again, once the request is.
    pub(super) fn end(self, exchange: &Rc<Exchange>) {
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

impl Connections {
    fn put(&self, connection: Connection) {
        if self.admission.is_wanted() {
            // One that is not fit closes, and its place goes to who waits.
            let fit = Some(connection).filter(Connection::is_fit);
            if let Some(unwanted) = fit.and_then(|connection| self.admission.hand_on(connection)) {
                self.keep(unwanted);
            }
            return;
        }
        self.keep(connection);
    }

    fn keep(&self, connection: Connection) {
        let since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            self.prune.arm(since + self.idle_timeout);
        }
        idle.push(Idle { connection, since });
        self.admission.idle(idle.len());
    }
}

/// Lets other workers have the places of idle connections, and who waits here those that others let us have.
async fn attend(pool: Rc<Connections>) {
    let give_up = || {
        let mut idle = pool.idle.borrow_mut();
        let oldest = (!idle.is_empty()).then(|| idle.remove(0));
        pool.admission.idle(idle.len());
        drop(idle);
        oldest.is_some()
    };
    pool.admission.attend(give_up).await;
}

/// Closes what has been idle for too long.
async fn prune(pool: Rc<Connections>) {
    loop {
        pool.prune.elapsed().await;
        pool.prune.disarm();
        let mut idle = pool.idle.borrow_mut();
        let now = Instant::now();
        idle.retain(|idle| now < idle.since + pool.idle_timeout && !idle.connection.sender.is_closed());
        pool.admission.idle(idle.len());
        if let Some(oldest) = idle.iter().map(|idle| idle.since).min() {
            pool.prune.arm(oldest + pool.idle_timeout);
        }
    }
}

#[cfg(test)]
mod tests;
