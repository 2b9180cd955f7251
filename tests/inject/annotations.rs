//! The annotation that holds what was changed: everybody who may write manifests may have written it.

use super::injected;

const FLAGS: [&str; 3] = ["--issuer=https://issuer.example.com", "--audience=a", "--pre-stop=none"];

/// A Deployment with this annotation and this one container.
fn deployment(annotation: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\n  annotations:\n    claimgate/original: \
         '{annotation}'\nspec:\n  template:\n    metadata: {{labels: {{app: app}}}}\n    spec:\n      containers:\n      - \
         {container}\n"
    )
}

const CONTAINER: &str = "{name: app, image: 'app:1', ports: [{containerPort: 8080}]}";
const PROBED: &str = "{name: app, image: 'app:1', ports: [{containerPort: 8080}], livenessProbe: {httpGet: {path: \
                      '/healthz/origin?path=/l', port: 9181}, periodSeconds: 5}}";

#[test]
fn a_forged_annotation_changes_nothing_but_how_a_probe_asks() {
    for (case, annotation, container) in [
        ("an image", r#"{"probes":{"app":{"image":"evil.example/x"}}}"#, CONTAINER),
        ("privileges", r#"{"probes":{"app":{"securityContext":{"privileged":true,"evil":1}}}}"#, CONTAINER),
        ("a command", r#"{"probes":{"app":{"command":["/evil"]}}}"#, CONTAINER),
        ("a hook", r#"{"probes":{"app":{"lifecycle":{"postStart":{"exec":{"command":["/evil"]}}}}}}"#, CONTAINER),
        (
            "a probe that was not there",
            r#"{"probes":{"app":{"readinessProbe":{"httpGet":{"path":"/evil","port":1}}}}}"#,
            CONTAINER,
        ),
        ("a program as a probe", r#"{"probes":{"app":{"livenessProbe":{"exec":{"command":["/evil"]}}}}}"#, PROBED),
        (
            "a program beside a probe",
            r#"{"probes":{"app":{"livenessProbe":{"exec":{"command":["/evil"]},"grpc":{"port":9}}}}}"#,
            PROBED,
        ),
        (
            "another host",
            r#"{"probes":{"app":{"livenessProbe":{"httpGet":{"host":"evil.example","port":1}}}}}"#,
            PROBED,
        ),
        ("objects for numbers", r#"{"probes":{"app":{"livenessProbe":{"httpGet":{"port":{"evil":1}}}}}}"#, PROBED),
    ] {
        for flags in [&["--remove"][..], &FLAGS] {
            let done = injected(flags, &deployment(annotation, container)).stdout;
            assert!(!done.contains("evil") && !done.contains("privileged: true"), "{case}: {done}");
            assert!(done.contains("image: app:1"), "{case}: {done}");
        }
    }
}

#[test]
fn a_probe_that_is_put_back_keeps_the_timing_that_it_has_now() {
    let annotation = r#"{"probes":{"app":{"livenessProbe":{"httpGet":{"path":"/l","port":8080},"periodSeconds":9}}}}"#;
    let removed = injected(&["--remove"], &deployment(annotation, PROBED)).stdout;
    assert!(removed.contains("path: /l\n") && removed.contains("port: 8080"), "{removed}");
    assert!(removed.contains("periodSeconds: 5"), "{removed}");
}

#[test]
fn a_hook_that_does_more_than_sleep_is_not_taken_away() {
    let annotation = r#"{"probes":{},"preStop":["app"]}"#;
    for (hook, stays) in [
        ("{sleep: {seconds: 7}}", false),
        ("{exec: {command: [sleep, '7']}}", false),
        ("{exec: {command: [/drain]}}", true),
        ("{httpGet: {path: /drain, port: 8080}}", true),
    ] {
        let container = CONTAINER.replace("image:", &format!("lifecycle: {{preStop: {hook}}}, image:"));
        let removed = injected(&["--remove"], &deployment(annotation, &container)).stdout;
        assert_eq!(removed.contains("preStop"), stays, "{hook}: {removed}");
    }
}

#[test]
fn a_forged_annotation_of_a_service_puts_back_a_port_or_nothing() {
    for (original, target, expected) in [
        (r#"{"80/TCP":"http"}"#, "4180", "targetPort: http"),
        (r#"{"80/TCP":8080}"#, "4180", "targetPort: 8080"),
        (r#"{"80/TCP":{"evil":1}}"#, "4180", "targetPort: 4180"),
        (r#"{"80/TCP":["evil"]}"#, "4180", "targetPort: 4180"),
        (r#"{"80/TCP":"evil"}"#, "web", "targetPort: web"),
    ] {
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: app\n  annotations:\n    claimgate/original: '{original}'\n\
             spec:\n  ports:\n  - port: 80\n    targetPort: {target}\n"
        );
        let removed = injected(&["--remove"], &service).stdout;
        assert!(removed.contains(expected) && !removed.contains("evil"), "{original}: {removed}");
    }
}
