//! Whether a request body comes fast enough.

use std::time::Duration;

use tokio::time::Instant;

use super::body::{Cut, Limits};

/// How long a request body has before its average rate counts.
const RATE_GRACE: Duration = Duration::from_secs(30);
/// The time over which the least rate is given, and how often it is looked at.
const RATE_PERIOD: Duration = Duration::from_secs(10);

/// One body's pace, from the first time that it was waited for.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    /// When a byte last came.
    last: Instant,
    /// When the average counts next. What comes meanwhile does not put it off: a byte now and then is no pace.
    next_check: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, last: now, next_check: now + RATE_GRACE }
    }

    /// Something came.
    pub(super) fn receive(&mut self, now: Instant) {
        self.last = now;
    }

    /// Judges a body of which nothing is there to be read; when to judge it again if that is still so.
    pub(super) fn check(&mut self, now: Instant, received: u64, limits: Limits) -> Result<Instant, Cut> {
        let idle = self.last + limits.idle;
        if now >= idle {
            return Err(Cut::Idle);
        }
        if limits.min_rate == 0 {
            return Ok(idle);
        }
        if now >= self.next_check {
            if is_too_slow(received, now - self.since, limits.min_rate) {
                return Err(Cut::TooSlow);
            }
            self.next_check = now + RATE_PERIOD;
        }
        Ok(idle.min(self.next_check))
    }
}

fn is_too_slow(received: u64, elapsed: Duration, min_rate: u64) -> bool {
    received.saturating_mul(RATE_PERIOD.as_secs()) < min_rate.saturating_mul(elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(min_rate: u64) -> Limits {
        let idle = Duration::from_mins(1);
        Limits { idle, min_rate, max_size: None, response: idle }
    }

    /// When a body is cut of which so many bytes come each so many seconds, within the first 1000.
    fn cut_after(bytes: u64, period: u64, min_rate: u64) -> Option<(u64, Cut)> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        (1..1000).find_map(|second| {
            let now = start + Duration::from_secs(second);
            if second % period == 0 {
                pace.receive(now);
            }
            let cut = pace.check(now, second / period * bytes, limits(min_rate)).err()?;
            Some((second, cut))
        })
    }

    #[test]
    fn a_body_has_to_keep_its_pace_after_its_grace_however_often_a_byte_comes() {
        let cases = [
            ("a byte each second", 1, 1, 1024, Some((30, Cut::TooSlow))),
            ("a byte each 9 s", 1, 9, 1024, Some((30, Cut::TooSlow))),
            ("just fast enough", 103, 1, 1024, None),
            ("not quite", 102, 1, 1024, Some((30, Cut::TooSlow))),
            ("in large pieces", 8192, 29, 1024, None),
            ("no minimum", 1, 59, 0, None),
            ("nothing at all", 0, 1000, 0, Some((60, Cut::Idle))),
            ("too seldom", 1, 61, 0, Some((60, Cut::Idle))),
        ];
        for (name, bytes, period, min_rate, expected) in cases {
            assert_eq!(cut_after(bytes, period, min_rate), expected, "{name}");
        }
    }

    #[test]
    fn it_is_judged_again_at_the_next_limit() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let next = |pace: &mut Pace, seconds| {
            let next = pace.check(start + Duration::from_secs(seconds), 1024 * 1024, limits(1024)).unwrap();
            (next - start).as_secs()
        };
        assert_eq!(next(&mut pace, 1), 30);
        pace.receive(start + Duration::from_secs(29));
        assert_eq!(next(&mut pace, 29), 30);
        assert_eq!(next(&mut pace, 31), 41);
        assert_eq!(next(&mut pace, 82), 89);
    }
}
