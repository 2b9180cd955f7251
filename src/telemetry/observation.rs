//! What became of one request, told exactly once.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, header};

use aws_lc_rs::digest;

use super::access_log::{AccessLog, Record};
use super::metrics::{Metrics, Requests};
use super::shown;
use crate::clock::Clock;
use crate::denial::Denial;
use crate::target;

/// What nginx calls "client closed request"; never sent.
const CLIENT_GONE: u16 = 499;
/// How much of a path is logged, in bytes.
const MAX_PATH: usize = 1024;
/// How much of a method is logged, in bytes; those of the registry have at most 17.
const MAX_METHOD: usize = 32;
/// How much of a request's id is logged, in bytes: as much as is taken from a client.
const MAX_REQUEST_ID: usize = 128;
/// The length of the shortest signature, that of HMAC with SHA-256, in base64url.
const MIN_SIGNATURE: usize = 43;

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With the origin's response.
    Forwarded(StatusCode),
    /// With a refusal.
    Denied(Denial),
    /// With nobody there to be answered; logged as 499, never sent.
    ClientGone,
}

/// Why an answer ended early after it had begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// It was a stream, and its token ended.
    TokenExpired,
    /// It was a stream, and the key of its token was withdrawn.
    KeyWithdrawn,
    /// It was a gRPC call, and went on after its deadline.
    DeadlineExceeded,
    /// It stood still for too long.
    Idle,
    /// The origin left it unfinished.
    Upstream,
}

impl Cut {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::TokenExpired, Self::KeyWithdrawn, Self::DeadlineExceeded, Self::Idle, Self::Upstream];

    /// As logs and metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::KeyWithdrawn => "key_withdrawn",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Idle => "idle",
            Self::Upstream => "upstream",
        }
    }
}

/// Where one worker's requests are told of.
#[derive(Debug)]
pub struct Observer {
    log: AccessLog,
    requests: Arc<Requests>,
}

impl Observer {
    /// One more worker's.
    pub fn new(log: AccessLog, metrics: &Metrics) -> Rc<Self> {
        Rc::new(Self { log, requests: metrics.requests() })
    }
}

/// One request under observation. Told when dropped, as a client that has gone away cannot be waited for.
///
/// It owns the request's head and lends it, so that nothing is copied for the sake of a line that few requests get.
#[derive(Debug)]
pub struct Observation(Box<Observed>);

/// Behind one pointer, as an observation goes along with its request through many hands.
#[derive(Debug)]
struct Observed {
    observer: Rc<Observer>,
    clock: Clock,
    since: Instant,
    peer: Option<IpAddr>,
    request_id: HeaderValue,
    head: Rc<Parts>,
    /// There was no request to speak of.
    is_refused: bool,
    outcome: Outcome,
    cut: Option<Cut>,
    bytes_out: u64,
    /// Of a tunnel.
    bytes_in: Option<u64>,
}

impl Observation {
    /// Begins with a request; `peer` is `None` on a unix socket.
    pub fn begin(
        observer: &Rc<Observer>,
        clock: &Clock,
        head: Rc<Parts>,
        request_id: HeaderValue,
        peer: Option<IpAddr>,
    ) -> Self {
        Self(Box::new(Observed {
            observer: Rc::clone(observer),
            clock: clock.clone(),
            since: Instant::now(),
            peer,
            request_id,
            head,
            is_refused: false,
            outcome: Outcome::ClientGone,
            cut: None,
            bytes_out: 0,
            bytes_in: None,
        }))
    }

    /// Begins with something that never became a request.
    pub fn refused(observer: &Rc<Observer>, clock: &Clock, request_id: HeaderValue, peer: Option<IpAddr>) -> Self {
        let (head, ()) = Request::new(()).into_parts();
        let mut observation = Self::begin(observer, clock, Rc::new(head), request_id, peer);
        observation.0.is_refused = true;
        observation
    }

    /// The request's head.
    pub fn head(&self) -> &Parts {
        &self.0.head
    }

    /// The request's `X-Request-Id`.
    pub const fn request_id(&self) -> &HeaderValue {
        &self.0.request_id
    }

    /// When it began.
    pub const fn since(&self) -> Instant {
        self.0.since
    }

    /// Says how it ends, unless the client goes away before its answer begins.
    pub fn conclude(&mut self, outcome: Outcome) {
        self.0.outcome = outcome;
    }

    /// Says why its answer ended early.
    pub const fn cut(&mut self, cut: Cut) {
        self.0.cut = Some(cut);
    }

    /// Counts bytes of the answer's body.
    pub const fn count(&mut self, bytes: usize) {
        self.0.bytes_out += bytes as u64;
    }

    /// Counts bytes that went to the origin in a tunnel.
    pub fn count_in(&mut self, bytes: usize) {
        *self.0.bytes_in.get_or_insert_default() += bytes as u64;
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let duration = self.since.elapsed();
        self.observer.requests.count(&self.outcome, duration);
        if let Some(cut) = self.cut {
            self.observer.requests.count_cut(cut);
        }
        if self.observer.log.wants(self.cut.is_some() || !matches!(self.outcome, Outcome::Forwarded(_))) {
            self.tell(duration);
        }
    }
}

impl Observed {
    fn tell(&self, duration: Duration) {
        let (outcome, status, denial) = match &self.outcome {
            Outcome::Forwarded(status) => ("forwarded", status.as_u16(), None),
            Outcome::Denied(denial) => ("denied", denial.row().status, Some(denial)),
            Outcome::ClientGone => ("client_gone", CLIENT_GONE, None),
        };
        let head = Some(&self.head).filter(|_| !self.is_refused);
        let authorization = head.and_then(|head| head.headers.get(header::AUTHORIZATION));
        self.observer.log.write(&Record {
            ts: &self.clock.now().minus(duration).to_string(),
            outcome,
            status,
            reason: denial.map(|denial| denial.row().reason),
            detail: denial.and_then(Denial::logged_detail).as_deref(),
            cut: self.cut.map(Cut::name),
            method: head.map(|head| shown(head.method.as_str(), MAX_METHOD)).as_deref(),
            path: head.map(|head| shown(target::path(head), MAX_PATH)).as_deref(),
            request_id: &shown(self.request_id.to_str().unwrap_or_default(), MAX_REQUEST_ID),
            peer: &self.peer.map_or_else(|| "unix".to_owned(), |address| address.to_string()),
            token_sha256: authorization.and_then(fingerprint).as_deref(),
            duration_ms: (duration.as_secs_f64() * 1e6).round() / 1e3,
            upstream_status: matches!(self.outcome, Outcome::Forwarded(_)).then_some(status),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        });
    }
}

/// Enough to find two requests with the same token, too little to find the token. Nothing for what has not the form of a
/// JWT: it may be a password, and with a piece of its hash passwords can be tried elsewhere.
fn fingerprint(authorization: &HeaderValue) -> Option<String> {
    let value = authorization.as_bytes();
    let token = value.iter().position(|byte| *byte == b' ').and_then(|space| value.get(space..)).unwrap_or(value);
    let token = Some(token.trim_ascii()).filter(|token| is_jwt(token))?;
    let hash = digest::digest(&digest::SHA256, token);
    let start = hash.as_ref().first_chunk().copied().unwrap_or_default();
    Some(format!("{:08x}", u32::from_be_bytes(start)))
}

/// Three parts of base64url (RFC 7515 §7.1), the first of which is an object and the last a signature, by its length.
fn is_jwt(token: &[u8]) -> bool {
    let is_part = |part: &&[u8]| part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    // `{` is 0x7b: six bits make an `e`, and two are left for the next digit.
    let is_object = matches!(header, [b'e', b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_', ..]);
    is_object && signature.len() >= MIN_SIGNATURE && [header, payload, signature].iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_by_the_first_32_bits_of_its_sha_256_however_its_scheme_is_written() {
        let token = format!("eyJhbGciOiJIUzI1NiJ9.e30.{}", "a".repeat(43));
        for value in [format!("Bearer {token}"), format!("bearer  {token} "), token] {
            // sha256sum.
            assert_eq!(fingerprint(&HeaderValue::from_str(&value).unwrap()).as_deref(), Some("6fa99744"), "{value}");
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_jwt_leaves_no_hash() {
        let signature = "a".repeat(43);
        for value in [
            "Basic dXNlcjpodW50ZXIy".to_owned(),
            "Bearer hunter2".to_owned(),
            "Bearer a.b.c".to_owned(),
            "Bearer eyJ9.e30.hunter2".to_owned(),
            format!("Bearer hunter2.e30.{signature}"),
            format!("Bearer eyJ9.e30.{signature}.x"),
            format!("Bearer eyJ9.e30 .{signature}"),
            format!("Digest eyJ9.e30.{signature}="),
            String::new(),
        ] {
            assert_eq!(fingerprint(&HeaderValue::from_str(&value).unwrap()), None, "{value}");
        }
    }
}
