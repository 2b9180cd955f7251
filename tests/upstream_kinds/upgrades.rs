//! Another protocol can be switched to only from HTTP/1.1.

use h2::ext::Protocol;
use http::Request;

use super::House2;
use crate::support::client::request;
use crate::support::http2::{Http2, get, reason, whole};
use crate::support::{Certificate, Client, Gate, Issuer, Origin, Reply};

/// RFC 6455 §1.3.
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const HELLO: &[u8] = b"\x81\x05Hello";

#[tokio::test]
async fn a_websocket_is_offered_http1_alone_in_tls_and_on_a_socket_too() {
    let certificate = Certificate::new();
    let both = ["h2", "http/1.1"];
    // What is chosen of both would be HTTP/2, which this origin does not speak.
    for origin in [Origin::start_tls_offering(&certificate, &both), Origin::start_unix()] {
        let issuer = Issuer::start();
        let ca = ["--upstream-ca-file", certificate.path()];
        let flags: &[&str] = if origin.url().starts_with("https") { &ca } else { &[] };
        let gate = Gate::start(&issuer, &origin, flags);
        gate.is_ready().await;
        origin.reply(Reply::raw(SWITCHING).then(HELLO).then_never());
        let mut client = Client::connect(gate.addr()).await;
        client.send(request("GET", "/", Some(&issuer.token().sign()), HANDSHAKE)).await;
        assert_eq!(client.response_head().await.status, 101, "{}", origin.url());
        assert_eq!(client.bytes(HELLO.len()).await, HELLO);
    }
}

#[tokio::test]
async fn an_origin_with_http2_alone_is_not_asked_to_switch() {
    let house = House2::start(&[]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request("GET", "/", Some(&house.token()), HANDSHAKE)).await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("upgrade")), (200, None));
    assert_eq!((house.origin.last().header("upgrade"), house.origin.last().header("connection")), (None, None));
}

/// Any other success would be the beginning of a WebSocket to the client (RFC 8441 §5).
#[tokio::test]
async fn an_extended_connect_to_an_origin_with_http2_alone_is_refused() {
    let house = House2::start(&[]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    assert_eq!(client.exchange(get("/", None)).await.status, 401);
    let connect = Request::connect("http://gate.test/chat").header("sec-websocket-version", "13");
    let connect = connect.header("authorization", format!("Bearer {}", house.token()));
    let (response, _sending) =
        client.begin(connect.extension(Protocol::from("websocket")).body(()).unwrap(), false).await;
    assert_eq!(reason(&whole(response).await.unwrap()), "upstream_protocol");
    assert_eq!(house.origin.begun(), 0);
}

/// It goes on as another request, without the protocol that was asked for and without the token.
#[tokio::test]
async fn an_origin_with_http2_alone_sees_no_token_among_the_sub_protocols() {
    let house = House2::start(&["--token-websocket-protocol", "access_token"]).await;
    let mut client = Client::connect(house.gate.addr()).await;
    let fields = format!("{HANDSHAKE}Sec-WebSocket-Protocol: chat, access_token, {}\r\n", house.token());
    client.send(request("GET", "/", None, &fields)).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(house.origin.last().header("sec-websocket-protocol"), Some("chat"));
}
