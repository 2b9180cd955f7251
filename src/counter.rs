//! A number that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what one thread does. It costs that thread a load and a store: `fetch_add` would have the cores agree on it
/// each time, for the sake of a reader that comes every few seconds.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds. Of what two threads add at once, one part is lost: a counter has one writer.
    pub fn add(&self, number: u64) {
        self.set(self.value().wrapping_add(number));
    }

    /// Sets, for what goes down as well.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
