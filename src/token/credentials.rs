//! Where the token stands in the request (RFC 6750 §2, RFC 9110 §11).

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, header};

use super::handshake::Handshake;

use crate::denial::Denial;
use crate::jose::MAX_TOKEN_SIZE;

/// The raw token of a request, as it stands behind the scheme. It never shows itself.
#[derive(Clone)]
pub struct Credentials<'r>(Cow<'r, [u8]>);

impl<'r> Credentials<'r> {
    /// The one Bearer token in these fields; whether it can be one at all is [`Credentials::token`]'s to say.
    pub fn from_headers(headers: &'r HeaderMap) -> Result<Self, Denial> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let field = fields.next().ok_or(Denial::TokenMissing)?.as_bytes();
        if fields.next().is_some() {
            return Err(Denial::MultipleTokens);
        }
        match field.split_at_checked(SCHEME.len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => Ok(Self(Cow::Borrowed(trim_spaces(token)))),
            _ => Err(not_bearer(field)),
        }
    }

    /// The same where the token may also stand in the handshake of a WebSocket.
    pub fn of_handshake(headers: &'r HeaderMap, handshake: &Handshake<'r>) -> Result<Self, Denial> {
        match &handshake.token {
            None => Self::from_headers(headers),
            Some(_) if headers.contains_key(header::AUTHORIZATION) => Err(Denial::MultipleTokens),
            Some(token) => token.clone().map(Self),
        }
    }

    /// The bytes, to be compared with those of known tokens.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token, if it has the form of one. A token that is known has.
    pub fn token(&self) -> Result<&str, Denial> {
        match std::str::from_utf8(&self.0) {
            Ok(token) if !is_token68(token) => {
                Err(if token.contains(',') { Denial::MultipleTokens } else { Denial::MalformedCredentials })
            }
            Ok(token) if token.len() > MAX_TOKEN_SIZE => {
                Err(Denial::TokenTooLarge { size: token.len(), limit: MAX_TOKEN_SIZE })
            }
            Ok(token) => Ok(token),
            Err(_) => Err(Denial::MalformedCredentials),
        }
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

fn trim_spaces(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// RFC 6750 §2.1, RFC 9110 §11.1: in any case, and one space at least.
const SCHEME: &[u8] = b"bearer ";

fn not_bearer(field: &[u8]) -> Denial {
    let Ok(field) = std::str::from_utf8(field) else { return Denial::MalformedCredentials };
    let (scheme, rest) = field.split_once(' ').unwrap_or((field, ""));
    let is_pair = rest.split(',').skip(1).any(|part| {
        let start = part.trim_start().as_bytes().get(..SCHEME.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    });
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(is_tchar) && !scheme.eq_ignore_ascii_case("bearer");
    if is_pair {
        Denial::MultipleTokens
    } else if is_scheme {
        Denial::UnsupportedScheme
    } else {
        Denial::MalformedCredentials
    }
}

/// RFC 9110 §11.2: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_token68(text: &str) -> bool {
    let characters = text.trim_end_matches('=');
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    // No early exit, so that the compiler can look at many bytes at a time.
    !characters.is_empty() && characters.bytes().fold(true, |all, byte| all & is_one(byte))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn token_of(fields: &[&str]) -> Result<String, Denial> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        Credentials::from_headers(&headers)?.token().map(str::to_owned)
    }

    #[test]
    fn a_bearer_token_is_found_in_any_case_and_after_any_spaces() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(token_of(&[field]).as_deref(), Ok("a.b.c"), "{field}");
        }
        assert_eq!(token_of(&["Bearer a/+~_-.=="]).as_deref(), Ok("a/+~_-.=="));
    }

    #[test]
    fn what_is_no_bearer_token_is_told_apart() {
        let cases: &[(&[&str], Denial)] = &[
            (&[], Denial::TokenMissing),
            (&["Basic dXNlcjpwYXNz"], Denial::UnsupportedScheme),
            (&["Digest username=\"a\", realm=\"b\""], Denial::UnsupportedScheme),
            (&["a.b.c"], Denial::UnsupportedScheme),
            (&["Bearer a.b.c", "Bearer a.b.c"], Denial::MultipleTokens),
            (&["Bearer a.b.c", "Basic x"], Denial::MultipleTokens),
            (&["Bearer a.b.c, Bearer d.e.f"], Denial::MultipleTokens),
            (&["Bearer a.b.c,Bearer d.e.f"], Denial::MultipleTokens),
            (&["Basic x, bearer a.b.c"], Denial::MultipleTokens),
            (&[""], Denial::MalformedCredentials),
            (&["Bearer"], Denial::MalformedCredentials),
            (&["Bearer "], Denial::MalformedCredentials),
            (&["Bearer =="], Denial::MalformedCredentials),
            (&["Bearer\ta.b.c"], Denial::MalformedCredentials),
            (&["Bearer \ta.b.c"], Denial::MalformedCredentials),
            (&["Bearer: a.b.c"], Denial::MalformedCredentials),
            (&["Bearer a.b.c d"], Denial::MalformedCredentials),
            (&["Bearer a=b"], Denial::MalformedCredentials),
            (&["Bearer a.b.\u{fc}"], Denial::MalformedCredentials),
            (&["Bearer \"a.b.c\""], Denial::MalformedCredentials),
        ];
        for (fields, expected) in cases {
            assert_eq!(token_of(fields).as_ref(), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn a_token_may_have_16_kib_and_no_byte_more() {
        let field = |size| format!("Bearer {}", "a".repeat(size));
        assert!(token_of(&[&field(MAX_TOKEN_SIZE)]).is_ok());
        let too_large = Denial::TokenTooLarge { size: MAX_TOKEN_SIZE + 1, limit: MAX_TOKEN_SIZE };
        assert_eq!(token_of(&[&field(MAX_TOKEN_SIZE + 1)]), Err(too_large));
    }

    #[test]
    fn credentials_do_not_show_their_token() {
        assert_eq!(format!("{:?}", Credentials(Cow::Borrowed(b"secret"))), "Credentials([redacted])");
    }
}
