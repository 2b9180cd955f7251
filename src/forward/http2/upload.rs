//! A request body on its way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::{Body, Frame};

use crate::forward::body::{Cut, RequestBody};

/// How much of a body is kept until the origin has answered, in bytes.
const MAX_KEPT: usize = 64 * 1024;

/// A body on its way.
pub(super) struct Upload {
    body: RequestBody,
    /// What the origin has yet to take.
    rest: Bytes,
    is_last: bool,
    kept: Kept,
}

/// What was sent of a body, for as long as it is all of it.
#[derive(Default)]
struct Kept {
    frames: VecDeque<Frame<Bytes>>,
    size: usize,
    is_lost: bool,
}

impl Kept {
    fn keep(&mut self, frame: Frame<Bytes>) {
        self.size += frame.data_ref().map_or(0, Bytes::len);
        if self.is_lost || self.size > MAX_KEPT {
            self.forget();
        } else {
            self.frames.push_back(frame);
        }
    }

    fn forget(&mut self) {
        *self = Self { is_lost: true, ..Self::default() };
    }
}

impl Upload {
    pub(super) fn new(body: RequestBody) -> Self {
        Self { body, rest: Bytes::new(), is_last: false, kept: Kept::default() }
    }

    /// Sends what there is to send, as far as the origin takes it; ready when no more will be sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut SendStream<Bytes>) -> Poll<Result<(), Cut>> {
        loop {
            if !self.rest.is_empty() {
                let Some(room) = ready!(poll_room(self.rest.len(), cx, stream)) else { return Poll::Ready(Ok(())) };
                let next = self.rest.split_to(room.min(self.rest.len()));
                let is_end = self.is_last && self.rest.is_empty();
                if stream.send_data(next, is_end).is_err() || is_end {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if stream.poll_reset(cx).is_ready() {
                // Whether there is an answer, its reader knows.
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if self.begin(frame, stream).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(Err(cut)) => return Poll::Ready(Err(cut)),
                None => {
                    // An error here is that of the stream, which its reader is told.
                    let _ = stream.send_data(Bytes::new(), true);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Ready when it was the last.
    fn begin(&mut self, frame: Frame<Bytes>, stream: &mut SendStream<Bytes>) -> Poll<()> {
        let copy = match frame.data_ref() {
            Some(data) => Frame::data(data.clone()),
            None => Frame::trailers(frame.trailers_ref().cloned().unwrap_or_default()),
        };
        self.kept.keep(copy);
        match frame.into_data() {
            Ok(data) => {
                self.is_last = self.body.is_end_stream();
                self.rest = data;
                if self.rest.is_empty() && self.is_last {
                    let _ = stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
                Poll::Pending
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    let _ = stream.send_trailers(trailers);
                }
                Poll::Ready(())
            }
        }
    }

    /// The origin has the request: nothing has to be kept of it any more.
    pub(super) fn forget(&mut self) {
        self.kept.forget();
    }

    /// The whole body, if all that was sent of it has been kept.
    pub(super) fn into_body(self) -> Option<RequestBody> {
        (!self.kept.is_lost).then(|| self.body.again(self.kept.frames))
    }
}

/// How much of this the origin takes now; `None` when it takes no more.
fn poll_room(wanted: usize, cx: &mut Context<'_>, stream: &mut SendStream<Bytes>) -> Poll<Option<usize>> {
    stream.reserve_capacity(wanted);
    loop {
        match stream.capacity() {
            0 => {}
            room => return Poll::Ready(Some(room)),
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
}
