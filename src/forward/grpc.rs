//! What a gRPC call asks of a proxy beside other requests (gRPC over HTTP2).
//!
//! A stream and a single answer look alike on the wire, so that the rules are the same for all calls. The limit for
//! response heads does not apply: a stream may have nothing to say for long. A call stands still when neither side says
//! anything. It ends, begun or not, when its token does, and shortly after its own deadline when the origin does not heed
//! that. An end that comes after the response has begun is told in trailers, as the origin would.

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::answer::Truncated;
use super::body::{Limits, ResponseCut};
use crate::denial::Denial;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How long after a call's deadline its end may still come from the origin, or from the client itself. Theirs tell more.
const MARGIN: Duration = Duration::from_secs(1);

/// When a call ends whatever the origin does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) at: Instant,
    pub(super) why: Why,
}

/// Why a call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    TokenExpired,
    DeadlineExceeded,
}

impl Ends {
    /// The first of its token's end and its own deadline.
    pub(super) fn of(headers: &HeaderMap, since: Instant, token: Option<Instant>) -> Option<Self> {
        let deadline = headers.get(GRPC_TIMEOUT).and_then(|value| timeout(value.as_bytes()));
        let deadline = deadline.and_then(|timeout| since.checked_add(timeout)?.checked_add(MARGIN));
        let deadline = deadline.map(|at| Self { at, why: Why::DeadlineExceeded });
        let token = token.map(|at| Self { at, why: Why::TokenExpired });
        token.into_iter().chain(deadline).min_by_key(|ends| ends.at)
    }
}

/// At most eight digits and a unit. What is none is the origin's to refuse.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The limits of a call.
pub(super) const fn limits(limits: Limits) -> Limits {
    Limits { min_rate: 0, response: limits.idle, ..limits }
}

/// What a call that failed over HTTP/1.1 is told by: gRPC is HTTP/2 throughout, and its services answer anything else with
/// frames or not at all.
pub(super) fn explain(denial: Denial) -> Denial {
    const HINT: &str = "gRPC needs HTTP/2, and http:// is HTTP/1.1: use h2c:// in --upstream";
    match denial {
        Denial::UpstreamProtocol(text) => Denial::UpstreamProtocol(format!("{text}; {HINT}").into()),
        Denial::UpstreamUnreachable(text) if text.starts_with("it closed") => {
            Denial::UpstreamUnreachable(format!("{text}; {HINT}").into())
        }
        other => other,
    }
}

/// How the end of a call is told whose response has begun. `None` where the origin has reset its stream: its reset goes
/// on, as the client has rules for each code.
pub(super) fn trailers(cut: &ResponseCut) -> Option<HeaderMap> {
    let (status, message) = match cut {
        ResponseCut::TokenExpired(_) => (16, "token expired"),
        ResponseCut::KeyWithdrawn(_) => (16, "key withdrawn"),
        ResponseCut::DeadlineExceeded(_) => (4, "deadline exceeded"),
        ResponseCut::Idle => (14, "the call stood still"),
        ResponseCut::Origin(error) if is_reset(&**error) => return None,
        ResponseCut::Origin(_) => (14, "the connection to the origin ended"),
    };
    let fields = [(GRPC_STATUS, HeaderValue::from(status)), (GRPC_MESSAGE, HeaderValue::from_static(message))];
    Some(fields.into_iter().collect())
}

/// Whether the origin has reset the stream, and not its connection ended.
fn is_reset(error: &(dyn Error + 'static)) -> bool {
    if error.is::<Truncated>() {
        return true;
    }
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let mut resets = causes.filter_map(|cause| cause.downcast_ref::<h2::Error>());
    resets.any(|error| error.is_reset() && error.is_remote())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::exchange::Cut;
    use crate::forward::pace::Pace;

    #[test]
    fn a_timeout_is_read_in_every_unit_and_in_no_other_form() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("00000006n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_hours(99_999_999))),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("+1S", None),
            ("1 S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_call_is_held_to_no_rate_and_other_requests_are() {
        let idle = Duration::from_mins(5);
        let others = Limits { idle, min_rate: 1024, max_size: None, response: idle };
        let start = Instant::now();
        let after_a_minute = |limits| {
            let mut pace = Pace::new(start);
            (1..=60).try_for_each(|second| {
                let now = start + Duration::from_secs(second);
                pace.receive(now);
                pace.check(now, second, limits).map(drop)
            })
        };
        assert_eq!(after_a_minute(limits(others)), Ok(()));
        assert_eq!(after_a_minute(others), Err(Cut::TooSlow));
    }

    #[test]
    fn a_call_ends_with_its_token_or_a_second_after_its_deadline_whichever_is_first() {
        let since = Instant::now();
        let headers: HeaderMap = [(GRPC_TIMEOUT, HeaderValue::from_static("10S"))].into_iter().collect();
        let second = |second| since + Duration::from_secs(second);
        for (headers, token, expected) in [
            (&headers, None, Some((11, Why::DeadlineExceeded))),
            (&headers, Some(12), Some((11, Why::DeadlineExceeded))),
            (&headers, Some(10), Some((10, Why::TokenExpired))),
            (&HeaderMap::new(), Some(10), Some((10, Why::TokenExpired))),
            (&HeaderMap::new(), None, None),
        ] {
            let ends = Ends::of(headers, since, token.map(second)).map(|ends| (ends.at, ends.why));
            assert_eq!(ends, expected.map(|(at, why)| (second(at), why)));
        }
    }
}
