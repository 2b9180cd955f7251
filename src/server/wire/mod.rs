//! A stricter reader in front of hyper: it passes on only what can be read in one way.
//!
//! hyper answers 200 to bare line feeds, to `Content-Length` beside `Transfer-Encoding`, to two lengths, and cuts a
//! fragment from the target. What we forward is written afresh, so the origin is safe; a proxy in *front* of us that
//! reads those otherwise is not. So a head reaches hyper only when it is complete and sound, and the bytes behind a
//! message stay here until its answer is written: a client that goes away is then seen behind them.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod chunked;
mod head;

use bytes::{Buf, BytesMut};

use self::chunked::Chunked;
pub(super) use self::chunked::MalformedChunk;
use self::head::{Framing, Scan};
pub(super) use self::head::{MAX_FIELDS, MAX_TARGET, is_host, is_target_byte};
use super::http2::PREFACE;
use crate::denial::Denial;

/// What hyper gets to read in place of a head that is refused; its answer is the refusal.
const HARMLESS_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// The most bytes that are kept back behind a message whose answer is not written yet.
const MAX_HELD: usize = 64 * 1024;

/// One connection's reading side.
#[derive(Debug)]
pub(super) struct Wire {
    state: State,
    /// What was read and not passed on yet.
    held: BytesMut,
    /// How many of the held bytes may be passed on.
    cleared: usize,
    /// The answer to the last message is written; it may come before the message's end.
    is_answered: bool,
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
    /// The message was passed on; its answer is not written yet.
    Answer,
    /// The connection is no longer HTTP: everything is passed on as it is.
    Tunnel,
    /// After a refusal: nothing more is read as a request.
    Refused,
    /// It is no HTTP/1.
    Http2,
}

impl Wire {
    /// A connection at its first head, which may have so many bytes.
    pub(super) fn new(max_head: usize) -> Self {
        Self {
            state: State::Head { seen: 0 },
            held: BytesMut::new(),
            cleared: 0,
            is_answered: false,
            is_first: true,
            has_skipped: false,
            max_head,
        }
    }

    /// Takes what was read from the socket.
    ///
    /// # Errors
    /// A denial when a head was refused: the next bytes passed on are a harmless head, whose request is to be answered
    /// with it.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), Denial> {
        if !matches!(self.state, State::Refused) {
            self.held.extend_from_slice(bytes);
        }
        self.scan()
    }

    /// The same, where `limit` bytes can be passed on at once: a head that arrives in one piece, as most do, is not held.
    /// Tells whether it was passed on.
    ///
    /// # Errors
    /// As for [`Wire::receive`].
    pub(super) fn receive_through(
        &mut self,
        bytes: &[u8],
        limit: usize,
        pass: impl FnOnce(&[u8]),
    ) -> Result<bool, Denial> {
        if !matches!(self.state, State::Head { seen: 0 }) || !self.held.is_empty() || bytes.starts_with(b"\r") {
            return self.receive(bytes).map(|()| false);
        }
        let Some(len) = self.look(bytes, 0)?.filter(|len| *len <= limit) else {
            self.held.extend_from_slice(bytes);
            return Ok(false);
        };
        let (head, rest) = bytes.split_at(len);
        pass(head);
        self.cleared = 0;
        if !rest.is_empty() {
            self.held.extend_from_slice(rest);
        }
        Ok(true)
    }

    /// Passes on what may be passed on, at most `limit` bytes, through `pass`; tells whether there was any.
    pub(super) fn pass(&mut self, limit: usize, pass: impl FnOnce(&[u8])) -> Result<bool, MalformedChunk> {
        if self.cleared == 0 {
            self.clear()?;
        }
        let count = self.cleared.min(limit);
        pass(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.cleared = self.cleared.saturating_sub(count);
        if self.held.is_empty() {
            // Between messages a connection keeps no memory.
            self.held = BytesMut::new();
        }
        Ok(count > 0)
    }

    /// Whether the connection began with the preface of HTTP/2.
    pub(super) const fn is_http2(&self) -> bool {
        matches!(self.state, State::Http2)
    }

    /// Whether bytes are here that were not passed on.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives at most `limit` of the bytes that are here, whatever they are.
    pub(super) fn give<T>(&mut self, limit: usize, then: impl FnOnce(&[u8]) -> T) -> T {
        let given = self.held.split_to(limit.min(self.held.len()));
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        then(&given)
    }

    /// How many bytes of a body may go from the socket straight to hyper.
    pub(super) fn direct(&self) -> u64 {
        match self.state {
            State::Body { left } if self.held.is_empty() => left,
            _ => 0,
        }
    }

    /// So many bytes went there.
    pub(super) fn went_direct(&mut self, count: u64) {
        if let State::Body { left } = self.state {
            self.read_body(left.saturating_sub(count));
        }
    }

    /// The answer is written: the next head may come once the message has been passed on, or is here already.
    pub(super) fn answered(&mut self) -> Result<(), Denial> {
        self.is_answered = true;
        self.go_on()
    }

    /// Goes on to the next head behind a message that is answered and passed on to its last byte. To be called whenever
    /// bytes were passed on: before that, what is held is still the body's, and must not be read as a head.
    pub(super) fn go_on(&mut self) -> Result<(), Denial> {
        if matches!(self.state, State::Answer) && self.is_answered && self.cleared == 0 {
            self.state = State::Head { seen: 0 };
            return self.scan();
        }
        Ok(())
    }

    /// Refuses what has arrived of a head, as for its time being over.
    pub(super) fn refuse(&mut self) {
        self.state = State::Refused;
        self.held = BytesMut::from(HARMLESS_HEAD);
        self.cleared = HARMLESS_HEAD.len();
    }

    /// What comes from here on is not HTTP.
    pub(super) fn switch(&mut self) {
        self.state = State::Tunnel;
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head { .. }) && !self.held.is_empty()
    }

    /// Whether the last message and its answer are done, and no head is complete.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Whether a message has been passed on and its answer is awaited.
    pub(super) const fn is_awaiting_answer(&self) -> bool {
        matches!(self.state, State::Answer)
    }

    /// Whether so much is held that reading on must wait for the answer.
    pub(super) fn is_full(&self) -> bool {
        self.is_awaiting_answer() && self.held.len() >= MAX_HELD
    }

    /// Looks for a whole head.
    fn scan(&mut self) -> Result<(), Denial> {
        let State::Head { seen } = self.state else { return Ok(()) };
        // RFC 9112 §2.2: one empty line before the request line is forgiven, in one piece or in two.
        let is_empty_line = !self.has_skipped && seen < 2 && self.held.starts_with(b"\r\n");
        let seen = if is_empty_line { 0 } else { seen };
        if is_empty_line {
            self.held.advance(2);
            self.has_skipped = true;
            self.state = State::Head { seen };
        }
        if self.held.is_empty() {
            return Ok(());
        }
        if self.is_first && PREFACE.starts_with(self.held.get(..PREFACE.len()).unwrap_or(&self.held)) {
            if self.held.len() >= PREFACE.len() {
                self.state = State::Http2;
            }
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let looked = self.look(&held, seen);
        if looked.is_ok() {
            self.held = held;
        }
        looked.map(drop)
    }

    /// Looks for the end of the head that these bytes begin with; how long it is, if it is complete.
    fn look(&mut self, bytes: &[u8], seen: usize) -> Result<Option<usize>, Denial> {
        match head::scan(bytes, seen, self.max_head) {
            Ok(Scan::Incomplete) => {
                self.state = State::Head { seen: bytes.len() };
                Ok(None)
            }
            Ok(Scan::Complete { len, framing }) => {
                self.cleared = len;
                self.is_answered = false;
                self.is_first = false;
                self.has_skipped = false;
                match framing {
                    Framing::Length(length) => self.read_body(length),
                    Framing::Chunked => self.state = State::Chunked(Box::new(Chunked::new())),
                }
                Ok(Some(len))
            }
            Err(denial) => {
                self.refuse();
                Err(denial)
            }
        }
    }

    /// Clears what of the held bytes belongs to the body.
    fn clear(&mut self) -> Result<(), MalformedChunk> {
        match &mut self.state {
            State::Body { left } => {
                let count = self.held.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.cleared = count;
                let left = left.saturating_sub(count as u64);
                self.read_body(left);
            }
            State::Chunked(chunked) => {
                self.cleared = chunked.pass(&self.held)?;
                if chunked.is_done() {
                    self.read_body(0);
                }
            }
            State::Tunnel => self.cleared = self.held.len(),
            State::Head { .. } | State::Answer | State::Refused | State::Http2 => {}
        }
        Ok(())
    }

    /// So much of the body is still to come.
    fn read_body(&mut self, left: u64) {
        self.state = match left {
            0 => State::Answer,
            left => State::Body { left },
        };
    }
}

#[cfg(test)]
mod tests;
