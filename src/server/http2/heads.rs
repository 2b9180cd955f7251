//! The heads of frames, taken out of a stream of bytes (RFC 9113 §4.1).

use std::num::NonZeroUsize;

/// The heads of frames in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// How many bytes are still to come of the preface, or of a frame's payload.
    pub(super) skip: usize,
    /// As much of a head as is here, and of some frames the first bytes of their payload.
    head: [u8; 17],
    len: usize,
    /// What the latest frame is.
    pub(super) kind: Kind,
}

/// What a frame is, as far as that matters here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Kind {
    Data,
    /// HEADERS.
    Fields,
    Reset,
    Settings,
    Ping,
    GoAway,
    /// `WINDOW_UPDATE`.
    Room,
    /// CONTINUATION.
    More,
    #[default]
    Other,
}

impl Kind {
    const fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Fields,
            3 => Self::Reset,
            4 => Self::Settings,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::Room,
            9 => Self::More,
            _ => Self::Other,
        }
    }
}

/// How many bytes of the payload of a frame of this kind are looked at.
const fn wanted(kind: Kind) -> usize {
    match kind {
        Kind::Reset => 4,
        Kind::GoAway => 8,
        _ => 0,
    }
}

/// The head of one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Of `RST_STREAM` its reason, of GOAWAY the last stream.
    pub(super) first: u32,
    /// Of GOAWAY its reason.
    pub(super) second: u32,
}

impl Heads {
    /// Behind so many bytes of something else.
    pub(super) fn behind(skip: usize) -> Self {
        Self { skip, ..Self::default() }
    }

    /// Whether a frame has begun and not ended.
    pub(super) const fn is_within(&self) -> bool {
        self.skip > 0 || self.len > 0
    }

    /// How many bytes are to come of the frame that has begun, or of its head while that is not complete.
    pub(super) fn left(&self) -> Option<NonZeroUsize> {
        let of_head = match self.len {
            0 => 0,
            len @ 1..9 => 9 - len,
            len => (9 + wanted(self.head_kind())).saturating_sub(len),
        };
        NonZeroUsize::new(self.skip.max(of_head))
    }

    const fn head_kind(&self) -> Kind {
        let [_, _, _, kind, ..] = self.head;
        Kind::of(kind)
    }

    /// The next frame that begins in these bytes, which are then behind it.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
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
        let [high, middle, low, kind, flags, numbers @ ..] = self.head;
        let ([stream, first, second], []) = numbers.as_chunks() else { return None };
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let kind = Kind::of(kind);
        let wanted = if length >= wanted(kind) { wanted(kind) } else { 0 };
        if self.len < 9 + wanted {
            return None;
        }
        self.skip = length - wanted;
        self.kind = kind;
        // The first bit is reserved.
        let stream = u32::from_be_bytes(*stream) & (u32::MAX >> 1);
        let first = if wanted >= 4 { u32::from_be_bytes(*first) } else { 0 };
        let second = if wanted >= 8 { u32::from_be_bytes(*second) } else { 0 };
        Some(Head { length, kind, flags, stream, first, second })
    }
}
