//! An answer as it comes in pieces, without a connection; for `fuzz/` alone, and tests.

use bytes::BytesMut;
use http::HeaderMap;

use super::decode::Decoder;
use super::lease::read_head;
use super::response::Asks;
use crate::reply;

/// What is read of an answer.
#[derive(Debug, Default)]
pub(in crate::forward) struct Pieces {
    pub(in crate::forward) head: Option<reply::Head>,
    pub(in crate::forward) body: Vec<u8>,
    pub(in crate::forward) trailers: Option<HeaderMap>,
    /// It has come to its end, if that of the connection is one.
    pub(in crate::forward) is_whole: bool,
    /// Bytes behind its end.
    pub(in crate::forward) left: usize,
    /// Whether the connection could be used again, with nothing left.
    pub(in crate::forward) persists: bool,
}

impl Pieces {
    /// Reads these bytes in pieces of this size, and then the end of the connection.
    pub(in crate::forward) fn read(bytes: &[u8], size: usize, asks: Asks) -> Self {
        let (mut read, mut buffer, mut decoder) = (Self::default(), BytesMut::new(), Decoder::Done);
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            if read.head.is_none() {
                match read_head(&mut buffer, piece.len(), asks, None) {
                    Ok(Some(head)) => {
                        (read.persists, decoder) = (head.persists, head.framing.into());
                        read.head = Some(head.reply);
                    }
                    Ok(None) => continue,
                    Err(_) => return read,
                }
            }
            if !read.decode(&mut decoder, &mut buffer) {
                return read;
            }
        }
        (read.is_whole, read.left) = (read.head.is_some() && decoder.end().is_ok(), buffer.len());
        read
    }

    /// Whether what has come is sound.
    fn decode(&mut self, decoder: &mut Decoder, buffer: &mut BytesMut) -> bool {
        loop {
            match decoder.next(buffer) {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => self.body.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}
