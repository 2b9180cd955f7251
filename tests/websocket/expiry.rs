//! A WebSocket ends when its token does.

use claimgate::clock::{Clock, NumericDate};
use tokio::net::TcpListener;

use super::{HANDSHAKE, HELLO, Sockets, switching, unmask};
use crate::support::{Exposition, Gate, House, Issuer, Origin, eventually};

pub(super) const EXPIRED: &[u8] = b"\x88\x0f\x03\xf0token expired";

/// In the last half of a second in which the token is accepted, the leeway included.
pub(super) async fn last_moment(flags: &[&str]) -> Sockets {
    let (issuer, nobody) = (Issuer::start(), Origin::start());
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", origin.local_addr().unwrap());
    let exp = Clock::system().now().as_seconds().floor() + 300.0;
    let clock = Clock::manual(NumericDate::from_seconds(exp + 29.5).unwrap());
    let gate = Gate::start_at(clock, &issuer, &nobody, &[&["--upstream", &*url], flags].concat());
    gate.is_ready().await;
    let token = issuer.token().claim("exp", exp).sign();
    Sockets { house: House { issuer, origin: nobody, gate }, token, origin }
}

#[tokio::test]
async fn each_end_gets_a_close_frame_of_its_own_kind() {
    let sockets = last_moment(&[]).await;
    let (mut client, mut origin) = sockets.open().await;
    origin.send(HELLO).await;
    assert_eq!(client.bytes(HELLO.len() + EXPIRED.len()).await, [HELLO, EXPIRED].concat());
    let (first, payload) = unmask(&origin.bytes(EXPIRED.len() + 4).await);
    assert_eq!((first, &payload[..]), (EXPIRED[0], &EXPIRED[2..]));
    // Their answers end it, and go no further.
    client.send(b"\x88\x82\0\0\0\0\x03\xf0").await;
    origin.send(b"\x88\x02\x03\xf0").await;
    assert!(client.is_closed_in_order().await && origin.is_closed_in_order().await);
    let cut = async || {
        let metrics = Exposition::scrape(sockets.house.gate.admin_addr()).await;
        metrics.find(r#"claimgate_responses_cut_total{cause="token_expired"}"#)
    };
    eventually("it is counted", async || cut().await == Some(1.0)).await;
}

#[tokio::test]
async fn ends_that_do_not_answer_are_closed_and_an_unfinished_frame_is_not_broken_into() {
    let sockets = last_moment(&[]).await;
    let (mut client, mut origin) = sockets.open().await;
    origin.send(&HELLO[..4]).await;
    assert_eq!(client.bytes(4).await, &HELLO[..4]);
    origin.bytes(EXPIRED.len() + 4).await;
    origin.send(&HELLO[4..]).await;
    assert_eq!(client.rest().await, [&HELLO[4..], EXPIRED].concat());
    assert!(origin.is_closed().await);
}

#[tokio::test]
async fn what_is_no_websocket_is_closed() {
    let sockets = last_moment(&["--allow-upgrade", "foo"]).await;
    let (mut client, mut origin, _) = sockets.ask("Connection: upgrade\r\nUpgrade: foo\r\n").await;
    origin.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 101);
    assert!(client.is_closed().await && origin.is_closed().await);
}

#[tokio::test]
async fn it_goes_on_where_that_is_wanted_or_nobody_asked_for_a_token() {
    // Each has ended by the time that as many others have.
    const MANY: usize = 16;
    let ignoring = last_moment(&["--stream-expiry", "ignore"]).await;
    let public = last_moment(&["--skip-auth-route", "/chat"]).await;
    let closing = last_moment(&[]).await;
    let mut lasting = Vec::new();
    for _ in 0..MANY {
        lasting.push(ignoring.open().await);
        lasting.push(public.open().await);
    }
    let mut ending = Vec::new();
    for _ in 0..MANY {
        ending.push(closing.open().await);
    }
    for (client, _) in &mut ending {
        assert_eq!(client.rest().await, EXPIRED);
    }
    for (client, origin) in &mut lasting {
        origin.send(HELLO).await;
        assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    }
}

#[tokio::test]
async fn a_token_among_the_sub_protocols_ends_it_too() {
    let sockets = last_moment(&["--token-websocket-protocol", "access_token"]).await;
    let mut client = sockets.client().await;
    let fields = format!("{HANDSHAKE}Sec-WebSocket-Protocol: access_token, {}\r\n", sockets.token);
    client.send(crate::support::client::request("GET", "/", None, &fields)).await;
    let mut origin = sockets.accept().await;
    origin.read_head().await;
    origin.send(switching("")).await;
    assert_eq!(client.response_head().await.status, 101);
    assert_eq!(client.rest().await, EXPIRED);
}
