//! Tokens among the sub-protocols, for browsers.

use super::{HANDSHAKE, Sockets, field, switching};
use crate::support::key::base64url;
use crate::support::{Client, House, Response, client};

const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// Sends a handshake that offers this and has no other token; what the origin gets.
async fn offer(sockets: &Sockets, offered: &str) -> (Client, Client, String) {
    let mut client = sockets.client().await;
    let fields = format!("{HANDSHAKE}Sec-WebSocket-Protocol: {offered}\r\n");
    client.send(client::request("GET", "/", None, &fields)).await;
    let mut origin = sockets.accept().await;
    let head = origin.read_head().await;
    (client, origin, head)
}

async fn answered(client: &mut Client, origin: &mut Client, fields: &str) -> Response {
    origin.send(switching(fields)).await;
    client.response_head().await
}

#[tokio::test]
async fn a_token_behind_a_prefix_is_taken_out() {
    let sockets = Sockets::start(&["--token-websocket-protocol", PREFIX]).await;
    for token in [base64url(&sockets.token), sockets.token.clone()] {
        let (mut client, mut origin, head) = offer(&sockets, &format!("v4.channel, {PREFIX}{token}, v5.channel")).await;
        assert_eq!(field(&head, "sec-websocket-protocol"), Some("v4.channel, v5.channel"));
        assert!(field(&head, "x-jwt-claims").is_some() && !head.contains(&token), "{head}");
        let response = answered(&mut client, &mut origin, "Sec-WebSocket-Protocol: v4.channel\r\n").await;
        assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("v4.channel")));
    }
    let (mut client, mut origin, head) = offer(&sockets, &format!("{PREFIX}{}", sockets.token)).await;
    assert_eq!(field(&head, "sec-websocket-protocol"), None);
    let response = answered(&mut client, &mut origin, "").await;
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, None));
}

#[tokio::test]
async fn a_token_behind_a_name_is_taken_out_with_it() {
    let sockets = Sockets::start(&["--token-websocket-protocol", "access_token"]).await;
    let (mut client, mut origin, head) = offer(&sockets, &format!("access_token, {}, chat", sockets.token)).await;
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("chat"));
    let response = answered(&mut client, &mut origin, "Sec-WebSocket-Protocol: chat\r\n").await;
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("chat")));
    // A browser that offered something takes no connection where nothing was chosen.
    let (mut client, mut origin, head) = offer(&sockets, &format!("access_token, {}", sockets.token)).await;
    assert_eq!(field(&head, "sec-websocket-protocol"), None);
    let response = answered(&mut client, &mut origin, "").await;
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("access_token")));
}

#[tokio::test]
async fn a_token_is_taken_out_of_a_handshake_that_is_not_passed_on() {
    let house = House::start(&["--token-websocket-protocol", "access_token"]).await;
    let token = house.issuer.token().sign();
    // The origin says which version it knows; a token is nothing to it.
    let fields = format!("{}Sec-WebSocket-Protocol: access_token, {token}, chat\r\n", HANDSHAKE.replace("13", "8"));
    let response = client::exchange(house.gate.addr(), client::request("GET", "/", None, &fields)).await;
    let received = house.origin.last();
    assert_eq!((response.status, received.header("upgrade")), (200, None));
    assert_eq!(received.header("sec-websocket-protocol"), Some("chat"));
    assert!(received.header("x-jwt-claims").is_some() && !received.head.contains(&token), "{}", received.head);
}

#[tokio::test]
async fn the_origin_cannot_choose_the_token_nor_what_was_not_offered() {
    let sockets = Sockets::start(&["--token-websocket-protocol", "access_token"]).await;
    for chosen in [&*sockets.token, "other", "access_token", "chat, chat", ""] {
        let (mut client, mut origin, _) = offer(&sockets, &format!("access_token, {}, chat", sockets.token)).await;
        origin.send(switching(&format!("Sec-WebSocket-Protocol: {chosen}\r\n"))).await;
        let response = client.response().await;
        assert_eq!((response.status, response.denial().reason.as_str()), (502, "upstream_protocol"), "{chosen}");
    }
}

#[tokio::test]
async fn a_header_serves_as_well_but_not_beside_it() {
    let sockets = Sockets::start(&["--token-websocket-protocol", "access_token"]).await;
    let (mut client, mut origin, head) = sockets.ask(&format!("{HANDSHAKE}Sec-WebSocket-Protocol: chat,v2\r\n")).await;
    assert_eq!(
        field(&head, "sec-websocket-protocol"),
        Some("chat,v2"),
        "nothing is taken out, so it is left as it was"
    );
    assert_eq!(answered(&mut client, &mut origin, "").await.header("sec-websocket-protocol"), None);
    let token = &sockets.token;
    let fields = format!("{HANDSHAKE}Sec-WebSocket-Protocol: access_token, {token}\r\n");
    for (authorization, fields, reason) in [
        (Some(&**token), fields.clone(), "multiple_tokens"),
        (None, format!("{fields}Sec-WebSocket-Protocol: access_token, {token}\r\n"), "multiple_tokens"),
        (None, format!("{HANDSHAKE}Sec-WebSocket-Protocol: access_token\r\n"), "malformed_credentials"),
        (None, format!("{HANDSHAKE}Sec-WebSocket-Protocol: access_token, a.b.c\r\n"), "malformed_token"),
        (None, format!("{HANDSHAKE}Sec-WebSocket-Protocol: chat\r\n"), "token_missing"),
        // No handshake of a WebSocket.
        (None, fields.replace("Upgrade: websocket", "Upgrade: foo"), "token_missing"),
        (None, fields.replace("keep-alive, Upgrade", "keep-alive"), "token_missing"),
    ] {
        let request = client::request("GET", "/", authorization, &fields);
        let response = client::exchange(sockets.house.gate.addr(), request).await;
        assert_eq!(response.denial().reason, reason, "{fields}");
    }
    assert!(sockets.is_left_alone().await);
}

#[tokio::test]
async fn a_public_route_hands_no_token_on_either() {
    let sockets = Sockets::start(&["--token-websocket-protocol", "access_token", "--skip-auth-route", "/"]).await;
    let (_client, _origin, head) = offer(&sockets, "access_token, a.b.c, chat").await;
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("chat"));
}

#[tokio::test]
async fn without_the_flag_a_token_there_is_none() {
    let sockets = Sockets::start(&[]).await;
    let fields = format!("{HANDSHAKE}Sec-WebSocket-Protocol: access_token, {}\r\n", sockets.token);
    let request = client::request("GET", "/", None, &fields);
    let response = client::exchange(sockets.house.gate.addr(), request).await;
    assert_eq!(response.denial().reason, "token_missing");
    // Nor is it anybody's to take out.
    let (mut client, mut origin, head) =
        sockets.ask(&format!("{HANDSHAKE}Sec-WebSocket-Protocol: access_token, x\r\n")).await;
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("access_token, x"));
    let response = answered(&mut client, &mut origin, "Sec-WebSocket-Protocol: x\r\n").await;
    assert_eq!(response.header("sec-websocket-protocol"), Some("x"));
}
