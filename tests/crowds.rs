//! What peers without a token may hold together: beyond it the oldest goes, and a usual request passes all the while.

use crate::support::http2::{self, Http2, get};
use crate::support::{Binary, Client, Exposition, Issuer, Origin, client, eventually};

/// A house with one worker.
struct Scene {
    issuer: Issuer,
    _origin: Origin,
    binary: Binary,
}

impl Scene {
    async fn start() -> Self {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let house = ["--issuer", &*issuer.url(), "--upstream", &*origin.url(), "--workers", "1"].map(str::to_owned);
        let house: Vec<_> = house.iter().map(String::as_str).collect();
        let binary = Binary::start(&[&house[..], &["--header-timeout", "1m"]].concat());
        let scene = Self { issuer, _origin: origin, binary };
        let admin = scene.binary.admin_addr().await;
        eventually("the keys are here", async || Exposition::scrape(admin).await.value("claimgate_ready") > 0.0).await;
        scene
    }

    /// A good request with so many bytes more.
    fn good(&self, more: usize) -> String {
        client::request("GET", "/", Some(&self.issuer.token().sign()), &format!("X: {}\r\n", "x".repeat(more)))
    }

    async fn connect(&self) -> Client {
        Client::connect(self.binary.addr().await).await
    }

    /// So many clients that have sent as much of a head as fits, and not its end.
    async fn unfinished(&self, count: usize) -> Vec<Client> {
        let head = client::request("GET", "/", None, &format!("X: {}\r\n", "x".repeat(60_000)));
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = self.connect().await;
            client.send(&head[..head.len() - 2]).await;
            clients.push(client);
        }
        clients
    }
}

#[tokio::test]
async fn heads_without_an_end_hold_no_more_than_16_mib_and_a_good_request_passes() {
    let scene = Scene::start().await;
    let good = scene.good(0);
    assert_eq!(client::exchange(scene.binary.addr().await, &good).await.status, 200);
    let before = scene.binary.memory("VmRSS");
    let mut clients = scene.unfinished(1_500).await;
    let oldest = clients[0].response().await;
    assert_eq!((oldest.status, &*oldest.denial().reason), (503, "overloaded"));
    assert_eq!((oldest.header("retry-after"), oldest.header("connection")), (Some("1"), Some("close")));
    for more in [0, 3_000, 30_000] {
        let good = scene.good(more);
        assert_eq!(client::exchange(scene.binary.addr().await, &good).await.status, 200, "in one piece: {more}");
        let mut client = scene.connect().await;
        for _ in 0..3 {
            let (first, second) = good.split_at(good.len() - 20);
            client.send(first).await;
            client.send(second).await;
            assert_eq!(client.response().await.status, 200, "in two pieces: {more}");
        }
    }
    let growth = scene.binary.memory("VmRSS").saturating_sub(before);
    assert!(growth < 48 * 1024, "{growth} KiB for 1,500 heads of 60 KiB");
    // The latest is not the worse for it.
    let latest = clients.last_mut().unwrap();
    latest.send("\r\n").await;
    assert_eq!(latest.response().await.denial().reason, "token_missing");
}

#[tokio::test]
async fn a_head_that_is_done_with_holds_nothing() {
    let scene = Scene::start().await;
    // Together far more than all may hold: refused, abandoned, and answered.
    for _ in 0..4 {
        let mut clients = scene.unfinished(100).await;
        for client in clients.iter_mut().take(50) {
            client.send("\r\n").await;
            assert_eq!(client.response().await.denial().reason, "token_missing");
        }
    }
    let mut waits = scene.unfinished(1).await;
    let mut others = scene.unfinished(100).await;
    for client in waits.iter_mut().chain(&mut others) {
        client.send("\r\n").await;
        assert_eq!(client.response().await.denial().reason, "token_missing");
    }
}

#[tokio::test]
async fn http_2_connections_that_only_got_refusals_are_let_go_when_they_are_many() {
    let scene = Scene::start().await;
    let addr = scene.binary.addr().await;
    let token = scene.issuer.token().sign();
    let mut good = Http2::connect(addr).await;
    assert_eq!(good.exchange(get("/", Some(&token))).await.status, 200);
    let mut strangers = Vec::new();
    for _ in 0..600 {
        let mut stranger = Http2::connect(addr).await;
        assert_eq!(http2::reason(&stranger.exchange(get("/", None)).await), "token_missing");
        strangers.push(stranger);
    }
    let mut latest = strangers.pop().unwrap();
    let oldest = strangers.remove(0);
    assert!(oldest.ended().await.is_ok(), "after GOAWAY");
    assert_eq!(http2::reason(&latest.exchange(get("/", None)).await), "token_missing");
    assert_eq!(latest.exchange(get("/", Some(&token))).await.status, 200);
    assert_eq!(
        good.exchange(get("/", Some(&token))).await.status,
        200,
        "the oldest of all, which has a right to be here"
    );
    let open = async || Exposition::scrape(scene.binary.admin_addr().await).await.value("claimgate_client_connections");
    eventually("no more are here than may be", async || open().await < 520.0).await;
}
