//! Who is woken by a connection to the origin: the request that uses it now, and only when there is news.
//!
//! hyper's two halves of a connection speak through channels, and each message wakes whoever waited last: the request
//! that used the connection before, or the one that is reading both halves at this moment anyway. Left alone, these wakes
//! cost a request one poll and a third for each one that it needs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// One connection's waker, which stays the same for all requests on it.
#[derive(Debug)]
pub(super) struct Relay {
    state: Arc<State>,
    waker: Waker,
}

/// A worker wakes its connections on its own thread; the atomics only have to satisfy [`Waker`].
#[derive(Debug)]
struct State {
    /// The request that uses the connection, or did last.
    user: Mutex<Waker>,
    /// The user itself is at work on the connection.
    is_in_use: AtomicBool,
    /// There was news meanwhile.
    has_news: AtomicBool,
}

impl Relay {
    /// Nobody's yet.
    pub(super) fn new() -> Self {
        let state = Arc::new(State {
            user: Mutex::new(Waker::noop().clone()),
            is_in_use: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
        });
        Self { waker: Waker::from(Arc::clone(&state)), state }
    }

    /// Nobody is woken while this is held: its holder looks at the connection itself, or polls it next.
    pub(super) fn quiet(&self) -> Quiet<'_> {
        self.state.is_in_use.store(true, Ordering::SeqCst);
        Quiet(&self.state)
    }

    /// Polls the halves of the connection for the task of `cx`, which is woken at once when they still have something to
    /// say to each other though `poll` waits.
    pub(super) fn poll<T>(&self, cx: &Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.state.user().clone_from(cx.waker());
        self.state.has_news.store(false, Ordering::SeqCst);
        let quiet = self.quiet();
        let polled = poll(&mut Context::from_waker(&self.waker));
        drop(quiet);
        if polled.is_pending() && self.state.has_news.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

/// See [`Relay::quiet`].
#[derive(Debug)]
pub(super) struct Quiet<'r>(&'r State);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.is_in_use.store(false, Ordering::SeqCst);
    }
}

impl State {
    /// A waker is whole whatever happened to whoever held the lock.
    fn user(&self) -> MutexGuard<'_, Waker> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_news.store(true, Ordering::SeqCst);
        if !self.is_in_use.load(Ordering::SeqCst) {
            self.user().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// Polls once for the task; what was polled wakes whoever it was given.
    fn poll(relay: &Relay, task: &Arc<Task>, polled: Poll<()>, wakes_itself: bool) {
        let waker = Waker::from(Arc::clone(task));
        let result = relay.poll(&Context::from_waker(&waker), |cx| {
            if wakes_itself {
                cx.waker().wake_by_ref();
            }
            polled
        });
        assert_eq!(result, polled);
    }

    #[test]
    fn news_from_outside_wakes_the_user_and_no_earlier_one() {
        let (relay, earlier, user) = (Relay::new(), Arc::default(), Arc::default());
        poll(&relay, &earlier, Poll::Ready(()), false);
        poll(&relay, &user, Poll::Pending, false);
        relay.waker.wake_by_ref();
        assert_eq!((earlier.woken(), user.woken()), (0, 1));
    }

    #[test]
    fn what_is_quiet_wakes_nobody_until_it_is_over() {
        let (relay, user) = (Relay::new(), Arc::default());
        poll(&relay, &user, Poll::Ready(()), false);
        let quiet = relay.quiet();
        relay.waker.wake_by_ref();
        drop(quiet);
        assert_eq!(user.woken(), 0);
        relay.waker.wake_by_ref();
        assert_eq!(user.woken(), 1);
    }

    #[test]
    fn news_from_inside_wakes_the_user_only_when_it_would_wait() {
        let (relay, user) = (Relay::new(), Arc::default());
        poll(&relay, &user, Poll::Ready(()), true);
        assert_eq!(user.woken(), 0);
        poll(&relay, &user, Poll::Pending, false);
        assert_eq!(user.woken(), 0);
        poll(&relay, &user, Poll::Pending, true);
        assert_eq!(user.woken(), 1);
    }
}
