//! The compact serialization of a JWS (RFC 7515 §7.1) that holds a JWT.

use std::borrow::Cow;
use std::fmt;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::sync::LazyLock;

use base64::Engine;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::{Simd, general_purpose::NO_PAD};

use super::algorithm::{Algorithm, refused_on_purpose};
use super::claims_set::RegisteredClaims;
use super::strict_json::{self, Value};
use crate::denial::Denial;

/// The most bytes that a token may have.
pub const MAX_TOKEN_SIZE: usize = 16 * 1024;

/// A well-formed token. Nothing in it is trusted: its signature was not looked at.
pub struct CompactJws<'t> {
    header: JoseHeader,
    signing_input: &'t str,
    encoded_payload: &'t str,
    payload: String,
    registered: RegisteredClaims,
    signature: Vec<u8>,
}

impl<'t> CompactJws<'t> {
    /// Takes a token apart. The order of the checks is fixed, so one token always gets one reason.
    pub fn parse(token: &'t str) -> Result<Self, Denial> {
        if token.len() > MAX_TOKEN_SIZE {
            return Err(Denial::TokenTooLarge { size: token.len(), limit: MAX_TOKEN_SIZE });
        }
        let (signing_input, encoded_header, encoded_payload, encoded_signature) = split(token)?;
        let header = decode("header", encoded_header)?;
        let payload = decode("payload", encoded_payload)?;
        let signature = decode("signature", encoded_signature)?;

        let header = JoseHeader::parse(&text("header", header)?)?;
        let payload = text("payload", payload)?;
        let members = strict_json::read_object(&payload).map_err(|flaw| malformed("payload", &flaw))?;
        let registered = RegisteredClaims::from(members);
        Ok(Self { header, signing_input, encoded_payload, payload, registered, signature })
    }

    /// The JOSE header.
    pub fn header(&self) -> &JoseHeader {
        &self.header
    }

    /// What the signature is over (RFC 7515 §5.2), as it stands in the token.
    pub fn signing_input(&self) -> &'t [u8] {
        self.signing_input.as_bytes()
    }

    /// The decoded payload: a strict JSON object.
    pub fn payload(&self) -> &[u8] {
        self.payload.as_bytes()
    }

    /// The payload as it stands in the token.
    pub fn encoded_payload(&self) -> &'t str {
        self.encoded_payload
    }

    /// The decoded signature, perhaps empty.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// `iss`, only to select among configured issuers; `None` when it is missing or not a string.
    pub fn unverified_issuer(&self) -> Option<&str> {
        if let super::Claim::Is(issuer) = &self.registered.issuer { Some(issuer) } else { None }
    }

    pub(super) fn payload_text(&self) -> &str {
        &self.payload
    }

    pub(super) fn registered(&self) -> &RegisteredClaims {
        &self.registered
    }
}

impl fmt::Debug for CompactJws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactJws").field("header", &self.header).finish_non_exhaustive()
    }
}

fn split(token: &str) -> Result<(&str, &str, &str, &str), Denial> {
    let parts = memchr::memchr_iter(b'.', token.as_bytes()).count().saturating_add(1);
    match (parts, token.rsplit_once('.')) {
        (3, Some((signing_input, signature))) => match signing_input.split_once('.') {
            Some((header, payload)) if !header.is_empty() && !payload.is_empty() => {
                Ok((signing_input, header, payload, signature))
            }
            _ => Err(Denial::MalformedToken("an empty header or payload".into())),
        },
        // RFC 7516 §9: how to tell a JWE from a JWS.
        (5, _) => Err(Denial::EncryptedToken),
        _ => Err(Denial::MalformedToken(format!("{parts} parts, a signed token has 3").into())),
    }
}

/// The best instructions that the CPU has for it, and the same answers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64URL: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// Base64url as in RFC 7515 §2: no padding, no white space; zero trailing bits, so that no two texts mean one token.
fn decode(part: &str, encoded: &str) -> Result<Vec<u8>, Denial> {
    let flaw = |error| Denial::MalformedToken(format!("{part}: not strict base64url: {error}").into());
    BASE64URL.decode(encoded).map_err(flaw)
}

fn text(part: &str, octets: Vec<u8>) -> Result<String, Denial> {
    String::from_utf8(octets).map_err(|_| Denial::MalformedToken(format!("{part}: not UTF-8").into()))
}

fn malformed(part: &str, flaw: &dyn fmt::Display) -> Denial {
    Denial::MalformedToken(format!("{part}: {flaw}").into())
}

/// What is read of a JOSE header (RFC 7515 §4.1). `jku`, `jwk`, `x5u` and `x5c` are not: a key comes from the issuer,
/// never from the token.
#[derive(Clone, Debug)]
pub struct JoseHeader {
    algorithm: Algorithm,
    key_id: Option<String>,
    token_type: Option<TokenType>,
}

impl JoseHeader {
    /// `alg`.
    pub fn alg(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `typ`.
    pub fn token_type(&self) -> Option<TokenType> {
        self.token_type
    }

    fn parse(json: &str) -> Result<Self, Denial> {
        let members = strict_json::read_object(json).map_err(|flaw| malformed("header", &flaw))?;
        let member = |name| members.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        if member("enc").is_some() {
            return Err(Denial::MalformedToken("header: enc in a signed token".into()));
        }
        // RFC 7515 §4.1.11: an extension that is not understood. None is, so no content of `crit` can be right.
        // `b64` (RFC 7797) changes what was signed, `zip` (RFC 7516 §4.1.3) what was meant; both with `crit` or without.
        if let Some(name) = ["crit", "b64", "zip"].into_iter().find(|name| member(name).is_some()) {
            return Err(Denial::UnsupportedCritical(name.into()));
        }
        let token_type = string("typ", member("typ"))?.map(TokenType::from_typ).transpose()?;
        // RFC 7519 §5.2: a nested JWT, whose payload is a token and no claims set.
        if string("cty", member("cty"))?.is_some_and(|cty| is_media_type(cty, "jwt")) {
            return Err(Denial::MalformedToken("header: a nested token".into()));
        }
        let key_id = string("kid", member("kid"))?.map(str::to_owned);
        let name = string("alg", member("alg"))?.ok_or(Denial::MalformedToken("header: no alg".into()))?;
        let algorithm = name.parse().map_err(|_| {
            let why = refused_on_purpose(name).map(|why| format!(": {why}")).unwrap_or_default();
            Denial::AlgorithmNotAllowed(format!("{name}{why}").into())
        })?;
        Ok(Self { algorithm, key_id, token_type })
    }
}

fn string<'m>(name: &str, value: Option<&'m Value<'_>>) -> Result<Option<&'m str>, Denial> {
    match value.map(Value::as_str) {
        Some(None) => Err(Denial::MalformedToken(format!("header: {name} is not a string").into())),
        found => Ok(found.flatten()),
    }
}

/// The values of `typ` that are accepted. A token without one passes as well; settings may narrow this further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenType {
    /// `JWT` (RFC 7519 §5.1).
    Jwt,
    /// `JOSE`: a JWS or JWE in the compact serialization (RFC 7515 §4.1.9), which it is; SPIFFE permits it (JWT-SVID §2.3).
    Jose,
    /// `at+jwt`: an access token by its own statement (RFC 9068 §2.1).
    AccessToken,
}

impl TokenType {
    fn from_typ(typ: &str) -> Result<Self, Denial> {
        match typ {
            _ if is_media_type(typ, "jwt") => Ok(Self::Jwt),
            _ if is_media_type(typ, "jose") => Ok(Self::Jose),
            _ if is_media_type(typ, "at+jwt") => Ok(Self::AccessToken),
            _ => Err(Denial::UnexpectedType(Cow::Owned(typ.to_owned()))),
        }
    }
}

/// Media types have no case, and `application/` may be left out (RFC 7515 §4.1.9).
fn is_media_type(value: &str, subtype: &str) -> bool {
    const PREFIX: &str = "application/";
    let prefixed = value.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    let name = if prefixed { value.get(PREFIX.len()..) } else { Some(value) };
    name.is_some_and(|name| name.eq_ignore_ascii_case(subtype))
}
