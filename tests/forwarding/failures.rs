//! The origin fails, or the client goes away.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, House, Reply, client, eventually, reserve};

async fn refusal(house: &House) -> (u16, String) {
    let response = house.get("/", &house.issuer.token().sign()).await;
    (response.status, response.denial().reason)
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_a_502() {
    let (_reserved, addr) = reserve();
    let house = House::start(&["--upstream", &format!("http://{addr}")]).await;
    assert_eq!(refusal(&house).await, (502, "upstream_unreachable".to_owned()));
}

#[tokio::test]
async fn an_origin_that_does_not_accept_is_given_up_after_the_connect_limit() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    // A backlog of 0 holds one; what comes after it gets no answer to its SYN.
    let _full = TcpStream::connect(addr).unwrap();
    let flags = ["--upstream", &format!("http://{addr}"), "--upstream-connect-timeout", "500ms"];
    let house = House::start(&flags).await;
    let (status, reason) = refusal(&house).await;
    assert!(matches!((status, &*reason), (502, "upstream_unreachable") | (504, "upstream_timeout")), "{reason}");
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_given_up_after_its_limit() {
    let house = House::start(&["--upstream-timeout", "1s"]).await;
    house.origin.reply(Reply::never());
    assert_eq!(refusal(&house).await, (504, "upstream_timeout".to_owned()));
    eventually("the request is cancelled", async || house.origin.abandoned() == 1).await;
}

#[tokio::test]
async fn the_origins_time_begins_with_the_last_byte_of_the_request() {
    let house = House::start(&["--upstream-timeout", "1s"]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", Some(&token), "Content-Length: 2\r\n")).await;
    // Longer than the limit, byte by byte.
    let start = tokio::time::Instant::now();
    client.send("a").await;
    eventually("more than the limit has passed", async || start.elapsed().as_millis() > 1500).await;
    client.send("b").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn an_origin_that_hangs_up_is_a_502() {
    for reply in [Reply::raw("").close(), Reply::reset()] {
        let house = House::start(&[]).await;
        house.origin.reply(reply);
        assert_eq!(refusal(&house).await, (502, "upstream_unreachable".to_owned()));
    }
}

#[tokio::test]
async fn an_invalid_response_is_a_502_and_its_connection_is_not_used_again() {
    let house = House::start(&[]).await;
    let replies = [
        "rubbish\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
    ];
    for (count, reply) in replies.into_iter().enumerate() {
        house.origin.reply(Reply::raw(reply));
        assert_eq!(refusal(&house).await, (502, "upstream_protocol".to_owned()), "{reply:?}");
        eventually("its connection is closed", async || house.origin.open() == 0).await;
        assert_eq!(house.origin.opened(), count + 1);
    }
}

#[tokio::test]
async fn a_head_of_a_response_that_does_not_end_is_a_502() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::raw(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000))).then_never());
    assert_eq!(refusal(&house).await, (502, "upstream_protocol".to_owned()));
    house.origin.reply(Reply::raw("HTTP/1.1 200 OK\r\nX: half").close());
    assert_eq!(refusal(&house).await, (502, "upstream_protocol".to_owned()));
}

#[tokio::test]
async fn a_response_that_ends_early_ends_early_for_the_client_too() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for (head, is_complete) in [("Content-Length: 10\r\n", false), ("Transfer-Encoding: chunked\r\n", false)] {
        let half = if head.starts_with('C') { "half" } else { "4\r\nhalf\r\n" };
        house.origin.reply(Reply::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n{half}")).close());
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("GET", "/", Some(&token), "")).await;
        assert_eq!(client.response_head().await.status, 200);
        let rest = client.rest().await;
        assert_eq!(rest.ends_with(b"0\r\n\r\n"), is_complete, "{head}: {rest:?}");
        assert!(rest.len() < 10, "{head}: {rest:?}");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_the_origin_has_closed_costs_no_request() {
    let house = House::start(&["--workers", "1"]).await;
    let token = house.issuer.token().sign();
    house.origin.reply(Reply::ok("ok").close());
    for number in 1..=20 {
        assert_eq!(house.get("/", &token).await.status, 200);
        assert_eq!(house.origin.opened(), number);
    }
}

#[tokio::test]
async fn a_new_connection_that_ends_without_an_answer_is_tried_once_more() {
    for (hang_ups, status, opened) in [(1, 200, 2), (9, 502, 2)] {
        let (addr, connections) = hanging_up(hang_ups).await;
        let house = House::start(&["--upstream", &format!("http://{addr}")]).await;
        assert_eq!(house.get("/", &house.issuer.token().sign()).await.status, status);
        assert_eq!(connections.load(Ordering::Relaxed), opened);
    }
}

/// An origin that closes its first connections once a request is there; and how many there were.
async fn hanging_up(times: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (addr, connections) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = &mut [0; 4096];
            assert!(stream.read(request).await.unwrap() > 0);
            if count.fetch_add(1, Ordering::Relaxed) >= times {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    });
    (addr, connections)
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_upon_is_not_sent_twice() {
    let house = House::start(&["--workers", "1"]).await;
    let token = house.issuer.token().sign();
    assert_eq!(house.get("/", &token).await.status, 200);
    house.origin.reply(Reply::raw("").close());
    let response = client::exchange(house.gate.addr(), client::request("POST", "/", Some(&token), "")).await;
    assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
    assert_eq!(house.origin.begun(), 2);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_request_to_the_origin() {
    let token_and =
        |house: &House, fields: &str| client::request("GET", "/", Some(&house.issuer.token().sign()), fields);
    for departure in ["closes", "resets", "half-closes"] {
        let house = House::start(&[]).await;
        house.origin.reply(Reply::never());
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(token_and(&house, "")).await;
        house.origin.has_begun(1).await;
        match departure {
            "closes" => drop(client),
            "resets" => client.reset(),
            _ => {
                client.half_close().await;
                eventually("it is cancelled", async || house.origin.abandoned() == 1).await;
            }
        }
        eventually(&format!("it is cancelled when the client {departure}"), async || house.origin.abandoned() == 1)
            .await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_body_cancels_the_request_to_the_origin() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", Some(&token), "Content-Length: 10\r\n") + "half").await;
    house.origin.has_begun(1).await;
    drop(client);
    eventually("it is cancelled", async || house.origin.abandoned() == 1).await;
    assert!(!house.origin.only().is_complete, "half a body is not taken for a whole one");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_answer_cancels_the_rest_of_it() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::pattern(1 << 30));
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    assert_eq!(client.response_head().await.status, 200);
    drop(client);
    eventually("it is cancelled", async || house.origin.abandoned() == 1).await;
}
