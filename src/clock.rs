//! Time as tokens tell it, and the one place that asks the system for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since the epoch, fractions allowed (RFC 7519 §2).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct NumericDate(f64);

impl NumericDate {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0.0);

    /// The first number of seconds that a signed integer of 64 bits cannot hold: 2^63.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;

    /// A date from its number of seconds, `None` when it is not finite or its integer part reaches 2^63. From 2^53 on a
    /// double is exact to 1,024 s at the worst, which is much less than how far away that is.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        (seconds.is_finite() && seconds.abs() < Self::LIMIT).then_some(Self(seconds))
    }

    /// Seconds since the epoch.
    pub const fn as_seconds(self) -> f64 {
        self.0
    }

    /// This date, later by `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0 + duration.as_secs_f64())
    }

    /// This date, earlier by `duration`.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0 - duration.as_secs_f64())
    }

    /// Whole seconds from `earlier` to this date; negative when `earlier` is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0).round()
    }
}

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }
}

impl fmt::Display for NumericDate {
    /// RFC 3339 in UTC; outside the years that it can write, the number itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 9999-12-31T23:59:59Z, the last second of RFC 3339.
        const LAST: f64 = 253_402_300_799.0;
        if (0.0..=LAST).contains(&self.0) {
            let time = UNIX_EPOCH + Duration::from_secs_f64(self.0.floor());
            write!(f, "{}", humantime::format_rfc3339_seconds(time))
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// Where "now" comes from. Passed in, so that the edges of a leeway can be tested without waiting for them.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands until [`Clock::set`] moves it, for tests.
    pub fn manual(now: NumericDate) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(now.0.to_bits()))))
    }

    /// Moves a manual clock, and every clone of it; the machine's clock stays as it is.
    pub fn set(&self, now: NumericDate) {
        if let Source::Manual(bits) = &self.0 {
            bits.store(now.0.to_bits(), Ordering::Relaxed);
        }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn now(&self) -> NumericDate {
        match &self.0 {
            Source::System => SystemTime::now().into(),
            Source::Manual(bits) => NumericDate(f64::from_bits(bits.load(Ordering::Relaxed))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_reads_as_rfc_3339_or_as_its_number() {
        let at = |seconds| NumericDate::from_seconds(seconds).unwrap().to_string();
        assert_eq!(at(1_795_428_000.75), "2026-11-23T10:00:00Z");
        assert_eq!(at(-5.0), "-5");
        assert_eq!(at(9e15), "9000000000000000");
    }

    #[test]
    fn a_date_ends_at_two_to_the_63() {
        assert!(NumericDate::from_seconds(9_223_372_036_854_774_784.0).is_some());
        for seconds in [9_223_372_036_854_775_808.0, -9e300, f64::NAN, f64::INFINITY] {
            assert!(NumericDate::from_seconds(seconds).is_none(), "{seconds}");
        }
    }
}
