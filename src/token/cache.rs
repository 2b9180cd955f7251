//! Tokens that were seen before: the good ones, and apart from them the refused ones.
//!
//! A token is recognised by a tag: AES-GCM's authentication of its whole text (NIST SP 800-38D), under a random key that
//! never leaves the process. Two texts have one tag with a probability of at most 2^-117 (the polynomial hash of 16 KiB in
//! a field of 2^128), and nobody can look for such a pair without ever seeing a tag. So no text of a token need be kept, and
//! a look-up touches sixteen bytes of each. Only a few that come again and again are ([`super::recent`]).
//!
//! Both caches are one worker's own, bounded in bytes, and keep what is asked for often: a flood of new tokens does not
//! push the others out. They hold identities, never a decision about a request.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use zeroize::Zeroizing;

use super::recent::RecentTexts;
use super::verifier::AccessToken;
use crate::clock::NumericDate;
use crate::counter::Counter;
use crate::denial::Denial;

/// The part of the bytes that refused tokens may take.
const REFUSED_SHARE: u64 = 16;
/// The part that texts of tokens may take.
const RECENT_SHARE: u64 = 64;
/// How long a refusal is remembered: long enough for a client that tries again at once, and again.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// What an entry takes beside what is counted, in bytes: the tag, the tables, the allocator's share. Measured, as the
/// resident memory that a full cache adds.
const OVERHEAD: u64 = 256;
/// What a small entry takes, in bytes.
const ESTIMATED_SIZE: u64 = 768;
/// What is kept of an entry that was pushed out, in bytes.
const TRACE_SIZE: u64 = 48;

/// The tokens that one worker has seen.
pub(super) struct TokenCache {
    key: LessSafeKey,
    recent: RecentTexts,
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
pub(super) struct Tag(pub(super) [u8; 16]);

/// A refusal that asking again cannot change soon.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) denial: Denial,
    /// Which keys judged it: [`crate::issuer::Issuers::epoch`].
    pub(super) epoch: u64,
    /// When it was judged.
    since: NumericDate,
    /// What its details take at the most: the token's size, and what is told of our settings.
    size: u64,
}

impl TokenCache {
    /// A cache of at most so many bytes; `None` for none at all.
    pub(super) fn new(max_size: u64) -> Option<Self> {
        let refused = max_size / REFUSED_SHARE;
        let recent = RecentTexts::new(max_size / RECENT_SHARE);
        // Without randomness nothing is remembered, and each token is verified.
        let key = Some(max_size).filter(|size| *size > 0).and_then(|_| random_key())?;
        Some(Self {
            key,
            accepted: RefCell::new(cache(max_size.saturating_sub(refused).saturating_sub(recent.max_size()))?),
            recent,
            refused: RefCell::new(cache(refused)?),
            counters: Arc::default(),
        })
    }

    /// What this token is recognised by, in this cache.
    pub(super) fn tag(&self, token: &[u8]) -> Option<Tag> {
        self.recent.tag(token, || self.authenticate(token))
    }

    fn authenticate(&self, token: &[u8]) -> Option<Tag> {
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
        self.recent.forget(tag);
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
            let refusal = Refusal {
                denial: denial.clone(),
                epoch,
                since: now,
                size: size.saturating_add(own_text(denial)) as u64,
            };
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

/// A cache of at most about so many bytes, traces included: one for each entry that may have been pushed out. Its tables
/// have the size of the most entries that it has had, so after tokens of other sizes they may be some too much.
///
/// What comes back while there is a trace of it is kept. With fewer traces than entries, tokens that nobody asks for any
/// more would keep out others for ever that are all in use, because each comes back after too many others.
fn cache<T>(max_size: u64) -> Option<Cache<Tag, T, Size>>
where
    Size: Weighter<Tag, T>,
{
    let traces = max_size / ESTIMATED_SIZE;
    let options = OptionsBuilder::new()
        .estimated_items_capacity(usize::try_from(traces).ok()?)
        .ghost_allocation(1.0)
        .weight_capacity(max_size.saturating_sub(traces.saturating_mul(TRACE_SIZE)))
        .build()
        .ok()?;
    Some(Cache::with_options(options, Size, DefaultHashBuilder::default(), DefaultLifecycle::default()))
}

fn random_key() -> Option<LessSafeKey> {
    let mut key = Zeroizing::new([0; 16]);
    // From the kernel: AWS-LC's own generator first gathers jitter of the CPU for 100 ms, and keeps 128 KiB for it.
    getrandom::fill(&mut *key).ok()?;
    UnboundKey::new(&AES_128_GCM, &*key).ok().map(LessSafeKey::new)
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
            | Denial::WrongAudience { .. }
            | Denial::ClaimNotForwardable(_)
            | Denial::ClaimsTooLarge { .. }
    )
}

/// How many bytes of a refusal's details do not come from its token.
fn own_text(denial: &Denial) -> usize {
    if let Denial::WrongAudience { expected: Some(text), .. } = denial { text.len() } else { 0 }
}

/// How many bytes an entry takes.
#[derive(Clone, Debug)]
struct Size;

impl Weighter<Tag, AccessToken> for Size {
    fn weight(&self, _: &Tag, token: &AccessToken) -> u64 {
        OVERHEAD.saturating_add(token.size())
    }
}

impl Weighter<Tag, Refusal> for Size {
    fn weight(&self, _: &Tag, refusal: &Refusal) -> u64 {
        OVERHEAD.saturating_add(refusal.size)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn a_tag_is_of_the_whole_text_and_of_this_cache_alone() {
        let (cache, other) = (TokenCache::new(MAX_SIZE).unwrap(), TokenCache::new(1024).unwrap());
        let text = [b'a'; 848];
        // Often enough for its text to be kept.
        assert!((0..4).all(|_| cache.tag(&text) == cache.tag(&text)));
        assert!(cache.tag(&text) != other.tag(&text));
        for at in 0..text.len() {
            let mut changed = text;
            changed[at] ^= 1;
            assert!(cache.tag(&text) != cache.tag(&changed), "byte {at}");
        }
        assert!(cache.tag(&text) != cache.tag(&text[..847]));
        assert!(cache.tag(b"") != cache.tag(b"\0"));
    }

    /// A gate's default, for one worker.
    const MAX_SIZE: u64 = 16 * 1024 * 1024;
    /// Room for about 4,000 tokens.
    const SMALL_SIZE: u64 = 4 * 1024 * 1024;

    /// The tag of one of many tokens.
    fn numbered(number: u32) -> Tag {
        let mut tag = [0; 16];
        tag[..4].copy_from_slice(&number.to_le_bytes());
        Tag(tag)
    }

    fn refuse(cache: &TokenCache, number: u32) {
        cache.refuse(numbered(number), 848, &Denial::InvalidSignature("kid key-0".into()), 1, NumericDate::EPOCH);
    }

    #[test]
    fn a_refusal_holds_for_ten_seconds_from_when_it_was_judged() {
        let at = |seconds| NumericDate::from_seconds(seconds).unwrap();
        let expired = |now| Denial::Expired { at: at(900.0), now: at(now), clock_skew: None };
        let cache = TokenCache::new(SMALL_SIZE).unwrap();
        cache.refuse(numbered(0), 848, &expired(1000.0), 7, at(1000.0));
        for (now, holds) in [(999.999, false), (1000.0, true), (1009.999, true), (1010.0, false)] {
            let refusal = cache.refused(numbered(0), at(now)).map(|refusal| (refusal.denial, refusal.epoch));
            assert_eq!(refusal, holds.then(|| (expired(now), 7)), "at {now}");
        }
        // What time alone makes good.
        let early = Denial::NotYetValid { claim: "nbf", at: at(2000.0), now: at(1000.0), clock_skew: None };
        cache.refuse(numbered(1), 848, &early, 7, at(1000.0));
        assert!(cache.refused(numbered(1), at(1000.0)).is_none());
    }

    #[test]
    fn a_token_that_is_to_be_forgotten_is() {
        let cache = TokenCache::new(SMALL_SIZE).unwrap();
        for number in 0..2 {
            cache.accept(numbered(number), AccessToken::sample(460));
        }
        cache.forget(numbered(0));
        assert!(cache.accepted(numbered(0)).is_none() && cache.accepted(numbered(1)).is_some());
        assert_eq!(cache.counters.accepted.value(), 1);
    }

    /// In bytes: what a cache may hold, what it counts, and what its tables take; and how many entries it has.
    struct Figures {
        capacity: u64,
        weight: u64,
        tables: u64,
        entries: u64,
    }

    impl Figures {
        fn of<T>(cache: &RefCell<Cache<Tag, T, Size>>) -> Self
        where
            Size: Weighter<Tag, T>,
        {
            let cache = cache.borrow();
            let (tables, entries) = (cache.memory_used().total() as u64, cache.len() as u64);
            Self { capacity: cache.capacity(), weight: cache.weight(), tables, entries }
        }
    }

    #[test]
    fn a_million_tokens_do_not_outgrow_its_bound() {
        let cache = TokenCache::new(MAX_SIZE).unwrap();
        let token = AccessToken::sample(460);
        for number in 0..1_000_000 {
            cache.accept(numbered(number), token.clone());
            refuse(&cache, number);
            let (accepted, refused) = (cache.accepted.borrow(), cache.refused.borrow());
            assert!(accepted.weight() + refused.weight() <= MAX_SIZE, "after {number}");
        }
        let (accepted, refused) = (Figures::of(&cache.accepted), Figures::of(&cache.refused));
        for Figures { capacity, weight, tables, entries } in [&accepted, &refused] {
            assert!(*weight > capacity / 10 * 9, "{weight} of {capacity} bytes are used");
            let traces = capacity / ESTIMATED_SIZE * TRACE_SIZE;
            assert!(*tables <= entries * OVERHEAD + traces, "{tables} bytes of tables for {entries} entries");
        }
        let contents = accepted.entries * token.size();
        assert!(contents + accepted.tables + refused.tables <= MAX_SIZE, "{contents} bytes of tokens");
        assert_eq!(
            (cache.counters.accepted.value(), cache.counters.refused.value()),
            (accepted.entries, refused.entries)
        );
    }

    #[test]
    fn a_token_larger_than_the_cache_is_not_kept() {
        let cache = TokenCache::new(4096).unwrap();
        cache.accept(numbered(0), AccessToken::sample(4096));
        assert!(cache.accepted(numbered(0)).is_none());
        cache.accept(numbered(1), AccessToken::sample(460));
        assert!(cache.accepted(numbered(1)).is_some());
    }

    /// How many of these are not recognised; they are from then on.
    fn misses(cache: &TokenCache, token: &AccessToken, numbers: Range<u32>) -> usize {
        let unknown = numbers.map(numbered).filter(|tag| cache.accepted(*tag).is_none());
        unknown.inspect(|tag| cache.accept(*tag, token.clone())).count()
    }

    #[test]
    fn a_token_in_use_survives_a_flood_of_others() {
        const FLOOD: u32 = 60_000;
        let token = AccessToken::sample(460);
        // How often each of the flood is asked for, one time after the other; and after how many the flood begins anew.
        for (times, period) in [(1, FLOOD), (2, FLOOD), (3, FLOOD), (1, 6_000), (2, 6_000), (3, 6_000)] {
            let cache = TokenCache::new(SMALL_SIZE).unwrap();
            let (mut early, mut late) = (0, 0);
            for number in 0..FLOOD {
                if number % 100 == 0 {
                    early += misses(&cache, &token, FLOOD..FLOOD + 1);
                    // Nobody asks for this one before the cache is full.
                    late += if number > FLOOD / 2 { misses(&cache, &token, FLOOD + 1..FLOOD + 2) } else { 0 };
                }
                for _ in 0..times {
                    misses(&cache, &token, number % period..number % period + 1);
                }
                refuse(&cache, number);
            }
            // Once more when the flood fills the cache, where each of it seems to be as much in use.
            assert!(early <= 2 && late <= 2, "{early} and {late} misses: {times} times each of {period}");
        }
    }

    #[test]
    fn tokens_in_use_take_the_place_of_those_that_are_not() {
        let cache = TokenCache::new(SMALL_SIZE).unwrap();
        let token = AccessToken::sample(460);
        misses(&cache, &token, 0..60_000);
        let (entries, fit) = (cache.accepted.borrow().len(), 60_000..63_500);
        assert!(entries > fit.len(), "{entries} entries");
        let rounds: Vec<_> = (0..4).map(|_| misses(&cache, &token, fit.clone())).collect();
        assert_eq!(rounds.last(), Some(&0), "{rounds:?}");
    }
}
