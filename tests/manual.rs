//! What is packaged beside the binary says what the binary does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use claimgate::cli::Flags;
use clap::{Arg, Command, CommandFactory};

#[path = "../examples/manual/pages.rs"]
mod pages;

/// The file of this name, as a reader sees it: without marks for fonts, hyphens and apostrophes.
fn text(path: &str) -> String {
    let files = pages::all("2026-11-24").unwrap();
    let (_, bytes) = files.into_iter().find(|(name, _)| name == path).unwrap_or_else(|| panic!("no {path}"));
    let text = String::from_utf8(bytes).unwrap();
    let marks = [("\\-", "-"), ("\\*(Aq", "'"), ("\\fB", ""), ("\\fI", ""), ("\\fR", "")];
    marks.iter().fold(text, |text, (mark, meaning)| text.replace(mark, meaning))
}

/// One section, without its heading.
fn section<'t>(page: &'t str, heading: &str) -> &'t str {
    let start = format!("\n.SH {heading}\n");
    let (_, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n.SH ").next().unwrap()
}

/// The paragraph that begins with this flag.
fn paragraph<'t>(page: &'t str, flag: &str) -> Option<&'t str> {
    let is_it = |paragraph: &&str| {
        let heading = paragraph.lines().next().unwrap_or_default();
        heading.split([' ', ',', '[']).any(|word| word == flag)
    };
    page.split("\n.TP\n").find(is_it)
}

fn long(argument: &Arg) -> Option<String> {
    argument.get_long().map(|name| format!("--{name}"))
}

/// The gate and its subcommands, with the file name of the page of each.
fn commands() -> Vec<(String, Command)> {
    let mut gate = Flags::command();
    gate.build();
    let subcommands = gate.get_subcommands().filter(|command| command.get_name() != "help");
    let subcommands = subcommands.map(|command| (format!("man/claimgate-{}.1", command.get_name()), command.clone()));
    subcommands.chain([("man/claimgate.1".to_owned(), gate.clone())]).collect()
}

fn variables() -> BTreeSet<String> {
    let commands = commands();
    let arguments = commands.iter().flat_map(|(_, command)| command.get_arguments());
    arguments.filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect()
}

#[test]
fn every_flag_stands_in_the_man_page_with_what_it_does_and_its_variable() {
    let mut flags = 0;
    for (file, command) in commands() {
        let page = text(&file);
        for argument in command.get_arguments() {
            let Some(flag) = long(argument) else { continue };
            let paragraph = paragraph(&page, &flag).unwrap_or_else(|| panic!("{file}: no {flag}"));
            let help = argument.get_help().unwrap().to_string().replace('`', "");
            assert!(paragraph.contains(help.trim()), "{file}: {flag}: {paragraph}");
            if let Some(variable) = argument.get_env() {
                assert!(paragraph.contains(variable.to_str().unwrap()), "{file}: {flag}: {paragraph}");
            }
            flags += 1;
        }
    }
    assert!(flags > 60, "{flags}");
}

#[test]
fn the_man_page_tells_exit_codes_signals_files_and_examples() {
    let page = text("man/claimgate.1");
    let codes: Vec<_> = section(&page, "EXIT STATUS").split(".TP\n").skip(1).map(|part| part.lines().next()).collect();
    assert_eq!(codes, [Some("0"), Some("1"), Some("2"), Some("143")]);
    for variable in ["SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "NO_COLOR", "LISTEN_FDS"] {
        assert!(section(&page, "ENVIRONMENT").contains(variable), "{variable}");
    }
    assert!(section(&page, "SIGNALS").contains("SIGTERM"));
    let examples = section(&page, "EXAMPLES");
    assert!(examples.contains("--upstream") && examples.contains("--issuer") && examples.contains("--audience"));
    for (file, _) in commands().into_iter().filter(|(file, _)| file.contains("claimgate-")) {
        let name = file.trim_start_matches("man/").trim_end_matches(".1").to_owned();
        assert!(section(&page, "SUBCOMMANDS").contains(&name) && section(&page, "SEE ALSO").contains(&name), "{name}");
    }
}

#[test]
fn every_flag_of_an_example_is_one() {
    let page = text("man/claimgate.1");
    let commands = commands();
    let known: BTreeSet<_> =
        commands.iter().flat_map(|(_, command)| command.get_arguments()).filter_map(long).collect();
    let words = section(&page, "EXAMPLES").split_whitespace();
    let flags: Vec<_> = words.filter(|word| word.starts_with("--") && *word != "--now").collect();
    assert!(flags.len() > 8 && flags.iter().all(|flag| known.contains(*flag)), "{flags:?}");
}

#[test]
fn the_files_of_the_man_page_are_those_of_the_package() {
    let page = text("man/claimgate.1");
    let (manifest, unit) = (read("Cargo.toml"), read("deploy/debian/claimgate.service"));
    let files = section(&page, "FILES").lines().filter(|line| line.starts_with('/'));
    let is_there = |file: &&str| match *file {
        "/etc/default/claimgate" => manifest.contains("\"etc/default/claimgate\"") && unit.contains(file),
        "/usr/lib/systemd/system/claimgate.service" => manifest.contains("systemd-units"),
        "/var/cache/claimgate" => unit.contains("CacheDirectory=claimgate\n") && unit.contains("%C/claimgate\n"),
        "/run/claimgate" => unit.contains("RuntimeDirectory=claimgate\n"),
        file => {
            let example = Path::new(file).strip_prefix("/usr/share/doc/claimgate").unwrap();
            Path::new("deploy/debian").join(example).is_file() && manifest.contains("\"deploy/debian/examples/*\"")
        }
    };
    let missing: Vec<_> = files.clone().filter(|file| !is_there(file)).collect();
    assert!(files.count() == 5 && missing.is_empty(), "{missing:?}");
}

#[test]
fn every_variable_of_the_service_is_a_flag() {
    let known = variables();
    let mut told = 0;
    for file in ["claimgate.service", "default", "examples/claimgate.socket"] {
        let text = read(&format!("deploy/debian/{file}"));
        let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        for variable in words.filter(|word| word.starts_with("CLAIMGATE_")) {
            assert!(known.contains(variable), "{file}: {variable}");
            told += 1;
        }
    }
    assert!(told > 10, "{told}");
}

#[test]
fn every_shell_completes_every_flag_and_subcommand() {
    for file in ["completions/claimgate", "completions/_claimgate", "completions/claimgate.fish"] {
        let text = text(file);
        for (_, command) in commands() {
            assert!(text.contains(command.get_name()), "{file}: {}", command.get_name());
            for name in command.get_arguments().filter_map(Arg::get_long) {
                let spellings = [format!("--{name}"), format!("-l {name} "), format!("-l {name}\n")];
                assert!(spellings.iter().any(|flag| text.contains(flag)), "{file}: --{name}");
            }
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
