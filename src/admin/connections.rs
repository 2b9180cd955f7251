//! The connections of one listener. No peer keeps others out: when all places are taken, the oldest connection without a
//! request in progress goes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

/// The most connections of one listener: probes and a few people.
pub(super) const MAX_CONNECTIONS: usize = 128;
/// The time that a connection keeps its place in any case: a flood must not push out a probe whose request is on its way.
const GRACE: Duration = Duration::from_millis(10);

/// Whether a request is in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<AtomicBool>);

impl Activity {
    /// A request is in progress until this is dropped.
    pub(super) fn begin(&self) -> InProgress<'_> {
        self.0.store(true, Ordering::Relaxed);
        InProgress(self)
    }

    fn is_idle(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct InProgress<'a>(&'a Activity);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// Ends them all when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first.
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    task: AbortHandle,
    activity: Activity,
    since: Instant,
}

impl Connections {
    /// Waits until there is a place, at most [`GRACE`] times the number of connections that end meanwhile.
    pub(super) async fn make_room(&mut self) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.open.retain(|open| !open.task.is_finished());
            if self.open.len() < MAX_CONNECTIONS {
                return;
            }
            // With a request in progress everywhere, the oldest has had the longest time for it.
            let at = self.open.iter().position(|open| open.activity.is_idle()).unwrap_or(0);
            let Some(oldest) = self.open.get(at) else { return };
            let left = GRACE.saturating_sub(oldest.since.elapsed());
            if left.is_zero() {
                oldest.task.abort();
                self.open.remove(at);
                return;
            }
            // One may end by itself before.
            let _ = timeout(left, self.tasks.join_next()).await;
        }
    }

    /// Serves one more.
    pub(super) fn spawn(&mut self, activity: Activity, connection: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(connection);
        self.open.push_back(Open { task, activity, since: Instant::now() });
    }
}
