//! `Upgrade` (RFC 9110 §7.8): what of it is passed on, and what answer to it is believed.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version, request};
use hyper::ext::Protocol;

use super::request_head::Fields;
use super::response_head::{self, invalid};
use super::websocket;
use crate::denial::Denial;
use crate::reply::Head;

const WEBSOCKET: &str = "websocket";
const SEC_WEBSOCKET_KEY: HeaderName = header::SEC_WEBSOCKET_KEY;

/// What stands in `Sec-WebSocket-Protocol` in place of what the client sent, when its token stood there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubProtocols {
    /// What the client offers beside its token.
    pub offered: Option<HeaderValue>,
    /// What is chosen for the client when the origin chooses nothing.
    pub fallback: Option<HeaderValue>,
}

/// A protocol that the client asks for and may have.
#[derive(Debug)]
pub(super) struct Asked {
    protocol: HeaderValue,
    /// What the origin must answer to the key, for WebSocket.
    accept: Option<String>,
    /// A key of our own, for a client of HTTP/2, which has none (RFC 8441 §5).
    key: Option<HeaderValue>,
}

/// Whether a request begins a WebSocket (RFC 6455 §4.1), be it of the right form or not.
pub fn is_websocket(head: &request::Parts) -> bool {
    is_extended_connect(head)
        || is_asking(head) && head.method == Method::GET && protocols(&head.headers).any(is_named_websocket)
}

/// HTTP/1.1 alone has the field (RFC 9110 §7.8).
fn is_asking(head: &request::Parts) -> bool {
    head.headers.contains_key(header::UPGRADE)
        && head.version == Version::HTTP_11
        && has_option(&head.headers, "upgrade")
}

/// The server has put it into the form of HTTP/1.1 otherwise, where it is for a WebSocket (RFC 8441 §4).
fn is_extended_connect(head: &request::Parts) -> bool {
    head.method == Method::GET && head.extensions.get::<Protocol>().is_some()
}

fn is_named_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case(WEBSOCKET)
}

/// What a request asks for, of what may be passed on: WebSocket, and the `others`. `None`: it goes on without.
///
/// Content comes before the switch (RFC 9110 §7.8): `docker exec` sends some. A WebSocket handshake has none.
pub(super) fn asked(head: &request::Parts, has_body: bool, others: &[String]) -> Result<Option<Box<Asked>>, Denial> {
    if is_extended_connect(head) {
        return Asked::by_connect(head).map(|asked| Some(Box::new(asked)));
    }
    if !is_asking(head) {
        return Ok(None);
    }
    let is_allowed = |name: &&str| {
        if is_named_websocket(name) {
            !has_body && is_handshake(head)
        } else {
            others.iter().any(|other| other.eq_ignore_ascii_case(name))
        }
    };
    let Some(name) = protocols(&head.headers).find(is_allowed) else { return Ok(None) };
    if !is_named_websocket(name) {
        let protocol = HeaderValue::from_str(name).ok();
        return Ok(protocol.map(|protocol| Box::new(Asked { protocol, accept: None, key: None })));
    }
    let key = only(&head.headers, &SEC_WEBSOCKET_KEY).filter(|key| websocket::is_key(key.as_bytes()));
    let key = key.ok_or(Denial::MalformedRequest("its Sec-WebSocket-Key is not one of 16 bytes in base64".into()))?;
    let accept = Some(websocket::accept(key.as_bytes()));
    Ok(Some(Box::new(Asked { protocol: HeaderValue::from_static(WEBSOCKET), accept, key: None })))
}

/// Of another version nobody knows what its frames are like; the origin says which it knows (RFC 6455 §4.4).
fn is_handshake(head: &request::Parts) -> bool {
    head.method == Method::GET && is_version_13(&head.headers)
}

fn is_version_13(headers: &HeaderMap) -> bool {
    only(headers, &header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version.as_bytes() == b"13")
}

impl Asked {
    /// There is nothing that such a request could go on as without.
    fn by_connect(head: &request::Parts) -> Result<Self, Denial> {
        if !is_version_13(&head.headers) {
            return Err(Denial::MalformedRequest("its Sec-WebSocket-Version is not 13".into()));
        }
        let key = websocket::new_key().ok_or(Denial::Internal("no randomness for a key".into()))?;
        let accept = Some(websocket::accept(key.as_bytes()));
        Ok(Self { protocol: HeaderValue::from_static(WEBSOCKET), accept, key: HeaderValue::try_from(key).ok() })
    }

    /// Whether there is nothing that the request could go on as without.
    pub(super) const fn is_all(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a response can be no answer to it. The client would take any success for the beginning (RFC 8441 §5).
    pub(super) fn is_missed_by(&self, status: StatusCode) -> bool {
        self.is_all() && status.is_success()
    }

    pub(super) const fn is_websocket(&self) -> bool {
        self.accept.is_some()
    }

    /// Whether what the client sent under this name is not what the origin gets.
    pub(super) fn replaces(&self, name: &HeaderName) -> bool {
        self.key.is_some() && *name == SEC_WEBSOCKET_KEY
    }

    /// Asks the origin.
    pub(super) fn add_fields(&self, to: &mut impl Fields) {
        to.add(&header::CONNECTION, &HeaderValue::from_static("upgrade"));
        to.add(&header::UPGRADE, &self.protocol);
        if let Some(key) = &self.key {
            to.add(&SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Makes of an origin's 101 what the client gets, if it is what was asked for.
    pub(super) fn filter(&self, head: &mut Head, sub_protocols: Option<&SubProtocols>) -> Result<(), Denial> {
        let headers = head.fields.map();
        self.check(headers)?;
        if let Some(sub_protocols) = sub_protocols {
            sub_protocols.choose(headers)?;
        }
        response_head::remove_hops(headers)?;
        // Bytes that follow are no body (RFC 9110 §8.6).
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRAILER);
        if self.key.is_some() {
            headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            head.status = StatusCode::OK;
        } else {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, self.protocol.clone());
        }
        Ok(())
    }

    /// RFC 6455 §4.1, points 2 to 4.
    fn check(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let is_the_one = |protocol: &HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes());
        if !only(headers, &header::UPGRADE).is_some_and(is_the_one) || !has_option(headers, "upgrade") {
            return Err(invalid("it switched to a protocol that was not asked for"));
        }
        let given = only(headers, &header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if self.accept.as_ref().is_some_and(|accept| given != Some(accept.as_bytes())) {
            return Err(invalid("its Sec-WebSocket-Accept does not answer the key"));
        }
        Ok(())
    }
}

impl SubProtocols {
    /// What the origin chose must be left of what the client offered: never its token, which would go back in the clear.
    fn choose(&self, headers: &mut HeaderMap) -> Result<(), Denial> {
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        if !headers.contains_key(&name) {
            if let Some(fallback) = &self.fallback {
                headers.insert(name, fallback.clone());
            }
            return Ok(());
        }
        let chosen = only(headers, &name).and_then(|chosen| chosen.to_str().ok());
        let offered = self.offered.as_ref().and_then(|offered| offered.to_str().ok()).unwrap_or_default();
        let is_offered = chosen.is_some_and(|chosen| offered.split(',').any(|one| one.trim() == chosen));
        if is_offered { Ok(()) } else { Err(invalid("it chose a sub-protocol that was not offered")) }
    }
}

/// The items of a list field (RFC 9110 §5.6.1).
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    items(headers, &header::UPGRADE)
}

fn has_option(headers: &HeaderMap, option: &str) -> bool {
    items(headers, &header::CONNECTION).any(|given| given.eq_ignore_ascii_case(option))
}

/// The field of this name, if there is just one.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut fields = headers.get_all(name).iter();
    fields.next().filter(|_| fields.next().is_none())
}
