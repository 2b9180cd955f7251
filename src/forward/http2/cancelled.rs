//! Streams that nobody waits for any more and that are too young to be reset.
//!
//! To a server, a request that is reset before it has got round to it looks like an attack (CVE-2023-44487), and many such
//! end the connection: that of everybody who shares it. hyper's takes twenty, whoever sent them. So it is given time to
//! get round to it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use tokio::time::Instant;

use crate::deadline::Deadline;

/// How old a request is when it may be reset.
const GRACE: Duration = Duration::from_millis(100);

/// In the order in which they may be reset, or nearly so.
#[derive(Debug)]
pub(super) struct Cancelled {
    /// `None` when the connection has ended.
    streams: RefCell<Option<VecDeque<(Instant, Handles)>>>,
    due: Deadline,
}

/// Once dropped, the stream is reset.
#[derive(Debug)]
pub(super) struct Handles {
    pub(super) response: ResponseFuture,
    /// Of the request.
    pub(super) body: SendStream<Bytes>,
}

impl Cancelled {
    pub(super) fn new(due: Deadline) -> Self {
        Self { streams: RefCell::new(Some(VecDeque::new())), due }
    }

    /// Keeps a stream that is too young; whether it is.
    pub(super) fn keep(&self, sent: Instant, handles: Handles) -> bool {
        let mut streams = self.streams.borrow_mut();
        let Some(streams) = streams.as_mut().filter(|_| sent.elapsed() < GRACE) else { return false };
        let at = sent + GRACE;
        if streams.is_empty() {
            self.due.arm(at);
        }
        streams.push_back((at, handles));
        true
    }

    /// Waits until some are old enough.
    pub(super) async fn due(&self) {
        self.due.elapsed().await;
    }

    /// Resets those; how many.
    pub(super) fn reset(&self) -> usize {
        self.due.disarm();
        let mut streams = self.streams.borrow_mut();
        let Some(streams) = streams.as_mut() else { return 0 };
        let (before, now) = (streams.len(), Instant::now());
        while streams.front().is_some_and(|(at, _)| *at <= now) {
            streams.pop_front();
        }
        if let Some((at, _)) = streams.front() {
            self.due.arm(*at);
        }
        before - streams.len()
    }

    /// The connection has ended, and with it all of them; how many.
    pub(super) fn end(&self) -> usize {
        self.streams.borrow_mut().take().map_or(0, |streams| streams.len())
    }
}
