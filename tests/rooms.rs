//! The house itself: which room may use which, how large they are, and that the README tells the same as the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use claimgate::denial::Denial;

/// Every room with the rooms that it may use. What a room may use is listed in full.
#[rustfmt::skip]
const ARROWS: [(&str, &[&str]); 32] = [
    ("lib", &[]),
    ("command_line", &[]),
    ("main", &["command_line", "cli", "config", "app", "command", "telemetry", "clock"]),
    ("cli", &[]),
    ("config", &["cli", "server", "admin", "peer", "issuer", "token", "policy", "forward", "telemetry", "jose", "trust"]),
    ("app", &["config", "server", "admin", "gateway", "forward", "policy", "token", "issuer", "telemetry", "readiness", "clock", "denial", "deadline", "liveness", "peer", "interim", "incoming", "reply", "background", "trust"]),
    ("background", &[]),
    ("command", &["app", "cli", "config", "server", "admin", "jose", "clock", "telemetry"]),
    ("telemetry", &["denial", "clock", "counter", "target"]),
    ("denial", &["clock"]),
    ("clock", &[]),
    ("counter", &[]),
    ("readiness", &[]),
    ("peer", &[]),
    ("trust", &[]),
    ("deadline", &[]),
    ("liveness", &["deadline"]),
    ("turn", &[]),
    ("interim", &[]),
    ("incoming", &[]),
    ("chunked", &[]),
    ("reply", &[]),
    ("target", &[]),
    ("jose", &["denial"]),
    ("issuer", &["jose", "denial", "readiness", "clock", "trust"]),
    ("token", &["jose", "issuer", "clock", "denial", "counter"]),
    ("policy", &["token", "denial", "clock", "target"]),
    ("forward", &["policy", "denial", "clock", "deadline", "liveness", "turn", "counter", "peer", "interim", "incoming", "chunked", "reply", "trust", "target"]),
    ("respond", &["denial"]),
    ("gateway", &["token", "policy", "forward", "respond", "telemetry", "denial", "clock", "liveness", "peer", "interim", "incoming", "reply"]),
    ("server", &["denial", "deadline", "liveness", "turn", "counter", "peer", "clock", "interim", "incoming", "chunked", "reply", "target"]),
    ("admin", &["background", "server", "readiness", "telemetry", "issuer", "denial", "clock", "trust"]),
];

const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 60;

#[test]
fn a_room_uses_only_the_rooms_that_it_may() {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let room = room_of(&file);
        let Some(may_use) = allowed.get(room.as_str()) else {
            wrong.push(format!("{}: a room that the table does not know", file.display()));
            continue;
        };
        for used in rooms_used(&code_of(&file)) {
            if used != room && !may_use.contains(&used.as_str()) {
                wrong.push(format!("{}: {room} may not use {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_room_reaches_another_by_way_of_its_parent() {
    for file in rust_files("src") {
        let depth = file.components().count() - 2;
        let depth = if file.ends_with("mod.rs") { depth - 1 } else { depth };
        let way_out = vec!["super"; depth + 1].join("::");
        assert!(!code_of(&file).contains(&way_out), "{}: {way_out}", file.display());
    }
}

/// A target that no `Uri` holds as it came would be judged by other bytes than those that are forwarded.
#[test]
fn nobody_but_the_codecs_asks_a_uri_for_the_path_of_a_request() {
    for room in ["gateway", "policy", "token", "respond", "telemetry", "forward"] {
        let files = [rust_files(&format!("src/{room}")), vec![PathBuf::from(format!("src/{room}.rs"))]].concat();
        for file in files.into_iter().filter(|file| file.is_file()) {
            let code = code_of(&file);
            // A request of HTTP/2 to the origin is made of what was checked to be carried.
            let is_maker = file.ends_with("forward/http2/head.rs");
            for door in ["uri.path()", "uri.query()", "uri().path", "uri().query", "uri().path_and_query"] {
                assert!(is_maker || !code.contains(door), "{}: {door}", file.display());
            }
        }
    }
}

#[test]
fn no_room_stands_beside_its_folder() {
    for file in rust_files("src") {
        let folder = file.with_extension("");
        // A file of unit tests hangs below the file that it tests.
        let holds_code =
            folder.is_dir() && fs::read_dir(&folder).unwrap().any(|entry| entry.unwrap().file_name() != "tests.rs");
        assert!(!holds_code, "{} beside {}", file.display(), folder.display());
    }
}

#[test]
fn no_file_is_longer_than_400_lines_and_no_function_than_60() {
    let mut long = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches")) {
        let code = code_of(&file);
        let lines: Vec<_> = code.lines().collect();
        if lines.len() > MAX_FILE {
            long.push(format!("{}: {} lines", file.display(), lines.len()));
        }
        for (name, length) in functions(&lines) {
            if length > MAX_FUNCTION {
                long.push(format!("{}: {name} has {length} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_readme_has_the_table_of_denials_that_the_code_has() {
    let readme = fs::read_to_string("README.md").unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let is_row = |cells: &Vec<String>| cells.len() >= 5 && cells[0].starts_with(|first: char| first.is_ascii_digit());
    let mut told: Vec<_> = readme.lines().filter(|line| line.starts_with('|')).map(cells).filter(is_row).collect();
    let mut expected = Denial::ALL.map(|denial| {
        let row = denial.row();
        let error = row.error.unwrap_or("–").to_owned();
        [row.status.to_string(), format!("`{}`", row.reason), error, row.grpc.to_string(), row.title.to_owned()]
            .to_vec()
    });
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn the_scanner_sees_what_it_is_there_to_see() {
    let code = "use crate::{denial::{Denial, Text}, clock, jose::jwk::{self}};\nlet x = crate::token::verify();\n";
    let expected = ["clock", "denial", "jose", "token"].map(str::to_owned);
    assert_eq!(rooms_used(code), BTreeSet::from(expected));
    let lines: Vec<_> = "impl X {\n    pub const fn a() {\n        b\n    }\n    fn c() {}\n}".lines().collect();
    assert_eq!(functions(&lines), [("a".to_owned(), 3), ("c".to_owned(), 1)]);
}

pub(crate) fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `src/jose/jwk.rs` and `src/jose.rs` are of the room `jose`.
fn room_of(file: &Path) -> String {
    let first = file.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// A file without its comments and without the unit tests at its foot.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let is_tests = file.starts_with("src")
        && file.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
    if is_tests {
        return String::new();
    }
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    // Comments stay as empty lines, so that they count as lines.
    code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// What follows `crate::` (or, in the binary, `claimgate::`), also within braces.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for path in ["crate::", "claimgate::"] {
        for (start, _) in code.match_indices(path) {
            let rest = &code[start + path.len()..];
            match rest.strip_prefix('{') {
                Some(list) => rooms.extend(heads_of_list(list)),
                None => rooms.extend([identifier(rest)]),
            }
        }
    }
    rooms
}

/// The first names of a `use` list, up to its closing brace.
fn heads_of_list(list: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut is_start) = (1, true);
    for (index, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => is_start = true,
            _ if depth == 1 && is_start && !character.is_whitespace() => {
                heads.push(identifier(&list[index..]));
                is_start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// Each function with its number of lines, as rustfmt writes them.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let declaration = line.trim_start();
        let Some(name) = function_name(declaration) else { continue };
        let end = format!("{}}}", &line[..line.len() - declaration.len()]);
        let is_one_line = declaration.ends_with('}') || declaration.ends_with(';');
        let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0) + 1;
        functions.push((name, if is_one_line { 1 } else { length }));
    }
    functions
}

fn function_name(declaration: &str) -> Option<String> {
    let words: Vec<_> = declaration.split(' ').collect();
    let position = words.iter().position(|word| *word == "fn")?;
    let is_qualifier =
        |word: &&str| matches!(*word, "pub" | "pub(super)" | "pub(crate)" | "const" | "async" | "unsafe");
    let is_declaration = words[..position].iter().all(is_qualifier);
    is_declaration.then(|| words.get(position + 1).map(|name| identifier(name))).flatten()
}
