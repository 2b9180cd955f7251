//! WebSocket and other protocols that a connection is upgraded to: raw sockets on both sides of the gate.

mod drain;
mod expiry;
pub(crate) mod extended_connect;
mod handshake;
mod liveness;
mod pressure;
mod protocol_tokens;
mod tunnel;
mod upload;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;

use crate::support::{Client, House, Response, client, patiently};

/// RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What a client sends to begin, its key included.
const HANDSHAKE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// `Hello`, masked and not (RFC 6455 §5.7).
const MASKED_HELLO: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
pub(crate) const HELLO: &[u8] = b"\x81\x05Hello";

/// A house whose origin is a bare socket, which the test plays itself.
pub(crate) struct Sockets {
    pub(crate) house: House,
    pub(crate) token: String,
    origin: TcpListener,
}

impl Sockets {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", origin.local_addr().unwrap());
        let house = House::start(&[&["--upstream", &*url], flags].concat()).await;
        let token = house.issuer.token().sign();
        Self { house, token, origin }
    }

    async fn client(&self) -> Client {
        Client::connect(self.house.gate.addr()).await
    }

    /// A connection of the gate's, on which nothing was read yet.
    async fn accept(&self) -> Client {
        let (stream, _) = patiently("a connection to the origin", self.origin.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream)
    }

    /// Sends a request with these fields; what the origin gets of it.
    pub(crate) async fn ask(&self, fields: &str) -> (Client, Client, String) {
        self.ask_by("GET", fields).await
    }

    /// The same with another method.
    async fn ask_by(&self, method: &str, fields: &str) -> (Client, Client, String) {
        let mut client = self.client().await;
        client.send(client::request(method, "/chat?room=1", Some(&self.token), fields)).await;
        let mut origin = self.accept().await;
        let head = origin.read_head().await;
        (client, origin, head)
    }

    /// Both ends of a WebSocket.
    pub(crate) async fn open(&self) -> (Client, Client) {
        let (mut client, mut origin, _) = self.ask(HANDSHAKE).await;
        origin.send(switching("")).await;
        assert_eq!(client.response_head().await.status, 101);
        (client, origin)
    }

    /// Whether a request without an upgrade passes that was sent on a connection of its own.
    async fn is_left_alone(&self) -> bool {
        use tokio::time::{Duration, timeout};
        timeout(Duration::ZERO, self.origin.accept()).await.is_err()
    }
}

/// The answer that begins a WebSocket, with these lines beside.
fn switching(fields: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{fields}\r\n"
    )
}

/// The same for a key that the test has not chosen (RFC 6455 §4.2.2).
fn switching_for(key: &str) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    switching("").replace(ACCEPT, &STANDARD.encode(digest))
}

/// The field of this name in a head, if there is just one.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let first = named.next();
    assert!(named.next().is_none(), "two of {name}: {head}");
    first
}

/// The payload of a masked frame whose length is one byte, and its first byte.
pub(crate) fn unmask(frame: &[u8]) -> (u8, Vec<u8>) {
    assert_eq!(frame[1] & 0x80, 0x80, "a mask: {frame:?}");
    let (key, payload) = frame[2..].split_at(4);
    (frame[0], payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect())
}

fn assert_plain(response: &Response) {
    assert_eq!((response.header("upgrade"), response.status), (None, 200), "{}", response.head);
}
