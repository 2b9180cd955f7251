//! Keys change, also while somebody makes up names of keys. No valid token is ever taken for a bad one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::details;
use crate::support::{Binary, Client, House, Issuer, Origin, Token, client, eventually};

/// Asks over one connection until told to stop; how often the answer was not 200.
async fn load(addr: std::net::SocketAddr, token: String, stop: Arc<AtomicBool>) -> usize {
    let (mut client, mut failed) = (Client::connect(addr).await, 0);
    while !stop.load(Ordering::Relaxed) {
        client.send(client::request("GET", "/", Some(&token), "")).await;
        failed += usize::from(client.response().await.status != 200);
    }
    failed
}

#[tokio::test]
async fn rotations_under_load_cost_no_request_neither_by_the_old_key_nor_by_the_new() {
    let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
    let (addr, stop) = (house.gate.addr(), Arc::new(AtomicBool::new(false)));
    let mut load_of_old_keys = JoinSet::new();
    for _ in 0..5 {
        load_of_old_keys.spawn(load(addr, house.issuer.token().sign(), Arc::clone(&stop)));
        house.issuer.rotate();
        let (fetches, token) = (house.issuer.key_fetches(), house.issuer.token().sign());
        let herd: JoinSet<_> = (0..40)
            .map(|_| {
                let token = token.clone();
                async move { client::get(addr, "/", Some(&token)).await.status }
            })
            .collect();
        let statuses = herd.join_all().await;
        assert!(statuses.iter().all(|status| *status == 200), "the first tokens of a new key: {statuses:?}");
        assert_eq!(house.issuer.key_fetches(), fetches + 1, "one fetch for all of them");
    }
    stop.store(true, Ordering::Relaxed);
    let failed: usize = load_of_old_keys.join_all().await.into_iter().sum();
    assert_eq!(failed, 0, "of keys that are still published");
}

#[tokio::test]
async fn an_answer_from_before_a_rotation_condemns_no_token_of_the_new_key() {
    let house = House::start(&["--workers", "1"]).await;
    let (before, made) = (house.issuer.key_fetches(), house.issuer.answers_made());
    house.issuer.hold();
    let mut stray = Client::connect(house.gate.addr()).await;
    stray.send(client::request("GET", "/", Some(&house.issuer.token().header("kid", "stray").sign()), "")).await;
    eventually("a fetch is under way", async || house.issuer.answers_made() == made + 1).await;

    house.issuer.rotate();
    let mut rotated = Client::connect(house.gate.addr()).await;
    rotated.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    // The one worker answers this after it has looked at the former.
    let known = house.issuer.token_by(&house.issuer.key().with_kid("key-0").forged()).sign();
    assert_eq!(house.verdict(&known).await, "invalid_signature");
    house.issuer.release();
    assert_eq!(stray.response().await.denial().reason, "unknown_key");
    assert_eq!(rotated.response().await.status, 200, "it waited for an answer from after the rotation");
    assert_eq!(house.issuer.key_fetches(), before + 2);
}

/// Sends tokens with names of keys that are made up, each another, until told to stop; what they got beside 401 and 503.
async fn flood(addr: std::net::SocketAddr, token: Token, stop: Arc<AtomicBool>, number: usize) -> Vec<u16> {
    let (mut client, mut odd) = (Client::connect(addr).await, Vec::new());
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let token = token.clone().header("kid", format!("made-up-{number}-{count}"));
        // An unknown name is found before its signature is looked at.
        let token = crate::support::token::compact(token.jose_header(), token.payload(), |_| vec![0; 64]);
        client.send(client::request("GET", "/", Some(&token), "")).await;
        let status = client.response_within(Duration::from_secs(20)).await.status;
        odd.extend(Some(status).filter(|status| !matches!(status, 401 | 503)));
    }
    odd
}

#[tokio::test]
async fn a_rotation_during_a_flood_of_made_up_names_is_seen_and_never_answered_with_401() {
    let house = House::start(&["--jwks-refresh-cooldown", "2s"]).await;
    let (addr, stop, start) = (house.gate.addr(), Arc::new(AtomicBool::new(false)), Instant::now());
    let (issuer, before) = (&house.issuer, house.issuer.key_fetches());
    let seen = Arc::new(AtomicUsize::new(0));
    let flooding: JoinSet<_> = (0..100).map(|number| flood(addr, issuer.token(), Arc::clone(&stop), number)).collect();
    eventually("the permits are spent", async || issuer.key_fetches() >= before + 2).await;

    for _ in 0..2 {
        issuer.rotate();
        let (fetches, token) = (issuer.key_fetches(), issuer.token().sign());
        let firsts: JoinSet<_> = (0..10)
            .map(|_| {
                let (token, seen) = (token.clone(), Arc::clone(&seen));
                async move {
                    let mut client = Client::connect(addr).await;
                    loop {
                        client.send(client::request("GET", "/", Some(&token), "")).await;
                        let response = client.response_within(Duration::from_secs(20)).await;
                        match response.status {
                            200 => return seen.fetch_add(1, Ordering::Relaxed),
                            503 => assert!(response.header("retry-after").is_some(), "{}", response.head),
                            _ => panic!("a valid token: {} {}", response.status, response.text()),
                        }
                    }
                }
            })
            .collect();
        firsts.join_all().await;
        // One may have been under way; the next one begins a cooldown later and brings the key.
        let needed = issuer.key_fetches() - fetches;
        assert!(needed <= 2, "{needed} fetches until the rotation was seen");
    }
    stop.store(true, Ordering::Relaxed);
    let odd: Vec<_> = flooding.join_all().await.concat();
    assert_eq!((seen.load(Ordering::Relaxed), odd), (20, vec![]));
    let fetches = u64::try_from(issuer.key_fetches() - before).unwrap();
    // Two permits, and one more for each cooldown that has passed; no refresh is due for minutes.
    let permits = 2 + start.elapsed().as_secs() / 2;
    assert!(fetches <= permits, "{fetches} fetches, {permits} permits");
}

#[tokio::test]
async fn a_change_of_keys_and_an_odd_key_are_logged_once() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.publish(serde_json::json!({"kty": "oct", "kid": "odd", "k": "c2VjcmV0"}));
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = ["--issuer", &*issuer_url, "--upstream", &origin_url, "--jwks-refresh-cooldown", "1s"];
    let binary = Binary::start(&flags);
    let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    for _ in 0..3 {
        issuer.rotate();
        assert_eq!(client::get(addr, "/", Some(&issuer.token().sign())).await.status, 200);
    }
    let lines =
        |what: &str| binary.log().into_iter().filter(|line| line.to_string().contains(what)).collect::<Vec<_>>();
    eventually("the last change is logged", async || lines("keys changed").len() == 3).await;
    assert_eq!(lines("keys fetched").len(), 1, "the first keys are no change");
    let odd = lines("unusable key skipped");
    assert_eq!(odd.len(), 1, "{odd:?}");
    let odd = odd[0].to_string();
    assert!(odd.contains("\"odd\"") && odd.contains("its kty is oct") && !odd.contains("c2VjcmV0"), "{odd}");
    let last = lines("keys changed").pop().unwrap();
    let member = |name| crate::support::binary::find_member(&last, name).unwrap().as_str().unwrap().to_owned();
    assert!(member("added").contains("key-3") && member("removed").is_empty(), "{last}");
}

#[tokio::test]
async fn a_key_that_is_taken_back_and_published_again_is_believed_again() {
    let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
    let first = house.issuer.key();
    let token = house.issuer.token().sign();
    house.issuer.rotate();
    house.issuer.retire("key-0");
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    assert_eq!(house.verdict(&token).await, "unknown_key");
    house.issuer.add(&first);
    house.issuer.rotate();
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed", "this asks, which ends what was absent");
    assert_eq!(house.verdict(&token).await, "passed");
    assert!(details(&house.gate).await.contains("key key-0: "));
}
