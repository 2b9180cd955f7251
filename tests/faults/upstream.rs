//! The origin misbehaves: what the client is told, what the log says, and that the next request is none the worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Binary, Client, House, Issuer, Origin, Reply, client, eventually, reserve};

/// The line of the access log about this path.
pub(super) async fn logged(binary: &Binary, path: &str) -> Value {
    let line = || binary.log().into_iter().find(|line| line["path"] == path);
    eventually("it is logged", async || line().is_some()).await;
    line().unwrap()
}

/// What the origin does, what the client is told, and words of the log.
type Trouble = (&'static str, fn() -> Reply, u16, &'static str, &'static str);

#[rustfmt::skip]
const TROUBLES: [Trouble; 11] = [
    ("/closed", || Reply::raw("").close(), 502, "upstream_unreachable", "it closed the connection without a response"),
    ("/reset", Reply::reset, 502, "upstream_unreachable", "it closed the connection without a response"),
    ("/rubbish", || Reply::raw("rubbish\r\n\r\n"), 502, "upstream_protocol", "the head of its response is not valid HTTP"),
    ("/tls", || Reply::raw("\x15\x03\x01\x00\x02\x02\x46").close(), 502, "upstream_protocol", "the head of its response is not valid HTTP"),
    ("/endless", || Reply::raw("x".repeat(100_000)).then_never(), 502, "upstream_protocol", "the head of its response is not valid HTTP"),
    ("/half/closed", || Reply::raw("HTTP/1.1 200 OK\r\nX: ").close(), 502, "upstream_protocol", "it closed the connection in the head of its response"),
    ("/half/reset", || Reply::raw("HTTP/1.1 200 OK\r\nX: ").then_reset(), 502, "upstream_protocol", "it closed the connection in the head of its response"),
    ("/lengths", || Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"), 502, "upstream_protocol", "it has a length and a transfer coding"),
    ("/switch", || Reply::raw("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 502, "upstream_protocol", "it switched protocols unasked"),
    ("/hangs", Reply::never, 504, "upstream_timeout", "no response header within 0.5 s"),
    ("/half/hangs", || Reply::raw("HTTP/1.1 200 OK\r\nX: ").then_never(), 504, "upstream_timeout", "no response header within 0.5 s"),
];

#[tokio::test]
async fn the_reason_of_a_502_or_504_stands_in_its_body_and_with_its_cause_in_the_log() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = ["--issuer", &*issuer_url, "--upstream", &*origin_url, "--upstream-timeout", "500ms"];
    let binary = Binary::start(&flags);
    let (addr, token) = (binary.addr().await, issuer.token().sign());
    for (path, reply, status, reason, cause) in TROUBLES {
        origin.reply_at(path, reply());
        let response = client::get(addr, path, Some(&token)).await;
        let problem = response.denial();
        assert_eq!((response.status, &*problem.reason), (status, reason), "{path}");
        assert_eq!(
            (problem.detail, response.header("www-authenticate")),
            (None, None),
            "{path}: not the client's to know"
        );
        let line = logged(&binary, path).await;
        assert_eq!(
            (&line["reason"], &line["status"], &line["outcome"]),
            (&reason.into(), &status.into(), &"denied".into())
        );
        assert!(line["detail"].as_str().is_some_and(|detail| detail.contains(cause)), "{line}");
        assert_eq!(client::get(addr, "/", Some(&token)).await.status, 200, "after {path}");
        eventually("its connection is gone", async || origin.open() <= 1).await;
    }
}

#[tokio::test]
async fn an_origin_that_refuses_connections_is_named_in_the_log() {
    let issuer = Issuer::start();
    let (_reserved, nobody) = reserve();
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &format!("http://{nobody}")]);
    let response = client::get(binary.addr().await, "/", Some(&issuer.token().sign())).await;
    assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
    assert!(!response.text().contains(&nobody.to_string()), "{}", response.text());
    let line = logged(&binary, "/").await;
    let expected = format!("{nobody}: Connection refused");
    assert!(line["detail"].as_str().is_some_and(|detail| detail.contains(&expected)), "{line}");
}

#[tokio::test]
async fn a_first_byte_may_be_slow_within_the_limit() {
    let house = House::start(&["--upstream-timeout", "20s", "--skip-auth-route", "/*"]).await;
    let mut reply = Reply::raw("HTTP/1.1 200 OK\r\n").wait(Duration::from_millis(100));
    for _ in 0..3 {
        reply = reply.then("X: y\r\n").wait(Duration::from_millis(50));
    }
    house.origin.reply(reply.then("Content-Length: 2\r\n\r\nok"));
    assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok");
}

#[tokio::test]
async fn an_answer_to_a_body_that_is_still_coming_arrives_whatever_becomes_of_the_connection() {
    const HEAD: &str = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\n";
    let replies = [
        ("closed with the body unread, which resets it", Reply::early(format!("{HEAD}too large")).close()),
        ("taken no more of", Reply::early(format!("{HEAD}too large")).hold()),
    ];
    for (what, reply) in replies {
        let block = vec![b'x'; 65536];
        let chunk = [b"10000\r\n", block.as_slice(), b"\r\n"].concat();
        let framings = [("Content-Length: 80000000\r\n", &block), ("Transfer-Encoding: chunked\r\n", &chunk)];
        for (framing, block) in framings {
            for _ in 0..10 {
                let house = House::start(&["--skip-auth-route", "/*"]).await;
                house.origin.reply(reply.clone());
                let mut client = Client::connect(house.gate.addr()).await;
                client.send(client::request("POST", "/", None, framing)).await;
                pour(&mut client, block);
                let response = client.response().await;
                assert_eq!((response.status, &*response.text()), (413, "too large"), "{what}, {framing}");
                house.origin.release();
            }
        }
    }
}

#[tokio::test]
async fn an_early_answer_that_is_reset_is_taken_for_no_whole_one() {
    let reply = Reply::early("HTTP/1.1 200 OK\r\n\r\nfirst").hold().then_reset();
    let block = vec![b'x'; 64 * 1024];
    for _ in 0..20 {
        let house = House::start(&["--skip-auth-route", "/*"]).await;
        house.origin.reply(reply.clone());
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("POST", "/", None, "Content-Length: 80000000\r\n")).await;
        assert_eq!(client.response_head().await.header("transfer-encoding"), Some("chunked"));
        assert_eq!(client.bytes(10).await, b"5\r\nfirst\r\n");
        house.origin.release();
        // Whoever writes to the origin may learn of the reset before whoever reads from it.
        pour(&mut client, &block);
        assert_eq!(client.rest().await, b"", "the last chunk would make it whole");
    }
}

#[tokio::test]
async fn an_upload_that_is_reset_without_an_answer_is_a_502() {
    let block = vec![b'x'; 64 * 1024];
    for reply in [Reply::early("").then_reset(), Reply::early("").close()] {
        let house = House::start(&["--skip-auth-route", "/*"]).await;
        house.origin.reply(reply);
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("POST", "/", None, "Content-Length: 80000000\r\n")).await;
        pour(&mut client, &block);
        let response = client.response().await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
        assert_eq!(house.origin.begun(), 1);
    }
}

/// Sends this over and over, as much as is taken without waiting.
fn pour(client: &mut Client, block: &[u8]) {
    let mut sent = 0;
    while let Some(count) = client.send_at_once(&block[sent..]) {
        sent = (sent + count) % block.len();
    }
}

/// Asks over one connection until told to stop; the answers that it got beside 200.
async fn load(
    addr: std::net::SocketAddr,
    method: &'static str,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<(u16, String)> {
    let (mut client, mut failed) = (Client::connect(addr).await, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        client.send(client::request(method, "/", None, "")).await;
        let response = client.response().await;
        answered.fetch_add(1, Ordering::Relaxed);
        if response.status != 200 {
            failed.push((response.status, response.denial().reason));
        }
    }
    failed
}

#[tokio::test]
async fn an_origin_that_closes_its_pooled_connections_under_load_costs_no_get() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: JoinSet<_> =
        (0..8).map(|_| load(house.gate.addr(), "GET", Arc::clone(&stop), Arc::clone(&answered))).collect();
    for round in 1..=50 {
        eventually("it goes on", async || answered.load(Ordering::Relaxed) > 40 * round).await;
        house.origin.close_idle();
    }
    stop.store(true, Ordering::Relaxed);
    let failed = clients.join_all().await.concat();
    assert_eq!(failed, []);
    assert!(house.origin.opened() > 50, "{}", house.origin.opened());
}

#[tokio::test]
async fn a_restart_of_the_origin_under_load_is_over_when_it_listens_again() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let addr = house.gate.addr();
    for _ in 0..5 {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: JoinSet<_> = ["GET", "POST", "GET", "POST"]
            .map(|method| load(addr, method, Arc::clone(&stop), Arc::clone(&answered)))
            .into_iter()
            .collect();
        eventually("it goes on", async || answered.load(Ordering::Relaxed) > 40).await;
        house.origin.stop();
        let refused = client::get(addr, "/", None).await;
        assert_eq!((refused.status, &*refused.denial().reason), (502, "upstream_unreachable"));
        house.origin.start_again();
        for method in ["GET", "POST"] {
            let response = client::exchange(addr, client::request(method, "/", None, "")).await;
            assert_eq!(response.status, 200, "{method}: whatever was pooled before is not used");
        }
        stop.store(true, Ordering::Relaxed);
        for (status, reason) in clients.join_all().await.concat() {
            let is_true = matches!((status, &*reason), (502, "upstream_unreachable" | "upstream_protocol"));
            assert!(is_true, "{status} {reason}");
        }
    }
}
