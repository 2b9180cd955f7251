//! A stream ends when the key that signed its token is withdrawn, whatever it is a stream of.

use h2::Reason;

use super::{EVENT, EVENTS};
use crate::grpc::{self, BEGUN, CHUNK, MESSAGE};
use crate::support::caller::End;
use crate::support::{Caller, Client, Exposition, Gate, House, Issuer, Key, Origin, Reply, client, eventually};
use crate::websocket::{self, HELLO, Sockets, extended_connect};

const WITHDRAWN: &[u8] = b"\x88\x0f\x03\xf0key withdrawn";
const COOLDOWN: [&str; 2] = ["--jwks-refresh-cooldown", "1s"];
/// So many that the last of them hardly ends before the first of as many others would.
const MANY: usize = 16;

fn events() -> Reply {
    Reply::raw([EVENTS, EVENT].concat()).hold().then("0\r\n\r\n")
}

async fn stream(gate: &Gate, token: &str) -> Client {
    let mut client = Client::connect(gate.addr()).await;
    client.send(client::request("GET", "/events", Some(token), "")).await;
    assert_eq!(client.response_head().await.status, 200);
    assert_eq!(client.bytes(EVENT.len()).await, EVENT.as_bytes());
    client
}

/// The issuer withdraws `key-0`, and a token of its next key has the gate know.
async fn withdraw(house: &House) {
    house.issuer.retire("key-0");
    house.issuer.rotate();
    assert_eq!(client::get(house.gate.addr(), "/other", Some(&house.issuer.token().sign())).await.status, 200);
}

async fn cut(gate: &Gate) -> Option<f64> {
    Exposition::scrape(gate.admin_addr()).await.find(r#"claimgate_responses_cut_total{cause="key_withdrawn"}"#)
}

#[tokio::test]
async fn streams_of_events_end_when_their_key_is_withdrawn_and_no_others() {
    let house = House::start(&[&COOLDOWN[..], &["--skip-auth-route", "/events/public"]].concat()).await;
    house.origin.reply_at("/events", events());
    house.origin.reply_at("/events/public", events());
    let kept = Key::new("ES256", "kept");
    house.issuer.add(&kept);
    let (old, other) = (house.issuer.token().sign(), house.issuer.token_by(&kept).sign());
    let (mut ending, mut lasting) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        ending.push(stream(&house.gate, &old).await);
        lasting.push(stream(&house.gate, &other).await);
    }
    withdraw(&house).await;
    for client in &mut ending {
        assert!(client.is_closed().await);
    }
    assert_eq!(house.verdict(&old).await, "unknown_key");
    house.origin.release();
    for client in &mut lasting {
        assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
    }
    eventually("each is counted", async || cut(&house.gate).await == Some(16.0)).await;
}

#[tokio::test]
async fn a_stream_over_http_2_is_reset_and_one_that_never_stands_still_ends_too() {
    let house = House::start(&COOLDOWN).await;
    house.origin.reply_at("/events", events());
    house.origin.reply_at("/endless", Reply::raw(EVENTS).then("7fffffff\r\n").then_pattern(u64::MAX / 2));
    let token = house.issuer.token().sign();
    let caller = Caller::connect(house.gate.addr()).await;
    let request = http::Request::get("http://gate.test/events").header("authorization", format!("Bearer {token}"));
    let mut answer = caller.begin(request.body(()).unwrap(), true).await.answer().await;
    let mut endless = Client::connect(house.gate.addr()).await;
    endless.send(client::request("GET", "/endless", Some(&token), "")).await;
    assert_eq!(endless.response_head().await.status, 200);
    withdraw(&house).await;
    while !endless.some().await.is_empty() {}
    assert_eq!(answer.end().await, (b"data: 1\n\n".to_vec(), End::Reset(Reason::CANCEL)));
}

#[tokio::test]
async fn a_call_ends_in_trailers_and_one_without_an_answer_is_refused() {
    let house = House::start(&COOLDOWN).await;
    house.origin.reply_next([Reply::early([BEGUN, CHUNK].concat()).then_never(), Reply::never()]);
    let token = house.issuer.token().sign();
    let caller = Caller::connect(house.gate.addr()).await;
    let mut begun = grpc::call(&caller, Some(&token), &[]).await.answer().await;
    assert_eq!(begun.bytes(MESSAGE.len()).await, MESSAGE);
    let mut waiting = grpc::call(&caller, Some(&token), &[]).await;
    eventually("the origin has both", async || house.origin.open() == 2).await;
    house.origin.reply_at("/other", Reply::new(200, &[], "well"));
    withdraw(&house).await;
    assert_eq!(begun.end().await, (Vec::new(), grpc::status(16, "key withdrawn")));
    let answer = waiting.answer().await;
    assert_eq!(answer.header("grpc-status"), Some("16"));
    let message = answer.header("grpc-message").unwrap();
    assert!(message.starts_with("unknown_key: "), "{message}");
}

/// A house whose origin the test plays, and an issuer that it is told of later.
async fn sockets(flags: &[&str]) -> Sockets {
    Sockets::start(&[&COOLDOWN[..], flags].concat()).await
}

/// A request that brings the gate to its issuer; what it asks for is not there.
async fn withdraw_unseen(sockets: &Sockets) {
    sockets.house.issuer.retire("key-0");
    sockets.house.issuer.rotate();
    let stray = sockets.house.issuer.token().header("kid", "stray").sign();
    assert_eq!(client::get(sockets.house.gate.addr(), "/", Some(&stray)).await.denial().reason, "unknown_key");
}

#[tokio::test]
async fn a_websocket_is_closed_to_both_ends() {
    let sockets = sockets(&[]).await;
    let (mut client, mut origin) = sockets.open().await;
    origin.send(HELLO).await;
    assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    withdraw_unseen(&sockets).await;
    assert_eq!(client.bytes(WITHDRAWN.len()).await, WITHDRAWN);
    let (first, payload) = websocket::unmask(&origin.bytes(WITHDRAWN.len() + 4).await);
    assert_eq!((first, &payload[..]), (WITHDRAWN[0], &WITHDRAWN[2..]));
    assert!(client.is_closed().await && origin.is_closed().await);
    eventually("it is counted", async || cut(&sockets.house.gate).await == Some(1.0)).await;
}

#[tokio::test]
async fn a_websocket_over_http_2_is_closed() {
    let sockets = sockets(&[]).await;
    let mut connection = extended_connect::connection(&sockets).await;
    let request = extended_connect::connect(Some(&sockets.token));
    let mut open = extended_connect::open(&sockets, &mut connection, request).await;
    withdraw_unseen(&sockets).await;
    assert_eq!(extended_connect::received(&mut open.receiving, WITHDRAWN.len()).await, WITHDRAWN);
}

#[tokio::test]
async fn what_else_a_connection_was_upgraded_to_just_closes() {
    let sockets = sockets(&["--allow-upgrade", "foo"]).await;
    let (mut client, mut origin, _) = sockets.ask("Connection: upgrade\r\nUpgrade: foo\r\n").await;
    origin.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 101);
    withdraw_unseen(&sockets).await;
    assert!(client.is_closed().await && origin.is_closed().await);
}

#[tokio::test]
async fn streams_outlive_their_keys_where_that_is_wanted() {
    let (house, other) =
        (House::start(&[&COOLDOWN[..], &["--stream-expiry", "ignore"]].concat()).await, House::start(&COOLDOWN).await);
    let (mut lasting, mut ending) = (Vec::new(), Vec::new());
    for house in [&house, &other] {
        house.origin.reply_at("/events", events());
    }
    for _ in 0..MANY {
        lasting.push(stream(&house.gate, &house.issuer.token().sign()).await);
        ending.push(stream(&other.gate, &other.issuer.token().sign()).await);
    }
    withdraw(&house).await;
    withdraw(&other).await;
    for client in &mut ending {
        assert!(client.is_closed().await);
    }
    house.origin.release();
    for client in &mut lasting {
        assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
    }
}

#[tokio::test]
async fn keys_that_are_only_too_old_end_no_stream_and_the_next_ones_may() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let flags = ["--jwks-max-stale", "2s", "--jwks-timeout", "1s"];
    let house = House { gate: Gate::start(&issuer, &origin, &flags), issuer, origin };
    house.gate.is_ready().await;
    house.origin.reply_at("/events", events());
    let token = house.issuer.token().sign();
    let mut client = stream(&house.gate, &token).await;
    house.issuer.go_down();
    eventually("the keys are withdrawn", async || house.verdict(&token).await == "keys_unavailable").await;
    house.issuer.retire("key-0");
    house.issuer.rotate();
    assert_eq!(cut(&house.gate).await, Some(0.0));
    house.issuer.recover();
    assert!(client.is_closed().await);
    eventually("it is counted", async || cut(&house.gate).await == Some(1.0)).await;
}
