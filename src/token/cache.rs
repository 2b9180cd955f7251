//! Tokens that were seen before: the good ones, and apart from them the refused ones.
//!
//! A token is recognised by comparing all of it, never by a hash alone, so that none can be taken for another. Both
//! caches are one worker's own, bounded in bytes, and keep what is asked for often: a flood of new tokens does not push
//! the others out. They hold identities, never a decision about a request.

use std::cell::RefCell;
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::verifier::AccessToken;
use crate::clock::NumericDate;
use crate::denial::Denial;

/// The part of the bytes that refused tokens may take.
const REFUSED_SHARE: u64 = 16;
/// How long a refusal is remembered: long enough for a client that tries again at once, and again.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// What an entry takes beside the token itself, in bytes; measured.
const OVERHEAD: u64 = 160;
/// What a token takes on average, in bytes, to begin with tables of about the right size.
const ESTIMATED_SIZE: u64 = 2048;

/// The tokens that one worker has seen.
#[derive(Debug)]
pub(super) struct TokenCache {
    accepted: RefCell<Cache<Box<[u8]>, AccessToken, Size>>,
    refused: RefCell<Cache<Box<[u8]>, Refusal, Size>>,
}

/// A refusal that asking again cannot change soon.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) denial: Denial,
    /// Which keys judged it: [`crate::issuer::Issuers::epoch`].
    pub(super) epoch: u64,
    /// When it was judged.
    since: NumericDate,
}

impl TokenCache {
    /// A cache of at most so many bytes; `None` for none at all.
    pub(super) fn new(max_size: u64) -> Option<Self> {
        let refused = max_size / REFUSED_SHARE;
        let cache = |size: u64| usize::try_from(size / ESTIMATED_SIZE).unwrap_or(usize::MAX);
        (max_size > 0).then(|| Self {
            accepted: RefCell::new(Cache::with_weighter(cache(max_size - refused), max_size - refused, Size)),
            refused: RefCell::new(Cache::with_weighter(cache(refused), refused, Size)),
        })
    }

    /// The accepted token of this text.
    pub(super) fn accepted(&self, token: &[u8]) -> Option<AccessToken> {
        self.accepted.borrow().get(token).cloned()
    }

    /// Remembers an accepted token.
    pub(super) fn accept(&self, text: &[u8], token: AccessToken) {
        self.accepted.borrow_mut().insert(text.into(), token);
    }

    /// Forgets a token that is not to be accepted any more.
    pub(super) fn forget(&self, token: &[u8]) {
        self.accepted.borrow_mut().remove(token);
    }

    /// The refusal of this token, while it holds. Before it was judged, as when the clock was set back, it does not.
    pub(super) fn refused(&self, token: &[u8], now: NumericDate) -> Option<Refusal> {
        let holds = |refusal: &&Refusal| refusal.since <= now && now < refusal.since.plus(REFUSED_FOR);
        let mut refusal = self.refused.borrow().get(token).filter(holds).cloned()?;
        if let Denial::Expired { now: then, .. } = &mut refusal.denial {
            *then = now;
        }
        Some(refusal)
    }

    /// Remembers a refusal, unless it may pass.
    pub(super) fn refuse(&self, token: &[u8], denial: &Denial, epoch: u64, now: NumericDate) {
        if is_lasting(denial) {
            let refusal = Refusal { denial: denial.clone(), epoch, since: now };
            self.refused.borrow_mut().insert(token.into(), refusal);
        }
    }
}

/// Whether the same token gets the same answer from the same keys, whatever the time.
const fn is_lasting(denial: &Denial) -> bool {
    matches!(
        denial,
        Denial::MalformedToken(_)
            | Denial::EncryptedToken
            | Denial::UnexpectedType(_)
            | Denial::UnsupportedCritical(_)
            | Denial::AlgorithmNotAllowed(_)
            | Denial::UntrustedIssuer(_)
            | Denial::InvalidSignature(_)
            | Denial::MissingClaim(_)
            | Denial::MalformedClaim { .. }
            | Denial::Expired { .. }
            | Denial::LifetimeTooLong { .. }
            | Denial::WrongAudience(_)
            | Denial::ClaimNotForwardable(_)
            | Denial::ClaimsTooLarge { .. }
    )
}

/// How many bytes an entry takes.
#[derive(Clone, Debug)]
struct Size;

impl Weighter<Box<[u8]>, AccessToken> for Size {
    fn weight(&self, text: &Box<[u8]>, token: &AccessToken) -> u64 {
        OVERHEAD + text.len() as u64 + token.size()
    }
}

impl Weighter<Box<[u8]>, Refusal> for Size {
    fn weight(&self, text: &Box<[u8]>, _: &Refusal) -> u64 {
        OVERHEAD + text.len() as u64
    }
}
