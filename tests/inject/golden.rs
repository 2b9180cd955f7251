//! Whole manifests, before and after.

use std::fs;
use std::path::Path;

use super::injected;

const ISSUER: &str = "https://issuer.example.com";

/// Each with its flags.
const GOLDEN: [(&str, &str, &[&str]); 4] = [
    ("deployment", "yaml", &["--issuer", ISSUER, "--audience", "https://api.example.com"]),
    ("statefulset", "yaml", &["--issuer", ISSUER, "--plain", "--container", "api", "--image", "example/claimgate:2"]),
    (
        "grpc",
        "yaml",
        &[
            "--issuer",
            ISSUER,
            "--upstream",
            "http://127.0.0.1:50051",
            "--",
            "--drain-delay",
            "1500ms",
            "--realm=a $(b)",
        ],
    ),
    (
        "pod",
        "json",
        &[
            "--issuer",
            ISSUER,
            "--upstream=http://127.0.0.1:3000",
            "--pre-stop=none",
            "--",
            "--issuer-ca-file=/ca/ca.crt",
        ],
    ),
];

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new("tests/inject/manifests").join(name)
}

/// Equal, or made equal.
fn is_golden(name: &str, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path(name), text).unwrap();
    }
    assert_eq!(text, read(name), "{name}");
}

#[test]
fn the_gate_is_added_with_everything_around_it() {
    for (name, form, flags) in GOLDEN {
        let done = injected(flags, &read(&format!("{name}.in.{form}")));
        is_golden(&format!("{name}.out.{form}"), &done.stdout);
        is_golden(&format!("{name}.notes"), &done.stderr);
    }
}

#[test]
fn twice_is_as_once_and_the_last_flags_hold() {
    for (name, form, flags) in GOLDEN {
        let once = injected(flags, &read(&format!("{name}.in.{form}"))).stdout;
        assert_eq!(injected(flags, &once).stdout, once, "{name}");
        let other = ["--issuer=https://other.example.com", "--upstream=http://127.0.0.1:8080", "--container=api"];
        let other = if name == "statefulset" { &other[..] } else { &other[..2] };
        let from_scratch = injected(other, &read(&format!("{name}.in.{form}"))).stdout;
        assert_eq!(injected(other, &once).stdout, from_scratch, "{name}");
    }
}

#[test]
fn remove_leaves_nothing_behind() {
    for (name, form, flags) in GOLDEN {
        let before = read(&format!("{name}.in.{form}"));
        let untouched = injected(&["--remove"], &before);
        assert_eq!(untouched.stderr, "note: there was nothing to remove\n");
        let removed = injected(&["--remove"], &injected(flags, &before).stdout);
        assert_eq!((removed.stdout, &*removed.stderr), (untouched.stdout, ""), "{name}");
    }
}

#[test]
fn a_gap_is_told_unless_the_pods_have_the_gate_already() {
    let both = read("deployment.in.yaml");
    let (_, _, flags) = GOLDEN[0];
    let at_once = injected(flags, &both);
    assert!(at_once.stderr.contains("apply deployment/app alone first"), "{}", at_once.stderr);
    // As the note says: the workload alone, and then both as the cluster has them.
    let (workload, rest) = both.split_once("---\n").unwrap();
    let first = injected(flags, workload).stdout;
    let second = injected(flags, &format!("{first}---\n{rest}"));
    assert!(!second.stderr.contains("alone first"), "{}", second.stderr);
    assert!(second.stdout.starts_with(&first), "the workload changed once more: {}", second.stdout);
    assert!(second.stdout.contains("targetPort: 4180"), "{}", second.stdout);
}
