//! What the frames of a connection are, seen from outside: which streams are open, whether a list of fields goes on, and
//! whether there is too much that asks for work and leads to nothing.
//!
//! The h2 crate bounds what it keeps and how often a client may be wrong: streams reset before they were looked at, streams
//! that it has to reset, `CONTINUATION`, `DATA` without a byte. It does not bound what it is made to do: `PING` and
//! `SETTINGS` are answered, `WINDOW_UPDATE`, `PRIORITY` and unknown frames looked at, streams begun and reset, as often as
//! they come (CVE-2019-9512, -9513, -9515, CVE-2023-44487). Here each costs something, and time and what becomes of requests
//! earn it back.

use tokio::time::Instant;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
pub(in crate::server) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client has at first, and the most that it can have.
const CREDIT: u64 = 2_000;
/// What time earns: 500 a second, which costs nobody anything.
const MILLIS_PER_ONE: u64 = 2;
/// What an answer earns.
const ANSWER: u64 = 5;
/// What a frame of a body earns, in either direction: clients measure with a `PING` for each, or make room.
const BODY: u64 = 2;
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
    /// What was paid since that was asked last.
    paid: u64,
    /// When time was counted last.
    since: Instant,
    /// How many bytes of bodies have come since that was asked last.
    content: usize,
}

/// The streams that a client has opened and neither side has ended for good.
#[derive(Debug)]
struct Open {
    /// In ascending order.
    ids: Vec<u32>,
    /// The highest there ever was.
    latest: u32,
    /// What is above is not looked at any more (RFC 9113 §6.8).
    last: u32,
}

impl Frames {
    /// Before the preface.
    pub(super) fn new() -> Self {
        Self {
            received: Heads { skip: PREFACE.len(), ..Heads::default() },
            sent: Heads::default(),
            streams: Open { ids: Vec::new(), latest: 0, last: u32::MAX },
            is_in_fields: false,
            credit: CREDIT,
            paid: 0,
            since: Instant::now(),
            content: 0,
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
            Kind::Reset if self.streams.end(frame.stream) => return self.pay(RESET),
            Kind::Settings => return self.pay(SETTINGS),
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
                if frame.flags & END_STREAM != 0 && self.streams.end(frame.stream) {
                    self.earn(ANSWER);
                }
                if frame.kind == Kind::Data && frame.length > 0 {
                    self.earn(BODY + frame.length as u64 / ROOM);
                }
            }
            Kind::Reset => {
                self.streams.end(frame.stream);
                // What became of it on our side is not the client's to pay for.
                let is_ours = [Reason::NoError, Reason::InternalError, Reason::Cancel];
                if !is_ours.iter().any(|reason| *reason as u32 == frame.first) {
                    // The client hears of it when it sends the next frame.
                    self.credit = self.credit.saturating_sub(RESET);
                }
            }
            Kind::GoAway => self.streams.end_after(frame.first),
            Kind::Settings | Kind::More | Kind::Other => {}
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
        }
    }

    /// Whether it was open.
    fn end(&mut self, stream: u32) -> bool {
        let found = self.ids.binary_search(&stream);
        found.is_ok_and(|at| self.ids.remove(at) == stream)
    }

    fn end_after(&mut self, last: u32) {
        self.last = last & (u32::MAX >> 1);
        let last = self.last;
        self.ids.retain(|stream| *stream <= last);
    }
}

/// The heads of frames in a stream of bytes (RFC 9113 §4.1).
#[derive(Debug, Default)]
struct Heads {
    /// How many bytes are still to come of the preface, or of a frame's payload.
    skip: usize,
    /// As much of a head as is here, and of some frames the first four bytes of their payload.
    head: [u8; 13],
    len: usize,
    /// What the latest frame is.
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Kind {
    Data,
    /// HEADERS.
    Fields,
    Reset,
    Settings,
    GoAway,
    /// CONTINUATION.
    More,
    #[default]
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: Kind,
    flags: u8,
    stream: u32,
    /// Of `RST_STREAM` its reason, of GOAWAY the last stream.
    first: u32,
}

impl Heads {
    /// Whether a frame has begun and not ended.
    const fn is_within(&self) -> bool {
        self.skip > 0 || self.len > 0
    }

    /// The next frame that begins in these bytes, which are then behind it.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = bytes.get(skipped..).unwrap_or_default();
            let (part, rest) = bytes.split_at_checked(1).filter(|_| self.skip == 0)?;
            // In one go where the head is here, as it mostly is.
            let (part, rest) = bytes.split_at_checked(9).filter(|_| self.len == 0).unwrap_or((part, rest));
            self.head.get_mut(self.len..self.len + part.len())?.copy_from_slice(part);
            self.len += part.len();
            *bytes = rest;
            if let Some(head) = self.complete() {
                self.len = 0;
                return Some(head);
            }
        }
    }

    fn complete(&mut self) -> Option<Head> {
        if self.len < 9 {
            return None;
        }
        let [high, middle, low, kind, flags, a, b, c, d, first @ ..] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Fields,
            3 => Kind::Reset,
            4 => Kind::Settings,
            7 => Kind::GoAway,
            9 => Kind::More,
            _ => Kind::Other,
        };
        let has_first = matches!(kind, Kind::Reset | Kind::GoAway) && length >= first.len();
        if has_first && self.len < self.head.len() {
            return None;
        }
        self.skip = if has_first { length - first.len() } else { length };
        self.kind = kind;
        // The first bit is reserved.
        let stream = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
        Some(Head { length, kind, flags, stream, first: if has_first { u32::from_be_bytes(first) } else { 0 } })
    }
}

#[cfg(test)]
mod tests;
