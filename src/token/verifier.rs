//! The line of checks between a token and trust in it.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::Credentials;
use super::cache::{CacheCounters, Tag, TokenCache};
use super::claims::{Expectations, Validity};
use super::claims_headers;
use crate::clock::NumericDate;
use crate::denial::Denial;
use crate::issuer::{Candidates, Issuer, Issuers, KeyIdentity};
use crate::jose::{ClaimsSet, CompactJws};

/// An expiry that is farther ahead is warned of: ten years.
const FAR: Duration = Duration::from_hours(10 * 8766);
/// No expiry in seconds is later, the year 5138, and none in milliseconds is earlier, the year 1973.
const IN_MILLISECONDS: f64 = 1e11;

/// Verifies the tokens of one worker.
#[derive(Debug)]
pub struct Verifier {
    issuers: Issuers,
    expectations: Expectations,
    headers: claims_headers::Settings,
    cache: Option<TokenCache>,
}

/// A verified token (RFC 6749 §1.4). Only [`Verifier::verify`] makes one.
#[derive(Clone)]
pub struct AccessToken(Rc<Verified>);

struct Verified {
    headers: Box<[(HeaderName, HeaderValue)]>,
    validity: Validity,
    /// `exp` with the leeway.
    accepted_until: NumericDate,
    issuer: Arc<Issuer>,
    key: KeyIdentity,
    /// The newest generation of the issuer's keys that is known to have `key`.
    generation: Cell<u64>,
}

impl Verifier {
    /// A verifier of these issuers' tokens, which remembers so many bytes of them.
    pub fn new(
        issuers: Issuers,
        expectations: Expectations,
        headers: claims_headers::Settings,
        cache_size: u64,
    ) -> Self {
        Self { issuers, expectations, headers, cache: TokenCache::new(cache_size) }
    }

    /// What is counted of the tokens that it recognises; `None` when it recognises none.
    pub fn cache_counters(&self) -> Option<&Arc<CacheCounters>> {
        self.cache.as_ref().map(|cache| &cache.counters)
    }

    /// Verifies a token at the time `now`, or recognises it.
    pub async fn verify(&self, credentials: &Credentials<'_>, now: NumericDate) -> Result<AccessToken, Denial> {
        let text = credentials.as_bytes();
        let Some((cache, tag)) = self.cache.as_ref().and_then(|cache| Some((cache, cache.tag(text)?))) else {
            let_others_go_first().await;
            let verified = Box::pin(self.verify_anew(credentials.token()?, now)).await;
            let_others_go_first().await;
            return verified;
        };
        if let Some(known) = self.remembered(cache, tag, now) {
            return known;
        }
        let_others_go_first().await;
        // One of them may have brought it.
        if let Some(known) = self.remembered(cache, tag, now) {
            return known;
        }
        cache.counters.misses.add(1);
        let epoch = self.issuers.epoch();
        // Boxed, so that a request whose token is known does not carry the state of waiting for keys.
        let verified = Box::pin(self.verify_anew(credentials.token()?, now)).await;
        match &verified {
            Ok(accepted) => cache.accept(tag, accepted.clone()),
            Err(denial) => cache.refuse(tag, text.len(), denial, epoch, now),
        }
        let_others_go_first().await;
        verified
    }

    /// What was found of it before, if that still holds.
    fn remembered(&self, cache: &TokenCache, tag: Tag, now: NumericDate) -> Option<Result<AccessToken, Denial>> {
        if let Some(known) = cache.accepted(tag) {
            if known.has_key() {
                cache.counters.accepted_hits.add(1);
                // Expired for good, or the clock was set: either way it is not for long.
                let checked = self.expectations.check_time(&known.0.validity, now);
                return Some(checked.map_err(|denial| self.explained(denial, &known.0.issuer)).map(|()| known));
            }
            cache.forget(tag);
        } else if let Some(refusal) = cache.refused(tag, now)
            && refusal.epoch == self.issuers.epoch()
        {
            cache.counters.refused_hits.add(1);
            return Some(Err(refusal.denial));
        }
        None
    }

    /// Its form, its issuer, its signature, its claims, in this order.
    async fn verify_anew(&self, token: &str, now: NumericDate) -> Result<AccessToken, Denial> {
        let jws = CompactJws::parse(token)?;
        let issuer = self.select(&jws)?;
        let signed = verify_signature(issuer, &jws).await?;
        let checked = self.expectations.check(&signed.claims, issuer.identifier(), now);
        let validity = checked.map_err(|denial| self.explained(denial, issuer))?;
        warn_of_far_expiration(issuer, validity.expiration, now);
        Ok(AccessToken(Rc::new(Verified {
            headers: self.headers.encode(&signed.claims)?,
            validity,
            accepted_until: validity.expiration.plus(self.expectations.leeway),
            issuer: Arc::clone(issuer),
            key: signed.key,
            generation: Cell::new(signed.generation),
        })))
    }

    /// With how wrong the issuer's clock is, if it is more than tokens are given. Only a refusal asks for it.
    fn explained(&self, denial: Denial, issuer: &Issuer) -> Denial {
        match issuer.clock_skew() {
            Some(skew) if skew.abs() > self.expectations.leeway.as_secs_f64() => denial.with_clock_skew(skew),
            _ => denial,
        }
    }

    /// The issuer that the token names; what it names it with is not trusted yet and only compared.
    fn select(&self, jws: &CompactJws<'_>) -> Result<&Arc<Issuer>, Denial> {
        let unverified = jws.unverified_issuer().ok_or(Denial::UntrustedIssuer("no iss".into()))?;
        self.issuers.select(unverified).ok_or_else(|| Denial::UntrustedIssuer(unverified.to_owned().into()))
    }
}

/// Once to the end of the queue, before a check and behind it. To check a signature takes longer than all else about a
/// request: whoever needs none does not wait for several in a row, and what was there before them and what follows them is
/// written in a row each, so that a peer who sleeps on another core is woken once for all of it. To wake him for each is a
/// sixth of what a token seen for the first time costs.
async fn let_others_go_first() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        // Not `yield_now`, which would have them wait for the next look at all sockets as well.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Such a token is as good as one for ever. Said once for each issuer, as its next tokens will be alike.
fn warn_of_far_expiration(issuer: &Issuer, expiration: NumericDate, now: NumericDate) {
    if expiration > now.plus(FAR) && issuer.is_first_far_expiration() {
        let guess = if expiration.as_seconds() > IN_MILLISECONDS { ", as if it was in milliseconds" } else { "" };
        tracing::warn!(
            issuer = issuer.identifier(),
            exp = expiration.as_seconds(),
            "a token's exp is over ten years ahead{guess}; --max-token-lifetime refuses such tokens"
        );
    }
}

/// Claims with the key that signed them.
struct Signed<'j> {
    claims: ClaimsSet<'j>,
    key: KeyIdentity,
    generation: u64,
}

/// Tries the keys that fit. A known `kid` has one answer; where none names a key, a miss may mean that our keys are old.
async fn verify_signature<'j>(issuer: &Issuer, jws: &'j CompactJws<'_>) -> Result<Signed<'j>, Denial> {
    let candidates = issuer.key(jws.header()).await?;
    match verify_with(&candidates, jws) {
        Err(Denial::InvalidSignature(_)) if !candidates.are_named() => {
            verify_with(&issuer.key_after_miss(jws.header(), &candidates).await?, jws)
        }
        verified => verified,
    }
}

/// With the first key that fits; two may share a `kid`, or have none (RFC 7517 §4.5).
fn verify_with<'j>(candidates: &Candidates, jws: &'j CompactJws<'_>) -> Result<Signed<'j>, Denial> {
    let mut refused = Denial::InvalidSignature("no key fits".into());
    for key in candidates.iter() {
        match key.verify(jws) {
            Ok(claims) => {
                return Ok(Signed { claims, key: KeyIdentity::of(key), generation: candidates.generation() });
            }
            Err(denial) => refused = denial,
        }
    }
    Err(refused)
}

impl AccessToken {
    /// The headers that tell the origin who is calling.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// Its `exp`.
    pub fn expiration(&self) -> NumericDate {
        self.0.validity.expiration
    }

    /// From when on it is refused, the leeway included.
    pub fn accepted_until(&self) -> NumericDate {
        self.0.accepted_until
    }

    /// What it takes in memory, the token's own text apart, in bytes.
    pub(super) fn size(&self) -> u64 {
        let sizes =
            self.headers().iter().map(|(_, value)| value.len().saturating_add(size_of::<(HeaderName, HeaderValue)>()));
        sizes.sum::<usize>().saturating_add(size_of::<Verified>()) as u64
    }

    /// Whether its issuer is known to have withdrawn the key that signed it. Keys that are only too old are not known to
    /// be withdrawn.
    pub fn is_withdrawn(&self) -> bool {
        self.0.issuer.keys().is_some() && !self.has_key()
    }

    /// Whether the key that signed it is still one of its issuer's.
    fn has_key(&self) -> bool {
        let Some(keys) = self.0.issuer.keys() else { return false };
        let has_key = keys.generation() == self.0.generation.get() || keys.contains(&self.0.key);
        if has_key {
            self.0.generation.set(keys.generation());
        }
        has_key
    }
}

#[cfg(test)]
impl AccessToken {
    /// One with a header value of so many bytes, that nobody signed.
    pub(super) fn sample(value: usize) -> Self {
        let issuer = crate::issuer::Settings::new("https://issuer.example.com");
        let (issuer, _) = Issuer::new(issuer, crate::clock::Clock::system()).unwrap();
        // RFC 8037, appendix A.2.
        let set = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let set = crate::jose::JwkSet::parse(set, crate::jose::AlgorithmSet::ALL).unwrap();
        let value = HeaderValue::try_from("c".repeat(value)).unwrap();
        Self(Rc::new(Verified {
            headers: Box::new([(HeaderName::from_static("x-jwt-claims"), value)]),
            validity: Validity { expiration: NumericDate::EPOCH, not_before: None, issued_at: None },
            accepted_until: NumericDate::EPOCH,
            issuer,
            key: KeyIdentity::of(&set.usable[0]),
            generation: Cell::new(1),
        }))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}
