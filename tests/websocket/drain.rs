//! A WebSocket and the end of the process.

use super::{HANDSHAKE, HELLO, switching, unmask};
use crate::support::{Binary, Client, Issuer, client, eventually};

pub(super) const GOING_AWAY: &[u8] = b"\x88\x0f\x03\xe9shutting down";

#[tokio::test]
async fn it_lives_until_the_grace_period_ends_and_then_is_closed_as_going_away() {
    let issuer = Issuer::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let flags = ["--issuer", &issuer.url(), "--upstream", &upstream, "--shutdown-grace-period", "2s"];
    let binary = Binary::start(&flags);
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    let addr = binary.addr().await;
    let token = issuer.token().sign();
    let mut pairs = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(addr).await;
        client.send(client::request("GET", "/", Some(&token), HANDSHAKE)).await;
        let mut origin = Client::over(listener.accept().await.unwrap().0);
        origin.read_head().await;
        origin.send(switching("")).await;
        assert_eq!(client.response_head().await.header("connection"), Some("upgrade"));
        pairs.push((client, origin));
    }
    binary.signal("TERM");
    eventually("it drains", async || client::get_local(admin, "/readyz").await.status == 503).await;
    eventually("nothing new is taken", async || Client::try_connect(addr).await.is_none()).await;
    for (client, origin) in &mut pairs {
        origin.send(HELLO).await;
        assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    }
    // In the midst of a frame there is no place for another.
    pairs[1].1.send(&HELLO[..3]).await;
    assert_eq!(pairs[1].0.bytes(3).await, &HELLO[..3]);
    assert_eq!(pairs[0].0.rest().await, GOING_AWAY);
    assert_eq!(pairs[1].0.rest().await, b"");
    for (_, origin) in &mut pairs {
        let (first, payload) = unmask(&origin.rest().await);
        assert_eq!((first, &payload[..]), (GOING_AWAY[0], &GOING_AWAY[2..]));
    }
    assert_eq!(binary.wait().await.code, Some(143));
}
