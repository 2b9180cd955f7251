//! What cannot be injected is refused whole, and the message names the fix: code 2 for flags, 1 for what was read.

use super::inject;

const DEPLOYMENT: &str = include_str!("manifests/deployment.in.yaml");
const STATEFULSET: &str = include_str!("manifests/statefulset.in.yaml");
const ISSUER: &str = "--issuer=https://issuer.example.com";

#[test]
fn a_refusal_writes_nothing_and_names_the_fix() {
    let owned = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, ownerReferences: [{name: b}]}\n";
    let own = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: claimgate}]}\n";
    let taken = DEPLOYMENT.replace("8080", "9181");
    for (code, flags, input, told) in [
        (2, &[][..], DEPLOYMENT, "--issuer: it is required, unless with --remove"),
        (1, &[ISSUER], "", "there is no Deployment"),
        (1, &[ISSUER], owned, "there is no Deployment"),
        (1, &[ISSUER], own, "pod/a: it has a container named claimgate that is not from here"),
        (1, &[ISSUER], "kind: [", "standard input: YAML: "),
        (1, &[ISSUER], "{\"kind\"", "standard input: JSON: "),
        (1, &[ISSUER], STATEFULSET.replace("ports:", "x:").leak(), "Use --container with one of helper, api"),
        (1, &[ISSUER, "--container=other"], STATEFULSET, "Use --container with one of helper, api"),
        (1, &[ISSUER, "--container=helper"], STATEFULSET, "Use --upstream http://127.0.0.1:PORT"),
        (1, &[ISSUER], &taken, "port 9181 is in use there, and the gate needs it; give the gate others after --"),
        (2, &[ISSUER, "--pre-stop=wait"], DEPLOYMENT, "it must be sleep, exec or none"),
        (2, &["--issuer=http://issuer.example.com"], DEPLOYMENT, "use https://, or --insecure-issuer"),
        (2, &[ISSUER, "--", "--leeway=1h"], DEPLOYMENT, "--leeway '1h': it must be from 0s to 5m"),
        (2, &[ISSUER, "--", "--no-such-flag"], DEPLOYMENT, "unexpected argument '--no-such-flag'"),
        (2, &[ISSUER, "--", "--health-listen=off"], DEPLOYMENT, "--health-listen cannot be off"),
        (2, &[ISSUER, "--", "--listen=unix:/run/gate.sock"], DEPLOYMENT, "nor --listen a socket"),
    ] {
        let refused = inject(flags, input);
        assert_eq!((refused.code, &*refused.stdout), (Some(code), ""), "{flags:?}: {}", refused.stderr);
        assert!(
            refused.stderr.starts_with("error: ") && refused.stderr.contains(told),
            "{flags:?}: {}",
            refused.stderr
        );
    }
}

#[test]
fn a_spoilt_annotation_does_not_keep_the_gate() {
    let injected = inject(&[ISSUER], DEPLOYMENT).stdout;
    let line = injected.lines().find(|line| line.contains("claimgate/original")).unwrap();
    let spoilt = injected.replacen(line, "    claimgate/original: spoilt", 1);
    let removed = inject(&["--remove"], &spoilt);
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert!(!removed.stdout.contains("name: claimgate"), "{}", removed.stdout);
}
