//! The issuer's clock is wrong, or ours is: whoever reads the log learns it, and no client does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Binary, Issuer, Origin, Token, client, eventually, now};

/// The issuer's `Date` is so many seconds ahead.
fn set_clock(issuer: &Issuer, ahead: i64) {
    let date: SystemTime = UNIX_EPOCH + Duration::from_secs(u64::try_from(now() + ahead).unwrap());
    let keys = json!({"keys": [issuer.key().jwk()]}).to_string();
    issuer.respond_with_headers(200, &[("date", &httpdate::fmt_http_date(date))], keys);
}

/// A gate whose issuer's `Date` is so many seconds ahead, with its keys there.
async fn start(issuer: &Issuer, origin: &Origin, ahead: i64, flags: &[&str]) -> Binary {
    set_clock(issuer, ahead);
    let (issuer, origin, jwks_url) = (issuer.url(), origin.url(), issuer.jwks_url());
    let usual = ["--issuer", &*issuer, "--upstream", &origin, "--jwks-url", &jwks_url];
    let binary = Binary::start(&[&usual, flags].concat());
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    binary
}

/// The line of the access log about this path.
async fn logged(binary: &Binary, path: &str) -> Value {
    let line = || binary.log().into_iter().find(|line| line["path"] == path);
    eventually("it is logged", async || line().is_some()).await;
    line().unwrap()
}

/// The detail in the log of a refusal, after making sure that its client was told nothing of clocks.
async fn detail(binary: &Binary, path: &str, token: &Token, reason: &str) -> String {
    let refused = client::get(binary.addr().await, path, Some(&token.sign())).await;
    let told = refused.text();
    assert!(refused.status == 401 && told.contains(reason) && !told.contains("clock"), "{told}");
    assert!(!refused.header("www-authenticate").unwrap().contains("clock"));
    logged(binary, path).await["detail"].as_str().unwrap_or_default().to_owned()
}

/// As [`tells`] does.
fn names(detail: &str, seconds: i64, side: &str) -> bool {
    tells(seconds, |seconds| detail.ends_with(&format!("; the issuer's clock is {seconds} s {side}")))
}

/// Exact to about a second, and to some more on a machine that stalls between `Date` and the answer.
fn tells(seconds: i64, told: impl Fn(i64) -> bool) -> bool {
    (seconds - 5..=seconds + 5).any(told)
}

#[tokio::test]
async fn a_refusal_for_its_time_is_logged_with_the_skew_of_the_issuers_clock() {
    for (ahead, seconds, side) in [(41, 41, "ahead"), (-90, 90, "behind")] {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let binary = start(&issuer, &origin, ahead, &[]).await;
        let token = issuer.token();
        for (path, token, reason) in [
            ("/exp", token.clone().expired(), "expired"),
            ("/iat", token.clone().claim("iat", now() + 60), "not_yet_valid"),
            ("/nbf", token.clone().claim("nbf", now() + 60), "not_yet_valid"),
            // From the cache of refused tokens.
            ("/exp/again", token.clone().expired(), "expired"),
        ] {
            let detail = detail(&binary, path, &token, reason).await;
            assert!(names(&detail, seconds, side), "{ahead} {path}: {detail}");
        }
        let stranger = crate::support::Key::new("ES256", "key-0");
        let forged = detail(&binary, "/forged", &token.signed_by(&stranger), "invalid_signature").await;
        assert!(!forged.contains("clock"), "{forged}");
    }
}

#[tokio::test]
async fn a_token_that_was_accepted_before_is_logged_with_the_skew_when_it_expires() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = start(&issuer, &origin, 41, &[]).await;
    let (addr, token) = (binary.addr().await, issuer.token().claim("exp", now() - 28).sign());
    assert_eq!(client::get(addr, "/early", Some(&token)).await.status, 200);
    eventually("it expires", async || client::get(addr, "/late", Some(&token)).await.status == 401).await;
    let line = logged(&binary, "/late").await;
    assert!(names(line["detail"].as_str().unwrap(), 41, "ahead"), "{line}");
}

#[tokio::test]
async fn a_skew_within_the_leeway_is_not_worth_a_word() {
    for (ahead, flags) in [(0, &[][..]), (20, &[]), (41, &["--leeway", "50s"])] {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let binary = start(&issuer, &origin, ahead, flags).await;
        let detail = detail(&binary, "/exp", &issuer.token().expired(), "expired").await;
        assert!(detail.starts_with("expired at ") && !detail.contains("clock"), "{ahead}: {detail}");
    }
}

/// What the log says of the issuer's clock by itself.
fn notices(binary: &Binary) -> Vec<Value> {
    binary.log().into_iter().filter(|line| line["msg"].as_str().is_some_and(|msg| msg.contains("clock"))).collect()
}

#[tokio::test]
async fn a_skew_beyond_the_leeway_is_logged_once_and_shown_for_as_long_as_it_lasts() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = start(&issuer, &origin, -41, &["--jwks-refresh-cooldown", "1s"]).await;
    let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
    let details = async || client::get_local(admin, "/readyz?verbose").await.text();
    // Each of them makes the gate fetch.
    let fetch = async |number: i64| {
        let stray = issuer.token().header("kid", format!("stray-{number}")).sign();
        assert_eq!(client::get(addr, "/", Some(&stray)).await.denial().reason, "unknown_key");
    };
    let mut told = 0;
    for (number, ahead, level, notice) in [
        (0, -41, "WARN", "the issuer's clock and ours differ by more than the leeway"),
        (1, -90, "", ""),
        (2, 8, "INFO", "the issuer's clock and ours agree again"),
        (3, 12, "", ""),
        (4, 77, "WARN", "the issuer's clock and ours differ by more than the leeway"),
    ] {
        set_clock(&issuer, ahead);
        fetch(number).await;
        let side = if ahead < 0 { "behind" } else { "ahead of" };
        let shown = details().await;
        assert!(tells(ahead.abs(), |s| shown.contains(&format!("its clock is {s} s {side} ours"))), "{shown}");
        told += usize::from(!notice.is_empty());
        eventually("it is logged", async || notices(&binary).len() >= told).await;
        assert_eq!(notices(&binary).len(), told, "{ahead}");
        if !notice.is_empty() {
            let last = notices(&binary).pop().unwrap();
            assert_eq!((&last["level"], &last["msg"]), (&json!(level), &json!(notice)));
            assert!(
                tells(ahead, |seconds| last["clock_skew_seconds"] == json!(f64::from(i32::try_from(seconds).unwrap()))),
                "{ahead}: {last}"
            );
        }
    }
}

#[tokio::test]
async fn a_skew_within_the_leeway_is_shown_and_not_logged() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = start(&issuer, &origin, 20, &[]).await;
    let details = client::get_local(binary.admin_addr().await, "/readyz?verbose").await.text();
    assert!(tells(20, |seconds| details.contains(&format!("its clock is {seconds} s ahead of ours"))), "{details}");
    assert_eq!(notices(&binary), Vec::<Value>::new());
}
