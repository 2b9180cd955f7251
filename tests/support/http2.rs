//! Clients of HTTP/2: one that keeps to the rules, and one that sends literal frames.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::client::Problem;
use super::{Response, patiently};

/// What a connection begins with (RFC 9113 §3.4), and the SETTINGS that follow, with nothing to say.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The fields of `GET /`.
pub(crate) const USUAL: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];

/// One connection that keeps to the rules.
#[derive(Debug)]
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A request without a body.
pub(crate) fn get(path: &str, token: Option<&str>) -> Request<()> {
    with_token(Request::get(format!("http://gate.test{path}")), token).body(()).unwrap()
}

/// A request with a body to come.
pub(crate) fn post(path: &str, token: Option<&str>) -> Request<()> {
    with_token(Request::post(format!("http://gate.test{path}")), token).body(()).unwrap()
}

fn with_token(request: http::request::Builder, token: Option<&str>) -> http::request::Builder {
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

impl Http2 {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &h2::client::Builder::new()).await
    }

    pub(crate) async fn connect_with(addr: SocketAddr, builder: &h2::client::Builder) -> Self {
        let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::begin_over(stream, builder).await
    }

    /// Over a stream that is there already.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::begin_over(stream, &h2::client::Builder::new()).await
    }

    async fn begin_over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: &h2::client::Builder,
    ) -> Self {
        let (sender, connection) = patiently("handshake", builder.handshake(stream)).await.unwrap();
        Self { sender, driver: tokio::spawn(connection) }
    }

    /// Begins a request; its body, if any, is to be sent by what is returned.
    pub(crate) async fn begin(&mut self, request: Request<()>, is_end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut sender = patiently("room for a stream", self.sender.clone().ready()).await.unwrap();
        let begun = sender.send_request(request, is_end).unwrap();
        self.sender = sender;
        begun
    }

    /// A request without a body, and the whole response.
    pub(crate) async fn exchange(&mut self, request: Request<()>) -> Response {
        let (response, _) = self.begin(request, true).await;
        whole(response).await.unwrap()
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(self) -> Result<(), h2::Error> {
        drop(self.sender);
        patiently("the end of the connection", self.driver).await.unwrap()
    }

    /// Closes the connection without a word, whatever is under way.
    pub(crate) fn go_away(&self) {
        self.driver.abort();
    }

    /// Whether the other end has said that it takes no more.
    pub(crate) async fn takes_no_more(&mut self) -> bool {
        self.sender.clone().ready().await.is_err()
    }
}

/// The whole response.
pub(crate) async fn whole(response: ResponseFuture) -> Result<Response, h2::Error> {
    let (head, mut body) = patiently("a response", response).await?.into_parts();
    let mut response = Response { version: "HTTP/2".to_owned(), status: head.status.as_u16(), ..Response::default() };
    response.headers = fields(&head.headers);
    while let Some(data) = next(&mut body).await {
        response.body.extend_from_slice(&data?);
    }
    if let Some(trailers) = patiently("trailers", body.trailers()).await? {
        response.trailers = fields(&trailers);
    }
    Ok(response)
}

/// The next piece of a body, which makes room for another.
pub(crate) async fn next(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = patiently("more of the body", body.data()).await?;
    Some(data.inspect(|data| body.flow_control().release_capacity(data.len()).unwrap()))
}

/// The reason that a response gives.
pub(crate) fn reason(response: &Response) -> String {
    let Problem { reason, .. } = response.denial();
    reason
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// One connection of literal frames.
#[derive(Debug)]
pub(crate) struct Frames(TcpStream);

/// A frame as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame's bytes (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields in HPACK, each literal and never indexed (RFC 7541 §6.2.3).
pub(crate) fn fields_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

impl Frames {
    /// Connects and says who it is.
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut frames = Self::begin(addr).await;
        frames.send(PREFACE).await;
        frames
    }

    /// Goes away without a word: the other end sees a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Connects and says nothing yet.
    pub(crate) async fn begin(addr: SocketAddr) -> Self {
        let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        patiently("send", self.0.write_all(bytes)).await.unwrap();
    }

    /// Sends the same again and again, and reads what comes; whether the other end took offence before it was through.
    pub(crate) async fn flood(&mut self, bytes: &[u8], times: usize) -> bool {
        let (mut reader, mut writer) = self.0.split();
        let write = async {
            for _ in 0..times {
                if writer.write_all(bytes).await.is_err() {
                    return true;
                }
            }
            // What was sent last may not have been looked at yet.
            std::future::pending().await
        };
        let read = async {
            let mut buffer = vec![0; 16 * 1024];
            while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            true
        };
        let closed = async {
            tokio::select! {
                closed = write => closed,
                closed = read => closed,
            }
        };
        patiently("the end of a flood", closed).await
    }

    /// The next frame; `None` when the other end closes.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        patiently("a frame", self.0.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        patiently("a frame's payload", self.0.read_exact(&mut payload)).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame of this kind; `None` when the other end closes before.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}
