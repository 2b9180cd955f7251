//! A real issuer over HTTP. It serves what it is told to, be it right or wrong.

mod serving;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::serving::serve;
use super::certificate::Certificate;
use super::key::Key;
use super::server::{Server, listen};
use super::token::Token;

/// Where an issuer says what its keys are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Discovery {
    /// `<issuer>/.well-known/openid-configuration`.
    OpenId,
    /// RFC 8414 §3.1: `/.well-known/oauth-authorization-server<path of the issuer>`.
    Rfc8414,
    /// Nowhere: the keys are at `<issuer>/.well-known/jwks.json`.
    JwksOnly,
}

/// How a request for anything but the expected is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Mood {
    Well,
    /// With these.
    Answers(u16, Vec<(String, String)>, Vec<u8>),
    /// Never.
    Hangs,
    /// By closing the connection.
    Down,
    /// With these bytes, be they HTTP or not, and the end.
    Raw(Vec<u8>),
    /// With these bytes, and one more now and then, without end.
    Drips(Vec<u8>),
}

/// An issuer. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Issuer {
    state: Arc<Mutex<State>>,
    _server: Server,
}

#[derive(Debug)]
struct State {
    addr: SocketAddr,
    path: String,
    discovery: Discovery,
    /// The key that new tokens are signed with.
    current: Key,
    published: Vec<Value>,
    metadata: Option<Value>,
    mood: Mood,
    /// Served over TLS with this.
    certificate: Option<Certificate>,
    delay: Duration,
    /// While true, answers are made and not sent.
    held: watch::Sender<bool>,
    /// What every request has to carry, if anything.
    bearer: Option<String>,
    /// Each `Authorization` that came.
    heard: Vec<String>,
    etag: bool,
    rotations: usize,
    hits: HashMap<String, usize>,
    /// Answers that were made, be they sent or held.
    made: usize,
    not_modified: usize,
}

impl Issuer {
    /// With one ES256 key and an `OpenID` configuration.
    pub(crate) fn start() -> Self {
        Self::start_with(Discovery::OpenId, "")
    }

    /// Over TLS, with a certificate that only its own authority vouches for.
    pub(crate) fn start_tls(certificate: Certificate) -> Self {
        let issuer = Self::start();
        issuer.certificate(certificate);
        issuer
    }

    /// With a discovery form, and a path of its identifier (`""` for none).
    pub(crate) fn start_with(discovery: Discovery, path: &str) -> Self {
        let (listener, addr) = listen();
        let current = Key::new("ES256", "key-0");
        let state = Arc::new(Mutex::new(State {
            addr,
            path: path.to_owned(),
            discovery,
            published: vec![current.jwk()],
            current,
            metadata: None,
            mood: Mood::Well,
            certificate: None,
            delay: Duration::ZERO,
            held: watch::Sender::new(false),
            bearer: None,
            heard: Vec::new(),
            etag: false,
            rotations: 0,
            hits: HashMap::new(),
            made: 0,
            not_modified: 0,
        }));
        let shared = Arc::clone(&state);
        let server = Server::spawn("issuer", move |stopped| serve(listener, shared, stopped));
        Self { state, _server: server }
    }

    /// Its identifier.
    pub(crate) fn url(&self) -> String {
        self.state().url()
    }

    /// Where its keys are.
    pub(crate) fn jwks_url(&self) -> String {
        self.state().jwks_url()
    }

    /// Shows this certificate from now on.
    pub(crate) fn certificate(&self, certificate: Certificate) {
        self.state().certificate = Some(certificate);
    }

    /// The key that [`Issuer::token`] signs with.
    pub(crate) fn key(&self) -> Key {
        self.state().current.clone()
    }

    /// A good token, to be spoilt.
    pub(crate) fn token(&self) -> Token {
        let state = self.state();
        Token::new(&state.url(), &state.current)
    }

    /// A good token by this key.
    pub(crate) fn token_by(&self, key: &Key) -> Token {
        Token::new(&self.url(), key)
    }

    /// From now on signs with a new key, published beside the old ones.
    pub(crate) fn rotate(&self) -> Key {
        let mut state = self.state();
        state.rotations += 1;
        let key = Key::new("ES256", &format!("key-{}", state.rotations));
        state.published.push(key.jwk());
        state.current = key.clone();
        key
    }

    /// Publishes one more key.
    pub(crate) fn add(&self, key: &Key) {
        self.publish(key.jwk());
    }

    /// Publishes one more JWK, whatever it is.
    pub(crate) fn publish(&self, jwk: Value) {
        self.state().published.push(jwk);
    }

    /// No longer publishes the keys of this name.
    pub(crate) fn retire(&self, kid: &str) {
        self.state().published.retain(|jwk| jwk["kid"] != kid);
    }

    /// Serves this metadata, instead of what is true.
    pub(crate) fn metadata(&self, metadata: Value) {
        self.state().metadata = Some(metadata);
    }

    /// Answers each request after this long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Answers no request any more.
    pub(crate) fn hang(&self) {
        self.state().mood = Mood::Hangs;
    }

    /// Closes each connection without an answer.
    pub(crate) fn go_down(&self) {
        self.state().mood = Mood::Down;
    }

    /// Answers every request with these.
    pub(crate) fn respond_with(&self, status: u16, body: impl Into<Vec<u8>>) {
        self.respond_with_headers(status, &[], body);
    }

    /// Answers every request with these.
    pub(crate) fn respond_with_headers(&self, status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.state().mood = Mood::Answers(status, headers, body.into());
    }

    /// Answers every request with these bytes, be they HTTP or not, and closes.
    pub(crate) fn respond_with_raw(&self, bytes: impl Into<Vec<u8>>) {
        self.state().mood = Mood::Raw(bytes.into());
    }

    /// Answers every request with these bytes and one more now and then, without end.
    pub(crate) fn drip(&self, bytes: impl Into<Vec<u8>>) {
        self.state().mood = Mood::Drips(bytes.into());
    }

    /// From now on makes each answer when it is asked for, and sends none until [`Issuer::release`].
    pub(crate) fn hold(&self) {
        self.state().held.send_replace(true);
    }

    /// Sends what was held, and whatever comes at once.
    pub(crate) fn release(&self) {
        self.state().held.send_replace(false);
    }

    /// Is itself again.
    pub(crate) fn recover(&self) {
        self.state().mood = Mood::Well;
    }

    /// From now on answers nobody but who sends this token, as a Kubernetes API server does.
    pub(crate) fn answer_only(&self, token: &str) {
        self.state().bearer = Some(format!("Bearer {token}"));
    }

    /// Each `Authorization` that it was sent.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.state().heard.clone()
    }

    /// Sends an `ETag` with its keys, and 304 to a request that knows it.
    pub(crate) fn etag(&self) {
        self.state().etag = true;
    }

    /// How often this path was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.state().hits.get(path).copied().unwrap_or(0)
    }

    /// How often its keys were asked for.
    pub(crate) fn key_fetches(&self) -> usize {
        let state = self.state();
        state.hits.get(&state.jwks_path()).copied().unwrap_or(0)
    }

    /// How many answers it has made, sent or not.
    pub(crate) fn answers_made(&self) -> usize {
        self.state().made
    }

    /// How often it answered 304.
    pub(crate) fn not_modified(&self) -> usize {
        self.state().not_modified
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn root(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    fn url(&self) -> String {
        format!("{}{}", self.root(), self.path)
    }

    fn jwks_url(&self) -> String {
        format!("{}{}", self.root(), self.jwks_path())
    }

    fn jwks_path(&self) -> String {
        let path = self.path.trim_end_matches('/');
        match self.discovery {
            Discovery::JwksOnly => format!("{path}/.well-known/jwks.json"),
            Discovery::OpenId | Discovery::Rfc8414 => format!("{path}/keys"),
        }
    }

    fn metadata_path(&self) -> Option<String> {
        let path = self.path.trim_end_matches('/');
        match self.discovery {
            Discovery::OpenId => Some(format!("{path}/.well-known/openid-configuration")),
            Discovery::Rfc8414 => Some(format!("/.well-known/oauth-authorization-server{path}")),
            Discovery::JwksOnly => None,
        }
    }

    fn answer_to(
        &mut self,
        authorization: Option<&str>,
        path: &str,
        if_none_match: Option<&str>,
    ) -> http::Response<Full<Bytes>> {
        self.heard.extend(authorization.map(str::to_owned));
        if self.bearer.is_some() && self.bearer.as_deref() != authorization {
            self.made += 1;
            return http::Response::builder().status(403).body("not for you".into()).unwrap();
        }
        self.answer(path, if_none_match)
    }

    fn answer(&mut self, path: &str, if_none_match: Option<&str>) -> http::Response<Full<Bytes>> {
        self.made += 1;
        let json = http::Response::builder().header("content-type", "application/json");
        if let Mood::Answers(status, headers, body) = &self.mood {
            let response =
                headers.iter().fold(json.status(*status), |response, (name, value)| response.header(name, value));
            return response.body(body.clone().into()).unwrap();
        }
        if self.metadata_path().as_deref() == Some(path) {
            let (issuer, jwks_uri) = (self.url(), self.jwks_url());
            let metadata = json!({"issuer": issuer, "jwks_uri": jwks_uri, "token_endpoint": issuer});
            return json.body(self.metadata.as_ref().unwrap_or(&metadata).to_string().into()).unwrap();
        }
        if self.jwks_path() == path {
            return self.keys(json, if_none_match);
        }
        http::Response::builder().status(404).body("nothing here".into()).unwrap()
    }

    fn keys(
        &mut self,
        mut response: http::response::Builder,
        if_none_match: Option<&str>,
    ) -> http::Response<Full<Bytes>> {
        let keys = json!({"keys": self.published}).to_string();
        if self.etag {
            let etag = format!("\"{}\"", self.published.len() + 100 * self.rotations);
            if if_none_match == Some(&etag) {
                self.not_modified += 1;
                return response.status(304).header("etag", etag).body(Full::default()).unwrap();
            }
            response = response.header("etag", etag);
        }
        response.body(keys.into()).unwrap()
    }
}
