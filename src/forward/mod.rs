//! To the origin and back.

mod admission;
mod answer;
mod body;
mod connect;
mod exchange;
mod expiry;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod hop_by_hop;
mod http1;
mod http2;
mod identity;
mod origin;
mod outbound;
mod pace;
mod places;
mod pool;
mod request_head;
mod response_head;
mod stream;
mod tls;
mod tunnel;
mod upgrade;
mod websocket;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use self::answer::Answer;
use self::body::{Cut, Exchange, Limits, RequestBody};
pub use self::body::{ResponseBody, ResponseCut};
use self::expiry::KeyWatch;
pub use self::expiry::StreamExpiry;
use self::grpc::{Ends, Why};
pub use self::origin::{Address, Origin, Protocol};
use self::outbound::Outbound;
pub use self::places::{Places, Usage};
use self::pool::Pool;
pub use self::pool::PoolCounters;
use self::request_head::HeadWriter;
pub use self::request_head::{Names, check};
use self::stream::OriginIo;
pub use self::tls::{ClientIdentity, Tls, UnusableIdentity};
pub use self::tunnel::{Direction, Tunnel, TunnelEnd};
use self::upgrade::Asked;
pub use self::upgrade::{SubProtocols, is_websocket};
use crate::clock::NumericDate;
use crate::deadline::Deadlines;
use crate::denial::Denial;
use crate::incoming::Incoming;
use crate::interim::Interim;
use crate::peer::{Peer, TrustedProxies};
use crate::policy::Permit;
use crate::reply::{Fields, Reply};

/// Where the origin is and how long it may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The origin.
    pub upstream: Origin,
    /// For an origin with TLS.
    pub tls: Option<Tls>,
    /// The most connections at a time, over all workers.
    pub max_connections: usize,
    /// How many requests may wait for one when all are in use, over all workers.
    pub max_waiting: usize,
    /// How long a connect may take, and the wait for one before it.
    pub connect_timeout: Duration,
    /// How long the response header may take, from the last byte of the request body.
    pub response_timeout: Duration,
    /// How long a connection with HTTP/1.1 may have been idle to be used again.
    pub idle_timeout: Duration,
    /// How long one with HTTP/2 may be idle.
    pub http2_idle_timeout: Duration,
    /// How long a body may stand still, in either direction.
    pub stream_idle_timeout: Duration,
    /// How many bytes a request body must bring per 10 s on average after its first 30 s; 0 for no minimum.
    pub min_body_rate: u64,
    /// The largest request body, in bytes; `None` for no limit.
    pub max_body_size: Option<u64>,
    /// Peers whose forwarding headers are kept.
    pub trusted_proxies: TrustedProxies,
    /// Whether the origin sees the token itself.
    pub forward_token: ForwardToken,
    /// What becomes of streams when their tokens end.
    pub stream_expiry: StreamExpiry,
    /// Protocols that may be switched to beside WebSocket.
    pub allowed_upgrades: Vec<String>,
    /// Names that only we may set, beside the prefix `x-jwt-`.
    pub identity_names: Vec<HeaderName>,
}

/// What happens to the `Authorization` header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForwardToken {
    /// The origin gets it as it came.
    Keep,
    /// It ends here.
    Strip,
}

/// What the origin is told about the request beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'r> {
    /// Who sent it.
    pub peer: &'r Peer,
    /// As [`check`] found them in this very head: what is said to be folded is not looked at again.
    pub names: Names,
    /// Its `X-Request-Id`.
    pub request_id: &'r HeaderValue,
    /// Where it is told of interim responses, if it can be.
    pub interim: Option<&'r Interim>,
    /// Whether it is a gRPC call.
    pub is_grpc: bool,
    /// When it came.
    pub since: Instant,
    /// The same on the clock by which its token was judged; `None` where none is asked for.
    pub now: Option<NumericDate>,
    /// What a WebSocket's client offers, where its token stood in between.
    pub sub_protocols: Option<&'r SubProtocols>,
}

/// Why there is no response.
#[derive(Debug)]
pub enum Unanswered {
    /// This proxy answers instead.
    Denied(Denial),
    /// Nobody is there to be answered.
    ClientGone,
}

impl From<Denial> for Unanswered {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// One worker's way to the origin.
#[derive(Debug)]
pub struct Upstream {
    head: Rc<HeadWriter>,
    pool: Pool,
    deadlines: Deadlines,
    limits: Limits,
    stream_expiry: StreamExpiry,
    allowed_upgrades: Rc<[String]>,
}

impl Upstream {
    /// Within which streams end whose key was withdrawn, from when that is known on. Not all at once, since their clients
    /// come back.
    pub const KEY_WITHDRAWAL: Duration = Duration::from_secs(4);

    /// Needs a local runtime, in which its connections live. `places` are those of all workers.
    pub fn new(settings: &Settings, places: &Places, deadlines: &Deadlines) -> Self {
        Self {
            head: Rc::new(HeadWriter::new(settings)),
            pool: Pool::new(settings, places, deadlines),
            deadlines: deadlines.clone(),
            limits: Limits {
                idle: settings.stream_idle_timeout,
                min_rate: settings.min_body_rate,
                max_size: settings.max_body_size,
                response: settings.response_timeout,
            },
            stream_expiry: settings.stream_expiry,
            allowed_upgrades: settings.allowed_upgrades.clone().into(),
        }
    }

    /// What is counted of its connections.
    pub fn counters(&self) -> &Arc<PoolCounters> {
        self.pool.counters()
    }

    /// Sends a permitted request and waits for the head of the response.
    pub async fn send(
        &self,
        head: &Parts,
        body: Incoming,
        permit: Permit,
        inbound: Inbound<'_>,
    ) -> Result<Reply<ResponseBody>, Unanswered> {
        if let Some(limit) = self.limits.max_size.filter(|max| body.size_hint().lower() > *max) {
            return Err(Denial::BodyTooLarge { limit }.into());
        }
        let asked = upgrade::asked(head, !body.is_end_stream(), &self.allowed_upgrades)?;
        // With HTTP/2 alone there is nothing to switch from (RFC 9113 §8.6).
        if !self.pool.has_http1() && asked.as_ref().is_some_and(|asked| asked.is_all()) {
            return Err(response_head::invalid("with HTTP/2 alone it is not asked for a WebSocket").into());
        }
        let asked = asked.filter(|_| self.pool.has_http1());
        let outbound = Outbound { head, permit: &permit, inbound, asked: asked.as_deref() };
        let exchange = Rc::new(self.begin(head, &permit, &inbound));
        let body = RequestBody::new(body, &exchange, &self.head);
        // A call may be answered late, and is a stream all the same.
        let call_watch = if inbound.is_grpc { self.key_watch(&permit) } else { None };
        let answered = {
            // Made where it stays: a future is copied whole each time it is moved.
            let mut exchanging = pin!(self.exchange(&outbound, &exchange, body));
            poll_fn(|cx| match exchanging.as_mut().poll(cx) {
                Poll::Pending => match &call_watch {
                    Some(watch) if watch.poll_withdrawn(cx).is_ready() => Poll::Ready(Err(expiry::withdrawn())),
                    _ => exchange.deadline().poll_elapsed(cx).map(|()| Err(late(&exchange, &permit, &inbound))),
                },
                answered @ Poll::Ready(_) => answered,
            })
            .await
        };
        let mut reply = answered.map_err(|denial| {
            let is_deaf = inbound.is_grpc && self.pool.has_http1_alone();
            explain(if is_deaf { grpc::explain(denial) } else { denial }, &exchange, self.limits)
        })?;
        if asked.as_ref().is_some_and(|asked| asked.is_missed_by(reply.head.status)) {
            return Err(response_head::invalid("it did not switch protocols").into());
        }
        if let Some(asked) = asked.filter(|_| reply.head.status == StatusCode::SWITCHING_PROTOCOLS) {
            let (origin, received) = switch(&asked, &mut reply, &exchange, &inbound)?;
            let limits = tunnel::Limits {
                deadline: self.deadlines.deadline(),
                idle: self.limits.idle,
                ends: self.stream_expiry.ends_at(&permit, &inbound),
                key: self.key_watch(&permit),
            };
            let tunnel = Tunnel::new(tunnel::Ends { origin, received, is_websocket: asked.is_websocket(), limits });
            return Ok(reply.map(|body| ResponseBody::switched(body, exchange, tunnel)));
        }
        exchange.answered();
        response_head::filter(&mut reply.head, head.method == Method::HEAD)?;
        let is_events = is_stream_of_events(&reply);
        let ends = exchange.ends().or_else(|| is_events.then(|| self.token_end(&permit, &inbound)).flatten());
        let key = call_watch.or_else(|| is_events.then(|| self.key_watch(&permit)).flatten());
        Ok(reply.map(|body| ResponseBody::new(body, exchange, ends, key)))
    }

    fn key_watch(&self, permit: &Permit) -> Option<KeyWatch> {
        self.stream_expiry.key_watch(permit, &self.deadlines)
    }

    fn begin(&self, head: &Parts, permit: &Permit, inbound: &Inbound<'_>) -> Exchange {
        let deadline = self.deadlines.deadline();
        if !inbound.is_grpc {
            return Exchange::new(deadline, self.limits);
        }
        let token = self.stream_expiry.ends_at(permit, inbound);
        Exchange::call(deadline, self.limits, Ends::of(&head.headers, inbound.since, token))
    }

    fn token_end(&self, permit: &Permit, inbound: &Inbound<'_>) -> Option<Ends> {
        let at = self.stream_expiry.ends_at(permit, inbound)?;
        Some(Ends { at, why: Why::TokenExpired })
    }
}

/// A body with a length is whole in the end, however long it takes.
fn is_stream_of_events<B: Body>(reply: &Reply<B>) -> bool {
    // One of events does not come as lines.
    let Fields::Map(headers) = &reply.head.fields else { return false };
    reply.body.size_hint().exact().is_none() && response_head::is_event_stream(headers)
}

/// Takes over the origin's end of a connection that has become something else.
fn switch(
    asked: &Asked,
    reply: &mut Reply<Answer>,
    exchange: &Exchange,
    inbound: &Inbound<'_>,
) -> Result<(OriginIo, Bytes), Denial> {
    asked.filter(&mut reply.head, inbound.sub_protocols)?;
    // Until then, the client sends in the protocol in which it began (RFC 9110 §7.8).
    if !exchange.is_complete() {
        return Err(response_head::invalid("it switched protocols before the request had ended"));
    }
    let switched = reply.body.switched();
    exchange.deadline().disarm();
    switched.ok_or_else(|| response_head::invalid("it closed the connection"))
}

/// What took too long: the origin, or a call as a whole.
fn late(exchange: &Exchange, permit: &Permit, inbound: &Inbound<'_>) -> Denial {
    match exchange.ends().filter(|ends| ends.at <= Instant::now()).map(|ends| ends.why) {
        Some(Why::TokenExpired) => {
            let expired = expiry::expired(permit, inbound);
            return expired.unwrap_or_else(|| Denial::Internal("no token has an end here".into()));
        }
        Some(Why::DeadlineExceeded) => return Denial::UpstreamTimeout("not within the deadline of the call".into()),
        None => {}
    }
    let (what, limit) = if exchange.is_complete() {
        ("no response header", exchange.limits().response)
    } else {
        ("it does not take the request body", exchange.limits().idle)
    };
    Denial::UpstreamTimeout(format!("{what} within {} s", limit.as_secs_f32()).into())
}

/// What the request body notes goes before what the origin did about it.
fn explain(denial: Denial, exchange: &Exchange, limits: Limits) -> Unanswered {
    Unanswered::Denied(match exchange.cut() {
        None => denial,
        Some(Cut::Gone) => return Unanswered::ClientGone,
        Some(Cut::Malformed) => Denial::MalformedRequest("the body is not valid HTTP".into()),
        Some(Cut::TooLarge) => Denial::BodyTooLarge { limit: limits.max_size.unwrap_or_default() },
        Some(Cut::Idle) => {
            Denial::RequestTimeout(format!("no byte of the body for {} s", limits.idle.as_secs_f32()).into())
        }
        Some(Cut::TooSlow) => Denial::RequestTimeout(
            format!("the body came at less than {} bytes in 10 s on average", limits.min_rate).into(),
        ),
    })
}
