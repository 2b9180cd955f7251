//! JSON that every reader reads alike.
//!
//! RFC 7515 §4 and RFC 7519 §4 let a parser take the last of two members with one name. The origin's parser may take
//! the first, and then reads another claim than the one that was checked here. So duplicates are refused at any depth,
//! and so is everything else that parsers differ on.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The members of one object, as written.
pub(super) type Members<'de> = Vec<(Cow<'de, str>, Value<'de>)>;

/// How deep arrays and objects may nest, the outermost counted.
const MAX_DEPTH: usize = 32;

/// Names are compared one by one until an object has more of them than this.
const FEW: usize = 16;

/// The greatest double below 2^63.
const BELOW_2_TO_THE_63: f64 = 9_223_372_036_854_774_784.0;

/// Reads text that has to be one JSON object.
pub(super) fn read_object(json: &str) -> Result<Members<'_>, Flaw> {
    serde_json::from_str::<Object<'_>>(json).map_err(|error| Flaw::Syntax(error.to_string()))?.0
}

/// What is wrong with a JSON text. Says where and what, never a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Flaw {
    /// Not JSON, a lone surrogate, a number beyond a double.
    #[error("{0}")]
    Syntax(String),
    /// Two members of one object with the same name.
    #[error("a member occurs twice")]
    DuplicateMember,
    /// More than [`MAX_DEPTH`] levels.
    #[error("nested too deeply")]
    TooDeep,
    /// Some other value.
    #[error("not a JSON object")]
    NotAnObject,
}

/// An object, or the flaw that it has for itself: what stands around it can still be read.
pub(super) struct Object<'a>(pub(super) Result<Members<'a>, Flaw>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flaw = Cell::new(None);
        let value = Reader { depth: 0, flaw: &flaw }.deserialize(deserializer)?;
        Ok(Self(match (flaw.into_inner(), value) {
            (Some(flaw), _) => Err(flaw),
            (None, Value::Object(members)) => Ok(members),
            (None, _) => Err(Flaw::NotAnObject),
        }))
    }
}

/// A member's value, as far as anything here looks into it; the rest is checked and dropped.
pub(super) enum Value<'de> {
    Null,
    Bool,
    Number(f64),
    String(Cow<'de, str>),
    /// An array of strings only, perhaps empty; kept for the members of the outermost object.
    Strings(Vec<Cow<'de, str>>),
    Array,
    /// The members are kept for the outermost object only.
    Object(Members<'de>),
}

impl<'de> Value<'de> {
    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    fn into_text(self) -> Option<Cow<'de, str>> {
        if let Self::String(text) = self { Some(text) } else { None }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    depth: usize,
    flaw: &'a Cell<Option<Flaw>>,
}

impl Reader<'_> {
    fn inner(self) -> Self {
        if self.depth == MAX_DEPTH {
            self.note(Flaw::TooDeep);
        }
        Self { depth: self.depth.saturating_add(1), ..self }
    }

    fn note(self, flaw: Flaw) {
        self.flaw.set(Some(flaw));
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool)
    }

    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 seconds a token is valid for longer than it matters")]
    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        let nearest = number as f64;
        // The nearest double of 2^63 - 1 is 2^63, which is one too many.
        Ok(Value::Number(if i64::try_from(number).is_ok() { nearest.min(BELOW_2_TO_THE_63) } else { nearest }))
    }

    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 seconds a token is valid for longer than it matters")]
    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        let nearest = number as f64;
        Ok(Value::Number(if number == i64::MIN { nearest } else { nearest.max(-BELOW_2_TO_THE_63) }))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value<'de>, A::Error> {
        let inner = self.inner();
        let mut strings = (self.depth == 1).then(Vec::new);
        while let Some(element) = elements.next_element_seed(inner)? {
            match (element, &mut strings) {
                (Value::String(text), Some(strings)) => strings.push(text),
                _ => strings = None,
            }
        }
        Ok(strings.map_or(Value::Array, Value::Strings))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let inner = self.inner();
        // Few claims sets have more, and none has to grow by steps.
        let mut members = Members::with_capacity(if self.depth == 0 { FEW } else { 0 });
        let mut names = HashSet::new();
        while let Some(name) = map.next_key_seed(inner)? {
            let Some(name) = name.into_text() else { return Err(A::Error::custom("a member without a name")) };
            if !is_new(name.clone(), &members, &mut names) {
                self.note(Flaw::DuplicateMember);
            }
            let value = map.next_value_seed(inner)?;
            members.push((name, value));
        }
        if self.depth > 0 {
            members = Members::new();
        }
        Ok(Value::Object(members))
    }
}

/// Whether no member has this name so far. Of many, the names are in a set. It hashes with a random key, so nobody can
/// make it slow.
fn is_new<'de>(name: Cow<'de, str>, members: &Members<'de>, names: &mut HashSet<Cow<'de, str>>) -> bool {
    if members.len() < FEW {
        return members.iter().all(|(found, _)| *found != name);
    }
    if names.is_empty() {
        names.extend(members.iter().map(|(found, _)| found.clone()));
    }
    names.insert(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parsers_read_differently_is_refused() {
        let many: Vec<_> = (0..40).map(|index| format!("\"m{index}\":0")).collect();
        let cases = [
            ("two members of one name, RFC 8259 §4", r#"{"a":1,"a":2}"#.to_owned(), "twice"),
            ("the same name behind an escape", r#"{"a":1,"\u0061":2}"#.to_owned(), "twice"),
            ("two members deep inside", r#"{"x":[{"y":{"a":1,"a":1}}]}"#.to_owned(), "twice"),
            ("a duplicate among many", format!("{{{},\"m3\":1}}", many.join(",")), "twice"),
            ("a duplicate after the first sixteen", format!("{{{},\"m39\":1}}", many.join(",")), "twice"),
            ("33 levels", format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32)), "too deeply"),
            ("more levels than the stack", format!("{{\"a\":{}", "[".repeat(8000)), "recursion limit"),
            ("a second value, RFC 8259 §2", "{} {}".to_owned(), "trailing"),
            ("a trailing comma", r#"{"a":1,}"#.to_owned(), "trailing comma"),
            ("a lone surrogate, RFC 8259 §8.2", r#"{"a":"\ud800"}"#.to_owned(), "hex escape"),
            ("a lone surrogate in a name", r#"{"\udc00":1}"#.to_owned(), "surrogate"),
            ("a number beyond a double, RFC 8259 §6", r#"{"a":1e400}"#.to_owned(), "out of range"),
            ("a control character", "{\"a\":\"\n\"}".to_owned(), "control character"),
            ("NaN", r#"{"a":NaN}"#.to_owned(), "expected value"),
            ("a leading zero", r#"{"a":01}"#.to_owned(), "invalid number"),
            ("a comment", r#"{"a":1/**/}"#.to_owned(), "expected"),
            ("a byte order mark, RFC 8259 §8.1", "\u{feff}{}".to_owned(), "expected value"),
            ("an array", "[]".to_owned(), "not a JSON object"),
            ("a string that must not be repeated", r#""secret""#.to_owned(), "not a JSON object"),
            ("nothing", String::new(), "EOF"),
        ];
        for (name, json, expected) in cases {
            let flaw = read_object(&json).err().map(|flaw| flaw.to_string()).unwrap_or_default();
            assert!(flaw.contains(expected) && !flaw.contains("secret"), "{name}: {flaw:?}");
        }
    }

    #[test]
    fn what_is_plain_json_is_read() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(31), "]".repeat(31));
        let many: Vec<_> = (0..4000).map(|index| format!("\"{index}\":0")).collect();
        for json in [&deep, &format!("{{{}}}", many.join(",")), " {} ", r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#]
        {
            assert!(read_object(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn members_keep_their_kind() {
        let json = r#"{"n":-1.5,"s":"x","e":"\u0061","l":["a","b"],"m":["a",1],"z":[],"t":true,"0":null,"o":{"p":1}}"#;
        let kinds = read_object(json).unwrap().into_iter().map(|(_, value)| match value {
            Value::Null => "null".to_owned(),
            Value::Bool => "bool".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.into_owned(),
            Value::Strings(texts) => format!("strings {}", texts.join("+")),
            Value::Array => "array".to_owned(),
            Value::Object(members) => format!("object {}", members.len()),
        });
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            ["-1.5", "x", "a", "strings a+b", "array", "strings ", "bool", "null", "object 0"]
        );
    }
}
