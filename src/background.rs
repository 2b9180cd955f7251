//! A thread for tasks that wait for names, disks and peers, so that nothing else waits with them.

use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// One of its tasks.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long the end of the tasks is waited for: one of them may be in the middle of a file that hangs.
const PATIENCE: Duration = Duration::from_millis(100);

/// The thread. It ends once this is dropped.
#[derive(Debug)]
pub struct Background {
    stop: oneshot::Sender<()>,
    ended: Receiver<()>,
}

impl Background {
    /// Runs these tasks until it is stopped or dropped.
    pub fn start(name: &str, tasks: Vec<Task>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ending, ended) = sync_channel(1);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for task in tasks {
                    running.spawn(task);
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
