//! Tasks beside the requests: what panics among them is run again, and what waits for names, disks and peers has a thread of
//! its own, so that nothing else waits with it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long the end of the tasks is waited for: one of them may be in the middle of a file that hangs.
const PATIENCE: Duration = Duration::from_millis(100);
/// The pause before a task is run again, doubled with each panic in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// One run of a task.
pub type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that is run again when it panics.
pub struct Task {
    name: &'static str,
    /// Which of those of its name, such as an issuer.
    of: String,
    run: Box<dyn Fn() -> Run + Send>,
}

impl Task {
    /// A task; `of` tells it from others of its name and may be empty. `run` begins it, each time from its start.
    pub fn new<F>(name: &'static str, of: impl Into<String>, run: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, of: of.into(), run: Box::new(move || Box::pin(run())) }
    }

    /// Runs it until it ends by itself. A panic is logged and counted, and after a pause it is run again.
    pub async fn keep_running(self, panics: Panics) {
        let Self { name, of, run } = self;
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let mut running = JoinSet::new();
            running.spawn(run());
            match running.join_next().await {
                Some(Err(ended)) if ended.is_panic() => {}
                _ => return,
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            panics.count(name, &of);
            tracing::error!(task = name, of, again_in_seconds = pause.as_secs(), "a background task panicked");
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).field("of", &self.of).finish_non_exhaustive()
    }
}

/// How often each background task has panicked. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Panics(Arc<Mutex<BTreeMap<(&'static str, String), u64>>>);

impl Panics {
    /// Those of all tasks together.
    pub fn total(&self) -> u64 {
        self.each().iter().map(|(_, count)| count).sum()
    }

    /// Each task that has panicked, as in `keys of https://issuer.example.com`, and how often.
    pub fn each(&self) -> Vec<(String, u64)> {
        let panics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |(name, of): &(&'static str, String)| {
            if of.is_empty() { (*name).to_owned() } else { format!("{name} of {of}") }
        };
        panics.iter().map(|(task, count)| (named(task), *count)).collect()
    }

    fn count(&self, name: &'static str, of: &str) {
        let mut panics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = panics.entry((name, of.to_owned())).or_default();
        *count = count.saturating_add(1);
    }
}

/// The thread. It ends once this is dropped.
#[derive(Debug)]
pub struct Background {
    stop: oneshot::Sender<()>,
    ended: Receiver<()>,
}

impl Background {
    /// Runs these tasks until it is stopped or dropped.
    pub fn start(name: &str, tasks: Vec<Task>, panics: &Panics) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ending, ended) = sync_channel(1);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let panics = panics.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for task in tasks {
                    running.spawn(task.keep_running(panics.clone()));
                }
                let _ = stopped.await;
            });
            let _ = ending.try_send(());
            // A look-up of a name can take half a minute, and cannot be stopped.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop, ended })
    }

    /// Ends the tasks, so that none of them logs behind what is logged next; waits a moment at most.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A task that panics so many times, and how often it was run.
    fn fragile(panics: u32) -> (Task, Arc<AtomicU32>) {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let run = move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(run >= panics, "as asked") }
        };
        (Task::new("keys", "https://issuer.example.com", run), runs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_run_again_after_a_pause_that_grows() {
        let (task, runs) = fragile(9);
        let (panics, begun) = (Panics::default(), Instant::now());
        task.keep_running(panics.clone()).await;
        assert_eq!((runs.load(Ordering::SeqCst), panics.total()), (10, 9));
        assert_eq!(panics.each(), [("keys of https://issuer.example.com".to_owned(), 9)]);
        // 1, 2, 4, 8, 16, 32, and then a minute each time.
        assert_eq!(begun.elapsed().as_secs(), 63 + 3 * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_begins_anew_once_a_task_has_run_for_long() {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let task = Task::new("files", "", move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(Duration::from_mins(2)).await;
                assert!(run >= 3, "as asked");
            }
        });
        let (panics, begun) = (Panics::default(), Instant::now());
        task.keep_running(panics.clone()).await;
        assert_eq!(begun.elapsed().as_secs(), 4 * 120 + 3);
        assert_eq!(panics.each(), [("files".to_owned(), 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_or_is_stopped_is_not_run_again() {
        let (task, runs) = fragile(0);
        task.keep_running(Panics::default()).await;
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_other_tasks_of_the_thread_go_on() {
        let (ended, end) = sync_channel(1);
        let other = Task::new("other", "", move || {
            let ended = ended.clone();
            async move {
                sleep(Duration::from_millis(1)).await;
                let _ = ended.try_send(());
            }
        });
        let panics = Panics::default();
        let background = Background::start("test", vec![fragile(u32::MAX).0, other], &panics).unwrap();
        end.recv_timeout(Duration::from_secs(10)).unwrap();
        background.stop();
        assert_eq!(panics.total(), 1);
    }
}
