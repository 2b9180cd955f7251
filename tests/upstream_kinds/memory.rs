//! Nothing is buffered on the way to or from HTTP/2 or TLS either.

use crate::support::client::request;
use crate::support::origin::{is_pattern, pattern};
use crate::support::{Binary, Certificate, Client, Http2Origin, Http2Reply, Issuer, eventually, stands_still};

const GIB: u64 = 1 << 30;
const MAX_GROWTH_IN_KIB: u64 = 4 * 1024;

struct Path {
    issuer: Issuer,
    origin: Http2Origin,
    binary: Binary,
}

impl Path {
    async fn start(certificate: Option<&Certificate>) -> Self {
        let issuer = Issuer::start();
        let origin = certificate.map_or_else(Http2Origin::start, Http2Origin::start_tls);
        let (at, url) = (issuer.url(), origin.url());
        let mut flags = vec!["--issuer", &*at, "--upstream", &url, "--workers", "1"];
        flags.extend(certificate.iter().flat_map(|own| ["--upstream-ca-file", own.path()]));
        let path = Self { issuer, binary: Binary::start(&flags), origin };
        // What the first request and a small body need is not what a large one costs.
        path.origin.reply(Http2Reply::pattern(1 << 20));
        let mut client = path.client("POST", "Content-Length: 1048576\r\n").await;
        for _ in 0..16 {
            client.send(&pattern(0, 65_536)).await;
        }
        assert_eq!(client.response().await.body.len(), 1 << 20);
        path
    }

    async fn client(&self, method: &str, fields: &str) -> Client {
        let mut client = Client::connect(self.binary.addr().await).await;
        client.send(request(method, "/", Some(&self.issuer.token().sign()), fields)).await;
        client
    }

    fn growth_since(&self, before: u64) -> u64 {
        self.binary.memory("VmHWM").saturating_sub(before)
    }
}

#[tokio::test]
async fn an_upload_and_a_download_of_1_gib_take_no_memory() {
    up_and_down(&Path::start(None).await, GIB).await;
}

#[tokio::test]
async fn large_bodies_in_tls_take_no_memory() {
    up_and_down(&Path::start(Some(&Certificate::new())).await, GIB / 16).await;
}

async fn up_and_down(path: &Path, size: u64) {
    path.origin.reply(Http2Reply::pattern(size));
    let before = path.binary.memory("VmHWM");
    let mut client = path.client("POST", &format!("Content-Length: {size}\r\n")).await;
    let mut sent = 0;
    while sent < size {
        let bytes = pattern(sent, usize::try_from((size - sent).min(65_536)).unwrap());
        client.send(bytes).await;
        sent += bytes.len() as u64;
    }
    assert_eq!(client.response_head().await.status, 200);
    let received = path.origin.last();
    assert_eq!((received.body_length, received.is_pattern), (size, true));
    let mut received = 0;
    while received < size {
        let bytes = client.some().await;
        assert!(!bytes.is_empty() && is_pattern(received, &bytes), "after {received} bytes");
        received += bytes.len() as u64;
    }
    let growth = path.growth_since(before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn whoever_sends_is_held_back_when_the_other_does_not_read() {
    let path = Path::start(None).await;
    let before = path.binary.memory("VmHWM");
    // The client.
    path.origin.reply(Http2Reply::never());
    let mut client = path.client("POST", &format!("Content-Length: {GIB}\r\n")).await;
    let (mut sent, mut last) = (0_u64, tokio::time::Instant::now());
    eventually("the client is held back", async || {
        if let Some(count) = client.send_at_once(pattern(sent, 65_536)) {
            sent += count as u64;
            last = tokio::time::Instant::now();
        }
        last.elapsed().as_millis() > 500
    })
    .await;
    // The origin.
    path.origin.reply(Http2Reply::pattern(GIB));
    let mut silent = path.client("GET", "").await;
    assert_eq!(silent.response_head().await.status, 200);
    let written = stands_still("the origin is held back", || path.origin.written()).await;
    assert!(sent < GIB / 8 && written < GIB / 8, "{sent} {written}");
    let growth = path.growth_since(before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}
