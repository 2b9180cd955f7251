//! What a scrape shows, read as strictly as the text format 0.0.4 of Prometheus can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::client;

/// One scrape.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) text: String,
    pub(crate) families: Vec<Family>,
    /// By the whole of what stands before the value.
    series: BTreeMap<String, f64>,
}

/// A metric as it announces itself.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: String,
    /// The names of its labels in their order, without `le`; empty without samples.
    pub(crate) labels: Vec<String>,
}

/// A histogram's buckets so far, by their other labels.
type Buckets = BTreeMap<String, Vec<(f64, f64)>>;

impl Exposition {
    /// Asks an admin listener.
    pub(crate) async fn scrape(admin: SocketAddr) -> Self {
        let response = client::get_local(admin, "/metrics").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::parse(response.text())
    }

    /// The value of a series.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.find(series).unwrap_or_else(|| panic!("no {series}: {}", self.text))
    }

    /// The same, where it need not be there.
    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// Panics at what a scraper might stumble over.
    pub(crate) fn parse(text: String) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
        let (mut families, mut series): (Vec<Family>, _) = (Vec::new(), BTreeMap::new());
        let mut buckets = Buckets::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let type_line = lines.next().unwrap_or_default();
                let family = announced(help, type_line);
                assert!(families.iter().all(|other| other.name != family.name), "twice: {line}");
                families.push(family);
                continue;
            }
            let family = families.last_mut().unwrap_or_else(|| panic!("a sample before its HELP: {line}"));
            let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            sample(family, key, value, &mut buckets);
            assert!(series.insert(key.to_owned(), value).is_none(), "twice: {line}");
        }
        for (labels, buckets) in buckets {
            assert!(buckets.is_sorted(), "{labels}: {buckets:?}");
            assert!(buckets.iter().map(|(_, number)| number).is_sorted(), "{labels}: {buckets:?}");
            assert!(buckets.last().is_some_and(|(bound, _)| bound.is_infinite()), "{labels}: {buckets:?}");
            let count = series.get(&labels.replacen("_bucket", "_count", 1));
            assert_eq!(count, buckets.last().map(|(_, number)| number), "{labels}");
        }
        Self { text, families, series }
    }
}

fn announced(help: &str, type_line: &str) -> Family {
    let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {help}"));
    let kind = type_line.strip_prefix(&format!("# TYPE {name} ")).unwrap_or_else(|| panic!("no TYPE of {name}"));
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{type_line}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{type_line}");
    assert!(is_name(name) && !help.is_empty(), "{name}");
    assert!(!["_bucket", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
    Family { name: name.to_owned(), help: help.to_owned(), kind: kind.to_owned(), labels: Vec::new() }
}

/// Holds a sample against its family.
fn sample(family: &mut Family, key: &str, value: f64, buckets: &mut Buckets) {
    let (name, labels) = key.split_once('{').map_or((key, Vec::new()), |(name, rest)| (name, labels(rest)));
    let suffix = name.strip_prefix(&*family.name).unwrap_or_else(|| panic!("{key} under {}", family.name));
    let is_histogram = family.kind == "histogram";
    assert!(if is_histogram { ["_bucket", "_sum", "_count"].contains(&suffix) } else { suffix.is_empty() }, "{key}");
    assert!(value.is_finite() && (value >= 0.0 || family.kind == "gauge"), "{key} {value}");
    let names: Vec<_> = labels.iter().map(|(name, _)| name.clone()).filter(|name| name != "le").collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{key}");
    assert!(family.labels.is_empty() || family.labels == names, "{key}: {:?}", family.labels);
    family.labels = names;
    let bound = labels.iter().find(|(name, _)| name == "le");
    assert_eq!(bound.is_some(), suffix == "_bucket", "{key}");
    if let Some((_, bound)) = bound {
        let others = key.replace(&format!(",le=\"{bound}\""), "");
        buckets.entry(others).or_default().push((bound.parse().unwrap(), value));
    }
}

/// What stands between the braces, the opening one apart.
fn labels(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {text}"));
        assert!(is_name(name) && !name.contains(':'), "{text}");
        let (value, after) = unescape(value);
        labels.push((name.to_owned(), value));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after == "}" => return labels,
            None => panic!("no end: {text}"),
        }
    }
}

/// A label's value up to its quote, and what comes behind.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next() {
            Some('"') => return (value, characters.as_str()),
            Some('\\') => value.push(match characters.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => panic!("no escape: {other:?} in {text}"),
            }),
            Some(other) => value.push(other),
            None => panic!("no quote: {text}"),
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_fit = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && text.chars().all(is_fit)
}
