//! What probes and operators see.

use crate::support::{Gate, House, Issuer, Origin, client, eventually};

async fn ask(addr: std::net::SocketAddr, method: &str, path: &str, host: &str) -> client::Response {
    client::exchange(addr, format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn probes_are_answered_without_details() {
    let house = House::start(&["--health-listen", "127.0.0.1:0"]).await;
    for path in ["/livez", "/readyz", "/startupz", "/readyz?verbose"] {
        let response = ask(house.gate.health_addr(), "GET", path, "10.0.0.5:9181").await;
        assert_eq!((response.status, response.header("cache-control")), (200, Some("no-store")), "{path}");
        assert!(!response.text().contains(&house.issuer.url()), "{path}: {}", response.text());
    }
    assert_eq!(ask(house.gate.health_addr(), "GET", "/", "x").await.status, 404);
    assert_eq!(ask(house.gate.health_addr(), "GET", "/metrics", "x").await.status, 404);
    let post = ask(house.gate.health_addr(), "POST", "/livez", "x").await;
    assert_eq!(post.status, 405);
    assert!(post.header("allow").is_some());
}

#[tokio::test]
async fn operators_see_each_issuer_and_its_keys() {
    let house = House::start(&[]).await;
    let response = client::get_local(house.gate.admin_addr(), "/readyz?verbose").await;
    assert_eq!(response.status, 200);
    let text = response.text();
    assert!(text.contains(&house.issuer.url()), "{text}");
    for host in ["localhost", "localhost:9180", "127.0.0.1", "127.0.0.1:9180", "[::1]:9180"] {
        assert_eq!(ask(house.gate.admin_addr(), "GET", "/livez", host).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_web_page_elsewhere_cannot_ask_the_admin_listener() {
    let house = House::start(&[]).await;
    for host in ["evil.example.com", "localhost.evil.example.com", "127.0.0.1.example.com", "10.0.0.1", ""] {
        assert_eq!(ask(house.gate.admin_addr(), "GET", "/readyz?verbose", host).await.status, 403, "{host}");
    }
}

#[tokio::test]
async fn readiness_waits_for_the_first_keys_and_startup_latches() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.go_down();
    let gate = Gate::start(&issuer, &origin, &["--health-listen", "127.0.0.1:0"]);
    let status = async |path| client::get(gate.health_addr(), path, None).await.status;
    assert_eq!((status("/livez").await, status("/readyz").await, status("/startupz").await), (200, 503, 503));
    issuer.recover();
    eventually("it is ready", async || status("/readyz").await == 200).await;
    issuer.go_down();
    assert_eq!((status("/readyz").await, status("/startupz").await), (200, 200));
}

#[tokio::test]
async fn the_listeners_are_off_unless_asked_for() {
    let house = House::start(&[]).await;
    assert!(house.gate.has_no_health_listener());
}
