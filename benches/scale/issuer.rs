//! The issuer as the fleet sees it: when an attempt ends, and how.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// How it does.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    /// The `max-age` of its answers.
    pub(crate) life: Option<Duration>,
    /// How long an attempt waits for it: `--jwks-timeout`.
    pub(crate) timeout: Duration,
    /// When it is away.
    pub(crate) outage: Range<Duration>,
    /// Whether an attempt then hangs until the time-out; else it fails within a round trip.
    pub(crate) hangs: bool,
    /// How many attempts it can answer in a second. The others wait in line, and who gives up stays in it.
    pub(crate) capacity: f64,
    /// When the new key joins the set.
    pub(crate) new_key_at: Duration,
    /// When all in line are answered.
    pub(crate) busy_until: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Answer {
    Keys { with_new_key: bool },
    Nothing,
}

impl Default for Issuer {
    /// Always there, and large enough.
    fn default() -> Self {
        Self {
            life: None,
            timeout: Duration::from_secs(5),
            outage: Duration::ZERO..Duration::ZERO,
            hangs: false,
            capacity: f64::INFINITY,
            new_key_at: Duration::MAX,
            busy_until: Duration::ZERO,
        }
    }
}

impl Issuer {
    /// An attempt begins: when it will end, and how. A round trip takes from 20 to 80 ms.
    pub(crate) fn answer(&mut self, now: Duration, random: &mut Rng) -> (Duration, Answer) {
        let round_trip = Duration::from_secs_f64(0.02 + 0.06 * random.f64());
        if self.outage.contains(&now) {
            return (now + if self.hangs { self.timeout } else { round_trip }, Answer::Nothing);
        }
        self.busy_until = self.busy_until.max(now) + Duration::from_secs_f64(1.0 / self.capacity);
        let end = self.busy_until + round_trip;
        if end > now + self.timeout {
            return (now + self.timeout, Answer::Nothing);
        }
        (end, Answer::Keys { with_new_key: now >= self.new_key_at })
    }
}
