//! The `Date` of answers that come without one (RFC 9110 §6.6.1).

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Clock;

/// Written anew once a second at the most.
#[derive(Debug, Default)]
pub(in crate::server) struct Date {
    clock: Clock,
    second: Cell<u64>,
    text: RefCell<Vec<u8>>,
}

impl Date {
    /// The date now.
    pub(in crate::server) fn with(&self, then: impl FnOnce(&[u8])) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds since 1970")]
        let second = self.clock.now().as_seconds() as u64;
        let mut text = self.text.borrow_mut();
        if text.is_empty() || self.second.replace(second) != second {
            text.clear();
            // To memory: it cannot fail.
            let _ = write!(text, "{}", httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(second)));
        }
        then(&text);
    }
}
