//! A real issuer over HTTP. It serves what it is told to, be it right or wrong.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

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
    delay: Duration,
    etag: bool,
    rotations: usize,
    hits: HashMap<String, usize>,
    not_modified: usize,
}

impl Issuer {
    /// With one ES256 key and an `OpenID` configuration.
    pub(crate) fn start() -> Self {
        Self::start_with(Discovery::OpenId, "")
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
            delay: Duration::ZERO,
            etag: false,
            rotations: 0,
            hits: HashMap::new(),
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
        let state = self.state();
        format!("http://{}{}", state.addr, state.jwks_path())
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

    /// Is itself again.
    pub(crate) fn recover(&self) {
        self.state().mood = Mood::Well;
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

    /// How often it answered 304.
    pub(crate) fn not_modified(&self) -> usize {
        self.state().not_modified
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn url(&self) -> String {
        format!("http://{}{}", self.addr, self.path)
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

    fn answer(&mut self, path: &str, if_none_match: Option<&str>) -> http::Response<Full<Bytes>> {
        let json = http::Response::builder().header("content-type", "application/json");
        if let Mood::Answers(status, headers, body) = &self.mood {
            let response =
                headers.iter().fold(json.status(*status), |response, (name, value)| response.header(name, value));
            return response.body(body.clone().into()).unwrap();
        }
        if self.metadata_path().as_deref() == Some(path) {
            let jwks_uri = format!("http://{}{}", self.addr, self.jwks_path());
            let metadata = json!({"issuer": self.url(), "jwks_uri": jwks_uri, "token_endpoint": self.url()});
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

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>, mut stopped: oneshot::Receiver<()>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn_local(connection(accepted.unwrap().0, Arc::clone(&state)));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            _ = &mut stopped => return,
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>) {
    let (down, is_down) = oneshot::channel::<()>();
    let down = Mutex::new(Some(down));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (state, down) = (&state, &down);
        async move {
            let path = request.uri().path().to_owned();
            let (delay, mood) = {
                let mut state = state.lock().unwrap();
                *state.hits.entry(path.clone()).or_default() += 1;
                (state.delay, state.mood.clone())
            };
            tokio::time::sleep(delay).await;
            match mood {
                Mood::Hangs => std::future::pending::<()>().await,
                Mood::Down => {
                    drop(down.lock().unwrap().take());
                    std::future::pending::<()>().await;
                }
                Mood::Well | Mood::Answers(..) => {}
            }
            let if_none_match = request.headers().get("if-none-match").and_then(|value| value.to_str().ok());
            Ok::<_, Infallible>(state.lock().unwrap().answer(&path, if_none_match))
        }
    });
    tokio::select! {
        // A client that goes away is none of the issuer's business.
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        _ = is_down => {}
    }
}
