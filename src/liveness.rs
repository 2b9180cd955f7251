//! Whether the other end of a connection is gone, as its socket tells though nothing is read from it.
//!
//! Under back-pressure nothing is read, so that neither a reset nor an end is met there. The runtime hears of both from the
//! kernel and keeps them beside the socket, but wakes only a task that waits to read or to write: a task that does neither
//! has to look now and then.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{Interest, Ready};

use crate::deadline::Deadline;

/// How often a connection is looked at that is not read.
const INTERVAL: Duration = Duration::from_millis(250);

/// All that the runtime may have heard of a socket.
pub const ANY: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::ERROR);

/// One end of a tunnel, which may be gone while nothing is read from it.
pub trait Liveness {
    /// Ready when the other end neither takes nor sends anything any more: a reset, not an orderly end, behind which bytes
    /// may still have to be passed on. Need not wake `cx`.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Has its connection end in a reset: not all is sent that was to be. An orderly end would be taken for that of all, and
    /// stand in a queue that is not taken.
    fn abort(&mut self) {}
}

/// What the runtime has heard of a socket, without asking the kernel; `ready` waits for [`ANY`].
pub fn readiness(ready: impl Future<Output = io::Result<Ready>>) -> Ready {
    ready.now_or_never().and_then(Result::ok).unwrap_or(Ready::EMPTY)
}

/// Wakes a task that has to look at a socket again. Made for the first wait.
#[derive(Debug, Default)]
pub struct Lookout(Option<Deadline>);

impl Lookout {
    /// Registers the task to be woken after a while; `deadline` is one of the same worker.
    pub fn watch(&mut self, cx: &mut Context<'_>, deadline: &Deadline) {
        let armed = self.0.get_or_insert_with(|| {
            let another = deadline.another();
            another.arm_in(INTERVAL);
            another
        });
        if armed.poll_elapsed(cx).is_ready() {
            armed.arm_in(INTERVAL);
            let _ = armed.poll_elapsed(cx);
        }
    }
}
