//! One answer on its way to the client.

use std::error::Error;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{self, HeaderMap, HeaderName};
use http_body::{Body, Frame};

use super::head::{self, Asked, Coding, Written};
use crate::reply::Head;
use crate::server::io::Connection;

/// A frame of so many bytes and less is put together with what is around it: the kernel takes one piece faster.
const SMALL: usize = 4 * 1024;
/// So much is put together at the most.
const GATHERED: usize = 16 * 1024;

/// Why an answer is not written to its end.
pub(super) type Broken = Box<dyn Error + Send + Sync>;

pin_project_lite::pin_project! {
    /// An answer: its head, then its body as it comes.
    pub(super) struct Answer<'h, B> {
        head: &'h Head,
        asked: Asked,
        #[pin]
        body: B,
        written: Option<Written>,
        rest: Pieces,
        end: Option<Result<(), Broken>>,
    }
}

impl<'h, B> Answer<'h, B>
where
    B: Body<Data = Bytes, Error: Into<Broken>>,
{
    pub(super) fn new(head: &'h Head, body: B, asked: Asked) -> Self {
        Self { head, asked, body, written: None, rest: Pieces::default(), end: None }
    }

    /// Writes on; whether another request may follow, once everything is written.
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Poll<Result<bool, Broken>> {
        let mut this = self.project();
        loop {
            ready!(this.rest.poll_write(cx, connection))?;
            match this.end.take() {
                None => {}
                // What came before has gone out.
                Some(Err(broken)) => return Poll::Ready(Err(broken)),
                Some(Ok(())) => {
                    *this.end = Some(Ok(()));
                    ready!(connection.poll_flushed(cx))?;
                    return Poll::Ready(Ok(this.written.as_ref().is_some_and(|written| written.persists)));
                }
            }
            let mut buffer = connection.gathered();
            let written = this.written.get_or_insert_with(|| {
                let length = this.body.size_hint().exact();
                let written = head::write(&mut buffer, this.head, length, *this.asked, connection.date());
                connection.answer(written.coding == Coding::Close);
                written
            });
            let mut large = Large::default();
            let gathered = gather(this.body.as_mut(), cx, &mut written.coding, &mut buffer, &mut large);
            this.rest.write(cx, connection, &buffer, large)?;
            drop(buffer);
            match gathered {
                Gathered::End(end) => *this.end = Some(end),
                Gathered::Waiting if this.rest.is_empty() => {
                    let _ = connection.poll_flushed(cx)?;
                    return Poll::Pending;
                }
                Gathered::Full | Gathered::Waiting => {}
            }
        }
    }
}

/// What there is to be written, as far as it is known.
enum Gathered {
    Full,
    Waiting,
    End(Result<(), Broken>),
}

/// A frame that is not copied, and what is behind it.
#[derive(Debug, Default)]
struct Large {
    data: Bytes,
    tail: &'static [u8],
}

/// Takes frames for as long as there are any and they are small.
fn gather<B>(
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
    coding: &mut Coding,
    to: &mut Vec<u8>,
    large: &mut Large,
) -> Gathered
where
    B: Body<Data = Bytes, Error: Into<Broken>>,
{
    while *coding != Coding::Length(0) && !body.is_end_stream() {
        if to.len() >= GATHERED || !large.data.is_empty() {
            return Gathered::Full;
        }
        let frame = match body.as_mut().poll_frame(cx) {
            Poll::Pending => return Gathered::Waiting,
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(error))) => return Gathered::End(Err(error.into())),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        match frame.into_data().map_err(Frame::into_trailers) {
            Ok(data) => coding.add(data, to, large),
            Err(Ok(trailers)) => return Gathered::End(coding.end(to, large, &trailers)),
            Err(Err(_)) => {}
        }
    }
    Gathered::End(coding.end(to, large, &HeaderMap::new()))
}

impl Coding {
    fn add(&mut self, mut data: Bytes, to: &mut Vec<u8>, large: &mut Large) {
        if let Self::Length(left) = self {
            // More than was announced would be read as another answer.
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= data.len() as u64;
        }
        if data.is_empty() {
            return;
        }
        if let Self::Chunked(_) = self {
            // To memory: it cannot fail.
            let _ = write!(to, "{:X}\r\n", data.len());
            large.tail = b"\r\n";
        }
        if data.len() > SMALL {
            large.data = data;
        } else {
            to.extend_from_slice(&data);
            to.extend_from_slice(std::mem::take(&mut large.tail));
        }
    }

    fn end(&self, to: &mut Vec<u8>, large: &mut Large, trailers: &HeaderMap) -> Result<(), Broken> {
        match self {
            Self::Close | Self::Length(0) => Ok(()),
            Self::Length(left) => Err(format!("{left} bytes of the answer did not come").into()),
            Self::Chunked(announced) if large.data.is_empty() => {
                to.extend_from_slice(b"0\r\n");
                add_trailers(to, trailers, announced);
                to.extend_from_slice(b"\r\n");
                Ok(())
            }
            Self::Chunked(_) => {
                large.tail = b"\r\n0\r\n\r\n";
                Ok(())
            }
        }
    }
}

/// Those that the client was told of (RFC 9110 §6.5.1).
fn add_trailers(to: &mut Vec<u8>, trailers: &HeaderMap, announced: &[HeaderName]) {
    let may_be_trailer = |name: &HeaderName| announced.contains(name) && !NEVER_TRAILERS.contains(name);
    for (name, value) in trailers.iter().filter(|(name, _)| may_be_trailer(name)) {
        head::add(to, name, value.as_bytes());
    }
}

/// What frames a message, routes it or decides about it before it is read.
const NEVER_TRAILERS: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::HOST,
    header::MAX_FORWARDS,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

/// What is left of what the client has not taken.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    large: Large,
}

impl Pieces {
    const fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.large.data.is_empty() && self.large.tail.is_empty()
    }

    /// Writes this, as far as the client takes it, and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, connection: &Connection, bytes: &[u8], large: Large) -> io::Result<()> {
        if bytes.is_empty() && large.data.is_empty() {
            return Ok(());
        }
        let written = match connection.poll_write(cx, bytes, &large.data, large.tail) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.large = large;
        // Few clients leave any.
        let rest = bytes.get(written..).unwrap_or_default();
        self.bytes = rest.to_vec();
        self.written = 0;
        self.advance_large(written.saturating_sub(bytes.len()));
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let bytes = self.bytes.get(self.written..).unwrap_or_default();
            let written = ready!(connection.poll_write(cx, bytes, &self.large.data, self.large.tail))?;
            let of_bytes = written.min(bytes.len());
            self.written += of_bytes;
            self.advance_large(written - of_bytes);
        }
        Poll::Ready(Ok(()))
    }

    fn advance_large(&mut self, count: usize) {
        let of_data = count.min(self.large.data.len());
        self.large.data.advance(of_data);
        self.large.tail = self.large.tail.get(count - of_data..).unwrap_or_default();
    }
}
