//! One attempt to fetch an issuer's keys: where they are, and what is there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;
use url::Url;

use super::fetch::{self, Answer, FetchError, Fetcher};
use super::metadata::{self, Configured, Discovered, DiscoveryError, Form};
use super::unexpected::Found;
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
    /// Whether there was an answer, and it was that they are not there.
    gone: bool,
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
    #[error(
        "{error}; none of the forms of metadata is there either: is --issuer whole, with its path? If it is, name its \
         key set with --jwks-url. Instead of metadata there was {}", not_offered.join("; ")
    )]
    NothingThere { error: FetchError, not_offered: Vec<String> },
    #[error("{url}: key set: {flaw}{found}{hint}")]
    Malformed { url: String, flaw: MalformedJwkSet, found: Found, hint: &'static str },
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
        let (url, found) = match &self.location {
            Location::Fixed(url) => (url.clone(), None),
            Location::Discovered(issuer) => {
                let found = self.discover(issuer, memory, clock_skew, deadline).await?;
                (found.jwks_uri.clone(), Some(found))
            }
        };
        let etag = memory.etag.as_ref().filter(|(from, _)| *from == url).map(|(_, etag)| etag);
        let answer = self.fetcher.get(&url, etag, deadline).await;
        memory.gone = memory.jwks_uri() == Some(&url) && answer.as_ref().is_err_and(metadata::is_not_offered);
        let bare = found.filter(|found| found.form == Form::JwkSet);
        let answer = match (answer, &bare) {
            (Ok(answer), _) => answer,
            (Err(error), Some(bare)) if metadata::is_not_offered(&error) => {
                return Err(AttemptError::NothingThere { error, not_offered: bare.not_offered.clone() });
            }
            (Err(error), _) => return Err(error.into()),
        };
        *clock_skew = answer.clock_skew.or(*clock_skew);
        let keys = self.read(&url, answer, memory)?;
        // Now that it was there.
        if let Some(bare) = bare {
            memory.discovered = Some((bare, Instant::now()));
        }
        Ok(keys)
    }

    /// Where the keys are: asked for when unknown, when they could not be had, and once an hour. When there is no
    /// metadata any more, or none can be fetched, a URL that is known still serves: the keys matter, not the way to them.
    async fn discover(
        &self,
        issuer: &Configured,
        memory: &mut Memory,
        clock_skew: &mut Option<f64>,
        deadline: Instant,
    ) -> Result<Discovered, AttemptError> {
        let known = memory.discovered.as_ref();
        let is_fresh = |(_, at): &&(Discovered, Instant)| !memory.failed && at.elapsed() < DISCOVERY_LIFE;
        if let Some((discovered, _)) = known.filter(is_fresh) {
            return Ok(discovered.clone());
        }
        // Leaves time for the keys.
        let deadline = if known.is_some() { deadline - self.timeout / 2 } else { deadline };
        let found = metadata::discover(&self.fetcher, issuer, memory.form(), deadline).await;
        let serves_on = |known: &Discovered, error: &dyn fmt::Display| {
            tracing::warn!(issuer = issuer.identifier, %error, "metadata not refreshed, its last jwks_uri serves on");
            known.clone()
        };
        match (found, known) {
            (Ok(found), Some((known, _)))
                if found.form == Form::JwkSet && known.form != Form::JwkSet && !memory.gone =>
            {
                let known = serves_on(known, &found.not_offered.join("; "));
                memory.discovered = Some((known.clone(), Instant::now()));
                Ok(known)
            }
            (Ok(found), _) if found.form == Form::JwkSet => Ok(found),
            (Ok(found), _) => {
                *clock_skew = found.clock_skew;
                memory.discovered = Some((found.clone(), Instant::now()));
                Ok(found)
            }
            (Err(DiscoveryError::Fetch(error)), Some((known, _))) => Ok(serves_on(known, &error)),
            (Err(error), _) => Err(error.into()),
        }
    }

    fn read(&self, url: &Url, answer: Answer, memory: &mut Memory) -> Result<Keys, AttemptError> {
        let max_age = answer.max_age;
        let Some(body) = answer.body else {
            memory.max_age = max_age.or(memory.max_age);
            return Ok(Keys { set: None, life: memory.max_age });
        };
        let malformed = |flaw| {
            let found = match flaw {
                MalformedJwkSet::TooManyKeys { .. } => Found::Other,
                _ => Found::of(&body, answer.coding.as_ref()),
            };
            AttemptError::Malformed { url: fetch::shown(url), flaw, hint: self.hint(&found), found }
        };
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

impl Source {
    /// What to do about something that is no key set.
    fn hint(&self, found: &Found) -> &'static str {
        match (&self.location, found) {
            (_, Found::Other) => "",
            (Location::Fixed(_), Found::Metadata) => "; use that as --jwks-url, or leave --jwks-url out",
            (Location::Fixed(_), _) => "; is --jwks-url the address of the key set itself?",
            (Location::Discovered(_), _) => "; name the key set with --jwks-url",
        }
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
