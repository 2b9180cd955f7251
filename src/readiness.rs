//! Ready when the last latch has dropped, and never while draining.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether this process should be sent requests. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    latches: AtomicUsize,
    draining: AtomicBool,
}

/// Holds readiness back until it is released or its last clone dropped. Who keeps a clone does not become ready because the
/// task that was to release it has panicked.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Hold>);

#[derive(Debug)]
struct Hold {
    state: Arc<State>,
    is_released: AtomicBool,
}

impl Readiness {
    /// Ready at once: no latch yet, not draining.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more thing to wait for.
    pub fn latch(&self) -> Latch {
        self.0.latches.fetch_add(1, Ordering::AcqRel);
        Latch(Arc::new(Hold { state: Arc::clone(&self.0), is_released: AtomicBool::new(false) }))
    }

    /// From now on, and for good, not ready: the process is going away.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the process is going away.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Whether every latch has dropped and the process is not going away.
    pub fn is_ready(&self) -> bool {
        self.0.latches.load(Ordering::Acquire) == 0 && !self.is_draining()
    }
}

impl Latch {
    /// What was waited for is there. Does nothing the second time.
    pub fn release(&self) {
        self.0.release();
    }
}

impl Hold {
    fn release(&self) {
        if !self.is_released.swap(true, Ordering::AcqRel) {
            self.state.latches.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_last_latch_drops_and_never_while_draining() {
        let readiness = Readiness::new();
        let (first, second) = (readiness.latch(), readiness.latch());
        drop(first);
        assert!(!readiness.is_ready());
        drop(second);
        assert!(readiness.is_ready());
        readiness.drain();
        assert!(!readiness.is_ready());
    }

    #[test]
    fn a_latch_counts_once_however_often_it_is_released_and_cloned() {
        let readiness = Readiness::new();
        let (first, second) = (readiness.latch(), readiness.latch());
        let clone = first.clone();
        drop(first);
        clone.release();
        clone.release();
        drop(clone);
        assert!(!readiness.is_ready(), "the second holds it back");
        second.release();
        assert!(readiness.is_ready());
    }
}
