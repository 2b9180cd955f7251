//! What a worker's connections read to and write from, in turn.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use bytes::BytesMut;

use super::Date;

/// What one read may bring: more than a head, and a body in few system calls.
pub(super) const BUFFER_SIZE: usize = 64 * 1024;

/// Clones are the same. Nobody holds one of them for longer than a poll.
#[derive(Clone, Debug)]
pub(in crate::server) struct Buffers(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    read: RefCell<Box<[u8]>>,
    body: RefCell<BytesMut>,
    write: RefCell<Vec<u8>>,
    date: Date,
}

impl Buffers {
    /// Where bytes are before they have been looked at.
    pub(super) fn read(&self) -> RefMut<'_, Box<[u8]>> {
        self.0.read.borrow_mut()
    }

    /// Where those of bodies are that need not be.
    pub(super) fn body(&self) -> RefMut<'_, BytesMut> {
        self.0.body.borrow_mut()
    }

    /// Where an answer is put together.
    pub(super) fn write(&self) -> RefMut<'_, Vec<u8>> {
        self.0.write.borrow_mut()
    }

    pub(super) fn date(&self) -> &Date {
        &self.0.date
    }
}

impl Default for Buffers {
    fn default() -> Self {
        let read = RefCell::new(vec![0; BUFFER_SIZE].into_boxed_slice());
        Self(Rc::new(Shared { read, body: RefCell::default(), write: RefCell::default(), date: Date::default() }))
    }
}
