//! A connection and its streams.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use http::uri::Scheme;
use tokio::time::Instant;

use super::cancelled::{Cancelled, Handles};
use super::silence::{Silence, Verdict};
use crate::deadline::Deadline;
use crate::forward::pool::Connections;
use crate::forward::response_head::MAX_HEAD;
use crate::forward::stream::{OriginIo, Reads};

/// The most requests at a time on one connection, whatever the origin permits: what is lost with it, and what shares its
/// congestion window.
pub(in crate::forward) const MAX_STREAMS: usize = 100;
/// What an origin may send of one body before the client has taken it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Enough for all bodies at a time: a client that takes nothing holds up no other.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;
/// What is kept of one request body until the origin takes it.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we have reset and that the origin may not know of yet.
const MAX_RESET: usize = 1024;
/// After how many resets a connection takes no more requests.
const MAX_RESETS: usize = 200;
/// What no origin permits: it has not said yet what it does.
const UNKNOWN: usize = usize::MAX - 1;
/// How often it is seen whether anything came.
const TICK: Duration = Duration::from_secs(10);
/// How long a request may have waited on a silent connection before its end counts against that.
const SUSPICIOUS: Duration = Duration::from_secs(5);

/// A connection. It ends when nobody holds it any more.
pub(in crate::forward) struct Connection {
    scheme: Scheme,
    sender: SendRequest<Bytes>,
    reads: Reads,
    streams: Cell<usize>,
    idle_since: Cell<Option<Instant>>,
    is_retired: Cell<bool>,
    /// How many streams were reset.
    resets: Cell<usize>,
    cancelled: Rc<Cancelled>,
}

/// What reads and writes, for as long as it is polled.
pub(in crate::forward) struct Driver {
    connection: client::Connection<OriginIo, Bytes>,
    reads: Reads,
    cancelled: Rc<Cancelled>,
}

impl Connection {
    /// Waits until the origin has said how many streams it permits, and with it that it speaks HTTP/2.
    pub(in crate::forward) async fn begin(
        io: OriginIo,
        scheme: Scheme,
        due: Deadline,
    ) -> Result<(Rc<Self>, Driver), h2::Error> {
        let reads = io.reads();
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD)
            .initial_max_send_streams(UNKNOWN)
            .max_concurrent_reset_streams(MAX_RESET)
            // What comes for a stream that was reset long ago is no attack: the origin is ours.
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(io);
        let (sender, mut connection) = handshake.await?;
        poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            if sender.current_max_send_streams() != UNKNOWN {
                return Poll::Ready(Ok(()));
            }
            ended.map(|ended| ended.and(Err(h2::Reason::CONNECT_ERROR.into())))
        })
        .await?;
        let cancelled = Rc::new(Cancelled::new(due));
        let begun = Self {
            scheme,
            sender,
            reads: reads.clone(),
            streams: Cell::new(0),
            idle_since: Cell::new(Some(Instant::now())),
            is_retired: Cell::new(false),
            resets: Cell::new(0),
            cancelled: Rc::clone(&cancelled),
        };
        Ok((Rc::new(begun), Driver { connection, reads, cancelled }))
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme.clone()
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// Whether it takes requests: neither side has said that it ends.
    pub(in crate::forward) fn is_open(&self) -> bool {
        let noop = &mut Context::from_waker(Waker::noop());
        !self.is_retired.get() && matches!(self.sender().poll_ready(noop), Poll::Ready(Ok(())))
    }

    pub(in crate::forward) fn has_room(&self) -> bool {
        self.streams.get() < MAX_STREAMS.min(self.sender.current_max_send_streams()) && self.is_open()
    }

    /// Whether the origin permits no stream at all.
    pub(in crate::forward) fn takes_none(&self) -> bool {
        self.sender.current_max_send_streams() == 0
    }

    pub(in crate::forward) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Since when it has been idle, if it is.
    pub(in crate::forward) fn idle_since(&self) -> Option<Instant> {
        self.idle_since.get()
    }

    fn release(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.is_idle() {
            self.idle_since.set(Some(Instant::now()));
        }
    }

    /// One more stream was reset. Servers count them (nghttp2: a thousand at a time) and end the connection.
    fn note_reset(self: &Rc<Self>, pool: &Weak<Connections>) {
        self.resets.set(self.resets.get() + 1);
        if self.resets.get() == MAX_RESETS
            && let Some(pool) = pool.upgrade()
        {
            pool.retire(self);
        }
    }

    /// Takes no more requests.
    pub(in crate::forward) fn retire(&self) {
        self.is_retired.set(true);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("streams", &self.streams).finish_non_exhaustive()
    }
}

/// The right to send one request on a connection.
#[derive(Debug)]
pub(in crate::forward) struct Stream {
    connection: Rc<Connection>,
    pool: Weak<Connections>,
    state: State,
    handles: Option<Handles>,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug)]
enum State {
    /// It has not begun, or is over.
    Quiet,
    /// It was sent, and so many things had come until then.
    Sent(Instant, u64),
    /// The head of its response has come.
    Answered,
}

impl Stream {
    pub(in crate::forward) fn new(connection: Rc<Connection>, pool: Weak<Connections>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        connection.idle_since.set(None);
        Self { connection, pool, state: State::Quiet, handles: None }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn sent(&mut self, handles: Handles) {
        self.state = State::Sent(Instant::now(), self.connection.reads.count());
        self.handles = Some(handles);
    }

    /// Until the head of the response has come.
    pub(super) fn handles(&mut self) -> Option<&mut Handles> {
        self.handles.as_mut()
    }

    pub(super) fn answered(&mut self) -> Option<Handles> {
        self.state = State::Answered;
        self.handles.take()
    }

    /// Nothing is left to be reset.
    pub(super) fn is_over(&mut self) {
        self.state = State::Quiet;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (connection, state) = (&self.connection, self.state);
        if matches!(state, State::Sent(..) | State::Answered) {
            connection.note_reset(&self.pool);
        }
        if let State::Sent(sent, _) = state
            && self.handles.take().is_some_and(|handles| connection.cancelled.keep(sent, handles))
        {
            return;
        }
        connection.release();
        let Some(pool) = self.pool.upgrade() else { return };
        if let State::Sent(sent, reads) = state
            && reads == connection.reads.count()
            && sent.elapsed() >= SUSPICIOUS
        {
            // It may be dead; the next request finds out less dearly on another one.
            pool.retire(connection);
        }
        pool.released(connection);
    }
}

impl Driver {
    /// Until the connection ends, or is found dead. `released` is told when streams end that nobody waits for.
    pub(in crate::forward) async fn run(
        self,
        of: &Weak<Connection>,
        tick: &Deadline,
        released: impl Fn(&Rc<Connection>),
    ) {
        let cancelled = Rc::clone(&self.cancelled);
        let release = |count| {
            let Some(connection) = of.upgrade().filter(|_| count > 0) else { return };
            (0..count).for_each(|_| connection.release());
            released(&connection);
        };
        tokio::select! {
            () = self.drive(of, tick) => {}
            () = async {
                loop {
                    cancelled.due().await;
                    release(cancelled.reset());
                }
            } => {}
        }
        release(cancelled.end());
    }

    async fn drive(mut self, of: &Weak<Connection>, tick: &Deadline) {
        let mut pings = self.connection.ping_pong();
        let (mut silence, mut before) = (Silence::default(), self.reads.count());
        loop {
            tick.arm_in(TICK);
            tokio::select! {
                ended = &mut self.connection => {
                    // An error goes to the exchanges that it concerns.
                    if let Err(error) = ended {
                        tracing::trace!(%error, "a connection to the origin ended");
                    }
                    return;
                }
                () = tick.elapsed() => {
                    let reads = self.reads.count();
                    let is_in_use = of.upgrade().is_some_and(|connection| !connection.is_idle());
                    match silence.tick(reads != before, is_in_use) {
                        Verdict::Fine => {}
                        Verdict::Ask => pings.iter_mut().for_each(ping),
                        Verdict::Dead => {
                            tracing::warn!("a connection to the origin is dead and was closed");
                            return;
                        }
                    }
                    before = reads;
                }
            }
        }
    }
}

/// Its answer is seen by the bytes that it takes.
fn ping(pings: &mut PingPong) {
    // The one before may still be there to be taken away.
    let _ = pings.poll_pong(&mut Context::from_waker(Waker::noop()));
    let _ = pings.send_ping(Ping::opaque());
}
