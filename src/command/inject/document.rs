//! Manifests as data: YAML or JSON of any shape, in the order in which it came.
//!
//! YAML is read and written as kubectl reads it (YAML 1.1): `0644` is octal, and a text that looks like a number or a
//! truth value is quoted. Comments are lost, as `kubectl get` has none.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A mapping; its order is kept.
pub(super) type Map = IndexMap<String, Node>;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Documents, and the form in which they came.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) all: Vec<Node>,
    is_json: bool,
}

/// The text is neither YAML nor JSON.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Documents {
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let is_json = text.trim_start().starts_with('{');
        let all = if is_json {
            let documents = serde_json::Deserializer::from_str(text).into_iter();
            documents.collect::<Result<_, _>>().map_err(|error| Unreadable(format!("JSON: {error}")))?
        } else {
            let options = serde_saphyr::options! { legacy_octal_numbers: true };
            serde_saphyr::from_multiple_with_options(text, options)
                .map_err(|error| Unreadable(format!("YAML: {error}")))?
        };
        Ok(Self { all, is_json })
    }

    pub(super) fn print(&self) -> Result<String, Unreadable> {
        if self.is_json {
            let print = |document: &Node| serde_json::to_string_pretty(document).map(|text| text + "\n");
            return self.all.iter().map(print).collect::<Result<_, _>>().map_err(|error| Unreadable(error.to_string()));
        }
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        serde_saphyr::to_string_multiple_with_options(&self.all, options).map_err(|error| Unreadable(error.to_string()))
    }
}

impl Node {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// One line of JSON, for what is kept in an annotation.
    pub(super) fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_port(&self) -> Option<u16> {
        match self {
            Self::Int(number) => u16::try_from(*number).ok(),
            Self::Uint(number) => u16::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// What is at a path of names, if anything but null is.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        let found = path.iter().try_fold(self, |node, name| node.as_map()?.get(*name))?;
        (*found != Self::Null).then_some(found)
    }

    pub(super) fn at_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        let found = path.iter().try_fold(self, |node, name| node.as_map_mut()?.get_mut(*name))?;
        (*found != Self::Null).then_some(found)
    }

    pub(super) fn str_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The items of the list at a path; none where there is no list.
    pub(super) fn items(&self, path: &[&str]) -> &[Self] {
        match self.at(path) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }

    pub(super) fn items_mut(&mut self, path: &[&str]) -> &mut [Self] {
        match self.at_mut(path) {
            Some(Self::List(items)) => items,
            _ => &mut [],
        }
    }

    /// The mapping of this name, made where there is none.
    pub(super) fn map_in<'m>(map: &'m mut Map, name: &str) -> Option<&'m mut Map> {
        let found = map.entry(name.to_owned()).or_insert(Self::Null);
        if *found == Self::Null {
            *found = Self::Map(Map::new());
        }
        found.as_map_mut()
    }

    /// The list of this name, made where there is none.
    pub(super) fn list_in<'m>(map: &'m mut Map, name: &str) -> Option<&'m mut Vec<Self>> {
        let found = map.entry(name.to_owned()).or_insert(Self::Null);
        if *found == Self::Null {
            *found = Self::List(Vec::new());
        }
        match found {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

impl<const N: usize> From<[(&str, Node); N]> for Node {
    fn from(members: [(&str, Node); N]) -> Self {
        Self::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl From<u16> for Node {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Uint(value), Node::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut map = Map::new();
        while let Some((name, value)) = members.next_entry()? {
            map.insert(name, value);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_could_take_for_something_else_stays_what_it_is() {
        let yaml = "mode: 0644\nyes: \"yes\"\non: 'on'\ntime: \"12:30:45\"\nnumber: \"1_000\"\noctal: \"0644\"\nexp: \"1e3\"\n\
                    empty: \"\"\nnothing: \"null\"\ntilde: \"~\"\nhex: \"0x1f\"\nday: \"2026-11-24\"\nversion: \"1.10\"\n";
        let documents = Documents::parse(yaml).unwrap();
        let map = documents.all[0].as_map().unwrap();
        assert_eq!(map["mode"], Node::Int(0o644));
        let texts = map.values().skip(1);
        assert!(texts.clone().all(|value| matches!(value, Node::Text(_))), "{map:?}");
        let printed = documents.print().unwrap();
        assert_eq!(Documents::parse(&printed).unwrap().all, documents.all);
        for line in printed.lines().skip(1) {
            assert!(line.ends_with(['"', '\'']), "{line}");
        }
    }

    #[test]
    fn order_blocks_and_forms_are_kept() {
        let yaml = "b: 1\na:\n- c: |\n    two\n    lines\n  d: {}\n- []\n---\nz: 1.5\n";
        let documents = Documents::parse(yaml).unwrap();
        assert_eq!(documents.print().unwrap(), yaml);
        let json = "{\"b\": 1, \"a\": [null, true, 18446744073709551615]}\n{\"c\": -1}";
        let documents = Documents::parse(json).unwrap();
        assert_eq!(
            documents.all[0].as_map().unwrap()["a"],
            Node::List(vec![Node::Null, Node::Bool(true), Node::Uint(u64::MAX)])
        );
        let printed = documents.print().unwrap();
        assert!(printed.starts_with("{\n  \"b\": 1,\n"), "{printed}");
        assert_eq!(Documents::parse(&printed).unwrap().all, documents.all);
    }

    #[test]
    fn what_is_no_manifest_is_told_by_place() {
        let error = Documents::parse("a: [1\nb: 2\n").unwrap_err().to_string();
        assert!(error.starts_with("YAML: "), "{error}");
        assert!(Documents::parse("{\"a\": }").unwrap_err().to_string().starts_with("JSON: "));
    }
}
