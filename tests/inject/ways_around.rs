//! What of a Service still leads around the gate is said, and only that.

use super::injected;

const FLAGS: [&str; 3] = ["--issuer=https://issuer.example.com", "--audience=a", "--pre-stop=none"];
const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: app}}
spec:
  containers:
  - name: app
    args: [--host=127.0.0.1]
    ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 8081}]
  - name: exporter
    ports: [{name: metrics, containerPort: 9100}]
";

fn with_port(port: &str) -> (String, String) {
    let service = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: app}}\nspec:\n  selector: {{app: app}}\n  ports:\n  - \
         {{port: 80, targetPort: http}}\n  - {port}\n"
    );
    let done = injected(&[&FLAGS[..], &["--container=app"]].concat(), &(POD.to_owned() + &service));
    (done.stdout, done.stderr)
}

#[test]
fn a_service_port_to_another_port_of_the_same_container_is_noted() {
    for (port, note) in [
        ("{port: 81, targetPort: admin}", Some("its port 81 leads to port admin (TCP) of pod/app around the gate")),
        ("{port: 81, targetPort: 8081}", Some("its port 81 leads to port 8081 (TCP) of pod/app around the gate")),
        ("{port: 8081}", Some("its port 8081 leads to port 8081 (TCP)")),
        ("{port: 81, targetPort: 7000}", Some("its port 81 leads to port 7000 (TCP)")),
        ("{port: 443, protocol: UDP, targetPort: http}", Some("its port 443 leads to port http (UDP)")),
        ("{port: 82, targetPort: metrics}", None),
        ("{port: 82, targetPort: 9100}", None),
        ("{port: 83, targetPort: claimgate}", None),
        ("{port: 84, targetPort: 8080}", None),
    ] {
        let (_, notes) = with_port(port);
        assert_eq!(notes.contains("around the gate"), note.is_some(), "{port}: {notes}");
        assert!(note.is_none_or(|note| notes.contains(note)), "{port}: {notes}");
    }
}

#[test]
fn a_port_that_is_not_tcp_is_left_where_it_is() {
    let (manifest, _) = with_port("{port: 443, protocol: UDP, targetPort: http}");
    assert!(manifest.contains("targetPort: http") && manifest.contains("targetPort: 4180"), "{manifest}");
}
