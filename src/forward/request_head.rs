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

use super::hop_by_hop::{Nominated, announced_trailers, is_framing_or_routing, is_hop_by_hop, takes_trailers};
use super::identity::{IdentityNames, fold};
use super::{ForwardToken, Inbound};
use crate::denial::Denial;
use crate::peer::{Peer, TrustedProxies};
use crate::policy::Permit;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Refuses a request that is not proxied for anybody, or that the origin could read differently.
pub fn check(head: &request::Parts) -> Result<(), Denial> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Denial::MethodRefused);
    }
    let mut has_expectation = false;
    for name in head.headers.keys() {
        if let Cow::Owned(folded) = fold(name.as_str())
            && is_framing_or_routing(&folded)
        {
            return Err(Denial::AmbiguousRequest(format!("{name} can be read as {folded}").into()));
        }
        has_expectation |= *name == header::EXPECT;
    }
    if has_expectation { check_expectation(&head.headers) } else { Ok(()) }
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

    /// The head for the origin, written afresh: nothing of ours can be in it before we put it there.
    pub(super) fn write<B: Body>(
        &self,
        head: &request::Parts,
        body: B,
        permit: &Permit,
        inbound: &Inbound<'_>,
    ) -> Result<Request<B>, Denial> {
        // HTTP/2 frames it by itself.
        let is_of_unknown_length = head.version == Version::HTTP_2
            && !body.is_end_stream()
            && !head.headers.contains_key(header::CONTENT_LENGTH);
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = origin_form(&head.uri)?;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.reserve(head.headers.len().saturating_add(8));
        let host = self.host(head)?;
        headers.insert(header::HOST, host.clone());
        let seen = self.copy(&head.headers, headers, inbound);
        if seen.is_chunked || is_of_unknown_length {
            // hyper would take a GET or HEAD of unknown length for one without a body, and drop what there is.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        append_forwarding(headers, host, inbound, &seen);
        headers.append(header::VIA, via(head.version));
        headers.insert(X_REQUEST_ID, inbound.request_id.clone());
        for (name, value) in permit.identity_headers() {
            headers.insert(name, value.clone());
        }
        Ok(request)
    }

    /// The authority of an absolute target replaces `Host` (RFC 9112 §3.2.2); HTTP/1.0 may have neither.
    fn host(&self, head: &request::Parts) -> Result<HeaderValue, Denial> {
        match (head.uri.authority(), head.headers.get(header::HOST)) {
            (Some(authority), _) => HeaderValue::from_str(authority.as_str())
                .map_err(|_| Denial::MalformedRequest("the authority of the request target is not valid".into())),
            (None, Some(host)) => Ok(host.clone()),
            (None, None) => Ok(self.default_host.clone()),
        }
    }

    /// Whether a trailer of this name may pass.
    pub(super) fn may_pass_as_trailer(&self, name: &HeaderName) -> bool {
        let folded = fold(name.as_str());
        !is_framing_or_routing(&folded)
            && !self.identity.contain(&folded)
            && !matches!(class(&folded), Class::Forwarding)
    }

    /// Copies what passes in one go; tells what was met on the way.
    fn copy(&self, from: &HeaderMap, to: &mut HeaderMap, inbound: &Inbound<'_>) -> Seen {
        let nominated = Nominated::by(from);
        let mut seen = Seen::default();
        for (name, value) in from {
            let folded = fold(name.as_str());
            if nominated.contain(name.as_str()) || self.identity.contain(&folded) {
                continue;
            }
            match class(&folded) {
                Class::OursToWrite => {
                    seen.te |= *name == header::TE;
                    seen.is_chunked |= *name == header::TRANSFER_ENCODING;
                }
                Class::Forwarding if folded == name.as_str() && self.trusted_proxies.contain(inbound.peer) => {
                    seen.forwarding = true;
                    to.append(name, value.clone());
                }
                Class::Forwarding => warn_of_untrusted(inbound.peer),
                Class::Trailer => {
                    if let Some(value) = announced_trailers(value, |name| self.may_pass_as_trailer(name)) {
                        to.append(name, value);
                    }
                }
                Class::Authorization if self.forward_token == ForwardToken::Strip => {}
                Class::Authorization | Class::Other => {
                    to.append(name, value.clone());
                }
            }
        }
        if seen.te && takes_trailers(from) {
            to.insert(header::TE, HeaderValue::from_static("trailers"));
            to.insert(header::CONNECTION, HeaderValue::from_static("te"));
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

/// Path and query, byte for byte.
fn origin_form(uri: &Uri) -> Result<Uri, Denial> {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return Ok(uri.clone());
    }
    let target =
        uri.path_and_query().cloned().ok_or(Denial::MalformedRequest("no path in the request target".into()))?;
    Ok(Uri::from(target))
}

/// What was met while copying.
#[derive(Default)]
struct Seen {
    te: bool,
    /// The one transfer coding that is understood.
    is_chunked: bool,
    /// A trusted proxy's forwarding fields.
    forwarding: bool,
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

fn append_forwarding(headers: &mut HeaderMap, host: HeaderValue, inbound: &Inbound<'_>, seen: &Seen) {
    let peer = inbound.peer;
    let proto = HeaderValue::from_static(if peer.is_tls { "https" } else { "http" });
    if !seen.forwarding {
        headers.insert(X_FORWARDED_FOR, peer.text.clone());
        headers.insert(X_FORWARDED_PROTO, proto);
        headers.insert(X_FORWARDED_HOST, host);
        return;
    }
    // A trusted proxy on a unix socket has no address to add to what it tells.
    if peer.address.is_some() || !headers.contains_key(X_FORWARDED_FOR) {
        let mut chain = BytesMut::new();
        for before in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(before.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(peer.text.as_bytes());
        if let Ok(chain) = HeaderValue::from_maybe_shared(chain.freeze()) {
            headers.insert(X_FORWARDED_FOR, chain);
        }
    }
    headers.entry(X_FORWARDED_PROTO).or_insert(proto);
    headers.entry(X_FORWARDED_HOST).or_insert(host);
}

/// How we name ourselves (RFC 9110 §7.6.3): by the protocol that the request came in.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 claimgate",
        Version::HTTP_2 => "2.0 claimgate",
        _ => "1.1 claimgate",
    })
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}
