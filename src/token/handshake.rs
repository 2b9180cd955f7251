//! A token among the sub-protocols of a WebSocket, since no browser lets a page set its header fields.
//!
//! Two forms are in use. Kubernetes has one entry, a prefix and the token in base64url:
//! `base64url.bearer.authorization.k8s.io.TOKEN, v4.channel.k8s.io`. Elsewhere it is two, a name and behind it the token:
//! `access_token, TOKEN, chat`.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

use super::credentials::is_tchar;
use crate::denial::Denial;

/// Where among the sub-protocols the token stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HandshakePlace {
    /// In an entry that begins so.
    Prefix(String),
    /// In the entry behind the one of this name.
    Name(HeaderValue),
}

/// Not the name of a sub-protocol, nor the beginning of one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it must be a prefix that ends with a dot, or a name, of letters, digits and !#$%&'*+-.^_`|~")]
pub struct InvalidPlace;

impl FromStr for HandshakePlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        if text.is_empty() || !text.bytes().all(is_tchar) {
            return Err(InvalidPlace);
        }
        if text.ends_with('.') {
            return Ok(Self::Prefix(text.to_owned()));
        }
        HeaderValue::from_str(text).map(Self::Name).map_err(|_| InvalidPlace)
    }
}

impl std::fmt::Display for HandshakePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => f.write_str(prefix),
            Self::Name(name) => f.write_str(&String::from_utf8_lossy(name.as_bytes())),
        }
    }
}

/// The sub-protocols of one WebSocket that is about to begin, its token taken out.
pub struct Handshake<'r> {
    pub(super) token: Option<Result<Cow<'r, [u8]>, Denial>>,
    offered: Vec<&'r str>,
    fallback: Option<HeaderValue>,
}

impl<'r> Handshake<'r> {
    /// Takes the token out of these fields.
    pub fn read(headers: &'r HeaderMap, place: &HandshakePlace) -> Self {
        let fields = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let entries = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
        let mut entries = entries.map(|entry| std::str::from_utf8(entry).unwrap_or_default().trim());
        let mut handshake = Self { token: None, offered: Vec::new(), fallback: None };
        while let Some(entry) = entries.next() {
            match place {
                HandshakePlace::Prefix(prefix) if entry.starts_with(prefix.as_str()) => {
                    handshake.add(decode(entry.get(prefix.len()..).unwrap_or_default()));
                }
                HandshakePlace::Name(name) if entry.as_bytes() == name.as_bytes() => {
                    handshake.fallback = Some(name.clone());
                    let token = entries.next().filter(|token| !token.is_empty());
                    handshake.add(token.map(|token| Cow::Borrowed(token.as_bytes())));
                }
                _ if entry.is_empty() => {}
                _ => handshake.offered.push(entry),
            }
        }
        handshake
    }

    fn add(&mut self, token: Option<Cow<'r, [u8]>>) {
        self.token = Some(match self.token {
            Some(_) => Err(Denial::MultipleTokens),
            None => token.ok_or(Denial::MalformedCredentials),
        });
    }

    /// Whether a token was taken out.
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What is offered beside it, in its order.
    pub fn offered(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.offered.join(", ")).ok().filter(|value| !value.is_empty())
    }

    /// The name before the token: where the origin chooses no sub-protocol it is chosen, for browsers that offered one
    /// take no connection without.
    pub fn fallback(&self) -> Option<HeaderValue> {
        self.fallback.clone()
    }
}

/// Most clients encode it, as not every token is made of characters that may stand here. A JWT is, and has dots, which
/// base64url has not.
fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    if text.contains('.') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let decoded = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(Cow::Owned(decoded)).filter(|token: &Cow<'_, [u8]>| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Credentials;

    const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

    /// The token, and what is offered beside it.
    fn read(place: &str, fields: &[&str]) -> (Result<String, Denial>, Option<String>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(field).unwrap());
        }
        let handshake = Handshake::read(&headers, &place.parse().unwrap());
        let credentials = Credentials::of_handshake(&headers, &handshake);
        let token = credentials.and_then(|credentials| credentials.token().map(str::to_owned));
        (token, handshake.offered().map(|offered| offered.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_token_is_taken_out_and_the_others_stay_in_order() {
        let encoded = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode("a.b.c"));
        let plain = format!("{PREFIX}a.b.c");
        for entry in [encoded, plain] {
            for field in [format!("{entry}, x, y"), format!("x,{entry},  y"), format!("x, y, {entry}")] {
                assert_eq!(read(PREFIX, &[&field]), (Ok("a.b.c".to_owned()), Some("x, y".to_owned())), "{field}");
            }
            assert_eq!(read(PREFIX, &["x", &entry, "y"]), (Ok("a.b.c".to_owned()), Some("x, y".to_owned())));
            // RFC 9110 §5.6.1.2: empty elements are passed over.
            let field = format!(",x, ,{entry},, y,");
            assert_eq!(read(PREFIX, &[&field]), (Ok("a.b.c".to_owned()), Some("x, y".to_owned())));
            assert_eq!(read(PREFIX, &[&entry]), (Ok("a.b.c".to_owned()), None));
        }
        for field in ["access_token, a.b.c, x, y", "x, access_token,a.b.c, y", "x, y, access_token, a.b.c"] {
            assert_eq!(read("access_token", &[field]), (Ok("a.b.c".to_owned()), Some("x, y".to_owned())), "{field}");
        }
    }

    #[test]
    fn what_is_no_token_or_two_is_told() {
        let encoded = URL_SAFE_NO_PAD.encode("a.b.c");
        let cases: &[(&str, &str, Denial)] = &[
            (PREFIX, "x", Denial::TokenMissing),
            (PREFIX, "", Denial::TokenMissing),
            (PREFIX, PREFIX, Denial::MalformedCredentials),
            (PREFIX, &format!("{PREFIX}{encoded}="), Denial::MalformedCredentials),
            (PREFIX, &format!("{PREFIX}!!"), Denial::MalformedCredentials),
            (PREFIX, &format!("{PREFIX}a.b.c, {PREFIX}{encoded}"), Denial::MultipleTokens),
            ("access_token", "access_token", Denial::MalformedCredentials),
            ("access_token", "access_token, , x", Denial::MalformedCredentials),
            ("access_token", "access_token, a.b.c, access_token, a.b.c", Denial::MultipleTokens),
            ("access_token", "access_token2, a.b.c", Denial::TokenMissing),
        ];
        for (place, field, expected) in cases {
            assert_eq!(read(place, &[field]).0.as_ref(), Err(expected), "{field}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("access_token, a.b.c"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer a.b.c"));
        let handshake = Handshake::read(&headers, &"access_token".parse().unwrap());
        assert_eq!(Credentials::of_handshake(&headers, &handshake).err(), Some(Denial::MultipleTokens));
    }

    #[test]
    fn a_place_is_a_token_of_http() {
        for wrong in ["", "a b", "a,b", "a/b", "\u{e9}"] {
            assert!(wrong.parse::<HandshakePlace>().is_err(), "{wrong:?}");
        }
        assert_eq!("x.".parse::<HandshakePlace>().unwrap(), HandshakePlace::Prefix("x.".to_owned()));
        assert_eq!("x".parse::<HandshakePlace>().unwrap(), HandshakePlace::Name(HeaderValue::from_static("x")));
        for text in ["x", "x."] {
            assert_eq!(text.parse::<HandshakePlace>().unwrap().to_string(), text);
        }
    }
}
