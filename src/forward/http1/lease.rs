//! One request and its response.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::{JoinHandle, yield_now};

use super::connection::Connection;
use super::decode::Decoder;
use super::response::{self, Asks, Head};
use super::upload::{Length, Upload};
use super::{Broken, Error};
use crate::denial::Denial;
use crate::forward::body::{Exchange, RequestBody};
use crate::forward::pool::{Connections, Failure};
use crate::forward::response_head::{MAX_HEAD, TOO_LARGE, filter_interim};
use crate::forward::stream::OriginIo;
use crate::interim::Interim;
use crate::reply;

/// A connection for one exchange; dropped before [`Lease::end`], the connection closes.
#[derive(Debug)]
pub(in crate::forward) struct Lease {
    connection: Connection,
    pool: Weak<Connections>,
    is_fresh: bool,
    asks: Asks,
    /// Whether the connection outlives the exchange.
    persists: bool,
    upload: Uploading,
    body: Decoder,
}

/// The rest of the request.
#[derive(Debug)]
enum Uploading {
    Done,
    /// Whoever waits for the response sends it.
    Inline(Box<Upload>),
    /// While request and response go on at their own pace, neither may wait for the other.
    Task(Task),
}

/// A task that ends with its lease: by itself, it would go on for as long as the origin takes nothing of a request that
/// nobody waits for any more. Whether everything is sent.
#[derive(Debug)]
struct Task(JoinHandle<bool>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lease {
    /// Of a connection that has just been opened.
    pub(in crate::forward) fn fresh(connection: Connection, pool: Weak<Connections>) -> Self {
        Self { is_fresh: true, ..Self::again(connection, pool) }
    }

    /// Of one that was used before.
    pub(in crate::forward) fn again(connection: Connection, pool: Weak<Connections>) -> Self {
        Self {
            connection,
            pool,
            is_fresh: false,
            asks: Asks::default(),
            persists: false,
            upload: Uploading::Done,
            body: Decoder::Done,
        }
    }

    /// What is to be sent asks for this.
    pub(in crate::forward) const fn asks(&mut self, asks: Asks) {
        self.asks = asks;
    }

    /// Begins to send one request, whose head is written by `write`. One without a body goes out at once, as far as the origin
    /// takes it; one with a body while [`head`](Self::head) waits, its head and the first of its body in one piece.
    pub(in crate::forward) fn begin(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Length, Denial>,
        body: RequestBody,
    ) -> Result<(), Box<Failure>> {
        // Whoever is to be woken comes with `head`, at once.
        let cx = &mut Context::from_waker(Waker::noop());
        if !self.is_fresh && !self.connection.begin(cx) {
            return Err(Box::new(self.failure(Error::Closed.into(), Some(body))));
        }
        self.write(cx, write, body).map_err(|error| Box::new(self.failure(error, None)))
    }

    /// Waits for the head of the response, and sends the rest of the request meanwhile.
    pub(in crate::forward) async fn head(&mut self, client: Option<&Interim>) -> Result<reply::Head, Failure> {
        let answered = poll_fn(|cx| self.poll_head(cx, client)).await;
        self.connection.give_back();
        answered.map_err(|error| self.failure(error, None))
    }

    fn failure(&self, error: Broken, unsent: Option<RequestBody>) -> Failure {
        Failure { unsent, has_answered: self.connection.has_received(), was_idle: !self.is_fresh, error }
    }

    /// Writes the head, or keeps it until it goes out with the body.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Length, Denial>,
        body: RequestBody,
    ) -> Result<(), Broken> {
        let connection = &self.connection;
        let left = connection.scratch().written(|head| {
            let length = write(head).map_err(Broken::Denied)?;
            if !body.is_end_stream() {
                return Ok(Some(Upload::new(connection, head, Some(body), length)));
            }
            if matches!(length, Length::Chunked(_)) {
                head.extend_from_slice(b"0\r\n\r\n");
            }
            let written = match connection.poll_write(cx, &[IoSlice::new(head)]) {
                Poll::Ready(written) => written.map_err(Error::Io)?,
                Poll::Pending => 0,
            };
            let rest = head.get(written..).unwrap_or_default();
            Ok::<_, Broken>((!rest.is_empty()).then(|| Upload::new(connection, rest, None, Length::Known(0))))
        })?;
        if let Some(upload) = left {
            self.upload = Uploading::Inline(Box::new(upload));
        }
        Ok(())
    }

    /// Sends the rest of the request, as far as the origin takes it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        match &mut self.upload {
            Uploading::Inline(upload) => match upload.poll(cx) {
                Poll::Ready(sent) => {
                    sent?;
                    self.upload = Uploading::Done;
                }
                Poll::Pending => {}
            },
            // Only TLS keeps anything back.
            Uploading::Done => match self.connection.poll_flush(cx) {
                Poll::Ready(flushed) => flushed.map_err(Error::Io)?,
                Poll::Pending => {}
            },
            Uploading::Task(_) => {}
        }
        Ok(())
    }

    /// Reads the head of the response, and tells the client of those before it.
    fn poll_head(&mut self, cx: &mut Context<'_>, client: Option<&Interim>) -> Poll<Result<reply::Head, Broken>> {
        self.poll_upload(cx)?;
        let count = ready!(self.connection.poll_fill(cx)).map_err(Error::Io)?;
        if count == 0 {
            let has_received = self.connection.has_received();
            return Poll::Ready(Err(if has_received { Error::Incomplete } else { Error::Closed }.into()));
        }
        if let Some(head) = self.connection.held(|held| read_head(held, count, self.asks, client))? {
            self.persists = head.persists;
            self.body = head.framing.into();
            return Poll::Ready(Ok(head.reply));
        }
        // An origin that sends interim responses without end holds up nobody else: not before the runtime has looked at all
        // sockets is it this task's turn again.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// The origin has switched protocols: its end of the connection, and what came behind the head of its answer.
    pub(in crate::forward) fn switched(self) -> Option<(OriginIo, Bytes)> {
        let (origin, received) = self.connection.into_parts()?;
        Some((origin.switched(), received))
    }

    /// Goes on with the response.
    pub(in crate::forward) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = self.poll_next(cx);
        self.connection.give_back();
        polled.map(Result::transpose)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Broken>> {
        if matches!(self.upload, Uploading::Inline(_)) {
            self.poll_upload(cx)?;
        }
        loop {
            if let Some(frame) = self.connection.held(|held| self.body.next(held))? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.body.is_done() {
                return Poll::Ready(Ok(None));
            }
            let count = ready!(self.connection.poll_fill(cx));
            if self.connection.is_broken() {
                return Poll::Ready(Err(Error::Cut.into()));
            }
            if count.map_err(Error::Io)? == 0 {
                self.body.end()?;
            }
        }
    }

    pub(in crate::forward) const fn is_end_stream(&self) -> bool {
        self.body.is_done()
    }

    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// The response has begun before the request has ended.
    pub(in crate::forward) fn detach(&mut self) {
        self.upload = match std::mem::replace(&mut self.upload, Uploading::Done) {
            Uploading::Inline(mut upload) => {
                let connection = self.connection.clone();
                Uploading::Task(Task(tokio::task::spawn_local(async move {
                    let sent = poll_fn(|cx| upload.poll(cx)).await;
                    if sent.is_err() {
                        connection.shut();
                    }
                    sent.is_ok()
                })))
            }
            other => other,
        };
    }

    /// The response is complete: the connection may be used again, once the request is.
    pub(in crate::forward) fn end(mut self, exchange: &Rc<Exchange>) {
        if !self.persists || !self.body.is_done() || !self.connection.has_nothing_left() {
            return;
        }
        self.detach();
        let Self { connection, pool, upload, .. } = self;
        match upload {
            Uploading::Task(mut task) => {
                // The rest of the request is still on its way, for as long as the origin takes it.
                let exchange = Rc::clone(exchange);
                if !task.0.is_finished() {
                    exchange.await_origin();
                }
                tokio::task::spawn_local(async move {
                    let is_sent = tokio::select! {
                        biased;
                        is_sent = &mut task.0 => is_sent.unwrap_or(false),
                        () = exchange.deadline().elapsed() => false,
                    };
                    if is_sent && let Some(pool) = pool.upgrade() {
                        pool.put(connection);
                    }
                });
            }
            Uploading::Done | Uploading::Inline(_) => {
                if let Some(pool) = pool.upgrade() {
                    pool.put(connection);
                }
            }
        }
    }
}

/// The head of the response, if it is complete in what has come, of which the last `count` bytes are new. The client is
/// told of those before it.
pub(super) fn read_head(
    buffer: &mut BytesMut,
    count: usize,
    asks: Asks,
    client: Option<&Interim>,
) -> Result<Option<Head>, Error> {
    loop {
        let fresh = buffer.get(buffer.len().saturating_sub(count)..).unwrap_or_default();
        // Only the end of a line may be that of a head; the first bytes tell whether it is one at all.
        let may_be_head = fresh.len() == buffer.len() || fresh.contains(&b'\n');
        let parsed = if may_be_head { response::parse(buffer, asks)? } else { None };
        let Some((length, head)) = parsed else { break };
        buffer.advance(length);
        if !is_interim(head.reply.status) {
            return Ok(Some(head));
        }
        if let Some(client) = client {
            tell(head.reply, client);
        }
    }
    if buffer.len() > MAX_HEAD as usize { Err(Error::TooLarge(TOO_LARGE)) } else { Ok(None) }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Passes on an interim response (RFC 9110 §15.2), but what was asked for here.
fn tell(mut head: reply::Head, client: &Interim) {
    if head.status != StatusCode::CONTINUE {
        let fields = head.fields.map();
        if filter_interim(fields).is_ok() {
            client.push(head.status, fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nHTTP/1.1 103 in a body\r\n\r\n";

    /// What a client is told when an origin sends this in pieces of this size, and the status of the response.
    fn told(text: &str, size: usize) -> (String, Option<u16>) {
        let (client, mut buffer, mut status) = (Interim::default(), BytesMut::new(), None);
        for piece in text.as_bytes().chunks(size) {
            buffer.extend_from_slice(piece);
            match read_head(&mut buffer, piece.len(), Asks::default(), Some(&client)) {
                Ok(None) => continue,
                Ok(Some(head)) => status = Some(head.reply.status.as_u16()),
                Err(_) => {}
            }
            break;
        }
        let mut told = Vec::new();
        let _ = client.poll_write_to(|bytes| {
            told.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        });
        (String::from_utf8(told).unwrap(), status)
    }

    #[test]
    fn interim_heads_are_told_until_the_answer_begins_however_they_are_cut() {
        let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n";
        let processing = "HTTP/1.0 102 Whatever\r\n\r\n";
        for (text, expected, status) in [
            (OK.to_owned(), String::new(), Some(200)),
            ([hint, OK].concat(), hint.to_owned(), Some(200)),
            ([processing, hint, hint, OK].concat(), format!("HTTP/1.1 102 Processing\r\n\r\n{hint}{hint}"), Some(200)),
            (["HTTP/1.1 100 Continue\r\n\r\n", hint, OK].concat(), hint.to_owned(), Some(200)),
            (["HTTP/1.1 101 Switching Protocols\r\n\r\n", hint].concat(), String::new(), Some(101)),
            ("HTTP/1.1 103 Early\n\n".to_owned() + OK, "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned(), Some(200)),
            ("ABCDEFGHI1\r\n\r\n".to_owned() + hint, String::new(), None),
            ("HTTP/1.1 103 \r\nno field\r\n\r\n".to_owned() + hint, String::new(), None),
            // Larger than what a client is told of.
            (format!("HTTP/1.1 103 \r\nlarge: {}\r\n\r\n{hint}{OK}", "x".repeat(33_000)), hint.to_owned(), Some(200)),
            (
                format!("HTTP/1.1 103 \r\nlarge: {}\r\n\r\n{hint}{OK}", "x".repeat(2 * MAX_HEAD as usize)),
                String::new(),
                None,
            ),
        ] {
            for size in [1, 2, 3, 9, 10, 11, 50, 1000, usize::MAX] {
                assert_eq!(told(&text, size), (expected.clone(), status), "{size}: {text:.200}");
            }
        }
    }

    #[test]
    fn what_is_for_one_hop_is_not_told() {
        let head = "HTTP/1.1 103 Early Hints\r\nConnection: close, X-Hop\r\nX-Hop: a\r\nKeep-Alive: b\r\nContent-Length: 1\r\n\
                    Transfer-Encoding: chunked\r\nTrailer: c\r\nX-Mine: d\r\n\r\n";
        assert_eq!(told(head, 1000).0, "HTTP/1.1 103 Early Hints\r\nx-mine: d\r\n\r\n");
    }
}
