//! The acceptor: hands each connection to the worker with the fewest, and ends them all in order.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::listening::{Accepted, Acceptor, Listening, SocketFile};
use super::shutdown::Stage;
use super::worker::{Handle, Load};
use super::{MakeHandler, Settings};
use crate::counter::Counter;
use crate::peer::Peer;

/// How long to wait when descriptors or memory have run out: accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a worker may take to drop what it was told to cut.
const CUT_TIME: Duration = Duration::from_secs(1);

/// How a server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Every request that had begun was answered.
    Clean,
    /// Some were still in flight when the grace period was over.
    Cut,
    /// A worker was lost; nothing more can be promised.
    Failed,
}

/// A listening socket and its workers.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    listener: Acceptor,
    file: Option<SocketFile>,
    workers: Vec<Handle>,
    next: usize,
    fewer: Arc<Notify>,
    accepts: Arc<Accepts>,
    is_failing: bool,
}

/// What became of what the kernel had for us.
#[derive(Debug, Default)]
struct Accepts {
    done: Counter,
    failed: Counter,
}

/// The connections of a server, for whoever looks at them from elsewhere.
#[derive(Debug)]
pub struct Connections {
    workers: Vec<Arc<Load>>,
    accepts: Arc<Accepts>,
}

impl Connections {
    /// How many there were so far.
    pub fn accepted(&self) -> u64 {
        self.accepts.done.value()
    }

    /// How often one could not be accepted, for want of descriptors or memory.
    pub fn failures(&self) -> u64 {
        self.accepts.failed.value()
    }

    /// What of HTTP/2 was ended for what clients sent, without an answer: `stream` or `connection`, the error code, and how
    /// many there were. A worker's numbers are apart from those of others.
    pub fn http2_errors(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.workers.iter().flat_map(|worker| worker.errors().counts())
    }

    /// How many there are.
    pub fn current(&self) -> u64 {
        self.workers.iter().map(|worker| worker.connections() as u64).sum()
    }
}

impl Server {
    /// Starts the workers. Needs a runtime, which accepts.
    pub fn start<M: MakeHandler>(listening: Listening, settings: Settings, make: &M) -> io::Result<Self> {
        let fewer = Arc::new(Notify::new());
        let workers = (0..settings.workers.get())
            .map(|index| Handle::start(index, make.clone(), &settings, &fewer))
            .collect::<io::Result<_>>()?;
        let (listener, file) = listening.register()?;
        Ok(Self { settings, listener, file, workers, next: 0, fewer, accepts: Arc::default(), is_failing: false })
    }

    /// Its connections.
    pub fn connections(&self) -> Connections {
        let workers = self.workers.iter().map(Handle::watch).collect();
        Connections { workers, accepts: Arc::clone(&self.accepts) }
    }

    /// Serves until `shutdown`, then ends: announced for the drain delay, idle connections closed, the rest awaited for
    /// the grace period, then cut.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Ended {
        tokio::select! {
            () = self.accept() => return Ended::Failed,
            () = shutdown => {}
        }
        self.advance(Stage::Announce);
        let drain_delay = self.settings.drain_delay;
        if timeout(drain_delay, self.accept()).await.is_ok() {
            return Ended::Failed;
        }
        // What the kernel has accepted for us would be reset with the socket; at a path, nothing comes behind it.
        drop(self.file.take());
        while let Poll::Ready(Ok((stream, address))) = poll_fn(|cx| Poll::Ready(self.listener.poll_accept(cx))).await {
            self.hand_over(stream, address);
        }
        let Self { listener, mut workers, settings, .. } = self;
        drop(listener);
        end(&mut workers, settings.shutdown_grace_period).await
    }

    /// Accepts for as long as every worker lives.
    async fn accept(&mut self) {
        loop {
            while self.workers.iter().map(Handle::load).sum::<usize>() >= self.settings.max_connections {
                self.fewer.notified().await;
            }
            match poll_fn(|cx| self.listener.poll_accept(cx)).await {
                Ok((stream, address)) => self.hand_over(stream, address),
                Err(error) => self.pause(&error).await,
            }
            if self.workers.iter().any(Handle::is_lost) {
                return;
            }
        }
    }

    fn hand_over(&mut self, stream: Accepted, address: Option<IpAddr>) {
        self.accepts.done.add(1);
        self.is_failing = false;
        let stream = match stream.release() {
            Ok(stream) => stream,
            Err(error) => {
                // The client is gone already.
                tracing::debug!(%error, "a connection ended before it was served");
                return;
            }
        };
        // The first with the fewest, from the one after the last: equals take turns.
        let count = self.workers.len();
        let fewest =
            (0..count).map(|step| (self.next + step) % count).min_by_key(|at| self.workers.get(*at).map(Handle::load));
        if let Some((at, worker)) = fewest.and_then(|at| Some((at, self.workers.get(at)?))) {
            self.next = (at + 1) % count;
            worker.serve(stream, Peer::new(address));
        }
    }

    /// A client that went away before it was accepted costs nothing; anything else is ours, and lasts a while.
    async fn pause(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        self.accepts.failed.add(1);
        // Once, not ten times a second for as long as it lasts.
        if !std::mem::replace(&mut self.is_failing, true) {
            let pause = ACCEPT_PAUSE.as_millis();
            tracing::warn!(%error, "accepting failed; trying every {pause} ms until it succeeds");
        }
        sleep(ACCEPT_PAUSE).await;
    }

    fn advance(&self, stage: Stage) {
        for worker in &self.workers {
            worker.advance(stage);
        }
    }
}

/// Ends all workers, at the latest after `grace`.
async fn end(workers: &mut [Handle], grace: Duration) -> Ended {
    for worker in &*workers {
        worker.advance(Stage::CloseIdle);
    }
    if timeout(grace, all_ended(workers)).await.is_err() {
        for worker in &*workers {
            worker.advance(Stage::Cut);
        }
        drop(timeout(CUT_TIME, all_ended(workers)).await);
    }
    let ends = || workers.iter().map(Handle::has_cut);
    if ends().any(|has_cut| has_cut == Some(true)) {
        Ended::Cut
    } else if ends().any(|has_cut| has_cut.is_none()) {
        Ended::Failed
    } else {
        Ended::Clean
    }
}

async fn all_ended(workers: &mut [Handle]) {
    for worker in workers {
        worker.ended().await;
    }
}
