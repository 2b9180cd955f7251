//! When a stream ends because its token does, or the key that signed it.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::Inbound;
use crate::deadline::{Deadline, Deadlines};
use crate::denial::Denial;
use crate::policy::{Permit, Standing};

/// What is added at random at the most, so that clients whose tokens end together do not all come back together.
const JITTER: Duration = Duration::from_secs(5);

/// What becomes of a stream when its token is no longer accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamExpiry {
    /// It ends.
    Close,
    /// It goes on.
    Ignore,
}

impl StreamExpiry {
    /// When a stream ends that was let through with this permit: when a new request with its token would be refused, and
    /// up to 5 s later. `None`: not before its own end, as on a route that asks for no token.
    ///
    /// Only what is known to be a stream is worth asking for.
    pub(super) fn ends_at(self, permit: &Permit, inbound: &Inbound<'_>) -> Option<Instant> {
        if self == Self::Ignore {
            return None;
        }
        let left = permit.accepted_until()?.as_seconds() - inbound.now?.as_seconds();
        // Too far away for a clock is never.
        let left = Duration::try_from_secs_f64(left.max(0.0)).ok()?;
        inbound.since.checked_add(left)?.checked_add(JITTER.mul_f64(fastrand::f64()))
    }
}

impl StreamExpiry {
    /// Notices that the key of a stream's token was withdrawn. `None` as for [`Self::ends_at`].
    pub(super) fn key_watch(self, permit: &Permit, deadlines: &Deadlines) -> Option<KeyWatch> {
        let standing = permit.standing().filter(|_| self == Self::Close)?;
        let recall = deadlines.deadline().recallable();
        // The keys may have changed since the token was verified; from here on, a recall tells.
        if standing.is_withdrawn() {
            recall.arm_in(Duration::ZERO);
        }
        Some(KeyWatch { recall, standing })
    }
}

/// Notices that the key of a stream's token was withdrawn. Costs nothing until an issuer's keys change.
#[derive(Debug)]
pub(super) struct KeyWatch {
    recall: Deadline,
    standing: Standing,
}

impl KeyWatch {
    /// Ready when the key was withdrawn; else `cx` is woken when it may be.
    pub(super) fn poll_withdrawn(&self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.recall.poll_elapsed(cx));
        if self.standing.is_withdrawn() {
            return Poll::Ready(());
        }
        self.recall.disarm();
        self.recall.poll_elapsed(cx)
    }
}

/// What is told of a request whose key was withdrawn, when there is no response yet to be cut.
pub(super) fn withdrawn() -> Denial {
    Denial::UnknownKey("the key of the token was withdrawn meanwhile".into())
}

/// What is told of a request whose token has ended, when there is no response yet to be cut.
pub(super) fn expired(permit: &Permit, inbound: &Inbound<'_>) -> Option<Denial> {
    let (at, now) = (permit.expiration()?, inbound.now?.plus(inbound.since.elapsed()));
    Some(Denial::Expired { at, now, clock_skew: None })
}
