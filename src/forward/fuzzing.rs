//! A door for `fuzz/`, which only test builds have beside, so that a change breaks neither unseen.

use http::request::Parts;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use tokio::time::Instant;

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
    let request: Request<Empty<bytes::Bytes>> =
        HeadWriter::new(settings).write(head, Empty::new(), permit, &inbound)?;
    Ok(request.into_parts().0)
}
