//! Every mistake of a configuration at once, each with its place and its fix.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Arg, CommandFactory};

use super::environment::{Environment, twin};
use crate::cli::Flags;

/// How much of a value is shown, in characters.
const MAX_SHOWN: usize = 256;

/// What is wrong with the flags; not empty.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(Vec<Mistake>);

#[derive(Debug)]
struct Mistake {
    place: Place,
    value: Option<String>,
    problem: String,
}

#[derive(Debug)]
enum Place {
    Flag(&'static str),
    /// The variable of this flag.
    Twin(&'static str),
    /// A variable that is no flag's.
    Variable(&'static str),
}

impl Place {
    /// A URL without its user information and without what follows its path, where secrets may stand.
    fn redacted<'v>(&self, value: &'v str) -> Cow<'v, str> {
        let (Self::Flag("issuer" | "jwks-url" | "upstream") | Self::Twin("issuer" | "jwks-url" | "upstream")) = self
        else {
            return Cow::Borrowed(value);
        };
        let (path, query) = match value.find(['?', '#']) {
            Some(end) => (value.get(..end).unwrap_or_default(), "?…"),
            None => (value, ""),
        };
        match path.split_once("://") {
            // As far as to the last `@`: a password may have a `/` of its own.
            Some((scheme, rest)) => match rest.rsplit_once('@') {
                Some((_, host)) => Cow::Owned(format!("{scheme}://…@{host}{query}")),
                None => Cow::Owned(format!("{path}{query}")),
            },
            None => Cow::Owned(format!("{path}{query}")),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Mistake { place, value, problem } in &self.0 {
            match place {
                Place::Flag(flag) | Place::Twin(flag) => write!(f, "error: --{flag}")?,
                Place::Variable(name) => write!(f, "error: {name}")?,
            }
            if let Some(value) = value {
                write!(f, " '{}'", shown(place.redacted(value).as_ref()))?;
            }
            if let Place::Twin(flag) = place {
                write!(f, " (from {})", twin(flag))?;
            }
            writeln!(f, ": {problem}")?;
        }
        f.write_str("see claimgate --help")
    }
}

/// An empty value is mostly a variable that is not set. Where nothing in its place would let more pass, that is said.
fn empty(place: &Place) -> String {
    let without = match place {
        Place::Flag("audience") | Place::Twin("audience") => {
            "name the service that tokens must be for: without an audience, those for any other service pass too"
        }
        Place::Flag("tls-client-ca-file") | Place::Twin("tls-client-ca-file") => {
            "name the file: without it, clients need no certificate"
        }
        Place::Flag("tls-cert-file" | "tls-key-file") | Place::Twin("tls-cert-file" | "tls-key-file") => {
            "name the file: without it, there is no TLS"
        }
        Place::Flag("allowed-alg") | Place::Twin("allowed-alg") => {
            "name an algorithm: without it, each that is safe is accepted"
        }
        Place::Flag("max-body-size") | Place::Twin("max-body-size") => "name a size: without it, there is no limit",
        _ => "give it a value, or leave it out",
    };
    format!("it is empty, perhaps from a variable that is not set; {without}")
}

/// As it was typed, but on one line of a bearable length.
fn shown(value: &str) -> String {
    let escaped = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_debug().to_string(),
    };
    let mut shown: String = value.chars().take(MAX_SHOWN).map(escaped).collect();
    if value.chars().nth(MAX_SHOWN).is_some() {
        shown += "…";
    }
    shown
}

/// Collects mistakes, so that reading goes on after the first.
#[derive(Debug)]
pub(super) struct Mistakes<'e> {
    environment: &'e Environment,
    noted: RefCell<Vec<Mistake>>,
    /// Whether the files that flags name are on this machine.
    has_files: bool,
}

impl<'e> Mistakes<'e> {
    /// None yet. The environment tells where a value came from.
    pub(super) fn new(environment: &'e Environment) -> Self {
        Self { environment, noted: RefCell::default(), has_files: true }
    }

    /// For a gate on another machine, whose files cannot be read here.
    pub(super) fn elsewhere(environment: &'e Environment) -> Self {
        Self { has_files: false, ..Self::new(environment) }
    }

    /// Whether the files that flags name can be read.
    pub(super) const fn has_files(&self) -> bool {
        self.has_files
    }

    /// The value, or every mistake so far, in the order of the help.
    pub(super) fn or<T>(self, value: T) -> Result<T, ConfigErrors> {
        let mut mistakes = self.noted.into_inner();
        if mistakes.is_empty() {
            return Ok(value);
        }
        let command = Flags::command();
        let flags: Vec<_> = command.get_arguments().map(Arg::get_long).collect();
        mistakes.sort_by_key(|mistake| match mistake.place {
            Place::Flag(flag) | Place::Twin(flag) => flags.iter().position(|known| *known == Some(flag)),
            Place::Variable(_) => None,
        });
        Err(ConfigErrors(mistakes))
    }

    /// Notes that a flag is in another's way.
    pub(super) fn note(&self, flag: &'static str, problem: impl Into<String>) {
        self.add(Place::Flag(flag), None, problem.into());
    }

    /// Notes that a value of a flag is in another's way.
    pub(super) fn note_value(&self, flag: &'static str, value: &str, problem: String) {
        self.add(Place::Flag(flag), Some(value), problem);
    }

    /// Notes that a flag is needed.
    pub(super) fn missing(&self, flag: &'static str, what: &str) {
        self.note(flag, format!("it is required (or {}): {what}", twin(flag)));
    }

    fn add(&self, place: Place, value: Option<&str>, problem: String) {
        self.noted.borrow_mut().push(Mistake { place, value: value.map(str::to_owned), problem });
    }

    /// Reads one value; `None` when it is a mistake.
    pub(super) fn read<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let is_from_twin = self.environment.holds(flag, value);
        self.read_at(if is_from_twin { Place::Twin(flag) } else { Place::Flag(flag) }, value, parse)
    }

    /// Reads what a path leads to; `None` when it is a mistake, and for a file of another machine.
    pub(super) fn read_file<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        path: &str,
        open: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let open = |path: &str| if self.has_files { open(path).map(Some) } else { Ok(None) };
        self.read(flag, path, open).flatten()
    }

    /// Reads a variable that is no flag's.
    pub(super) fn read_variable<T, E: fmt::Display>(
        &self,
        name: &'static str,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.read_at(Place::Variable(name), value, parse)
    }

    /// Spaces and line ends around a value come from lists and files, and are never meant.
    fn read_at<T, E: fmt::Display>(
        &self,
        place: Place,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let trimmed = value.trim();
        let problem = if trimmed.is_empty() {
            empty(&place)
        } else {
            match parse(trimmed) {
                Ok(read) => return Some(read),
                Err(error) => error.to_string(),
            }
        };
        self.add(place, Some(value), problem);
        None
    }

    /// Reads a value if it is given; the default, also in the place of a mistake.
    pub(super) fn or_default<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        value: Option<&String>,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        value.and_then(|value| self.read(flag, value, parse)).unwrap_or(default)
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        flag: &'static str,
        value: Option<&String>,
        default: T,
        words: &[(&'static str, T)],
    ) -> T {
        self.or_default(flag, value, default, |value| {
            let found = words.iter().find(|(word, _)| value.eq_ignore_ascii_case(word)).map(|(_, meaning)| *meaning);
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            found.ok_or_else(|| format!("it must be {}", known.join(" or ")))
        })
    }

    /// Reads a duration such as `300ms`, `30s` or `5m` within a range.
    pub(super) fn duration(
        &self,
        flag: &'static str,
        value: Option<&String>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.or_default(flag, value, default, |value| {
            let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            if value.starts_with('-') {
                return Err(format!("it cannot be negative; it must be from {least} to {most}"));
            }
            let duration = humantime::parse_duration(value)
                .map_err(|_| "it must be a duration with its unit, such as 300ms, 30s or 5m".to_owned())?;
            if range.contains(&duration) { Ok(duration) } else { Err(format!("it must be from {least} to {most}")) }
        })
    }

    /// Reads a size such as `16KiB` within a range.
    pub(super) fn size(&self, flag: &'static str, value: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.read(flag, value, |value| {
            let size = ByteSize::from_str(value)
                .map_err(|_| "it must be a size in bytes, with or without a unit, such as 16KiB".to_owned())?
                .as_u64();
            let (least, most) = (ByteSize(*range.start()), ByteSize(*range.end()));
            if range.contains(&size) { Ok(size) } else { Err(format!("it must be from {least} to {most}")) }
        })
    }

    /// Reads a number within a range.
    pub(super) fn number(
        &self,
        flag: &'static str,
        value: Option<&String>,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        self.or_default(flag, value, default, |value| {
            let number = value.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("it must be a number from {} to {}", range.start(), range.end()))
        })
    }
}
