//! Who waits for a connection to the origin, on one worker: in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::places::{Entry, Member, Place};
use crate::deadline::Deadline;
use crate::denial::Denial;

#[cfg(test)]
mod tests;

/// When a refused request is worth another try. What is in use now may be free in a moment; nobody knows.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The requests of one worker that wait for a connection `C`.
#[derive(Debug)]
pub(super) struct Admission<C> {
    member: Member,
    /// By their number, so that one that goes away leaves nothing behind.
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<Turn<C>>>>,
    next: Cell<u64>,
}

/// What a request was waiting for.
#[derive(Debug)]
pub(super) enum Turn<C> {
    /// A connection that was put back.
    Again(C),
    /// The right to open one.
    New(Place),
}

impl<C> Admission<C> {
    pub(super) fn new(member: Member) -> Self {
        Self { member, waiting: RefCell::default(), next: Cell::new(0) }
    }

    /// A connection or the right to open one: at once, or when the turn has come. Dropped, it gives its turn to the next.
    ///
    /// `patience` is asked only when there is something to wait for; the deadline that it gives is armed.
    pub(super) async fn admit(&self, patience: impl FnOnce() -> (Deadline, Duration)) -> Result<Turn<C>, Denial> {
        match self.member.enter() {
            Entry::Free(place) => return Ok(Turn::New(place)),
            Entry::Full => return Err(self.full()),
            Entry::Wait => {}
        }
        let mut waiter = self.join();
        let (deadline, limit) = patience();
        tokio::select! {
            biased;
            // The other end is dropped only together with this one.
            Ok(turn) = &mut waiter.turn => Ok(turn),
            () = deadline.elapsed() => Err(self.late(limit)),
        }
    }

    fn join(&self) -> Waiter<'_, C> {
        let (sender, turn) = oneshot::channel();
        let number = self.next.get();
        self.next.set(number + 1);
        self.waiting.borrow_mut().insert(number, sender);
        Waiter { admission: self, number, turn }
    }

    /// Whether anybody may want a connection that is put back, be it on another worker.
    pub(super) fn is_wanted(&self) -> bool {
        self.member.is_wanted()
    }

    /// So many connections are idle now.
    pub(super) fn idle(&self, count: usize) {
        self.member.idle(count);
    }

    /// Gives a connection to whoever is next, or closes it when that is another worker's request; gives it back when
    /// nobody wants it.
    pub(super) fn hand_on(&self, connection: C) -> Option<C> {
        if self.must_yield() {
            return None;
        }
        match self.hand(Turn::Again(connection)) {
            Err(Turn::Again(connection)) => Some(connection),
            _ => None,
        }
    }

    /// Whether somebody waits here.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Whether another worker is to have the place of a connection that is put back.
    pub(super) fn must_yield(&self) -> bool {
        self.member.must_yield(self.has_waiting())
    }

    /// Attends to what other workers do, for as long as it is polled. `give_up` closes an idle connection, if there is
    /// one.
    pub(super) async fn attend(&self, give_up: impl Fn() -> bool) {
        loop {
            self.member.called().await;
            while let Some(place) = self.member.granted() {
                // If nobody waits any more, it goes to the next one elsewhere.
                drop(self.hand(Turn::New(place)));
            }
            while self.member.must_yield(false) && give_up() {}
        }
    }

    /// Gives a turn to whoever is next; gives it back when nobody is.
    pub(super) fn hand(&self, mut turn: Turn<C>) -> Result<(), Turn<C>> {
        loop {
            let Some((_, next)) = self.waiting.borrow_mut().pop_first() else { return Err(turn) };
            self.member.leave();
            match next.send(turn) {
                Ok(()) => return Ok(()),
                Err(unwanted) => turn = unwanted,
            }
        }
    }

    fn full(&self) -> Denial {
        let (limit, waiting) = (self.member.limit(), self.member.max_waiting());
        let limit = format!(
            "all of {limit} connections to the origin are in use (--max-upstream-connections) and {waiting} requests \
             wait for one (--max-waiting-requests)"
        );
        Denial::Overloaded { retry_after: RETRY_AFTER, limit: limit.into() }
    }

    /// What was put back is of no use to a request for another protocol.
    pub(super) fn none_with_http1(&self) -> Denial {
        let limit = format!(
            "all of {} connections to the origin are in use, with HTTP/2 (--max-upstream-connections)",
            self.member.limit()
        );
        Denial::Overloaded { retry_after: RETRY_AFTER, limit: limit.into() }
    }

    fn late(&self, waited: Duration) -> Denial {
        let limit = format!(
            "none of {} connections to the origin was to be had within {} s (--max-upstream-connections)",
            self.member.limit(),
            waited.as_secs_f32()
        );
        Denial::Overloaded { retry_after: RETRY_AFTER, limit: limit.into() }
    }
}

/// One request in the queue.
struct Waiter<'a, C> {
    admission: &'a Admission<C>,
    number: u64,
    turn: oneshot::Receiver<Turn<C>>,
}

impl<C> Drop for Waiter<'_, C> {
    fn drop(&mut self) {
        let is_queued = self.admission.waiting.borrow_mut().remove(&self.number).is_some();
        if is_queued {
            self.admission.member.leave();
            return;
        }
        // The turn came, and nobody is there to take it.
        match self.turn.try_recv() {
            Ok(Turn::Again(connection)) => drop(self.admission.hand_on(connection)),
            Ok(Turn::New(place)) => drop(self.admission.hand(Turn::New(place))),
            Err(_) => {}
        }
    }
}
