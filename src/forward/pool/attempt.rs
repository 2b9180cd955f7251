//! One connection that several requests wait for, because it may take all of them.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use tokio::sync::oneshot;

use super::{Connections, Lease, Opened};
use crate::denial::Denial;
use crate::forward::http2::{MAX_STREAMS, Stream};
use crate::forward::places::Place;

/// A connection that is being opened. It goes on when who began it goes away: others wait for it too.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    waiting: RefCell<Vec<oneshot::Sender<Outcome>>>,
}

/// What a waiting request gets, or nothing, when there is not enough for all of them.
type Outcome = Result<Lease, Denial>;

impl Attempt {
    /// Opens a connection for who will [`join`](Self::join).
    pub(super) fn begin(pool: &Rc<Connections>, place: Place) {
        let (pool, attempt) = (Rc::clone(pool), Rc::new(Self::default()));
        pool.attempts.borrow_mut().push(Rc::clone(&attempt));
        let listed = Listed { pool: Rc::downgrade(&pool), attempt };
        tokio::task::spawn_local(async move {
            let opened = pool.open(place, true).await;
            let waiting = listed.end();
            share(&pool, opened, waiting);
        });
    }

    /// Waits for one that is being opened and will have room.
    pub(super) fn join(pool: &Connections) -> Option<oneshot::Receiver<Outcome>> {
        let attempts = pool.attempts.borrow();
        let has_room = |attempt: &&Rc<Self>| attempt.waiting.borrow().len() < MAX_STREAMS;
        let (sender, receiver) = oneshot::channel();
        attempts.iter().find(has_room)?.waiting.borrow_mut().push(sender);
        Some(receiver)
    }
}

/// An attempt that may be joined; however it ends, nobody waits for it any more.
struct Listed {
    pool: Weak<Connections>,
    attempt: Rc<Attempt>,
}

impl Listed {
    fn end(self) -> Vec<oneshot::Sender<Outcome>> {
        self.attempt.waiting.take()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.attempts.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.attempt));
        }
    }
}

fn share(pool: &Rc<Connections>, opened: Result<Opened, Denial>, waiting: Vec<oneshot::Sender<Outcome>>) {
    // Who has gone away takes nothing.
    let mut waiting = waiting.into_iter().filter(|sender| !sender.is_closed());
    match opened {
        Err(denial) => waiting.for_each(|sender| drop(sender.send(Err(denial.clone())))),
        Ok(Opened::Http1(connection)) => match waiting.next() {
            Some(first) => drop(first.send(Ok(pool.first(Opened::Http1(connection))))),
            None => pool.put(connection),
        },
        Ok(Opened::Http2(connection)) => {
            if connection.takes_none() {
                pool.retire(&connection);
                let denial = pool.connector.unreachable("it permits no streams");
                return waiting.for_each(|sender| drop(sender.send(Err(denial.clone()))));
            }
            for (index, sender) in waiting.take_while(|_| connection.has_room()).enumerate() {
                pool.counters.reused.add(u64::from(index > 0));
                let stream = Stream::new(Rc::clone(&connection), Rc::downgrade(pool));
                drop(sender.send(Ok(Lease::Http2(stream.into()))));
            }
            pool.offer(&connection);
            pool.released(&connection);
        }
    }
}
