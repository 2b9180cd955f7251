//! What becomes of connections that nobody uses.

use std::rc::Rc;

use tokio::time::Instant;

use super::Connections;
use crate::forward::http1;
use crate::turn::LoopTurn;

/// A connection with HTTP/1.1 that nobody uses.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) connection: http1::Connection,
    pub(super) since: Instant,
    /// In which it was put back.
    pub(super) turn: LoopTurn,
}

/// Takes the one that was used last before this turn: what came on it is known already. Only when there is none, the one
/// used last. The others may then end.
pub(super) fn take_last(idle: &mut Vec<Idle>) -> Option<Idle> {
    match idle.partition_point(|idle| idle.turn.is_over()) {
        0 => idle.pop(),
        known => Some(idle.remove(known - 1)),
    }
}

impl Connections {
    pub(super) fn tell_idle(&self, with_http1: usize) {
        let with_http2 = self.multiplexed.borrow().iter().filter(|connection| connection.is_idle()).count();
        self.admission.idle(with_http1 + with_http2);
    }

    /// Looks at what is idle at this time, or before.
    pub(super) fn arm(&self, at: Instant) {
        if self.next_prune.get().is_none_or(|next| at < next) {
            self.next_prune.set(Some(at));
            self.prune.arm(at);
        }
    }

    /// Closes the connection that has been idle for longest; whether there was one.
    fn give_up(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let oldest = (!idle.is_empty()).then(|| idle.remove(0));
        let left = idle.len();
        drop(idle);
        let unused = if oldest.is_some() {
            None
        } else {
            let mut multiplexed = self.multiplexed.borrow_mut();
            let position = multiplexed.iter().rposition(|connection| connection.is_idle());
            position.map(|position| multiplexed.remove(position))
        };
        self.tell_idle(left);
        oldest.is_some() || unused.is_some()
    }

    /// Closes what has been idle for too long.
    fn prune(&self) {
        self.next_prune.set(None);
        let now = self.prune.now();
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| now < idle.since + self.idle_timeout && idle.connection.is_fit(idle.turn));
        let until = |since: Option<Instant>, timeout| since.map(|since| since + timeout);
        let mut next = until(idle.iter().map(|idle| idle.since).min(), self.idle_timeout);
        let left = idle.len();
        drop(idle);
        self.multiplexed.borrow_mut().retain(|connection| {
            let end = until(connection.idle_since(), self.http2_idle_timeout);
            let is_over = end.is_some_and(|end| end <= now);
            next = if is_over { next } else { next.into_iter().chain(end).min() };
            !is_over
        });
        self.tell_idle(left);
        if let Some(next) = next {
            self.arm(next);
        }
    }
}

/// Lets other workers have the places of idle connections, and who waits here those that others let us have.
pub(super) async fn attend(pool: Rc<Connections>) {
    pool.admission.attend(|| pool.give_up()).await;
}

/// Closes what has been idle for too long.
pub(super) async fn prune(pool: Rc<Connections>) {
    loop {
        pool.prune.elapsed().await;
        pool.prune.disarm();
        pool.prune();
    }
}
