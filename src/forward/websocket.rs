//! WebSocket (RFC 6455) as far as a proxy needs it: the handshake's key, where frames end, and a close frame of our own.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// RFC 6455 §11.8.
const CLOSE: u8 = 0x8;

/// Whether this is a `Sec-WebSocket-Key`: 16 bytes in base64 (RFC 6455 §4.1).
pub(super) fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// A key of our own; `None` without randomness.
pub(super) fn new_key() -> Option<String> {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).ok()?;
    Some(STANDARD.encode(nonce))
}

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455 §4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}

/// Why a connection is closed (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Close {
    pub(super) code: u16,
    /// Short enough for a control frame (RFC 6455 §5.5).
    pub(super) reason: &'static str,
}

impl Close {
    /// The token has ended.
    pub(super) const EXPIRED: Self = Self { code: 1008, reason: "token expired" };
    /// The key of the token was withdrawn.
    pub(super) const KEY_WITHDRAWN: Self = Self { code: 1008, reason: "key withdrawn" };
    /// Nothing has come for too long.
    pub(super) const IDLE: Self = Self { code: 1001, reason: "idle" };
    /// The process ends.
    pub(super) const GOING_AWAY: Self = Self { code: 1001, reason: "shutting down" };

    /// The whole frame as a server sends it, without a mask.
    pub(super) fn unmasked(self) -> Vec<u8> {
        self.frame(None)
    }

    /// The whole frame as a client sends it (RFC 6455 §5.3).
    pub(super) fn masked(self) -> Vec<u8> {
        let mut key = [0; 4];
        // What is masked is no client's choice: a key that somebody guesses gives nothing away.
        let _ = rand::fill(&mut key);
        self.frame(Some(key))
    }

    fn frame(self, key: Option<[u8; 4]>) -> Vec<u8> {
        let payload = [&self.code.to_be_bytes(), self.reason.as_bytes()].concat();
        let length = u8::try_from(payload.len()).unwrap_or_default();
        let mut frame = vec![0x80 | CLOSE, length];
        match key {
            None => frame.extend(payload),
            Some(key) => {
                frame[1] |= 0x80;
                frame.extend(key);
                frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            }
        }
        frame
    }
}

/// Counts the frames of one direction (RFC 6455 §5.2). Whatever they hold is not judged here.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameCounter {
    /// How many bytes of the current frame's header have come.
    header: u8,
    /// What follows the first byte of its length.
    extended: u8,
    is_masked: bool,
    is_close: bool,
    /// Of its payload, what is still to come.
    left: u64,
    has_closed: bool,
}

impl FrameCounter {
    /// Goes on through these bytes.
    pub(super) fn observe(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.advance(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
        }
    }

    /// Goes on through these bytes to the end of the current frame at the most; how many there are until then.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut count = 0;
        for byte in bytes {
            if self.is_in_payload() {
                break;
            }
            count += 1;
            self.read_header(*byte);
            if self.is_complete() {
                break;
            }
        }
        if self.is_in_payload() {
            let rest = (bytes.len() - count) as u64;
            let part = rest.min(self.left);
            self.left -= part;
            count += usize::try_from(part).unwrap_or_default();
        }
        if self.is_complete() {
            self.has_closed |= self.is_close;
            self.header = 0;
        }
        count
    }

    /// Whether no frame has begun that is not complete.
    pub(super) const fn is_at_boundary(&self) -> bool {
        self.header == 0
    }

    /// Whether a close frame has passed, behind which nothing counts (RFC 6455 §5.5.1).
    pub(super) const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Behind the first two bytes: the extended length and the masking key.
    const fn header_length(&self) -> u8 {
        2 + self.extended + if self.is_masked { 4 } else { 0 }
    }

    const fn is_in_payload(&self) -> bool {
        self.header >= 2 && self.header == self.header_length()
    }

    const fn is_complete(&self) -> bool {
        self.is_in_payload() && self.left == 0
    }

    fn read_header(&mut self, byte: u8) {
        match self.header {
            0 => self.is_close = byte & 0x0f == CLOSE,
            1 => {
                self.is_masked = byte & 0x80 != 0;
                let length = byte & 0x7f;
                (self.extended, self.left) = match length {
                    126 => (2, 0),
                    127 => (8, 0),
                    length => (0, u64::from(length)),
                };
            }
            at if at < 2 + self.extended => self.left = self.left << 8 | u64::from(byte),
            _ => {}
        }
        self.header += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.7 and lengths around each form, masked and not; then a close frame.
    fn frames() -> Vec<Vec<u8>> {
        let mut frames = vec![
            vec![0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
            vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
            vec![0x01, 0x03, 0x48, 0x65, 0x6c],
            vec![0x80, 0x02, 0x6c, 0x6f],
            vec![0x89, 0x00],
            vec![0x8a, 0x80, 1, 2, 3, 4],
        ];
        for length in [0_u64, 1, 125, 126, 65_535, 65_536, 70_000] {
            for mask in [&[][..], &[9, 8, 7, 6]] {
                let bit = if mask.is_empty() { 0 } else { 0x80 };
                let mut frame = vec![0xc2];
                match length {
                    0..126 => frame.push(bit | u8::try_from(length).unwrap()),
                    126..65_536 => {
                        frame.push(bit | 0x7e);
                        frame.extend(u16::try_from(length).unwrap().to_be_bytes());
                    }
                    _ => {
                        frame.push(bit | 0x7f);
                        frame.extend(length.to_be_bytes());
                    }
                }
                frame.extend(mask);
                frame.extend(vec![0x88; usize::try_from(length).unwrap()]);
                frames.push(frame);
            }
        }
        frames.push(Close::EXPIRED.unmasked());
        frames
    }

    #[test]
    fn the_example_of_rfc_6455_is_answered_with_its_accept() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ==", "!!!", "dGhlIHNhbXBsZSBub25jZQ== "] {
            assert!(!is_key(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn each_frame_ends_where_it_does_in_whatever_pieces_it_comes() {
        for piece in [1, 2, 3, 7, 4096, usize::MAX] {
            let mut counter = FrameCounter::default();
            for frame in frames() {
                assert!(counter.is_at_boundary());
                assert!(!counter.has_closed());
                let last = frame.len() - 1;
                for piece in frame[..last].chunks(piece) {
                    assert_eq!(counter.advance(piece), piece.len());
                    assert!(!counter.is_at_boundary(), "{:?}", &frame[..frame.len().min(20)]);
                }
                // What follows is the next frame's.
                assert_eq!(counter.advance(&[frame[last], 0x81, 0x05]), 1);
            }
            assert!(counter.is_at_boundary() && counter.has_closed());
        }
    }

    #[test]
    fn what_is_observed_in_one_piece_ends_where_it_does_in_many() {
        let (mut whole, mut pieces) = (FrameCounter::default(), FrameCounter::default());
        let mut all = frames().concat();
        all.extend([0x82, 0x7e, 0x01]);
        whole.observe(&all);
        let mut random = fastrand::Rng::with_seed(7);
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(random.usize(1..=rest.len().min(5000)));
            pieces.observe(piece);
            rest = behind;
        }
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
        assert!(!whole.is_at_boundary());
    }

    #[test]
    fn the_longest_length_is_only_counted() {
        let mut counter = FrameCounter::default();
        counter.observe(&[0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
        assert_eq!(counter.left, u64::MAX - 3);
    }

    #[test]
    fn a_close_frame_is_one_frame_masked_or_not() {
        assert_eq!(Close::EXPIRED.unmasked(), b"\x88\x0f\x03\xf0token expired");
        let masked = Close::EXPIRED.masked();
        assert_eq!(&masked[..2], b"\x88\x8f");
        let key = &masked[2..6];
        let payload: Vec<_> = masked[6..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(payload, b"\x03\xf0token expired");
    }
}
