//! Probes while others ask too: no peer keeps the kubelet out.

use std::fs;
use std::net::SocketAddr;

use crate::support::{Client, Gate, House, Reply, client, eventually};

/// What a peer does with its connection, beside holding it.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Silent,
    HalfAHead,
    /// Asks once, and goes on holding the connection.
    Answered,
    /// Asks many times, and reads nothing.
    Deaf,
}

impl Peer {
    async fn hold(self, addr: SocketAddr) -> Client {
        let mut client = Client::connect(addr).await;
        let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
        match self {
            Self::Silent => {}
            // When it is closed at once, that is what is wanted.
            Self::HalfAHead => drop(client.try_send("GET /livez HTTP/1.1\r\nHost: loc").await),
            Self::Answered => {
                if client.try_send(request).await {
                    client.some_or_end().await;
                }
            }
            Self::Deaf => drop(client.try_send(request.repeat(100)).await),
        }
        client
    }
}

async fn probes_are_answered(gate: &Gate, peer: Peer, count: usize) {
    for addr in [gate.health_addr(), gate.admin_addr()] {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(peer.hold(addr).await);
        }
        for path in ["/livez", "/readyz", "/startupz"].into_iter().cycle().take(9) {
            assert_eq!(client::get_local(addr, path).await.status, 200, "{peer:?} at {addr}: {path}");
            for _ in 0..16 {
                held.push(peer.hold(addr).await);
            }
        }
    }
}

#[tokio::test]
async fn probes_are_answered_while_silent_connections_take_every_place() {
    let house = House::start(&["--health-listen", "127.0.0.1:0"]).await;
    probes_are_answered(&house.gate, Peer::Silent, 500).await;
}

#[tokio::test]
async fn probes_are_answered_while_others_hold_on_to_what_they_began() {
    let house = House::start(&["--health-listen", "127.0.0.1:0"]).await;
    for peer in [Peer::HalfAHead, Peer::Answered, Peer::Deaf] {
        probes_are_answered(&house.gate, peer, 300).await;
    }
}

#[tokio::test]
async fn a_connection_with_a_request_in_progress_is_not_the_one_that_goes() {
    let flags = ["--health-listen", "127.0.0.1:0", "--origin-health-check", "/slow"];
    let house = House::start(&flags).await;
    house.origin.reply_at("/slow", Reply::ok("late").held());
    let health = house.gate.health_addr();
    let mut asked = Client::connect(health).await;
    let begun = house.origin.begun();
    asked.send("GET /healthz/origin?path=/slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    house.origin.has_begun(begun + 1).await;
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(Peer::Silent.hold(health).await);
    }
    // They have been accepted, and many of them closed.
    assert_eq!(client::get_local(health, "/livez").await.status, 200);
    eventually("the oldest of the silent ones is closed", async || held[0].is_closed().await).await;
    house.origin.release();
    assert_eq!(asked.response().await.status, 200);
}

#[tokio::test]
async fn requests_in_progress_everywhere_keep_no_probe_out() {
    let flags = ["--health-listen", "127.0.0.1:0", "--origin-health-check", "/never"];
    let house = House::start(&flags).await;
    house.origin.reply_at("/never", Reply::never());
    let health = house.gate.health_addr();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(health).await;
        client.send("GET /healthz/origin?path=/never HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        held.push(client);
    }
    house.origin.has_begun(128).await;
    for _ in 0..3 {
        assert_eq!(client::get_local(health, "/livez").await.status, 200);
    }
}

#[tokio::test]
async fn a_probe_with_a_head_of_8_kib_is_refused() {
    let house = House::start(&["--health-listen", "127.0.0.1:0"]).await;
    let head = |size| format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(size));
    for addr in [house.gate.health_addr(), house.gate.admin_addr()] {
        assert_eq!(client::exchange(addr, head(4 * 1024)).await.status, 200);
        assert_eq!(client::exchange(addr, head(8 * 1024)).await.status, 431);
    }
}

#[test]
fn no_network_policy_that_is_shipped_opens_the_health_port() {
    for file in ["kustomize/component/networkpolicy.yaml", "helm/claimgate/templates/networkpolicy.yaml"] {
        let policy = fs::read_to_string(format!("deploy/{file}")).unwrap();
        let rules: Vec<_> = policy.lines().map(str::trim).filter(|line| line.starts_with("- port:")).collect();
        assert_eq!(rules.len(), 1, "{file}: {rules:?}");
        assert!(matches!(rules[0], "- port: 4180" | "- port: {{ int64 .Values.port }}"), "{file}: {rules:?}");
    }
}
