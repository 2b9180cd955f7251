//! Every mistake of a configuration at once, each with its place and its fix.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// What is wrong with the flags; not empty.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(Vec<Mistake>);

#[derive(Debug)]
struct Mistake {
    flag: &'static str,
    value: Option<String>,
    problem: String,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Mistake { flag, value, problem } in &self.0 {
            write!(f, "error: --{flag}")?;
            if let Some(value) = value {
                write!(f, " {value:?}")?;
            }
            let env = flag.replace('-', "_").to_ascii_uppercase();
            writeln!(f, ": {problem} (or CLAIMGATE_{env})")?;
        }
        f.write_str("see claimgate --help")
    }
}

/// Collects mistakes, so that reading goes on after the first.
#[derive(Debug, Default)]
pub(super) struct Mistakes(RefCell<Vec<Mistake>>);

impl Mistakes {
    /// The value, or every mistake so far.
    pub(super) fn or<T>(self, value: T) -> Result<T, ConfigErrors> {
        let mistakes = self.0.into_inner();
        if mistakes.is_empty() { Ok(value) } else { Err(ConfigErrors(mistakes)) }
    }

    /// Notes that a flag is needed or is in another's way.
    pub(super) fn note(&self, flag: &'static str, problem: impl Into<String>) {
        self.0.borrow_mut().push(Mistake { flag, value: None, problem: problem.into() });
    }

    /// Reads one value; `None` when it is a mistake.
    pub(super) fn read<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let problem = if value.trim().is_empty() {
            "it is empty; leave it out instead".to_owned()
        } else {
            match parse(value) {
                Ok(read) => return Some(read),
                Err(error) => error.to_string(),
            }
        };
        self.0.borrow_mut().push(Mistake { flag, value: Some(value.to_owned()), problem });
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
            let duration = humantime::parse_duration(value)
                .map_err(|_| "it must be a duration with its unit, such as 300ms, 30s or 5m".to_owned())?;
            let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
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
