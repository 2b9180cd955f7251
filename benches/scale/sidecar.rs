//! Two kinds of sidecar: claimgate, and one that polls as is done where nobody thinks of the issuer.

use std::time::Duration;

use fastrand::Rng;

use crate::refresh::{Event, Policy, State};

/// What happens to a sidecar.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// It starts; keys of this age are on its disk.
    Started { kept: Option<Duration> },
    /// The time came that it named.
    Woken,
    /// A request needs a key that it does not have.
    Asked,
    /// An attempt brought keys.
    Succeeded {
        /// As the issuer states it.
        life: Option<Duration>,
        /// Whether no request still needs another key.
        content: bool,
    },
    /// An attempt brought none.
    Failed,
}

/// A sidecar.
pub(crate) trait Sidecar: Clone {
    /// Returns whether an attempt begins now.
    fn step(&mut self, happening: Happening, now: Duration, random: &mut Rng) -> bool;

    /// When it has to be woken if nothing happens before.
    fn wake_at(&self) -> Option<Duration>;
}

/// The machine of claimgate, driven as `issuer::Refresher` drives it.
#[derive(Clone, Debug)]
pub(crate) struct Claimgate {
    policy: Policy,
    state: State,
    /// The machine's clock begins with it.
    started: Duration,
}

impl Claimgate {
    pub(crate) fn new(cooldown: Duration, max_stale: Duration) -> Self {
        Self { policy: Policy { cooldown, max_stale }, state: State::START, started: Duration::ZERO }
    }
}

impl Sidecar for Claimgate {
    fn step(&mut self, happening: Happening, now: Duration, random: &mut Rng) -> bool {
        let event = match happening {
            Happening::Started { kept } => {
                self.started = now;
                kept.map_or(Event::Tick, |age| Event::Restored { age })
            }
            Happening::Woken => Event::Tick,
            Happening::Asked => Event::Asked,
            Happening::Succeeded { life, content } => Event::Succeeded { life, content },
            Happening::Failed => Event::Failed,
        };
        let (state, actions) = self.state.step(&self.policy, event, now.saturating_sub(self.started), random.f64());
        self.state = state;
        actions.fetch
    }

    fn wake_at(&self) -> Option<Duration> {
        self.state.wake_at(&self.policy).map(|at| at.saturating_add(self.started))
    }
}

/// Polls on a fixed timer, for each unknown key at once, and each second after a failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    due: Duration,
    again: Option<Duration>,
}

const POLL: Duration = Duration::from_mins(5);
const AGAIN: Duration = Duration::from_secs(1);

impl Sidecar for Naive {
    fn step(&mut self, happening: Happening, now: Duration, _: &mut Rng) -> bool {
        match happening {
            Happening::Started { .. } => {
                self.due = now + POLL;
                true
            }
            Happening::Woken => {
                while self.due <= now {
                    self.due += POLL;
                }
                self.again = self.again.filter(|again| *again > now);
                true
            }
            Happening::Asked => true,
            Happening::Succeeded { .. } => {
                self.again = None;
                false
            }
            Happening::Failed => {
                self.again.get_or_insert(now + AGAIN);
                false
            }
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        Some(self.again.map_or(self.due, |again| again.min(self.due)))
    }
}
