//! One request on its way to the origin, as often as it is sent.

use std::rc::Rc;

use http::request::Parts;
use http::{HeaderName, Method, Version, header};
use http_body::Body as _;

use super::answer::{Answer, Broken};
use super::body::{Exchange, RequestBody};
use super::http1::Asks;
use super::http2::Stream;
use super::pool::{Failure, Lease};
use super::upgrade::Asked;
use super::{Inbound, Upstream, http1};
use crate::denial::Denial;
use crate::policy::Permit;
use crate::reply::Reply;

/// How many times a request is sent that the origin has not acted upon, as it says itself.
const MAX_REFUSALS: usize = 3;

/// One request on its way.
pub(super) struct Outbound<'r> {
    pub(super) head: &'r Parts,
    pub(super) permit: &'r Permit,
    pub(super) inbound: Inbound<'r>,
    pub(super) asked: Option<&'r Asked>,
}

impl Outbound<'_> {
    /// Whether the fields of the response may go to the client as they came: it speaks HTTP/1.1 too, and asks for nothing
    /// that an answer would have to be looked at for.
    fn takes_lines(&self) -> bool {
        self.head.version == Version::HTTP_11
            && self.head.method != Method::HEAD
            && !self.inbound.is_grpc
            && self.asked.is_none()
    }

    /// Whether what the client sent under this name is not what the origin gets.
    pub(super) fn replaces(&self, name: &HeaderName) -> bool {
        self.asked.is_some_and(|asked| asked.replaces(name))
            || (self.inbound.sub_protocols.is_some() && *name == header::SEC_WEBSOCKET_PROTOCOL)
    }
}

impl Upstream {
    /// Sends it, once more where that is safe.
    pub(super) async fn exchange(
        &self,
        outbound: &Outbound<'_>,
        exchange: &Rc<Exchange>,
        body: RequestBody,
    ) -> Result<Reply<Answer>, Denial> {
        let mut may_repeat =
            body.is_end_stream() && matches!(outbound.head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if body.is_end_stream() {
            exchange.complete();
        }
        let needs_http1 = outbound.asked.is_some();
        let mut idle = self.pool.take(needs_http1);
        let (mut body, mut refusals) = (body, 0);
        loop {
            let lease = match idle.take() {
                Some(lease) => lease,
                // Boxed, so that a request with a pooled connection does not carry the state of connecting.
                None => Box::pin(self.pool.lease(exchange, needs_http1)).await?,
            };
            let sent = match lease {
                Lease::Http1(mut lease) => match self.begin_http1(&mut lease, outbound, body) {
                    Ok(()) => {
                        let head = lease.head(outbound.inbound.interim).await;
                        head.map(|head| Reply { head, body: Answer::Http1(Some(lease)) })
                    }
                    Err(failure) => Err(*failure),
                },
                // Boxed: what HTTP/1.1 does not need is not carried along with it.
                Lease::Http2(stream) => Box::pin(self.send_stream(*stream, outbound, body)).await,
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(Failure { unsent: Some(unsent), was_idle: true, error, .. }) if refusals < MAX_REFUSALS => {
                    refusals += usize::from(matches!(error, Broken::Http2(_)));
                    body = unsent;
                }
                // Also on a connection that was new: a process that is being replaced closes what it has just accepted.
                Err(Failure { has_answered: false, error, .. }) if may_repeat && error.is_end() => {
                    may_repeat = false;
                    body = RequestBody::empty();
                }
                Err(failure) => return Err(failed(failure)),
            }
        }
    }

    /// Sends it over HTTP/1.1.
    fn begin_http1(
        &self,
        lease: &mut http1::Lease,
        outbound: &Outbound<'_>,
        body: RequestBody,
    ) -> Result<(), Box<Failure>> {
        lease.asks(Asks { head_alone: outbound.head.method == Method::HEAD, lines: outbound.takes_lines() });
        let has_body = !body.is_end_stream();
        lease.begin(|head| self.head.write(head, outbound, has_body), body)
    }

    /// Sends it over HTTP/2.
    async fn send_stream(
        &self,
        stream: Stream,
        outbound: &Outbound<'_>,
        body: RequestBody,
    ) -> Result<Reply<Answer>, Failure> {
        let request = self.head.request(outbound, body).map_err(Failure::denied)?;
        let response = stream.send(request, outbound.inbound.interim).await?;
        Ok(Reply::from(response).map(|body| Answer::Http2(Box::new(body))))
    }
}

/// A failed exchange, as far as the origin is to blame.
fn failed(failure: Failure) -> Denial {
    let invalid = "the head of its response is not valid HTTP";
    match failure.error {
        Broken::Denied(denial) => denial,
        // Its cause is noted, and told instead.
        Broken::Cut(cut) => Denial::MalformedRequest(cut.to_string().into()),
        Broken::Http1(http1::Error::Malformed(rule)) => Denial::UpstreamProtocol(format!("{invalid}: {rule}").into()),
        Broken::Http1(http1::Error::TooLarge(limit)) => Denial::UpstreamProtocol(limit.into()),
        // The library says the same of a head that is larger than it takes.
        Broken::Http2(error) if error.is_library() => {
            Denial::UpstreamProtocol(format!("{invalid}, or has more than 64 KiB: {error}").into())
        }
        Broken::Http2(error) if !error.is_io() => Denial::UpstreamUnreachable(format!("no response: {error}").into()),
        _ if failure.has_answered => {
            Denial::UpstreamProtocol("it closed the connection in the head of its response".into())
        }
        _ => Denial::UpstreamUnreachable("it closed the connection without a response".into()),
    }
}
