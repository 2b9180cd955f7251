//! Keys come and go (RFC 7517, RFC 8414 §3), and nobody can make the gate ask for them without end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::issuer::Discovery;
use crate::support::{Binary, Gate, House, Issuer, Key, Origin, client, eventually};

#[tokio::test]
async fn the_keys_are_found_by_each_form_of_discovery() {
    for discovery in [Discovery::OpenId, Discovery::Rfc8414, Discovery::JwksOnly] {
        for path in ["", "/", "/__zuplo/issuer", "/tenant/"] {
            let house = House::with_issuer(Issuer::start_with(discovery, path), &[]).await;
            let verdict = house.verdict(&house.issuer.token().sign()).await;
            assert_eq!(verdict, "passed", "{discovery:?} of an issuer at {path:?}");
            assert_eq!(house.issuer.key_fetches(), 1, "{discovery:?} of an issuer at {path:?}");
        }
    }
}

#[tokio::test]
async fn with_a_jwks_url_nothing_is_discovered() {
    let issuer = Issuer::start();
    let url = issuer.jwks_url();
    let house = House::with_issuer(issuer, &["--jwks-url", &url]).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    assert_eq!(house.issuer.hits("/.well-known/openid-configuration"), 0);
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    for metadata in [
        json!({"issuer": "https://issuer.example.com", "jwks_uri": "{keys}"}),
        json!({"issuer": "{url}/", "jwks_uri": "{keys}"}),
        json!({"jwks_uri": "{keys}"}),
        json!({"issuer": "{url}"}),
        json!({"issuer": "{url}", "jwks_uri": "not a URL"}),
        json!({"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}),
        json!([]),
    ] {
        let issuer = Issuer::start();
        let text = metadata.to_string().replace("{keys}", &issuer.jwks_url()).replace("{url}", &issuer.url());
        issuer.metadata(serde_json::from_str(&text).unwrap());
        let origin = Origin::start();
        let gate = Gate::start(&issuer, &origin, &[]);
        let response = client::get(gate.addr(), "/", Some(&issuer.token().sign())).await;
        assert_eq!((response.status, &*response.denial().reason), (503, "keys_unavailable"), "{text}");
        assert_eq!(issuer.key_fetches(), 0, "{text}");
    }
}

#[tokio::test]
async fn only_an_absent_form_of_discovery_leads_to_the_next() {
    for status in [404, 405, 410, 400, 401, 403, 501, 408, 425, 429, 500, 503] {
        let issuer = Issuer::start_with(Discovery::JwksOnly, "");
        issuer.respond_with(status, "");
        let origin = Origin::start();
        let _gate = Gate::start(&issuer, &origin, &[]);
        let first = "/.well-known/openid-configuration";
        eventually("discovery begins", async || issuer.hits(first) > 0).await;
        if matches!(status, 404 | 405 | 410 | 400 | 401 | 403 | 501) {
            eventually("all forms are tried", async || issuer.key_fetches() > 0).await;
            assert!(issuer.hits("/.well-known/oauth-authorization-server") > 0, "{status}");
        } else {
            eventually("a second attempt", async || issuer.hits(first) > 1).await;
            assert_eq!(issuer.hits("/.well-known/oauth-authorization-server"), 0, "{status}");
            assert_eq!(issuer.key_fetches(), 0, "{status}");
        }
    }
}

#[tokio::test]
async fn a_key_that_was_published_later_is_found_by_its_name() {
    let house = House::start(&[]).await;
    let before = house.issuer.token().sign();
    assert_eq!(house.verdict(&before).await, "passed");
    house.issuer.rotate();
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    assert_eq!(house.verdict(&before).await, "passed", "the old key is still published");
    assert_eq!(house.issuer.key_fetches(), 2);
    assert_eq!(house.issuer.hits("/.well-known/openid-configuration"), 1, "the form that worked is remembered");
}

#[tokio::test]
async fn a_key_that_was_published_later_is_found_without_a_name_too() {
    let house = House::start(&[]).await;
    house.issuer.retire("key-0");
    house.issuer.rotate();
    assert_eq!(house.verdict(&house.issuer.token().without_header("kid").sign()).await, "passed");
    assert_eq!(house.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn a_retired_key_is_refused_after_the_next_refresh() {
    let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
    let retired = house.issuer.token().sign();
    assert_eq!(house.verdict(&retired).await, "passed");
    house.issuer.retire("key-0");
    house.issuer.rotate();
    assert_eq!(house.verdict(&retired).await, "passed", "nobody has asked again yet");
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed", "this asks again");
    assert_eq!(house.verdict(&retired).await, "unknown_key");
}

#[tokio::test]
async fn a_token_without_a_name_is_held_against_the_keys_that_fit() {
    let issuer = Issuer::start();
    for alg in ["RS256", "ES384", "EdDSA"] {
        issuer.add(&Key::new(alg, alg));
    }
    let second = Key::new("ES256", "second");
    issuer.add(&second);
    let house = House::with_issuer(issuer, &[]).await;
    for key in [house.issuer.key(), second.clone()] {
        let token = house.issuer.token_by(&key).without_header("kid").sign();
        assert_eq!(house.verdict(&token).await, "passed");
    }
    let forged = house.issuer.token_by(&second.forged()).without_header("kid").sign();
    assert_eq!(house.verdict(&forged).await, "unknown_key", "none of them matches, and asking again brought no other");
}

#[tokio::test]
async fn an_absent_name_is_remembered_and_refused_without_asking_again() {
    let house = House::start(&[]).await;
    let stray = house.issuer.token().header("kid", "stray").sign();
    assert_eq!(house.verdict(&stray).await, "unknown_key");
    let fetches = house.issuer.key_fetches();
    for _ in 0..20 {
        assert_eq!(house.verdict(&stray).await, "unknown_key");
    }
    assert_eq!(house.issuer.key_fetches(), fetches);
}

#[tokio::test]
async fn unchanged_keys_are_not_sent_again() {
    let issuer = Issuer::start();
    issuer.etag();
    let house = House::with_issuer(issuer, &[]).await;
    assert_eq!(house.verdict(&house.issuer.token().header("kid", "stray").sign()).await, "unknown_key");
    assert_eq!((house.issuer.key_fetches(), house.issuer.not_modified()), (2, 1));
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
}

#[tokio::test]
async fn two_hundred_requests_at_a_cold_start_cause_one_fetch_and_all_succeed() {
    let issuer = Issuer::start();
    issuer.delay(Duration::from_millis(300));
    let origin = Origin::start();
    let gate = Gate::start(&issuer, &origin, &[]);
    let token = issuer.token().sign();
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let (addr, token) = (gate.addr(), token.clone());
        requests.spawn(async move { client::get(addr, "/", Some(&token)).await.status });
    }
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!((statuses.len(), issuer.key_fetches()), (200, 1));
}

#[tokio::test]
async fn three_thousand_unknown_names_cause_at_most_three_fetches_in_15_s() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--workers", "2"]);
    let addr = binary.addr().await;
    assert_eq!(client::get(addr, "/", Some(&issuer.token().sign())).await.status, 200);
    let before = issuer.key_fetches();
    let start = Instant::now();
    let mut requests = JoinSet::new();
    // One signature for all: an unknown name is found before it is looked at.
    let key = issuer.key();
    for number in 0..3000 {
        let token = issuer.token_by(&key.with_kid(&format!("stray-{number}")));
        let token = crate::support::token::compact(token.jose_header(), token.payload(), |_| vec![0; 64]);
        requests.spawn(async move {
            let mut client = client::Client::connect(addr).await;
            client.send(client::request("GET", "/", Some(&token), "")).await;
            client.response_within(Duration::from_secs(20)).await.denial().reason
        });
    }
    let mut seen = BTreeMap::new();
    for reason in requests.join_all().await {
        *seen.entry(reason).or_insert(0) += 1;
    }
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let fetches = issuer.key_fetches() - before;
    assert!(fetches <= 3, "{fetches} fetches, {seen:?}");
    assert!(seen.keys().all(|reason| matches!(reason.as_str(), "unknown_key" | "keys_unavailable")), "{seen:?}");
    assert_eq!(client::get(addr, "/", Some(&issuer.token().sign())).await.status, 200, "and the good ones pass");
}

#[tokio::test]
async fn a_good_token_passes_while_unknown_names_wait() {
    let house = House::start(&[]).await;
    house.issuer.hang();
    let stray = house.issuer.token().header("kid", "stray").sign();
    let mut waiting = client::Client::connect(house.gate.addr()).await;
    waiting.send(client::request("GET", "/", Some(&stray), "")).await;
    let before = house.issuer.key_fetches();
    eventually("the issuer is asked", async || house.issuer.key_fetches() > before - 1).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
}
