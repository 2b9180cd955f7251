//! The issuer is away. That is never the client's fault, and mostly not its business.

use crate::support::{Gate, House, Issuer, Origin, client, eventually};

/// A way to be away, by its name.
type Outage = (&'static str, fn(&Issuer));

const OUTAGES: [Outage; 6] = [
    ("down", Issuer::go_down),
    ("500", |issuer| issuer.respond_with(500, "oops")),
    ("a page of HTML", |issuer| issuer.respond_with(200, "<html>maintenance</html>")),
    ("no key at all", |issuer| issuer.respond_with(200, r#"{"keys":[]}"#)),
    ("more than 512 KiB", |issuer| {
        issuer.respond_with(200, format!("{{\"keys\":[{}],\"x\":\"{}\"}}", issuer.key().jwk(), "x".repeat(600_000)));
    }),
    ("a redirect elsewhere", |issuer| {
        issuer.respond_with_headers(302, &[("location", "http://127.0.0.2:9/keys")], "");
    }),
];

#[tokio::test]
async fn an_outage_after_the_start_fails_no_request() {
    for (name, outage) in OUTAGES {
        let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
        outage(&house.issuer);
        let token = house.issuer.token().sign();
        assert_eq!(house.verdict(&token).await, "passed", "{name}");
        // This makes the gate find out.
        let stray = house.get("/", &house.issuer.token().header("kid", "stray").sign()).await;
        assert_eq!((stray.status, &*stray.denial().reason), (503, "keys_unavailable"), "{name}");
        assert!(stray.header("retry-after").is_some(), "{name}");
        for _ in 0..20 {
            assert_eq!(house.verdict(&token).await, "passed", "{name}");
        }
        house.gate.is_ready().await;
    }
}

#[tokio::test]
async fn an_issuer_that_never_answers_costs_its_time_limit_and_no_more() {
    let house = House::start(&["--jwks-timeout", "1s", "--jwks-refresh-cooldown", "1s"]).await;
    house.issuer.hang();
    let stray = house.issuer.token().header("kid", "stray").sign();
    assert_eq!(house.verdict(&stray).await, "keys_unavailable");
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
}

#[tokio::test]
async fn without_keys_the_listener_is_open_and_says_why_until_the_issuer_is_back() {
    for (name, outage) in OUTAGES {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        outage(&issuer);
        let gate = Gate::start(&issuer, &origin, &["--health-listen", "127.0.0.1:0"]);
        let token = issuer.token().sign();
        let refused = client::get(gate.addr(), "/", Some(&token)).await;
        assert_eq!((refused.status, &*refused.denial().reason), (503, "keys_unavailable"), "{name}");
        assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() > 0), "{name}");
        assert_eq!(refused.denial().detail, None, "{name}: the cause is the operator's to know");
        assert_eq!(client::get(gate.health_addr(), "/readyz", None).await.status, 503, "{name}");
        assert_eq!(client::get(gate.health_addr(), "/livez", None).await.status, 200, "{name}");
        let verbose = client::get_local(gate.admin_addr(), "/readyz?verbose").await;
        assert_eq!(verbose.status, 503, "{name}");
        assert!(verbose.text().contains(&issuer.url()), "{name}: {}", verbose.text());

        issuer.recover();
        eventually(&format!("recovers from {name}"), async || {
            client::get(gate.addr(), "/", Some(&token)).await.status == 200
        })
        .await;
        gate.is_ready().await;
        assert_eq!(client::get(gate.health_addr(), "/readyz", None).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_public_route_needs_no_keys() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.go_down();
    let gate = Gate::start(&issuer, &origin, &["--skip-auth-route", "/health"]);
    assert_eq!(client::get(gate.addr(), "/health", None).await.status, 200);
}

#[tokio::test]
async fn a_token_that_is_wrong_without_any_key_is_told_so_during_an_outage() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.go_down();
    let gate = Gate::start(&issuer, &origin, &[]);
    let stranger = issuer.token().claim("iss", "https://stranger.example.com").sign();
    for (token, expected) in [("x.y", "malformed_token"), (&*stranger, "untrusted_issuer")] {
        assert_eq!(client::get(gate.addr(), "/", Some(token)).await.denial().reason, expected);
    }
    assert_eq!(client::get(gate.addr(), "/", None).await.denial().reason, "token_missing");
}

#[tokio::test]
async fn keys_that_are_too_old_serve_no_more() {
    let house = House::start(&["--jwks-max-stale", "1s", "--jwks-refresh-cooldown", "1s"]).await;
    let token = house.issuer.token().sign();
    assert_eq!(house.verdict(&token).await, "passed");
    house.issuer.go_down();
    eventually("the keys are too old", async || house.verdict(&token).await == "keys_unavailable").await;
    house.issuer.recover();
    eventually("the keys are new", async || house.verdict(&token).await == "passed").await;
}
