//! What a worker's connections read to and write from, in turn.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use bytes::BytesMut;

use super::Date;

/// The most bytes that one read of a body brings, so that it takes few system calls.
pub(super) const BUFFER_SIZE: usize = 64 * 1024;

/// The most bytes that one read of a head brings: more than most heads have. What comes behind a head in the same read is
/// kept for as long as its request waits, and any client may send it.
pub(super) const HEAD_READ_SIZE: usize = 8 * 1024;

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
