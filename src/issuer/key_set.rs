//! One issuer's keys as an immutable snapshot, and the keys in it that may verify a token.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::jose::{Algorithm, AlgorithmSet, JoseHeader, JwkSet, UnusableKey, VerificationKey};

/// The most keys that are tried for one token.
const MAX_CANDIDATES: usize = 8;

/// The usable keys of one issuer.
pub struct KeySet {
    index: Arc<Index>,
    generation: u64,
    fetch: u64,
    fetched_at: Instant,
    restored: bool,
}

/// What does not change while the issuer publishes the same keys.
struct Index {
    keys: Vec<VerificationKey>,
    by_kid: HashMap<Box<str>, Vec<usize>>,
    unusable: Vec<UnusableKey>,
    /// Whether any key has a `kid`, the unusable ones counted.
    has_kids: bool,
}

impl KeySet {
    /// The generation changes only when the set of usable keys does. Never 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When the issuer last confirmed these keys.
    pub fn fetched_at(&self) -> Instant {
        self.fetched_at
    }

    /// Whether an earlier process fetched them, and the issuer has not confirmed them to this one.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// Whether a key is still there, with its `kid` and for the same algorithms. To be asked when the generation is
    /// not the one that a token was verified in.
    pub fn contains(&self, key: &KeyIdentity) -> bool {
        self.keys().iter().any(|found| key.is_of(found))
    }

    /// The `kid` of a token, if it tells anything: in a set in which no key has one, it is only a hint (RFC 7515 §4.1.4).
    pub(super) fn telling_kid<'h>(&self, header: &'h JoseHeader) -> Option<&'h str> {
        header.kid().filter(|_| self.index.has_kids || self.keys().is_empty())
    }

    /// The keys that may verify a token with this header: those of its `kid`; without `kid`, and where no key has one,
    /// those whose algorithm fits.
    pub fn find(self: &Arc<Self>, header: &JoseHeader) -> Result<Candidates, NotFound> {
        let fits = |position: &usize| self.key(*position).is_some_and(|key| key.algorithms().contains(header.alg()));
        let mut positions = [None; MAX_CANDIDATES];
        let kid = self.telling_kid(header);
        match kid {
            Some(kid) => {
                let of_kid = self.index.by_kid.get(kid).ok_or(NotFound::NoSuchKey)?;
                fill(&mut positions, of_kid.iter().copied().filter(fits));
            }
            None => fill(&mut positions, (0..self.keys().len()).filter(fits)),
        }
        let [first, ..] = positions;
        match (first, kid) {
            (Some(_), kid) => Ok(Candidates { set: Arc::clone(self), positions, are_named: kid.is_some() }),
            (None, Some(kid)) => Err(NotFound::OtherAlgorithm(self.algorithms_of(kid))),
            (None, None) => Err(NotFound::NoSuchKey),
        }
    }

    pub(super) fn keys(&self) -> &[VerificationKey] {
        &self.index.keys
    }

    pub(super) fn unusable(&self) -> &[UnusableKey] {
        &self.index.unusable
    }

    /// Which successful fetch, counted from 1, last confirmed these keys; 0 before.
    pub(super) fn fetch(&self) -> u64 {
        self.fetch
    }

    /// Generation 0: never any keys, or none any more.
    pub(super) fn none() -> Self {
        let index = Index { keys: Vec::new(), by_kid: HashMap::new(), unusable: Vec::new(), has_kids: false };
        Self { index: Arc::new(index), generation: 0, fetch: 0, fetched_at: Instant::now(), restored: false }
    }

    /// The keys just fetched, after these.
    pub(super) fn succeeded_by(&self, set: JwkSet, fetched_at: Instant) -> Self {
        let JwkSet { usable: keys, unusable } = set;
        let mut by_kid: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (position, key) in keys.iter().enumerate() {
            if let Some(kid) = key.kid() {
                by_kid.entry(kid.into()).or_default().push(position);
            }
        }
        let has_kids = !by_kid.is_empty() || unusable.iter().any(|key| key.kid.is_some());
        let index = Arc::new(Index { keys, by_kid, unusable, has_kids });
        let mut next = Self { index, generation: self.generation, fetch: self.fetch + 1, fetched_at, restored: false };
        if !next.has_the_keys_of(self) {
            next.generation += 1;
        }
        next
    }

    /// The keys of an earlier process, before any fetch of this one.
    pub(super) fn restored(set: JwkSet, fetched_at: Instant) -> Self {
        Self { fetch: 0, restored: true, ..Self::none().succeeded_by(set, fetched_at) }
    }

    /// These keys, confirmed anew.
    pub(super) fn confirmed(&self, fetched_at: Instant) -> Self {
        let (index, fetch) = (Arc::clone(&self.index), self.fetch + 1);
        Self { index, generation: self.generation, fetch, fetched_at, restored: false }
    }

    /// The keys that are here and not there.
    pub(super) fn without(&self, other: &Self) -> impl Iterator<Item = &VerificationKey> {
        self.keys().iter().filter(|key| !other.contains(&KeyIdentity::of(key)))
    }

    /// How many keys are for this algorithm, and how many of them are tried for a token without `kid`.
    pub(super) fn fitting(&self, algorithm: Algorithm) -> (usize, usize) {
        let count = self.keys().iter().filter(|key| key.algorithms().contains(algorithm)).count();
        (count, count.min(MAX_CANDIDATES))
    }

    fn has_the_keys_of(&self, other: &Self) -> bool {
        self.without(other).next().is_none() && other.without(self).next().is_none()
    }

    fn key(&self, position: usize) -> Option<&VerificationKey> {
        self.keys().get(position)
    }

    fn algorithms_of(&self, kid: &str) -> AlgorithmSet {
        let keys = self.keys().iter().filter(|key| key.kid() == Some(kid));
        keys.flat_map(|key| key.algorithms().iter().collect::<Vec<_>>()).collect()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_struct("KeySet");
        set.field("generation", &self.generation).field("keys", &self.index.keys).finish_non_exhaustive()
    }
}

/// Why no key of a set may verify a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotFound {
    /// None with its `kid`, or without `kid` none for its algorithm: a newer set may have one.
    NoSuchKey,
    /// The key with its `kid` is for these algorithms only.
    OtherAlgorithm(AlgorithmSet),
}

fn fill(slots: &mut [Option<usize>], positions: impl Iterator<Item = usize>) {
    slots.iter_mut().zip(positions).for_each(|(slot, position)| *slot = Some(position));
}

/// The keys that may verify one token, at least one, at most eight; to be tried in order.
#[derive(Clone, Debug)]
pub struct Candidates {
    set: Arc<KeySet>,
    positions: [Option<usize>; MAX_CANDIDATES],
    /// Whether the token's `kid` named them.
    are_named: bool,
}

impl Candidates {
    /// The keys, in the order of the set.
    pub fn iter(&self) -> impl Iterator<Item = &VerificationKey> {
        self.positions.iter().flatten().filter_map(|position| self.set.key(*position))
    }

    /// The generation of the set that they are from.
    pub fn generation(&self) -> u64 {
        self.set.generation
    }

    /// Whether the token named them by its `kid`; if not, they are those whose algorithm fits.
    pub fn are_named(&self) -> bool {
        self.are_named
    }

    pub(super) fn set(&self) -> &KeySet {
        &self.set
    }
}

/// Which key a token was verified with, to be kept with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyIdentity {
    kid: Option<Arc<str>>,
    thumbprint: [u8; 32],
    algorithms: AlgorithmSet,
}

impl KeyIdentity {
    /// That of a key.
    pub fn of(key: &VerificationKey) -> Self {
        Self { kid: key.shared_kid(), thumbprint: key.thumbprint(), algorithms: key.algorithms() }
    }

    fn is_of(&self, key: &VerificationKey) -> bool {
        self.thumbprint == key.thumbprint() && self.kid.as_deref() == key.kid() && self.algorithms == key.algorithms()
    }
}
