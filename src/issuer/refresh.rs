//! When an issuer's keys are fetched: a pure machine. It is told what happened and when, and says what to do.
//!
//! Time is the time since the machine's start, on a clock that never goes back. Two things have a state of their own:
//!
//! ```text
//! the keys      None ─(1)(7)─> Held until fetched + max_stale ──(2)──> None       (1) again, while Held: until later
//! the attempt   Idle until due ──(3)(4)──> InFlight ──(5)(6)──> Idle              never more than one in flight
//!                    └──(8)──> due now                   └──(8)──> due at its end
//!
//! (1) an attempt succeeded             life known: due at 80 % of it, ± 10 % of that, back-off forgotten
//! (2) max_stale passed                 action: withdraw the keys; the back-off is that without keys from now on
//! (3) due                              action: fetch; takes no permit, serves whoever asked as well
//! (4) asked for, and a permit          action: fetch; takes the permit whether it will succeed or not
//! (5) succeeded                        whoever asked meanwhile, before (2) as well, is content if the keys are there: else
//!                                      (4) when it can
//! (6) failed                           due after the back-off; whoever asked meanwhile still waits for (4) or (3)
//! (7) restored, after a restart        until they are max_stale old; the attempt stays due at once; never while Held
//! (8) reloaded                         takes no permit; 1 s after the last attempt began at the earliest
//! ```
//!
//! *Asked* is what a request with an unknown key does: it needs an attempt that begins later than itself. Without keys
//! nobody can ask: the back-off alone decides, so a flood of requests does not hammer an issuer that is down.
//!
//! Permits: two, one more every cooldown, never more than two. So in any 15 s at most three attempts are asked for.
//!
//! Back-off, each with a random cut of up to one half: without keys 200 ms, doubled up to 32 s, since every request
//! fails meanwhile; with keys 2 s, doubled up to 2 min, since none does.

use std::time::Duration;

/// What the machine is set to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// The time in which a spent permit comes back.
    pub(super) cooldown: Duration,
    /// How long keys serve on after they were fetched.
    pub(super) max_stale: Duration,
}

/// Something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// The time that [`State::wake_at`] named has come, or any other.
    Tick,
    /// Keys that were fetched before the machine's start are there again.
    Restored {
        /// How long ago they were fetched.
        age: Duration,
    },
    /// A request needs an attempt that begins from now on.
    Asked,
    /// The operator wants an attempt that begins from now on.
    Reload,
    /// The attempt brought keys.
    Succeeded {
        /// How long they are fresh, as the issuer says.
        life: Option<Duration>,
        /// Whether no request needs a later attempt: none asked during this one, or all of them found their keys in it.
        /// What the machine was told of them is not enough to know, as it forgets them when the keys are withdrawn.
        content: bool,
    },
    /// The attempt brought none.
    Failed,
}

/// What has to be done now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Actions {
    /// Begin an attempt.
    pub(super) fetch: bool,
    /// Take the keys away: they are too old to judge by.
    pub(super) withdraw: bool,
}

/// Where the machine stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct State {
    attempt: Attempt,
    /// Until when there are keys.
    held_until: Option<Duration>,
    /// Whether somebody needs an attempt that has not begun yet.
    asked: bool,
    /// Whether the operator wants one.
    reload: bool,
    /// When the last attempt began.
    begun: Duration,
    /// When both permits are back.
    permits_full_at: Duration,
    /// In a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Attempt {
    Idle { due: Duration },
    InFlight,
}

const SHORTEST_LIFE: Duration = Duration::from_mins(1);
const LONGEST_LIFE: Duration = Duration::from_hours(1);
const UNSTATED_LIFE: Duration = Duration::from_mins(10);
/// The shortest time between the beginnings of attempts that the operator wants.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

impl State {
    /// No keys, and due at once.
    pub(super) const START: Self = Self {
        attempt: Attempt::Idle { due: Duration::ZERO },
        held_until: None,
        asked: false,
        reload: false,
        begun: Duration::ZERO,
        permits_full_at: Duration::ZERO,
        failures: 0,
    };

    /// One step. `jitter` is a random number from 0 to 1.
    pub(super) fn step(mut self, policy: &Policy, event: Event, now: Duration, jitter: f64) -> (Self, Actions) {
        match event {
            Event::Tick => {}
            Event::Restored { age } => {
                let left = policy.max_stale.saturating_sub(age);
                self.held_until = self.held_until.or(Some(now.saturating_add(left)));
            }
            Event::Asked => self.asked |= self.held_until.is_some(),
            Event::Reload => self.reload = true,
            Event::Succeeded { life, content } => {
                self.attempt = Attempt::Idle { due: now + refresh_after(life, policy.max_stale, jitter) };
                self.held_until = Some(now.saturating_add(policy.max_stale));
                self.asked = !content;
                self.failures = 0;
            }
            Event::Failed => {
                self.failures = self.failures.saturating_add(1);
                let delay = back_off(self.failures, self.held_until.is_some(), jitter);
                self.attempt = Attempt::Idle { due: now + delay };
            }
        }
        let withdraw = self.withdraw_if_stale(now, jitter);
        self.reload_when_idle();
        let fetch = self.begin_if_possible(policy, now);
        (self, Actions { fetch, withdraw })
    }

    /// When the next [`Event::Tick`] is needed, unless something else happens before.
    pub(super) fn wake_at(&self, policy: &Policy) -> Option<Duration> {
        [self.next_attempt(policy), self.held_until].into_iter().flatten().min()
    }

    /// When the next attempt begins if nothing else happens; `None` while one is in flight.
    pub(super) fn next_attempt(&self, policy: &Policy) -> Option<Duration> {
        match self.attempt {
            Attempt::InFlight => None,
            Attempt::Idle { due } if self.asked => Some(due.min(self.permit_at(policy))),
            Attempt::Idle { due } => Some(due),
        }
    }

    fn withdraw_if_stale(&mut self, now: Duration, jitter: f64) -> bool {
        let stale = self.held_until.is_some_and(|until| now >= until);
        if stale {
            self.held_until = None;
            self.asked = false;
            if let Attempt::Idle { due } = &mut self.attempt {
                *due = (now + back_off(self.failures, false, jitter)).min(*due);
            }
        }
        stale
    }

    fn reload_when_idle(&mut self) {
        if self.reload
            && let Attempt::Idle { due } = &mut self.attempt
        {
            *due = (*due).min(self.begun.saturating_add(RELOAD_INTERVAL));
            self.reload = false;
        }
    }

    fn begin_if_possible(&mut self, policy: &Policy, now: Duration) -> bool {
        let Attempt::Idle { due } = self.attempt else { return false };
        if now < due {
            if !self.asked || now < self.permit_at(policy) {
                return false;
            }
            self.permits_full_at = self.permits_full_at.max(now).saturating_add(policy.cooldown);
        }
        self.attempt = Attempt::InFlight;
        self.begun = now;
        self.asked = false;
        true
    }

    /// Since when, or from when on, there is a permit: one is back a cooldown before both are.
    fn permit_at(&self, policy: &Policy) -> Duration {
        self.permits_full_at.saturating_sub(policy.cooldown)
    }
}

/// 80 % of the life, ± 10 % of that, so that many sidecars do not ask at once. No life is longer than keys may serve.
fn refresh_after(life: Option<Duration>, max_stale: Duration, jitter: f64) -> Duration {
    let life = life.map_or(UNSTATED_LIFE, |life| life.clamp(SHORTEST_LIFE, LONGEST_LIFE));
    life.min(max_stale).mul_f64(0.8 * (0.9 + 0.2 * jitter))
}

/// The delay after so many failures in a row.
fn back_off(failures: u32, keys_are_held: bool, jitter: f64) -> Duration {
    let (first, longest) = if keys_are_held {
        (Duration::from_secs(2), Duration::from_mins(2))
    } else {
        (Duration::from_millis(200), Duration::from_secs(32))
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(longest).mul_f64(1.0 - 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { cooldown: Duration::from_secs(10), max_stale: Duration::from_hours(24) };
    /// The life that the issuer states by default here: due after 80 % of it, 800 s.
    const LIFE: Duration = Duration::from_secs(1000);
    const END: u64 = 24 * 60 * 60 * 1000;
    const SUCCEEDED: Event = Event::Succeeded { life: Some(LIFE), content: true };
    /// A request asked during the attempt for a key that it did not bring.
    const LACKING: Event = Event::Succeeded { life: Some(LIFE), content: false };
    const NOTHING: Actions = Actions { fetch: false, withdraw: false };
    const FETCH: Actions = Actions { fetch: true, withdraw: false };
    const WITHDRAW: Actions = Actions { fetch: false, withdraw: true };

    fn millis(duration: Duration) -> u64 {
        u64::try_from(duration.as_micros().div_ceil(1000)).unwrap()
    }

    /// A machine under test, its time in milliseconds; the jitter is in the middle, so that an interval is as long as it says.
    struct Machine(State);

    impl Machine {
        /// After a first attempt that succeeded, at 0 s.
        fn holding() -> Self {
            let mut machine = Self(State::START);
            assert_eq!(machine.at(0, Event::Tick), FETCH);
            assert_eq!(machine.at(0, SUCCEEDED), NOTHING);
            machine
        }

        fn at(&mut self, millis: u64, event: Event) -> Actions {
            let (state, actions) = self.0.step(&POLICY, event, Duration::from_millis(millis), 0.5);
            self.0 = state;
            actions
        }

        fn wakes_at(&self) -> u64 {
            millis(self.0.wake_at(&POLICY).unwrap())
        }
    }

    #[test]
    fn the_first_attempt_begins_at_once_and_there_is_never_a_second_beside_it() {
        let mut machine = Machine(State::START);
        assert_eq!(machine.at(0, Event::Tick), FETCH);
        for event in [Event::Tick, Event::Asked, Event::Tick] {
            assert_eq!(machine.at(4000, event), NOTHING);
        }
        assert_eq!(machine.0.wake_at(&POLICY), None);
    }

    #[test]
    fn keys_are_refreshed_at_four_fifths_of_their_life() {
        let mut machine = Machine::holding();
        assert_eq!(machine.wakes_at(), 800_000);
        assert_eq!(machine.at(799_900, Event::Tick), NOTHING);
        assert_eq!(machine.at(800_000, Event::Tick), FETCH);
        machine.at(801_000, SUCCEEDED);
        assert_eq!(machine.wakes_at(), 1_601_000);
    }

    #[test]
    fn a_life_is_kept_within_bounds_and_its_refresh_is_spread() {
        let after = |life: Option<u64>, max_stale, jitter| {
            millis(refresh_after(life.map(Duration::from_secs), Duration::from_secs(max_stale), jitter)) / 1000
        };
        let day = 24 * 60 * 60;
        for (life, expected) in [(None, 480), (Some(0), 48), (Some(600), 480), (Some(1 << 31), 2880)] {
            assert_eq!(after(life, day, 0.5), expected, "{life:?}");
        }
        assert_eq!((after(Some(1000), day, 0.0), after(Some(1000), day, 1.0)), (720, 880));
        assert_eq!(after(Some(1000), 100, 0.5), 80);
    }

    #[test]
    fn an_unknown_key_takes_one_of_two_permits_and_then_waits_for_the_cooldown() {
        let mut machine = Machine::holding();
        for second in [100_000, 101_000] {
            assert_eq!(machine.at(second, Event::Asked), FETCH);
            assert_eq!(machine.at(second, SUCCEEDED), NOTHING);
        }
        assert_eq!(machine.at(102_000, Event::Asked), NOTHING);
        assert_eq!(machine.wakes_at(), 110_000);
        assert_eq!(machine.at(109_900, Event::Tick), NOTHING);
        assert_eq!(machine.at(110_000, Event::Tick), FETCH);
        machine.at(110_000, SUCCEEDED);
        assert_eq!(machine.at(111_000, Event::Asked), NOTHING);
        assert_eq!(machine.wakes_at(), 120_000);
    }

    #[test]
    fn permits_that_nobody_took_do_not_pile_up() {
        let mut machine = Machine::holding();
        let fetches = [500_000, 500_100, 500_200, 500_300].map(|second| {
            let actions = machine.at(second, Event::Asked);
            if actions.fetch {
                machine.at(second, SUCCEEDED);
            }
            actions.fetch
        });
        assert_eq!(fetches, [true, true, false, false]);
    }

    #[test]
    fn a_reload_fetches_at_once_and_takes_no_permit() {
        let mut machine = Machine::holding();
        assert_eq!(machine.at(50_000, Event::Reload), FETCH);
        assert_eq!(machine.at(50_100, SUCCEEDED), NOTHING);
        assert_eq!(machine.wakes_at(), 850_100, "from then on as before");
        // Both permits are there.
        assert_eq!(machine.at(51_000, Event::Asked), FETCH);
        machine.at(51_100, SUCCEEDED);
        assert_eq!(machine.at(51_200, Event::Asked), FETCH);
    }

    #[test]
    fn a_reload_during_an_attempt_is_for_another_one_behind_it() {
        for ended in [SUCCEEDED, LACKING, Event::Failed] {
            let mut machine = Machine::holding();
            assert_eq!(machine.at(50_000, Event::Reload), FETCH);
            for millis in [50_100, 50_200, 50_300] {
                assert_eq!(machine.at(millis, Event::Reload), NOTHING, "{ended:?}");
            }
            assert_eq!(machine.at(54_000, ended), FETCH, "{ended:?}");
            assert_eq!(machine.at(54_100, SUCCEEDED), NOTHING, "one for all three, {ended:?}");
        }
    }

    #[test]
    fn reloads_in_a_row_begin_an_attempt_a_second() {
        let mut machine = Machine::holding();
        let mut begun = Vec::new();
        for millis in (50_000..55_000).step_by(10) {
            if machine.at(millis, Event::Reload).fetch {
                begun.push(millis);
                machine.at(millis, SUCCEEDED);
            }
        }
        assert_eq!(begun, [50_000, 51_000, 52_000, 53_000, 54_000]);
    }

    #[test]
    fn a_reload_that_fails_withdraws_nothing_and_one_without_keys_does_not_wait_for_the_back_off() {
        let mut machine = Machine::holding();
        machine.at(50_000, Event::Reload);
        assert_eq!(machine.at(51_000, Event::Failed), NOTHING);
        let mut machine = Machine(State::START);
        machine.at(0, Event::Tick);
        for millis in [100, 1000, 3000, 7000, 15_000] {
            machine.at(millis, Event::Failed);
            machine.at(millis, Event::Tick);
            machine.at(millis + 16_000, Event::Tick);
        }
        assert_eq!(machine.at(60_000, Event::Failed), NOTHING);
        assert_eq!(machine.at(60_010, Event::Reload), FETCH);
    }

    #[test]
    fn a_flood_of_unknown_keys_costs_at_most_three_fetches_in_any_fifteen_seconds() {
        for outcome in [SUCCEEDED, Event::Failed] {
            let mut machine = Machine::holding();
            let mut fetches = Vec::new();
            for tick in 0..3000 {
                // Every 10 ms, from the 100th second on; scheduled refreshes and retries are not due before.
                let now = 100_000 + 10 * tick;
                if let Attempt::Idle { due } = &mut machine.0.attempt {
                    *due = Duration::from_secs(800);
                }
                let mut actions = machine.at(now, Event::Asked);
                while actions.fetch {
                    fetches.push(now);
                    actions = machine.at(now, outcome);
                }
            }
            let most =
                fetches.iter().map(|from| fetches.iter().filter(|at| (*from..from + 15_000).contains(at)).count());
            assert_eq!(most.max(), Some(3), "{outcome:?}: {fetches:?}");
        }
    }

    #[test]
    fn a_scheduled_refresh_takes_no_permit_and_serves_whoever_asked() {
        let mut machine = Machine::holding();
        for _ in 0..2 {
            machine.at(795_000, Event::Asked);
            machine.at(795_000, Event::Failed);
            machine.0.attempt = Attempt::Idle { due: Duration::from_secs(800) };
        }
        let permits = machine.0.permits_full_at;
        assert_eq!(machine.at(796_000, Event::Asked), NOTHING);
        assert_eq!(machine.at(800_000, Event::Tick), FETCH);
        assert_eq!(machine.0.permits_full_at, permits);
        assert_eq!(machine.at(801_000, SUCCEEDED), NOTHING);
        assert!(!machine.0.asked);
    }

    #[test]
    fn who_asks_during_an_attempt_gets_another_unless_content_with_it() {
        for (outcome, expected) in [(SUCCEEDED, NOTHING), (LACKING, FETCH), (Event::Failed, FETCH)] {
            let mut machine = Machine::holding();
            assert_eq!(machine.at(100_000, Event::Asked), FETCH);
            assert_eq!(machine.at(100_100, Event::Asked), NOTHING);
            assert_eq!(machine.at(100_200, outcome), expected, "{outcome:?}");
        }
    }

    #[test]
    fn who_asked_before_the_keys_were_withdrawn_during_an_attempt_gets_another_after_it() {
        for (outcome, expected) in [(SUCCEEDED, NOTHING), (LACKING, FETCH), (Event::Failed, NOTHING)] {
            let mut machine = Machine::holding();
            assert_eq!(machine.at(END - 2000, Event::Tick), FETCH);
            assert_eq!(machine.at(END - 1000, Event::Asked), NOTHING);
            assert_eq!(machine.at(END, Event::Tick), WITHDRAW);
            assert_eq!(machine.at(END + 1000, outcome), expected, "{outcome:?}");
        }
    }

    #[test]
    fn failed_attempts_back_off_quickly_without_keys_and_slowly_with_them() {
        for (mut machine, expected) in [
            (Machine(State::START), [150, 300, 600, 1200, 2400, 4800, 9600, 19_200, 24_000, 24_000]),
            (Machine::holding(), [1500, 3000, 6000, 12_000, 24_000, 48_000, 90_000, 90_000, 90_000, 90_000]),
        ] {
            for delay in expected {
                let now = machine.wakes_at();
                assert_eq!(machine.at(now, Event::Tick), FETCH);
                assert_eq!(machine.at(now + 1000, Event::Failed), NOTHING);
                assert_eq!(machine.wakes_at(), now + 1000 + delay);
            }
        }
        assert_eq!(back_off(1, false, 0.0), Duration::from_millis(200));
        assert_eq!(back_off(1, false, 1.0), Duration::from_millis(100));
        assert_eq!(back_off(u32::MAX, false, 0.0), Duration::from_secs(32));
    }

    #[test]
    fn a_success_ends_the_back_off() {
        let mut machine = Machine(State::START);
        for outcome in [Event::Failed, Event::Failed, SUCCEEDED] {
            let now = machine.wakes_at();
            machine.at(now, Event::Tick);
            machine.at(now, outcome);
        }
        assert_eq!(machine.0.failures, 0);
    }

    #[test]
    fn without_keys_nobody_can_ask() {
        let mut machine = Machine(State::START);
        machine.at(0, Event::Tick);
        machine.at(0, Event::Failed);
        assert_eq!(machine.at(100, Event::Asked), NOTHING);
        assert_eq!(machine.wakes_at(), 150);
        assert_eq!(machine.at(150, Event::Tick), FETCH);
    }

    #[test]
    fn restored_keys_are_held_for_the_rest_of_their_time_and_fetched_anew_at_once() {
        let age = Duration::from_secs(END / 1000 - 100);
        let mut machine = Machine(State::START);
        assert_eq!(machine.at(0, Event::Restored { age }), FETCH);
        assert_eq!(machine.at(0, Event::Failed), NOTHING);
        // As with keys.
        assert_eq!(machine.wakes_at(), 1500);
        assert_eq!(machine.at(1000, Event::Asked), FETCH);
        assert_eq!(machine.wakes_at(), 100_000);
        assert_eq!(machine.at(100_000, Event::Tick), WITHDRAW);
    }

    #[test]
    fn restored_keys_that_are_too_old_are_never_held() {
        let mut machine = Machine(State::START);
        let actions = machine.at(0, Event::Restored { age: POLICY.max_stale });
        assert_eq!((actions, machine.0.held_until), (Actions { fetch: true, withdraw: true }, None));
    }

    #[test]
    fn fetched_keys_go_before_restored_ones() {
        let mut machine = Machine::holding();
        let held_until = machine.0.held_until;
        assert_eq!(machine.at(1000, Event::Restored { age: POLICY.max_stale }), NOTHING);
        assert_eq!(machine.0.held_until, held_until);
    }

    #[test]
    fn good_keys_outlive_failures_until_they_are_too_old() {
        let mut machine = Machine::holding();
        let mut withdrawn_at = None;
        while withdrawn_at.is_none() {
            let now = machine.wakes_at();
            let mut actions = machine.at(now, Event::Tick);
            withdrawn_at = actions.withdraw.then_some(now);
            if actions.fetch {
                actions = machine.at(now, Event::Failed);
                assert_eq!(actions, NOTHING);
            }
        }
        assert_eq!(withdrawn_at, Some(END));
        assert!(machine.wakes_at() <= END + 32_000);
        assert_eq!(machine.at(END + 1, Event::Asked), NOTHING);
    }

    #[test]
    fn keys_are_withdrawn_while_a_fetch_hangs() {
        let mut machine = Machine::holding();
        assert_eq!(machine.at(800_000, Event::Tick), FETCH);
        assert_eq!(machine.wakes_at(), END);
        assert_eq!(machine.at(END, Event::Tick), WITHDRAW);
        assert_eq!(machine.at(END + 1000, SUCCEEDED), NOTHING);
        assert!(machine.0.held_until.is_some());
    }
}
