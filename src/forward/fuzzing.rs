//! A door for `fuzz/`, which only test builds have beside, so that a change breaks neither unseen.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::ext::ReasonPhrase;
use tokio::time::Instant;

use super::http1::{Asks, Pieces};
use super::outbound::Outbound;
use super::request_head::{HeadWriter, check};
use super::{Inbound, Settings, response_head};
use crate::denial::Denial;
use crate::peer::Peer;
use crate::policy::Permit;
use crate::reply::Fields;

/// The head that the origin would get.
pub fn forward(settings: &Settings, head: &Parts, permit: &Permit) -> Result<Parts, Denial> {
    let names = check(head)?;
    let inbound = Inbound {
        peer: &Peer::new(Some([192, 0, 2, 1].into())),
        names,
        request_id: &HeaderValue::from_static("id"),
        interim: None,
        sub_protocols: None,
        is_grpc: false,
        since: Instant::now(),
        now: None,
    };
    let mut written = Vec::new();
    let outbound = Outbound { head, permit, inbound, asked: None };
    HeadWriter::new(settings).write(&mut written, &outbound, false)?;
    Ok(read(&written)
        .unwrap_or_else(|| panic!("nobody reads what was written: {:?}", String::from_utf8_lossy(&written))))
}

/// As the origin reads it.
fn read(written: &[u8]) -> Option<Parts> {
    let mut fields = [httparse::EMPTY_HEADER; 200];
    let mut parsed = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = parsed.parse(written).ok()? else { return None };
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?);
    for field in &*parsed.headers {
        request = request.header(field.name, field.value);
    }
    (length == written.len()).then(|| Some(request.body(()).ok()?.into_parts().0))?
}

fn fields(lines: &[u8]) -> HeaderMap {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let lines = [lines, b"\r\n"].concat();
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&lines, &mut fields) else {
        panic!("nobody reads what passed: {:?}", String::from_utf8_lossy(&lines))
    };
    let field = |field: &httparse::Header<'_>| {
        Some((HeaderName::from_bytes(field.name.as_bytes()).ok()?, HeaderValue::from_bytes(field.value).ok()?))
    };
    fields.iter().filter_map(field).collect()
}

/// What is believed of an origin's answer.
#[derive(Debug, Eq, PartialEq)]
pub struct Answer {
    /// Status, fields and an unusual reason phrase as the client would get them; `None`: it gets a 502.
    pub head: Option<(StatusCode, HeaderMap, Option<Vec<u8>>)>,
    /// What of the body goes on.
    pub body: Vec<u8>,
    /// What follows it.
    pub trailers: Option<HeaderMap>,
    /// Whether the client is told that this was all.
    pub is_whole: bool,
    /// How many bytes are behind its end.
    pub left: usize,
    /// Whether another request would be sent on the connection.
    pub is_used_again: bool,
}

/// Reads these bytes, in pieces of this size, as what an origin says to GET or HEAD before it closes.
pub fn answer(bytes: &[u8], size: usize, answers_head: bool) -> Answer {
    let answer = as_fields(Pieces::read(bytes, size, Asks { head_alone: answers_head, lines: false }), answers_head);
    if !answers_head {
        let lines = Pieces::read(bytes, size, Asks { head_alone: false, lines: true });
        assert_eq!(as_fields(lines, false), answer, "it passes as lines otherwise than as fields");
    }
    answer
}

fn as_fields(read: Pieces, answers_head: bool) -> Answer {
    let Pieces { mut head, body, trailers, is_whole, left, persists } = read;
    head.take_if(|head| response_head::filter(head, answers_head).is_err());
    let head = head.map(|mut head| {
        if let Fields::Lines(lines) = &head.fields {
            let fields = fields(lines.as_bytes());
            assert_eq!(fields.contains_key(header::DATE), lines.has_date);
            assert_eq!(fields.contains_key(header::CONTENT_LENGTH), lines.has_length);
            assert_eq!(fields, *head.fields.map());
        }
        let phrase = head.extensions.get::<ReasonPhrase>().map(|phrase| phrase.as_bytes().to_vec());
        (head.status, std::mem::take(head.fields.map()), phrase)
    });
    let Some(head) = head else {
        return Answer { head: None, body: vec![], trailers: None, is_whole: false, left: 0, is_used_again: false };
    };
    let is_used_again = is_whole && persists && left == 0;
    Answer { head: Some(head), body, trailers, is_whole, left, is_used_again }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_alike_in_whatever_pieces_it_comes() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (bytes, body, is_whole, is_used_again) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), "ok", true, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay".to_owned(), "ok", true, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok".to_owned(), "ok", false, false),
            ("HTTP/1.1 200 OK\r\n\r\nok".to_owned(), "ok", true, false),
            ("HTTP/1.1 404  No, thanks\r\nContent-Length: 2\r\n\r\nok".to_owned(), "ok", true, true),
            (format!("{chunked}2\r\nok\r\n0\r\nX: 1\r\n\r\n"), "ok", true, true),
            (format!("{chunked}2\r\nok\r\n0\r\n"), "ok", false, false),
            (format!("{chunked}2\r\nok\r\n0\r\n\n"), "ok", false, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok".to_owned(), "", false, false),
        ] {
            let whole = answer(bytes.as_bytes(), bytes.len(), false);
            assert_eq!((&*whole.body, whole.is_whole, whole.is_used_again), (body.as_bytes(), is_whole, is_used_again));
            for size in 1..bytes.len() {
                assert_eq!(answer(bytes.as_bytes(), size, false), whole, "{size}: {bytes:?}");
            }
        }
    }
}
