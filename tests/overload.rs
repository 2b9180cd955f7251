//! More than there is room for: who waits, who is refused, and that it ends with its cause.
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

use std::time::Duration;

use crate::support::{Binary, Client, Exposition, Gate, House, Issuer, Origin, Reply, client, eventually};

const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];
/// What is begun and does not end before [`Origin::release`].
const BEGUN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no";

async fn house(flags: &[&str]) -> House {
    House::start(&[&OPEN, flags].concat()).await
}

/// A client that has asked for this.
async fn asked(gate: &Gate, target: &str) -> Client {
    let mut client = Client::connect(gate.addr()).await;
    client.send(client::request("GET", target, None, "")).await;
    client
}

/// Waits until so many requests wait for a connection to the origin.
async fn waiting(gate: &Gate, count: f64) {
    eventually(&format!("{count} requests wait"), async || {
        let scrape = Exposition::scrape(gate.admin_addr()).await;
        scrape.value("claimgate_upstream_waiting_requests") == count
    })
    .await;
}

/// The connections to the origin that are in use, and those that are idle.
async fn connections(gate: &Gate) -> (f64, f64) {
    let scrape = Exposition::scrape(gate.admin_addr()).await;
    let of = |state: &str| scrape.value(&format!("claimgate_upstream_connections{{state=\"{state}\"}}"));
    (of("active"), of("idle"))
}

async fn is_refused(client: &mut Client) {
    let response = client.response().await;
    assert_eq!((response.status, &*response.denial().reason), (503, "overloaded"));
    assert_eq!(response.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn requests_that_find_no_connection_wait_and_are_served_in_order() {
    let house =
        house(&["--workers", "1", "--max-upstream-connections", "1", "--upstream-connect-timeout", "30s"]).await;
    house.origin.reply(Reply::ok("ok").held());
    let mut clients = Vec::new();
    for number in 0..5_u8 {
        clients.push(asked(&house.gate, &format!("/{number}")).await);
        waiting(&house.gate, f64::from(number)).await;
    }
    assert_eq!((house.origin.begun(), house.origin.opened()), (1, 1));
    house.origin.release();
    for mut client in clients {
        assert_eq!(client.response().await.status, 200);
    }
    let targets: Vec<_> = house.origin.received().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(house.origin.opened(), 1, "each has the connection of the one before");
    let scrape = Exposition::scrape(house.gate.admin_addr()).await;
    for (series, value) in [
        (r#"claimgate_upstream_connections{state="active"}"#, 0.0),
        (r#"claimgate_upstream_connections{state="idle"}"#, 1.0),
        ("claimgate_upstream_waiting_requests", 0.0),
        ("claimgate_upstream_waits_total", 4.0),
        ("claimgate_upstream_connections_reused_total", 4.0),
    ] {
        assert_eq!(scrape.value(series), value, "{series}");
    }
}

#[tokio::test]
async fn beyond_those_that_may_wait_a_request_is_refused_at_once() {
    let flags = ["--max-upstream-connections", "1", "--upstream-connect-timeout", "30s", "--max-waiting-requests"];
    for may_wait in [0, 2_u8] {
        let house = house(&[&flags[..], &[&may_wait.to_string()]].concat()).await;
        house.origin.reply(Reply::ok("ok").held());
        let mut served = vec![asked(&house.gate, "/").await];
        house.origin.has_begun(1).await;
        for number in 1..=may_wait {
            served.push(asked(&house.gate, "/").await);
            waiting(&house.gate, f64::from(number)).await;
        }
        let mut refused = asked(&house.gate, "/").await;
        is_refused(&mut refused).await;
        house.origin.release();
        for mut client in served {
            assert_eq!(client.response().await.status, 200);
        }
        refused.send(client::request("GET", "/", None, "")).await;
        assert_eq!(refused.response().await.status, 200, "its connection was kept, and there is room now");
    }
}

#[tokio::test]
async fn who_waits_for_too_long_is_refused_and_the_origin_never_hears_of_it() {
    // The origin's own time is shorter, and does not pass while its connections are in use.
    let limits = ["--upstream-connect-timeout", "300ms", "--upstream-timeout", "100ms"];
    let house = house(&[&limits[..], &["--max-upstream-connections", "1"]].concat()).await;
    house.origin.reply_at("/begun", Reply::raw(BEGUN).hold().then("k"));
    let mut first = asked(&house.gate, "/begun").await;
    assert_eq!(first.response_head().await.status, 200);
    for fields in ["", "Content-Length: 5\r\n"] {
        let mut late = Client::connect(house.gate.addr()).await;
        late.send(client::request("POST", "/late", None, fields)).await;
        is_refused(&mut late).await;
    }
    house.origin.release();
    assert_eq!(first.bytes(2).await, b"ok");
    assert_eq!(asked(&house.gate, "/").await.response().await.status, 200);
    assert!(house.origin.received().iter().all(|received| received.target != "/late"));
}

#[tokio::test]
async fn the_time_that_a_request_waits_is_none_of_the_origins() {
    let limits = ["--upstream-connect-timeout", "30s", "--upstream-timeout", "1s"];
    let house = house(&[&limits[..], &["--max-upstream-connections", "1"]].concat()).await;
    house.origin.reply_at("/begun", Reply::raw(BEGUN).wait(Duration::from_millis(1200)).then("k"));
    house.origin.reply_at("/never", Reply::never());
    let mut first = asked(&house.gate, "/begun").await;
    assert_eq!(first.response_head().await.status, 200);
    let mut patient = asked(&house.gate, "/").await;
    waiting(&house.gate, 1.0).await;
    assert_eq!(patient.response().await.status, 200, "after more than the origin's time");
    // But once it has a connection, the origin's time counts.
    let mut never = asked(&house.gate, "/never").await;
    assert_eq!(never.response().await.denial().reason, "upstream_timeout");
}

#[tokio::test]
async fn a_client_that_goes_away_gives_up_its_place_in_the_queue() {
    let flags = ["--max-upstream-connections", "1", "--max-waiting-requests", "1"];
    let house = house(&[&flags[..], &["--upstream-connect-timeout", "30s"]].concat()).await;
    house.origin.reply(Reply::ok("ok").held());
    let mut first = asked(&house.gate, "/first").await;
    house.origin.has_begun(1).await;
    for _ in 0..3 {
        let gone = asked(&house.gate, "/gone").await;
        waiting(&house.gate, 1.0).await;
        gone.reset();
        waiting(&house.gate, 0.0).await;
    }
    let mut last = asked(&house.gate, "/last").await;
    waiting(&house.gate, 1.0).await;
    house.origin.release();
    for client in [&mut first, &mut last] {
        assert_eq!(client.response().await.status, 200);
    }
    let targets: Vec<_> = house.origin.received().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/first", "/last"]);
}

#[tokio::test]
async fn the_limit_is_one_for_all_workers_and_each_comes_to_its_share() {
    let flags = ["--workers", "3", "--max-upstream-connections", "3", "--upstream-connect-timeout", "30s"];
    let house = house(&flags).await;
    house.origin.reply(Reply::ok("ok").held());
    house.origin.reply_at("/never", Reply::never());
    // All of the first worker's, as the others' clients say nothing yet.
    let mut clients = Vec::new();
    for _ in 0..4 {
        for _ in 0..3 {
            clients.push(Client::connect(house.gate.addr()).await);
        }
    }
    let request = client::request("GET", "/", None, "");
    for at in [0, 3, 6, 9] {
        clients[at].send(&request).await;
    }
    house.origin.has_begun(3).await;
    waiting(&house.gate, 1.0).await;
    for at in [1, 2, 4, 5, 7, 8, 10, 11] {
        clients[at].send(&request).await;
    }
    waiting(&house.gate, 9.0).await;
    assert_eq!((house.origin.begun(), house.origin.opened()), (3, 3), "one worker alone has all of them");
    house.origin.release();
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.response().await.status, 200);
            client.send(&request).await;
        }
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
        client.send(client::request("GET", "/never", None, "")).await;
    }
    waiting(&house.gate, 9.0).await;
    eventually("each has what it may have", async || house.origin.begun() == 12 * 21 + 3 && house.origin.open() == 3)
        .await;
}

#[tokio::test]
async fn a_worker_gives_up_an_idle_connection_that_another_one_needs() {
    let flags = ["--max-upstream-connections", "1", "--upstream-idle-timeout", "1h"];
    let house = house(&[&flags[..], &["--upstream-connect-timeout", "30s"]].concat()).await;
    let (mut one, mut other) = (Client::connect(house.gate.addr()).await, Client::connect(house.gate.addr()).await);
    for number in 1..=10 {
        for client in [&mut one, &mut other] {
            client.send(client::request("GET", "/", None, "")).await;
            assert_eq!(client.response().await.status, 200);
        }
        assert_eq!(house.origin.opened(), 2 * number, "each of them has to connect anew");
    }
}

#[tokio::test]
async fn what_fails_makes_room_as_well_as_what_ends() {
    let limits = ["--max-upstream-connections", "1", "--upstream-connect-timeout", "30s", "--upstream-timeout", "1s"];
    let house = house(&limits).await;
    house.origin.reply_at("/reset", Reply::reset());
    house.origin.reply_at("/rubbish", Reply::raw("rubbish\r\n\r\n"));
    house.origin.reply_at("/closed", Reply::new(200, &[("Connection", "close")], "").close());
    house.origin.reply_at("/short", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").close());
    house.origin.reply_at("/never", Reply::never());
    let mut clients = Vec::new();
    for target in ["/reset", "/rubbish", "/closed", "/short", "/never", "/"].repeat(2) {
        clients.push((target, asked(&house.gate, target).await));
    }
    for (target, mut client) in clients {
        let status = client.response_head().await.status;
        let expected = match target {
            "/reset" | "/rubbish" => 502,
            "/never" => 504,
            _ => 200,
        };
        assert_eq!(status, expected, "{target}");
    }
    drop(asked(&house.gate, "/").await.response().await);
    eventually("no place is lost", async || connections(&house.gate).await.0 == 0.0).await;
}

#[tokio::test]
async fn an_idle_connection_to_the_origin_is_closed_and_counts_no_more() {
    let house = house(&["--upstream-idle-timeout", "200ms"]).await;
    house.origin.reply(Reply::ok("ok").held());
    let mut clients = [asked(&house.gate, "/").await, asked(&house.gate, "/").await, asked(&house.gate, "/").await];
    house.origin.has_begun(3).await;
    assert_eq!(connections(&house.gate).await, (3.0, 0.0));
    house.origin.release();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    let keeps_none = async || house.origin.open() == 0 && connections(&house.gate).await == (0.0, 0.0);
    eventually("the pool keeps none of them", keeps_none).await;
}

/// What 1,064 descriptors are enough for, and 1,000 are not.
const FEW: [&str; 4] = ["--max-connections", "500", "--max-upstream-connections", "500"];

fn with_limit(limit: &str) -> (Issuer, Origin, Binary) {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let house = ["--issuer", &*issuer_url, "--upstream", &*origin_url, "--upstream-idle-timeout", "10ms"];
    let binary = Binary::start_with_limit(limit, &[&house[..], &OPEN, &["--workers", "1"], &FEW].concat());
    (issuer, origin, binary)
}

#[tokio::test]
async fn it_takes_all_descriptors_that_it_may_have_and_says_when_those_are_too_few() {
    for (limit, is_short) in [("-S -n 40", false), ("-n 1000", true)] {
        let (_issuer, origin, binary) = with_limit(limit);
        let addr = binary.addr().await;
        let mut clients = Vec::new();
        for _ in 0..60 {
            let mut client = Client::connect(addr).await;
            client.send(client::request("GET", "/", None, "")).await;
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.response().await.status, 200, "{limit}");
        }
        let says = async || binary.stderr().iter().any(|line| line.contains("file descriptors are too few"));
        if is_short {
            eventually("it says so", says).await;
        } else {
            assert!(!says().await, "{limit}");
        }
        assert_eq!(origin.begun(), 60);
    }
}

#[tokio::test]
async fn out_of_descriptors_it_says_so_and_goes_on_when_there_are_some_again() {
    let (_issuer, origin, binary) = with_limit("-n 40");
    let addr = binary.addr().await;
    let request = client::request("GET", "/", None, "");
    assert_eq!(client::exchange(addr, &request).await.status, 200);
    eventually("no connection to the origin is kept", async || origin.open() == 0).await;

    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(Client::connect(addr).await);
    }
    let failures = async || binary.log().iter().filter(|line| line.to_string().contains("accepting failed")).count();
    eventually("it says so", async || failures().await > 0).await;
    // Who was accepted is told that it is not the origin's fault.
    let first = &mut clients[0];
    first.send(&request).await;
    is_refused(first).await;
    let begun = origin.begun();
    // A descriptor that becomes free is the next client's; that one waits for its turn.
    let mut waits = clients.pop().unwrap();
    waits.send(&request).await;
    drop(clients);
    assert_eq!(waits.response().await.status, 200);
    for _ in 0..5 {
        assert_eq!(client::exchange(addr, &request).await.status, 200);
    }
    assert_eq!(origin.begun(), begun + 6);
    let scrape = Exposition::scrape(binary.admin_addr().await).await;
    assert!(scrape.value("claimgate_accept_failures_total") >= 1.0, "an admin that has no descriptor cannot ask");
}
