//! Doors for `fuzz/`, which only test builds have beside, so that a change breaks neither unseen.

use futures_util::FutureExt;

use super::proxy_protocol;
use super::wire::Wire;

/// What the strict reader made of a connection's first message.
#[derive(Debug, Eq, PartialEq)]
pub struct Passed {
    /// What hyper gets to read.
    pub bytes: Vec<u8>,
    /// Why it is refused, if it is.
    pub refusal: Option<&'static str>,
    /// Whether a chunk was malformed.
    pub is_cut: bool,
    /// Whether it is no HTTP/1.
    pub is_http2: bool,
}

/// Reads the bytes in pieces of this size.
pub fn pass(bytes: &[u8], piece: usize) -> Passed {
    let mut wire = Wire::new(64 * 1024);
    let mut passed = Passed { bytes: Vec::new(), refusal: None, is_cut: false, is_http2: false };
    for piece in bytes.chunks(piece.max(1)) {
        if let Err(denial) = wire.receive(piece) {
            passed.refusal = Some(denial.row().reason);
            break;
        }
        if wire.is_http2() {
            passed.is_http2 = true;
            break;
        }
        loop {
            match wire.pass(usize::MAX, |bytes| passed.bytes.extend_from_slice(bytes)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    passed.is_cut = true;
                    return passed;
                }
            }
        }
    }
    passed
}

/// Reads a PROXY header: how many bytes it has, and whether it names a client.
pub fn proxy_header(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut rest = bytes;
    let source = proxy_protocol::read(&mut rest).now_or_never()?.ok()?;
    Some((bytes.len() - rest.len(), matches!(source, proxy_protocol::Source::Client(_))))
}
