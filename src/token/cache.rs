//! Tokens that were seen before: the good ones, and apart from them the refused ones.
//!
//! A token is recognised by a tag: AES-GCM's authentication of its whole text (NIST SP 800-38D), under a random key that
//! never leaves the process. Two texts have one tag with a probability of at most 2^-117 (the polynomial hash of 16 KiB in
//! a field of 2^128), and nobody can look for such a pair without ever seeing a tag. So no text of a token is kept, and a
//! look-up touches sixteen bytes of each.
//!
//! Both caches are one worker's own, bounded in bytes, and keep what is asked for often: a flood of new tokens does not
//! push the others out. They hold identities, never a decision about a request.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::verifier::AccessToken;
use crate::clock::NumericDate;
use crate::counter::Counter;
use crate::denial::Denial;

/// The part of the bytes that refused tokens may take.
const REFUSED_SHARE: u64 = 16;
/// How long a refusal is remembered: long enough for a client that tries again at once, and again.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// What an entry takes beside what is counted, in bytes: the tag, the tables, the allocator's share.
const OVERHEAD: u64 = 160;
/// What an entry takes on average, in bytes, to begin with tables of about the right size.
const ESTIMATED_SIZE: u64 = 1024;

/// The tokens that one worker has seen.
pub(super) struct TokenCache {
    key: LessSafeKey,
    accepted: RefCell<Cache<Tag, AccessToken, Size>>,
    refused: RefCell<Cache<Tag, Refusal, Size>>,
    pub(super) counters: Arc<CacheCounters>,
}

/// What one worker counts of the tokens that it has seen. On no cache line of another's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CacheCounters {
    /// Recognised, and accepted before.
    pub accepted_hits: Counter,
    /// Recognised, and refused before.
    pub refused_hits: Counter,
    /// Not recognised.
    pub misses: Counter,
    /// Accepted tokens that are remembered.
    pub accepted: Counter,
    /// Refused tokens that are remembered.
    pub refused: Counter,
}

/// What a token is recognised by.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Tag([u8; 16]);

/// A refusal that asking again cannot change soon.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) denial: Denial,
    /// Which keys judged it: [`crate::issuer::Issuers::epoch`].
    pub(super) epoch: u64,
    /// When it was judged.
    since: NumericDate,
    /// The token's size, which its details do not exceed.
    size: u64,
}

impl TokenCache {
    /// A cache of at most so many bytes; `None` for none at all.
    pub(super) fn new(max_size: u64) -> Option<Self> {
        let refused = max_size / REFUSED_SHARE;
        let count = |size: u64| usize::try_from(size / ESTIMATED_SIZE).unwrap_or(usize::MAX);
        // Without randomness nothing is remembered, and each token is verified.
        let key = Some(max_size).filter(|size| *size > 0).and_then(|_| random_key())?;
        Some(Self {
            key,
            accepted: RefCell::new(Cache::with_weighter(count(max_size - refused), max_size - refused, Size)),
            refused: RefCell::new(Cache::with_weighter(count(refused), refused, Size)),
            counters: Arc::default(),
        })
    }

    /// What this token is recognised by, in this cache.
    pub(super) fn tag(&self, token: &[u8]) -> Option<Tag> {
        // One nonce for all is what makes one tag of one text. It would give away the key to somebody who sees tags.
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        tag.as_ref().try_into().ok().map(Tag)
    }

    /// The accepted token of this tag.
    pub(super) fn accepted(&self, tag: Tag) -> Option<AccessToken> {
        self.accepted.borrow().get(&tag).cloned()
    }

    /// Remembers an accepted token.
    pub(super) fn accept(&self, tag: Tag, token: AccessToken) {
        let mut accepted = self.accepted.borrow_mut();
        accepted.insert(tag, token);
        self.counters.accepted.set(accepted.len() as u64);
    }

    /// Forgets a token that is not to be accepted any more.
    pub(super) fn forget(&self, tag: Tag) {
        let mut accepted = self.accepted.borrow_mut();
        accepted.remove(&tag);
        self.counters.accepted.set(accepted.len() as u64);
    }

    /// The refusal of this token, while it holds. Before it was judged, as when the clock was set back, it does not.
    pub(super) fn refused(&self, tag: Tag, now: NumericDate) -> Option<Refusal> {
        let holds = |refusal: &&Refusal| refusal.since <= now && now < refusal.since.plus(REFUSED_FOR);
        let mut refusal = self.refused.borrow().get(&tag).filter(holds).cloned()?;
        if let Denial::Expired { now: then, .. } = &mut refusal.denial {
            *then = now;
        }
        Some(refusal)
    }

    /// Remembers a refusal of a token of so many bytes, unless it may pass.
    pub(super) fn refuse(&self, tag: Tag, size: usize, denial: &Denial, epoch: u64, now: NumericDate) {
        if is_lasting(denial) {
            let refusal = Refusal { denial: denial.clone(), epoch, since: now, size: size as u64 };
            let mut refused = self.refused.borrow_mut();
            refused.insert(tag, refusal);
            self.counters.refused.set(refused.len() as u64);
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

fn random_key() -> Option<LessSafeKey> {
    let mut key = [0; 16];
    rand::fill(&mut key).ok()?;
    UnboundKey::new(&AES_128_GCM, &key).ok().map(LessSafeKey::new)
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

impl Weighter<Tag, AccessToken> for Size {
    fn weight(&self, _: &Tag, token: &AccessToken) -> u64 {
        OVERHEAD + token.size()
    }
}

impl Weighter<Tag, Refusal> for Size {
    fn weight(&self, _: &Tag, refusal: &Refusal) -> u64 {
        OVERHEAD + refusal.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_the_whole_text_and_of_this_cache_alone() {
        let (cache, other) = (TokenCache::new(1024).unwrap(), TokenCache::new(1024).unwrap());
        let text = [b'a'; 848];
        assert!(cache.tag(&text) == cache.tag(&text));
        assert!(cache.tag(&text) != other.tag(&text));
        for at in 0..text.len() {
            let mut changed = text;
            changed[at] ^= 1;
            assert!(cache.tag(&text) != cache.tag(&changed), "byte {at}");
        }
        assert!(cache.tag(&text) != cache.tag(&text[..847]));
        assert!(cache.tag(b"") != cache.tag(b"\0"));
    }
}
