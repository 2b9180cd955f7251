//! The line of checks between a token and trust in it.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::Credentials;
use super::claims::Expectations;
use super::claims_headers;
use crate::clock::NumericDate;
use crate::denial::Denial;
use crate::issuer::{Candidates, Issuer, Issuers};
use crate::jose::{ClaimsSet, CompactJws};

/// Verifies the tokens of one worker.
#[derive(Debug)]
pub struct Verifier {
    issuers: Issuers,
    expectations: Expectations,
    headers: claims_headers::Settings,
}

/// A verified token (RFC 6749 §1.4). Only [`Verifier::verify`] makes one.
#[derive(Clone)]
pub struct AccessToken(Rc<Verified>);

struct Verified {
    headers: Box<[(HeaderName, HeaderValue)]>,
}

impl Verifier {
    /// A verifier of these issuers' tokens.
    pub const fn new(issuers: Issuers, expectations: Expectations, headers: claims_headers::Settings) -> Self {
        Self { issuers, expectations, headers }
    }

    /// Verifies a token at the time `now`: its form, its issuer, its signature, its claims, in this order.
    pub async fn verify(&self, credentials: &Credentials<'_>, now: NumericDate) -> Result<AccessToken, Denial> {
        let jws = CompactJws::parse(credentials.token())?;
        let issuer = self.select(&jws)?;
        let claims = verify_signature(issuer, &jws).await?;
        self.expectations.check(&claims, issuer.identifier(), now)?;
        let headers = self.headers.encode(&claims)?;
        Ok(AccessToken(Rc::new(Verified { headers })))
    }

    /// The issuer that the token names; what it names it with is not trusted yet and only compared.
    fn select(&self, jws: &CompactJws<'_>) -> Result<&Arc<Issuer>, Denial> {
        let unverified = jws.unverified_issuer().ok_or(Denial::UntrustedIssuer("no iss".into()))?;
        self.issuers.select(unverified).ok_or_else(|| Denial::UntrustedIssuer(unverified.to_owned().into()))
    }
}

/// Tries the keys that fit. A known `kid` has one answer; without one, a miss may mean that our keys are old.
async fn verify_signature(issuer: &Issuer, jws: &CompactJws<'_>) -> Result<ClaimsSet, Denial> {
    let candidates = issuer.key(jws.header()).await?;
    match verify_with(&candidates, jws) {
        Err(Denial::InvalidSignature(_)) if jws.header().kid().is_none() => {
            verify_with(&issuer.key_after_miss(jws.header(), &candidates).await?, jws)
        }
        verified => verified,
    }
}

/// With the first key that fits; two may share a `kid`, or have none (RFC 7517 §4.5).
fn verify_with(candidates: &Candidates, jws: &CompactJws<'_>) -> Result<ClaimsSet, Denial> {
    let mut refused = Denial::InvalidSignature("no key fits".into());
    for key in candidates.iter() {
        match key.verify(jws) {
            Ok(claims) => return Ok(claims),
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
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}
