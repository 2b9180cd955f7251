//! How a worker's connections come to an end: announced, then closed when idle, then cut.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stage {
    /// Not begun.
    #[default]
    Serve,
    /// Every answer says that its connection closes; new connections still come.
    Announce,
    /// Idle connections close, the others after their answer.
    CloseIdle,
    /// The grace period is over.
    Cut,
}

/// One worker's stage, and the connections that want to know of the next.
#[derive(Debug, Default)]
pub(super) struct Drain {
    stage: Cell<Stage>,
    watches: RefCell<Slab<Option<Waker>>>,
    has_cut: Cell<bool>,
}

impl Drain {
    /// Goes on to `stage` and tells every watch.
    pub(super) fn advance(&self, stage: Stage) {
        self.stage.set(stage);
        for (_, waker) in self.watches.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// A connection was closed; `in_flight` when it took a request with it.
    pub(super) fn cut(&self, in_flight: bool) {
        self.has_cut.set(self.has_cut.get() || in_flight);
    }

    /// Whether any request was cut.
    pub(super) fn has_cut(&self) -> bool {
        self.has_cut.get()
    }

    pub(super) fn watch(self: &Rc<Self>) -> Watch {
        let key = self.watches.borrow_mut().insert(None);
        Watch { drain: Rc::clone(self), key }
    }
}

/// One connection's view of the stage.
#[derive(Debug)]
pub(super) struct Watch {
    drain: Rc<Drain>,
    key: usize,
}

impl Watch {
    /// The stage now; `cx` is woken at the next.
    pub(super) fn stage(&self, cx: &Context<'_>) -> Stage {
        if let Some(waker) = self.drain.watches.borrow_mut().get_mut(self.key) {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        self.drain.stage.get()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.drain.watches.borrow_mut().try_remove(self.key);
    }
}
