//! `claimgate inject`: manifests in, manifests out.
//!
//! `manifests/NAME.in.*` becomes `manifests/NAME.out.*`, and the notes that are said stand in `NAME.notes`. After a change
//! that is meant, run with `BLESS=1` and read the difference.

mod annotations;
mod gate_flags;
mod golden;
mod refusals;
mod ways_around;

use std::io::Write;
use std::process::{Command, Stdio};

/// What became of it.
#[derive(Debug)]
struct Injected {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn inject(flags: &[&str], input: &str) -> Injected {
    inject_in(&[], flags, input)
}

/// The same in an environment of nothing but these variables.
fn inject_in(env: &[(&str, &str)], flags: &[&str], input: &str) -> Injected {
    let mut child = Command::new(env!("CARGO_BIN_EXE_claimgate"))
        .arg("inject")
        .args(flags)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may refuse its flags before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Injected { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The same, which has to work.
fn injected(flags: &[&str], input: &str) -> Injected {
    let injected = inject(flags, input);
    assert_eq!(injected.code, Some(0), "{flags:?}: {}", injected.stderr);
    injected
}
