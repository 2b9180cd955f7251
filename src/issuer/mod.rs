//! Everything about one authorization server: which it is, and its keys.
//!
//! Keys go one way, with one writer per issuer: a [`Refresher`] fetches them on the control plane and publishes each set
//! as an immutable snapshot; the workers read snapshots. A worker waits for the writer only where a token's key is not
//! in the snapshot, in a waiting room of bounded size. Where the last good keys are kept on disk, an earlier process's
//! serve until the first fetch succeeds.

mod bearer;
mod disk;
mod fetch;
mod issuers;
mod key_set;
mod metadata;
mod refresh;
mod refresher;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod unexpected;
mod unknown_kids;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use url::Url;

pub use bearer::BearerTokenFile;
pub use disk::CacheDir;
pub use issuers::Issuers;
pub use key_set::{Candidates, KeyIdentity, KeySet, NotFound};
pub use refresher::{InvalidSettings, Refresher};
pub use status::{Failure, KeyStatus, Report, Status};

use crate::denial::{Denial, Text};
use crate::jose::{AlgorithmSet, JoseHeader, VerificationKey};
use crate::trust::Trust;
use unknown_kids::{AbsentKids, Asked, KidHash, KidHasher};

/// How many of the known `kid`s the refusal of an unknown one names.
const SHOWN_KIDS: usize = 8;

/// What one issuer is set to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer, byte for byte as tokens carry it. With discovery an https URL, or an http one on loopback.
    pub identifier: String,
    /// Where the keys are; replaces discovery.
    pub jwks_url: Option<Url>,
    /// Whether plain HTTP is permitted beyond loopback.
    pub insecure: bool,
    /// What tokens may be signed with.
    pub allowed_algorithms: AlgorithmSet,
    /// The time in which an unknown key's permit comes back.
    pub refresh_cooldown: Duration,
    /// For one attempt to fetch the keys, discovery included.
    pub timeout: Duration,
    /// How long keys serve on after the issuer last confirmed them.
    pub max_stale: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Where the last good keys survive a restart.
    pub cache_dir: Option<CacheDir>,
    /// The credential for fetching them, sent to the origins of `identifier` and `jwks_url` alone.
    pub bearer_token_file: Option<BearerTokenFile>,
    /// How many requests may wait for keys at once, over all workers.
    pub waiting_room: usize,
    /// Whose certificates are trusted when fetching.
    pub trust: Arc<Trust>,
}

impl Settings {
    /// How many requests of one worker may wait.
    pub const WAITING_PER_WORKER: usize = 1024;

    /// The defaults, for one worker.
    pub fn new(identifier: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            jwks_url: None,
            insecure: false,
            allowed_algorithms: AlgorithmSet::ALL,
            refresh_cooldown: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            max_stale: Duration::from_hours(24),
            leeway: Duration::from_secs(30),
            cache_dir: None,
            bearer_token_file: None,
            waiting_room: Self::WAITING_PER_WORKER,
            trust: Arc::new(Trust::new(None, None)),
        }
    }
}

/// One issuer as the request path sees it. Shared by all workers.
pub struct Issuer {
    settings: Settings,
    snapshot: ArcSwap<KeySet>,
    progress: watch::Sender<Progress>,
    asked: Mutex<Asked>,
    /// Wakes the writer: something was asked for.
    wake: Notify,
    /// Whether the operator asked for an attempt.
    reload: AtomicBool,
    /// The newest keys, also when they are too old to be published. A writer that begins again goes on from them, so that
    /// no generation stands for two sets.
    held: ArcSwap<KeySet>,
    absent: Mutex<AbsentKids>,
    hasher: KidHasher,
    waiting_room: Semaphore,
    report: ArcSwap<Report>,
    /// Whether a token was seen that is valid for longer than anyone can mean.
    far_expiration: AtomicBool,
}

/// How far the writer is. Attempts are counted from 1; the count is raised before an attempt begins, and lowered never.
#[derive(Clone, Debug, Default)]
struct Progress {
    started: u64,
    finished: u64,
    /// Why the last one failed.
    error: Option<Arc<str>>,
    /// When the next one begins if nothing is asked for.
    next: Option<Instant>,
}

impl Progress {
    /// Before the first attempt counts as well: it is about to begin.
    fn is_under_way(&self) -> bool {
        self.started > self.finished || self.started == 0
    }
}

impl Issuer {
    fn without_keys(settings: Settings) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(KeySet::none()),
            progress: watch::Sender::new(Progress::default()),
            asked: Mutex::default(),
            wake: Notify::new(),
            reload: AtomicBool::new(false),
            held: ArcSwap::from_pointee(KeySet::none()),
            absent: Mutex::default(),
            hasher: KidHasher::default(),
            waiting_room: Semaphore::new(settings.waiting_room.min(Semaphore::MAX_PERMITS)),
            report: ArcSwap::default(),
            far_expiration: AtomicBool::new(false),
            settings,
        }
    }

    /// The issuer, byte for byte.
    pub fn identifier(&self) -> &str {
        &self.settings.identifier
    }

    /// Seconds by which its clock is ahead of ours; negative: behind. As last seen, exact to about a second.
    pub fn clock_skew(&self) -> Option<f64> {
        self.report.load().clock_skew
    }

    /// Whether this is the first time that it is asked, over all workers: what is worth one warning for each issuer.
    pub fn is_first_far_expiration(&self) -> bool {
        !self.far_expiration.swap(true, Ordering::Relaxed)
    }

    /// The keys now: `None` when there never were any, or the issuer has not confirmed them for too long. The writer
    /// withdraws those, but they are not judged by either when it has come to a stop.
    pub fn keys(&self) -> Option<Guard<Arc<KeySet>>> {
        let is_valid =
            |set: &Guard<Arc<KeySet>>| set.generation() != 0 && set.fetched_at().elapsed() < self.settings.max_stale;
        Some(self.snapshot.load()).filter(is_valid)
    }

    /// Fetches the keys now, whatever the schedule says; at most one attempt a second.
    pub fn reload(&self) {
        self.reload.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// The keys that may verify a token. Waits only when there are none: at a cold start, or for an unknown `kid`.
    pub async fn key(&self, header: &JoseHeader) -> Result<Candidates, Denial> {
        let allowed = self.settings.allowed_algorithms;
        if !allowed.contains(header.alg()) {
            return Err(Denial::AlgorithmNotAllowed(format!("{}, accepted are {allowed}", header.alg()).into()));
        }
        let set = match self.keys() {
            Some(set) => Guard::into_inner(set),
            None => self.first_keys().await?,
        };
        match set.find(header) {
            Ok(candidates) => Ok(candidates),
            Err(NotFound::OtherAlgorithm(of_key)) => {
                Err(Denial::AlgorithmNotAllowed(format!("{}, the key is for {of_key}", header.alg()).into()))
            }
            Err(NotFound::NoSuchKey) => self.newer_keys(header, &set, |set| set.find(header).ok()).await,
        }
    }

    /// The keys of a newer set for a token that none of the candidates verified, if its `kid` did not name them. If it
    /// did, there are none: a known key whose signature does not verify is no reason to fetch.
    pub async fn key_after_miss(&self, header: &JoseHeader, seen: &Candidates) -> Result<Candidates, Denial> {
        if let Some(kid) = seen.set().telling_kid(header) {
            return Err(Denial::InvalidSignature(named(kid).into()));
        }
        let newer = |set: &Arc<KeySet>| {
            let is_newer = set.generation() != seen.generation();
            is_newer.then(|| set.find(header).ok()).flatten()
        };
        self.newer_keys(header, seen.set(), newer).await
    }

    /// Waits for keys that are not those of this generation, and returns theirs. None at all are no others.
    pub async fn other_keys(&self, than: u64) -> u64 {
        let mut progress = self.progress.subscribe();
        loop {
            // In this order: a set is published before the end of its attempt is told.
            let generation = self.snapshot.load().generation();
            if generation != 0 && generation != than {
                return generation;
            }
            // An error would mean that there is no sender; it is a part of this.
            let _ = progress.changed().await;
        }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let (set, progress) = (self.snapshot.load(), self.progress.borrow().clone());
        let key = |key: &VerificationKey| KeyStatus { kid: key.kid().map(str::to_owned), algorithms: key.algorithms() };
        Status {
            identifier: self.settings.identifier.clone(),
            keys: set.keys().iter().map(key).collect(),
            unusable_keys: set.unusable().to_vec(),
            generation: set.generation(),
            age: (set.generation() != 0).then(|| set.fetched_at().elapsed()),
            restored: set.is_restored(),
            next_attempt: progress.next.map(|at| at.saturating_duration_since(Instant::now())),
            report: Report::clone(&self.report.load()),
        }
    }

    /// Without any keys: what the attempt under way brings, if one is. If the last one failed, the next one is some
    /// time off, and the answer is at once that it is.
    async fn first_keys(&self) -> Result<Arc<KeySet>, Denial> {
        let mut progress = self.progress.subscribe();
        let known = progress.borrow_and_update().clone();
        if let Some(set) = self.keys() {
            return Ok(Guard::into_inner(set));
        }
        if !known.is_under_way() {
            return Err(self.unavailable());
        }
        let _place = self.place()?;
        // An error would mean that there is no sender; it is a part of this.
        let ended = progress.wait_for(|now| now.finished > known.finished || self.keys().is_some());
        let _ = timeout(self.settings.timeout, ended).await;
        self.keys().map(Guard::into_inner).ok_or_else(|| self.unavailable())
    }

    /// Asks for an attempt that begins from now on, and waits for keys that are `found`, or for its end without them.
    async fn newer_keys(
        &self,
        header: &JoseHeader,
        set: &KeySet,
        found: impl Fn(&Arc<KeySet>) -> Option<Candidates>,
    ) -> Result<Candidates, Denial> {
        // Where no key has a `kid`, a forged token's must not keep out the next key for tokens with the same one.
        let kid = set.telling_kid(header).map(|kid| self.hasher.hash(kid));
        if kid.is_some_and(|kid| lock(&self.absent).contains(set.fetch(), kid, Instant::now())) {
            return Err(self.unknown_key(header, set));
        }
        let _place = self.place()?;
        let mut progress = self.progress.subscribe();
        let needed = progress.borrow_and_update().started + 1;
        // A set that came since `set` was read may have it already.
        if let Some(candidates) = self.keys().as_deref().and_then(&found) {
            return Ok(candidates);
        }
        if lock(&self.asked).add(needed, kid) {
            self.wake.notify_one();
        }
        let patience = self.settings.refresh_cooldown.saturating_add(self.settings.timeout);
        let outcome = timeout(patience, async {
            loop {
                // In this order: a set is published before its attempt counts as finished.
                let now = progress.borrow_and_update().clone();
                let keys = self.keys();
                if let Some(candidates) = keys.as_deref().and_then(&found) {
                    return Ok(candidates);
                }
                if now.finished >= needed {
                    return Err(keys.filter(|_| now.error.is_none()));
                }
                drop(keys);
                let _ = progress.changed().await;
            }
        });
        match outcome.await {
            Ok(Ok(candidates)) => Ok(candidates),
            Ok(Err(Some(newest))) => Err(self.absent(header, kid, &newest)),
            Ok(Err(None)) | Err(_) => Err(self.unavailable()),
        }
    }

    fn absent(&self, header: &JoseHeader, kid: Option<KidHash>, newest: &KeySet) -> Denial {
        if let Some(kid) = kid {
            lock(&self.absent).remember(newest.fetch(), kid, Instant::now());
        }
        self.unknown_key(header, newest)
    }

    /// What was looked for, where, and what there is. Each part is bounded: most of it is what others wrote.
    fn unknown_key(&self, header: &JoseHeader, set: &KeySet) -> Denial {
        let Some(kid) = set.telling_kid(header) else {
            let (fitting, tried) = set.fitting(header.alg());
            let why = if header.kid().is_some() { "no key of the set has a kid" } else { "no kid" };
            let counted = format!("{why}; {tried} of {fitting} keys for {} were tried", header.alg());
            return Denial::UnknownKey(format!("{counted}; {}", self.source()).into());
        };
        if let Some(key) = set.unusable().iter().find(|key| key.kid.as_deref() == Some(kid)) {
            return Denial::UnknownKey(format!("{} is unusable: {}; {}", named(kid), key.reason, self.source()).into());
        }
        let kids: Vec<_> = set.keys().iter().filter_map(VerificationKey::kid).collect();
        let mut known: Vec<_> = kids.iter().take(SHOWN_KIDS).map(|kid| cut(kid, 48).to_owned()).collect();
        if kids.len() > SHOWN_KIDS {
            known.push(format!("{} more", kids.len() - SHOWN_KIDS));
        }
        Denial::UnknownKey(format!("{}; {} has {}", named(kid), self.source(), known.join(", ")).into())
    }

    /// Whose keys they are, and where they come from.
    fn source(&self) -> String {
        let issuer = cut(self.identifier(), 128);
        match &self.report.load().jwks_uri {
            Some(uri) => format!("{issuer} at {}", cut(uri, 192)),
            None => issuer.to_owned(),
        }
    }

    fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Denial> {
        self.waiting_room.try_acquire().map_err(|_| self.unavailable_because("too many requests wait for them"))
    }

    fn unavailable(&self) -> Denial {
        let error = self.progress.borrow().error.clone();
        self.unavailable_because(error.as_deref().unwrap_or("they did not arrive in time"))
    }

    fn unavailable_because(&self, cause: &str) -> Denial {
        let next = self.progress.borrow().next;
        let until_next = next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()));
        let retry_after = until_next.max(Duration::from_secs(1));
        Denial::KeysUnavailable { retry_after, cause: Text::Owned(format!("{}: {cause}", self.identifier())) }
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("identifier", &self.identifier()).finish_non_exhaustive()
    }
}

/// A `kid` for a detail.
fn named(kid: &str) -> String {
    format!("kid {}", cut(kid, 128))
}

/// At most so many characters: a `kid` may be as long as a token or a key set.
fn cut(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// What is behind these locks is whole after every line, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
