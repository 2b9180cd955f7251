//! The words of the command line before they are flags, and what is said of words that are none.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What other programs call it, and what it is here.
const ELSEWHERE: [(&str, &str); 12] = [
    ("--verbose", "--log-level debug"),
    ("-v", "--log-level debug"),
    ("--debug", "--log-level debug"),
    ("--quiet", "--log-level error --access-log off"),
    ("-q", "--log-level error --access-log off"),
    ("--port", "--listen 0.0.0.0:PORT"),
    ("-p", "--listen 0.0.0.0:PORT"),
    ("--http-address", "--listen ADDR"),
    ("--bind", "--listen ADDR"),
    ("--target", "--upstream URL"),
    ("--client-id", "--audience AUD"),
    ("--oidc-client-id", "--audience AUD"),
];

/// The words with a negative value as part of its flag: no flag begins with a digit, and a value is to be judged as one.
pub fn join_negative(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_ended = false;
    for word in words {
        let is_negative =
            word.as_encoded_bytes().strip_prefix(b"-").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
        match joined.last_mut() {
            Some(flag) if is_negative && !is_ended && is_flag(flag) => {
                flag.push("=");
                flag.push(word);
            }
            _ => {
                is_ended |= word == "--";
                joined.push(word);
            }
        }
    }
    joined
}

fn is_flag(word: &OsString) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.len() > 2 && bytes.starts_with(b"--") && !bytes.contains(&b'=')
}

/// What the flag is called here that is called otherwise elsewhere.
pub fn hint(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let name = word.split('=').next().unwrap_or_default();
    let (_, ours) = ELSEWHERE.into_iter().find(|(theirs, _)| *theirs == name)?;
    Some(format!("  use  {ours}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_value_belongs_to_its_flag() {
        for (words, expected) in [
            (&["--leeway", "-5s"][..], &["--leeway=-5s"][..]),
            (&["--leeway=5s", "-5s"], &["--leeway=5s", "-5s"]),
            (&["--leeway", "-5s", "--workers", "-1"], &["--leeway=-5s", "--workers=-1"]),
            (&["inject", "--", "--leeway", "-5s"], &["inject", "--", "--leeway", "-5s"]),
            (&["--leeway", "-x"], &["--leeway", "-x"]),
        ] {
            assert_eq!(join_negative(words.iter().map(OsString::from)), expected, "{words:?}");
        }
    }
}
