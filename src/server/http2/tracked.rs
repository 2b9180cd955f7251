//! The body of an answer, whose end is that of its exchange.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::streams::Exchange;

pin_project_lite::pin_project! {
    /// An answer's body.
    pub(super) struct Tracked<B> {
        #[pin]
        body: B,
        exchange: Exchange,
        is_silent: bool,
    }
}

impl<B> Tracked<B> {
    /// The body whose end is the exchange's; `is_silent` where none of it is sent.
    pub(super) const fn new(body: B, exchange: Exchange, is_silent: bool) -> Self {
        Self { body, exchange, is_silent }
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = loop {
            match this.body.as_mut().poll_frame(cx) {
                // hyper would send it in answer to HEAD, too (RFC 9110 §9.3.2).
                Poll::Ready(Some(Ok(_))) if *this.is_silent => {}
                polled => break polled,
            }
        };
        let exchange: &Exchange = this.exchange;
        match polled {
            // Asked for again once the client has made room.
            Poll::Ready(_) => exchange.await_room(),
            Poll::Pending => exchange.has_room(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
