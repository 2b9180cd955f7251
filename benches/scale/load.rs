//! Attempts by the time at which they reach the issuer.

use std::ops::Range;
use std::time::Duration;

/// Per second.
const SLOTS: usize = 10;

/// How many attempts began in each tenth of a second.
#[derive(Debug, Default)]
pub(crate) struct Load(Vec<u32>);

/// A stretch of time, told in four numbers.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) total: u64,
    /// Per second.
    pub(crate) mean: f64,
    /// The most in any one second, wherever it begins.
    pub(crate) second: u64,
    /// The most in any ten.
    pub(crate) ten_seconds: u64,
}

impl Load {
    pub(crate) fn count(&mut self, now: Duration) {
        let slot = slot(now);
        if slot >= self.0.len() {
            self.0.resize(slot + 1, 0);
        }
        self.0[slot] += 1;
    }

    pub(crate) fn over(&self, time: &Range<Duration>) -> Figures {
        let end = slot(time.end).min(self.0.len());
        let slots = &self.0[slot(time.start).min(end)..end];
        let total = sum(slots);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let mean = total as f64 / time.end.saturating_sub(time.start).as_secs_f64();
        Figures { total, mean, second: worst(slots, SLOTS), ten_seconds: worst(slots, 10 * SLOTS) }
    }
}

fn slot(time: Duration) -> usize {
    usize::try_from(time.as_millis()).unwrap_or(usize::MAX) * SLOTS / 1000
}

fn worst(slots: &[u32], width: usize) -> u64 {
    slots.windows(width.min(slots.len()).max(1)).map(sum).max().unwrap_or(0)
}

fn sum(slots: &[u32]) -> u64 {
    slots.iter().copied().map(u64::from).sum()
}
