//! What operators count: `/metrics` on the admin listener.
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

use std::fs;

use claimgate::clock::{Clock, NumericDate};
use claimgate::denial::Denial;

use crate::support::{Client, Exposition, Gate, House, Issuer, Origin, Reply, client, eventually};

async fn scrape(gate: &Gate) -> Exposition {
    Exposition::scrape(gate.admin_addr()).await
}

/// Waits until every series has its value: a request is counted when its answer has gone out.
async fn shows(gate: &Gate, expected: &[(&str, f64)]) {
    let mut last = scrape(gate).await;
    let holds = |last: &Exposition| expected.iter().all(|(series, value)| last.find(series) == Some(*value));
    eventually(&format!("{expected:#?}"), async || {
        last = scrape(gate).await;
        holds(&last)
    })
    .await;
}

fn denied(reason: &str) -> String {
    format!("claimgate_requests_total{{outcome=\"denied\",reason=\"{reason}\"}}")
}

const FORWARDED: &str = r#"claimgate_requests_total{outcome="forwarded",reason=""}"#;
const CLIENT_GONE: &str = r#"claimgate_requests_total{outcome="client_gone",reason=""}"#;

#[tokio::test]
async fn every_series_is_there_before_the_first_request() {
    for cache in ["16MiB", "0"] {
        let house = House::start(&["--token-cache-size", cache]).await;
        let scrape = scrape(&house.gate).await;
        for denial in Denial::ALL {
            assert_eq!(scrape.value(&denied(denial.row().reason)), 0.0);
        }
        for series in [FORWARDED, CLIENT_GONE] {
            assert_eq!(scrape.value(series), 0.0, "{series}");
        }
        for code in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
            assert_eq!(scrape.value(&format!("claimgate_responses_total{{code=\"{code}\"}}")), 0.0);
        }
        for outcome in ["forwarded", "denied", "client_gone"] {
            let count = format!("claimgate_request_duration_seconds_count{{outcome=\"{outcome}\"}}");
            assert_eq!(scrape.value(&count), 0.0);
        }
        let requests = scrape.text.lines().filter(|line| line.starts_with("claimgate_requests_total{")).count();
        assert_eq!(requests, Denial::ALL.len() + 2);
        for family in &scrape.families {
            let has_samples = scrape.text.lines().any(|line| line.starts_with(&family.name));
            assert!(has_samples, "{family:?}");
        }
    }
}

#[tokio::test]
async fn known_traffic_is_counted_exactly_over_both_workers() {
    let house = House::start(&[]).await;
    house.origin.reply_at("/absent", Reply::new(404, &[], "absent"));
    let token = house.issuer.token().sign();
    // The second connection goes to the other worker, which verifies the token for itself.
    let (mut one, mut other) = (Client::connect(house.gate.addr()).await, Client::connect(house.gate.addr()).await);
    let asked = async |client: &mut Client, path: &str, token: Option<&str>| {
        client.send(client::request("GET", path, token, "")).await;
        client.response().await.status
    };
    assert_eq!(asked(&mut one, "/", Some(&token)).await, 200);
    assert_eq!(asked(&mut other, "/", Some(&token)).await, 200);
    assert_eq!(asked(&mut other, "/absent", Some(&token)).await, 404);
    assert_eq!(asked(&mut one, "/", None).await, 401);
    for _ in 0..2 {
        assert_eq!(asked(&mut one, "/", Some("a.b.c")).await, 401);
    }
    let expected = [
        (FORWARDED, 3.0),
        (&denied("token_missing"), 1.0),
        (&denied("malformed_token"), 2.0),
        (&denied("expired"), 0.0),
        (CLIENT_GONE, 0.0),
        (r#"claimgate_responses_total{code="2xx"}"#, 2.0),
        (r#"claimgate_responses_total{code="4xx"}"#, 4.0),
        (r#"claimgate_request_duration_seconds_count{outcome="forwarded"}"#, 3.0),
        (r#"claimgate_request_duration_seconds_count{outcome="denied"}"#, 3.0),
        (r#"claimgate_token_cache_hits_total{verdict="accepted"}"#, 1.0),
        (r#"claimgate_token_cache_hits_total{verdict="refused"}"#, 1.0),
        ("claimgate_token_cache_misses_total", 3.0),
        (r#"claimgate_token_cache_entries{verdict="accepted"}"#, 2.0),
        (r#"claimgate_token_cache_entries{verdict="refused"}"#, 1.0),
        ("claimgate_upstream_connections_opened_total", 2.0),
        ("claimgate_upstream_connections_reused_total", 1.0),
        ("claimgate_client_connections_accepted_total", 2.0),
        ("claimgate_client_connections", 2.0),
    ];
    shows(&house.gate, &expected).await;
    let sum = scrape(&house.gate).await.value(r#"claimgate_request_duration_seconds_sum{outcome="forwarded"}"#);
    assert!(sum > 0.0 && sum < 30.0, "{sum}");
    drop((one, other));
    shows(&house.gate, &[("claimgate_client_connections", 0.0), ("claimgate_client_connections_accepted_total", 2.0)])
        .await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_once() {
    let house = House::start(&[]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    house.origin.reply(Reply::never());
    client.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    house.origin.has_begun(1).await;
    shows(&house.gate, &[(CLIENT_GONE, 0.0), ("claimgate_client_connections", 1.0)]).await;
    client.reset();
    let count = r#"claimgate_request_duration_seconds_count{outcome="client_gone"}"#;
    shows(&house.gate, &[(CLIENT_GONE, 1.0), (count, 1.0), (FORWARDED, 0.0)]).await;
}

#[tokio::test]
async fn an_origin_that_fails_is_counted_by_reason() {
    let house = House::start(&[]).await;
    house.origin.reply_at("/reset", Reply::reset());
    house.origin.reply_at("/rubbish", Reply::raw("rubbish\r\n\r\n"));
    let token = house.issuer.token().sign();
    for (path, status) in [("/reset", 502), ("/rubbish", 502), ("/rubbish", 502)] {
        assert_eq!(house.get(path, &token).await.status, status, "{path}");
    }
    let expected = [
        (r#"claimgate_upstream_errors_total{reason="upstream_unreachable"}"#, 1.0),
        (r#"claimgate_upstream_errors_total{reason="upstream_protocol"}"#, 2.0),
        (r#"claimgate_upstream_errors_total{reason="upstream_timeout"}"#, 0.0),
        (&denied("upstream_protocol"), 2.0),
        (r#"claimgate_responses_total{code="5xx"}"#, 3.0),
    ];
    shows(&house.gate, &expected).await;
}

#[tokio::test]
async fn an_outage_of_the_issuer_is_counted_and_its_keys_age() {
    let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
    let of_issuer = |name: &str, result: &str| format!("{name}{{issuer=\"{}\"{result}}}", house.issuer.url());
    let fetches = |result: &str| of_issuer("claimgate_jwks_fetches_total", &format!(",result=\"{result}\""));
    shows(&house.gate, &[(&fetches("success"), 1.0), (&fetches("failure"), 0.0)]).await;

    house.issuer.go_down();
    assert_eq!(house.verdict(&house.issuer.token().header("kid", "stray").sign()).await, "keys_unavailable");
    eventually("each fetch is counted once", async || {
        let (scrape, asked) = (scrape(&house.gate).await, house.issuer.key_fetches());
        let failures = scrape.value(&fetches("failure"));
        scrape.value(&fetches("success")) == 1.0
            && failures >= 1.0
            && failures + 1.0 == f64::from(u32::try_from(asked).unwrap())
    })
    .await;
    let scrape = scrape(&house.gate).await;
    assert_eq!(scrape.value(&of_issuer("claimgate_jwks_keys", "")), 1.0);
    assert_eq!(scrape.value("claimgate_ready"), 1.0);
    let (age, last) = ("claimgate_jwks_age_seconds", "claimgate_jwks_last_success_timestamp_seconds");
    let (age, last) = (scrape.value(&of_issuer(age, "")), scrape.value(&of_issuer(last, "")));
    assert!(age > 0.0 && age < 30.0, "{age}");
    let now = Clock::system().now().as_seconds();
    let since = now - last;
    assert!((since - age).abs() < 2.0, "{since} and {age}");
    for start in [scrape.value("process_start_time_seconds"), last] {
        assert!((now - start).abs() < 30.0, "{start}");
    }
    assert!(!scrape.text.contains(&house.issuer.key().kid) && !scrape.text.contains("stray"), "{}", scrape.text);
}

#[tokio::test]
async fn an_issuer_without_keys_has_no_age() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.go_down();
    let gate = Gate::start(&issuer, &origin, &[]);
    let of_issuer = |name: &str| format!("{name}{{issuer=\"{}\"}}", issuer.url());
    let keys = of_issuer("claimgate_jwks_keys");
    let last = of_issuer("claimgate_jwks_last_success_timestamp_seconds");
    shows(&gate, &[("claimgate_ready", 0.0), (&keys, 0.0), (&last, 0.0)]).await;
    let scrape = scrape(&gate).await;
    assert_eq!(scrape.find(&of_issuer("claimgate_jwks_age_seconds")), None);
    assert_eq!(scrape.find(&of_issuer("claimgate_issuer_clock_skew_seconds")), None);
}

#[tokio::test]
async fn a_clock_that_differs_is_shown_with_its_sign() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let keys = format!("{{\"keys\":[{}]}}", issuer.key().jwk());
    issuer.respond_with_headers(200, &[("date", "Tue, 24 Nov 2026 09:59:18 GMT")], keys);
    // 2026-11-24T10:00:00Z.
    let clock = Clock::manual(NumericDate::from_seconds(1_795_514_400.0).unwrap());
    let gate = Gate::start_at(clock, &issuer, &origin, &["--jwks-url", &issuer.jwks_url()]);
    gate.is_ready().await;
    let scrape = scrape(&gate).await;
    let skew = scrape.value(&format!("claimgate_issuer_clock_skew_seconds{{issuer=\"{}\"}}", issuer.url()));
    // Half a second more, as a Date tells whole ones, and half of however long the fetch took.
    assert!(skew > -42.0 && skew < -38.0, "{skew}");
    assert_eq!(scrape.value("process_start_time_seconds"), 1_795_514_400.0);
}

#[tokio::test]
async fn a_web_page_elsewhere_cannot_scrape() {
    let house = House::start(&[]).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n";
    let response = client::exchange(house.gate.admin_addr(), request).await;
    assert_eq!(response.status, 403);
    assert!(!response.text().contains("claimgate_"));
}

#[tokio::test]
async fn the_documentation_has_the_table_of_metrics_that_are_exposed() {
    let house = House::start(&[]).await;
    let documentation = fs::read_to_string("docs/metrics.md").unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let is_row = |line: &&str| line.starts_with("| `claimgate_") || line.starts_with("| `process_");
    let told: Vec<_> = documentation.lines().filter(is_row).map(cells).collect();
    let exposed = scrape(&house.gate).await.families.into_iter().map(|family| {
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        vec![format!("`{}`", family.name), family.kind, labels, family.help]
    });
    assert_eq!(told, exposed.collect::<Vec<_>>());
}
