//! How long a token may be valid for, and a warning of one that is valid as good as for ever.

use claimgate::clock::{Clock, NumericDate};
use serde_json::{Value, json};

use crate::support::{Binary, Gate, House, Issuer, Origin, Token, client, eventually, now};

/// 2030-03-17T17:46:40Z.
const NOON: i64 = 1_900_000_000;

async fn house(flags: &[&str]) -> House {
    let clock = Clock::manual(NumericDate::from_seconds(1_900_000_000.0).unwrap());
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let gate = Gate::start_at(clock, &issuer, &origin, flags);
    gate.is_ready().await;
    House { issuer, origin, gate }
}

fn token(house: &House, iat: impl Into<Value>, exp: impl Into<Value>) -> Token {
    house.issuer.token().claim("iat", iat).claim("exp", exp)
}

#[tokio::test]
async fn a_token_that_lives_longer_than_the_flag_says_is_refused_also_when_it_was_seen_before() {
    let cases = [
        (json!(NOON), json!(NOON + 3600), "passed"),
        (json!(NOON), json!(NOON + 3601), "lifetime_too_long"),
        (json!(NOON), json!(1_900_003_600.5), "lifetime_too_long"),
        (json!(NOON - 3000), json!(NOON + 600), "passed"),
        (json!(NOON - 3000), json!(NOON + 601), "lifetime_too_long"),
        (json!(NOON), json!(NOON * 1000), "lifetime_too_long"),
        (json!(NOON), json!(i64::MAX), "lifetime_too_long"),
        (json!(-i64::MAX), json!(i64::MAX), "lifetime_too_long"),
        (json!(NOON + 10), json!(NOON + 5), "passed"),
    ];
    for cache in ["16MiB", "0"] {
        let house = house(&["--max-token-lifetime", "1h", "--token-cache-size", cache, "--workers", "1"]).await;
        for (iat, exp, expected) in &cases {
            let token = token(&house, iat.clone(), exp.clone()).sign();
            for time in ["first", "second"] {
                assert_eq!(house.verdict(&token).await, *expected, "iat {iat}, exp {exp}, the {time} time");
            }
        }
        let without = house.issuer.token().without("iat").claim("exp", NOON + 60).sign();
        assert_eq!(house.verdict(&without).await, "missing_claim", "nobody can say how long it lives");
    }
}

#[tokio::test]
async fn without_the_flag_a_token_may_live_for_any_time() {
    let house = house(&[]).await;
    assert_eq!(house.verdict(&token(&house, NOON, i64::MAX).sign()).await, "passed");
    assert_eq!(house.verdict(&house.issuer.token().without("iat").claim("exp", NOON + 60).sign()).await, "passed");
}

#[tokio::test]
async fn the_refusal_says_how_long_a_token_lives_and_how_long_it_may() {
    let house = house(&["--max-token-lifetime", "1h"]).await;
    let response = house.get("/", &token(&house, NOON, NOON + 7200).sign()).await;
    assert_eq!(response.denial().detail.as_deref(), Some("7200 s, at most 3600 s are accepted"));
}

fn warnings(binary: &Binary, issuer: &Issuer) -> Vec<String> {
    let lines = binary.stderr().into_iter();
    lines.filter(|line| line.contains("ten years ahead") && line.contains(&issuer.url())).collect()
}

#[tokio::test]
async fn an_expiry_over_ten_years_ahead_is_warned_of_once_for_each_issuer() {
    let (one, other, origin) = (Issuer::start(), Issuer::start(), Origin::start());
    let flags = ["--issuer", &one.url(), "--issuer", &other.url(), "--upstream", &origin.url(), "--workers", "2"];
    let binary = Binary::start(&flags);
    let addr = binary.addr().await;
    let passes = async |token: Token| {
        let token = token.sign();
        eventually("it passes", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    };
    let year = 31_557_600;
    passes(one.token().claim("exp", now() + 10 * year - 60)).await;
    passes(other.token().claim("exp", now() + 10 * year + 60)).await;
    eventually("a warning", async || warnings(&binary, &other).len() == 1).await;
    assert_eq!(warnings(&binary, &one), Vec::<String>::new(), "of less than ten years");
    for _ in 0..4 {
        passes(one.token().claim("exp", now() * 1000)).await;
        passes(other.token().claim("exp", i64::MAX)).await;
    }
    eventually("a warning", async || !warnings(&binary, &one).is_empty()).await;
    binary.signal("TERM");
    let (of_one, of_other) = (one.url(), other.url());
    let ended = binary.wait().await;
    let told: Vec<_> = ended.stderr.lines().filter(|line| line.contains("ten years ahead")).collect();
    let of = |url: &str| told.iter().filter(|line| line.contains(url)).collect::<Vec<_>>();
    assert_eq!((of(&of_one).len(), of(&of_other).len()), (1, 1), "{told:#?}");
    assert!(of(&of_one)[0].contains("milliseconds") && !of(&of_other)[0].contains("milliseconds"), "{told:#?}");
    assert!(told.iter().all(|line| line.contains("--max-token-lifetime")), "{told:#?}");
}
