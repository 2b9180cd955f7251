//! A `kid` that the issuer never had.

use tokio::time::sleep;

use super::*;

#[tokio::test]
async fn a_ghost_asked_for_during_a_fetch_that_outlives_the_keys_keeps_no_new_key_out() {
    let origin = Origin::start().await;
    let set = format!(r#"{{"keys":[{}]}}"#, jwk("a"));
    origin.say(KEYS, "200 OK", "", &set);
    let (issuer, _readiness, _tasks) = run(Settings {
        max_stale: Duration::from_secs(4),
        timeout: Duration::from_secs(2),
        refresh_cooldown: Duration::from_millis(10),
        ..origin.settings()
    });
    attempts(&issuer, 1).await;
    // The scheduled fetch hangs from before the keys' end until after it.
    origin.gate.forget_permits(usize::MAX);
    while issuer.status().next_attempt.is_some() {
        sleep(Duration::from_millis(5)).await;
    }
    let ghost = {
        let issuer = Arc::clone(&issuer);
        tokio::spawn(async move { issuer.key(&header(Some("ghost"))).await })
    };
    while issuer.keys().is_some() {
        sleep(Duration::from_millis(5)).await;
    }
    origin.gate.add_permits(1000);
    while issuer.keys().is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(ghost.await.unwrap(), Err(Denial::UnknownKey(_))));
    origin.publish(&["a", "b"]);
    // The next scheduled fetch begins after the patience of a request.
    assert!(issuer.key(&header(Some("b"))).await.is_ok());
}
