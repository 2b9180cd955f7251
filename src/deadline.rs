//! The time limits of one worker: one sweep over all of them, instead of a timer in the runtime for each request.
//!
//! A limit here is a plain `Cell` to arm and to disarm, which happens several times per request; it fires up to
//! [`GRAIN`] late, which no limit of a proxy notices. So it may also begin with a reading of the clock that is one tick
//! old, at a quarter of the price: [`Deadlines::coarse`].

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The least time between two sweeps, so that many limits cost no more than few.
pub const GRAIN: Duration = Duration::from_millis(50);

/// All the limits of one worker. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Deadlines(Rc<Limits>);

#[derive(Debug, Default)]
struct Limits {
    slots: RefCell<Slab<Slot>>,
    /// When the sweep will look next; `None` while nothing is armed.
    next: Cell<Option<Instant>>,
    sooner: Notify,
    ticks: Option<Ticks>,
}

#[derive(Debug, Default)]
struct Slot {
    at: Option<Instant>,
    has_elapsed: bool,
    /// Whether [`Deadlines::recall`] is for it.
    is_recallable: bool,
    waker: Option<Waker>,
}

/// One limit, to be armed and disarmed as often as it takes.
#[derive(Debug)]
pub struct Deadline {
    limits: Rc<Limits>,
    key: usize,
}

/// The clock as it was at the last tick of the kernel, up to 10 ms ago. However long a worker is busy, it goes on.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    /// When it began to count.
    origin: Instant,
}

impl Ticks {
    fn start() -> Option<Self> {
        Some(Self { origin: Instant::now().checked_sub(Self::read()?)? })
    }

    fn now(self) -> Option<Instant> {
        Some(self.origin + Self::read()?)
    }

    fn read() -> Option<Duration> {
        clock_gettime(ClockId::MonotonicCoarse).try_into().ok()
    }
}

impl Deadlines {
    /// Such as take the time from the last tick of the kernel's clock. A clock that a test has paused has none.
    pub fn coarse() -> Self {
        Self(Rc::new(Limits { ticks: Ticks::start(), ..Limits::default() }))
    }

    /// A limit that is not armed yet.
    pub fn deadline(&self) -> Deadline {
        let key = self.0.slots.borrow_mut().insert(Slot::default());
        Deadline { limits: Rc::clone(&self.0), key }
    }

    /// Has all that are recallable elapse within `spread`, each at a moment of its own, so that not all begin at once what
    /// they do then.
    pub fn recall(&self, spread: Duration) {
        let now = self.0.now();
        let mut first: Option<Instant> = None;
        for (_, slot) in self.0.slots.borrow_mut().iter_mut().filter(|(_, slot)| slot.is_recallable) {
            let at = now + spread.mul_f64(fastrand::f64());
            slot.at = Some(at);
            first = Some(first.map_or(at, |first| first.min(at)));
        }
        if let Some(first) = first {
            self.0.sweep_by(first);
        }
    }

    /// Fires what is due, for as long as it is polled. Each worker runs one.
    pub async fn sweep(self) {
        loop {
            let sooner = self.0.sooner.notified();
            match self.0.next.get() {
                None => sooner.await,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => self.0.fire(Instant::now()),
                        () = sooner => {}
                    }
                }
            }
        }
    }
}

impl Limits {
    fn now(&self) -> Instant {
        self.ticks.and_then(Ticks::now).unwrap_or_else(Instant::now)
    }

    fn sweep_by(&self, at: Instant) {
        if self.next.get().is_none_or(|next| at < next) {
            self.next.set(Some(at));
            self.sooner.notify_one();
        }
    }

    fn fire(&self, now: Instant) {
        let mut next: Option<Instant> = None;
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            match slot.at {
                Some(at) if at <= now => {
                    slot.at = None;
                    slot.has_elapsed = true;
                    if let Some(waker) = slot.waker.take() {
                        waker.wake();
                    }
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        self.next.set(next.map(|at| at.max(now + GRAIN)));
    }

    /// `None` only for a slot that has been removed, which none is while its [`Deadline`] lives.
    fn with<R: Default>(&self, key: usize, then: impl FnOnce(&mut Slot) -> R) -> R {
        self.slots.borrow_mut().get_mut(key).map(then).unwrap_or_default()
    }
}

impl Deadline {
    /// One more limit of the same worker, not armed yet.
    #[must_use]
    pub fn another(&self) -> Self {
        Deadlines(Rc::clone(&self.limits)).deadline()
    }

    /// Elapses at each [`Deadlines::recall`] from now on, armed or not.
    #[must_use]
    pub fn recallable(self) -> Self {
        self.limits.with(self.key, |slot| slot.is_recallable = true);
        self
    }

    /// The time for limits of the same worker. Where a duration is told to somebody, it is not exact enough.
    pub fn now(&self) -> Instant {
        self.limits.now()
    }

    /// Elapses after `limit`, whatever was set before.
    pub fn arm_in(&self, limit: Duration) {
        self.arm(self.now() + limit);
    }

    /// Elapses at `at`, whatever was set before.
    pub fn arm(&self, at: Instant) {
        self.limits.with(self.key, |slot| {
            slot.at = Some(at);
            slot.has_elapsed = false;
        });
        self.limits.sweep_by(at);
    }

    /// Does not elapse until armed again.
    pub fn disarm(&self) {
        self.limits.with(self.key, |slot| {
            slot.at = None;
            slot.has_elapsed = false;
        });
    }

    /// Ready once it has elapsed; else `cx` is woken when it does. One task at a time.
    pub fn poll_elapsed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let has_elapsed = self.limits.with(self.key, |slot| {
            if !slot.has_elapsed {
                match &mut slot.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
            }
            slot.has_elapsed
        });
        if has_elapsed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits until it has elapsed.
    pub async fn elapsed(&self) {
        poll_fn(|cx| self.poll_elapsed(cx)).await;
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.limits.slots.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn swept<T>(test: impl AsyncFnOnce(&Deadlines) -> T) -> T {
        let deadlines = Deadlines::default();
        tokio::select! {
            result = test(&deadlines) => result,
            () = deadlines.clone().sweep() => unreachable!("a sweep has no end"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_elapses_when_it_is_due_and_the_nearer_one_first() {
        swept(async |deadlines| {
            let (far, near) = (deadlines.deadline(), deadlines.deadline());
            let start = Instant::now();
            far.arm(start + Duration::from_secs(30));
            near.arm(start + Duration::from_secs(10));
            near.elapsed().await;
            assert_eq!(start.elapsed().as_secs(), 10);
            far.elapsed().await;
            assert_eq!(start.elapsed().as_secs(), 30);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_armed_again_forgets_the_first_time() {
        swept(async |deadlines| {
            let deadline = deadlines.deadline();
            let start = Instant::now();
            deadline.arm(start + Duration::from_secs(1));
            deadline.arm(start + Duration::from_secs(5));
            deadline.elapsed().await;
            assert_eq!(start.elapsed().as_secs(), 5);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_disarmed_deadline_does_not_elapse() {
        swept(async |deadlines| {
            let (disarmed, other) = (deadlines.deadline(), deadlines.deadline());
            disarmed.arm(Instant::now() + Duration::from_secs(1));
            disarmed.disarm();
            other.arm(Instant::now() + Duration::from_secs(2));
            tokio::select! {
                biased;
                () = disarmed.elapsed() => panic!("it was disarmed"),
                () = other.elapsed() => {}
            }
        })
        .await;
    }

    #[test]
    fn a_coarse_clock_goes_on_and_never_back() {
        let deadline = Deadlines::coarse().deadline();
        let (exact, mut now) = (Instant::now(), deadline.now());
        // A few ticks; one that stood still would have no end.
        while now < exact + Duration::from_millis(30) {
            let next = deadline.now();
            assert!(next >= now);
            now = next;
        }
        assert!(now < exact + Duration::from_hours(1), "it tells the same time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_begins_with_the_time_that_a_test_has_set() {
        swept(async |deadlines| {
            let deadline = deadlines.deadline();
            for _ in 0..2 {
                let start = Instant::now();
                deadline.arm_in(Duration::from_secs(3));
                deadline.elapsed().await;
                assert_eq!(start.elapsed().as_secs(), 3);
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_recall_is_for_those_that_are_recallable_and_comes_in_time() {
        swept(async |deadlines| {
            let spread = Duration::from_secs(4);
            let recallable: Vec<_> = (0..50).map(|_| deadlines.deadline().recallable()).collect();
            let other = deadlines.deadline();
            for _ in 0..2 {
                let start = Instant::now();
                deadlines.recall(spread);
                for deadline in &recallable {
                    deadline.elapsed().await;
                    deadline.disarm();
                }
                assert!(start.elapsed() <= spread + GRAIN, "{:?}", start.elapsed());
                assert!(other.poll_elapsed(&mut Context::from_waker(Waker::noop())).is_pending());
            }
        })
        .await;
    }

    #[test]
    fn a_dropped_deadline_leaves_nothing_behind() {
        let deadlines = Deadlines::default();
        drop(deadlines.deadline());
        assert!(deadlines.0.slots.borrow().is_empty());
    }
}
