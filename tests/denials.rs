//! Every row of the table, provoked over a socket: status, challenge, body and log.

use claimgate::denial::{Denial, Row};
use serde_json::json;

use crate::support::binary::find_member;
use crate::support::{Binary, Client, Issuer, Key, Origin, Reply, Token, client, eventually};

/// Rows that nothing can provoke yet, and why.
const NOT_YET_REACHABLE: [(&str, &str); 1] = [("internal", "a fault of the gate's own, of which none is known")];

struct Scene {
    issuer: Issuer,
    /// Down from the start.
    absent: Issuer,
    origin: Origin,
    binary: Binary,
}

impl Scene {
    async fn start() -> Self {
        let (issuer, absent, origin) = (Issuer::start(), Issuer::start(), Origin::start());
        absent.go_down();
        origin.reply_at("/reset", Reply::reset());
        origin.reply_at("/rubbish", Reply::raw("rubbish\r\n\r\n"));
        origin.reply_at("/never", Reply::never());
        origin.reply_at("/held", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").then_never());
        let flags = [
            ["--issuer", &issuer.url()],
            ["--issuer", &absent.url()],
            ["--upstream", &origin.url()],
            ["--audience", "orders"],
            ["--max-token-lifetime", "1h"],
            ["--claim-header", "name=X-Name"],
            ["--claims-header-max", "2KiB"],
            ["--max-body-size", "1KiB"],
            ["--max-upstream-connections", "1"],
            ["--max-waiting-requests", "0"],
            ["--header-timeout", "1s"],
            ["--upstream-timeout", "1s"],
        ];
        let flags = flags.concat();
        let binary = Binary::start(&flags);
        let scene = Self { issuer, absent, origin, binary };
        let good = client::request("GET", "/", Some(&scene.token().sign()), "Connection: close\r\n");
        let addr = scene.binary.addr().await;
        eventually("a good token passes", async || client::exchange(addr, &good).await.status == 200).await;
        scene
    }

    fn token(&self) -> Token {
        self.issuer.token().claim("aud", "orders").claim("name", "Alice")
    }

    /// What must be so meanwhile: for `overloaded`, that the one connection to the origin is in use.
    async fn prepare(&self, reason: &str) -> Option<Client> {
        if reason != "overloaded" {
            return None;
        }
        let mut held = Client::connect(self.binary.addr().await).await;
        held.send(client::request("GET", "/held", Some(&self.token().sign()), "")).await;
        assert_eq!(held.response_head().await.status, 200);
        Some(held)
    }

    /// What provokes each reason.
    fn provocations(&self) -> Vec<(&'static str, String)> {
        let plain = |fields: &str| client::request("GET", "/", None, fields);
        let with = |token: Token| client::request("GET", "/", Some(&token.sign()), "");
        let at = |target: &str| client::request("GET", target, Some(&self.token().sign()), "");
        let post = |fields: &str, body: &str| client::request("POST", "/", Some(&self.token().sign()), fields) + body;
        let token = || self.token();
        let forger = Key::new("ES256", &self.issuer.key().kid);
        let now = crate::support::now();
        vec![
            ("token_missing", plain("")),
            ("unsupported_scheme", plain("Authorization: Basic eDp5\r\n")),
            ("multiple_tokens", plain("Authorization: Bearer a.b.c\r\nAuthorization: Bearer a.b.c\r\n")),
            ("malformed_credentials", plain("Authorization: Bearer\r\n")),
            ("token_too_large", plain(&format!("Authorization: Bearer {}\r\n", "a".repeat(16_385)))),
            ("malformed_token", plain("Authorization: Bearer a.b.c\r\n")),
            ("encrypted_token", plain("Authorization: Bearer a.b.c.d.e\r\n")),
            ("unexpected_type", with(token().header("typ", "dpop+jwt"))),
            ("unsupported_critical", with(token().header("crit", json!(["b64"])))),
            ("algorithm_not_allowed", with(token().header("alg", "none"))),
            ("untrusted_issuer", with(token().claim("iss", "https://stranger.example.com"))),
            ("unknown_key", with(token().header("kid", "stray"))),
            ("invalid_signature", with(token().signed_by(&forger))),
            ("missing_claim", with(token().without("exp"))),
            ("malformed_claim", with(token().claim("exp", "tomorrow"))),
            ("expired", with(token().expired())),
            ("not_yet_valid", with(token().claim("nbf", now + 60))),
            ("lifetime_too_long", with(token().claim("exp", now + 7200))),
            ("wrong_audience", with(token().claim("aud", "billing"))),
            ("claim_not_forwardable", with(token().claim("name", "a\r\nb"))),
            ("claims_too_large", with(token().claim("groups", "x".repeat(3000)))),
            ("ambiguous_request", plain("Host: twice\r\n")),
            ("malformed_request", plain("no field\r\n")),
            ("request_timeout", "GET / HTTP/1.1\r\nHost: gate.test\r\n".to_owned()),
            ("uri_too_long", client::request("GET", &format!("/{}", "a".repeat(16_384)), None, "")),
            ("expectation_failed", post("Expect: something\r\n", "")),
            ("headers_too_large", plain(&"X: y\r\n".repeat(100))),
            ("unsupported_transfer_coding", post("Transfer-Encoding: gzip, chunked\r\n", "")),
            ("method_refused", client::request("TRACE", "/", Some(&self.token().sign()), "")),
            ("body_too_large", post("Content-Length: 1025\r\n", "")),
            ("keys_unavailable", with(Token::new(&self.absent.url(), &self.absent.key()))),
            ("overloaded", at("/")),
            ("upstream_unreachable", at("/reset")),
            ("upstream_protocol", at("/rubbish")),
            ("upstream_timeout", at("/never")),
        ]
    }
}

#[tokio::test]
async fn every_row_of_the_table_is_as_it_says_on_the_wire_and_in_the_log() {
    let scene = Scene::start().await;
    let addr = scene.binary.addr().await;
    let provocations = scene.provocations();
    for denial in Denial::ALL {
        let row = denial.row();
        if NOT_YET_REACHABLE.iter().any(|(reason, _)| *reason == row.reason) {
            continue;
        }
        let provoked = provocations.iter().find(|(reason, _)| *reason == row.reason);
        let (_, bytes) = provoked.unwrap_or_else(|| panic!("{} is neither provoked nor excused", row.reason));
        let mut held = scene.prepare(row.reason).await;
        let mut client = Client::connect(addr).await;
        client.send(bytes).await;
        let response = client.response().await;
        if held.take().is_some() {
            eventually("the connection is free again", async || scene.origin.abandoned() > 0).await;
        }
        check_response(&row, &response);
        let request_id = response.header("x-request-id").unwrap().to_owned();
        eventually(&format!("{} is logged", row.reason), async || is_logged(&scene.binary, &row, &request_id)).await;
    }
    assert!(scene.origin.received().iter().all(|received| received.target != "/refused"));
}

#[test]
fn no_row_is_both_provoked_and_excused_and_every_excuse_is_of_a_row() {
    let reasons: Vec<_> = Denial::ALL.iter().map(|denial| denial.row().reason).collect();
    for (reason, why) in NOT_YET_REACHABLE {
        assert!(reasons.contains(&reason) && !why.is_empty(), "{reason}");
    }
}

#[tokio::test]
async fn no_output_ever_contains_a_token() {
    let scene = Scene::start().await;
    let addr = scene.binary.addr().await;
    let mut secrets = Vec::new();
    for (_, bytes) in scene.provocations() {
        let mut client = Client::connect(addr).await;
        client.send(&bytes).await;
        let response = client.response().await;
        let token = bytes.split("Authorization: Bearer ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let signature = token.and_then(|token| token.rsplit('.').next()).filter(|part| part.len() > 16);
        secrets.extend(signature.map(str::to_owned));
        assert!(secrets.iter().all(|secret| !response.head.contains(secret) && !response.text().contains(secret)));
    }
    assert!(secrets.len() > 10);
    scene.binary.signal("TERM");
    let ended = scene.binary.wait().await;
    for secret in secrets {
        assert!(!ended.stderr.contains(&secret) && !ended.stdout.contains(&secret), "{secret}");
    }
}

fn check_response(row: &Row, response: &client::Response) {
    let reason = row.reason;
    assert_eq!(response.status, row.status, "{reason}: {response:?}");
    let problem = response.denial();
    assert_eq!(problem.reason, reason);
    assert_eq!(problem.json["title"], row.title, "{reason}");
    assert_eq!(problem.json["request_id"], response.header("x-request-id").unwrap(), "{reason}");
    assert_eq!(problem.detail.is_some(), row.shared, "{reason}: {:?}", problem.detail);
    let error = row.error.map(|error| format!(", error=\"{error}\", error_description=\"{}", row.title));
    let expected = format!("Bearer realm=\"claimgate\"{}", error.unwrap_or_default());
    let challenge = response.header("www-authenticate");
    if row.error.is_some() || matches!(row.status, 401 | 403) {
        let challenge = challenge.unwrap_or_else(|| panic!("{reason} without a challenge"));
        assert!(challenge.starts_with(&expected), "{reason}: {challenge}");
        assert_eq!(challenge.contains("error="), row.error.is_some(), "{reason}: {challenge}");
    } else {
        assert_eq!(challenge, None, "{reason}");
    }
    assert_eq!(response.header("retry-after").is_some(), row.status == 503, "{reason}");
    assert_eq!(response.header("allow").is_some(), row.status == 405, "{reason}");
}

fn is_logged(binary: &Binary, row: &Row, request_id: &str) -> bool {
    binary.log().iter().any(|line| {
        let member = |name| find_member(line, name);
        member("request_id").is_some_and(|id| id == request_id)
            && member("reason").is_some_and(|reason| reason == row.reason)
            && member("status").is_some_and(|status| *status == row.status)
    })
}
