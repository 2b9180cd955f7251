//! Streams and connections that end for what the client sent, without an answer of ours: the h2 crate ends them by itself,
//! or we cut a flood. Each is counted. Few are logged, since any client can cause as many as it likes.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::counter::Counter;
use crate::peer::Peer;

/// Names and numbers of the error codes that streams and connections are ended with here (RFC 9113 §7); all others are last.
const CODES: [(&str, u32); 9] = [
    ("PROTOCOL_ERROR", 1),
    ("INTERNAL_ERROR", 2),
    ("FLOW_CONTROL_ERROR", 3),
    ("STREAM_CLOSED", 5),
    ("FRAME_SIZE_ERROR", 6),
    ("REFUSED_STREAM", 7),
    ("COMPRESSION_ERROR", 9),
    ("ENHANCE_YOUR_CALM", 11),
    ("other", u32::MAX),
];
/// How many lines a worker logs in a [`PERIOD`].
const MAX_LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// How many there were on one worker.
#[derive(Debug, Default)]
pub(in crate::server) struct Errors {
    streams: [Counter; CODES.len()],
    connections: [Counter; CODES.len()],
}

impl Errors {
    /// Of each kind: `stream` or `connection`, the name of the code, and how many there were.
    pub(in crate::server) fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        [("stream", &self.streams), ("connection", &self.connections)].into_iter().flat_map(|(scope, counters)| {
            CODES.iter().zip(counters).map(move |((code, _), counter)| (scope, *code, counter.value()))
        })
    }
}

/// An end of a stream, or of a connection where `stream` is `None`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ended {
    pub(super) stream: Option<u32>,
    /// By its number.
    pub(super) code: u32,
}

/// Counts and logs for one worker.
#[derive(Debug)]
pub(in crate::server) struct Reporter {
    errors: Arc<Errors>,
    since: Cell<Instant>,
    lines: Cell<u32>,
    unlogged: Cell<u64>,
}

impl Reporter {
    pub(in crate::server) fn new(errors: Arc<Errors>) -> Self {
        Self { errors, since: Cell::new(Instant::now()), lines: Cell::new(0), unlogged: Cell::new(0) }
    }

    pub(super) fn report(&self, peer: &Peer, ended: Ended) {
        let counters = if ended.stream.is_some() { &self.errors.streams } else { &self.errors.connections };
        let is_code = |(_, number): &&(&str, u32)| *number == ended.code || *number == u32::MAX;
        let Some(((error, _), counter)) = CODES.iter().zip(counters).find(|(code, _)| is_code(code)) else { return };
        counter.add(1);
        if self.since.get().elapsed() >= PERIOD {
            self.since.set(Instant::now());
            self.lines.set(0);
        }
        if self.lines.get() >= MAX_LINES {
            return self.unlogged.set(self.unlogged.get() + 1);
        }
        self.lines.set(self.lines.get() + 1);
        let unlogged = self.unlogged.take();
        if let Some(stream) = ended.stream {
            tracing::info!(%peer, stream, error, unlogged, "an HTTP/2 stream was reset for what the client sent");
        } else {
            tracing::info!(%peer, error, unlogged, "an HTTP/2 connection was ended for what the client sent");
        }
    }
}
