//! What heads that are done with leave: to make one anew takes five allocations.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Request, Uri};

/// A larger head does not leave its memory, which the connection would keep for as long as it speaks.
const MOST_KEPT: usize = 4 * 1024;

/// Room for the next head of a connection, or none yet.
#[derive(Debug, Default)]
pub(in crate::server) struct Spare {
    parts: Option<Rc<Parts>>,
    text: BytesMut,
    /// What is known of a head that was refused, for the log.
    refused: Option<Rc<Parts>>,
}

impl Spare {
    /// Keeps what is left of a head, unless somebody still looks at it. Nothing of it is kept but room.
    pub(in crate::server) fn put(&mut self, mut parts: Rc<Parts>) {
        if let Some(done) = Rc::get_mut(&mut parts) {
            done.uri = Uri::default();
            done.headers.clear();
            done.extensions.clear();
            self.parts = Some(parts);
        }
    }

    /// Keeps the method, and as much of the target as may be shown, of a head that is refused.
    pub(super) fn keep_refused(&mut self, parts: Rc<Parts>) {
        self.refused = Some(parts);
    }

    /// What was kept of a head that is refused.
    pub(in crate::server) fn take_refused(&mut self) -> Option<Rc<Parts>> {
        self.refused.take()
    }

    pub(super) fn take(&mut self) -> Rc<Parts> {
        self.parts.take().unwrap_or_else(|| Rc::new(Request::new(()).into_parts().0))
    }

    /// The text of a head, where the last one stood if nobody holds a part of that any more.
    pub(super) fn hold(&mut self, text: &[u8]) -> Bytes {
        if text.len() > MOST_KEPT {
            return Bytes::copy_from_slice(text);
        }
        // Grown, it would be up to twice as large as it need be.
        if !self.text.try_reclaim(text.len()) {
            self.text = BytesMut::with_capacity(text.len());
        }
        self.text.extend_from_slice(text);
        self.text.split().freeze()
    }
}
