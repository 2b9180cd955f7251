//! Another protocol that a request with content asks for, as `docker exec` does: the content comes first (RFC 9110 §7.8).

use super::{Sockets, field};
use crate::support::Client;

const ASKING: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
const GO: &str = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

async fn sockets() -> Sockets {
    Sockets::start(&["--allow-upgrade", "tcp", "--allow-upgrade", "SPDY/3.1"]).await
}

/// Bytes go both ways.
async fn assert_switched(client: &mut Client, origin: &mut Client, what: &str) {
    origin.send(format!("{GO}# ")).await;
    let response = client.response_head().await;
    assert_eq!((response.status, response.header("upgrade")), (101, Some("tcp")), "{what}");
    assert_eq!(client.bytes(2).await, b"# ", "{what}");
    client.send("ls\n").await;
    assert_eq!(origin.bytes(3).await, b"ls\n", "{what}");
}

#[tokio::test]
async fn a_request_with_content_may_ask_for_another_protocol() {
    let sockets = sockets().await;
    let large = "x".repeat(1 << 20);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (what, fields, content, received) in [
        ("a length", "Content-Length: 16\r\n", r#"{"Detach":false}"#, r#"{"Detach":false}"#),
        ("an empty length", "Content-Length: 0\r\n", "", ""),
        ("no content", "", "", ""),
        ("chunks", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("no chunk", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "0\r\n\r\n"),
        ("1 MiB", &format!("Content-Length: {}\r\n", large.len()), &large, &large),
        ("1 MiB in a chunk", "Transfer-Encoding: chunked\r\n", &chunked, &large),
    ] {
        let (mut client, mut origin, head) = sockets.ask_by("POST", &format!("{ASKING}{fields}")).await;
        assert_eq!((field(&head, "connection"), field(&head, "upgrade")), (Some("upgrade"), Some("tcp")), "{what}");
        client.send(content).await;
        if what == "1 MiB in a chunk" {
            // The gate makes chunks of its own.
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n0\r\n\r\n") {
                seen.extend_from_slice(&origin.some().await);
            }
            let content: usize = seen.split(|byte| *byte != b'x').map(<[u8]>::len).sum();
            assert_eq!(content, received.len(), "{what}");
        } else {
            assert_eq!(origin.bytes(received.len()).await, received.as_bytes(), "{what}");
        }
        assert_switched(&mut client, &mut origin, what).await;
    }
}

#[tokio::test]
async fn content_that_waits_for_100_comes_before_the_switch() {
    let sockets = sockets().await;
    let mut client = sockets.client().await;
    let fields = format!("{ASKING}Content-Length: 2\r\nExpect: 100-continue\r\n");
    client.send(crate::support::client::request("POST", "/chat?room=1", Some(&sockets.token), &fields)).await;
    assert_eq!(client.next_status().await, 100);
    client.send("{}").await;
    let mut origin = sockets.accept().await;
    assert_eq!(field(&origin.read_head().await, "upgrade"), Some("tcp"));
    assert_eq!(origin.bytes(2).await, b"{}");
    assert_switched(&mut client, &mut origin, "Expect").await;
}

#[tokio::test]
async fn an_origin_that_switches_in_the_middle_of_content_is_refused() {
    let sockets = sockets().await;
    for (what, fields, part) in [
        ("a length", "Content-Length: 100\r\n", "half"),
        ("nothing of it", "Content-Length: 100\r\n", ""),
        ("chunks", "Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"),
        ("before the last chunk", "Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n0\r\n"),
    ] {
        let (mut client, mut origin, _) = sockets.ask_by("POST", &format!("{ASKING}{fields}")).await;
        client.send(part).await;
        origin.send(GO).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{what}");
        assert!(client.is_closed().await, "{what}");
    }
}

#[tokio::test]
async fn an_answer_without_a_switch_is_an_answer() {
    let sockets = sockets().await;
    let (mut client, mut origin, _) = sockets.ask_by("POST", &format!("{ASKING}Content-Length: 2\r\n")).await;
    client.send("{}").await;
    assert_eq!(origin.bytes(2).await, b"{}");
    origin.send("HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\nnone").await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (409, "none"));
    // What follows is a request, and needs its own token.
    client.send(crate::support::client::request("GET", "/", None, "")).await;
    assert_eq!(client.response().await.status, 401);
}
