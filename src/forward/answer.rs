//! The body of a response as it comes from the origin, in either protocol.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::{Cut, Exchange};
use super::stream::OriginIo;
use super::{http1, http2};
use crate::denial::Denial;

/// The body of a response, with what it comes on.
#[derive(Debug)]
pub(super) enum Answer {
    /// Until it has come to its end.
    Http1(Option<http1::Lease>),
    Http2(Box<http2::Answer>),
}

/// Why an exchange with the origin ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Http1(#[from] http1::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// The origin reset its stream, without an error, before the end of its response.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// The client did not end its request.
    #[error(transparent)]
    Cut(Cut),
    /// It never began.
    #[error(transparent)]
    Denied(Denial),
}

/// A reset that must not come before the end of a response (RFC 9113 §8.1). It has no code that a client could be given: for
/// the client, too, `NO_ERROR` would say that the response is whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stream was reset without an error before its end")]
pub(super) struct Truncated;

impl Broken {
    /// Whether the connection ended, whatever became of the request.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(error) => error.is_io(),
            Self::Truncated(_) | Self::Cut(_) | Self::Denied(_) => false,
        }
    }

    /// What a library says of it; whoever passes it on reads from it how a stream was reset.
    pub(super) fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Http1(error) => Box::new(error),
            Self::Http2(error) => Box::new(error),
            Self::Truncated(truncated) => Box::new(truncated),
            Self::Cut(cut) => Box::new(cut),
            Self::Denied(denial) => Box::new(denial),
        }
    }
}

impl Answer {
    /// The response has begun before the request has ended.
    pub(super) fn detach(&mut self) {
        if let Self::Http1(Some(lease)) = self {
            lease.detach();
        }
    }

    /// The origin has switched protocols: its end of the connection, and what came behind the head of its answer.
    pub(super) fn switched(&mut self) -> Option<(OriginIo, Bytes)> {
        match self {
            Self::Http1(lease) => lease.take()?.switched(),
            Self::Http2(_) => None,
        }
    }

    /// The response is complete.
    pub(super) fn complete(&mut self, exchange: &Rc<Exchange>) {
        match self {
            Self::Http1(lease) => {
                if let Some(lease) = lease.take() {
                    lease.end(exchange);
                }
            }
            Self::Http2(answer) => answer.complete(exchange),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Http1(Some(lease)) => lease.poll_frame(cx),
            Self::Http1(None) => Poll::Ready(None),
            Self::Http2(answer) => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.as_ref().is_none_or(http1::Lease::is_end_stream),
            Self::Http2(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(lease) => lease.as_ref().map_or(SizeHint::with_exact(0), http1::Lease::size_hint),
            Self::Http2(answer) => answer.size_hint(),
        }
    }
}
