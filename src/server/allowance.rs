//! What peers may hold together that have shown nothing for it yet. Beyond it, the oldest goes: an honest one is soon done,
//! and a flood pushes out itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};

/// One worker's share of such a total. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The most that is held, in bytes.
    limit: usize,
    held: Cell<usize>,
    latest: Cell<u64>,
    /// In the order in which they came.
    holders: RefCell<BTreeMap<u64, Holder>>,
}

#[derive(Debug)]
struct Holder {
    size: usize,
    waker: Waker,
}

/// A place among the holders, or none yet.
#[derive(Debug)]
pub(super) struct Held {
    allowance: Allowance,
    /// 0 is none.
    number: Cell<u64>,
}

impl Allowance {
    pub(super) fn new(limit: usize) -> Self {
        Self(Rc::new(Shared { limit, held: Cell::new(0), latest: Cell::new(0), holders: RefCell::default() }))
    }

    /// Room for one that holds nothing yet.
    pub(super) fn nothing(&self) -> Held {
        Held { allowance: self.clone(), number: Cell::new(0) }
    }
}

impl Held {
    /// So many bytes are held, since this was said first. The task is woken when they are to be given back.
    pub(super) fn hold(&self, size: usize, cx: &Context<'_>) {
        let shared = &self.allowance.0;
        let mut holders = shared.holders.borrow_mut();
        if self.number.get() == 0 {
            shared.latest.set(shared.latest.get().saturating_add(1));
            self.number.set(shared.latest.get());
            holders.insert(self.number.get(), Holder { size: 0, waker: cx.waker().clone() });
        }
        if let Some(holder) = holders.get_mut(&self.number.get()) {
            shared.held.set(shared.held.get().saturating_sub(holder.size).saturating_add(size));
            holder.size = size;
            holder.waker.clone_from(cx.waker());
        }
        while shared.held.get() > shared.limit
            && let Some((_, oldest)) = holders.pop_first()
        {
            shared.held.set(shared.held.get().saturating_sub(oldest.size));
            oldest.waker.wake();
        }
    }

    /// Whether it has to be given back.
    pub(super) fn is_overdue(&self) -> bool {
        self.number.get() != 0 && !self.allowance.0.holders.borrow().contains_key(&self.number.get())
    }

    /// Nothing is held any more.
    pub(super) fn release(&self) {
        let number = self.number.replace(0);
        if number != 0
            && let Some(holder) = self.allowance.0.holders.borrow_mut().remove(&number)
        {
            let shared = &self.allowance.0;
            shared.held.set(shared.held.get().saturating_sub(holder.size));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
