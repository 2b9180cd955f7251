//! Bytes for bodies that are too large to keep.

/// A length that is no power of two, so that a lost or doubled block shows.
const PATTERN: usize = 65_521;

/// So many bytes, the same from run to run, from this offset on.
pub(crate) fn pattern(offset: u64, length: usize) -> &'static [u8] {
    static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut random = fastrand::Rng::with_seed(7);
        let once: Vec<u8> = (0..PATTERN).map(|_| random.u8(..)).collect();
        once.repeat(3)
    });
    let start = usize::try_from(offset % PATTERN as u64).unwrap();
    &BYTES[start..start + length.min(2 * PATTERN)]
}

/// Whether these bytes are the pattern's from this offset on.
pub(crate) fn is_pattern(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = pattern(offset, bytes.len());
        let (now, later) = bytes.split_at(expected.len());
        if now != expected {
            return false;
        }
        offset += now.len() as u64;
        bytes = later;
    }
    true
}
