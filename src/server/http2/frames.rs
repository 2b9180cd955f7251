//! What the frames of a connection are, seen from outside: which streams are open, whether a list of fields goes on, and
//! whether there is too much that asks for work and leads to nothing.
//!
//! The h2 crate bounds what it keeps and how often a client may be wrong: streams reset before they were looked at, streams
//! that it has to reset, `CONTINUATION`, `DATA` without a byte. It does not bound what it is made to do: `PING` and
//! `SETTINGS` are answered, `WINDOW_UPDATE`, `PRIORITY` and unknown frames looked at, streams begun and reset, as often as
//! they come (CVE-2019-9512, -9513, -9515, CVE-2023-44487). Here each costs something, and time and what becomes of requests
//! earn it back.

use std::num::NonZeroUsize;

use tokio::time::Instant;

use super::errors::Ended;
use super::heads::{Head, Heads, Kind};

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
pub(in crate::server) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client has at first, and the most that it can have.
const CREDIT: u64 = 2_000;
/// What time earns: 500 a second, which costs nobody anything.
const MILLIS_PER_ONE: u64 = 2;
/// What an answer earns.
const ANSWER: u64 = 5;
/// What a frame of a request's body earns: clients measure with a `PING` for each.
const BODY: u64 = 2;
/// What a frame of an answer's body earns: some clients make room after each, for the stream and for the connection, and
/// measure with a `PING`.
const ANSWER_BODY: u64 = 3;
/// For so many bytes of an answer a client may make room once more. Go's does so for each 4 KiB that are read, for the
/// stream and for the connection.
const ROOM: u64 = 2048;
/// What a stream costs that is reset before its answer has ended, by the client or for what it did.
const RESET: u64 = 5;
/// What `SETTINGS` cost: they concern every stream.
const SETTINGS: u64 = 5;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Too many frames that lead to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many HTTP/2 frames that lead to nothing")]
pub(super) struct Flood;

/// RFC 9113 §7.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    NoError = 0,
    InternalError = 2,
    Cancel = 8,
    EnhanceYourCalm = 11,
}

/// The frames of one connection, as far as they have come and gone.
#[derive(Debug)]
pub(super) struct Frames {
    received: Heads,
    sent: Heads,
    streams: Open,
    is_in_fields: bool,
    credit: u64,
    /// What answers have earned beyond the most that credit can be. It pays for what a client says to their frames, which may
    /// come long after they were sent, and for nothing else. Nothing bounds it but the answers themselves.
    replies: u64,
    /// What was paid since that was asked last.
    paid: u64,
    /// When time was counted last.
    since: Instant,
    /// How many bytes of bodies have come since that was asked last.
    content: usize,
    /// What has been ended without an answer since that was asked last.
    ended: Vec<Ended>,
}

/// The streams that a client has opened and neither side has ended for good.
#[derive(Debug)]
struct Open {
    /// In ascending order.
    ids: Vec<u32>,
    /// Of each, whether its answer has begun.
    are_answered: Vec<bool>,
    /// The highest there ever was.
    latest: u32,
    /// What is above is not looked at any more (RFC 9113 §6.8).
    last: u32,
}

impl Frames {
    /// Before the preface.
    pub(super) fn new() -> Self {
        Self {
            received: Heads::behind(PREFACE.len()),
            sent: Heads::default(),
            streams: Open { ids: Vec::new(), are_answered: Vec::new(), latest: 0, last: u32::MAX },
            is_in_fields: false,
            credit: CREDIT,
            replies: 0,
            paid: 0,
            since: Instant::now(),
            content: 0,
            ended: Vec::new(),
        }
    }

    /// Whether a list of fields has begun and not ended.
    pub(super) const fn are_in_fields(&self) -> bool {
        self.is_in_fields || (self.received.skip > 0 && matches!(self.received.kind, Kind::Fields | Kind::More))
    }

    /// Whether a stream is open: asked for, and not answered to its end.
    pub(super) const fn have_open(&self) -> bool {
        !self.streams.ids.is_empty()
    }

    /// Looks at what has come from the client.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let earned = u64::try_from(elapsed).unwrap_or(u64::MAX) / MILLIS_PER_ONE;
        if earned > 0 {
            self.earn(earned);
            self.since = now;
        }
        while let Some(frame) = self.received.next(&mut bytes) {
            self.receive(&frame)?;
        }
        Ok(())
    }

    /// Looks at what has gone to the client; whether a body was among it.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_body = self.sent.skip > 0 && self.sent.kind == Kind::Data && !bytes.is_empty();
        while let Some(frame) = self.sent.next(&mut bytes) {
            self.send(&frame);
            has_body |= frame.kind == Kind::Data;
        }
        has_body
    }

    /// What was paid since this was asked last.
    pub(super) fn take_paid(&mut self) -> u64 {
        std::mem::take(&mut self.paid)
    }

    /// How many bytes of bodies have come, or are announced by the heads of their frames, since this was asked last.
    pub(super) fn take_content(&mut self) -> usize {
        std::mem::take(&mut self.content)
    }

    /// What has been ended for what the client sent, without an answer of ours, since this was asked last.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// How many bytes are to be written before another frame can begin, as far as that is known; `None` when it can now.
    pub(super) fn left_of_sent(&self) -> Option<NonZeroUsize> {
        self.sent.left()
    }

    /// A GOAWAY that ends the connection, when one can be put in: in the middle of another frame none can.
    pub(super) fn goaway(&self, reason: Reason) -> Option<[u8; 17]> {
        if self.sent.is_within() {
            return None;
        }
        let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, reason as u8];
        frame.get_mut(9..13)?.copy_from_slice(&self.streams.latest.min(self.streams.last).to_be_bytes());
        Some(frame)
    }

    fn receive(&mut self, frame: &Head) -> Result<(), Flood> {
        let is_open = self.streams.contains(frame.stream);
        match frame.kind {
            Kind::Data if frame.length > 0 && is_open => {
                self.content = self.content.saturating_add(frame.length);
                self.earn(BODY);
                return Ok(());
            }
            Kind::Reset if self.streams.end(frame.stream).is_some() => return self.pay(RESET),
            Kind::Settings => return self.pay(SETTINGS),
            Kind::Room | Kind::Ping if self.replies > 0 => {
                self.replies -= 1;
                self.paid += 1;
                return Ok(());
            }
            Kind::Fields => self.streams.begin(frame.stream),
            _ => {}
        }
        if matches!(frame.kind, Kind::Fields | Kind::More) {
            self.is_in_fields = frame.flags & END_HEADERS == 0;
        }
        self.pay(1)
    }

    fn send(&mut self, frame: &Head) {
        match frame.kind {
            Kind::Data | Kind::Fields => {
                if frame.flags & END_STREAM == 0 {
                    if frame.kind == Kind::Fields {
                        self.streams.answer(frame.stream);
                    }
                } else if self.streams.end(frame.stream).is_some() {
                    self.earn(ANSWER);
                }
                if frame.kind == Kind::Data && frame.length > 0 {
                    self.earn_replies(ANSWER_BODY + frame.length as u64 / ROOM);
                }
            }
            Kind::Reset => {
                let was_answered = self.streams.end(frame.stream);
                self.note_reset(frame, was_answered);
                // What became of it on our side is not the client's to pay for.
                if !is_our_reset(frame.first) {
                    // The client hears of it when it sends the next frame.
                    self.credit = self.credit.saturating_sub(RESET);
                }
            }
            Kind::GoAway => {
                self.streams.end_after(frame.first);
                if frame.second != Reason::NoError as u32 {
                    self.ended.push(Ended { stream: None, code: frame.second });
                }
            }
            Kind::Settings | Kind::Ping | Kind::Room | Kind::More | Kind::Other => {}
        }
    }

    /// A reset in the middle of an answer may be the origin's that is passed on, and its request has an answer. `was_answered`
    /// is `None` of a stream that is not open: its answer has ended, or it never had one.
    fn note_reset(&mut self, frame: &Head, was_answered: Option<bool>) {
        let is_ours = match was_answered {
            Some(true) => true,
            // What hyper resets without asking us is INTERNAL_ERROR.
            Some(false) => [Reason::NoError, Reason::Cancel].iter().any(|reason| *reason as u32 == frame.first),
            None => is_our_reset(frame.first),
        };
        if !is_ours {
            self.ended.push(Ended { stream: Some(frame.stream), code: frame.first });
        }
    }

    fn pay(&mut self, cost: u64) -> Result<(), Flood> {
        self.credit = self.credit.checked_sub(cost).ok_or(Flood)?;
        self.paid += cost;
        Ok(())
    }

    fn earn(&mut self, credit: u64) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT);
    }

    /// The same, and none of it is lost.
    fn earn_replies(&mut self, credit: u64) {
        let room = CREDIT.saturating_sub(self.credit);
        self.replies = self.replies.saturating_add(credit.saturating_sub(room));
        self.earn(credit);
    }
}

/// Whether we reset streams so for what became of them on our side.
fn is_our_reset(code: u32) -> bool {
    [Reason::NoError, Reason::InternalError, Reason::Cancel].iter().any(|reason| *reason as u32 == code)
}

impl Open {
    fn contains(&self, stream: u32) -> bool {
        self.ids.binary_search(&stream).is_ok()
    }

    /// Fields of a stream that is known already are its trailers.
    fn begin(&mut self, stream: u32) {
        if stream > self.latest && stream <= self.last {
            self.latest = stream;
            self.ids.push(stream);
            self.are_answered.push(false);
        }
    }

    /// Its answer has begun.
    fn answer(&mut self, stream: u32) {
        let found = self.ids.binary_search(&stream).ok();
        if let Some(is_answered) = found.and_then(|at| self.are_answered.get_mut(at)) {
            *is_answered = true;
        }
    }

    /// Whether its answer had begun, if it was open.
    fn end(&mut self, stream: u32) -> Option<bool> {
        let at = self.ids.binary_search(&stream).ok()?;
        self.ids.remove(at);
        Some(self.are_answered.remove(at))
    }

    fn end_after(&mut self, last: u32) {
        self.last = last & (u32::MAX >> 1);
        let last = self.last;
        self.ids.retain(|stream| *stream <= last);
        self.are_answered.truncate(self.ids.len());
    }
}

#[cfg(test)]
mod tests;
