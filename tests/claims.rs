//! What a verified token claims (RFC 7519 §4.1), at a time that the test sets.

use claimgate::clock::{Clock, NumericDate};
use serde_json::{Value, json};

use crate::support::token::compact;
use crate::support::{Gate, House, Issuer, Origin, Token};

/// 2030-03-17T17:46:40Z.
const NOON: i64 = 1_900_000_000;

struct Claims {
    house: House,
    clock: Clock,
}

impl Claims {
    async fn start(flags: &[&str]) -> Self {
        let clock = Clock::manual(at(0.0));
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let gate = Gate::start_at(clock.clone(), &issuer, &origin, flags);
        gate.is_ready().await;
        Self { house: House { issuer, origin, gate }, clock }
    }

    /// A token of noon, for five minutes.
    fn token(&self) -> Token {
        self.house.issuer.token().claim("iat", NOON).claim("exp", NOON + 300)
    }

    async fn verdict(&self, token: &Token) -> String {
        self.house.verdict(&token.sign()).await
    }

    async fn verdict_at(&self, seconds: f64, token: &Token) -> String {
        self.clock.set(at(seconds));
        self.verdict(token).await
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time of this century")]
fn at(seconds: f64) -> NumericDate {
    NumericDate::from_seconds(NOON as f64 + seconds).unwrap()
}

#[tokio::test]
async fn a_token_is_valid_until_its_expiry_and_the_leeway_have_passed() {
    let claims = Claims::start(&[]).await;
    let token = claims.token();
    for (seconds, expected) in
        [(0.0, "passed"), (299.0, "passed"), (329.5, "passed"), (330.0, "expired"), (9e6, "expired")]
    {
        assert_eq!(claims.verdict_at(seconds, &token).await, expected, "{seconds} s after noon");
    }
}

#[tokio::test]
async fn a_token_that_was_seen_before_is_judged_like_one_that_was_not() {
    for flags in [&["--workers", "1"][..], &["--workers", "1", "--token-cache-size", "0"]] {
        let claims = Claims::start(flags).await;
        let token = claims.token();
        let early = token.clone().claim("nbf", NOON + 100);
        let late = token.clone().claim("exp", NOON - 100);
        // An ECDSA signature is another one each time: what is to be recognised is signed once.
        let [token, early, late] = [token, early, late].map(|token| token.sign());
        let judgements = [
            (0.0, &token, "passed"),
            (0.0, &token, "passed"),
            (0.0, &early, "not_yet_valid"),
            (0.0, &late, "expired"),
            (1.0, &late, "expired"),
            (100.0, &early, "passed"),
            (329.0, &token, "passed"),
            (330.0, &token, "expired"),
            (331.0, &token, "expired"),
        ];
        for (seconds, token, expected) in judgements {
            claims.clock.set(at(seconds));
            assert_eq!(claims.house.verdict(token).await, expected, "{seconds} s after noon, {flags:?}");
        }
        let signed = claims.token().claim("exp", NOON + 900).sign();
        assert_eq!(claims.house.verdict(&signed).await, "passed");
        let (rest, signature) = signed.rsplit_once('.').unwrap();
        let forged = format!("{rest}.{}", signature.chars().rev().collect::<String>());
        assert_ne!(claims.house.verdict(&forged).await, "passed", "one that looks almost like it");
    }
}

#[tokio::test]
async fn a_token_is_not_valid_before_its_time() {
    let claims = Claims::start(&[]).await;
    let cases = [
        (json!({"nbf": NOON + 30}), "passed"),
        (json!({"nbf": NOON + 31}), "not_yet_valid"),
        (json!({"iat": NOON + 30}), "passed"),
        (json!({"iat": NOON + 31}), "not_yet_valid"),
        (json!({"nbf": NOON - 30, "iat": NOON - 9000}), "passed"),
    ];
    for (times, expected) in cases {
        let token = with(claims.token(), &times);
        assert_eq!(claims.verdict(&token).await, expected, "{times}");
    }
}

#[tokio::test]
async fn the_leeway_is_what_the_flag_says() {
    for (leeway, seconds, expected) in
        [("0s", 299.9, "passed"), ("0s", 300.0, "expired"), ("5m", 599.0, "passed"), ("5m", 600.0, "expired")]
    {
        let claims = Claims::start(&["--leeway", leeway]).await;
        assert_eq!(claims.verdict_at(seconds, &claims.token()).await, expected, "{leeway}, {seconds} s after noon");
    }
}

#[tokio::test]
async fn times_are_numbers_with_or_without_a_fraction_and_within_2_to_the_63() {
    let claims = Claims::start(&[]).await;
    let cases = [
        (json!({"exp": 1_900_000_300.5}), "passed"),
        (json!({"exp": 1.9e9 + 300.0, "iat": 1.9e9}), "passed"),
        (json!({"exp": 9_007_199_254_740_991_u64}), "passed"),
        (json!({"exp": 9_007_199_254_740_992_u64}), "passed"),
        (json!({"exp": i64::MAX}), "passed"),
        (json!({"exp": i64::MAX as u64 + 1}), "malformed_claim"),
        (json!({"exp": 1e300}), "malformed_claim"),
        (json!({"exp": "1900000300"}), "malformed_claim"),
        (json!({"exp": true}), "malformed_claim"),
        (json!({"exp": [NOON + 300]}), "malformed_claim"),
        (json!({"exp": {}}), "malformed_claim"),
        (json!({"nbf": "1900000000"}), "malformed_claim"),
        (json!({"iat": "1900000000"}), "malformed_claim"),
        (json!({"iat": -1}), "passed"),
        (json!({"exp": -1}), "expired"),
        (json!({"exp": 0}), "expired"),
    ];
    for (times, expected) in cases {
        assert_eq!(claims.verdict(&with(claims.token(), &times)).await, expected, "{times}");
    }
    assert_eq!(claims.verdict(&claims.token().without("exp")).await, "missing_claim");
    assert_eq!(claims.verdict(&claims.token().without("iat")).await, "passed");
}

#[tokio::test]
async fn the_audience_has_to_be_one_of_ours() {
    let claims = Claims::start(&["--audience", "orders", "--audience", "https://api.example.com"]).await;
    let cases = [
        (json!("orders"), "passed"),
        (json!("https://api.example.com"), "passed"),
        (json!(["billing", "orders"]), "passed"),
        (json!("billing"), "wrong_audience"),
        (json!(["billing", "order"]), "wrong_audience"),
        (json!("Orders"), "wrong_audience"),
        (json!("orders "), "wrong_audience"),
        (json!(""), "wrong_audience"),
        (json!([]), "wrong_audience"),
        (json!(1), "malformed_claim"),
        (json!(["orders", 1]), "malformed_claim"),
        (json!({"orders": true}), "malformed_claim"),
    ];
    for (audience, expected) in cases {
        assert_eq!(claims.verdict(&claims.token().claim("aud", audience.clone())).await, expected, "{audience}");
    }
    assert_eq!(claims.verdict(&claims.token()).await, "missing_claim");
}

#[tokio::test]
async fn without_audience_any_passes_but_an_id_token() {
    let claims = Claims::start(&[]).await;
    assert_eq!(claims.verdict(&claims.token().claim("aud", "somebody else")).await, "passed");
    for hash in ["at_hash", "c_hash"] {
        let id_token = claims.token().claim("aud", "client").claim(hash, "MTIzNDU2Nzg5MDEyMzQ1Ng");
        assert_eq!(claims.verdict(&id_token).await, "unexpected_type", "{hash}");
        let strict = Claims::start(&["--audience", "client"]).await;
        let id_token = strict.token().claim("aud", "client").claim(hash, "MTIzNDU2Nzg5MDEyMzQ1Ng");
        assert_eq!(strict.verdict(&id_token).await, "passed", "{hash}, with an audience");
    }
}

#[tokio::test]
async fn a_logout_token_and_any_other_security_event_token_is_no_access_token() {
    let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let cases = [
        (json!({"events": logout}), "unexpected_type"),
        (json!({"events": logout, "exp": NOON - 900}), "unexpected_type"),
        (json!({"events": {"urn:ietf:params:event:session-revoked": {"a": [1]}}, "toe": NOON}), "unexpected_type"),
        (json!({"events": {}}), "unexpected_type"),
        (json!({"events": ["logout"]}), "passed"),
        (json!({"events": "all"}), "passed"),
        (json!({"events": null}), "passed"),
        (json!({"calendar": {"events": {}}}), "passed"),
        (json!({"Events": {}}), "passed"),
    ];
    for flags in [&["--audience", "api"][..], &[]] {
        let claims = Claims::start(flags).await;
        for (members, expected) in &cases {
            let token = with(claims.token().claim("aud", "api"), members);
            assert_eq!(claims.verdict(&token).await, *expected, "{members}, {flags:?}");
        }
        // A SET has no `exp` (RFC 8417 §2.2).
        let set = claims.token().claim("aud", "api").claim("events", logout.clone()).without("exp");
        assert_eq!(claims.verdict(&set).await, "unexpected_type", "{flags:?}");
        let escaped = claims.token().claim("aud", "api").payload().replace("\"sub\"", "\"\\u0065vents\":{},\"sub\"");
        let token = compact(claims.token().jose_header(), escaped, |input| claims.token().key.sign(input));
        assert_eq!(claims.house.verdict(&token).await, "unexpected_type", "by an escape, {flags:?}");
    }
}

#[tokio::test]
async fn of_several_faults_the_first_is_told_and_always_the_same() {
    let claims = Claims::start(&["--audience", "orders"]).await;
    let mut token = claims.token().without("exp").claim("nbf", NOON + 900).claim("iat", NOON + 900).claim("aud", "x");
    let repairs = [
        ("missing_claim", json!({"exp": NOON - 900})),
        ("expired", json!({"exp": NOON + 900})),
        ("not_yet_valid", json!({"nbf": NOON})),
        ("not_yet_valid", json!({"iat": NOON})),
        ("wrong_audience", json!({"aud": "orders"})),
    ];
    for (expected, repair) in repairs {
        for _ in 0..3 {
            assert_eq!(claims.verdict(&token).await, expected);
        }
        token = with(token, &repair);
    }
    assert_eq!(claims.verdict(&token).await, "passed");
}

#[tokio::test]
async fn claims_are_judged_only_after_the_signature() {
    let claims = Claims::start(&["--audience", "orders"]).await;
    let token = claims.token().without("exp").signed_by(&claims.house.issuer.key().forged());
    let response = claims.house.get("/", &token.sign()).await;
    assert_eq!(response.denial().reason, "invalid_signature");
    assert_eq!(response.denial().detail, None, "nothing of an unverified token is told");
}

#[tokio::test]
async fn a_shared_detail_says_when_and_how_long_ago() {
    let claims = Claims::start(&["--realm", "orders"]).await;
    claims.clock.set(at(335.0));
    let response = claims.house.get("/", &claims.token().sign()).await;
    let detail = "expired at 2030-03-17T17:51:40Z, 35 s ago";
    assert_eq!(response.denial().detail.as_deref(), Some(detail));
    assert_eq!(
        response.header("www-authenticate"),
        Some(&*format!(
            "Bearer realm=\"orders\", error=\"invalid_token\", error_description=\"Token has expired: {detail}\""
        ))
    );
}

#[tokio::test]
async fn json_is_read_in_one_way_only() {
    let claims = Claims::start(&[]).await;
    let token = claims.token();
    let (header, payload) = (token.jose_header(), token.payload());
    let sign = |header: &str, payload: &str| compact(header, payload, |input| token.key.sign(input));
    let opened = |json: &str| json.strip_suffix('}').unwrap().to_owned();
    assert_eq!(claims.house.verdict(&sign(&header, &payload)).await, "passed");
    let payloads = [
        format!("{},\"sub\":\"admin\"}}", opened(&payload)),
        format!("{},\"s\\u0075b\":\"admin\"}}", opened(&payload)),
        format!("{},\"a\":{{\"b\":1,\"b\":2}}}}", opened(&payload)),
        format!("{},\"a\":[{{\"b\":1,\"b\":1}}]}}", opened(&payload)),
        format!("{payload}{payload}"),
        format!("{payload},"),
        format!("[{payload}]"),
        format!("\"{}\"", "x"),
        opened(&payload),
        String::new() + "\u{feff}" + &payload,
        payload.replace(':', ": 0"),
        "null".to_owned(),
    ];
    for payload in payloads {
        assert_eq!(claims.house.verdict(&sign(&header, &payload)).await, "malformed_token", "{payload}");
    }
    let headers = [
        format!("{},\"alg\":\"ES256\"}}", opened(&header)),
        format!("{},\"kid\":\"key-0\"}}", opened(&header)),
        format!("{},\"x\":{{\"y\":1,\"y\":1}}}}", opened(&header)),
        "[]".to_owned(),
        "x".to_owned(),
    ];
    for header in headers {
        assert_eq!(claims.house.verdict(&sign(&header, &payload)).await, "malformed_token", "{header}");
    }
    let not_utf8 = compact(&header, [payload.as_bytes(), b"\xff"].concat(), |input| token.key.sign(input));
    assert_eq!(claims.house.verdict(&not_utf8).await, "malformed_token");
}

#[tokio::test]
async fn a_header_that_asks_for_more_than_a_signature_is_refused() {
    let claims = Claims::start(&[]).await;
    let cases = [
        ("crit", json!([]), "unsupported_critical"),
        ("crit", json!(["exp"]), "unsupported_critical"),
        ("crit", json!("exp"), "unsupported_critical"),
        ("b64", json!(false), "unsupported_critical"),
        ("b64", json!(true), "unsupported_critical"),
        ("zip", json!("DEF"), "unsupported_critical"),
        ("typ", json!("JWT"), "passed"),
        ("typ", json!("jwt"), "passed"),
        ("typ", json!("at+jwt"), "passed"),
        ("typ", json!("application/at+jwt"), "passed"),
        ("typ", json!("dpop+jwt"), "unexpected_type"),
        ("typ", json!("logout+jwt"), "unexpected_type"),
        ("typ", json!("secevent+jwt"), "unexpected_type"),
        ("typ", json!(1), "malformed_token"),
        ("kid", json!(1), "malformed_token"),
        ("alg", json!(null), "malformed_token"),
        ("alg", json!(["ES256"]), "malformed_token"),
    ];
    for (name, value, expected) in cases {
        let token = claims.token().header(name, value.clone());
        assert_eq!(claims.verdict(&token).await, expected, "{name}: {value}");
    }
    assert_eq!(claims.verdict(&claims.token().without_header("typ")).await, "passed");
    assert_eq!(claims.verdict(&claims.token().without_header("alg")).await, "malformed_token");
}

fn with(token: Token, claims: &Value) -> Token {
    let claims = claims.as_object().unwrap().clone();
    claims.into_iter().fold(token, |token, (name, value)| token.claim(&name, value))
}
