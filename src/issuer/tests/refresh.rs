//! Whatever happens to the machine of `refresh.rs`, in whatever order and however late: what it must always keep.

use std::time::Duration;

use super::super::refresh::{Actions, Event, Policy, State};
use super::super::unknown_kids::{Asked, KidHash, KidHasher};

/// One run with random events, beside what is known of it without looking into the machine.
struct Run {
    random: fastrand::Rng,
    policy: Policy,
    state: State,
    now: Duration,
    in_flight: bool,
    /// When the next attempt is scheduled, asked for or not.
    due: Duration,
    held_until: Option<Duration>,
    /// Whether a request still needs an attempt that begins later.
    asked: bool,
    /// Whether the operator still needs an attempt that begins later.
    reload: bool,
    /// When the last attempt began.
    begun: Duration,
    failures: u32,
    /// Permits, counted in the time that they take to come back.
    credit: Duration,
    /// When attempts began that were not due yet.
    asked_for: Vec<Duration>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let cooldown = Duration::from_millis(random.u64(1000..=60_000));
        let policy = Policy { cooldown, max_stale: Duration::from_millis(random.u64(1000..=100_000_000)) };
        Self {
            random,
            policy,
            state: State::START,
            now: Duration::ZERO,
            in_flight: false,
            due: Duration::ZERO,
            held_until: None,
            asked: false,
            reload: false,
            begun: Duration::ZERO,
            failures: 0,
            credit: 2 * cooldown,
            asked_for: Vec::new(),
        }
    }

    /// Not at all, a moment, about a cooldown, to the wake-up or a little beyond it, or as long as a suspended machine.
    fn pass_time(&mut self) {
        let until_wake = self.state.wake_at(&self.policy).map_or(Duration::ZERO, |at| at.saturating_sub(self.now));
        let passed = match self.random.u8(0..8) {
            0..3 => Duration::ZERO,
            3 => Duration::from_micros(self.random.u64(0..1_000_000)),
            4 => self.policy.cooldown.mul_f64(2.0 * self.random.f64()),
            5 => until_wake,
            6 => until_wake + Duration::from_micros(self.random.u64(0..100_000)),
            _ => Duration::from_secs(self.random.u64(0..100_000)),
        };
        self.now += passed;
        self.credit = (self.credit + passed).min(2 * self.policy.cooldown);
    }

    fn event(&mut self) -> Event {
        let life = self.random.bool().then(|| Duration::from_secs(self.random.u64(0..10_000)));
        match self.random.u8(0..11) {
            10 => Event::Reload,
            0 => Event::Restored { age: self.policy.max_stale.mul_f64(2.0 * self.random.f64()) },
            1..4 if self.in_flight => Event::Succeeded { life, content: self.random.bool() },
            4..6 if self.in_flight => Event::Failed,
            6 => Event::Tick,
            _ => Event::Asked,
        }
    }

    /// What the event means, by the head of `refresh.rs`.
    fn expect(&mut self, event: Event, jitter: f64) {
        match event {
            Event::Restored { age } if self.held_until.is_none() => {
                self.held_until = Some(self.now + self.policy.max_stale.saturating_sub(age));
            }
            Event::Tick | Event::Restored { .. } => {}
            Event::Asked => self.asked |= self.held_until.is_some(),
            Event::Reload => self.reload = true,
            Event::Succeeded { life, content } => {
                (self.in_flight, self.failures) = (false, 0);
                self.asked = !content;
                self.held_until = Some(self.now + self.policy.max_stale);
                let life = life.unwrap_or(Duration::from_mins(10));
                let life = life.clamp(Duration::from_mins(1), Duration::from_hours(1)).min(self.policy.max_stale);
                self.due = self.now + life.mul_f64(0.8 * (0.9 + 0.2 * jitter));
            }
            Event::Failed => {
                (self.in_flight, self.failures) = (false, self.failures + 1);
                self.due = self.now + self.back_off(jitter);
            }
        }
        if self.held_until.is_some_and(|until| self.now >= until) {
            (self.held_until, self.asked) = (None, false);
            self.due = self.due.min(self.now + self.back_off(jitter));
        }
        if self.reload && !self.in_flight {
            self.due = self.due.min(self.begun + Duration::from_secs(1));
            self.reload = false;
        }
    }

    fn back_off(&self, jitter: f64) -> Duration {
        let (first, longest) = if self.held_until.is_some() { (2000, 120_000) } else { (200, 32_000) };
        let doubled = (1..self.failures).fold(first, |delay, _| longest.min(2 * delay));
        Duration::from_millis(doubled).mul_f64(1.0 - 0.5 * jitter)
    }

    fn step(&mut self) {
        self.pass_time();
        let (event, jitter) = (self.event(), self.random.f64());
        let had_keys = self.held_until.is_some() || matches!(event, Event::Restored { .. } | Event::Succeeded { .. });
        self.expect(event, jitter);
        let actions;
        (self.state, actions) = self.state.step(&self.policy, event, self.now, jitter);

        let is_withdrawn = had_keys && self.held_until.is_none();
        assert_eq!(actions.withdraw, is_withdrawn, "{event:?}: keys serve for max_stale, neither less nor more");
        self.check_fetch(event, actions);
        self.check_wake_up(event);
    }

    fn check_fetch(&mut self, event: Event, actions: Actions) {
        let (is_due, may_ask) = (self.now >= self.due, self.asked && self.credit >= self.policy.cooldown);
        assert!(!(actions.fetch && self.in_flight), "{event:?}: a second attempt in flight");
        let expected = !self.in_flight && (is_due || may_ask);
        assert_eq!(actions.fetch, expected, "{event:?}: due {is_due}, asked for with a permit {may_ask}");
        if !actions.fetch {
            return;
        }
        (self.in_flight, self.asked, self.begun) = (true, false, self.now);
        if !is_due {
            self.credit -= self.policy.cooldown;
            self.asked_for.push(self.now);
            // For the default of 10 s: at most three in any 15 s.
            let window = self.policy.cooldown.mul_f64(1.5);
            let recent = self.asked_for.iter().filter(|at| **at + window > self.now).count();
            assert!(recent <= 3, "{recent} attempts asked for within {window:?}");
        }
    }

    fn check_wake_up(&self, event: Event) {
        let wake_at = self.state.wake_at(&self.policy);
        assert!(wake_at.is_none_or(|at| at > self.now), "{event:?}: {wake_at:?} has passed and nothing was done");
        let permit_at = self.now + self.policy.cooldown.saturating_sub(self.credit);
        let next = (!self.in_flight).then(|| if self.asked { self.due.min(permit_at) } else { self.due });
        assert_eq!(self.state.next_attempt(&self.policy), next, "{event:?}");
        assert_eq!(wake_at, next.into_iter().chain(self.held_until).min(), "{event:?}");
        if self.asked && !self.in_flight {
            assert!(wake_at <= Some(self.now + self.policy.cooldown), "{event:?}: who asked waits beyond a cooldown");
        }
    }
}

#[test]
fn no_order_of_events_breaks_what_the_machine_promises() {
    let (mut asked_for, mut withdrawn) = (0, 0);
    for seed in 0..2000 {
        let mut run = Run::new(seed);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..500 {
                let had_keys = run.held_until.is_some();
                run.step();
                withdrawn += u32::from(had_keys && run.held_until.is_none());
            }
            asked_for += run.asked_for.len();
        }));
        assert!(failed.is_ok(), "with the seed {seed}");
    }
    assert!(
        asked_for > 10_000 && withdrawn > 10_000,
        "{asked_for} asked for, {withdrawn} withdrawn: too little was tried"
    );
}

/// The machine together with what requests ask for, as the writer joins them, in virtual time.
struct Room {
    policy: Policy,
    state: State,
    asked: Asked,
    hasher: KidHasher,
    now: Duration,
    started: u64,
    in_flight: bool,
    holds: bool,
}

impl Room {
    /// With keys, and the next scheduled attempt far away.
    fn holding(policy: Policy) -> Self {
        let (asked, hasher, now) = (Asked::default(), KidHasher::default(), Duration::ZERO);
        let mut room =
            Self { policy, state: State::START, asked, hasher, now, started: 0, in_flight: false, holds: false };
        room.step(Event::Tick, 0.5);
        room.bring(&[], 0.5);
        room
    }

    fn kid(&self, number: u8) -> KidHash {
        self.hasher.hash(&number.to_string())
    }

    fn step(&mut self, event: Event, jitter: f64) {
        let ended = matches!(event, Event::Succeeded { .. } | Event::Failed);
        let (state, actions) = self.state.step(&self.policy, event, self.now, jitter);
        self.state = state;
        self.holds = (self.holds || matches!(event, Event::Succeeded { .. })) && !actions.withdraw;
        self.in_flight = (self.in_flight && !ended) || actions.fetch;
        self.started += u64::from(actions.fetch);
    }

    /// A request for a key that is not there. Without any keys it is refused before it can ask.
    fn request(&mut self, number: u8, jitter: f64) {
        let kid = self.kid(number);
        if self.holds && self.asked.add(self.started + 1, Some(kid)) {
            let event = if self.asked.is_beyond(self.started) { Event::Asked } else { Event::Tick };
            self.step(event, jitter);
        }
    }

    /// The attempt in flight ends with these keys.
    fn bring(&mut self, numbers: &[u8], jitter: f64) {
        let kids: Vec<_> = numbers.iter().map(|number| self.kid(*number)).collect();
        let content = self.asked.settle(self.started, |kid| kids.contains(&kid));
        self.step(Event::Succeeded { life: None, content }, jitter);
    }

    /// Whoever waits for an attempt that has not begun is served by one within a cooldown, or by the one in flight first.
    fn check(&self) {
        if self.holds && !self.in_flight && self.asked.is_beyond(self.started) {
            let next = self.state.next_attempt(&self.policy);
            assert!(next.is_some_and(|at| at <= self.now + self.policy.cooldown), "a wake-up is lost: {next:?}");
        }
    }
}

const DAY: Policy = Policy { cooldown: Duration::from_secs(10), max_stale: Duration::from_hours(24) };

#[test]
fn a_ghost_asked_for_during_a_fetch_that_outlives_the_keys_silences_no_later_request() {
    let mut room = Room::holding(DAY);
    room.now = DAY.max_stale.mul_f64(0.9);
    room.step(Event::Tick, 0.5);
    assert!(room.in_flight);
    room.request(1, 0.5);
    room.now = DAY.max_stale + Duration::from_secs(1);
    room.step(Event::Tick, 0.5);
    assert!(!room.holds);
    room.bring(&[], 0.5);
    assert_eq!((room.in_flight, room.started), (true, 3), "the ghost is looked for");
    room.bring(&[], 0.5);
    room.now += Duration::from_mins(1);
    room.request(2, 0.5);
    assert_eq!((room.in_flight, room.started), (true, 4), "a later key is looked for");
}

#[test]
fn no_order_of_requests_and_ends_of_fetches_loses_a_wake_up() {
    let mut lost_keys_in_flight = 0;
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let max_stale = Duration::from_secs(random.u64(1..2000));
        let mut room = Room::holding(Policy { cooldown: Duration::from_secs(random.u64(1..60)), max_stale });
        for _ in 0..300 {
            room.now += Duration::from_secs_f64(random.f64() * max_stale.as_secs_f64() * 0.2);
            let jitter = random.f64();
            let (held, number) = (room.holds, random.u8(0..8));
            match random.u8(0..6) {
                0 if room.in_flight => room.bring(&[number, number + 1], jitter),
                1 if room.in_flight => room.step(Event::Failed, jitter),
                2..4 => room.request(number, jitter),
                _ => room.step(Event::Tick, jitter),
            }
            lost_keys_in_flight += u32::from(held && !room.holds && room.in_flight);
            room.check();
        }
    }
    assert!(lost_keys_in_flight > 1000, "{lost_keys_in_flight}: too little was tried");
}
