//! The interim responses of an HTTP/1.1 origin (RFC 9110 §15.2), read from what hyper is about to read.
//!
//! hyper passes over them, or tells of them by a callback for which each request would pay with four allocations. So it is
//! read here whether a head is one of theirs: by one byte of each response.

use std::cell::{Cell, RefCell};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::response_head;
use crate::interim::Interim;

/// How much is kept of a head that is not complete; what is larger is not passed on.
const MAX_HEAD: usize = 16 * 1024;
/// As many as hyper takes.
const MAX_FIELDS: usize = 100;
/// Where the first digit of the status stands.
const STATUS: usize = b"HTTP/1.1 ".len();

/// Looks at what comes in answer to one request after another.
#[derive(Debug, Default)]
pub(super) struct InterimReader {
    /// Who is told; nobody once the head of the answer has come.
    client: RefCell<Option<Interim>>,
    is_done: Cell<bool>,
    /// The beginning of a head.
    held: RefCell<Vec<u8>>,
}

impl InterimReader {
    /// A request is about to be sent for this client, if it is one that can be told.
    pub(super) fn begin(&self, client: Option<&Interim>) {
        self.is_done.set(client.is_none());
        *self.client.borrow_mut() = client.cloned();
    }

    /// Looks at what was read.
    pub(super) fn read(&self, bytes: &[u8]) {
        if !self.is_done.get() && self.is_over(bytes) {
            self.is_done.set(true);
            self.client.take();
            self.held.take();
        }
    }

    /// Whether nothing is to be looked for any more.
    fn is_over(&self, bytes: &[u8]) -> bool {
        let mut held = self.held.borrow_mut();
        if held.is_empty() && bytes.get(STATUS).is_some_and(|digit| *digit != b'1') {
            return true;
        }
        held.extend_from_slice(bytes);
        loop {
            if held.get(STATUS).is_some_and(|digit| *digit != b'1') {
                return true;
            }
            // Only the end of a line may be that of a head.
            let parsed = if bytes.contains(&b'\n') { parse(&held) } else { Ok(None) };
            match parsed {
                Ok(Some((length, status, headers))) => {
                    if status == StatusCode::SWITCHING_PROTOCOLS {
                        return true;
                    }
                    // What it asks for was done here (RFC 9110 §10.1.1).
                    if status != StatusCode::CONTINUE
                        && let Some(client) = &*self.client.borrow()
                    {
                        client.push(status, &headers);
                    }
                    held.drain(..length);
                }
                Ok(None) => return held.len() > MAX_HEAD,
                // hyper says so as well, to whom it concerns.
                Err(Malformed) => return true,
            }
        }
    }
}

/// Not the head of a response.
struct Malformed;

/// The first head, if it is complete, with its length, and without what is for one hop.
fn parse(bytes: &[u8]) -> Result<Option<(usize, StatusCode, HeaderMap)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(|_| Malformed)? else { return Ok(None) };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Malformed)?);
    }
    response_head::filter_interim(&mut headers);
    Ok(Some((length, status, headers)))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// What a client is told when an origin sends this in pieces of this size.
    fn told(text: &str, size: usize) -> String {
        let (reader, client) = (InterimReader::default(), Interim::default());
        reader.begin(Some(&client));
        text.as_bytes().chunks(size).for_each(|piece| reader.read(piece));
        assert!(reader.held.borrow().len() <= MAX_HEAD + size);
        let mut told = Vec::new();
        let _ = client.poll_write_to(|bytes| {
            told.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        });
        String::from_utf8(told).unwrap()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nHTTP/1.1 103 in a body\r\n\r\n";

    #[test]
    fn interim_heads_are_told_until_the_answer_begins_however_they_are_cut() {
        let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n";
        let processing = "HTTP/1.0 102 Whatever\r\n\r\n";
        for (text, expected) in [
            (OK.to_owned(), String::new()),
            ([hint, OK].concat(), hint.to_owned()),
            ([processing, hint, hint, OK].concat(), format!("HTTP/1.1 102 Processing\r\n\r\n{hint}{hint}")),
            (["HTTP/1.1 100 Continue\r\n\r\n", hint, OK].concat(), hint.to_owned()),
            (["HTTP/1.1 101 Switching Protocols\r\n\r\n", hint].concat(), String::new()),
            ("HTTP/1.1 103 Early\n\n".to_owned() + OK, "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned()),
            ("ABCDEFGHI1\r\n\r\n".to_owned() + hint, String::new()),
            ("HTTP/1.1 103 \r\nno field\r\n\r\n".to_owned() + hint, String::new()),
            (format!("HTTP/1.1 103 \r\nlarge: {}\r\n\r\n{hint}{OK}", "x".repeat(2 * MAX_HEAD)), String::new()),
        ] {
            for size in [1, 2, 3, 9, 10, 11, 50, 1000] {
                assert_eq!(told(&text, size), expected, "{size}: {text}");
            }
        }
    }

    #[test]
    fn what_is_for_one_hop_is_not_told() {
        let head = "HTTP/1.1 103 Early Hints\r\nConnection: close, X-Hop\r\nX-Hop: a\r\nKeep-Alive: b\r\nContent-Length: 1\r\n\
                    Transfer-Encoding: chunked\r\nTrailer: c\r\nX-Mine: d\r\n\r\n";
        assert_eq!(told(head, 1000), "HTTP/1.1 103 Early Hints\r\nx-mine: d\r\n\r\n");
    }

    #[test]
    fn nobody_is_told_of_what_is_not_asked_for() {
        let (reader, client) = (InterimReader::default(), Interim::default());
        reader.begin(Some(&client));
        reader.begin(None);
        reader.read(b"HTTP/1.1 103 Early Hints\r\n\r\n");
        assert!(client.is_empty() && reader.held.borrow().is_empty());
    }
}
