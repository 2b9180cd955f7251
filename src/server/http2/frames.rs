//! What a client's frames are, seen from outside: whether a list of fields goes on, and whether there is too much that
//! asks for work and leads to nothing.
//!
//! The h2 crate bounds what it keeps, such as streams reset before they were looked at, and not what it is made to do:
//! `PING` and `SETTINGS` are answered, empty `DATA`, `WINDOW_UPDATE` and `PRIORITY` looked at, as often as they come
//! (CVE-2019-9512, -9515, -9518). Here each costs something, and what a client that wants answers does earns it back.

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
pub(in crate::server) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's head (RFC 9113 §4.1).
const HEAD: usize = 9;
/// What a client has at first, and the most that it can have.
const CREDIT: u64 = 10_000;
/// What a request earns: that many frames beside it are nobody's flood.
const PER_REQUEST: u64 = 20;
/// So many bytes, read as a body or written, earn one.
const PER_BYTES: usize = 512;
/// What the reset of a stream costs, beyond what the request has earned (CVE-2023-44487).
const RESET: u64 = PER_REQUEST + 10;
/// How many frames one list of fields may come in (CVE-2024-27316).
const MAX_CONTINUATIONS: u32 = 64;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Flood {
    #[error("too many HTTP/2 frames that lead to nothing")]
    Frames,
    #[error("a list of fields in too many CONTINUATION frames")]
    Continuations,
}

/// The frames of one client, as far as they have come.
#[derive(Debug)]
pub(super) struct Frames {
    /// How many bytes are still to come of the preface, or of a frame's payload.
    skip: usize,
    head: [u8; HEAD],
    head_len: usize,
    is_in_fields: bool,
    continuations: u32,
    credit: u64,
    /// Bytes that have earned nothing yet.
    bytes: usize,
    /// Requests that have earned something.
    requests: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Data,
    Fields,
    Continuation,
    Reset,
    Other,
}

impl Frames {
    /// Before the preface.
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE.len(),
            head: [0; HEAD],
            head_len: 0,
            is_in_fields: false,
            continuations: 0,
            credit: CREDIT,
            bytes: 0,
            requests: 0,
        }
    }

    /// Whether a list of fields has begun and not ended.
    pub(super) const fn are_in_fields(&self) -> bool {
        self.is_in_fields
    }

    /// The client has been sent so many bytes.
    pub(super) fn wrote(&mut self, count: usize) {
        self.earn_bytes(count);
    }

    /// Looks at what has come; there have been so many requests.
    pub(super) fn read(&mut self, mut bytes: &[u8], requests: u64) -> Result<(), Flood> {
        let new = requests.saturating_sub(self.requests);
        self.requests = requests;
        self.earn(new.saturating_mul(PER_REQUEST));
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = (HEAD - self.head_len).min(bytes.len());
            if self.skip > 0 || wanted == 0 {
                continue;
            }
            let (part, rest) = bytes.split_at(wanted);
            if let Some(place) = self.head.get_mut(self.head_len..self.head_len + wanted) {
                place.copy_from_slice(part);
            }
            self.head_len += wanted;
            bytes = rest;
            if self.head_len == HEAD {
                self.head_len = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    /// A frame's head is complete.
    fn begin(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.skip = length;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Fields,
            3 => Kind::Reset,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        match kind {
            Kind::Fields => self.continuations = 0,
            Kind::Continuation => self.continuations += 1,
            _ => {}
        }
        if self.continuations > MAX_CONTINUATIONS {
            return Err(Flood::Continuations);
        }
        if matches!(kind, Kind::Fields | Kind::Continuation) {
            self.is_in_fields = flags & 0x4 == 0;
        }
        match kind {
            Kind::Data if length > 0 => {
                self.earn_bytes(length);
                Ok(())
            }
            Kind::Reset => self.pay(RESET),
            _ => self.pay(1),
        }
    }

    fn pay(&mut self, cost: u64) -> Result<(), Flood> {
        self.credit = self.credit.checked_sub(cost).ok_or(Flood::Frames)?;
        Ok(())
    }

    fn earn(&mut self, credit: u64) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT);
    }

    fn earn_bytes(&mut self, count: usize) {
        self.bytes += count;
        self.earn((self.bytes / PER_BYTES) as u64);
        self.bytes %= PER_BYTES;
    }
}
