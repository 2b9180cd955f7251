//! Between the handshake and the end.

use std::time::Instant;

use super::{HELLO, MASKED_HELLO, Sockets, switching};
use crate::support::{Binary, Client, Exposition, Issuer, client, eventually};

/// A masked binary message of so many bytes.
fn message(number: usize, length: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u16::try_from(length) {
        Ok(length @ 0..126) => frame.push(0x80 | u8::try_from(length).unwrap()),
        Ok(length) => frame.extend([&[0xfe], &length.to_be_bytes()[..]].concat()),
        Err(_) => frame.extend([&[0xff], &(length as u64).to_be_bytes()[..]].concat()),
    }
    frame.extend([1, 2, 3, 4]);
    frame.extend((0..length).map(|at| u8::try_from((at * 7 + number) % 251).unwrap()));
    frame
}

#[tokio::test]
async fn ten_thousand_messages_come_back_unchanged() {
    const COUNT: usize = 10_000;
    let sockets = Sockets::start(&[]).await;
    let (mut client, mut origin) = sockets.open().await;
    // Of all the sizes that a header tells differently, now and then in two frames with a ping in between.
    let sizes = [0, 1, 125, 126, 1000, 3, 17, 250];
    let mut messages: Vec<_> = (0..COUNT).map(|number| message(number, sizes[number % sizes.len()])).collect();
    messages[5000] = message(5000, 70_000);
    messages[6000] = b"\x02\x83\x01\x02\x03\x04abc\x89\x80\x01\x02\x03\x04\x80\x80\x04\x03\x02\x01".to_vec();
    let all = messages.concat();
    let echo = tokio::spawn(async move {
        loop {
            let bytes = origin.some().await;
            if bytes.is_empty() {
                return;
            }
            origin.send(bytes).await;
        }
    });
    for piece in all.chunks(5_003) {
        client.send(piece).await;
        assert!(client.bytes(piece.len()).await == piece);
    }
    drop(client);
    echo.await.unwrap();
}

#[tokio::test]
async fn whichever_end_goes_away_the_other_is_told() {
    let sockets = Sockets::start(&[]).await;
    let (client, mut origin) = sockets.open().await;
    drop(client);
    assert!(origin.is_closed().await);
    drop(origin);
    let (mut client, origin) = sockets.open().await;
    drop(origin);
    assert!(client.is_closed_in_order().await);
    drop(client);
    let (client, mut origin) = sockets.open().await;
    client.reset();
    assert!(origin.is_closed().await);
    drop(origin);
    let (mut client, mut origin) = sockets.open().await;
    // What it said before is not lost.
    origin.send(HELLO).await;
    origin.half_close().await;
    assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    client.send(MASKED_HELLO).await;
    assert_eq!(origin.bytes(MASKED_HELLO.len()).await, MASKED_HELLO);
    drop(client);
    assert!(origin.is_closed().await);
    drop(origin);
    let idle = async || {
        let metrics = Exposition::scrape(sockets.house.gate.admin_addr()).await;
        metrics.find(r#"claimgate_upstream_connections{state="active"}"#) == Some(0.0)
            && metrics.find("claimgate_client_connections") == Some(0.0)
    };
    eventually("nothing is left of them", idle).await;
}

#[tokio::test]
async fn a_reader_that_stands_still_makes_the_other_end_wait() {
    let sockets = Sockets::start(&[]).await;
    let (mut client, mut origin) = sockets.open().await;
    let piece = vec![0; 64 * 1024];
    for _ in 0..2 {
        let (mut sent, mut last) = (0, Instant::now());
        eventually("it is held back", async || {
            while let Some(count) = origin.send_at_once(&piece) {
                (sent, last) = (sent + count, Instant::now());
            }
            last.elapsed().as_millis() > 300
        })
        .await;
        assert!(sent < 64 << 20, "{sent} bytes were taken");
        assert!(client.bytes(sent).await.iter().all(|byte| *byte == 0));
        std::mem::swap(&mut client, &mut origin);
    }
}

#[tokio::test]
async fn it_ends_when_nothing_goes_either_way() {
    let sockets = Sockets::start(&["--stream-idle-timeout", "300ms"]).await;
    let (mut client, mut origin) = sockets.open().await;
    assert_eq!(client.rest().await, b"\x88\x06\x03\xe9idle");
    assert_eq!(origin.rest().await.len(), 12);
}

#[tokio::test]
async fn it_is_a_connection_in_use_for_as_long_as_it_lasts() {
    let sockets = Sockets::start(&["--max-upstream-connections", "1", "--max-waiting-requests", "0"]).await;
    let (client, origin) = sockets.open().await;
    let request = client::request("GET", "/", Some(&sockets.token), "");
    let response = client::exchange(sockets.house.gate.addr(), &request).await;
    assert_eq!((response.status, response.denial().reason.as_str()), (503, "overloaded"));
    drop(client);
    let active = async || {
        let metrics = Exposition::scrape(sockets.house.gate.admin_addr()).await;
        metrics.find(r#"claimgate_upstream_connections{state="active"}"#)
    };
    assert_eq!(active().await, Some(1.0));
    drop(origin);
    eventually("its place is free", async || active().await == Some(0.0)).await;
}

#[tokio::test]
async fn it_is_logged_at_its_end_with_what_went_either_way() {
    let issuer = Issuer::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &upstream, "--access-log", "all"]);
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    let mut client = Client::connect(binary.addr().await).await;
    client.send(client::request("GET", "/chat", Some(&issuer.token().sign()), super::HANDSHAKE)).await;
    let mut origin = Client::over(listener.accept().await.unwrap().0);
    origin.read_head().await;
    origin.send([switching("").as_bytes(), HELLO].concat()).await;
    client.response_head().await;
    client.send(MASKED_HELLO).await;
    origin.bytes(MASKED_HELLO.len()).await;
    origin.send(HELLO).await;
    client.bytes(2 * HELLO.len()).await;
    assert!(!binary.log().iter().any(|line| line["path"] == "/chat"), "it is not over yet");
    drop(client);
    drop(origin);
    let line = |line: &serde_json::Value| line["path"] == "/chat";
    eventually("it is logged", async || binary.log().iter().any(line)).await;
    let logged = binary.log().into_iter().find(line).unwrap();
    assert_eq!((&logged["status"], &logged["outcome"]), (&101.into(), &"forwarded".into()), "{logged}");
    let bytes = (logged["bytes_in"].as_u64(), logged["bytes_out"].as_u64());
    assert_eq!(bytes, (Some(MASKED_HELLO.len() as u64), Some(2 * HELLO.len() as u64)), "{logged}");
}
