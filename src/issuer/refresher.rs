//! The one writer of an issuer's keys: drives the machine of [`super::refresh`] on the control plane.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::bearer::Credential;
use super::disk::{Confirmed, KeyFile};
use super::fetch::{self, Fetcher};
use super::key_set::KeySet;
use super::metadata::Configured;
use super::refresh::{Event, Policy, State};
use super::source::{Attempt, AttemptError, Keys, Location, Memory, Source};
use super::status::{Failure, Report};
use super::{Issuer, Progress, Settings, cut, lock};
use crate::clock::Clock;
use crate::jose::{UnusableKey, VerificationKey};
use crate::readiness::Latch;

/// Keeps one issuer's keys fresh.
#[derive(Clone)]
pub struct Refresher {
    issuer: Arc<Issuer>,
    source: Arc<Source>,
    clock: Clock,
}

/// Settings that no keys can be fetched with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSettings {
    /// The issuer is no URL that metadata can be found at.
    #[error("the issuer {0:?} is not an http or https URL without query and fragment; discovery needs one")]
    Issuer(String),
    /// An issuer or a key set at a plain http URL.
    #[error("{0} is not https")]
    NotHttps(String),
    /// The TLS settings for fetching.
    #[error("fetching keys: {0}")]
    Tls(String),
}

impl Issuer {
    /// An issuer without keys yet, and the writer that fetches them.
    pub fn new(settings: Settings, clock: Clock) -> Result<(Arc<Self>, Refresher), InvalidSettings> {
        let unusable = |error: fetch::UnusableTls| InvalidSettings::Tls(error.to_string());
        let fetcher = Fetcher::new(&settings.trust, credential(&settings), clock.clone()).map_err(unusable)?;
        let source = Arc::new(Source {
            fetcher,
            location: location(&settings)?,
            allowed_algorithms: settings.allowed_algorithms,
            timeout: settings.timeout,
            keeps_document: settings.cache_dir.is_some(),
        });
        let issuer = Arc::new(Self::without_keys(settings));
        let refresher = Refresher { issuer: Arc::clone(&issuer), source, clock };
        Ok((issuer, refresher))
    }
}

/// For the issuer's origin and the keys', as far as flags name them: what a document names gets no credential.
fn credential(settings: &Settings) -> Option<Credential> {
    let file = settings.bearer_token_file.clone()?;
    // Nothing is fetched from an identifier where the keys are given.
    let issuer = if settings.jwks_url.is_none() { Url::parse(&settings.identifier).ok() } else { None };
    let origins = issuer.iter().chain(&settings.jwks_url).map(Url::origin).collect();
    Some(Credential { file, origins })
}

fn location(settings: &Settings) -> Result<Location, InvalidSettings> {
    let permitted = |url: Url| {
        let is_permitted = Configured::permits(&url, settings.insecure);
        if is_permitted { Ok(url) } else { Err(InvalidSettings::NotHttps(fetch::shown(&url))) }
    };
    if let Some(url) = &settings.jwks_url {
        return Ok(Location::Fixed(permitted(url.clone())?));
    }
    let identifier = settings.identifier.clone();
    // RFC 8414 §2.
    let is_plain = |url: &Url| url.has_host() && url.query().is_none() && url.fragment().is_none();
    match Url::parse(&identifier).ok().filter(is_plain) {
        Some(url) if matches!(url.scheme(), "http" | "https") => {
            let url = permitted(url)?;
            Ok(Location::Discovered(Configured { identifier, url, insecure: settings.insecure }))
        }
        _ => Err(InvalidSettings::Issuer(identifier)),
    }
}

impl Refresher {
    /// Fetches the keys, and keeps them fresh for ever. Releases the latch at the first usable key set.
    ///
    /// One attempt is one task: a panic in it is a failed attempt and no more. Where this itself has panicked, it can be
    /// run again: it goes on from the keys that were there.
    pub async fn run(self, latch: Latch) {
        let Self { issuer, source, clock } = self;
        let policy = Policy { cooldown: issuer.settings.refresh_cooldown, max_stale: issuer.settings.max_stale };
        let (origin, mut state, mut event) = (Instant::now(), State::START, Event::Tick);
        let (kept, told) = watch::channel(None);
        let (held, logged) = (issuer.held.load_full(), HashSet::new());
        let file = KeyFile::of(&issuer.settings, &source).map(Arc::new);
        let mut writer = Writer { clock, latch, held, logged, kept, issuer, is_skewed: false };
        let (mut attempts, mut memory, mut keeper) = (JoinSet::new(), Memory::default(), JoinSet::new());
        if writer.held.generation() != 0 {
            event = Event::Restored { age: writer.held.fetched_at().elapsed() };
        } else if let Some(file) = &file {
            event = writer.restore(file).await;
        }
        if let Some(file) = file {
            keeper.spawn(file.keep(told));
        }
        loop {
            let (next, actions) = state.step(&policy, event, origin.elapsed(), fastrand::f64());
            state = next;
            if actions.withdraw {
                writer.withdraw();
            }
            let wake_at = state.wake_at(&policy).and_then(|at| origin.checked_add(at));
            writer.announce(event, actions.fetch, state.next_attempt(&policy).and_then(|at| origin.checked_add(at)));
            if actions.fetch {
                attempts.spawn(Arc::clone(&source).attempt(memory.clone()));
            }
            event = tokio::select! {
                Some(ended) = attempts.join_next() => writer.ended(ended, &mut memory),
                () = writer.issuer.wake.notified() => writer.asked(),
                () = until(wake_at) => Event::Tick,
            };
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What only the writer knows and does.
struct Writer {
    issuer: Arc<Issuer>,
    clock: Clock,
    latch: Latch,
    /// The newest keys, also when they are too old to be published.
    held: Arc<KeySet>,
    /// The unusable keys that were logged.
    logged: HashSet<(Option<String>, String)>,
    /// What is to survive a restart; nobody listens when nothing is.
    kept: watch::Sender<Option<Confirmed>>,
    /// Whether the issuer's clock was found to be too far from ours.
    is_skewed: bool,
}

impl Writer {
    /// Publishes what an earlier process kept, until the first fetch that succeeds.
    async fn restore(&mut self, file: &Arc<KeyFile>) -> Event {
        let Some(restored) = file.restore(self.clock.now()).await else { return Event::Tick };
        let Some(fetched_at) = Instant::now().checked_sub(restored.age) else { return Event::Tick };
        self.log_unusable(&restored.set.unusable);
        self.publish(Arc::new(KeySet::restored(restored.set, fetched_at)));
        Event::Restored { age: restored.age }
    }

    fn publish(&mut self, next: Arc<KeySet>) {
        self.held = Arc::clone(&next);
        self.issuer.held.store(Arc::clone(&next));
        self.issuer.snapshot.store(next);
        self.latch.release();
    }

    /// An attempt ended: keeps what it brought, publishes it, and says so to the machine.
    fn ended(&mut self, ended: Result<Attempt, JoinError>, memory: &mut Memory) -> Event {
        let (result, clock_skew) = match ended {
            Ok(attempt) => {
                *memory = attempt.memory;
                (attempt.result, attempt.clock_skew)
            }
            Err(panic) => (Err(AttemptError::BrokeOff(panic.to_string())), None),
        };
        let event = match result {
            Ok(keys) => self.succeeded(keys),
            Err(error) => self.failed(&error),
        };
        if let (Event::Succeeded { .. }, Some(document)) = (event, memory.document()) {
            let confirmed = Confirmed { document: Arc::clone(document), at: self.clock.now() };
            self.kept.send_replace(Some(confirmed));
        }
        if let Some(skew) = clock_skew {
            self.log_skew(skew);
        }
        self.report(|report| {
            report.clock_skew = clock_skew.or(report.clock_skew);
            report.metadata_form = memory.form().map(|form| form.to_string()).or_else(|| report.metadata_form.take());
            report.jwks_uri = memory.jwks_uri().or(self.issuer.settings.jwks_url.as_ref()).map(fetch::shown);
        });
        event
    }

    fn succeeded(&mut self, keys: Keys) -> Event {
        let now = Instant::now();
        let next = match keys.set {
            Some(set) => {
                self.log_unusable(&set.unusable);
                Arc::new(self.held.succeeded_by(set, now))
            }
            None => Arc::new(self.held.confirmed(now)),
        };
        self.log_changes(&next);
        self.publish(Arc::clone(&next));
        self.report(|report| {
            report.successes += 1;
            report.last_success = Some(self.clock.now());
            report.last_error = None;
        });
        let hasher = &self.issuer.hasher;
        let kids: HashSet<_> =
            next.keys().iter().filter_map(VerificationKey::kid).map(|kid| hasher.hash(kid)).collect();
        let started = self.issuer.progress.borrow().started;
        let content = lock(&self.issuer.asked).settle(started, |kid| kids.contains(&kid));
        Event::Succeeded { life: keys.life, content }
    }

    fn failed(&self, error: &AttemptError) -> Event {
        let failure = Failure { at: self.clock.now(), cause: error.to_string() };
        let age = (self.held.generation() != 0).then(|| self.held.fetched_at().elapsed().as_secs());
        tracing::warn!(
            issuer = self.issuer.identifier(),
            error = failure.cause,
            keys_age_seconds = age,
            "keys not fetched"
        );
        self.report(|report| {
            report.failures += 1;
            report.last_error = Some(failure);
        });
        Event::Failed
    }

    /// The keys are older than they may be.
    fn withdraw(&self) {
        let age_seconds = self.held.fetched_at().elapsed().as_secs();
        tracing::error!(issuer = self.issuer.identifier(), age_seconds, "keys withdrawn: not confirmed for too long");
        self.issuer.snapshot.store(Arc::new(KeySet::none()));
    }

    /// A request needs an attempt, perhaps one that began meanwhile; or the operator wants one.
    fn asked(&self) -> Event {
        if self.issuer.reload.swap(false, Ordering::AcqRel) {
            return Event::Reload;
        }
        let started = self.issuer.progress.borrow().started;
        if lock(&self.issuer.asked).is_beyond(started) { Event::Asked } else { Event::Tick }
    }

    /// Tells the waiting requests how far it is. Only the end of an attempt, or keys from
    /// before the start, wakes them.
    fn announce(&self, event: Event, begins: bool, next: Option<Instant>) {
        let ended = matches!(event, Event::Succeeded { .. } | Event::Failed);
        let error = self.issuer.report.load().last_error.as_ref().map(|failure| Arc::from(failure.cause.as_str()));
        self.issuer.progress.send_if_modified(|progress: &mut Progress| {
            if ended {
                progress.finished = progress.started;
            }
            progress.started += u64::from(begins);
            progress.next = next;
            if ended {
                progress.error = error;
            }
            ended || matches!(event, Event::Restored { .. })
        });
    }

    /// When it goes beyond the leeway and when it comes back, not at every fetch.
    fn log_skew(&mut self, skew: f64) {
        let (issuer, clock_skew_seconds) = (self.issuer.identifier(), skew.round());
        // A Date is exact to a second: one at the edge is not told of at each fetch.
        let slack = if self.is_skewed { 1.0 } else { 0.0 };
        let is_skewed = skew.abs() > self.issuer.settings.leeway.as_secs_f64() - slack;
        match (self.is_skewed, is_skewed) {
            (false, true) => {
                tracing::warn!(
                    issuer,
                    clock_skew_seconds,
                    "the issuer's clock and ours differ by more than the leeway"
                );
            }
            (true, false) => tracing::info!(issuer, clock_skew_seconds, "the issuer's clock and ours agree again"),
            _ => {}
        }
        self.is_skewed = is_skewed;
    }

    fn report(&self, change: impl FnOnce(&mut Report)) {
        let mut report = Report::clone(&self.issuer.report.load());
        change(&mut report);
        self.issuer.report.store(Arc::new(report));
    }

    fn log_changes(&self, next: &KeySet) {
        let kids = |keys: &mut dyn Iterator<Item = &VerificationKey>| {
            keys.map(|key| format!("{key} for {}", key.algorithms())).collect::<Vec<_>>().join("; ")
        };
        if next.generation() != self.held.generation() {
            let (added, removed) = (kids(&mut next.without(&self.held)), kids(&mut self.held.without(next)));
            let (issuer, keys) = (self.issuer.identifier(), next.keys().len());
            let (added, removed) = (cut(&added, 1024), cut(&removed, 1024));
            // The first keys are no change: nobody has to look into it.
            if self.held.keys().is_empty() {
                tracing::info!(issuer, keys, added, "keys fetched");
            } else {
                tracing::info!(issuer, keys, added, removed, "keys changed");
            }
        }
    }

    /// Each unusable key once, for as long as it stays in the set.
    fn log_unusable(&mut self, keys: &[UnusableKey]) {
        let of = |key: &UnusableKey| (key.kid.clone(), key.reason.clone());
        for key in keys.iter().filter(|key| !self.logged.contains(&of(key))) {
            let (issuer, kid) = (self.issuer.identifier(), key.kid.as_deref().map(|kid| cut(kid, 128)));
            tracing::warn!(issuer, kid, reason = key.reason, "unusable key skipped");
        }
        self.logged = keys.iter().map(of).collect();
    }
}
