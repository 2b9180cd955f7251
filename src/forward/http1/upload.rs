//! A request on its way: what is left of its head, and its body (RFC 9112 §6, §7.1).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderName;
use http_body::{Body, Frame};

use super::connection::Connection;
use super::{Broken, Error};
use crate::forward::body::{Cut, RequestBody};

/// The most bytes that are put together to be written in one piece.
const FLAT_SIZE: usize = 4 * 1024;

/// How the end of a request's body is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::forward) enum Length {
    /// By the number of its bytes.
    Known(u64),
    /// By a last chunk, and these trailers behind it (RFC 9110 §6.6.2).
    Chunked(Vec<HeaderName>),
}

/// What is still to be written. Dropped before that is, the connection ends in a reset.
#[derive(Debug)]
pub(super) struct Upload {
    connection: Connection,
    is_done: bool,
    /// Until it has come to its end.
    body: Option<RequestBody>,
    length: Length,
    /// Frames, and what is small of the rest.
    small: BytesMut,
    /// What is large; it goes behind the small.
    large: Bytes,
    /// What is behind the large.
    behind: &'static [u8],
}

impl Upload {
    /// `head`: what of it is not written yet.
    pub(super) fn new(connection: &Connection, head: &[u8], body: Option<RequestBody>, length: Length) -> Self {
        let (connection, small) = (connection.clone(), BytesMut::from(head));
        Self { connection, is_done: false, body, length, small, large: Bytes::new(), behind: b"" }
    }

    /// Writes what there is, as far as the origin takes it; ready when everything is written.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            while self.large.is_empty() && self.small.len() < FLAT_SIZE {
                let Some(body) = &mut self.body else { break };
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => frame.and_then(|frame| self.add(frame)).map_err(Broken::Cut)?,
                    Poll::Ready(None) => self.end().map_err(Broken::Cut)?,
                    Poll::Pending => break,
                }
            }
            if self.small.is_empty() && self.large.is_empty() {
                ready!(self.connection.poll_flush(cx)).map_err(Error::Io)?;
                self.is_done = self.body.is_none();
                return if self.is_done { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            ready!(self.poll_write(cx)).map_err(Error::Io)?;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.connection;
        let written = if self.large.is_empty() {
            connection.poll_write(cx, &[IoSlice::new(&self.small)])
        } else if self.small.is_empty() {
            connection.poll_write(cx, &[IoSlice::new(&self.large)])
        } else {
            connection.poll_write(cx, &[IoSlice::new(&self.small), IoSlice::new(&self.large)])
        };
        let written = ready!(written)?;
        let of_small = written.min(self.small.len());
        self.small.advance(of_small);
        self.large.advance((written - of_small).min(self.large.len()));
        if self.large.is_empty() && !self.behind.is_empty() {
            self.small.extend_from_slice(std::mem::take(&mut self.behind));
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, frame: Frame<Bytes>) -> Result<(), Cut> {
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => match &mut self.length {
                Length::Known(left) => {
                    // What was announced is what is sent: the rest would be another request.
                    *left = left.checked_sub(data.len() as u64).ok_or(Cut::Malformed)?;
                    self.add_data(data);
                }
                Length::Chunked(_) => {
                    self.small.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    self.add_data(data);
                    if self.large.is_empty() {
                        self.small.extend_from_slice(b"\r\n");
                    } else {
                        self.behind = b"\r\n";
                    }
                }
            },
            Err(frame) => {
                if let (Length::Chunked(announced), Ok(trailers)) = (&self.length, frame.into_trailers()) {
                    self.small.extend_from_slice(b"0\r\n");
                    // What was not announced, an origin may not expect.
                    for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
                        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                            self.small.extend_from_slice(part);
                        }
                    }
                    self.small.extend_from_slice(b"\r\n");
                    self.body = None;
                }
            }
        }
        Ok(())
    }

    fn add_data(&mut self, data: Bytes) {
        if data.len() < FLAT_SIZE {
            self.small.extend_from_slice(&data);
        } else {
            self.large = data;
        }
    }

    fn end(&mut self) -> Result<(), Cut> {
        self.body = None;
        match &self.length {
            Length::Known(0) => {}
            Length::Known(_) => return Err(Cut::Gone),
            Length::Chunked(_) => self.small.extend_from_slice(b"0\r\n\r\n"),
        }
        Ok(())
    }
}
impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.abort();
        }
    }
}
