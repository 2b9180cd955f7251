//! A thread for tasks that wait for names, disks and peers, so that nothing else waits with them.

use std::io;
use std::pin::Pin;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// One of its tasks.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread. It ends after this is dropped, and nothing waits for that.
#[derive(Debug)]
pub struct Background(#[expect(dead_code, reason = "its drop is the signal to stop")] oneshot::Sender<()>);

impl Background {
    /// Runs these tasks until it is dropped.
    pub fn start(name: &str, tasks: Vec<Task>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for task in tasks {
                    running.spawn(task);
                }
                let _ = stopped.await;
            });
            // A look-up of a name can take half a minute, and cannot be stopped.
            runtime.shutdown_background();
        })?;
        Ok(Self(stop))
    }
}
