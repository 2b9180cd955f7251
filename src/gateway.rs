//! The path of a request: one line of steps, and around it the one place that observes and answers.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock::Clock;
use crate::denial::Denial;
use crate::forward::{
    self, Direction, Inbound, Names, ResponseBody, ResponseCut, SubProtocols, TunnelEnd, Unanswered, Upstream,
};
use crate::incoming::Incoming;
use crate::interim::Interim;
use crate::liveness::Liveness;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reply::Reply;
use crate::respond;
use crate::telemetry::{Cut, Observation, Observer, Outcome};
use crate::token::{Credentials, Handshake, HandshakePlace, Verifier};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest `X-Request-Id` that is kept.
const MAX_REQUEST_ID: usize = 128;

/// The gate of one worker.
#[derive(Debug)]
pub struct Gateway {
    policy: Policy,
    verifier: Verifier,
    upstream: Upstream,
    realm: Rc<str>,
    handshake_place: Option<HandshakePlace>,
    clock: Clock,
    observer: Rc<Observer>,
}

impl Gateway {
    /// A gate of these parts.
    pub fn new(
        policy: Policy,
        verifier: Verifier,
        upstream: Upstream,
        realm: &str,
        clock: Clock,
        observer: Rc<Observer>,
    ) -> Self {
        Self { policy, verifier, upstream, realm: realm.into(), handshake_place: None, clock, observer }
    }

    /// The same, which also looks for the token of a WebSocket there.
    #[must_use]
    pub fn with_handshake_place(mut self, place: Option<HandshakePlace>) -> Self {
        self.handshake_place = place;
        self
    }

    /// Answers one request, with the origin's response or with a denial. Dropped when the client goes away.
    pub async fn handle(
        &self,
        head: Rc<Parts>,
        body: Incoming,
        peer: &Peer,
        interim: Option<&Interim>,
    ) -> Reply<AnswerBody> {
        let request_id = request_id(&head.headers);
        let closes = !body.is_end_stream();
        let observation = Observation::begin(&self.observer, &self.clock, head, request_id, peer.address);
        let request_id = observation.request_id();
        let is_grpc = respond::is_grpc(observation.head());
        let since = observation.since().into();
        let inbound =
            Inbound { peer, names: Names::Any, request_id, interim, is_grpc, since, now: None, sub_protocols: None };
        match self.pass(observation.head(), body, inbound).await {
            Ok(reply) => AnswerBody::forwarded(reply, observation),
            Err(Unanswered::Denied(denial)) => self.deny(denial, closes, observation),
            Err(Unanswered::ClientGone) => {
                let denial = Denial::MalformedRequest("the body ended early".into());
                let response = respond::denied(&denial, self.context(&observation, true));
                Reply::from(response).map(|body| AnswerBody::own(body, observation))
            }
        }
    }

    /// Answers what never became a request, though it may have a head.
    pub fn refuse(&self, denial: Denial, peer: &Peer, head: Option<Rc<Parts>>) -> Reply<AnswerBody> {
        let (observer, clock) = (&self.observer, &self.clock);
        let observation = match head {
            None => Observation::refused(observer, clock, new_request_id(), peer.address),
            Some(head) => {
                let request_id = request_id(&head.headers);
                Observation::begin(observer, clock, head, request_id, peer.address)
            }
        };
        self.deny(denial, true, observation)
    }

    /// The path. What is refused leaves it at a `?`.
    async fn pass(
        &self,
        head: &Parts,
        body: Incoming,
        mut inbound: Inbound<'_>,
    ) -> Result<Reply<ResponseBody>, Unanswered> {
        inbound.names = forward::check(head)?;
        let rule = self.policy.rule_for(head);
        let place = self.handshake_place.as_ref().filter(|_| forward::is_websocket(head));
        let handshake = place.map(|place| Handshake::read(&head.headers, place));
        let sub_protocols = handshake.as_ref().filter(|handshake| handshake.has_token()).map(sub_protocols);
        inbound.sub_protocols = sub_protocols.as_ref();
        let token = if rule.requires_token() {
            let credentials = match &handshake {
                None => Credentials::from_headers(&head.headers)?,
                Some(handshake) => Credentials::of_handshake(&head.headers, handshake)?,
            };
            let now = self.clock.now();
            inbound.now = Some(now);
            Some(self.verifier.verify(&credentials, now).await?)
        } else {
            None
        };
        let permit = self.policy.authorize(rule, token)?;
        self.upstream.send(head, body, permit, inbound).await
    }

    fn deny(&self, denial: Denial, closes: bool, mut observation: Observation) -> Reply<AnswerBody> {
        // What comes behind a request that was not understood is not understood either. HTTP/2 ends the stream instead.
        let closes = (closes || matches!(denial, Denial::AmbiguousRequest(_) | Denial::MalformedRequest(_)))
            && observation.head().version < Version::HTTP_2;
        let response = respond::denied(&denial, self.context(&observation, closes));
        observation.conclude(Outcome::Denied(denial));
        Reply::from(response).map(|body| AnswerBody::own(body, observation))
    }

    fn context<'r>(&'r self, observation: &'r Observation, closes: bool) -> respond::Context<'r> {
        let is_grpc = respond::is_grpc(observation.head());
        respond::Context { realm: &self.realm, request_id: observation.request_id(), closes, is_grpc }
    }
}

fn sub_protocols(handshake: &Handshake<'_>) -> SubProtocols {
    SubProtocols { offered: handshake.offered(), fallback: handshake.fallback() }
}

/// The client's own, if there is one and it is fit for logs and answers; else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut fields = headers.get_all(X_REQUEST_ID).iter();
    let is_fit = |value: &HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    match (fields.next(), fields.next()) {
        (Some(value), None) if is_fit(value) => value.clone(),
        _ => new_request_id(),
    }
}

fn new_request_id() -> HeaderValue {
    let mut digits = [0; 32];
    for (two, byte) in digits.as_chunks_mut().0.iter_mut().zip(fastrand::u128(..).to_ne_bytes()) {
        *two = HEX[usize::from(byte)];
    }
    HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// Each byte in two digits.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        hex[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    hex
};

/// The body of an answer; what is to be observed about it ends with it.
#[derive(Debug)]
pub struct AnswerBody {
    source: Source,
    /// Gone on with what follows a 101.
    observation: Option<Observation>,
}

#[derive(Debug)]
enum Source {
    Origin(ResponseBody),
    Own(Full<Bytes>),
}

impl AnswerBody {
    fn forwarded(reply: Reply<ResponseBody>, mut observation: Observation) -> Reply<Self> {
        observation.conclude(Outcome::Forwarded(reply.head.status));
        reply.map(|body| Self { source: Source::Origin(body), observation: Some(observation) })
    }

    const fn own(body: Full<Bytes>, observation: Observation) -> Self {
        Self { source: Source::Own(body), observation: Some(observation) }
    }

    /// A gRPC call may end early in good order: in trailers of our own.
    fn tell_if_cut(&mut self) {
        if let Source::Origin(body) = &self.source
            && let Some(cut) = body.told()
            && let Some(observation) = &mut self.observation
        {
            observation.cut(cause(cut));
        }
    }

    /// Whether it is the origin's.
    pub const fn is_forwarded(&self) -> bool {
        matches!(self.source, Source::Origin(_))
    }

    /// What follows it, after a 101.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        let Source::Origin(body) = &mut self.source else { return None };
        let joint = body.take_tunnel()?;
        Some(Tunnel { joint, observation: self.observation.take()? })
    }
}

const fn cause(cut: &ResponseCut) -> Cut {
    match cut {
        ResponseCut::Origin(_) => Cut::Upstream,
        ResponseCut::Idle => Cut::Idle,
        ResponseCut::TokenExpired(_) => Cut::TokenExpired,
        ResponseCut::KeyWithdrawn(_) => Cut::KeyWithdrawn,
        ResponseCut::DeadlineExceeded(_) => Cut::DeadlineExceeded,
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = ResponseCut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseCut>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Origin(body) => Pin::new(body).poll_frame(cx),
            Source::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match (frame.data_ref(), &mut this.observation) {
                (Some(data), Some(observation)) => observation.count(data.len()),
                _ => this.tell_if_cut(),
            },
            Poll::Ready(Some(Err(cut))) => {
                if let Some(observation) = &mut this.observation {
                    observation.cut(cause(cut));
                }
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Origin(body) => body.is_end_stream(),
            Source::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Origin(body) => body.size_hint(),
            Source::Own(body) => body.size_hint(),
        }
    }
}

/// What follows a 101: as much of its request as an answer's body is.
#[derive(Debug)]
pub struct Tunnel {
    joint: forward::Tunnel,
    observation: Observation,
}

impl Tunnel {
    /// Joins the client to the origin until it is over, or `cut` has come.
    pub async fn run(self, client: impl AsyncRead + AsyncWrite + Liveness + Unpin, cut: impl Future<Output = ()>) {
        let Self { joint, mut observation } = self;
        let count = |direction, bytes| match direction {
            Direction::ToOrigin => observation.count_in(bytes),
            Direction::ToClient => observation.count(bytes),
        };
        match joint.join(client, cut, count).await {
            TunnelEnd::TokenExpired => observation.cut(Cut::TokenExpired),
            TunnelEnd::KeyWithdrawn => observation.cut(Cut::KeyWithdrawn),
            TunnelEnd::Idle => observation.cut(Cut::Idle),
            TunnelEnd::Origin => observation.cut(Cut::Upstream),
            TunnelEnd::Closed | TunnelEnd::Cut => {}
        }
    }
}
