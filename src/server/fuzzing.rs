//! Doors for `fuzz/`, which only test builds have beside, so that a change breaks neither unseen.

use std::rc::Rc;

use futures_util::FutureExt;
use http::HeaderMap;
use http::request::Parts;

use super::proxy_protocol;
use super::wire::{Spare, Wire};

/// What the strict reader made of a connection's first message.
#[derive(Debug, Default)]
pub struct Message {
    /// Its head, if it is complete.
    pub head: Option<Parts>,
    /// What of its body has come.
    pub body: Vec<u8>,
    /// What follows that.
    pub trailers: Option<HeaderMap>,
    /// Whether it has come to its end.
    pub is_whole: bool,
    /// Why it is refused, if it is.
    pub refusal: Option<&'static str>,
    /// Whether a chunk was malformed.
    pub is_cut: bool,
    /// Whether it is no HTTP/1.
    pub is_http2: bool,
}

/// Reads the bytes in pieces of this size.
pub fn read(bytes: &[u8], piece: usize) -> Message {
    let mut wire = Wire::new(64 * 1024);
    let mut message = Message::default();
    for piece in bytes.chunks(piece.max(1)) {
        wire.receive(piece);
        if message.head.is_none() {
            match wire.take_head(&mut Spare::default()) {
                Ok(head) => message.head = head.map(|head| Rc::unwrap_or_clone(head.parts)),
                Err(denial) => {
                    message.refusal = Some(denial.row().reason);
                    break;
                }
            }
        }
        message.is_http2 = wire.is_http2();
        while let Some(frame) = wire.next_frame().unwrap_or_else(|_| {
            message.is_cut = true;
            None
        }) {
            match frame.into_data() {
                Ok(data) => message.body.extend_from_slice(&data),
                Err(frame) => message.trailers = frame.into_trailers().ok(),
            }
        }
        if message.is_cut || message.is_http2 {
            break;
        }
    }
    message.is_whole = wire.is_awaiting_answer();
    message
}

/// Reads a PROXY header: how many bytes it has, and whether it names a client.
pub fn proxy_header(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut rest = bytes;
    let source = proxy_protocol::read(&mut rest).now_or_never()?.ok()?;
    Some((bytes.len() - rest.len(), matches!(source, proxy_protocol::Source::Client(_))))
}
