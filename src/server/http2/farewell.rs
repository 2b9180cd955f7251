//! The last frame to a client that is cut: a GOAWAY, which says why.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use super::super::io::Connection;
use super::frames::{Frames, Reason};

/// How far that has come.
#[derive(Debug, Default)]
pub(super) struct Farewell(Cell<Progress>);

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    #[default]
    None,
    /// It comes behind the frame that has begun.
    Due,
    /// So many of its bytes are written.
    Begun([u8; 17], usize),
}

impl Farewell {
    /// Nothing else is to be sent.
    pub(super) fn begin(&self) {
        if !self.is_due() {
            self.0.set(Progress::Due);
        }
    }

    /// Whether the client is cut.
    pub(super) fn is_due(&self) -> bool {
        !matches!(self.0.get(), Progress::None)
    }

    /// Ready when it is written. In the middle of another frame it waits for the rest of that.
    pub(super) fn poll(&self, cx: &mut Context<'_>, to: &Connection, frames: &Frames) -> Poll<io::Result<()>> {
        loop {
            let (frame, written) = match self.0.get() {
                Progress::Begun(frame, written) => (frame, written),
                Progress::None | Progress::Due => {
                    let Some(frame) = frames.goaway(Reason::EnhanceYourCalm) else { return Poll::Pending };
                    (frame, 0)
                }
            };
            let rest = frame.get(written..).unwrap_or_default();
            if rest.is_empty() {
                return to.poll_flush(cx);
            }
            let count = ready!(to.poll_write_pieces(cx, &[io::IoSlice::new(rest)]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.0.set(Progress::Begun(frame, written + count));
        }
    }
}
