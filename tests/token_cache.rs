//! Tokens that were seen before: known again, never believed longer than their key, and never too many.
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

use crate::support::{Client, Exposition, House, client};

const HITS: &str = r#"claimgate_token_cache_hits_total{verdict="accepted"}"#;
const MISSES: &str = "claimgate_token_cache_misses_total";
const ENTRIES: &str = r#"claimgate_token_cache_entries{verdict="accepted"}"#;

async fn count(house: &House, series: &str) -> f64 {
    Exposition::scrape(house.gate.admin_addr()).await.value(series)
}

#[tokio::test]
async fn a_retired_key_ends_the_tokens_that_are_remembered() {
    let house = House::start(&["--workers", "1", "--jwks-refresh-cooldown", "1s"]).await;
    let retired = house.issuer.token().sign();
    for hits in [0.0, 1.0] {
        assert_eq!(house.verdict(&retired).await, "passed");
        assert_eq!(count(&house, HITS).await, hits);
    }
    house.issuer.retire("key-0");
    house.issuer.rotate();
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed", "this asks for the keys again");
    assert_eq!(house.verdict(&retired).await, "unknown_key");
    assert_eq!(count(&house, HITS).await, 1.0, "it is no hit any more");
    assert_eq!(count(&house, ENTRIES).await, 1.0, "only the new one is remembered");
}

#[tokio::test]
async fn a_token_is_known_again_after_another_key_has_come() {
    let house = House::start(&["--workers", "1"]).await;
    let known = house.issuer.token().sign();
    assert_eq!(house.verdict(&known).await, "passed");
    house.issuer.rotate();
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed", "this asks for the keys again");
    for hits in [1.0, 2.0] {
        assert_eq!(house.verdict(&known).await, "passed");
        assert_eq!(count(&house, HITS).await, hits);
    }
}

#[tokio::test]
async fn a_token_in_use_is_known_again_after_more_tokens_than_fit() {
    const OTHERS: u32 = 400;
    let house = House::start(&["--workers", "1", "--token-cache-size", "64KiB"]).await;
    let in_use = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    let mut asked = 0.0;
    for number in 0..OTHERS {
        let other = house.issuer.token().claim("jti", number).sign();
        for token in if number % 10 == 0 { vec![&in_use, &other] } else { vec![&other] } {
            client.send(client::request("GET", "/", Some(token), "")).await;
            assert_eq!(client.response().await.status, 200);
            asked += 1.0;
        }
    }
    let (hits, misses, entries) =
        (count(&house, HITS).await, count(&house, MISSES).await, count(&house, ENTRIES).await);
    assert_eq!(hits + misses, asked);
    // All but its first time, and once more at most.
    let of_one = asked - f64::from(OTHERS);
    assert!((of_one - 2.0..of_one).contains(&hits), "{hits} hits of {of_one}");
    // Each takes at least what its token's claims do.
    assert!((1.0..64.0 * 1024.0 / 256.0).contains(&entries), "{entries} entries");
}
