//! `SECURITY.md` and `docs/advisories.md` name the tests that hold what they say.

use std::collections::BTreeSet;
use std::fs;

use super::tables;
use crate::rooms::rust_files;

const ADVISORIES: &str = "docs/advisories.md";

#[test]
fn every_test_and_case_that_the_documents_name_exists() {
    let (tests, cases) = (tests(), cases());
    for document in ["SECURITY.md", ADVISORIES] {
        let text = fs::read_to_string(document).unwrap();
        let named = between(&text, '`').into_iter().filter(|name| is_test_name(name));
        let missing: Vec<_> = named.filter(|name| !tests.contains(*name)).collect();
        assert!(missing.is_empty(), "{document} names tests that are not there: {missing:#?}");
    }
    let text = fs::read_to_string(ADVISORIES).unwrap();
    for (_, held) in rows(&text) {
        let missing: Vec<_> = between(held, '"').into_iter().filter(|name| !cases.contains(name)).collect();
        assert!(missing.is_empty(), "{ADVISORIES} names cases that are not there: {missing:#?}");
    }
}

#[test]
fn every_advisory_is_held_by_a_test_or_says_why_it_cannot_apply() {
    let text = fs::read_to_string(ADVISORIES).unwrap();
    let rows = rows(&text);
    assert!(rows.len() > 50, "{}", rows.len());
    for (advisory, held) in rows {
        let is_held = between(held, '`').into_iter().any(is_test_name) || !between(held, '"').is_empty();
        assert!(is_held || held.trim().starts_with("cannot apply"), "{advisory}");
    }
}

#[test]
fn every_advisory_that_a_case_names_stands_in_the_list() {
    let text = fs::read_to_string(ADVISORIES).unwrap();
    let listed: BTreeSet<_> = text.split([' ', ',', '|']).filter(|word| is_advisory(word)).collect();
    let named: BTreeSet<_> = tables().into_iter().flat_map(|(_, cases)| cases).map(|(_, source)| source).collect();
    let missing: Vec<_> = named.into_iter().filter(|source| is_advisory(source) && !listed.contains(source)).collect();
    assert!(missing.is_empty(), "{ADVISORIES} lacks {missing:#?}");
}

fn is_advisory(word: &str) -> bool {
    word.starts_with("CVE-") || word.starts_with("GHSA-")
}

#[test]
fn every_promise_names_its_test() {
    let text = fs::read_to_string("SECURITY.md").unwrap();
    let promises = text.split("## Promises").nth(1).unwrap().split("\n## ").next().unwrap();
    let promises: Vec<_> = promises.split("\n- ").skip(1).collect();
    assert!(promises.len() > 15, "{}", promises.len());
    for promise in promises {
        assert!(between(promise, '`').into_iter().any(is_test_name), "{promise}");
    }
}

/// The first and the last cell of each row of a table.
fn rows(text: &str) -> Vec<(&str, &str)> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let ends = cells.filter_map(|cells| Some((cells.split(" | ").next()?, cells.rsplit(" | ").next()?)));
    ends.filter(|(first, _)| *first != "advisory").collect()
}

/// What stands in pairs of this mark, line by line.
fn between(text: &str, mark: char) -> Vec<&str> {
    text.lines().flat_map(|line| line.split(mark).skip(1).step_by(2)).collect()
}

/// A sentence in snake case.
fn is_test_name(name: &str) -> bool {
    name.matches('_').count() > 2 && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn tests() -> BTreeSet<String> {
    let files = rust_files("src").into_iter().chain(rust_files("tests"));
    let mut tests = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            let is_test = at > 0 && lines[at - 1].starts_with("#[") && lines[at - 1].contains("test");
            tests.extend(name.filter(|_| is_test).map(str::to_owned));
        }
    }
    tests
}

fn cases() -> BTreeSet<&'static str> {
    tables().into_iter().flat_map(|(_, cases)| cases).map(|(name, _)| name).collect()
}
