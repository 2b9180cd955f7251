//! The body of a response, taken out of what comes.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::Error;
use super::response::Framing;
use crate::chunked::{Chunked, Piece, take};

/// What is left of a body.
#[derive(Debug)]
pub(super) enum Decoder {
    Length(u64),
    Chunked(Box<Chunked>),
    /// Everything until the connection ends.
    Close,
    Done,
}

impl From<Framing> for Decoder {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(Chunked::of_response())),
            Framing::Close => Self::Close,
        }
    }
}

impl Decoder {
    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How much is left, where that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Done => SizeHint::with_exact(0),
            Self::Chunked(_) | Self::Close => SizeHint::default(),
        }
    }

    /// The next frame of what has come; `None` at the end, or until more comes.
    pub(super) fn next(&mut self, held: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Error> {
        match self {
            Self::Done => Ok(None),
            Self::Close | Self::Length(_) if held.is_empty() => Ok(None),
            Self::Close => Ok(Some(Frame::data(take(held, usize::MAX)))),
            Self::Length(left) => {
                let data = take(held, usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(data.len() as u64);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Some(Frame::data(data)))
            }
            Self::Chunked(chunked) => {
                let piece = chunked.next(held)?;
                if chunked.is_done() {
                    *self = Self::Done;
                }
                Ok(piece.map(|piece| match piece {
                    Piece::Data(data) => Frame::data(data),
                    Piece::Trailers(trailers) => Frame::trailers(trailers),
                }))
            }
        }
    }

    /// The connection has come to its end.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self {
            Self::Close | Self::Done => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Error::Incomplete),
        }
    }
}
