//! The head of a request: what is refused whoever sends it, and what the origin gets to see.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version, request};
use http_body::Body;

use super::hop_by_hop::{
    Nominated, announced_trailers, announcement, check_list, is_framing_or_routing, is_hop_by_hop, is_list,
    takes_trailers,
};
use super::http1::Length;
use super::identity::{IdentityNames, fold};
use super::outbound::Outbound;
use super::{ForwardToken, SubProtocols};
use crate::denial::Denial;
use crate::peer::{Peer, TrustedProxies};
use crate::reply::is_field_name;
use crate::{policy, target};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");
const NO_PATH: Denial = Denial::MalformedRequest(Cow::Borrowed("no path in the request target"));

/// How the names of a request's fields are written.
#[derive(Clone, Copy, Debug)]
pub enum Names {
    /// As an origin may read them: nobody need fold them once more.
    Folded,
    /// Nobody has looked, or one is not.
    Any,
}

/// Refuses a request that is not proxied for anybody, or that the origin could read differently.
pub fn check(head: &request::Parts) -> Result<Names, Denial> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Denial::MethodRefused);
    }
    let (mut has_expectation, mut names) = (false, Names::Folded);
    for name in head.headers.keys() {
        if let Cow::Owned(folded) = fold(name.as_str()) {
            names = Names::Any;
            if !is_field_name(name) {
                return Err(Denial::MalformedRequest("a header name has a character that none may have".into()));
            }
            if is_framing_or_routing(&folded) {
                return Err(Denial::AmbiguousRequest(format!("{name} can be read as {folded}").into()));
            }
        }
        has_expectation |= *name == header::EXPECT;
        if is_list(name) {
            check_list(&head.headers, name).map_err(|error| Denial::HeadersTooLarge(error.to_string().into()))?;
        }
    }
    if has_expectation {
        check_expectation(&head.headers)?;
    }
    Ok(names)
}

/// `100-continue`, once, is the only one there is (RFC 9110 §10.1.1).
fn check_expectation(headers: &HeaderMap) -> Result<(), Denial> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    let is_continue = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match (expectations.next(), expectations.next()) {
        (Some(expectation), None) if is_continue(expectation) => Ok(()),
        _ => Err(Denial::ExpectationFailed),
    }
}

/// Where the fields of a head go.
pub(super) trait Fields {
    /// Behind those that are there.
    fn add(&mut self, name: &HeaderName, value: &HeaderValue);
}

/// As they stand in HTTP/1.1.
impl Fields for Vec<u8> {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.extend_from_slice(name.as_str().as_bytes());
        self.extend_from_slice(b": ");
        self.extend_from_slice(value.as_bytes());
        self.extend_from_slice(b"\r\n");
    }
}

impl Fields for HeaderMap {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }
}

/// Writes request heads for the origin.
#[derive(Debug)]
pub(super) struct HeadWriter {
    identity: IdentityNames,
    trusted_proxies: TrustedProxies,
    forward_token: ForwardToken,
    /// The origin's own name, for a request that names none.
    default_host: HeaderValue,
}

impl HeadWriter {
    pub(super) fn new(settings: &super::Settings) -> Self {
        Self {
            identity: IdentityNames::new(&settings.identity_names),
            trusted_proxies: settings.trusted_proxies.clone(),
            forward_token: settings.forward_token,
            default_host: settings.upstream.host(),
        }
    }

    /// The head for the origin in HTTP/1.1, written afresh: nothing of ours can be in it before we put it there. How the
    /// end of the body is told.
    pub(super) fn write(&self, to: &mut Vec<u8>, outbound: &Outbound<'_>, has_body: bool) -> Result<Length, Denial> {
        let head = outbound.head;
        for part in [head.method.as_str(), " "] {
            to.extend_from_slice(part.as_bytes());
        }
        let target = target::path_and_query(head).ok_or(NO_PATH)?;
        if !target.starts_with(['/', '*']) {
            to.push(b'/');
        }
        to.extend_from_slice(target.as_bytes());
        to.extend_from_slice(b" HTTP/1.1\r\n");
        let (is_chunked, announced) = self.add_fields(to, outbound, has_body)?;
        to.extend_from_slice(b"\r\n");
        if is_chunked {
            return Ok(Length::Chunked(announced));
        }
        let length = has_body.then(|| head.headers.get(header::CONTENT_LENGTH)).flatten();
        let length = length.map_or(Some(0), |length| length.to_str().ok()?.parse().ok());
        length.map(Length::Known).ok_or(Denial::MalformedRequest("its length is no number".into()))
    }

    /// The same for HTTP/2, in the form of HTTP/1.1.
    pub(super) fn request<B: Body>(&self, outbound: &Outbound<'_>, body: B) -> Result<Request<B>, Denial> {
        if let Some((character, at)) = target::uncarried(outbound.head) {
            let why =
                format!("the request target has {character:?} after {at} bytes, which HTTP/2 does not carry here");
            return Err(Denial::MalformedRequest(why.into()));
        }
        let has_body = !body.is_end_stream();
        let mut request = Request::new(body);
        *request.method_mut() = outbound.head.method.clone();
        *request.uri_mut() = Uri::from(outbound.head.uri.path_and_query().cloned().ok_or(NO_PATH)?);
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.reserve(outbound.head.headers.len().saturating_add(8));
        self.add_fields(headers, outbound, has_body)?;
        Ok(request)
    }

    /// Whether the body is to be chunked, and which trailers are announced.
    fn add_fields(
        &self,
        to: &mut impl Fields,
        outbound: &Outbound<'_>,
        has_body: bool,
    ) -> Result<(bool, Vec<HeaderName>), Denial> {
        let Outbound { head, inbound, .. } = outbound;
        let host = self.host(head)?;
        to.add(&header::HOST, &host);
        let seen = self.copy(to, outbound);
        if let Some(asked) = outbound.asked {
            asked.add_fields(to);
        } else if seen.te && takes_trailers(&head.headers) {
            to.add(&header::TE, &HeaderValue::from_static("trailers"));
            to.add(&header::CONNECTION, &HeaderValue::from_static("te"));
        }
        if let Some(SubProtocols { offered: Some(offered), .. }) = inbound.sub_protocols {
            to.add(&header::SEC_WEBSOCKET_PROTOCOL, offered);
        }
        // HTTP/2 frames it by itself.
        let is_chunked = seen.is_chunked
            || (head.version == Version::HTTP_2 && has_body && !head.headers.contains_key(header::CONTENT_LENGTH));
        if is_chunked {
            to.add(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
        }
        add_forwarding(to, &host, inbound.peer, &seen.proxied);
        to.add(&header::VIA, via(head.version));
        to.add(&X_REQUEST_ID, inbound.request_id);
        for (name, value) in outbound.permit.identity_headers() {
            to.add(name, value);
        }
        Ok((is_chunked, seen.trailers))
    }

    /// The authority of an absolute target replaces `Host` (RFC 9112 §3.2.2); HTTP/1.0 may have neither.
    fn host<'h>(&'h self, head: &'h request::Parts) -> Result<Cow<'h, HeaderValue>, Denial> {
        match (head.uri.authority(), head.headers.get(header::HOST)) {
            (Some(authority), _) => HeaderValue::from_str(authority.as_str())
                .map(Cow::Owned)
                .map_err(|_| Denial::MalformedRequest("the authority of the request target is not valid".into())),
            (None, Some(host)) => Ok(Cow::Borrowed(host)),
            (None, None) => Ok(Cow::Borrowed(&self.default_host)),
        }
    }

    /// Whether a trailer of this name may pass.
    pub(super) fn may_pass_as_trailer(&self, name: &HeaderName) -> bool {
        let folded = fold(name.as_str());
        !is_framing_or_routing(&folded)
            && !self.identity.contain(&folded)
            && !matches!(class(&folded), Class::Forwarding)
            // What decided about the request was read before them.
            && !policy::overrides_method(name)
    }

    /// Copies what passes in one go; tells what was met on the way.
    fn copy<'h>(&self, to: &mut impl Fields, outbound: &Outbound<'h>) -> Seen<'h> {
        let (from, inbound) = (&outbound.head.headers, &outbound.inbound);
        let nominated = Nominated::by(from);
        let mut seen = Seen::default();
        for (name, value) in from {
            let folded = match inbound.names {
                Names::Folded => Cow::Borrowed(name.as_str()),
                Names::Any => fold(name.as_str()),
            };
            if nominated.contain(name.as_str()) || self.identity.contain(&folded) || outbound.replaces(name) {
                continue;
            }
            match class(&folded) {
                Class::OursToWrite => {
                    seen.te |= *name == header::TE;
                    seen.is_chunked |= *name == header::TRANSFER_ENCODING;
                }
                Class::Forwarding if folded == name.as_str() && self.trusted_proxies.contain(inbound.peer) => {
                    if *name == X_FORWARDED_FOR {
                        seen.proxied.chain.push(value);
                    } else {
                        seen.proxied.proto |= *name == X_FORWARDED_PROTO;
                        seen.proxied.host |= *name == X_FORWARDED_HOST;
                        to.add(name, value);
                    }
                }
                Class::Forwarding => warn_of_untrusted(inbound.peer),
                Class::Trailer => {
                    let announced = announced_trailers(value, |name| self.may_pass_as_trailer(name));
                    if let Some(value) = announcement(&announced) {
                        to.add(name, &value);
                        seen.trailers.extend(announced);
                    }
                }
                Class::Authorization if self.forward_token == ForwardToken::Strip => {}
                Class::Authorization | Class::Other => to.add(name, value),
            }
        }
        seen
    }
}

/// Says once that a proxy in front of us is not believed, which nobody would find out otherwise.
fn warn_of_untrusted(peer: &Peer) {
    /// One for all workers.
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    if peer.address.is_none_or(is_private) && !HAS_WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %peer,
            "forwarding headers from a private address were replaced; if it is a proxy of yours: --trusted-proxy {peer}"
        );
    }
}

/// What was met while copying.
#[derive(Default)]
struct Seen<'h> {
    te: bool,
    /// The one transfer coding that is understood.
    is_chunked: bool,
    proxied: Proxied<'h>,
    /// What is announced of trailers.
    trailers: Vec<HeaderName>,
}

/// What a trusted proxy tells of the connection before it.
#[derive(Default)]
struct Proxied<'h> {
    proto: bool,
    host: bool,
    /// Its `X-Forwarded-For`.
    chain: Vec<&'h HeaderValue>,
}

/// What is to be done with a field of this name.
enum Class {
    /// What a proxy tells of the connection before it; believed from a trusted proxy only.
    Forwarding,
    /// Never copied: written afresh, fulfilled here, or (`Proxy`) an attack on CGI scripts (CVE-2016-5385).
    OursToWrite,
    Trailer,
    Authorization,
    Other,
}

fn class(folded: &str) -> Class {
    match folded {
        "forwarded"
        | "x-forwarded-for"
        | "x-forwarded-proto"
        | "x-forwarded-host"
        | "x-forwarded-port"
        | "x-forwarded-prefix"
        | "x-real-ip"
        | "x-original-url"
        | "x-rewrite-url"
        | "x-forwarded-client-cert" => Class::Forwarding,
        "host" | "expect" | "proxy" | "x-request-id" | "http2-settings" => Class::OursToWrite,
        "trailer" => Class::Trailer,
        "authorization" => Class::Authorization,
        folded if is_hop_by_hop(folded) => Class::OursToWrite,
        _ => Class::Other,
    }
}

fn add_forwarding(to: &mut impl Fields, host: &HeaderValue, peer: &Peer, proxied: &Proxied<'_>) {
    // A trusted proxy on a unix socket has no address to add to what it tells.
    if peer.address.is_none() && !proxied.chain.is_empty() {
        proxied.chain.iter().for_each(|value| to.add(&X_FORWARDED_FOR, value));
    } else if proxied.chain.is_empty() {
        to.add(&X_FORWARDED_FOR, &peer.text);
    } else {
        let mut chain = BytesMut::new();
        for before in &proxied.chain {
            chain.extend_from_slice(before.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(peer.text.as_bytes());
        if let Ok(chain) = HeaderValue::from_maybe_shared(chain.freeze()) {
            to.add(&X_FORWARDED_FOR, &chain);
        }
    }
    if !proxied.proto {
        to.add(&X_FORWARDED_PROTO, if peer.is_tls { &HTTPS } else { &HTTP });
    }
    if !proxied.host {
        to.add(&X_FORWARDED_HOST, host);
    }
}

/// How we name ourselves (RFC 9110 §7.6.3): by the protocol that the request came in.
fn via(version: Version) -> &'static HeaderValue {
    static HTTP_10: HeaderValue = HeaderValue::from_static("1.0 claimgate");
    static HTTP_11: HeaderValue = HeaderValue::from_static("1.1 claimgate");
    static HTTP_2: HeaderValue = HeaderValue::from_static("2.0 claimgate");
    match version {
        Version::HTTP_10 => &HTTP_10,
        Version::HTTP_2 => &HTTP_2,
        _ => &HTTP_11,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}
