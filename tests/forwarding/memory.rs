//! Nothing is buffered: bodies far larger than memory may pass.

use tokio::time::Instant;

use crate::support::origin::{is_pattern, pattern};
use crate::support::{Binary, Client, Issuer, Origin, Reply, client, eventually};

const GIB: u64 = 1 << 30;
const MAX_GROWTH_IN_KIB: u64 = 4 * 1024;

struct Path {
    issuer: Issuer,
    origin: Origin,
    binary: Binary,
}

impl Path {
    async fn start() -> Self {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--workers", "1"]);
        let path = Self { issuer, origin, binary };
        // What the first request and a small body need is not what a large one costs.
        let mut client = path.client("POST", "Content-Length: 1048576\r\n").await;
        for _ in 0..16 {
            client.send(&pattern(0, 65_536)).await;
        }
        assert_eq!(client.response().await.status, 200);
        path
    }

    async fn client(&self, method: &str, fields: &str) -> Client {
        let mut client = Client::connect(self.binary.addr().await).await;
        client.send(client::request(method, "/", Some(&self.issuer.token().sign()), fields)).await;
        client
    }
}

#[tokio::test]
async fn an_upload_of_1_gib_takes_no_memory() {
    let path = Path::start().await;
    let before = path.binary.memory("VmHWM");
    let mut client = path.client("POST", &format!("Content-Length: {GIB}\r\n")).await;
    let mut sent = 0;
    while sent < GIB {
        let bytes = pattern(sent, usize::try_from((GIB - sent).min(65_536)).unwrap());
        client.send(bytes).await;
        sent += bytes.len() as u64;
    }
    assert_eq!(client.response().await.status, 200);
    let received = path.origin.last();
    assert_eq!((received.body_length, received.is_pattern), (GIB, true));
    let growth = path.binary.memory("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn a_download_of_1_gib_takes_no_memory() {
    let path = Path::start().await;
    path.origin.reply(Reply::pattern(GIB));
    let before = path.binary.memory("VmHWM");
    let mut client = path.client("GET", "").await;
    assert_eq!(client.response_head().await.status, 200);
    let mut received = 0;
    while received < GIB {
        let bytes = client.some().await;
        assert!(!bytes.is_empty() && is_pattern(received, &bytes), "after {received} bytes");
        received += bytes.len() as u64;
    }
    let growth = path.binary.memory("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn a_client_is_held_back_when_the_origin_does_not_read() {
    let path = Path::start().await;
    path.origin.reply(Reply::early("").hold());
    let before = path.binary.memory("VmHWM");
    let mut client = path.client("POST", &format!("Content-Length: {GIB}\r\n")).await;
    let mut sent = 0;
    let mut last = Instant::now();
    eventually("the client is held back", async || {
        let bytes = pattern(sent, 65_536);
        if let Some(count) = client.send_at_once(bytes) {
            sent += count as u64;
            last = Instant::now();
        }
        last.elapsed().as_millis() > 300
    })
    .await;
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    let growth = path.binary.memory("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn the_origin_is_held_back_when_the_client_does_not_read() {
    let path = Path::start().await;
    path.origin.reply(Reply::pattern(GIB));
    let before = path.binary.memory("VmHWM");
    let mut client = path.client("GET", "").await;
    assert_eq!(client.response_head().await.status, 200);
    let mut seen = (path.origin.written(), Instant::now());
    eventually("the origin is held back", async || {
        let written = path.origin.written();
        if written > seen.0 {
            seen = (written, Instant::now());
        }
        seen.1.elapsed().as_millis() > 300
    })
    .await;
    assert!(seen.0 < 64 << 20, "{} bytes were taken", seen.0);
    let growth = path.binary.memory("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn silent_connections_give_their_buffers_back_and_are_answered_again() {
    const MANY: u64 = 300;
    let path = Path::start().await;
    let mut clients = Vec::new();
    let mut memory = Vec::new();
    // On a busy machine some of the first are silent before the last have come: then the next more tell.
    for _ in 0..4 {
        for _ in 0..MANY {
            let mut client = path.client("GET", "").await;
            assert_eq!(client.response().await.status, 200);
            clients.push(client);
        }
        memory.push(path.binary.memory("VmRSS"));
        // That takes 200 ms, and nothing outside shows it but the memory.
        let answered = Instant::now();
        eventually("they are silent", async || answered.elapsed().as_millis() > 500).await;
    }
    // A buffer of hyper's alone has 8 KiB.
    let growth = memory.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min().unwrap_or(u64::MAX);
    assert!(growth < MANY * 6, "{growth} KiB for {MANY} connections more");
    let token = path.issuer.token().sign();
    for client in &mut clients {
        client.send(client::request("GET", "/", Some(&token), "")).await;
        assert_eq!(client.response().await.status, 200);
    }
}
