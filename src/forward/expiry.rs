//! When a stream ends because its token does.

use std::time::Duration;

use tokio::time::Instant;

use super::Inbound;
use crate::denial::Denial;
use crate::policy::Permit;

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

/// What is told of a request whose token has ended, when there is no response yet to be cut.
pub(super) fn expired(permit: &Permit, inbound: &Inbound<'_>) -> Option<Denial> {
    let (at, now) = (permit.expiration()?, inbound.now?.plus(inbound.since.elapsed()));
    Some(Denial::Expired { at, now, clock_skew: None })
}
