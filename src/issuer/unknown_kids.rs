//! What is remembered of unknown `kid`s, in bounded memory: they are made up by whoever sends tokens.
//!
//! Only keyed hashes are kept. A made-up `kid` may have 16 KiB, and nobody outside knows the hash's key, so nobody can
//! make two of them collide.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::time::Instant;

/// How many absent `kid`s are remembered, and for how long.
const MAX_ABSENT: usize = 4096;
const ABSENT_FOR: Duration = Duration::from_secs(30);
/// How many different `kid`s are told apart among those that are asked for.
const MAX_ASKED: usize = 64;

/// Hashes `kid`s.
#[derive(Debug, Default)]
pub(super) struct KidHasher(RandomState);

/// The hash of a `kid`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct KidHash(u64);

impl KidHasher {
    pub(super) fn hash(&self, kid: &str) -> KidHash {
        KidHash(self.0.hash_one(kid))
    }
}

/// The `kid`s that a fetch was asked for and did not bring: refused at once until the next fetch, at most 30 s.
#[derive(Debug, Default)]
pub(super) struct AbsentKids {
    fetch: u64,
    kids: HashSet<KidHash>,
    /// The same in the order of their ends.
    ends: VecDeque<(Instant, KidHash)>,
}

impl AbsentKids {
    /// This successful fetch did not bring the `kid`. Of too many, the oldest is forgotten.
    pub(super) fn remember(&mut self, fetch: u64, kid: KidHash, now: Instant) {
        if fetch < self.fetch {
            return;
        }
        if fetch > self.fetch {
            *self = Self { fetch, ..Self::default() };
        }
        self.forget(|end, count| end <= now || count >= MAX_ABSENT);
        if self.kids.insert(kid) {
            self.ends.push_back((now + ABSENT_FOR, kid));
        }
    }

    /// Whether the newest successful fetch, which is this one, is known not to have brought the `kid`.
    pub(super) fn contains(&mut self, fetch: u64, kid: KidHash, now: Instant) -> bool {
        self.forget(|end, _| end <= now);
        self.fetch == fetch && self.kids.contains(&kid)
    }

    fn forget(&mut self, is_over: impl Fn(Instant, usize) -> bool) {
        while let Some((end, kid)) = self.ends.front().copied() {
            if !is_over(end, self.ends.len()) {
                return;
            }
            self.ends.pop_front();
            self.kids.remove(&kid);
        }
    }
}

/// What the requests that wait for an attempt need from it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    attempt: u64,
    kids: Vec<KidHash>,
    /// Whether some of it is not listed: a token without `kid`, or too many different ones.
    more: bool,
}

impl Asked {
    /// A request needs this attempt or a later one, for this `kid`. Returns whether that is news.
    pub(super) fn add(&mut self, attempt: u64, kid: Option<KidHash>) -> bool {
        if attempt < self.attempt {
            return false;
        }
        let is_news = attempt > self.attempt;
        if is_news {
            *self = Self { attempt, ..Self::default() };
        }
        match kid {
            Some(kid) if self.kids.contains(&kid) => {}
            Some(kid) if self.kids.len() < MAX_ASKED => self.kids.push(kid),
            _ => self.more = true,
        }
        is_news
    }

    /// Whether an attempt after this one is asked for.
    pub(super) fn is_beyond(&self, started: u64) -> bool {
        self.attempt > started
    }

    /// Returns whether no attempt after this one is needed, now that it has brought keys: none was asked for, or all
    /// that was asked for has come. What has come is forgotten.
    pub(super) fn settle(&mut self, started: u64, has_come: impl Fn(KidHash) -> bool) -> bool {
        let has_come = !self.more && self.kids.iter().copied().all(has_come);
        if has_come {
            *self = Self::default();
        }
        !self.is_beyond(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absent_kid_is_remembered_for_thirty_seconds_or_until_the_next_fetch() {
        let (mut absent, now, kid) = (AbsentKids::default(), Instant::now(), KidHash(7));
        absent.remember(1, kid, now);
        assert!(absent.contains(1, kid, now + ABSENT_FOR.mul_f64(0.99)));
        assert!(!absent.contains(2, kid, now));
        assert!(!absent.contains(1, KidHash(8), now));
        assert!(!absent.contains(1, kid, now + ABSENT_FOR));
        absent.remember(2, kid, now);
        absent.remember(1, KidHash(8), now);
        assert!(absent.contains(2, kid, now) && !absent.contains(2, KidHash(8), now));
    }

    #[tokio::test]
    async fn of_too_many_absent_kids_the_oldest_is_forgotten() {
        let (mut absent, now) = (AbsentKids::default(), Instant::now());
        for kid in 0..=MAX_ABSENT as u64 {
            absent.remember(1, KidHash(kid), now);
        }
        assert_eq!((absent.kids.len(), absent.ends.len()), (MAX_ABSENT, MAX_ABSENT));
        assert!(!absent.contains(1, KidHash(0), now) && absent.contains(1, KidHash(MAX_ABSENT as u64), now));
    }

    #[test]
    fn a_herd_with_one_new_kid_is_settled_by_that_kid() {
        let mut asked = Asked::default();
        assert!(asked.add(5, Some(KidHash(1))));
        assert!((0..200).all(|_| !asked.add(5, Some(KidHash(1)))));
        assert!(asked.is_beyond(4) && !asked.is_beyond(5));
        assert!(!asked.settle(4, |_| false));
        assert!(asked.settle(4, |kid| kid == KidHash(1)) && !asked.is_beyond(4));
    }

    #[test]
    fn what_is_not_listed_is_never_settled_by_a_kid() {
        let mut without_kid = Asked::default();
        without_kid.add(1, None);
        assert!(!without_kid.settle(0, |_| true));
        let mut too_many = Asked::default();
        for kid in 0..=MAX_ASKED as u64 {
            too_many.add(1, Some(KidHash(kid)));
        }
        assert_eq!(too_many.kids.len(), MAX_ASKED);
        assert!(!too_many.settle(0, |_| true));
    }
}
