//! What a client sends, read in the one way in which it can be read.
//!
//! Common parsers answer 200 to bare line feeds, to `Content-Length` beside `Transfer-Encoding`, to two lengths, and cut a
//! fragment from the target. What we forward is written afresh, so the origin is safe; a proxy in *front* of us that reads
//! those otherwise is not. So a head that is not sound is refused, and nothing behind it is read. The bytes behind a
//! message stay here until its answer is written: a client that goes away is then seen behind them.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod head;
mod request_line;
mod spare;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};

pub(super) use self::head::{Framing, Head, LENGTH_TOO_LARGE, MAX_FIELDS, MAX_LENGTH, is_host};
pub(super) use self::request_line::{MAX_TARGET, check_characters};
pub(super) use self::spare::Spare;
use super::http2::PREFACE;
use crate::chunked::{Chunked, Malformed, Piece, take};
use crate::denial::Denial;

/// The most bytes that are kept behind a message whose answer is not written yet. A client needs no token to send them.
const MAX_HELD: usize = 8 * 1024;

/// One connection's reading side.
#[derive(Debug)]
pub(super) struct Wire {
    state: State,
    /// What was read and not taken yet.
    held: BytesMut,
    /// No head has come yet, which may be the preface of HTTP/2 instead.
    is_first: bool,
    /// An empty line before the next head has been forgiven.
    has_skipped: bool,
    max_head: usize,
}

#[derive(Debug)]
enum State {
    /// Between a message's answer and the end of the next head; so many bytes were looked at.
    Head { seen: usize },
    /// In a body of a known length.
    Body { left: u64 },
    /// In a chunked body.
    Chunked(Box<Chunked>),
    /// The message was taken; its answer is not written yet.
    Answer,
    /// The connection is no longer HTTP.
    Tunnel,
    /// After a refusal: nothing more is read as a request.
    Refused,
    /// It is no HTTP/1.
    Http2,
}

impl Wire {
    /// A connection at its first head, which may have so many bytes.
    pub(super) fn new(max_head: usize) -> Self {
        Self { state: State::Head { seen: 0 }, held: BytesMut::new(), is_first: true, has_skipped: false, max_head }
    }

    /// Keeps what was read from the socket.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Refused) {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Whether there is a whole head to be taken, or something that is none of HTTP/1.
    ///
    /// # Errors
    /// A denial when it is refused already.
    pub(super) fn has_head(&mut self) -> Result<bool, Denial> {
        Ok(!self.is_between() || self.find_head()?.is_some() || self.is_http2())
    }

    /// Takes the next head, into the room of a spare one, once it is complete.
    ///
    /// # Errors
    /// A denial when it is refused; nothing more is read then.
    pub(super) fn take_head(&mut self, spare: &mut Spare) -> Result<Option<Head>, Denial> {
        let Some(length) = self.find_head()? else { return Ok(None) };
        let head = head::parse(self.held.get(..length).unwrap_or_default(), spare);
        self.skip(length);
        self.begin(head.as_ref().ok());
        head.map(Some)
    }

    /// Keeps what was read, and takes a head out of it. One that comes in one piece, as most do, is not held before.
    ///
    /// # Errors
    /// As for [`Wire::take_head`].
    pub(super) fn receive_head(&mut self, bytes: &[u8], spare: &mut Spare) -> Result<Option<Head>, Denial> {
        let is_fresh = matches!(self.state, State::Head { seen: 0 }) && self.held.is_empty() && !self.is_first;
        if !is_fresh || bytes.starts_with(b"\r") || !head::is_whole(bytes, self.max_head) {
            self.receive(bytes);
            return self.take_head(spare);
        }
        let head = head::parse(bytes, spare);
        self.begin(head.as_ref().ok());
        if let Some(rest) = head.as_ref().ok().and_then(|head| bytes.get(head.length..)).filter(|rest| !rest.is_empty())
        {
            self.held.extend_from_slice(rest);
        }
        head.map(Some)
    }

    /// Takes the next frame of the body; `None` at its end, or until more comes.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<Bytes>>, Malformed> {
        let frame = match &mut self.state {
            State::Body { left } if !self.held.is_empty() => {
                let data = take(&mut self.held, usize::try_from(*left).unwrap_or(usize::MAX));
                let left = left.saturating_sub(data.len() as u64);
                self.read_body(left);
                Some(Frame::data(data))
            }
            State::Chunked(chunked) => {
                let piece = chunked.next(&mut self.held)?;
                if chunked.is_done() {
                    self.state = State::Answer;
                }
                piece.map(|piece| match piece {
                    Piece::Data(data) => Frame::data(data),
                    Piece::Trailers(trailers) => Frame::trailers(trailers),
                })
            }
            _ => None,
        };
        self.release();
        Ok(frame)
    }

    /// How much of a body is left, where that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Body { left } => SizeHint::with_exact(left),
            State::Chunked(_) => SizeHint::default(),
            _ => SizeHint::with_exact(0),
        }
    }

    /// How much of a body of a known length is still to be taken.
    pub(super) const fn left(&self) -> Option<u64> {
        match self.state {
            State::Body { left } => Some(left),
            _ => None,
        }
    }

    /// How many bytes are here that were not taken.
    pub(super) fn held_size(&self) -> u64 {
        self.held.len() as u64
    }

    /// How many bytes of a body may go from the socket straight to who reads it.
    pub(super) fn direct(&self) -> Option<u64> {
        match self.state {
            State::Body { left } if self.held.is_empty() => Some(left),
            _ => None,
        }
    }

    /// So many bytes went there.
    pub(super) fn went_direct(&mut self, count: usize) {
        if let State::Body { left } = self.state {
            self.read_body(left.saturating_sub(count as u64));
        }
    }

    /// Whether the connection began with the preface of HTTP/2.
    pub(super) const fn is_http2(&self) -> bool {
        matches!(self.state, State::Http2)
    }

    /// Whether bytes are here that were not taken.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives at most `limit` of the bytes that are here, whatever they are.
    pub(super) fn give<T>(&mut self, limit: usize, then: impl FnOnce(&[u8]) -> T) -> T {
        let count = limit.min(self.held.len());
        let given = then(self.held.get(..count).unwrap_or_default());
        self.skip(count);
        given
    }

    /// The answer is written: the next head may come, if the message has been taken to its end. Before that, what is held
    /// is still the body's, and must not be read as a head. Tells whether it was.
    pub(super) fn go_on(&mut self) -> bool {
        let is_done = matches!(self.state, State::Answer);
        if is_done {
            self.state = State::Head { seen: 0 };
            self.skip_empty_line();
        }
        is_done
    }

    /// Reads nothing more, as when the time for a head is over.
    pub(super) fn refuse(&mut self) {
        self.state = State::Refused;
        self.held = BytesMut::new();
    }

    /// What comes from here on is not HTTP.
    pub(super) fn switch(&mut self) {
        self.state = State::Tunnel;
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head { .. }) && !self.held.is_empty()
    }

    /// How much memory is held for bytes that were not taken.
    pub(super) fn held_capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Whether the last message and its answer are done, and no head has been taken.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Whether a message has been taken and its answer is awaited.
    pub(super) const fn is_awaiting_answer(&self) -> bool {
        matches!(self.state, State::Answer)
    }

    /// How many bytes more may be kept behind a message whose answer is awaited.
    pub(super) fn room(&self) -> usize {
        MAX_HELD.saturating_sub(self.held.len())
    }

    /// Looks for a whole head in what is held; how long it is.
    fn find_head(&mut self) -> Result<Option<usize>, Denial> {
        self.skip_empty_line();
        let State::Head { seen } = self.state else { return Ok(None) };
        if self.held.is_empty() {
            return Ok(None);
        }
        if self.is_first && PREFACE.starts_with(self.held.get(..PREFACE.len()).unwrap_or(&self.held)) {
            if self.held.len() >= PREFACE.len() {
                self.state = State::Http2;
            }
            return Ok(None);
        }
        let found = head::find(&self.held, seen, self.max_head).inspect_err(|_| self.refuse())?;
        if found.is_none() {
            self.state = State::Head { seen: self.held.len() };
        }
        Ok(found)
    }

    /// RFC 9112 §2.2: one empty line before the request line is forgiven, in one piece or in two.
    fn skip_empty_line(&mut self) {
        if matches!(self.state, State::Head { seen: 0 | 1 }) && !self.has_skipped && self.held.starts_with(b"\r\n") {
            self.skip(2);
            self.has_skipped = true;
            self.state = State::Head { seen: 0 };
        }
    }

    /// A message begins with this head; none was accepted: it is refused.
    fn begin(&mut self, head: Option<&Head>) {
        self.is_first = false;
        self.has_skipped = false;
        match head.map(|head| head.framing) {
            Some(Framing::Length(length)) => self.read_body(length),
            Some(Framing::Chunked) => self.state = State::Chunked(Box::new(Chunked::of_request())),
            None => self.refuse(),
        }
    }

    /// So much of the body is still to come.
    fn read_body(&mut self, left: u64) {
        self.state = match left {
            0 => State::Answer,
            left => State::Body { left },
        };
    }

    fn skip(&mut self, count: usize) {
        self.held.advance(count.min(self.held.len()));
        self.release();
    }

    /// Between messages a connection keeps no memory.
    fn release(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests;
