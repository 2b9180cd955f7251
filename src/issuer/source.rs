//! One attempt to fetch an issuer's keys: where they are, and what is there.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;
use url::Url;

use super::fetch::{self, Answer, FetchError, Fetcher};
use super::metadata::{self, Configured, Discovered, DiscoveryError, Form};
use crate::jose::{AlgorithmSet, JwkSet, MalformedJwkSet};

/// How long what discovery found is used without asking again.
const DISCOVERY_LIFE: Duration = Duration::from_hours(1);

/// Where an issuer's keys come from.
pub(super) struct Source {
    pub(super) fetcher: Fetcher,
    pub(super) location: Location,
    pub(super) allowed_algorithms: AlgorithmSet,
    /// For one attempt, discovery included.
    pub(super) timeout: Duration,
    /// Whether the key set's text is needed beyond the attempt.
    pub(super) keeps_document: bool,
}

/// Where the keys are.
pub(super) enum Location {
    /// As the issuer's metadata says.
    Discovered(Configured),
    /// At this URL, without discovery.
    Fixed(Url),
}

impl Location {
    pub(super) fn is_discovered(&self) -> bool {
        matches!(self, Self::Discovered(_))
    }

    /// Whether an attempt may find the keys at this URL.
    pub(super) fn permits_keys_at(&self, url: &Url) -> bool {
        match self {
            Self::Discovered(issuer) => issuer.permits_keys_at(url),
            Self::Fixed(fixed) => fixed == url,
        }
    }
}

/// A key set as the issuer sent it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) url: Url,
    pub(super) text: String,
}

/// What one attempt leaves to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// What discovery found, and when.
    discovered: Option<(Discovered, Instant)>,
    /// Whether the keys could not be had there.
    failed: bool,
    /// The validator of the key set held, and where it is from (RFC 9110 §8.8.3).
    etag: Option<(Url, HeaderValue)>,
    /// The last freshness that was stated.
    max_age: Option<Duration>,
    /// The key set held, if it is kept.
    document: Option<Arc<Document>>,
}

impl Memory {
    pub(super) fn form(&self) -> Option<Form> {
        self.discovered.as_ref().map(|(discovered, _)| discovered.form)
    }

    pub(super) fn document(&self) -> Option<&Arc<Document>> {
        self.document.as_ref()
    }

    pub(super) fn jwks_uri(&self) -> Option<&Url> {
        self.discovered.as_ref().map(|(discovered, _)| &discovered.jwks_uri)
    }
}

/// How an attempt ended.
pub(super) struct Attempt {
    pub(super) memory: Memory,
    /// Known as soon as anything answered.
    pub(super) clock_skew: Option<f64>,
    pub(super) result: Result<Keys, AttemptError>,
}

/// What a successful attempt brought.
#[derive(Debug)]
pub(super) struct Keys {
    /// `None`: those that are held already.
    pub(super) set: Option<JwkSet>,
    pub(super) life: Option<Duration>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error("{0}; none of the forms of metadata is there either: is --issuer whole, with its path?")]
    NothingThere(FetchError),
    #[error("{url}: key set: {flaw}")]
    Malformed { url: String, flaw: MalformedJwkSet },
    #[error("{url}: key set: no usable key: {reasons}")]
    NoUsableKey { url: String, reasons: String },
    #[error("the attempt broke off: {0}")]
    BrokeOff(String),
}

impl Source {
    /// One attempt. It always ends, at the time-out at the latest.
    pub(super) async fn attempt(self: Arc<Self>, mut memory: Memory) -> Attempt {
        let mut clock_skew = None;
        let result = self.keys(&mut memory, &mut clock_skew).await;
        memory.failed = result.is_err();
        Attempt { memory, clock_skew, result }
    }

    async fn keys(&self, memory: &mut Memory, clock_skew: &mut Option<f64>) -> Result<Keys, AttemptError> {
        let deadline = Instant::now() + self.timeout;
        let url = match &self.location {
            Location::Fixed(url) => url.clone(),
            Location::Discovered(issuer) => self.discover(issuer, memory, clock_skew, deadline).await?,
        };
        let etag = memory.etag.as_ref().filter(|(from, _)| *from == url).map(|(_, etag)| etag);
        let answer = match self.fetcher.get(&url, etag, deadline).await {
            Ok(answer) => answer,
            Err(error) if memory.form() == Some(Form::JwkSet) && metadata::is_not_offered(&error) => {
                return Err(AttemptError::NothingThere(error));
            }
            Err(error) => return Err(error.into()),
        };
        *clock_skew = answer.clock_skew.or(*clock_skew);
        self.read(&url, answer, memory)
    }

    /// The keys' URL: asked for when unknown, when it failed, and once an hour. When the metadata cannot be fetched, a
    /// URL that is known still serves: the keys matter, not the way to them.
    async fn discover(
        &self,
        issuer: &Configured,
        memory: &mut Memory,
        clock_skew: &mut Option<f64>,
        deadline: Instant,
    ) -> Result<Url, AttemptError> {
        let known = memory.discovered.as_ref();
        let is_fresh = |(_, at): &&(Discovered, Instant)| !memory.failed && at.elapsed() < DISCOVERY_LIFE;
        if let Some((discovered, _)) = known.filter(is_fresh) {
            return Ok(discovered.jwks_uri.clone());
        }
        // Leaves time for the keys.
        let deadline = if known.is_some() { deadline - self.timeout / 2 } else { deadline };
        match (metadata::discover(&self.fetcher, issuer, memory.form(), deadline).await, known) {
            (Ok(discovered), _) => {
                *clock_skew = discovered.clock_skew;
                let url = discovered.jwks_uri.clone();
                memory.discovered = Some((discovered, Instant::now()));
                Ok(url)
            }
            (Err(DiscoveryError::Fetch(error)), Some((discovered, _))) => {
                tracing::warn!(issuer = issuer.identifier, error = %error, "metadata not refreshed, its last jwks_uri serves on");
                Ok(discovered.jwks_uri.clone())
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn read(&self, url: &Url, answer: Answer, memory: &mut Memory) -> Result<Keys, AttemptError> {
        let max_age = answer.max_age;
        let Some(body) = answer.body else {
            memory.max_age = max_age.or(memory.max_age);
            return Ok(Keys { set: None, life: memory.max_age });
        };
        let malformed = |flaw| AttemptError::Malformed { url: fetch::shown(url), flaw };
        let set = JwkSet::parse(&body, self.allowed_algorithms).map_err(malformed)?;
        if set.usable.is_empty() {
            return Err(AttemptError::NoUsableKey { url: fetch::shown(url), reasons: reasons(&set) });
        }
        memory.etag = answer.etag.map(|etag| (url.clone(), etag));
        memory.max_age = max_age;
        let text = self.keeps_document.then(|| String::from_utf8(body).ok()).flatten();
        memory.document = text.map(|text| Arc::new(Document { url: url.clone(), text }));
        Ok(Keys { set: Some(set), life: max_age })
    }
}

fn reasons(set: &JwkSet) -> String {
    let one = |key: &crate::jose::UnusableKey| match &key.kid {
        Some(kid) => format!("{:?}: {}", super::cut(kid, 128), key.reason),
        None => key.reason.clone(),
    };
    let reasons: Vec<_> = set.unusable.iter().take(4).map(one).collect();
    match (reasons.is_empty(), set.unusable.len() - reasons.len()) {
        (true, _) => "it is empty".to_owned(),
        (_, 0) => reasons.join("; "),
        (_, more) => format!("{}; and {more} more", reasons.join("; ")),
    }
}
