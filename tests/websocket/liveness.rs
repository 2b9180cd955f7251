//! An end that dies while the other one takes nothing, so that nothing is read from it.

use bytes::Bytes;
use h2::Reason;
use tokio::time::Instant;

use super::extended_connect::{Open, connect, connection, open};
use super::{HANDSHAKE, Sockets, switching};
use crate::support::entrance::{Departure, Entrance, Way, fill};
use crate::support::{Exposition, client, eventually};

/// A masked binary message.
fn message() -> Vec<u8> {
    [&b"\x82\xfe\xff\xff\0\0\0\0"[..], &vec![0; 0xffff]].concat()
}

async fn has_free_place(sockets: &Sockets, what: &str) {
    let free = async || {
        let metrics = Exposition::scrape(sockets.house.gate.admin_addr()).await;
        metrics.find(r#"claimgate_upstream_connections{state="active"}"#) == Some(0.0)
    };
    eventually(what, free).await;
}

#[tokio::test]
async fn a_client_that_dies_while_the_origin_takes_nothing_ends_the_tunnel() {
    for way in [Way::Tcp, Way::Tls, Way::Unix] {
        let entrance = Entrance::new(way);
        let flags = entrance.flags();
        let sockets = Sockets::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut client = entrance.client(&sockets.house.gate, Departure::Resets).await;
        client.send(client::request("GET", "/chat", Some(&sockets.token), HANDSHAKE)).await;
        let mut origin = sockets.accept().await;
        origin.read_head().await;
        origin.send(switching("")).await;
        assert_eq!(client.response_head().await.status, 101);
        // What it has not read is why a unix socket tells its end from an orderly one.
        origin.send(b"\x81\x05Hello").await;
        fill(&mut client, &message()).await;
        drop(client);
        has_free_place(&sockets, &format!("{way:?}")).await;
        // Though it has read nothing of what came before, and that does not fit.
        eventually("the origin is told at once", async || origin.is_reset()).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_while_the_origin_takes_nothing_ends_the_tunnel() {
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    let Open { mut sending, receiving: _receiving, origin: _origin, .. } =
        open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    let mut last = Instant::now();
    eventually("the client is held back", async || {
        sending.reserve_capacity(64 * 1024);
        let room = sending.capacity().min(64 * 1024);
        if room > 0 {
            sending.send_data(Bytes::from(vec![0; room]), false).unwrap();
            last = Instant::now();
        }
        last.elapsed().as_millis() > 500
    })
    .await;
    sending.send_reset(Reason::CANCEL);
    has_free_place(&sockets, "the stream was reset").await;
}

#[tokio::test]
async fn an_origin_that_dies_while_the_client_takes_nothing_ends_the_tunnel() {
    for way in [Way::Tcp, Way::Tls, Way::Unix] {
        let entrance = Entrance::new(way);
        let flags = entrance.flags();
        let sockets = Sockets::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut client = entrance.client(&sockets.house.gate, Departure::Closes).await;
        client.send(client::request("GET", "/chat", Some(&sockets.token), HANDSHAKE)).await;
        let mut origin = sockets.accept().await;
        origin.read_head().await;
        origin.send(switching("")).await;
        fill(&mut origin, &vec![0; 64 * 1024]).await;
        origin.reset();
        has_free_place(&sockets, &format!("{way:?}")).await;
    }
}

#[tokio::test]
async fn an_origin_that_dies_while_a_stream_takes_nothing_ends_the_tunnel() {
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    let Open { sending: _sending, receiving: _receiving, mut origin, .. } =
        open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    fill(&mut origin, &vec![0; 64 * 1024]).await;
    origin.reset();
    has_free_place(&sockets, "the origin was reset").await;
}

#[tokio::test]
async fn a_client_that_has_said_its_last_word_and_dies_ends_the_tunnel() {
    let sockets = Sockets::start(&[]).await;
    let (mut client, mut origin) = sockets.open().await;
    client.half_close().await;
    assert!(origin.is_closed().await, "its last word has arrived");
    client.reset();
    has_free_place(&sockets, "nothing is read from it any more").await;
}

#[tokio::test]
async fn what_was_said_before_an_orderly_end_arrives_however_late_it_is_taken() {
    let entrance = Entrance::new(Way::Unix);
    let flags = entrance.flags();
    let sockets = Sockets::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut client = entrance.client(&sockets.house.gate, Departure::Closes).await;
    client.send(client::request("GET", "/chat", Some(&sockets.token), HANDSHAKE)).await;
    let mut origin = sockets.accept().await;
    origin.read_head().await;
    origin.send(switching("")).await;
    assert_eq!(client.response_head().await.status, 101);
    let (message, mut count) = (message(), 0);
    while tokio::time::timeout(std::time::Duration::from_millis(300), client.send(&message)).await.is_ok() {
        count += 1;
    }
    drop(client);
    // A look at the client's end, and more, goes by.
    has_closed_client(&sockets).await;
    assert!(origin.rest().await.len() >= count * message.len());
}

/// The gate has heard of it, as it answers others.
async fn has_closed_client(sockets: &Sockets) {
    for _ in 0..3 {
        let metrics = Exposition::scrape(sockets.house.gate.admin_addr()).await;
        assert_eq!(metrics.find(r#"claimgate_upstream_connections{state="active"}"#), Some(1.0));
    }
}
