//! A door for `fuzz/`, which only test builds have beside, so that a change breaks neither unseen.

use http::request::Parts;
use http::{HeaderValue, Request};
use tokio::time::Instant;

use super::outbound::Outbound;
use super::request_head::{HeadWriter, check};
use super::{Inbound, Settings};
use crate::denial::Denial;
use crate::peer::Peer;
use crate::policy::Permit;

/// The head that the origin would get.
pub fn forward(settings: &Settings, head: &Parts, permit: &Permit) -> Result<Parts, Denial> {
    check(head)?;
    let inbound = Inbound {
        peer: &Peer::new(Some([192, 0, 2, 1].into())),
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
