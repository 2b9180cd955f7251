//! What of an upgrade passes, and what answer to it.

use super::{ACCEPT, HANDSHAKE, HELLO, KEY, MASKED_HELLO, Sockets, assert_plain, field, switching};
use crate::support::{Client, House, Reply, client};

#[tokio::test]
async fn a_handshake_passes_and_then_every_byte() {
    let sockets = Sockets::start(&[]).await;
    let more = "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                Origin: https://app.example.com\r\nTE: trailers\r\n";
    let (mut client, mut origin, head) = sockets.ask(&[HANDSHAKE, more].concat()).await;
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("connection", Some("upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-key", Some(KEY)),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", Some("chat, superchat")),
        ("sec-websocket-extensions", Some("permessage-deflate")),
        ("origin", Some("https://app.example.com")),
        ("te", None),
    ] {
        assert_eq!(field(&head, name), value, "{head}");
    }
    assert!(field(&head, "x-jwt-claims").is_some(), "{head}");
    let chosen =
        "Sec-WebSocket-Protocol: superchat\r\nSec-WebSocket-Extensions: x\r\nSet-Cookie: a=b\r\nKeep-Alive: 1\r\n";
    // The first frame comes with the head, in one piece.
    origin.send([switching(chosen).as_bytes(), HELLO].concat()).await;
    let response = client.response_head().await;
    assert_eq!(response.status, 101);
    for (name, value) in [
        ("connection", Some("upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-accept", Some(ACCEPT)),
        ("sec-websocket-protocol", Some("superchat")),
        ("sec-websocket-extensions", Some("x")),
        ("set-cookie", Some("a=b")),
        ("keep-alive", None),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(response.header(name), value, "{}", response.head);
    }
    assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    client.send(MASKED_HELLO).await;
    assert_eq!(origin.bytes(MASKED_HELLO.len()).await, MASKED_HELLO);
    client.half_close().await;
    assert!(origin.is_closed().await);
    origin.send(HELLO).await;
    assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    drop(origin);
    assert!(client.is_closed_in_order().await);
}

#[tokio::test]
async fn frames_that_come_with_the_request_are_the_first_of_the_tunnel() {
    let sockets = Sockets::start(&[]).await;
    // In between what would be read as a request, if it were one.
    let frames = [MASKED_HELLO, b"\x82\xa4\0\0\0\0GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n\x89\x80\0\0\0\0"].concat();
    let mut client = sockets.client().await;
    let request = client::request("GET", "/", Some(&sockets.token), HANDSHAKE);
    client.send([request.as_bytes(), &frames[..20]].concat()).await;
    let mut origin = sockets.accept().await;
    origin.read_head().await;
    client.send(&frames[20..]).await;
    origin.send(switching("")).await;
    assert_eq!(client.response_head().await.status, 101);
    assert_eq!(origin.bytes(frames.len()).await, frames);
    drop(client);
    assert!(origin.is_closed().await);
    assert!(sockets.is_left_alone().await);
}

#[tokio::test]
async fn without_a_good_token_nothing_reaches_the_origin() {
    let sockets = Sockets::start(&[]).await;
    let expired = sockets.house.issuer.token().expired().sign();
    for (token, reason) in [(None, "token_missing"), (Some(&*expired), "expired"), (Some("a.b.c"), "malformed_token")] {
        let mut client = sockets.client().await;
        client.send([client::request("GET", "/", token, HANDSHAKE).as_bytes(), MASKED_HELLO].concat()).await;
        let response = client.response().await;
        assert_eq!((response.status, response.denial().reason.as_str()), (401, reason));
        assert!(response.header("www-authenticate").is_some());
    }
    assert!(sockets.is_left_alone().await);
}

#[tokio::test]
async fn any_other_answer_is_an_ordinary_one() {
    let sockets = Sockets::start(&[]).await;
    let (mut client, mut origin, _) = sockets.ask(HANDSHAKE).await;
    origin.send("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\nContent-Length: 2\r\n\r\nno").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (426, "no"));
    assert_eq!(response.header("sec-websocket-version"), Some("8"));
    // Both connections go on with HTTP.
    client.send(client::request("GET", "/next", Some(&sockets.token), "")).await;
    assert!(origin.read_head().await.starts_with("GET /next "));
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext").await;
    assert_eq!(client.response().await.text(), "next");
    // And so does one whose answer ends with its connection.
    client.send(client::request("GET", "/", Some(&sockets.token), HANDSHAKE)).await;
    let mut origin = sockets.accept().await;
    origin.read_head().await;
    origin.send("HTTP/1.1 403 Forbidden\r\n\r\nto the end").await;
    drop(origin);
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (403, "to the end"));
}

#[tokio::test]
async fn a_101_that_does_not_answer_what_was_asked_is_refused() {
    let sockets = Sockets::start(&[]).await;
    let wrong = ACCEPT.replace('s', "t");
    let good = switching("");
    for answer in [
        good.replace(ACCEPT, &wrong),
        good.replace("Sec-WebSocket-Accept", "X-Accept"),
        switching(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")),
        good.replace("WebSocket\r\n", "websocket2\r\n"),
        good.replace("Upgrade: WebSocket\r\n", ""),
        good.replace("Upgrade: WebSocket\r\n", "Upgrade: websocket\r\nUpgrade: websocket\r\n"),
        good.replace("Connection: Upgrade\r\n", "Connection: close\r\n"),
    ] {
        let (mut client, mut origin, _) = sockets.ask(HANDSHAKE).await;
        origin.send([answer.as_bytes(), HELLO].concat()).await;
        let response = client.response().await;
        assert_eq!((response.status, response.denial().reason.as_str()), (502, "upstream_protocol"), "{answer}");
        assert!(origin.is_closed().await);
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_refused() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    house.origin.reply(Reply::raw(switching("")));
    let response = house.get("/", &token).await;
    assert_eq!((response.status, response.denial().reason.as_str()), (502, "upstream_protocol"));
    for fields in ["Upgrade: websocket\r\n", "Connection: upgrade\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n"] {
        let request = client::request("GET", "/", Some(&token), fields);
        let response = client::exchange(house.gate.addr(), request).await;
        assert_eq!((response.status, response.denial().reason.as_str()), (502, "upstream_protocol"), "{fields}");
    }
}

#[tokio::test]
async fn what_may_not_be_switched_to_goes_on_without() {
    let house = House::start(&["--allow-upgrade", "foo/2"]).await;
    let token = house.issuer.token().sign();
    let version_8 = HANDSHAKE.replace("13", "8");
    let two_versions = [HANDSHAKE, "Sec-WebSocket-Version: 13\r\n"].concat();
    let cases = [
        ("GET", "Connection: upgrade\r\nUpgrade: foo\r\n"),
        ("GET", "Connection: upgrade\r\nUpgrade: foo/1, bar\r\n"),
        ("GET", "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ("GET", "Connection: upgrade\r\nUpgrade: H2C\r\n"),
        ("GET", "Upgrade: foo/2\r\n"),
        ("GET", "Connection: upgrade\r\n"),
        ("GET", &HANDSHAKE.replace(", Upgrade", "")),
        ("GET", &version_8),
        ("GET", &two_versions),
        ("POST", HANDSHAKE),
    ];
    for (method, fields) in cases {
        let request = client::request(method, "/", Some(&token), fields);
        assert_plain(&client::exchange(house.gate.addr(), request).await);
        let received = house.origin.last();
        assert_eq!((received.header("upgrade"), received.header("connection")), (None, None), "{fields}");
    }
    let request = client::request("GET", "/", Some(&token), HANDSHAKE).replace("HTTP/1.1", "HTTP/1.0");
    assert_plain(&client::exchange(house.gate.addr(), request).await);
    assert_eq!(house.origin.last().header("upgrade"), None);
    // Behind a body, only what was allowed by its name (RFC 6455 §4.1: a handshake is a GET, and none has content).
    for protocol in ["bar", "websocket", "h2c"] {
        let fields = format!("Connection: upgrade\r\nUpgrade: {protocol}\r\nContent-Length: 2\r\n");
        let request = client::request("POST", "/", Some(&token), &fields) + "hi";
        assert_plain(&client::exchange(house.gate.addr(), request).await);
        assert_eq!((house.origin.last().header("upgrade"), house.origin.last().body), (None, b"hi".to_vec()));
    }
    let with_body = format!("{HANDSHAKE}Content-Length: 2\r\n");
    let request = client::request("GET", "/", Some(&token), &with_body) + "hi";
    assert_plain(&client::exchange(house.gate.addr(), request).await);
    assert_eq!(house.origin.last().header("upgrade"), None);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let second = format!("{HANDSHAKE}Sec-WebSocket-Key: {KEY}\r\n");
    for fields in [&HANDSHAKE.replace(KEY, "short"), &HANDSHAKE.replace("-Key", "-Keys"), &second] {
        let response = client::exchange(house.gate.addr(), client::request("GET", "/", Some(&token), fields)).await;
        assert_eq!((response.status, response.denial().reason.as_str()), (400, "malformed_request"), "{fields}");
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn another_protocol_passes_where_it_is_allowed() {
    let sockets = Sockets::start(&["--allow-upgrade", "tcp,Foo/2"]).await;
    let (mut client, mut origin, head) = sockets.ask("Connection: upgrade\r\nUpgrade: h2c, bar, FOO/2, tcp\r\n").await;
    assert_eq!((field(&head, "connection"), field(&head, "upgrade")), (Some("upgrade"), Some("FOO/2")));
    origin.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: foo/2\r\nContent-Length: 0\r\n\r\nanything").await;
    let response = client.response_head().await;
    assert_eq!((response.status, response.header("upgrade")), (101, Some("FOO/2")));
    assert_eq!(response.header("content-length"), None);
    assert_eq!(client.bytes(8).await, b"anything");
    client.send("at\r\n\r\nall").await;
    assert_eq!(origin.bytes(9).await, b"at\r\n\r\nall");
}

/// hyper leaves the end of a connection that asked for an upgrade to others, and so the patience with what still comes.
#[tokio::test]
async fn a_refusal_arrives_though_its_request_goes_on() {
    let house = House::start(&[]).await;
    let fields = "Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 60000\r\n";
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", None, fields)).await;
    let response = client.response().await;
    assert_eq!(response.status, 401);
    client.send(vec![b'x'; 60_000]).await;
    assert!(client.is_closed_in_order().await);
}
