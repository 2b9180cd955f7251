//! Heads that are done with: to make one anew takes three allocations.

use std::rc::Rc;

use http::request::Parts;
use http::{Request, Uri};

/// A head that is done with, for what it has room for; or none.
#[derive(Debug, Default)]
pub(in crate::server) struct Spare(Option<Rc<Parts>>);

impl Spare {
    /// What is left of a head, unless somebody still looks at it. Nothing of it is kept but room.
    pub(in crate::server) fn of(mut parts: Rc<Parts>) -> Self {
        let Some(done) = Rc::get_mut(&mut parts) else { return Self::default() };
        done.uri = Uri::default();
        done.headers.clear();
        done.extensions.clear();
        Self(Some(parts))
    }

    pub(super) fn take(&mut self) -> Rc<Parts> {
        self.0.take().unwrap_or_else(|| Rc::new(Request::new(()).into_parts().0))
    }
}
