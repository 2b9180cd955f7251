//! What a run of the tests prints: names when it passes, a failed test's own log when it does not.

use std::process::Command;

use super::support::House;

/// Set in the runs that this file starts: whether the subject fails.
const FAILS: &str = "CLAIMGATE_TEST_FAILS";

/// Passes by itself, and is what the other tests run again to look at the output.
#[tokio::test]
async fn a_denied_request_is_logged() {
    let house = House::start(&[]).await;
    assert_eq!(house.get("/denied-here", "not.a.token").await.status, 401);
    assert!(std::env::var_os(FAILS).is_none(), "this run is to fail");
}

/// The exit code and the output, stdout before stderr, of the subject in a process of its own.
fn run(is_to_fail: bool, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "output::a_denied_request_is_logged"]).args(arguments);
    // A child that fails prints no backtrace, whatever this process was started with.
    command.env_remove(FAILS).env("RUST_BACKTRACE", "0");
    if is_to_fail {
        command.env(FAILS, "1");
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_passing_run_prints_names_only() {
    for arguments in [&[][..], &["--nocapture"], &["--test-threads", "1"]] {
        let (code, output) = run(false, arguments);
        assert_eq!(code, Some(0), "{output}");
        let is_usual = |line: &&str| line.is_empty() || line.starts_with("test ") || line.starts_with("running 1 test");
        let other: Vec<_> = output.lines().filter(|line| !is_usual(line)).collect();
        assert!(other.is_empty(), "{arguments:?}: {other:#?}");
        assert!(output.contains("test output::a_denied_request_is_logged ... ok"), "{arguments:?}: {output}");
    }
}

#[test]
fn a_failing_test_prints_its_own_log() {
    let (code, output) = run(true, &[]);
    assert_eq!(code, Some(101), "{output}");
    let logged: Vec<_> = output.lines().filter(|line| line.contains("/denied-here")).collect();
    assert_eq!(logged.len(), 1, "{output}");
    assert!(logged[0].contains("\"malformed_token\"") && output.contains("this run is to fail"), "{output}");
}
