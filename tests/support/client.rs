//! A client that sends literal bytes and shows what came back.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{PATIENCE, patiently};

/// What a response of the gate's own may say; anything else is a leak.
const OWN_HEADERS: [&str; 9] = [
    "date",
    "content-type",
    "content-length",
    "cache-control",
    "www-authenticate",
    "connection",
    "retry-after",
    "allow",
    "x-request-id",
];

/// One connection over whatever stream.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    buffer: BytesMut,
    patience: Duration,
    was_reset: bool,
}

/// One response, after any 1xx.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The status codes that came before.
    pub(crate) interim: Vec<u16>,
    /// The head as it came.
    pub(crate) head: String,
}

/// A problem+json body (RFC 9457) of the gate's.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) reason: String,
    pub(crate) detail: Option<String>,
    pub(crate) json: Value,
}

/// `GET path` on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str, token: Option<&str>) -> Response {
    let mut client = Client::connect(addr).await;
    client.send(request("GET", path, token, "Connection: close\r\n")).await;
    client.response().await
}

/// `GET path` by somebody on this machine, as an admin listener wants it.
pub(crate) async fn get_local(addr: SocketAddr, path: &str) -> Response {
    exchange(addr, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

/// Sends these bytes and reads one response.
pub(crate) async fn exchange(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(addr).await;
    client.send(bytes).await;
    client.response().await
}

/// A request without a body; `fields` are whole lines.
pub(crate) fn request(method: &str, target: &str, token: Option<&str>, fields: &str) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("{method} {target} HTTP/1.1\r\nHost: gate.test\r\n{authorization}{fields}\r\n")
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// `None` when nobody listens any more.
    pub(crate) async fn try_connect(addr: SocketAddr) -> Option<Self> {
        let stream = patiently("connect", TcpStream::connect(addr)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self::over(stream))
    }

    /// Sends as much as can be sent without waiting; `None` when that is nothing.
    pub(crate) fn send_at_once(&mut self, bytes: &[u8]) -> Option<usize> {
        self.stream.try_write(bytes).ok()
    }

    /// Whether the other end takes nothing any more.
    pub(crate) fn is_reset(&self) -> bool {
        self.stream.try_write(b"x").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    }

    /// Goes away without a word: the other end sees a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Client<UnixStream> {
    pub(crate) async fn connect_unix(path: &str) -> Self {
        Self::over(patiently("connect", UnixStream::connect(path)).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// On a stream that is open already.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new(), patience: PATIENCE, was_reset: false }
    }

    /// The stream itself.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream itself, of which nothing has been read.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        patiently("send", self.write(bytes.as_ref())).await.unwrap();
    }

    /// Sends what can be sent; whether the other end took it all.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        patiently("send", self.write(bytes.as_ref())).await.is_ok()
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        // Reading, which is what comes next, writes nothing of what TLS keeps back.
        self.stream.flush().await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// One whole response to a request that was no `HEAD`.
    pub(crate) async fn response(&mut self) -> Response {
        let mut response = self.response_head().await;
        self.read_body(&mut response).await;
        response.check_own_headers();
        response
    }

    /// One whole response that may take longer than others.
    pub(crate) async fn response_within(&mut self, patience: Duration) -> Response {
        self.patience = patience;
        self.response().await
    }

    /// A response without its body.
    pub(crate) async fn response_head(&mut self) -> Response {
        let mut interim = Vec::new();
        loop {
            let mut response = parse_head(&self.read_head().await);
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            return response;
        }
    }

    /// The next status code, be it 1xx, of a response whose body is still to come.
    pub(crate) async fn next_status(&mut self) -> u16 {
        parse_head(&self.read_head().await).status
    }

    /// Everything until the other end closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.read_more().await {}
        self.buffer.split().to_vec()
    }

    /// Whether the other end has closed, with nothing more to say. Waits for it.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    /// Whether the other end has closed in order, so that nothing it said could be lost. Waits for it.
    pub(crate) async fn is_closed_in_order(&mut self) -> bool {
        self.rest().await.is_empty() && !self.was_reset
    }

    /// Whether the other end has reset the connection: what it had said before may not have been all.
    pub(crate) fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// So many bytes of what comes next.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.read_more().await, "closed after {:?}", self.buffer);
        }
        self.buffer.split_to(count).to_vec()
    }

    /// Some bytes of what comes next, none at the end; for bodies that are too large to keep.
    pub(crate) async fn some(&mut self) -> BytesMut {
        if self.buffer.is_empty() {
            self.read_more().await;
        }
        self.buffer.split()
    }

    /// Waits for the first bytes of a response; whether the other end closed instead.
    pub(crate) async fn some_or_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.read_more().await
    }

    async fn read_more(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        let read = tokio::time::timeout(self.patience, self.stream.read_buf(&mut self.buffer)).await;
        let read =
            read.unwrap_or_else(|_| panic!("nothing to read within {:?}, after {:?}", self.patience, self.buffer));
        self.was_reset |= read.is_err();
        read.is_ok_and(|count| count > 0)
    }

    /// A head as it came.
    pub(crate) async fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return head.iter().map(|byte| char::from(*byte)).collect();
            }
            assert!(self.read_more().await, "closed in a head, after {:?}", self.buffer);
        }
    }

    async fn read_line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return String::from_utf8(line.to_vec()).unwrap();
            }
            assert!(self.read_more().await, "closed in a line, after {:?}", self.buffer);
        }
    }

    /// RFC 9112 §6.3, for requests that were no `HEAD`.
    pub(crate) async fn read_body(&mut self, response: &mut Response) {
        if matches!(response.status, 101 | 204 | 304) {
            return;
        }
        if response.header("transfer-encoding").is_some() {
            assert_eq!(response.header("content-length"), None, "one framing: {}", response.head);
            self.read_chunks(response).await;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            response.body = self.bytes(length).await;
        } else {
            response.body = self.rest().await;
        }
    }

    async fn read_chunks(&mut self, response: &mut Response) {
        loop {
            let size = usize::from_str_radix(&self.read_line().await, 16).unwrap();
            if size == 0 {
                break;
            }
            response.body.extend(self.bytes(size).await);
            assert_eq!(self.read_line().await, "");
        }
        loop {
            let line = self.read_line().await;
            match line.split_once(':') {
                Some((name, value)) => response.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
    }
}

impl Response {
    /// The one field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers_named(name);
        assert!(all.len() <= 1, "one {name}: {}", self.head);
        all.first().copied()
    }

    /// All fields of this name.
    pub(crate) fn headers_named(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The gate's own answer, held against what every one of them must be.
    pub(crate) fn denial(&self) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        let json: Value = serde_json::from_slice(&self.body).unwrap();
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let reason = text("reason").unwrap_or_else(|| panic!("{json}"));
        assert_eq!(json["type"], format!("urn:claimgate:denial:{reason}"));
        assert_eq!(json["status"], self.status);
        Problem { reason, detail: text("detail"), json }
    }

    fn check_own_headers(&self) {
        if self.header("content-type") != Some("application/problem+json") {
            return;
        }
        for (name, _) in &self.headers {
            assert!(OWN_HEADERS.contains(&name.as_str()), "{name} is none of the gate's: {}", self.head);
        }
    }
}

fn parse_head(head: &str) -> Response {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let mut status_line = lines.next().unwrap().splitn(3, ' ');
    let version = status_line.next().unwrap().to_owned();
    let status = status_line.next().unwrap().parse().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Response { version, status, headers: headers.collect(), head: head.to_owned(), ..Response::default() }
}

/// Where `needle` begins.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
