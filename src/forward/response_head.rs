//! The head of a response: what is refused of an origin, and what the client gets to see.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};

use super::hop_by_hop::{
    Nominated, TooMany, announced_trailers, announcement, check_list, is_framing_or_routing, is_hop_by_hop,
};
use super::identity::fold;
use crate::denial::Denial;
use crate::reply::{Fields, Head};

/// The most fields of a response.
pub(super) const MAX_FIELDS: usize = 1000;
/// The most bytes of the head of a response, with HTTP/2 as RFC 9113 §6.5.2 counts them.
pub(super) const MAX_HEAD: u32 = 64 * 1024;

/// Leaves of the response as received what was not for one hop. `answers_head`: it answers a HEAD request.
pub(super) fn filter(head: &mut Head, answers_head: bool) -> Result<(), Denial> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(invalid("it switched protocols unasked"));
    }
    // Of lines, nothing else has passed.
    let Fields::Map(headers) = &mut head.fields else { return Ok(()) };
    if headers.len() > MAX_FIELDS {
        return Err(invalid(TOO_MANY_FIELDS));
    }
    let met = check(headers);
    // What has no body in any case is framed by nothing (RFC 9112 §6.3, the first rule).
    if answers_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        if met.framing.is_err() || headers.contains_key(header::TRANSFER_ENCODING) {
            headers.remove(header::CONTENT_LENGTH);
        }
    } else {
        met.framing?;
    }
    if met.hops {
        remove_hops(headers)?;
    }
    if met.trailer {
        filter_announced(headers)?;
    }
    if head.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: it has no length, not even in answer to HEAD.
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(())
}

/// What is to be taken out, and whether what frames the body frames it in one way.
struct Met {
    hops: bool,
    trailer: bool,
    framing: Result<(), Denial>,
}

/// In one pass, as most responses have little to find.
fn check(headers: &HeaderMap) -> Met {
    let (mut lengths, mut codings) = (0_u8, 0_u8);
    let mut met = Met { hops: false, trailer: false, framing: Ok(()) };
    for (name, value) in headers {
        met.trailer |= *name == header::TRAILER;
        met.hops |= is_hop_by_hop(name.as_str());
        if *name == header::CONTENT_LENGTH {
            lengths = lengths.saturating_add(1);
            if !is_length(value.as_bytes()) {
                met.framing = Err(invalid(NO_LENGTH));
            }
        } else if *name == header::TRANSFER_ENCODING {
            codings = codings.saturating_add(1);
            if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                met.framing = Err(invalid("its transfer coding is not chunked alone"));
            }
        }
    }
    let framing = match (lengths, codings) {
        (2.., _) => Err(invalid("it has two lengths")),
        (1, 1..) => Err(invalid("it has a length and a transfer coding")),
        (_, 2..) => Err(invalid("its transfer coding is not chunked alone")),
        _ => Ok(()),
    };
    met.framing = met.framing.and(framing);
    met
}

/// Whether this is a length in the one spelling that everybody reads alike: others also take `2, 2` and `02`, and read what is
/// 2^63 or more as negative.
pub(super) fn is_length(value: &[u8]) -> bool {
    const LARGEST: &[u8] = b"9223372036854775807";
    // Of numbers with as many digits, the order of their texts is their own.
    let is_small = value.len() < LARGEST.len() || (value.len() == LARGEST.len() && value <= LARGEST);
    is_small
        && !value.is_empty()
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || !value.starts_with(b"0"))
}

/// Takes out what was for one hop. A new map would keep the names in their order, which means nothing (RFC 9110 §5.3), at
/// a twentieth of the cost of a whole request; the values of one name keep theirs.
pub(super) fn remove_hops(headers: &mut HeaderMap) -> Result<(), Denial> {
    check_list(headers, &header::CONNECTION).map_err(too_many)?;
    let nominated = Nominated::by(headers);
    if !nominated.is_empty() {
        let is_named = |name: &&HeaderName| nominated.contain(name.as_str());
        let named: Vec<_> = headers.keys().filter(is_named).cloned().collect();
        for name in named {
            headers.remove(name);
        }
    }
    // One at a time: there is seldom a second.
    while let Some(hop) = headers.keys().find(|name| is_hop_by_hop(name.as_str())).cloned() {
        headers.remove(hop);
    }
    Ok(())
}

fn too_many(error: TooMany<'_>) -> Denial {
    Denial::UpstreamProtocol(error.to_string().into())
}

/// Takes the same out of an interim response, and all that frames it: it has no body. An error where it is not to be passed
/// on.
pub(super) fn filter_interim(headers: &mut HeaderMap) -> Result<(), Denial> {
    remove_hops(headers)?;
    for name in [header::CONTENT_LENGTH, header::TRAILER] {
        headers.remove(name);
    }
    Ok(())
}

fn filter_announced(headers: &mut HeaderMap) -> Result<(), Denial> {
    check_list(headers, &header::TRAILER).map_err(too_many)?;
    let fields = headers.get_all(header::TRAILER).iter();
    let passing: Vec<_> = fields.filter_map(|value| announcement(&announced_trailers(value, may_be_trailer))).collect();
    headers.remove(header::TRAILER);
    for value in passing {
        headers.append(header::TRAILER, value);
    }
    Ok(())
}

/// Whether it is of server-sent events, which have no end of their own (the media type's name is in any case, RFC 9110 §8.3.1).
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| is_event_stream_type(value.as_bytes()))
}

pub(super) fn is_event_stream_type(content_type: &[u8]) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    content_type.trim_ascii_start().split_at_checked(EVENT_STREAM.len()).is_some_and(|(media_type, parameters)| {
        media_type.eq_ignore_ascii_case(EVENT_STREAM) && matches!(parameters.trim_ascii_start(), [] | [b';', ..])
    })
}

/// Whether a response may carry a trailer of this name.
pub(super) fn may_be_trailer(name: &HeaderName) -> bool {
    !is_framing_or_routing(&fold(name.as_str()))
}

pub(super) const NO_LENGTH: &str = "its length is not one plain number below 2^63";
pub(super) const TOO_MANY_FIELDS: &str = "the head of its response has more than 1000 fields";
pub(super) const TOO_LARGE: &str = "the head of its response has more than 64 KiB";

pub(super) fn invalid(how: &'static str) -> Denial {
    Denial::UpstreamProtocol(how.into())
}
