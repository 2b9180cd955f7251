//! The header values that tell the origin who is calling, encoded once per token.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use http::{HeaderName, HeaderValue};
use serde_json::value::RawValue;

use crate::denial::Denial;
use crate::jose::ClaimsSet;

/// How many of the largest claims the log names when they exceed their budget.
const LARGEST: usize = 5;

/// Which claims go into which header, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The header for the whole claims set.
    pub header: HeaderName,
    /// How the claims set is written there.
    pub format: ClaimsFormat,
    /// Single claims and their headers.
    pub claim_headers: Vec<ClaimHeader>,
    /// The most that all of them may take, names and values, in bytes.
    pub max_size: usize,
}

/// How the claims set is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimsFormat {
    /// The token's payload, base64url without padding, byte for byte what was signed.
    Base64Url,
    /// The same object as ASCII-only JSON.
    Json,
}

/// One claim as text in a header of its own.
#[derive(Clone, Debug)]
pub struct ClaimHeader {
    /// The claim's name; nested with `.`.
    pub claim: String,
    /// Its header.
    pub header: HeaderName,
}

impl Settings {
    /// The headers for these claims.
    ///
    /// # Errors
    /// A claim that cannot stand in a header, or more bytes than the budget.
    pub fn encode(&self, claims: &ClaimsSet<'_>) -> Result<Box<[(HeaderName, HeaderValue)]>, Denial> {
        let whole = match self.format {
            ClaimsFormat::Base64Url => HeaderValue::from_str(claims.encoded()),
            ClaimsFormat::Json => HeaderValue::from_str(&to_ascii(claims.raw())),
        };
        let whole = whole.map_err(|_| Denial::ClaimNotForwardable("the claims set".into()))?;
        let mut headers = vec![(self.header.clone(), whole)];
        if !self.claim_headers.is_empty() {
            let members = claims.members();
            for ClaimHeader { claim, header } in &self.claim_headers {
                if let Some(value) = find(&members, claim).filter(|value| value.get() != "null") {
                    let refusal = |why: Cow<_>| Denial::ClaimNotForwardable(self.explained(claim, &why).into());
                    headers.push((header.clone(), to_header(value).map_err(refusal)?));
                }
            }
        }
        self.check_size(&headers, claims)?;
        Ok(headers.into())
    }

    /// Why a claim cannot go out, and which header has it all the same.
    fn explained(&self, claim: &str, why: &str) -> String {
        format!("{claim} {why}; {} has it whole", self.header)
    }

    fn check_size(&self, headers: &[(HeaderName, HeaderValue)], claims: &ClaimsSet<'_>) -> Result<(), Denial> {
        let size = headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len())).sum();
        if size <= self.max_size {
            return Ok(());
        }
        Err(Denial::ClaimsTooLarge { size, limit: self.max_size, largest: largest(claims).into() })
    }
}

/// The claim of this name, or else the one inside the claim of its first part: `https://example.com/roles` has dots
/// and is no path, `realm_access.roles` is one.
fn find<'v>(members: &BTreeMap<String, &'v RawValue>, path: &str) -> Option<&'v RawValue> {
    if let Some(found) = members.get(path) {
        return Some(found);
    }
    let mut dots = path.match_indices('.').map(|(at, _)| path.split_at(at));
    dots.find_map(|(name, rest)| {
        let inner = serde_json::from_str(members.get(name)?.get()).ok()?;
        find(&inner, rest.get(1..)?)
    })
}

/// A claim as text: strings bare, numbers in the digits that were signed, arrays joined, never mangled; or why not.
fn to_header(value: &RawValue) -> Result<HeaderValue, Cow<'static, str>> {
    let text = if value.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| "cannot be read")?;
        items.into_iter().map(item).collect::<Result<Vec<_>, _>>()?.join(",")
    } else {
        scalar(value)?.into_owned()
    };
    if let Some(character) = text.chars().find(|character| !matches!(character, ' '..='~')) {
        return Err(format!("has the character U+{:04X}", u32::from(character)).into());
    }
    if text.trim() != text {
        return Err("begins or ends with a space, which would be lost on the way".into());
    }
    HeaderValue::try_from(text).map_err(|_| "is no value of a header".into())
}

fn item(value: &RawValue) -> Result<Cow<'_, str>, Cow<'static, str>> {
    let text = scalar(value)?;
    if text.contains(',') {
        return Err("has a comma in an item of its list, which would make two items of it".into());
    }
    if text.trim() != text {
        return Err("has an item that begins or ends with white space".into());
    }
    Ok(text)
}

fn scalar(value: &RawValue) -> Result<Cow<'_, str>, Cow<'static, str>> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(Cow::Owned).map_err(|_| "cannot be read".into()),
        Some(b'{') => Err("is an object".into()),
        Some(b'[') => Err("has a list within a list".into()),
        Some(b'n') => Err("has a null in a list".into()),
        _ => Ok(Cow::Borrowed(text)),
    }
}

/// The same JSON text in visible ASCII: what is not becomes an escape inside strings, a space between them.
fn to_ascii(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => ascii.push(character),
            // White space between tokens: inside a string it cannot stand bare.
            '\t' | '\n' | '\r' => ascii.push(' '),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing into memory does not fail.
                    let _ = write!(ascii, "\\u{unit:04x}");
                }
            }
        }
    }
    ascii
}

/// The largest claims with their sizes in bytes, for the log.
fn largest(claims: &ClaimsSet<'_>) -> String {
    let mut sizes: Vec<_> = claims.members().into_iter().map(|(name, value)| (value.get().len(), name)).collect();
    sizes.sort_by(|one, other| other.cmp(one));
    let named: Vec<_> = sizes.into_iter().take(LARGEST).map(|(size, name)| format!("{name} {size}")).collect();
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jose::tests::claims_set;

    #[test]
    fn json_becomes_ascii_without_changing_what_it_says() {
        let cases = [
            (r#"{"name":"Özdemir"}"#, r#"{"name":"\u00d6zdemir"}"#),
            ("{\r\n\t\"a\" : 1.50,\"b\":12345678901234567890}", "{   \"a\" : 1.50,\"b\":12345678901234567890}"),
            ("{\"a\":\"\u{1f600}\u{7f}\"}", r#"{"a":"\ud83d\ude00\u007f"}"#),
            (r#"{"a":"\n\u0000"}"#, r#"{"a":"\n\u0000"}"#),
        ];
        for (json, ascii) in cases {
            assert_eq!(to_ascii(json.as_bytes()), ascii);
            let (before, after): (Value, Value) =
                (serde_json::from_str(json).unwrap(), serde_json::from_str(ascii).unwrap());
            assert_eq!(before, after);
        }
    }

    #[test]
    fn a_claim_is_found_by_its_name_first_and_by_its_path_then() {
        let raw = |value: &Value| RawValue::from_string(value.to_string()).unwrap();
        let claims = json!({
            "sub": "u", "a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "https://example.com/roles": ["x"],
            "https://example.com/app": {"id": 4},
        });
        let claims = claims.to_string();
        let claims = serde_json::from_str(&claims).unwrap();
        let cases = [
            ("sub", json!("u")),
            ("a.b", json!(1)),
            ("a.c.d", json!(3)),
            ("https://example.com/roles", json!(["x"])),
            ("https://example.com/app.id", json!(4)),
        ];
        for (path, expected) in cases {
            assert_eq!(find(&claims, path).map(RawValue::get), Some(raw(&expected).get()), "{path}");
        }
        for path in ["none", "a.none", "sub.a", "a.", ".a", ""] {
            assert!(find(&claims, path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_claim_is_sent_as_it_is_or_not_at_all() {
        let cases = [
            (json!("a b"), Some("a b")),
            (json!(""), Some("")),
            (json!(42), Some("42")),
            (json!(1.5), Some("1.5")),
            (json!(true), Some("true")),
            (json!(["a", "b", 1]), Some("a,b,1")),
            (json!([]), Some("")),
            (json!("Özdemir"), None),
            (json!("a\r\nX-Admin: 1"), None),
            (json!("a\u{0}"), None),
            (json!("a\tb"), None),
            (json!(" a"), None),
            (json!(["a,b"]), None),
            (json!([["a"]]), None),
            (json!({"a": 1}), None),
        ];
        for (value, expected) in cases {
            let header = to_header(&RawValue::from_string(value.to_string()).unwrap()).ok();
            assert_eq!(header.as_ref().map(|header| header.to_str().unwrap()), expected, "{value}");
        }
    }

    #[test]
    fn claims_may_take_their_budget_and_no_byte_more() {
        let payload = r#"{"a":"1","b":"22","c":"333","d":"4444","e":"55555","f":"666666"}"#;
        let claims = claims_set(payload);
        let encode = |max_size| {
            let claim_headers = vec![ClaimHeader { claim: "f".to_owned(), header: HeaderName::from_static("x-f") }];
            let (header, format) = (HeaderName::from_static("x-claims"), ClaimsFormat::Json);
            Settings { header, format, claim_headers, max_size }.encode(&claims)
        };
        let size = "x-claims".len() + payload.len() + "x-f".len() + "666666".len();
        assert_eq!(encode(size).map(|headers| headers.len()), Ok(2));
        // The log names the largest, as JSON with its quotes.
        let largest = "f 8, e 7, d 6, c 5, b 4".into();
        assert_eq!(encode(size - 1), Err(Denial::ClaimsTooLarge { size, limit: size - 1, largest }));
    }
}
