//! How many connections to the origin there may be, over all workers, and which worker has the next one.
//!
//! A connection stays on its worker's thread; what workers share is the number of places for them. A place is taken
//! before a connect, and given back when the socket is closed: behind a lock, since either costs system calls anyway. A
//! request that finds an idle connection of its own worker meets none of this: it writes how many are left, and whoever
//! puts one back reads [`Member::is_wanted`].
//!
//! A place that is given back while requests wait goes to the worker with the fewest. So does that of an idle connection,
//! and of one that is put back by a worker with two more than another one that waits: it is closed, because it cannot
//! change threads. Hence every worker that needs them comes to its equal share, one that needs none lends its own to the
//! others, and where nobody is better off by it no connection is closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::counter::Counter;

/// The places of all workers. A clone is the same.
#[derive(Clone, Debug)]
pub struct Places(Arc<Shared>);

/// How the places are used at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Connections that are open or about to be.
    pub taken: usize,
    /// Those of them that nothing uses.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Requests that have had to wait, so far.
    pub waited: u64,
}

#[derive(Debug)]
struct Shared {
    needed: Needed,
    limit: usize,
    max_waiting: usize,
    state: Mutex<State>,
}

/// How many waiting requests have no place on its way to them. On a cache line of its own: it is read all the time, and
/// written only while something waits.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Needed(AtomicUsize);

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waited: u64,
    shares: Vec<Share>,
}

/// One worker's.
#[derive(Debug, Default)]
struct Share {
    /// The places that it has, those on their way to it included.
    held: usize,
    /// The places on their way to it.
    granted: usize,
    /// Its requests that wait.
    waiting: usize,
    idle: Arc<Idle>,
    calls: Arc<Notify>,
}

/// How many idle connections a worker has. Only its own thread writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Idle(Counter);

impl Share {
    fn idle(&self) -> usize {
        usize::try_from(self.idle.0.value()).unwrap_or(usize::MAX)
    }

    const fn need(&self) -> usize {
        self.waiting.saturating_sub(self.granted)
    }
}

impl Places {
    /// So many connections at a time, for which so many requests may wait.
    pub fn new(limit: usize, max_waiting: usize) -> Self {
        Self(Arc::new(Shared { needed: Needed::default(), limit, max_waiting, state: Mutex::default() }))
    }

    /// One more worker.
    pub(super) fn join(&self) -> Member {
        let mut state = self.0.state();
        let (index, share) = (state.shares.len(), Share::default());
        let member = Member {
            shared: Arc::clone(&self.0),
            index,
            idle: Arc::clone(&share.idle),
            calls: Arc::clone(&share.calls),
        };
        state.shares.push(share);
        member
    }

    /// How they are used now.
    pub fn usage(&self) -> Usage {
        let state = self.0.state();
        let idle = state.shares.iter().map(Share::idle).sum();
        Usage { taken: state.taken, idle, waiting: state.waiting(), waited: state.waited }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and what is known of it without the lock.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let needed = state.shares.iter().map(Share::need).sum();
        if self.needed.0.load(Ordering::Relaxed) != needed {
            self.needed.0.store(needed, Ordering::Relaxed);
        }
        result
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.shares.iter().map(|share| share.waiting).sum()
    }

    fn idle_elsewhere(&self, index: usize) -> usize {
        self.others(index).map(Share::idle).sum()
    }

    fn others(&self, index: usize) -> impl Iterator<Item = &Share> {
        self.shares.iter().enumerate().filter(move |(at, _)| *at != index).map(|(_, share)| share)
    }

    /// Of those that need a place, the worker with the fewest; of equals, the first one behind `index`.
    fn neediest(&mut self, index: usize) -> Option<&mut Share> {
        let next = (index + 1).min(self.shares.len());
        let (before, behind) = self.shares.split_at_mut(next);
        behind.iter_mut().chain(before).filter(|share| share.need() > 0).min_by_key(|share| share.held)
    }

    fn share(&mut self, index: usize, change: impl FnOnce(&mut Share)) {
        if let Some(share) = self.shares.get_mut(index) {
            change(share);
        }
    }

    /// A place of this worker's is free: somebody else's now, or nobody's.
    fn release(&mut self, index: usize) {
        self.share(index, |share| share.held -= 1);
        match self.neediest(index) {
            Some(share) => {
                share.held += 1;
                share.granted += 1;
                share.calls.notify_one();
            }
            None => self.taken -= 1,
        }
    }

    /// Something waits, for the first time since nothing did. Who has idle connections does not know yet.
    fn call_others(&self, index: usize) {
        self.others(index).filter(|share| share.held > 0).for_each(|share| share.calls.notify_one());
    }
}

/// One worker's part in the places.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    index: usize,
    idle: Arc<Idle>,
    calls: Arc<Notify>,
}

/// What a request without a connection is told.
#[derive(Debug)]
pub(super) enum Entry {
    /// To connect.
    Free(Place),
    /// To wait. It is counted until [`Member::leave`].
    Wait,
    /// Neither: too many wait already.
    Full,
}

impl Member {
    /// A request has no connection. No place is free while somebody waits, so that nobody is overtaken.
    pub(super) fn enter(&self) -> Entry {
        let Shared { limit, max_waiting, .. } = *self.shared;
        self.shared.change(|state| {
            if state.taken < limit {
                state.taken += 1;
                state.share(self.index, |share| share.held += 1);
                return Entry::Free(self.place());
            }
            // Who has idle ones is called, and closes them.
            if state.waiting() >= max_waiting + state.idle_elsewhere(self.index) {
                return Entry::Full;
            }
            if state.shares.iter().all(|share| share.need() == 0) {
                state.call_others(self.index);
            }
            state.waited += 1;
            state.share(self.index, |share| share.waiting += 1);
            Entry::Wait
        })
    }

    /// One of this worker's requests waits no more.
    pub(super) fn leave(&self) {
        self.shared.change(|state| state.share(self.index, |share| share.waiting -= 1));
    }

    /// A place that was given to this worker. [`Member::leave`] follows, if somebody still waits for it: in this order,
    /// since a place too many comes back, and one too few is lost to who waits.
    pub(super) fn granted(&self) -> Option<Place> {
        let mut is_granted = false;
        self.shared.change(|state| {
            state.share(self.index, |share| {
                is_granted = share.granted > 0;
                share.granted = share.granted.saturating_sub(1);
            });
        });
        is_granted.then(|| self.place())
    }

    /// Waits until there may be a granted place, or somebody else may want one of this worker's.
    pub(super) async fn called(&self) {
        self.calls.notified().await;
    }

    /// This worker has so many idle connections now.
    pub(super) fn idle(&self, count: usize) {
        self.idle.0.set(count as u64);
    }

    /// Whether anybody may want a connection that is put back.
    pub(super) fn is_wanted(&self) -> bool {
        self.shared.needed.0.load(Ordering::Relaxed) != 0
    }

    /// Whether another worker is to have the place of a connection that this one does not use now.
    pub(super) fn must_yield(&self, has_waiting: bool) -> bool {
        let state = self.shared.state();
        let held = state.shares.get(self.index).map_or(0, |share| share.held);
        let is_better_off = |share: &Share| !has_waiting || share.held == 0 || share.held + 1 < held;
        state.others(self.index).any(|share| share.need() > 0 && is_better_off(share))
    }

    /// The most connections, over all workers.
    pub(super) fn limit(&self) -> usize {
        self.shared.limit
    }

    /// The most requests that may wait, over all workers.
    pub(super) fn max_waiting(&self) -> usize {
        self.shared.max_waiting
    }

    fn place(&self) -> Place {
        Place { shared: Arc::clone(&self.shared), index: self.index }
    }
}

impl Drop for Member {
    /// A worker that ends keeps nothing from the others.
    fn drop(&mut self) {
        self.idle(0);
        while let Some(place) = self.granted() {
            drop(place);
        }
    }
}

/// The right to have one connection open. Dropped with it.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    index: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.change(|state| state.release(self.index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_keeps_no_place_that_was_on_its_way_to_it() {
        let places = Places::new(1, 1);
        let (ending, other) = (places.join(), places.join());
        let Entry::Free(place) = other.enter() else { panic!("nothing is taken yet") };
        assert!(matches!(ending.enter(), Entry::Wait));
        drop(place);
        assert_eq!((places.usage().taken, places.usage().waiting), (1, 1), "it is on its way");
        // Who waited goes away, and the worker ends before it looks.
        ending.leave();
        ending.idle(3);
        drop(ending);
        assert_eq!(places.usage(), Usage { waited: 1, ..Usage::default() });
        assert!(matches!(other.enter(), Entry::Free(_)));
    }
}
