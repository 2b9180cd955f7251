//! The writer and its readers together, with a real issuer on a port of its own.

mod discovery;
mod disk;
mod ghost;
mod refresh;
mod tls;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::clock::Clock;
use crate::jose::CompactJws;
use crate::readiness::Readiness;

const OIDC: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/.well-known/jwks.json";

/// An issuer that answers with literal bytes; 404 where it has none. `@` stands for its own URL.
#[derive(Clone)]
struct Origin {
    url: String,
    answers: Arc<Mutex<HashMap<&'static str, String>>>,
    hits: Arc<AtomicUsize>,
    /// The last head that asked for the keys.
    head: Arc<Mutex<String>>,
    /// Without a permit, a GET of the keys is not answered.
    gate: Arc<Semaphore>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let origin = Self { url, answers: Arc::default(), hits: Arc::default(), head: Arc::default(), gate };
        let accepting = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().answer(stream));
            }
        });
        origin
    }

    async fn answer(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.unwrap_or(0) > 0 {}
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path == KEYS {
            self.hits.fetch_add(1, Ordering::SeqCst);
            *lock(&self.head) = head.to_lowercase();
            drop(self.gate.acquire().await.unwrap());
        }
        let not_found = || "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
        let answer = lock(&self.answers).get(path.as_str()).cloned().unwrap_or_else(not_found);
        let _ = stream.write_all(answer.replace('@', &self.url).as_bytes()).await;
    }

    fn say(&self, path: &'static str, status: &str, fields: &str, body: &str) {
        let length = body.replace('@', &self.url).len();
        let answer =
            format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        lock(&self.answers).insert(path, answer);
    }

    fn publish(&self, kids: &[&str]) {
        let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
        self.say(KEYS, "200 OK", "", &format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    fn settings(&self) -> Settings {
        Settings::new(self.url.clone())
    }
}

fn jwk(kid: &str) -> String {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
}

fn header(kid: Option<&str>) -> JoseHeader {
    let kid = kid.map(|kid| format!(r#","kid":"{kid}""#)).unwrap_or_default();
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA"{kid}}}"#));
    let token = format!("{header}.{}.AA", URL_SAFE_NO_PAD.encode("{}"));
    CompactJws::parse(&token).unwrap().header().clone()
}

/// The issuer with its writer running; the writer stops when the set is dropped.
fn run(settings: Settings) -> (Arc<Issuer>, Readiness, JoinSet<()>) {
    let (issuer, refresher) = Issuer::new(settings, Clock::system()).unwrap();
    let (readiness, mut tasks) = (Readiness::new(), JoinSet::new());
    tasks.spawn(refresher.run(readiness.latch()));
    (issuer, readiness, tasks)
}

async fn attempts(issuer: &Issuer, count: u64) {
    issuer.progress.subscribe().wait_for(|progress| progress.finished >= count).await.unwrap();
}

async fn herd(issuer: &Arc<Issuer>, kids: impl IntoIterator<Item = String>) -> Vec<Result<Candidates, Denial>> {
    let tasks = kids.into_iter().map(|kid| {
        let issuer = Arc::clone(issuer);
        async move { issuer.key(&header(Some(&kid))).await }
    });
    tasks.collect::<JoinSet<_>>().join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_reader_judges_by_no_keys_that_are_too_old_also_when_the_writer_has_stopped() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let settings = Settings { max_stale: Duration::from_mins(2), ..origin.settings() };
    let (issuer, _readiness, tasks) = run(settings);
    attempts(&issuer, 1).await;
    drop(tasks);
    tokio::time::advance(Duration::from_secs(119)).await;
    assert!(issuer.keys().is_some() && issuer.key(&header(Some("a"))).await.is_ok());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(issuer.keys().is_none());
    let refused = issuer.key(&header(Some("a"))).await.unwrap_err();
    assert_eq!(refused.row().reason, "keys_unavailable");
}

#[tokio::test]
async fn a_writer_that_begins_again_goes_on_from_the_keys_that_are_there() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let (issuer, refresher) = Issuer::new(origin.settings(), Clock::system()).unwrap();
    let readiness = Readiness::new();
    let latch = readiness.latch();
    let mut first = JoinSet::new();
    first.spawn(refresher.clone().run(latch.clone()));
    attempts(&issuer, 1).await;
    let generation = issuer.keys().unwrap().generation();
    assert!(readiness.is_ready());
    first.shutdown().await;
    assert!(issuer.keys().is_some(), "keys serve on while nothing fetches them");
    // Another set must not get the generation of the one that cached tokens were verified in.
    origin.publish(&["b"]);
    let mut second = JoinSet::new();
    second.spawn(refresher.run(latch));
    attempts(&issuer, 2).await;
    let keys = issuer.keys().unwrap();
    assert!(keys.generation() > generation, "{} after {generation}", keys.generation());
    assert!(issuer.key(&header(Some("b"))).await.is_ok());
}

#[tokio::test]
async fn a_gate_is_not_ready_because_its_writer_has_stopped() {
    let origin = Origin::start().await;
    let (issuer, refresher) = Issuer::new(origin.settings(), Clock::system()).unwrap();
    let readiness = Readiness::new();
    let latch = readiness.latch();
    let mut running = JoinSet::new();
    running.spawn(refresher.run(latch.clone()));
    attempts(&issuer, 1).await;
    running.shutdown().await;
    assert!(!readiness.is_ready());
}

#[tokio::test]
async fn a_cold_herd_costs_one_fetch_and_every_request_is_served() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let (issuer, refresher) = Issuer::new(origin.settings(), Clock::system()).unwrap();
    let readiness = Readiness::new();
    let latch = readiness.latch();
    let waiting = {
        let issuer = Arc::clone(&issuer);
        tokio::spawn(async move { herd(&issuer, vec!["a".to_owned(); 200]).await })
    };
    while issuer.waiting_room.available_permits() > Settings::WAITING_PER_WORKER - 200 {
        tokio::task::yield_now().await;
    }
    assert!(!readiness.is_ready());
    let _running = tokio::spawn(refresher.run(latch));
    assert!(waiting.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(origin.hits(), 1);
    assert!(readiness.is_ready());
    assert_eq!(issuer.waiting_room.available_permits(), Settings::WAITING_PER_WORKER);
}

#[tokio::test]
async fn a_rotation_costs_one_fetch_and_the_first_token_of_the_new_key_is_served() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let (issuer, _readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 1).await;
    let retired = KeyIdentity::of(issuer.key(&header(Some("a"))).await.unwrap().iter().next().unwrap());
    origin.publish(&["b"]);
    let served = herd(&issuer, vec!["b".to_owned(); 50]).await;
    assert!(served.iter().all(Result::is_ok));
    assert_eq!(origin.hits(), 2);
    let keys = issuer.keys().unwrap();
    assert_eq!(keys.generation(), 2);
    assert!(!keys.contains(&retired));
}

#[tokio::test]
async fn an_unknown_kid_is_looked_for_once_and_then_refused_at_once() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let settings = Settings { refresh_cooldown: Duration::from_millis(50), ..origin.settings() };
    let (issuer, _readiness, _tasks) = run(settings);
    attempts(&issuer, 1).await;
    // The fetch for `y` ends what is remembered of `x`.
    for (kid, hits) in [("x", 2), ("x", 2), ("y", 3), ("y", 3), ("x", 4)] {
        assert!(matches!(issuer.key(&header(Some(kid))).await, Err(Denial::UnknownKey(_))), "{kid}");
        assert_eq!(origin.hits(), hits, "{kid}");
    }
}

#[tokio::test]
async fn made_up_kids_cost_two_fetches_and_the_rest_waits_or_gets_503() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let waiting_room = 100;
    let timeout = Duration::from_millis(300);
    let settings = Settings { waiting_room, timeout, refresh_cooldown: Duration::from_secs(2), ..origin.settings() };
    let (issuer, _readiness, _tasks) = run(settings);
    attempts(&issuer, 1).await;
    let denials = herd(&issuer, (0..3000).map(|kid| format!("made-up {kid}"))).await;
    let unavailable = denials.iter().filter(|denial| matches!(denial, Err(Denial::KeysUnavailable { .. }))).count();
    let unknown = denials.iter().filter(|denial| matches!(denial, Err(Denial::UnknownKey(_)))).count();
    assert_eq!(unavailable + unknown, 3000);
    assert!((2900 - waiting_room..3000).contains(&unavailable), "{unavailable}");
    assert!(origin.hits() <= 3, "{}", origin.hits());
    assert!(issuer.key(&header(Some("a"))).await.is_ok());
}

#[tokio::test]
async fn a_hung_fetch_blocks_only_who_waits_for_it_and_ends_at_the_time_out() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let settings = Settings { timeout: Duration::from_millis(200), ..origin.settings() };
    let (issuer, _readiness, _tasks) = run(settings);
    attempts(&issuer, 1).await;
    origin.gate.forget_permits(usize::MAX);
    let waiting = {
        let issuer = Arc::clone(&issuer);
        tokio::spawn(async move { issuer.key(&header(Some("b"))).await })
    };
    while issuer.status().next_attempt.is_some() {
        tokio::task::yield_now().await;
    }
    assert!(issuer.key(&header(Some("a"))).await.is_ok());
    let Err(Denial::KeysUnavailable { cause, .. }) = waiting.await.unwrap() else { panic!("served") };
    assert!(cause.contains("time-out: no answer"), "{cause}");
    assert!(issuer.key(&header(Some("a"))).await.is_ok());
}

#[tokio::test]
async fn without_any_keys_the_answer_is_503_at_once_and_says_why_and_when() {
    let origin = Origin::start().await;
    origin.say(OIDC, "500 Internal Server Error", "", "");
    let (issuer, readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 2).await;
    let Err(Denial::KeysUnavailable { cause, retry_after }) = issuer.key(&header(Some("a"))).await else {
        panic!("served");
    };
    assert!(cause.contains("openid-configuration: status 500"), "{cause}");
    assert!(retry_after >= Duration::from_secs(1));
    assert!(!readiness.is_ready());
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn a_failed_fetch_never_removes_good_keys() {
    for (status, body) in [("503 Service Unavailable", ""), ("200 OK", "{}"), ("200 OK", r#"{"keys":[]}"#)] {
        let origin = Origin::start().await;
        origin.publish(&["a"]);
        let (issuer, _readiness, _tasks) = run(origin.settings());
        attempts(&issuer, 1).await;
        origin.say(KEYS, status, "", body);
        let denial = issuer.key(&header(Some("b"))).await.unwrap_err();
        assert!(matches!(denial, Denial::KeysUnavailable { .. }), "{status}: {denial:?}");
        assert!(issuer.status().report.last_error.is_some());
        assert!(issuer.key(&header(Some("a"))).await.is_ok(), "{status}");
    }
}

#[tokio::test]
async fn keys_that_are_too_old_are_withdrawn_and_come_back_in_their_generation() {
    let origin = Origin::start().await;
    let set = format!(r#"{{"keys":[{}]}}"#, jwk("a"));
    origin.say(KEYS, "200 OK", "", &set);
    let (issuer, _readiness, _tasks) = run(Settings {
        max_stale: Duration::from_millis(50),
        timeout: Duration::from_millis(300),
        ..origin.settings()
    });
    attempts(&issuer, 1).await;
    origin.say(KEYS, "500 Internal Server Error", "", "");
    while issuer.keys().is_some() {
        tokio::task::yield_now().await;
    }
    origin.gate.forget_permits(usize::MAX);
    assert!(matches!(issuer.key(&header(Some("a"))).await, Err(Denial::KeysUnavailable { .. })));
    origin.say(KEYS, "200 OK", "", &set);
    origin.gate.add_permits(1000);
    while issuer.keys().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(issuer.status().generation, 1);
}

#[tokio::test]
async fn an_unchanged_set_is_asked_for_with_its_etag_and_keeps_its_generation() {
    let origin = Origin::start().await;
    let set = format!(r#"{{"keys":[{}]}}"#, jwk("a"));
    origin.say(KEYS, "200 OK", "etag: \"1\"\r\ndate: Mon, 23 Nov 2026 10:00:00 GMT\r\n", &set);
    let (issuer, _readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 1).await;
    origin.say(KEYS, "304 Not Modified", "", "");
    assert!(matches!(issuer.key(&header(Some("b"))).await, Err(Denial::UnknownKey(_))));
    assert!(lock(&origin.head).contains("if-none-match: \"1\""), "{}", lock(&origin.head));
    let status = issuer.status();
    assert_eq!((status.generation, status.report.successes, status.keys.len()), (1, 2, 1));
    assert!(status.report.clock_skew.is_some());
}

#[tokio::test]
async fn a_token_without_kid_that_nothing_verifies_gets_the_keys_of_a_newer_set() {
    let origin = Origin::start().await;
    origin.publish(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    let (issuer, _readiness, _tasks) = run(origin.settings());
    attempts(&issuer, 1).await;
    let seen = issuer.key(&header(None)).await.unwrap();
    assert_eq!(seen.iter().count(), 8);
    assert!(matches!(issuer.key_after_miss(&header(Some("a")), &seen).await, Err(Denial::InvalidSignature(_))));
    assert!(matches!(issuer.key_after_miss(&header(None), &seen).await, Err(Denial::UnknownKey(_))));
    assert_eq!(origin.hits(), 2);
    origin.publish(&["j"]);
    let newer = issuer.key_after_miss(&header(None), &seen).await.unwrap();
    assert_eq!((newer.iter().count(), newer.generation()), (1, 2));
}

#[tokio::test]
async fn discovery_takes_the_first_form_that_is_offered() {
    let origin = Origin::start().await;
    origin.publish(&["a"]);
    let metadata = r#"{"issuer":"@","jwks_uri":"@/.well-known/jwks.json"}"#;
    for (path, expected) in [
        ("/none", "a key set without metadata"),
        ("/.well-known/oauth-authorization-server", "RFC 8414"),
        (OIDC, "OpenID Connect Discovery"),
    ] {
        origin.say(path, "200 OK", "", metadata);
        let (issuer, _readiness, _tasks) = run(origin.settings());
        attempts(&issuer, 1).await;
        assert_eq!(issuer.status().report.metadata_form.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_failed_attempt_says_at_which_step_and_why() {
    let too_large = format!("{{\"keys\":[]{}}}", " ".repeat(600 * 1024));
    let cases = [
        (
            KEYS,
            "302 Found",
            "location: http://localhost:1/\r\n",
            "",
            "redirect refused: it leads to http://localhost:1",
        ),
        (KEYS, "302 Found", "location: /.well-known/jwks.json\r\n", "", "redirect refused: more than 3 in a row"),
        (KEYS, "200 OK", "", too_large.as_str(), "size: more than 524288 bytes"),
        (KEYS, "200 OK", "", "<html>", "not a JWK set: line 1, column 1"),
        (KEYS, "200 OK", "", r#"{"keys":[{"kid":"x","kty":"oct"}]}"#, "no usable key: \"x\": its kty is oct"),
        (KEYS, "404 Not Found", "", "", "status 404 Not Found; none of the forms of metadata is there either"),
        (OIDC, "403 Forbidden", "", "", "openid-configuration: status 403 Forbidden"),
        (OIDC, "200 OK", "", r#"{"issuer":"@/","jwks_uri":"@"}"#, "/ if that is what the tokens carry"),
    ];
    for (path, status, fields, body, expected) in cases {
        let origin = Origin::start().await;
        origin.say(path, status, fields, body);
        let (issuer, _readiness, _tasks) = run(origin.settings());
        attempts(&issuer, 1).await;
        let cause = issuer.status().report.last_error.unwrap().cause;
        assert!(cause.contains(expected), "{expected}: {cause}");
    }
}

#[tokio::test]
async fn a_refused_connection_and_a_failed_handshake_are_told_apart() {
    let origin = Origin::start().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("https://{}", listener.local_addr().unwrap())
    };
    for (identifier, expected) in [
        // Longer than a label may be (RFC 1035 §2.3.4), so that nobody is asked.
        (format!("http://{}.invalid", "a".repeat(64)), "DNS"),
        (closed, "TCP: cannot connect"),
        (origin.url.replace("http:", "https:"), "TLS: "),
    ] {
        let (issuer, _readiness, _tasks) = run(Settings { insecure: true, ..Settings::new(identifier) });
        attempts(&issuer, 1).await;
        let cause = issuer.status().report.last_error.unwrap().cause;
        assert!(cause.contains(expected), "{expected}: {cause}");
    }
}

#[test]
fn an_issuer_needs_https_unless_it_is_on_loopback_or_plain_http_is_asked_for() {
    let ok = |identifier: &str, insecure| {
        let settings = Settings { insecure, ..Settings::new(identifier) };
        Issuer::new(settings, Clock::system()).map(|_| ())
    };
    let not_https = Err(InvalidSettings::NotHttps("http://issuer.example.com/t".to_owned()));
    assert_eq!(ok("https://issuer.example.com/t", false), Ok(()));
    assert_eq!(ok("http://issuer.example.com/t", false), not_https);
    assert_eq!(ok("http://issuer.example.com/t", true), Ok(()));
    assert_eq!(ok("http://127.0.0.1:3000", false), Ok(()));
    for identifier in ["issuer.example.com", "https://i.example/?a", "https://i.example/#a", "urn:issuer"] {
        assert_eq!(ok(identifier, true), Err(InvalidSettings::Issuer(identifier.to_owned())));
    }
    let jwks_url = Url::parse("https://i.example/keys").ok();
    let settings = Settings { jwks_url, ..Settings::new("urn:issuer") };
    assert!(Issuer::new(settings, Clock::system()).is_ok());
}

#[test]
fn an_issuer_is_selected_byte_for_byte() {
    let issuer = |identifier| Issuer::new(Settings::new(identifier), Clock::system()).unwrap().0;
    let issuers = Issuers::new(vec![issuer("https://a.example"), issuer("https://a.example/")]);
    for (iss, expected) in [
        ("https://a.example", Some("https://a.example")),
        ("https://a.example/", Some("https://a.example/")),
        ("https://A.example", None),
        ("https://a.example/x", None),
        ("", None),
    ] {
        assert_eq!(issuers.select(iss).map(|issuer| issuer.identifier()), expected);
    }
}
