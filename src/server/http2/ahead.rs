//! What clients send of bodies before it is known that their requests may pass. Any client may send it, and it is kept for
//! as long as its request waits.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Context;

use crate::incoming::Demand;

/// How many bytes of bodies are read before a request of the connection may pass.
const MAX_AHEAD: usize = 16 * 1024;

/// The bodies of one connection, as long as nothing of them is wanted.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// How many bytes of them have come since all requests had their answers.
    bytes: Cell<usize>,
    /// How many requests have no answer yet.
    unanswered: Cell<usize>,
    turn: Cell<Turn>,
    demand: Rc<Demand>,
}

/// Requests are begun when everything that is here has been read, so there are none while it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Turn {
    #[default]
    Reading,
    /// Reading waits so that requests can begin.
    Paused,
    /// Those that are here have begun.
    Begun,
}

impl Ahead {
    /// Who has to say that something of a body is wanted.
    pub(super) const fn demand(&self) -> &Rc<Demand> {
        &self.demand
    }

    /// So many bytes of bodies have come.
    pub(super) fn receive(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// Whether what the client sends is left where it is: until a request may pass, or all have their answers. `cx` is then
    /// woken.
    pub(super) fn must_wait(&self, cx: &Context<'_>) -> bool {
        if self.bytes.get() < MAX_AHEAD || self.demand.has_arisen() {
            return false;
        }
        if self.unanswered.get() > 0 {
            self.demand.watch(cx);
            return true;
        }
        if self.turn.get() == Turn::Begun {
            self.forget();
            return false;
        }
        self.turn.set(Turn::Paused);
        cx.waker().wake_by_ref();
        true
    }

    /// Requests that are here have begun.
    pub(super) fn have_begun(&self) {
        if self.turn.get() == Turn::Paused {
            self.turn.set(Turn::Begun);
        }
    }

    /// A request has no answer.
    pub(super) fn begin(&self) {
        self.unanswered.set(self.unanswered.get().saturating_add(1));
    }

    /// It has one.
    pub(super) fn end(&self) {
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
        if self.unanswered.get() == 0 {
            self.forget();
            self.demand.wake();
        }
    }

    /// What came of bodies that are refused is thrown away with them.
    fn forget(&self) {
        self.bytes.set(0);
        self.turn.set(Turn::Reading);
    }
}
