//! One direction of a tunnel.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::forward::websocket::FrameCounter;

/// The most that is read at once, and so the most that waits for an end that does not take it.
const CHUNK: usize = 16 * 1024;

/// From one end to the other.
pub(super) struct Flow {
    /// `None` for what is no WebSocket.
    frames: Option<FrameCounter>,
    /// What the other end has not taken yet. Without any, a direction has no buffer.
    held: Bytes,
    must_flush: bool,
    /// It waits for more to come from the end that bytes come from, and so meets the end of that.
    is_reading: bool,
    phase: Phase,
}

/// What becomes of the bytes that come.
#[derive(Debug)]
enum Phase {
    /// They are passed on.
    Pass,
    /// They are passed on to the end of the current frame; then comes this one of our own.
    Finish(Vec<u8>),
    /// They are thrown away, as behind a close frame.
    Discard,
    /// There are no more: the other end is to be told.
    End,
    /// It has been, or is gone.
    Ended,
}

/// The end that bytes come from is broken.
#[derive(Debug)]
pub(super) struct Broken;

impl Flow {
    /// It begins with what was received already.
    pub(super) fn new(mut frames: Option<FrameCounter>, received: Bytes) -> Self {
        if let Some(frames) = &mut frames {
            frames.observe(&received);
        }
        Self { frames, held: received, must_flush: true, is_reading: false, phase: Phase::Pass }
    }

    /// Passes on what there is, and tells how much; ready at the end. An end that takes nothing more is none for what it
    /// may have said before: the other direction will find out.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        mut count: impl FnMut(usize),
    ) -> Poll<Result<(), Broken>> {
        self.is_reading = false;
        loop {
            if ready!(self.poll_held(cx, to, &mut count)).is_err() {
                self.phase = Phase::Ended;
            }
            if matches!(self.phase, Phase::End) {
                let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.phase = Phase::Ended;
            }
            if matches!(self.phase, Phase::Ended) {
                self.must_flush = false;
                return Poll::Ready(Ok(()));
            }
            let mut space = [MaybeUninit::uninit(); CHUNK];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => self.phase = Phase::End,
                Poll::Ready(Ok(())) => self.pass(cx, buffer.filled(), to, &mut count),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken)),
                Poll::Pending => {
                    self.is_reading = true;
                    if self.must_flush {
                        // What it could not flush, the next write will tell.
                        let _ = ready!(Pin::new(to).poll_flush(cx));
                        self.must_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Passes on what has just come; what is not taken at once is held.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        count: &mut impl FnMut(usize),
    ) {
        let Some(passing) = self.look(bytes) else { return };
        let written = match Pin::new(to).poll_write(cx, passing) {
            Poll::Ready(Ok(written)) => written,
            // The next one fails as well, where that is looked at.
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        count(written);
        self.must_flush = true;
        self.held = Bytes::copy_from_slice(passing.get(written..).unwrap_or_default());
        if self.is_finished() {
            self.finish(bytes.get(passing.len()..).unwrap_or_default());
        }
    }

    /// Counts frames; what of these bytes is to be passed on.
    fn look<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let Some(frames) = &mut self.frames else { return Some(bytes) };
        match self.phase {
            Phase::Finish(_) => {
                let length = frames.advance(bytes);
                bytes.get(..length)
            }
            Phase::Discard => {
                frames.observe(bytes);
                None
            }
            _ => {
                frames.observe(bytes);
                Some(bytes)
            }
        }
    }

    /// Writes what is held.
    pub(super) fn poll_held(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        mut count: impl FnMut(usize),
    ) -> Poll<Result<(), Broken>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.held)) {
                Ok(written) if written > 0 => {
                    self.held.advance(written);
                    count(written);
                    self.must_flush = true;
                }
                _ => {
                    self.held = Bytes::new();
                    return Poll::Ready(Err(Broken));
                }
            }
        }
        // Not even an empty one keeps what it was a part of.
        self.held = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Ends it with a close frame, at the next frame boundary. To be done once.
    pub(super) fn close(&mut self, frame: Vec<u8>) {
        if matches!(self.phase, Phase::Pass) {
            self.phase = Phase::Finish(frame);
            if self.is_finished() {
                self.finish(&[]);
            }
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finish(_)) && self.frames.as_ref().is_some_and(FrameCounter::is_at_boundary)
    }

    /// At a frame boundary: what comes behind it is only looked at, as it may be the answer.
    fn finish(&mut self, behind: &[u8]) {
        let Phase::Finish(close) = std::mem::replace(&mut self.phase, Phase::Discard) else { return };
        let Some(frames) = &mut self.frames else { return };
        if !frames.has_closed() {
            self.held = [&self.held[..], &close].concat().into();
        }
        frames.observe(behind);
    }

    /// Whether the end that bytes go to has been told that it is over, or will never be.
    pub(super) fn is_told(&self) -> bool {
        let is_over = matches!(self.phase, Phase::Discard | Phase::Ended);
        is_over && self.held.is_empty() && !self.must_flush
    }

    /// Whether all that came has been taken by the end that bytes go to.
    pub(super) const fn is_passed_on(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether it will meet the end of the connection that bytes come from.
    pub(super) const fn is_reading(&self) -> bool {
        self.is_reading
    }

    /// Whether the end that bytes come from has said that it is over.
    pub(super) fn has_closed(&self) -> bool {
        let has_ended = matches!(self.phase, Phase::End | Phase::Ended);
        has_ended || self.frames.as_ref().is_some_and(FrameCounter::has_closed)
    }

    /// Whether it can say that it is over.
    pub(super) const fn can_close(&self) -> bool {
        self.frames.is_some()
    }
}
