//! One worker's connections to the origin.
//!
//! On one with HTTP/1.1 there is one request at a time; it is put back after each. One with HTTP/2 takes many, and stays
//! in its list meanwhile.

mod attempt;
mod idle;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::attempt::Attempt;
use self::idle::Idle;
use super::admission::{Admission, Turn};
use super::answer::Broken;
use super::body::{Exchange, RequestBody};
use super::connect::Connector;
use super::http1;
use super::http2::{self, Stream};
use super::origin::Protocol;
use super::places::{Place, Places};
use crate::counter::Counter;
use crate::deadline::{Deadline, Deadlines};
use crate::denial::Denial;
use crate::turn::LoopTurn;

/// The connections. A clone is the same pool.
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
pub(super) struct Connections {
    connector: Connector,
    connect_timeout: Duration,
    idle_timeout: Duration,
    http2_idle_timeout: Duration,
    /// Those with HTTP/1.1 that are idle, in the order in which they were put back.
    idle: RefCell<Vec<Idle>>,
    /// Those with HTTP/2 that take requests, idle or not. The first that has room is taken: the others may then end.
    multiplexed: RefCell<Vec<Rc<http2::Connection>>>,
    /// Whether what is opened next may turn out to be one of those.
    may_multiplex: Cell<bool>,
    /// What is being opened for several requests.
    attempts: RefCell<Vec<Rc<Attempt>>>,
    /// When the oldest of the idle ones has been so for too long.
    prune: Deadline,
    next_prune: Cell<Option<Instant>>,
    admission: Admission<Ready>,
    counters: Arc<PoolCounters>,
    scratch: http1::Scratch,
}

/// What a waiting request may be given.
#[derive(Debug)]
enum Ready {
    Http1(http1::Connection),
    Http2(Stream),
}

/// What a request is sent on.
#[derive(Debug)]
pub(super) enum Lease {
    /// A whole connection.
    Http1(http1::Lease),
    /// One stream of many.
    Http2(Box<Stream>),
}

/// What was opened.
#[derive(Debug)]
enum Opened {
    Http1(http1::Connection),
    Http2(Rc<http2::Connection>),
}

/// What became of a request that got no response.
pub(super) struct Failure {
    /// The body, when the origin has acted upon nothing of the request.
    pub(super) unsent: Option<RequestBody>,
    /// Whether the origin had begun to answer.
    pub(super) has_answered: bool,
    /// Whether the connection had been used before: it may have been closed meanwhile.
    pub(super) was_idle: bool,
    pub(super) error: Broken,
}

impl Failure {
    /// Before anything was sent.
    pub(super) fn denied(denial: Denial) -> Self {
        Self { unsent: None, has_answered: false, was_idle: false, error: Broken::Denied(denial) }
    }
}

impl Pool {
    /// An empty pool. Needs a local runtime, in which its connections live.
    pub(super) fn new(settings: &super::Settings, places: &Places, deadlines: &Deadlines) -> Self {
        let connections = Rc::new(Connections {
            connector: Connector { origin: settings.upstream.clone(), tls: settings.tls.clone() },
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            http2_idle_timeout: settings.http2_idle_timeout,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            may_multiplex: Cell::new(settings.upstream.protocol != Protocol::Http1),
            attempts: RefCell::default(),
            prune: deadlines.deadline(),
            next_prune: Cell::new(None),
            admission: Admission::new(places.join()),
            counters: Arc::default(),
            scratch: http1::Scratch::default(),
        });
        tokio::task::spawn_local(idle::prune(Rc::clone(&connections)));
        tokio::task::spawn_local(idle::attend(Rc::clone(&connections)));
        Self(connections)
    }

    pub(super) fn counters(&self) -> &Arc<PoolCounters> {
        &self.0.counters
    }

    /// Whether HTTP/1.1 may be spoken to the origin.
    pub(super) fn has_http1(&self) -> bool {
        self.0.connector.origin.protocol != Protocol::Http2
    }

    /// Whether nothing but HTTP/1.1 is spoken to the origin.
    pub(super) fn has_http1_alone(&self) -> bool {
        self.0.connector.origin.protocol == Protocol::Http1
    }

    /// A connection that was used before and can be used again; only with HTTP/1.1 another protocol can be asked for.
    pub(super) fn take(&self, needs_http1: bool) -> Option<Lease> {
        let idle = self.0.take_idle();
        let ready = if needs_http1 { idle } else { idle.or_else(|| self.0.take_stream()) };
        ready.map(|ready| self.0.again(ready))
    }

    /// A connection when none can be taken: a new one, or one that is put back while this request waits for it.
    pub(super) async fn lease(&self, exchange: &Exchange, needs_http1: bool) -> Result<Lease, Denial> {
        let pool = &self.0;
        if needs_http1 {
            return match self.admit(exchange).await? {
                Turn::Again(ready @ Ready::Http1(_)) => Ok(pool.again(ready)),
                Turn::Again(Ready::Http2(_)) => Err(pool.admission.none_with_http1()),
                Turn::New(place) => Ok(pool.first(pool.open(place, false).await?)),
            };
        }
        loop {
            if let Some(stream) = pool.take_stream() {
                return Ok(pool.again(stream));
            }
            if let Some(opened) = Attempt::join(pool) {
                match opened.await {
                    Ok(lease) => return lease,
                    // Not for everybody: the next one.
                    Err(_dropped) => continue,
                }
            }
            let place = match self.admit(exchange).await? {
                Turn::Again(ready) => return Ok(pool.again(ready)),
                Turn::New(place) => place,
            };
            if !pool.may_multiplex.get() {
                let opened = pool.open(place, true).await?;
                return Ok(pool.first(opened));
            }
            Attempt::begin(pool, place);
        }
    }

    async fn admit(&self, exchange: &Exchange) -> Result<Turn<Ready>, Denial> {
        let pool = &self.0;
        let admitted = pool.admission.admit(|| {
            // The origin knows nothing of this request: its time does not pass.
            exchange.disarm();
            let deadline = exchange.deadline().another();
            deadline.arm_in(pool.connect_timeout);
            (deadline, pool.connect_timeout)
        });
        let turn = admitted.await?;
        if exchange.is_complete() {
            exchange.complete();
        }
        Ok(turn)
    }
}

impl Connections {
    fn take_idle(&self) -> Option<Ready> {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return None;
        }
        let now = self.prune.now();
        while let Some(Idle { connection, since, turn }) = idle::take_last(&mut idle) {
            self.tell_idle(idle.len());
            if now < since + self.idle_timeout && connection.is_fit(turn) {
                return Some(Ready::Http1(connection));
            }
        }
        None
    }

    fn take_stream(self: &Rc<Self>) -> Option<Ready> {
        let connection = {
            let mut multiplexed = self.multiplexed.borrow_mut();
            // What is under way on one that the origin gives up ends there.
            multiplexed.retain(|connection| connection.is_open());
            Rc::clone(multiplexed.iter().find(|connection| connection.has_room())?)
        };
        let stream = Stream::new(connection, Rc::downgrade(self));
        self.tell_idle(self.idle.borrow().len());
        Some(Ready::Http2(stream))
    }

    fn again(self: &Rc<Self>, ready: Ready) -> Lease {
        self.counters.reused.add(1);
        match ready {
            Ready::Http1(connection) => Lease::Http1(http1::Lease::again(connection, Rc::downgrade(self))),
            Ready::Http2(stream) => Lease::Http2(stream.into()),
        }
    }

    fn first(self: &Rc<Self>, opened: Opened) -> Lease {
        match opened {
            Opened::Http1(connection) => Lease::Http1(http1::Lease::fresh(connection, Rc::downgrade(self))),
            Opened::Http2(connection) => Lease::Http2(Stream::new(connection, Rc::downgrade(self)).into()),
        }
    }

    async fn open(self: &Rc<Self>, place: Place, offers_http2: bool) -> Result<Opened, Denial> {
        let opened = timeout(self.connect_timeout, self.connect(place, offers_http2)).await;
        let late = |_| {
            let limit = self.connect_timeout.as_secs_f32();
            self.connector.unreachable(&format!("no connection within {limit} s"))
        };
        let opened = opened.map_err(late)??;
        self.counters.opened.add(1);
        if offers_http2 {
            self.may_multiplex.set(matches!(opened, Opened::Http2(_)));
        }
        if let Opened::Http2(connection) = &opened {
            self.multiplexed.borrow_mut().push(Rc::clone(connection));
        }
        Ok(opened)
    }

    async fn connect(self: &Rc<Self>, place: Place, offers_http2: bool) -> Result<Opened, Denial> {
        let connected = self.connector.connect(place, offers_http2).await?;
        if connected.is_http2 {
            let unable = |error| self.connector.unreachable(&format!("no HTTP/2: {error}"));
            let scheme = self.connector.origin.scheme();
            let (connection, driver) =
                http2::Connection::begin(connected.io, scheme, self.prune.another()).await.map_err(unable)?;
            let (pool, tick) = (Rc::downgrade(self), self.prune.another());
            let weak = Rc::downgrade(&connection);
            tokio::task::spawn_local(async move {
                let released = |connection: &Rc<_>| {
                    if let Some(pool) = pool.upgrade() {
                        pool.released(connection);
                    }
                };
                driver.run(&weak, &tick, released).await;
                if let Some((pool, connection)) = pool.upgrade().zip(weak.upgrade()) {
                    pool.retire(&connection);
                }
            });
            return Ok(Opened::Http2(connection));
        }
        Ok(Opened::Http1(http1::Connection::new(connected.io, &self.scratch)))
    }

    pub(super) fn put(&self, connection: http1::Connection) {
        if self.admission.is_wanted() {
            // One that is not fit closes, and its place goes to who waits.
            let fit = Some(connection).filter(|connection| connection.is_fit(LoopTurn::now()));
            if let Some(Ready::Http1(unwanted)) =
                fit.and_then(|connection| self.admission.hand_on(Ready::Http1(connection)))
            {
                self.keep(unwanted);
            }
            return;
        }
        self.keep(connection);
    }

    fn keep(&self, connection: http1::Connection) {
        let since = self.prune.now();
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            self.arm(since + self.idle_timeout);
        }
        idle.push(Idle { connection, since, turn: LoopTurn::now() });
        self.tell_idle(idle.len());
    }

    /// A stream has ended.
    pub(super) fn released(self: &Rc<Self>, connection: &Rc<http2::Connection>) {
        if self.admission.is_wanted() {
            if self.admission.must_yield() {
                self.retire(connection);
            } else {
                self.offer(connection);
            }
        }
        if connection.is_idle() {
            self.tell_idle(self.idle.borrow().len());
            self.arm(self.prune.now() + self.http2_idle_timeout);
        }
    }

    /// Gives the room of a connection to who waits here.
    fn offer(self: &Rc<Self>, connection: &Rc<http2::Connection>) {
        while self.admission.has_waiting() && connection.has_room() {
            let stream = Stream::new(Rc::clone(connection), Rc::downgrade(self));
            drop(self.admission.hand(Turn::Again(Ready::Http2(stream))));
        }
    }

    /// Takes no more requests; the connection ends with the last one.
    pub(super) fn retire(&self, connection: &Rc<http2::Connection>) {
        connection.retire();
        self.multiplexed.borrow_mut().retain(|other| !Rc::ptr_eq(other, connection));
        self.tell_idle(self.idle.borrow().len());
    }
}

#[cfg(test)]
mod tests;
