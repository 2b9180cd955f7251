//! A client of HTTP/2 with prior knowledge: one connection, as many calls as wanted.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::patiently;

/// One connection.
#[derive(Debug)]
pub(crate) struct Caller {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// One request under way, and what came of it so far.
#[derive(Debug)]
pub(crate) struct Call {
    response: ResponseFuture,
    pub(crate) sending: SendStream<Bytes>,
}

/// A response whose body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RecvStream,
}

/// How a body ended.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum End {
    Trailers(Vec<(String, String)>),
    Reset(Reason),
}

impl Caller {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Self { sender, connection }
    }

    /// Begins a request; `is_whole` when it has no body.
    pub(crate) async fn begin(&self, request: Request<()>, is_whole: bool) -> Call {
        let mut sender = patiently("room for a request", self.sender.clone().ready()).await.unwrap();
        let (response, sending) = sender.send_request(request, is_whole).unwrap();
        Call { response, sending }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Call {
    pub(crate) fn send(&mut self, data: impl Into<Bytes>) {
        self.sending.send_data(data.into(), false).unwrap();
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let response = patiently("a response", &mut self.response).await.unwrap();
        let (head, body) = Response::into_parts(response);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Waits until the other end has reset the stream.
    pub(crate) async fn is_reset(&mut self) -> Reason {
        patiently("a reset", poll_fn(|cx| self.sending.poll_reset(cx))).await.unwrap()
    }
}

impl Answer {
    /// The one field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.get_all(name).iter();
        let field = fields.next().map(|value| value.to_str().unwrap());
        assert!(fields.next().is_none(), "one {name}: {:?}", self.headers);
        field
    }

    /// So many bytes of what comes next, and not one more.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let data = patiently("data", self.body.data()).await.expect("more of the body").unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        assert_eq!(bytes.len(), count);
        bytes
    }

    /// Reads to the end; how it came.
    pub(crate) async fn end(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        while let Some(data) = patiently("the end of a body", self.body.data()).await {
            match data {
                Ok(data) => {
                    self.body.flow_control().release_capacity(data.len()).unwrap();
                    bytes.extend_from_slice(&data);
                }
                Err(error) => return (bytes, End::Reset(error.reason().unwrap_or_else(|| panic!("{error}")))),
            }
        }
        let trailers = match patiently("trailers", self.body.trailers()).await {
            Ok(trailers) => trailers.unwrap_or_default(),
            Err(error) => return (bytes, End::Reset(error.reason().unwrap_or_else(|| panic!("{error}")))),
        };
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let mut trailers: Vec<_> =
            trailers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        trailers.sort();
        (bytes, End::Trailers(trailers))
    }
}
