//! What comes behind the head of a request that waits is left where it is: in the kernel, and at the client.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::authority::connect;
use crate::support::http2::{PREFACE, fields_block, frame};
use crate::support::{
    Authority, Binary, Client, Exposition, Issuer, Origin, Reply, Secret, client, eventually, stands_still,
};

const MANY: u64 = 200;
/// More than one read brings, and less than the kernel takes.
const BEHIND: usize = 60 * 1024;
/// In KiB: a request and what one read brings; over TLS a record more; with HTTP/2 what a connection takes itself.
const MOST: u64 = 24;
const MOST_OF_TLS: u64 = 80;
const MOST_OF_HTTP2: u64 = 72;

/// A gate whose issuer is slow to tell of new keys, and whose origin never answers.
struct Scene {
    issuer: Issuer,
    origin: Origin,
    binary: Binary,
}

impl Scene {
    async fn start(flags: &[&str]) -> Self {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        origin.reply(Reply::never());
        let (issuer_url, origin_url) = (issuer.url(), origin.url());
        let house = ["--issuer", &*issuer_url, "--upstream", &*origin_url, "--workers", "1", "--jwks-timeout", "30s"];
        let open = ["--upstream-connect-timeout", "1m", "--skip-auth-route", "/open"];
        let scene = Self { issuer, origin, binary: Binary::start(&[&house[..], &open, flags].concat()) };
        let admin = scene.binary.admin_addr().await;
        eventually("the keys are here", async || Exposition::scrape(admin).await.value("claimgate_ready") > 0.0).await;
        scene.issuer.hang();
        scene
    }

    /// A request with a token of which only the issuer can say that no key verifies it.
    fn stranger(&self, number: u64, fields: &str) -> String {
        let token = self.issuer.token().header("kid", format!("stray-{number}")).sign();
        client::request("POST", "/", Some(&token), fields)
    }

    /// How many KiB each of many clients makes the gate hold that begin like this, and go on for as long as they can.
    async fn held_by_each(&self, begin: impl Fn(u64) -> Vec<u8>) -> u64 {
        self.held_by_each_over(connect_plain, begin).await
    }

    async fn held_by_each_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connect: impl AsyncFn(SocketAddr) -> Client<S>,
        begin: impl Fn(u64) -> Vec<u8>,
    ) -> u64 {
        let addr = self.binary.addr().await;
        let mut first = connect(addr).await;
        first.send(begin(MANY)).await;
        let memory = || self.binary.memory("VmRSS");
        let before = stands_still("memory at rest", memory).await;
        let mut clients = Vec::new();
        for number in 0..MANY {
            let mut client = connect(addr).await;
            client.send(begin(number)).await;
            clients.push(client);
        }
        stands_still("memory with all of them", memory).await;
        for client in &mut clients {
            // As much as the kernel takes.
            let _ = timeout(Duration::from_millis(20), client.try_send(vec![b'0'; BEHIND])).await;
        }
        stands_still("memory under pressure", memory).await.saturating_sub(before) / MANY
    }
}

async fn connect_plain(addr: SocketAddr) -> Client<TcpStream> {
    Client::over(connect(addr).await)
}

/// A request and what is sent with it in one go.
fn with(request: &str, behind: &[u8]) -> Vec<u8> {
    [request.as_bytes(), behind].concat()
}

#[tokio::test]
async fn a_request_that_waits_for_a_key_holds_nothing_of_what_comes_behind_it() {
    let scene = Scene::start(&[]).await;
    let junk = vec![b'G'; BEHIND];
    for (what, fields, behind) in [
        ("requests behind it", "", &junk[..]),
        ("its body", "Content-Length: 1000000\r\n", &junk),
        ("a body that it did not wait to send", "Content-Length: 1000000\r\nExpect: 100-continue\r\n", &junk),
        ("its chunks", "Transfer-Encoding: chunked\r\n", &b"1\r\nx\r\n".repeat(BEHIND / 6)),
    ] {
        let each = scene.held_by_each(|number| with(&scene.stranger(number, fields), behind)).await;
        assert!(each < MOST, "{what}: {each} KiB");
    }
}

#[tokio::test]
async fn a_request_that_waits_for_its_origin_holds_nothing_of_what_comes_behind_it() {
    let open = client::request("GET", "/open", None, "");
    let behind = open.repeat(BEHIND / open.len());
    for (what, flags) in [("for its answer", &[][..]), ("for a place there", &["--max-upstream-connections", "1"])] {
        let scene = Scene::start(flags).await;
        let each = scene.held_by_each(|_| with(&open, behind.as_bytes())).await;
        assert!(each < MOST, "{what}: {each} KiB");
        let begun = if flags.is_empty() { MANY + 1 } else { 1 };
        assert_eq!(scene.origin.begun() as u64, begun, "{what}");
    }
}

#[tokio::test]
async fn over_tls_a_request_that_waits_holds_a_record_of_what_comes_behind_it() {
    let authority = Authority::new();
    let secret = Secret::new(&authority.issue(), &authority);
    let flags = secret.flags();
    let scene = Scene::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let tls = authority.client();
    let each = scene
        .held_by_each_over(
            async |addr| tls.connect(addr).await,
            |number| with(&scene.stranger(number, ""), &vec![b'G'; BEHIND]),
        )
        .await;
    assert!(each < MOST_OF_TLS, "{each} KiB");
}

#[tokio::test]
async fn over_http_2_a_request_that_waits_holds_little_of_its_body() {
    let scene = Scene::start(&[]).await;
    let body = frame(0, 0, 1, &[0; 15_000]).repeat(4);
    let begin = |number| {
        let token = scene.issuer.token().header("kid", format!("stray-{number}")).sign();
        let authorization = format!("Bearer {token}");
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.test"),
            (":path", "/"),
            ("authorization", &authorization),
        ];
        [PREFACE, &frame(1, 0x4, 1, &fields_block(&fields)), &body].concat()
    };
    let each = scene.held_by_each(begin).await;
    assert!(each < MOST_OF_HTTP2, "{each} KiB");
}
