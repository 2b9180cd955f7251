//! Peers that take their time with the intent to hold what they hold: each is let go by its own limit.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::{Binary, Client, Exposition, House, Issuer, Origin, Reply, client, eventually};

fn post(house: &House, length: u64) -> String {
    let fields = format!("Content-Length: {length}\r\n");
    client::request("POST", "/", Some(&house.issuer.token().sign()), &fields)
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_let_go_and_the_origin_too() {
    let house = House::start(&["--stream-idle-timeout", "300ms"]).await;
    house.origin.reply(Reply::pattern(1 << 30));
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    eventually("the origin is let go", async || house.origin.abandoned() == 1).await;
    assert!(house.origin.written() < 64 << 20, "{} bytes were taken", house.origin.written());
    eventually("the client is", async || client.is_reset()).await;
}

#[tokio::test]
async fn an_origin_that_does_not_take_a_body_is_a_504() {
    let house = House::start(&["--stream-idle-timeout", "300ms", "--upstream-timeout", "1h"]).await;
    house.origin.reply(Reply::early("").hold());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(post(&house, 1 << 30)).await;
    // More than all buffers on the way hold, and no more once there is an answer.
    let block = vec![0; 64 * 1024];
    eventually("there is an answer", async || {
        while client.send_at_once(&block).is_some() {}
        timeout(Duration::from_millis(1), client.some_or_end()).await.is_ok()
    })
    .await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.denial().reason), (504, "upstream_timeout"));
    house.origin.release();
    eventually("the origin is let go", async || house.origin.open() == 0).await;
}

#[tokio::test]
async fn a_smaller_limit_for_heads_holds_too() {
    let house = House::start(&["--skip-auth-route", "/*", "--max-header-size", "8KiB"]).await;
    for (size, status) in [(8 * 1024, 200), (8 * 1024 + 1, 431)] {
        let rest = client::request("GET", "/", None, "X: \r\n").len();
        let head = client::request("GET", "/", None, &format!("X: {}\r\n", "a".repeat(size - rest)));
        assert_eq!(client::exchange(house.gate.addr(), &head).await.status, status, "{size} bytes");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_holds_little_more_than_what_it_brings() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let house = ["--issuer", &issuer.url(), "--upstream", &origin.url(), "--workers", "1", "--header-timeout", "1m"];
    let binary = Binary::start(&house);
    let addr = binary.addr().await;
    let head = client::request("GET", "/", Some(&"a".repeat(848)), "");
    assert_eq!(client::exchange(addr, &head).await.status, 401);
    let before = binary.memory("VmHWM");
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = Client::connect(addr).await;
        client.send(&head[..head.len() - 2]).await;
        clients.push(client);
    }
    let admin = binary.admin_addr().await;
    eventually("all of them are here", async || {
        Exposition::scrape(admin).await.value("claimgate_client_connections") >= 500.0
    })
    .await;
    for client in &mut clients {
        client.send("\r").await;
    }
    assert_eq!(client::exchange(addr, &head).await.status, 401, "behind all of them");
    let growth = binary.memory("VmHWM") - before;
    assert!(growth < 4 * 1024, "{growth} KiB for 500 heads of a kilobyte");
    for client in &mut clients {
        client.send("\n").await;
        assert_eq!(client.response().await.status, 401);
    }
}
