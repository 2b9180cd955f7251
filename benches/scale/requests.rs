//! Requests whose key a sidecar does not have.

use std::time::Duration;

use fastrand::Rng;

/// At each sidecar, at random moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    /// Per second, once all carry such a key.
    pub(crate) rate: f64,
    /// The first.
    pub(crate) from: Duration,
    /// While their share grows from nothing to all: clients change their tokens one by one.
    pub(crate) ramp: Duration,
    pub(crate) until: Duration,
    /// Else it is the issuer's new key.
    pub(crate) are_made_up: bool,
}

impl Requests {
    /// The next one after now.
    pub(crate) fn next(&self, now: Duration, random: &mut Rng) -> Option<Duration> {
        let expected = self.expected(now) - (1.0 - random.f64()).ln();
        let at = self.from + self.after(expected);
        (at < self.until).then_some(at)
    }

    /// How many there are until this time, on average.
    fn expected(&self, time: Duration) -> f64 {
        let (since, ramp) = (time.saturating_sub(self.from).as_secs_f64(), self.ramp.as_secs_f64());
        if since < ramp { self.rate * since * since / (2.0 * ramp) } else { self.rate * (since - ramp / 2.0) }
    }

    /// The inverse: how long it takes until there are so many.
    fn after(&self, expected: f64) -> Duration {
        let ramp = self.ramp.as_secs_f64();
        let flat = expected / self.rate + ramp / 2.0;
        Duration::from_secs_f64(if flat < ramp { (2.0 * ramp * expected / self.rate).sqrt() } else { flat })
    }
}
