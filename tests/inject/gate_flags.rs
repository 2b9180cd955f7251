//! The gate's flags: judged for the pod, not for the machine that injects.

use super::{inject, inject_in, injected};

const DEPLOYMENT: &str = include_str!("manifests/deployment.in.yaml");
const FLAGS: [&str; 2] = ["--issuer=https://issuer.example.com", "--audience=a"];

#[test]
fn the_callers_environment_leaks_into_no_manifest() {
    let expected = injected(&FLAGS, DEPLOYMENT).stdout;
    for variable in [
        ("CLAIMGATE_LISTEN", "0.0.0.0:9999"),
        ("CLAIMGATE_LISTEN", "unix:/run/gate.sock"),
        ("CLAIMGATE_DRAIN_DELAY", "99s"),
        ("CLAIMGATE_ADMIN_LISTEN", "127.0.0.1:8080"),
        ("CLAIMGATE_HEALTH_LISTEN", "off"),
        ("CLAIMGATE_AUDIENCE", ""),
        ("CLAIMGATE_LEEWAY", "nonsense"),
        ("CLAIMGATE_TLS_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_FILE", "/nonexistent"),
    ] {
        let done = inject_in(&[variable], &FLAGS, DEPLOYMENT);
        assert_eq!((done.code, &*done.stdout), (Some(0), &*expected), "{variable:?}: {}", done.stderr);
    }
}

#[test]
fn a_list_reaches_the_gate_as_it_was_meant() {
    let issuer = FLAGS[0];
    for (flags, expected) in [
        (&[issuer, "--audience=a,b"][..], &["--audience=a", "--audience=b"][..]),
        (&[issuer, "--audience=a,b", "--audience=c"], &["--audience=a,b", "--audience=c"]),
        // Once alone, the gate would split it.
        (&[issuer, "--audience=a,b", "--audience=a,b"], &["--audience=a,b", "--audience=a,b"]),
    ] {
        let done = injected(flags, DEPLOYMENT).stdout;
        let words = done.lines().filter_map(|line| line.trim().strip_prefix("- ")).map(|word| word.trim_matches('"'));
        let audiences: Vec<_> = words.filter(|word| word.starts_with("--audience")).collect();
        assert_eq!(audiences, expected, "{flags:?}");
    }
}

#[test]
fn flags_that_need_files_of_the_pod_are_taken_together() {
    let https = [FLAGS[0], "--upstream=https://127.0.0.1:8080"];
    for (flags, gate_flags) in [
        (FLAGS, &["--tls-cert-file=/tls/crt", "--tls-key-file=/tls/key", "--tls-min-version=1.3"][..]),
        (FLAGS, &["--tls-cert-file", "/tls/crt", "--tls-key-file", "/tls/key", "--tls-client-ca-file", "/tls/ca"]),
        (FLAGS, &["--tls-cert-file=/crt", "--tls-key-file=/key", "--tls-reload-interval=1m"]),
        (FLAGS, &["--jwks-cache-dir=/cache", "--jwks-bearer-token-file=/token", "--issuer-ca-file=/ca"]),
        (https, &["--upstream-ca-file=/ca", "--upstream-client-cert-file=/crt", "--upstream-client-key-file=/key"]),
    ] {
        let done = inject(&[&flags[..], &["--"], gate_flags].concat(), DEPLOYMENT);
        assert_eq!(done.code, Some(0), "{gate_flags:?}: {}", done.stderr);
        for word in gate_flags {
            assert!(done.stdout.contains(word), "{word}: {}", done.stdout);
        }
    }
}

#[test]
fn flags_that_do_not_belong_together_are_refused_though_their_files_are_elsewhere() {
    for (gate_flags, problem) in [
        (&["--tls-cert-file=/tls/crt"][..], "--tls-cert-file: a certificate needs its key"),
        (&["--tls-key-file=/tls/key"], "--tls-key-file: without a certificate there is no TLS"),
        (&["--tls-cert-file=/crt", "--tls-key-file=/key", "--tls-min-version=1.1"], "--tls-min-version '1.1'"),
        (&["--upstream-ca-file=/ca"], "it is for --upstream https://"),
        (&["--issuer-ca-file="], "--issuer-ca-file '': it is empty"),
    ] {
        let done = inject(&[&FLAGS[..], &["--"], gate_flags].concat(), DEPLOYMENT);
        assert_eq!(done.code, Some(2), "{gate_flags:?}: {}", done.stderr);
        assert!(done.stderr.contains(problem), "{gate_flags:?}: {}", done.stderr);
    }
}
