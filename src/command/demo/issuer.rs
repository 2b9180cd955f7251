//! The demo's issuer: short-lived `EdDSA` tokens, keys that change, discovery and a key set.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::DemoError;
use crate::clock::Clock;

/// How long a token lives, in seconds.
const LIFETIME: i64 = 300;
/// Keys that stay published after they were replaced: as long as a token of theirs may live, and one more.
const KEPT_KEYS: usize = 7;

/// An issuer with its keys, the one in use last.
pub(super) struct DemoIssuer {
    address: SocketAddr,
    identifier: String,
    audience: &'static str,
    clock: Clock,
    keys: Mutex<Vec<DemoKey>>,
}

struct DemoKey {
    kid: String,
    public: String,
    private: EncodingKey,
}

impl DemoIssuer {
    pub(super) fn new(address: SocketAddr, audience: &'static str, clock: Clock) -> Result<Self, DemoError> {
        let keys = Mutex::new(vec![DemoKey::generate()?]);
        Ok(Self { address, identifier: format!("http://{address}"), audience, clock, keys })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Replaces the key again and again.
    pub(super) async fn rotate_every(&self, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            match DemoKey::generate() {
                Ok(key) => self.with_keys(|keys| {
                    keys.push(key);
                    keys.drain(..keys.len().saturating_sub(KEPT_KEYS));
                }),
                Err(error) => tracing::warn!(%error, "the demo's issuer keeps its key"),
            }
        }
    }

    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        match (request.uri().path(), request.uri().query()) {
            ("/.well-known/openid-configuration", _) => respond(&self.metadata()),
            ("/.well-known/jwks.json", _) => respond(&self.jwk_set()),
            ("/token", query) => match self.token(query.unwrap_or_default()) {
                Ok(token) => Response::new(Full::from(token)),
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            },
            _ => plain(StatusCode::NOT_FOUND, "try /token, /token?expired or /token?forged\n".to_owned()),
        }
    }

    fn metadata(&self) -> Value {
        json!({ "issuer": self.identifier, "jwks_uri": format!("{}/.well-known/jwks.json", self.identifier) })
    }

    fn jwk_set(&self) -> Value {
        let jwk = |key: &DemoKey| json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.kid, "x": key.public });
        self.with_keys(|keys| json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }))
    }

    fn token(&self, kind: &str) -> Result<String, DemoError> {
        // Whole seconds, as most issuers write them.
        #[expect(clippy::cast_possible_truncation, reason = "seconds of this age")]
        let now = self.clock.now().as_seconds() as i64;
        let issued_at = if kind == "expired" { now - 2 * LIFETIME } else { now };
        let claims = json!({
            "iss": self.identifier, "aud": self.audience, "sub": "alice", "scope": "read write",
            "iat": issued_at, "exp": issued_at + LIFETIME,
        });
        let forger = DemoKey::generate()?;
        self.with_keys(|keys| {
            let key = keys.last().unwrap_or(&forger);
            let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
            let signer = if kind == "forged" { &forger } else { key };
            jsonwebtoken::encode(&header, &claims, &signer.private)
        })
        .map_err(|error| DemoError::Key(error.to_string()))
    }

    fn with_keys<T>(&self, then: impl FnOnce(&mut Vec<DemoKey>) -> T) -> T {
        // Nothing panics while it is held.
        then(&mut self.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl DemoKey {
    fn generate() -> Result<Self, DemoError> {
        let failed = |_| DemoError::Key("no randomness".to_owned());
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        let private = pair.to_pkcs8().map_err(failed)?;
        Ok(Self {
            kid: format!("demo-{:08x}", fastrand::u32(..)),
            public: BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
            private: EncodingKey::from_ed_der(private.as_ref()),
        })
    }
}

fn respond(json: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(json.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
