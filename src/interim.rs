//! Interim responses (RFC 9110 §15.2) on their way to a client: whoever hears of one leaves it here, and the client's
//! connection takes it along, before the head of the answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Poll, ready};

use http::{HeaderMap, StatusCode};

/// How many are passed on to one request; who sends more is not heard.
const MAX_COUNT: usize = 16;
/// How large they may be together, in bytes.
const MAX_SIZE: usize = 32 * 1024;

/// What one client is told before its answer. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Interim(Rc<Slot>);

#[derive(Debug, Default)]
struct Slot {
    /// Whole heads, as they are written.
    heads: RefCell<Vec<u8>>,
    /// How many bytes of them are written.
    written: Cell<usize>,
    /// Of the request that is being answered.
    count: Cell<usize>,
    size: Cell<usize>,
}

impl Interim {
    /// A request begins.
    pub fn begin(&self) {
        self.0.count.set(0);
        self.0.size.set(0);
    }

    /// Leaves one. To be polled with the client's connection, as its answer is: nobody is woken.
    pub fn push(&self, status: StatusCode, headers: &HeaderMap) {
        let Slot { heads, count, size, .. } = &*self.0;
        let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if count.get() >= MAX_COUNT || size.get() + length > MAX_SIZE {
            return;
        }
        count.set(count.get() + 1);
        size.set(size.get() + length);
        let mut heads = heads.borrow_mut();
        let reason = status.canonical_reason().unwrap_or_default();
        let mut add_all = |parts: &[&[u8]]| parts.iter().for_each(|part| heads.extend_from_slice(part));
        add_all(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
        for (name, value) in headers {
            add_all(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        add_all(&[b"\r\n"]);
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.0.heads.borrow().is_empty()
    }

    /// Writes everything with `write`, where nothing else is half written.
    pub fn poll_write_to(&self, mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>) -> Poll<io::Result<()>> {
        let Slot { heads, written, .. } = &*self.0;
        let mut heads = heads.borrow_mut();
        while let Some(rest) = heads.get(written.get()..).filter(|rest| !rest.is_empty()) {
            match ready!(write(rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => written.set(written.get() + count),
            }
        }
        // Between them a connection keeps no memory.
        *heads = Vec::new();
        written.set(0);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::LINK;

    use super::*;

    fn hints(size: usize) -> HeaderMap {
        [(LINK, HeaderValue::try_from("l".repeat(size)).unwrap())].into_iter().collect()
    }

    /// Everything that is written, in pieces of this size.
    fn written(interim: &Interim, size: usize) -> String {
        let mut written = Vec::new();
        let end = interim.poll_write_to(|bytes| {
            written.extend_from_slice(&bytes[..size.min(bytes.len())]);
            Poll::Ready(Ok(size.min(bytes.len())))
        });
        assert!(matches!(end, Poll::Ready(Ok(()))) && interim.is_empty());
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn heads_are_written_whole_and_in_order_however_little_is_taken() {
        for size in [1, 7, 1000] {
            let interim = Interim::default();
            interim.push(StatusCode::PROCESSING, &HeaderMap::new());
            interim.push(StatusCode::from_u16(103).unwrap(), &hints(3));
            interim.push(StatusCode::from_u16(199).unwrap(), &HeaderMap::new());
            let expected =
                "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: lll\r\n\r\nHTTP/1.1 199 \r\n\r\n";
            assert_eq!(written(&interim, size), expected);
            assert_eq!(written(&interim, size), "");
        }
    }

    #[test]
    fn who_sends_too_many_or_too_large_ones_is_not_heard_until_the_next_request() {
        let interim = Interim::default();
        for (size, expected) in [(0, 16), (1024, 16), (10_000, 3), (40_000, 0)] {
            interim.begin();
            for _ in 0..100 {
                interim.push(StatusCode::PROCESSING, &hints(size));
            }
            assert_eq!(written(&interim, 1000).matches("102 Processing").count(), expected, "{size}");
        }
    }
}
