//! What came in place of the JSON that was asked for, in words that name the fix. Quotes none of it.

use std::fmt;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::cut;

/// The most bytes of a document that are looked at for what it is, if it is no JSON.
const LOOKED_AT: usize = 256;

/// What a document is that is not what was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Nothing,
    /// Compressed, by what it begins with or by its `Content-Encoding`.
    Coded(String),
    ByteOrderMark,
    Utf16,
    Html,
    Xml,
    Pem,
    /// A signed document.
    Jws,
    /// Certificates by key id, as some issuers publish beside their key set.
    X509Map,
    Metadata,
    OneKey,
    Array,
    ObjectWithoutKeys,
    /// Nothing that has a name of its own here.
    Other,
}

impl Found {
    /// Looks at a document that is no JWK set, or no metadata.
    pub(super) fn of(body: &[u8], coding: Option<&HeaderValue>) -> Self {
        let text = body.trim_ascii_start();
        let begins = |with: &str| text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()));
        match body {
            [] => return Self::Nothing,
            [0x1f, 0x8b, ..] => return Self::Coded("gzip".to_owned()),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Self::Coded("zstd".to_owned()),
            [0xef, 0xbb, 0xbf, ..] => return Self::ByteOrderMark,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => return Self::Utf16,
            _ => {}
        }
        if let Ok(value) = serde_json::from_slice(body) {
            return Self::of_json(&value);
        }
        if let Some(coding) = coding.and_then(|coding| coding.to_str().ok()).map(str::trim)
            && !coding.is_empty()
            && !coding.eq_ignore_ascii_case("identity")
        {
            return Self::Coded(cut(coding, 32).escape_debug().to_string());
        }
        match () {
            () if text.is_empty() => Self::Nothing,
            () if begins("<?xml") && !mentions_html(text) => Self::Xml,
            () if begins("<") && (begins("<!doctype html") || mentions_html(text)) => Self::Html,
            () if begins("<") => Self::Xml,
            () if begins("-----BEGIN") => Self::Pem,
            () if begins("eyJ") => Self::Jws,
            () => Self::Other,
        }
    }

    fn of_json(value: &Value) -> Self {
        let is_certificate = |value: &Value| value.as_str().is_some_and(|text| text.contains("BEGIN CERTIFICATE"));
        match value {
            Value::Array(_) => Self::Array,
            Value::String(text) if text.starts_with("eyJ") => Self::Jws,
            Value::Object(members) if members.contains_key("keys") => Self::Other,
            Value::Object(members) if members.contains_key("jwks_uri") => Self::Metadata,
            Value::Object(members) if members.contains_key("kty") => Self::OneKey,
            Value::Object(members) if !members.is_empty() && members.values().all(is_certificate) => Self::X509Map,
            Value::Object(_) => Self::ObjectWithoutKeys,
            _ => Self::Other,
        }
    }

    /// Whether JSON that came in place of metadata is that of a key set.
    pub(super) fn is_key_set(members: &Map<String, Value>) -> bool {
        members.get("keys").is_some_and(Value::is_array)
    }
}

fn mentions_html(text: &[u8]) -> bool {
    let head = text.get(..LOOKED_AT).unwrap_or(text);
    head.windows(5).any(|window| window.eq_ignore_ascii_case(b"<html"))
}

/// Goes behind what is wrong, so it begins with a colon.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(": it is empty"),
            Self::Coded(coding) => {
                write!(f, ": it is compressed ({coding}), although no coding was asked for (Accept-Encoding: identity)")
            }
            Self::ByteOrderMark => f.write_str(": it begins with a byte order mark, which has no place in JSON"),
            Self::Utf16 => f.write_str(": it is UTF-16, and JSON is UTF-8"),
            Self::Html => f.write_str(": it is HTML, such as a login page or the index.html of an application"),
            Self::Xml => f.write_str(": it is XML"),
            Self::Pem => f.write_str(": it is PEM, and not JSON"),
            Self::Jws => f.write_str(": it is a signed document, and not a plain one"),
            Self::X509Map => {
                f.write_str(": it is a map of X.509 certificates; the JWK set of this issuer is elsewhere")
            }
            Self::Metadata => f.write_str(": it is metadata, and its jwks_uri names the JWK set"),
            Self::OneKey => f.write_str(": it is a single JWK, and not a set of them"),
            Self::Array => f.write_str(": it is an array, and a JWK set is an object with `keys`"),
            Self::ObjectWithoutKeys => f.write_str(": it is a JSON object without `keys`"),
            Self::Other => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_instead_is_named() {
        let gzip = HeaderValue::from_static("br");
        let long = HeaderValue::try_from("x".repeat(4000)).unwrap();
        for (body, coding, expected) in [
            (b"".as_slice(), None, Found::Nothing),
            (b" \r\n", None, Found::Nothing),
            (b"\x1f\x8b\x08\0", None, Found::Coded("gzip".to_owned())),
            (b"\x28\xb5\x2f\xfd\x04", None, Found::Coded("zstd".to_owned())),
            (b"\x8b\x02\x80", Some(&gzip), Found::Coded("br".to_owned())),
            (b"\x8b\x02\x80", Some(&long), Found::Coded("x".repeat(32))),
            (b"\xef\xbb\xbf{\"keys\":[]}", None, Found::ByteOrderMark),
            (b"\xff\xfe{\0\"\0", None, Found::Utf16),
            (b"{\0\"\0k\0", None, Found::Utf16),
            (b"<!DOCTYPE html><title>", None, Found::Html),
            (b"\n<HTML lang=en>", None, Found::Html),
            (b"<?xml version='1.0'?><!DOCTYPE x><html>", None, Found::Html),
            (b"<?xml version='1.0'?><Error/>", None, Found::Xml),
            (b"<Error><Code>AccessDenied</Code></Error>", None, Found::Xml),
            (b"-----BEGIN PUBLIC KEY-----", None, Found::Pem),
            (b"eyJhbGciOiJSUzI1NiJ9.e30.AA", None, Found::Jws),
            (br#"{"a":"-----BEGIN CERTIFICATE-----\n"}"#, None, Found::X509Map),
            (br#"{"issuer":"i","jwks_uri":"u"}"#, None, Found::Metadata),
            (br#"{"kty":"RSA"}"#, None, Found::OneKey),
            (b"[]", None, Found::Array),
            (b"{}", None, Found::ObjectWithoutKeys),
            (br#"{"message":"Not Found"}"#, None, Found::ObjectWithoutKeys),
            (br#"{"keys":7}"#, None, Found::Other),
            (b"Not Found", None, Found::Other),
        ] {
            assert_eq!(Found::of(body, coding), expected, "{}", String::from_utf8_lossy(body));
        }
    }
}
