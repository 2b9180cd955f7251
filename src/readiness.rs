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

/// Holds readiness back until it is dropped.
#[derive(Debug)]
pub struct Latch(Arc<State>);

impl Readiness {
    /// Ready at once: no latch yet, not draining.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more thing to wait for.
    pub fn latch(&self) -> Latch {
        self.0.latches.fetch_add(1, Ordering::AcqRel);
        Latch(Arc::clone(&self.0))
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

impl Drop for Latch {
    fn drop(&mut self) {
        self.0.latches.fetch_sub(1, Ordering::AcqRel);
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
}
