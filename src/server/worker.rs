//! A thread with its own runtime and its own connections.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::allowance::Allowance;
use super::http2::{Errors, Reporter};
use super::io::{Buffers, Connection, Limits};
use super::listening::Released;
use super::preamble::Preamble;
use super::shutdown::{Drain, Stage};
use super::stream::Stream;
use super::{Handler, MakeHandler, Settings, connection};
use crate::deadline::{Deadline, Deadlines};
use crate::peer::Peer;
use crate::turn;

/// What all heads may hold that have begun and are not complete, in bytes. A usual one is complete when it is read first.
const UNFINISHED_SIZE: usize = 16 * 1024 * 1024;
/// What all HTTP/2 connections may hold on which no request has passed, in bytes.
const STRANGERS_SIZE: usize = 16 * 1024 * 1024;

/// What the connections of one worker share.
pub(super) struct Worker<H> {
    pub(super) handler: H,
    pub(super) drain: Rc<Drain>,
    buffers: Buffers,
    pub(super) max_head: usize,
    deadlines: Deadlines,
    limits: Limits,
    preamble: Preamble,
    pub(super) reporter: Rc<Reporter>,
    /// Of heads in HTTP/1.1 that have begun and are not complete.
    unfinished: Allowance,
    /// Of HTTP/2 connections on which no request has passed.
    pub(super) strangers: Allowance,
}

impl<H> Worker<H> {
    /// The state of a connection that has just been accepted.
    pub(super) fn connection(&self, stream: Stream, deadline: Deadline) -> Connection {
        Connection::new(stream, self.buffers.clone(), self.max_head, self.unfinished.nothing(), deadline, self.limits)
    }
}

#[cfg(test)]
impl<H> Worker<H> {
    /// One without a thread of its own.
    pub(super) fn alone(handler: H, limits: Limits, deadlines: &Deadlines) -> Rc<Self> {
        Rc::new(Self {
            handler,
            drain: Rc::default(),
            buffers: Buffers::default(),
            max_head: 64 * 1024,
            deadlines: deadlines.clone(),
            limits,
            preamble: Preamble { proxy_protocol: None, tls: None },
            reporter: Rc::new(Reporter::new(Arc::default())),
            unfinished: Allowance::new(UNFINISHED_SIZE),
            strangers: Allowance::new(STRANGERS_SIZE),
        })
    }
}

/// The acceptor's end of a worker.
#[derive(Debug)]
pub(super) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    load: Arc<Load>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Running(oneshot::Receiver<bool>),
    Ended(Option<bool>),
}

/// How many connections a worker has, whom to tell when one ends, and what of HTTP/2 ended for what clients sent.
#[derive(Debug, Default)]
pub(super) struct Load {
    connections: AtomicUsize,
    fewer: Arc<Notify>,
    errors: Arc<Errors>,
}

impl Load {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self) -> &Errors {
        &self.errors
    }
}

#[derive(Debug)]
enum Order {
    Serve(Released, Peer),
    Advance(Stage),
}

impl Handle {
    /// Starts a worker; `fewer` is told whenever a connection ends.
    pub(super) fn start<M: MakeHandler>(
        index: usize,
        make: M,
        settings: &Settings,
        fewer: &Arc<Notify>,
    ) -> std::io::Result<Self> {
        let (orders, received) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let load = Arc::new(Load { fewer: Arc::clone(fewer), ..Load::default() });
        let thread = Thread { settings: settings.clone(), load: Arc::clone(&load), received };
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || match thread.run(make) {
            // The acceptor may be gone already.
            Ok(has_cut) => drop(end.send(has_cut)),
            Err(error) => tracing::error!(%error, "a worker has no runtime"),
        })?;
        Ok(Self { orders, load, progress: Progress::Running(ended) })
    }

    /// How many connections it has.
    pub(super) fn load(&self) -> usize {
        self.load.connections()
    }

    /// The same for others to look at.
    pub(super) fn watch(&self) -> Arc<Load> {
        Arc::clone(&self.load)
    }

    /// Hands over a connection.
    pub(super) fn serve(&self, stream: Released, peer: Peer) {
        self.load.connections.fetch_add(1, Ordering::Relaxed);
        // A worker that is gone is noticed by `ended`; its connection closes.
        drop(self.orders.send(Order::Serve(stream, peer)));
    }

    /// Goes on to the next stage of the end.
    pub(super) fn advance(&self, stage: Stage) {
        drop(self.orders.send(Order::Advance(stage)));
    }

    /// Waits for the end.
    pub(super) async fn ended(&mut self) {
        if let Progress::Running(ended) = &mut self.progress {
            self.progress = Progress::Ended(ended.await.ok());
        }
    }

    /// Whether a request was cut; `None` when the thread was lost, or has not ended.
    pub(super) const fn has_cut(&self) -> Option<bool> {
        match self.progress {
            Progress::Running(_) => None,
            Progress::Ended(has_cut) => has_cut,
        }
    }

    /// Whether the thread is gone though nobody ended it.
    pub(super) fn is_lost(&self) -> bool {
        self.orders.is_closed()
    }
}

/// What goes to the thread.
struct Thread {
    settings: Settings,
    load: Arc<Load>,
    received: mpsc::UnboundedReceiver<Order>,
}

impl Thread {
    /// Serves until the end; tells whether a request was cut.
    fn run<M: MakeHandler>(self, make: M) -> std::io::Result<bool> {
        // Blocking threads resolve names, nothing else.
        let mut builder = Builder::new_current_thread();
        let runtime = turn::count(builder.enable_all().max_blocking_threads(4)).build_local(LocalOptions::default())?;
        let has_cut = runtime.block_on(self.work(make));
        // A look-up of a name can take half a minute, and cannot be stopped.
        runtime.shutdown_background();
        Ok(has_cut)
    }

    async fn work<M: MakeHandler>(mut self, make: M) -> bool {
        let deadlines = Deadlines::coarse();
        tokio::task::spawn_local(deadlines.clone().sweep());
        let worker = Rc::new(Worker {
            handler: make.make(&deadlines),
            drain: Rc::default(),
            buffers: Buffers::default(),
            max_head: self.settings.max_header_size,
            limits: Limits {
                header: self.settings.header_timeout,
                idle: self.settings.idle_timeout,
                write: self.settings.stream_idle_timeout,
            },
            deadlines,
            preamble: Preamble { proxy_protocol: self.settings.proxy_protocol, tls: self.settings.tls },
            reporter: Rc::new(Reporter::new(Arc::clone(&self.load.errors))),
            unfinished: Allowance::new(UNFINISHED_SIZE / self.settings.workers.get()),
            strangers: Allowance::new(STRANGERS_SIZE / self.settings.workers.get()),
        });
        let mut connections = JoinSet::new();
        while worker.drain.stage() < Stage::CloseIdle || !connections.is_empty() {
            tokio::select! {
                order = self.received.recv() => match order {
                    Some(Order::Serve(stream, peer)) => {
                        let load = Loaded(Arc::clone(&self.load));
                        serve(stream, peer, &worker, load, &mut connections);
                    }
                    Some(Order::Advance(stage)) => worker.drain.advance(stage),
                    None => worker.drain.advance(Stage::Cut),
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        // What it says may hold what a client sent; the panic hook has said where.
                        tracing::error!("a connection panicked and was closed");
                    }
                }
            }
        }
        worker.drain.has_cut()
    }
}

/// Begins to serve a connection. Where HTTP begins at once, its task holds nothing but the connection: every silent one
/// is that large.
fn serve<H: Handler>(stream: Released, peer: Peer, worker: &Rc<Worker<H>>, load: Loaded, tasks: &mut JoinSet<()>) {
    let socket = match stream.register() {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "a connection could not be registered"),
    };
    let deadline = worker.deadlines.deadline();
    deadline.arm_in(worker.limits.header);
    let worker = Rc::clone(worker);
    match worker.preamble.skip(socket, peer, deadline) {
        Ok(opened) => {
            let (connection, peer) = connection::open(opened, &worker);
            tasks.spawn_local(async move {
                connection::serve(connection, peer, worker).await;
                drop(load);
            });
        }
        Err(waiting) => {
            tasks.spawn_local(async move {
                if let Some(opened) = Box::pin(worker.preamble.pass(waiting, &worker.drain)).await {
                    let (connection, peer) = connection::open(opened, &worker);
                    connection::serve(connection, peer, worker).await;
                }
                drop(load);
            });
        }
    }
}

/// One connection in the count, however it ends.
struct Loaded(Arc<Load>);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.fewer.notify_one();
    }
}
