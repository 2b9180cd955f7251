//! An issuer misbehaves. It costs no request whose keys are known, and the cause is told.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::details;
use crate::support::{Binary, Certificate, Client, Gate, House, Issuer, Key, Origin, client, eventually, reserve};

/// A way to misbehave, and words of the cause that is told.
type Fault = (&'static str, fn(&Issuer));

const FAULTS: [Fault; 17] = [
    ("HTTP: connection closed before message completed", Issuer::go_down),
    ("time-out: no answer within 0.", Issuer::hang),
    ("time-out: no end of the body within 0.", |issuer| {
        issuer.drip("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{");
    }),
    ("time-out: no answer within 0.", |issuer| issuer.drip("HTTP/1.1 200 OK\r\nX: ")),
    ("status 500 Internal Server Error", |issuer| issuer.respond_with(500, "oops")),
    ("status 503 Service Unavailable", |issuer| issuer.respond_with(503, r#"{"keys":[]}"#)),
    ("status 404 Not Found", |issuer| issuer.respond_with(404, "")),
    ("status 304 Not Modified", |issuer| issuer.respond_with(304, "")),
    ("redirect refused: more than 3 in a row", |issuer| {
        issuer.respond_with_headers(302, &[("location", "/again")], "");
    }),
    ("redirect refused: it leads to http://127.0.0.2:9", |issuer| {
        issuer.respond_with_headers(307, &[("location", "http://127.0.0.2:9/keys")], "");
    }),
    ("HTTP: invalid HTTP version parsed", |issuer| issuer.respond_with_raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    ("HTTP: end of file before message length reached", |issuer| {
        issuer.respond_with_raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"keys\":[");
    }),
    ("key set: not a JWK set: line 1, column 11", |issuer| issuer.respond_with(200, r#"{"keys": [{"#)),
    ("key set: not a JWK set: line 1, column 1", |issuer| issuer.respond_with(200, "<html>maintenance</html>")),
    ("key set: not a JWK set: line 1, column ", |issuer| issuer.respond_with(200, r#"["keys"]"#)),
    ("key set: no usable key: it is empty", |issuer| issuer.respond_with(200, r#"{"keys":[]}"#)),
    ("size: more than 524288 bytes", |issuer| {
        issuer.respond_with(200, format!("{{\"keys\":[{}]{}}}", issuer.key().jwk(), " ".repeat(600_000)));
    }),
];

/// Makes the gate ask its issuer, and gets what whoever asks gets.
async fn stray(house: &House) -> client::Response {
    let kid = format!("stray-{:016x}", fastrand::u64(..));
    house.get("/", &house.issuer.token().header("kid", kid).sign()).await
}

#[tokio::test]
async fn each_fault_of_an_issuer_is_a_failed_attempt_with_its_cause_and_costs_no_key() {
    for (cause, misbehave) in FAULTS {
        let issuer = Issuer::start();
        let url = issuer.jwks_url();
        let flags = ["--jwks-url", &*url, "--jwks-timeout", "300ms", "--jwks-refresh-cooldown", "1s"];
        let house = House::with_issuer(issuer, &flags).await;
        let token = house.issuer.token().sign();
        misbehave(&house.issuer);

        let refused = stray(&house).await;
        assert_eq!((refused.status, &*refused.denial().reason), (503, "keys_unavailable"), "{cause}");
        assert!(refused.header("retry-after").is_some(), "{cause}");
        assert_eq!(house.verdict(&token).await, "passed", "{cause}");
        let told = details(&house.gate).await;
        let expected = format!(": {url}: {cause}");
        assert!(told.contains("[+] issuer") && told.contains("last error at ") && told.contains(&expected), "{told}");
        eventually(&format!("after {cause}, when the next attempt begins"), async || {
            details(&house.gate).await.contains("next attempt in ")
        })
        .await;

        house.issuer.recover();
        house.issuer.rotate();
        let rotated = house.issuer.token().sign();
        eventually(&format!("recovers from {cause}"), async || house.verdict(&rotated).await == "passed").await;
        let told = details(&house.gate).await;
        assert!(!told.contains("last error"), "{cause}: {told}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_costs_no_key() {
    let trusted = Certificate::new();
    let issuer = Issuer::start_tls(trusted.clone());
    let flags = ["--issuer-ca-file", trusted.path(), "--jwks-refresh-cooldown", "1s"];
    let house = House::with_issuer(issuer, &flags).await;
    let token = house.issuer.token().sign();
    house.issuer.certificate(Certificate::new());
    assert_eq!(stray(&house).await.denial().reason, "keys_unavailable");
    assert_eq!(house.verdict(&token).await, "passed");
    let told = details(&house.gate).await;
    assert!(told.contains(": TLS: invalid peer certificate: "), "{told}");
    house.issuer.certificate(trusted);
    house.issuer.rotate();
    let rotated = house.issuer.token().sign();
    eventually("the certificate is right again", async || house.verdict(&rotated).await == "passed").await;
}

#[tokio::test]
async fn one_issuer_that_cannot_be_reached_does_not_stop_another() {
    let (good, origin) = (Issuer::start(), Origin::start());
    let (_reserved, nobody) = reserve();
    let bad = [
        // A label has 63 octets at most (RFC 1035, section 2.3.4): it is refused without asking the network. Not https,
        // for which the name would be refused before it is looked up.
        (format!("http://{}.invalid", "a".repeat(64)), "DNS: the host name cannot be resolved: "),
        (format!("https://{nobody}"), "TCP: cannot connect: "),
        (good.url().replace("http:", "https:"), "TLS: "),
    ];
    let names = format!("{},{},{},{}", good.url(), bad[0].0, bad[1].0, bad[2].0);
    let flags = ["--issuer", &names, "--insecure-issuer", "--jwks-refresh-cooldown", "1s"];
    let gate = Gate::start(&good, &origin, &flags);
    let verdict = async |token: String| client::get(gate.addr(), "/", Some(&token)).await;

    eventually("the good one is served", async || verdict(good.token().sign()).await.status == 200).await;
    for (name, cause) in &bad {
        eventually(cause, async || details(&gate).await.contains(cause)).await;
        let refused = verdict(good.token().claim("iss", name.as_str()).sign()).await;
        assert_eq!((refused.status, &*refused.denial().reason), (503, "keys_unavailable"), "{name}");
    }
    for _ in 0..3 {
        good.rotate();
        assert_eq!(verdict(good.token().sign()).await.status, 200, "its rotation is seen all the same");
    }
    let told = details(&gate).await;
    let lines: Vec<_> = told.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("[+]") && lines[1..].iter().all(|line| line.starts_with("[-]")), "{told}");
    assert!(told.ends_with("not ready\n"), "one whose keys are still missing: {told}");
}

#[tokio::test]
async fn a_hung_fetch_blocks_nobody_but_who_waits_for_it() {
    let (hung, good, origin) = (Issuer::start(), Issuer::start(), Origin::start());
    let names = [hung.url(), good.url()].join(",");
    let gate = Gate::start(&good, &origin, &["--issuer", &names, "--workers", "1", "--skip-auth-route", "/public"]);
    gate.is_ready().await;
    let known = hung.token().sign();
    hung.hang();
    let before = hung.key_fetches();
    let mut waiting = Client::connect(gate.addr()).await;
    waiting.send(client::request("GET", "/", Some(&hung.token().header("kid", "stray").sign()), "")).await;
    eventually("the issuer is asked", async || hung.key_fetches() > before).await;

    assert_eq!(client::get(gate.addr(), "/", Some(&known)).await.status, 200, "a key of the same issuer");
    good.rotate();
    assert_eq!(client::get(gate.addr(), "/", Some(&good.token().sign())).await.status, 200, "a fetch from another");
    let stray = good.token().header("kid", "stray").sign();
    assert_eq!(client::get(gate.addr(), "/", Some(&stray)).await.denial().reason, "unknown_key", "and a verdict of it");
    assert_eq!(client::get(gate.addr(), "/public", None).await.status, 200);
    let told = details(&gate).await;
    assert!(told.contains("an attempt is under way"), "it still hangs: {told}");
    // After all of that.
    assert_eq!(waiting.response().await.denial().reason, "keys_unavailable");
}

/// Asks with this token until it is refused; when that was known, and how.
async fn until_refused(addr: std::net::SocketAddr, token: String) -> (Instant, client::Response) {
    let mut client = Client::connect(addr).await;
    loop {
        client.send(client::request("GET", "/", Some(&token), "")).await;
        let response = client.response().await;
        if response.status != 200 {
            return (Instant::now(), response);
        }
    }
}

#[tokio::test]
async fn an_outage_as_long_as_max_stale_costs_no_valid_request_and_a_longer_one_gets_503() {
    const MAX_STALE: Duration = Duration::from_secs(2);
    let outages: [Fault; 2] = [("connection closed before", Issuer::go_down), ("time-out: no answer", Issuer::hang)];
    for (cause, outage) in outages {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let (issuer_url, origin_url) = (issuer.url(), origin.url());
        // The keys are fetched later than this, so that they serve longer than `MAX_STALE` from here.
        let start = Instant::now();
        let max_stale = ["--jwks-max-stale", "2s", "--jwks-timeout", "1s"];
        let binary = Binary::start(&[&["--issuer", &*issuer_url, "--upstream", &*origin_url], &max_stale[..]].concat());
        let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        outage(&issuer);
        let token = issuer.token().sign();
        let clients: JoinSet<_> = (0..4).map(|_| until_refused(addr, token.clone())).collect();
        for (at, refused) in clients.join_all().await {
            assert!(at - start > MAX_STALE, "refused after {:?}: {}", at - start, refused.text());
            assert_eq!((refused.status, &*refused.denial().reason), (503, "keys_unavailable"));
            assert!(refused.header("retry-after").is_some());
        }
        let says = |what: &str, words: &str| {
            binary.stderr().iter().any(|line| line.contains(what) && line.contains(words) && line.contains(&issuer_url))
        };
        eventually("each failure is a warning with its cause", async || says("keys not fetched", cause)).await;
        eventually("the end of the keys is an error", async || says("keys withdrawn", "ERROR")).await;
        issuer.recover();
        eventually("the keys are back", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    }
}

#[tokio::test]
async fn a_forged_token_is_told_so_during_an_outage() {
    let house = House::start(&[]).await;
    house.issuer.go_down();
    let forged = house.issuer.token().signed_by(&Key::new("ES256", "key-0")).sign();
    assert_eq!(house.verdict(&forged).await, "invalid_signature", "the keys that are kept judge as they did");
    assert_eq!(house.verdict(&house.issuer.token().expired().sign()).await, "expired");
}

#[tokio::test]
async fn keys_are_fetched_again_before_their_life_is_over_whoever_asks() {
    // No life is longer than keys may serve.
    let house = House::start(&["--jwks-max-stale", "3s"]).await;
    let retired = house.issuer.token().sign();
    assert_eq!(house.verdict(&retired).await, "passed");
    house.issuer.rotate();
    house.issuer.retire("key-0");
    eventually("the retired key is gone", async || {
        let verdict = house.verdict(&retired).await;
        // Until then it serves on, and asks for nothing.
        assert!(matches!(&*verdict, "passed" | "unknown_key"), "{verdict}");
        verdict == "unknown_key"
    })
    .await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
}

#[tokio::test]
async fn the_next_attempt_is_shown_and_is_when_the_issuer_says_within_bounds() {
    // 80 % of the life, a tenth of that more or less; some seconds may have passed.
    for (cache_control, seconds) in [
        (None, 422..=528),
        (Some("max-age=600"), 422..=528),
        (Some("max-age=1000, public"), 710..=880),
        (Some("no-store, max-age=0"), 33..=53),
        (Some("max-age=31536000"), 2582..=3168),
    ] {
        let issuer = Issuer::start();
        let keys = format!(r#"{{"keys":[{}]}}"#, issuer.key().jwk());
        let fields: Vec<_> = cache_control.map(|value| ("cache-control", value)).into_iter().collect();
        issuer.respond_with_headers(200, &fields, keys);
        let url = issuer.jwks_url();
        let house = House::with_issuer(issuer, &["--jwks-url", &url]).await;
        let told = details(&house.gate).await;
        let next = told.lines().find_map(|line| line.trim().strip_prefix("next attempt in ")?.strip_suffix(" s"));
        let next: u32 = next.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
        assert!(seconds.contains(&next), "{cache_control:?}: {next} s");
    }
}
