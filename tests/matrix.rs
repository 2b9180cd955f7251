//! Every kind of client, before every kind of origin, with every kind of traffic: each cell of the README's table.

use std::fs;

use bytes::Bytes;
use h2::ext::Protocol;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::support::http2::{self, Http2, next, whole};
use crate::support::origin::Received;
use crate::support::{
    Authority, Certificate, Client, Gate, Http2Origin, Http2Reply, Issuer, Origin, Reply, Secret, client, patiently,
};

/// How a client comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Front {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

const FRONTS: [Front; 4] = [Front::Http1, Front::Http1Tls, Front::Http2, Front::Http2Tls];

/// What the README calls its columns.
const BACKS: [&str; 5] = ["`http://`", "`https://` (HTTP/1.1)", "`unix:`", "`h2c://`", "`https://` (HTTP/2)"];

impl Front {
    const fn has_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }

    const fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http1Tls => "HTTP/1.1 over TLS",
            Self::Http2 => "HTTP/2",
            Self::Http2Tls => "HTTP/2 over TLS",
        }
    }
}

enum Back {
    Http1(Origin),
    Http2(Http2Origin),
}

/// What is sent back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Trailers,
    Pieces,
    Grpc,
    WebSocket,
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const HELLO: &[u8] = b"\x81\x05Hello";
/// A gRPC message of four bytes.
const MESSAGE: &str = "\0\0\0\0\x04data";

impl Back {
    fn url(&self) -> String {
        match self {
            Self::Http1(origin) => origin.url(),
            Self::Http2(origin) => origin.url(),
        }
    }

    fn last(&self) -> Received {
        match self {
            Self::Http1(origin) => origin.last(),
            Self::Http2(origin) => origin.last(),
        }
    }

    fn release(&self) {
        match self {
            Self::Http1(origin) => origin.release(),
            Self::Http2(origin) => origin.release(),
        }
    }

    fn reply(&self, kind: Kind) {
        const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        match (self, kind) {
            (Self::Http1(origin), Kind::Trailers) => origin.reply(Reply::raw(
                "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
            )),
            (Self::Http1(origin), Kind::Pieces) => {
                origin.reply(Reply::raw(STREAM).then("3\r\none\r\n").hold().then("3\r\ntwo\r\n0\r\n\r\n"));
            }
            (Self::Http1(origin), Kind::WebSocket) => origin.reply(Reply::switching(HELLO)),
            (Self::Http2(origin), Kind::Trailers) => {
                let head = Http2Reply::late().head(200, &[("trailer", "x-sum")]);
                origin.reply(head.data("ok").trailers(&[("x-sum", "7")]));
            }
            (Self::Http2(origin), Kind::Pieces) => {
                let head = Http2Reply::late().head(200, &[("content-type", "text/event-stream")]);
                origin.reply(head.data("one").hold().data("two").end());
            }
            (Self::Http2(origin), Kind::Grpc) => {
                let head = Http2Reply::late().head(200, &[("content-type", "application/grpc")]);
                origin.reply(head.data(MESSAGE).trailers(&[("grpc-status", "0")]));
            }
            (_, kind) => unreachable!("{kind:?}"),
        }
    }
}

/// One cell: a gate between this client and that origin.
struct Cell {
    front: Front,
    back: Back,
    authority: Authority,
    token: String,
    gate: Gate,
    _secret: Secret,
    _issuer: Issuer,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Cell {
    async fn new(front: Front, column: usize) -> Self {
        let certificate = Certificate::new();
        let back = match column {
            0 => Back::Http1(Origin::start()),
            1 => Back::Http1(Origin::start_tls(&certificate)),
            2 => Back::Http1(Origin::start_unix()),
            3 => Back::Http2(Http2Origin::start()),
            _ => Back::Http2(Http2Origin::start_tls(&certificate)),
        };
        let authority = Authority::new();
        let secret = Secret::new(&authority.issue(), &authority);
        let (issuer, tls) = (Issuer::start(), secret.flags());
        let mut flags: Vec<&str> = Vec::new();
        if front.has_tls() {
            flags.extend(tls.iter().map(String::as_str));
        }
        if back.url().starts_with("https") {
            flags.extend(["--upstream-ca-file", certificate.path()]);
        }
        let gate = Gate::start_before(&issuer, &back.url(), &flags);
        gate.is_ready().await;
        let token = issuer.token().sign();
        Self { front, back, authority, token, gate, _secret: secret, _issuer: issuer }
    }

    async fn connect(&self) -> Box<dyn Io> {
        let addr = self.gate.addr();
        if !self.front.has_tls() {
            let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            return Box::new(stream);
        }
        let protocol: &[u8] = if self.front.is_http2() { b"h2" } else { b"http/1.1" };
        Box::new(self.authority.client_of(None, &[protocol]).connect(addr).await.into_stream())
    }

    /// Bodies and trailers, both ways.
    async fn carries_trailers(&self) {
        self.back.reply(Kind::Trailers);
        let response = if self.front.is_http2() {
            let mut client = Http2::over(self.connect().await).await;
            let mut request = http2::post("/a?b", Some(&self.token));
            request.headers_mut().insert("trailer", "x-check".parse().unwrap());
            let (response, mut body) = client.begin(request, false).await;
            body.send_data(Bytes::from_static(b"data"), false).unwrap();
            body.send_trailers([("x-check".parse().unwrap(), "1".parse().unwrap())].into_iter().collect()).unwrap();
            whole(response).await.unwrap()
        } else {
            let mut client = Client::over(self.connect().await);
            let fields = "TE: trailers\r\nTrailer: x-check\r\nTransfer-Encoding: chunked\r\n";
            let head = client::request("POST", "/a?b", Some(&self.token), fields);
            client.send(head + "4\r\ndata\r\n0\r\nx-check: 1\r\n\r\n").await;
            client.response().await
        };
        assert_eq!((response.status, &*response.body), (200, &b"ok"[..]));
        assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        let seen = self.back.last();
        assert_eq!((&*seen.method, &*seen.target, &*seen.body), ("POST", "/a?b", &b"data"[..]));
        assert_eq!(seen.trailers, [("x-check".to_owned(), "1".to_owned())]);
        assert!(seen.header("x-jwt-claims").is_some());
        let proto = if self.front.has_tls() { "https" } else { "http" };
        assert_eq!(seen.header("x-forwarded-proto"), Some(proto));
    }

    /// Server-sent events: the second comes only when the first has arrived.
    async fn carries_pieces(&self) {
        self.back.reply(Kind::Pieces);
        if self.front.is_http2() {
            let mut client = Http2::over(self.connect().await).await;
            let (response, _) = client.begin(http2::get("/", Some(&self.token)), true).await;
            let mut body = patiently("a head", response).await.unwrap().into_body();
            assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
            self.back.release();
            assert_eq!(next(&mut body).await.unwrap().unwrap(), "two");
        } else {
            let mut client = Client::over(self.connect().await);
            client.send(client::request("GET", "/", Some(&self.token), "")).await;
            assert_eq!(client.response_head().await.header("transfer-encoding"), Some("chunked"));
            assert_eq!(client.bytes(8).await, b"3\r\none\r\n");
            self.back.release();
            assert_eq!(client.bytes(8).await, b"3\r\ntwo\r\n");
        }
    }

    async fn carries_grpc(&self) {
        self.back.reply(Kind::Grpc);
        let mut client = Http2::over(self.connect().await).await;
        let mut request = http2::post("/package.Service/Method", Some(&self.token));
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (response, mut body) = client.begin(request, false).await;
        body.send_data(Bytes::from_static(MESSAGE.as_bytes()), true).unwrap();
        let response = whole(response).await.unwrap();
        assert_eq!((response.status, &*response.body), (200, MESSAGE.as_bytes()));
        assert_eq!(response.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
        let seen = self.back.last();
        assert_eq!((&*seen.body, seen.header("te")), (MESSAGE.as_bytes(), Some("trailers")));
        // What is refused is refused in its own terms.
        let mut refused = http2::post("/package.Service/Method", None);
        refused.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let refused = client.exchange(refused).await;
        assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("16")));
    }

    /// RFC 8441: extended CONNECT.
    async fn carries_websocket_over_http2(&self) {
        self.back.reply(Kind::WebSocket);
        let mut client = Http2::over(self.connect().await).await;
        assert_eq!(client.exchange(http2::get("/", None)).await.status, 401);
        let connect = Request::connect("http://gate.test/").header("sec-websocket-version", "13");
        let connect = connect.header("authorization", format!("Bearer {}", self.token));
        let connect = connect.extension(Protocol::from("websocket")).body(()).unwrap();
        let (response, _sending) = client.begin(connect, false).await;
        let response = patiently("a head", response).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(next(&mut response.into_body()).await.unwrap().unwrap(), HELLO);
    }

    async fn carries_websocket(&self) {
        self.back.reply(Kind::WebSocket);
        let mut client = Client::over(self.connect().await);
        client.send(client::request("GET", "/", Some(&self.token), HANDSHAKE)).await;
        assert_eq!(client.response_head().await.status, 101);
        assert_eq!(client.bytes(HELLO.len()).await, HELLO);
        let mut stranger = Client::over(self.connect().await);
        stranger.send(client::request("GET", "/", None, HANDSHAKE)).await;
        assert_eq!(stranger.response().await.denial().reason, "token_missing");
    }

    /// Tries all that this pair can carry; what the README says of it.
    async fn check(&self) -> String {
        self.carries_trailers().await;
        self.carries_pieces().await;
        let mut carried = vec!["bodies, trailers, events"];
        match (&self.back, self.front.is_http2()) {
            (Back::Http2(_), true) => {
                self.carries_grpc().await;
                carried.push("gRPC");
            }
            (Back::Http1(_), false) => {
                self.carries_websocket().await;
                carried.push("WebSocket");
            }
            (Back::Http1(_), true) => {
                self.carries_websocket_over_http2().await;
                carried.push("WebSocket");
            }
            (Back::Http2(_), false) => {}
        }
        carried.join(", ")
    }
}

async fn row(front: Front) -> Vec<String> {
    let mut row = vec![front.name().to_owned()];
    for column in 0..BACKS.len() {
        let cell = Box::pin(Cell::new(front, column)).await;
        row.push(Box::pin(cell.check()).await);
    }
    row
}

/// The README's line of this client.
fn told(front: Front) -> Vec<String> {
    let readme = fs::read_to_string("README.md").unwrap();
    let heads = format!("| client \\ service | {} |", BACKS.join(" | "));
    let mut lines = readme.lines().skip_while(|line| *line != heads).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let row = lines.find(|line| cells(line)[0] == front.name());
    cells(row.unwrap_or_else(|| panic!("{heads}: no line {}", front.name())))
}

#[tokio::test]
async fn http_1_1_reaches_every_origin() {
    assert_eq!(row(FRONTS[0]).await, told(FRONTS[0]));
}

#[tokio::test]
async fn http_1_1_over_tls_reaches_every_origin() {
    assert_eq!(row(FRONTS[1]).await, told(FRONTS[1]));
}

#[tokio::test]
async fn http_2_reaches_every_origin() {
    assert_eq!(row(FRONTS[2]).await, told(FRONTS[2]));
}

#[tokio::test]
async fn http_2_over_tls_reaches_every_origin() {
    assert_eq!(row(FRONTS[3]).await, told(FRONTS[3]));
}
