//! Many requests on few connections, and the limits of that.

use tokio::task::JoinSet;

use super::House2;
use crate::support::client::request;
use crate::support::{Client, Http2Reply, client, eventually, stands_still};

/// So many requests at a time.
fn gets(house: &House2, count: usize) -> JoinSet<client::Response> {
    let (addr, token) = (house.gate.addr(), house.token());
    let mut gets = JoinSet::new();
    for _ in 0..count {
        let token = token.clone();
        gets.spawn(async move { client::get(addr, "/", Some(&token)).await });
    }
    gets
}

#[tokio::test]
async fn a_hundred_requests_at_a_time_share_one_connection_per_worker() {
    for house in [House2::start(&["--workers", "2"]).await, House2::start_tls(&["--workers", "2"]).await] {
        house.origin.reply(Http2Reply::late().hold().head(200, &[]).data("ok").end());
        let gets = gets(&house, 100);
        house.origin.has_begun(100).await;
        assert_eq!((house.origin.most_streams(), house.origin.open()), (100, 2));
        house.origin.release();
        for response in gets.join_all().await {
            assert_eq!((response.status, &*response.text()), (200, "ok"));
        }
        assert_eq!((house.origin.opened(), house.origin.open()), (2, 2));
    }
}

#[tokio::test]
async fn another_connection_is_opened_when_the_streams_of_one_are_used_up() {
    let house = House2::start(&["--workers", "1"]).await;
    house.origin.permit_streams(4);
    house.origin.reply(Http2Reply::late().hold().head(200, &[]).data("ok").end());
    let gets = gets(&house, 20);
    house.origin.has_begun(20).await;
    assert_eq!(house.origin.open(), 5);
    house.origin.release();
    assert!(gets.join_all().await.iter().all(|response| response.status == 200));
}

#[tokio::test]
async fn our_own_limit_of_streams_holds_where_the_origin_permits_more() {
    let house = House2::start(&["--workers", "1"]).await;
    house.origin.reply(Http2Reply::late().hold().head(200, &[]).data("ok").end());
    let gets = gets(&house, 101);
    house.origin.has_begun(101).await;
    assert_eq!(house.origin.open(), 2);
    house.origin.release();
    assert!(gets.join_all().await.iter().all(|response| response.status == 200));
}

#[tokio::test]
async fn requests_beyond_all_streams_wait_in_order_and_then_get_a_503() {
    let flags = ["--workers", "1", "--max-upstream-connections", "1", "--max-waiting-requests", "2"];
    let house = House2::start(&[&flags[..], &["--upstream-connect-timeout", "10s"]].concat()).await;
    house.origin.permit_streams(2);
    house.origin.reply(Http2Reply::late().hold().head(200, &[]).data("ok").end());
    let running = gets(&house, 2);
    house.origin.has_begun(2).await;
    let waiting = gets(&house, 2);
    let admin = house.gate.admin_addr();
    eventually("two requests wait", async || {
        let metrics = client::get_local(admin, "/metrics").await.text();
        metrics.contains("claimgate_upstream_waiting_requests 2\n")
    })
    .await;
    let refused = client::get(house.gate.addr(), "/", Some(&house.token())).await;
    assert_eq!((refused.status, &*refused.denial().reason), (503, "overloaded"));
    house.origin.release();
    for response in [running.join_all().await, waiting.join_all().await].concat() {
        assert_eq!(response.status, 200);
    }
    assert_eq!((house.origin.opened(), house.origin.most_streams()), (1, 2));
}

#[tokio::test]
async fn workers_that_share_too_few_connections_take_turns() {
    let flags = ["--workers", "4", "--max-upstream-connections", "1", "--upstream-connect-timeout", "10s"];
    let house = House2::start(&flags).await;
    for response in gets(&house, 60).join_all().await {
        assert_eq!(response.status, 200);
    }
    assert!(house.origin.open() <= 1);
}

#[tokio::test]
async fn an_origin_that_permits_no_streams_is_a_502() {
    let house = House2::start(&[]).await;
    house.origin.permit_streams(0);
    let response = client::get(house.gate.addr(), "/", Some(&house.token())).await;
    assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let house = House2::start(&["--workers", "1", "--upstream-idle-timeout", "200ms"]).await;
    assert_eq!(client::get(house.gate.addr(), "/", Some(&house.token())).await.status, 200);
    eventually("it is closed", async || house.origin.open() == 0).await;
    assert_eq!(client::get(house.gate.addr(), "/", Some(&house.token())).await.status, 200);
    assert_eq!(house.origin.opened(), 2);
}

#[tokio::test]
async fn a_connection_that_is_in_use_is_not_idle() {
    let house = House2::start(&["--workers", "1", "--upstream-idle-timeout", "100ms"]).await;
    house.origin.reply_at("/slow", Http2Reply::late().hold().head(200, &[]).data("ok").end());
    let mut slow = Client::connect(house.gate.addr()).await;
    slow.send(request("GET", "/slow", Some(&house.token()), "")).await;
    house.origin.has_begun(1).await;
    let start = tokio::time::Instant::now();
    eventually("longer than the limit has passed", async || start.elapsed().as_millis() > 400).await;
    house.origin.release();
    assert_eq!(slow.response().await.text(), "ok");
    assert_eq!(house.origin.opened(), 1);
}

#[tokio::test]
async fn a_slow_client_holds_up_no_other() {
    let house = House2::start(&["--workers", "1"]).await;
    let token = house.token();
    house.origin.reply_at("/large", Http2Reply::late().head(200, &[]).then_pattern(1 << 30));
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(request("GET", "/large", Some(&token), "")).await;
        slow.push(client);
    }
    eventually("all have begun", async || house.origin.begun() == 20 && house.origin.written() > 0).await;
    stands_still("nothing more is taken", || house.origin.written()).await;
    for _ in 0..20 {
        assert_eq!(client::get(house.gate.addr(), "/", Some(&token)).await.status, 200);
    }
    assert_eq!(house.origin.opened(), 1);
}

#[tokio::test]
async fn an_origin_that_says_farewell_under_load_loses_nothing() {
    let house = House2::start(&["--workers", "2"]).await;
    let (addr, token) = (house.gate.addr(), house.token());
    let mut load = JoinSet::new();
    for number in 0..16 {
        let token = token.clone();
        load.spawn(async move {
            let mut client = Client::connect(addr).await;
            for round in 0..100 {
                let body = format!("{number}-{round}");
                let bytes = request("POST", "/", Some(&token), &format!("Content-Length: {}\r\n", body.len())) + &body;
                client.send(bytes).await;
                let response = client.response().await;
                assert_eq!((response.status, &*response.text()), (200, &*body));
            }
        });
    }
    house.origin.reply(Http2Reply::echo());
    while !load.is_empty() {
        house.origin.say_farewell();
        let begun = house.origin.begun();
        tokio::select! {
            Some(ended) = load.join_next() => ended.unwrap(),
            () = eventually("it goes on", async || house.origin.begun() > begun + 50) => {}
        }
    }
    assert!(house.origin.opened() > 4, "{}", house.origin.opened());
    assert_eq!(house.origin.received().len(), 1600);
}

#[tokio::test]
async fn clients_that_cancel_many_requests_cost_another_nothing() {
    let house = House2::start(&["--workers", "1"]).await;
    let token = house.token();
    house.origin.reply_at("/slow", Http2Reply::late().hold().head(200, &[]).data("ok").end());
    let mut slow = Client::connect(house.gate.addr()).await;
    slow.send(request("GET", "/slow", Some(&token), "")).await;
    house.origin.has_begun(1).await;
    house.origin.reply(Http2Reply::never());
    for round in 0..20 {
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(request("GET", "/", Some(&token), "")).await;
            clients.push(client);
        }
        // Some arrive, some are cancelled on their way.
        if round % 2 == 0 {
            house.origin.has_begun(house.origin.begun() + 1).await;
        }
        clients.into_iter().for_each(Client::reset);
    }
    house.origin.release();
    assert_eq!(slow.response().await.text(), "ok");
    eventually("nothing is left of them", async || house.origin.streams() == 0).await;
}
