//! From the signal to the end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Binary, Client, Issuer, Origin, Reply, client, eventually};

struct Service {
    issuer: Issuer,
    origin: Origin,
    binary: Binary,
    token: String,
}

impl Service {
    async fn start(flags: &[&str]) -> Self {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let (issuer_url, origin_url) = (issuer.url(), origin.url());
        let flags = [&["--issuer", &*issuer_url, "--upstream", &*origin_url, "--workers", "2"], flags].concat();
        let binary = Binary::start(&flags);
        let admin = binary.admin_addr().await;
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        let token = issuer.token().sign();
        Self { issuer, origin, binary, token }
    }

    async fn client(&self) -> Client {
        Client::connect(self.binary.addr().await).await
    }

    fn request(&self, target: &str) -> String {
        client::request("GET", target, Some(&self.token), "")
    }

    /// A request that the origin has, and does not answer yet.
    async fn in_flight(&self) -> Client {
        self.origin.reply_at("/held", Reply::ok("late").held());
        let begun = self.origin.begun();
        let mut client = self.client().await;
        client.send(self.request("/held")).await;
        self.origin.has_begun(begun + 1).await;
        client
    }

    async fn is_draining(&self) {
        let admin = self.binary.admin_addr().await;
        eventually("it says that it goes away", async || client::get_local(admin, "/readyz").await.status == 503).await;
    }
}

#[tokio::test]
async fn under_load_sigterm_loses_no_request_and_exits_0() {
    let service = Service::start(&["--drain-delay", "500ms"]).await;
    let addr = service.binary.addr().await;
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(load(addr, service.request("/")));
    }
    service.origin.has_begun(200).await;
    service.binary.signal("TERM");
    let answered: usize = clients.join_all().await.into_iter().sum();
    assert_eq!(answered, service.origin.begun());
    assert_eq!(service.binary.wait().await.code, Some(0));
}

/// Asks until nobody takes its connections any more; how many answers it got.
async fn load(addr: SocketAddr, request: String) -> usize {
    let mut answered = 0;
    while let Some(mut client) = Client::try_connect(addr).await {
        let mut is_first = true;
        loop {
            client.send(&request).await;
            // A connection that is made in the last moment may end before it was used; one in use never does.
            if is_first && client.some_or_end().await {
                return answered;
            }
            is_first = false;
            let response = client.response().await;
            assert_eq!((response.status, &*response.text()), (200, "ok"));
            answered += 1;
            if response.header("connection") == Some("close") {
                assert!(client.is_closed().await);
                break;
            }
        }
    }
    answered
}

#[tokio::test]
async fn what_is_in_flight_is_answered_and_the_exit_code_is_0() {
    let service = Service::start(&[]).await;
    let mut in_flight = service.in_flight().await;
    service.binary.signal("TERM");
    service.is_draining().await;
    service.origin.release();
    let response = in_flight.response().await;
    assert_eq!((response.status, &*response.text()), (200, "late"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(service.binary.wait().await.code, Some(0));
}

#[tokio::test]
async fn thirty_requests_in_flight_are_all_answered_and_the_end_waits_for_the_last() {
    let service = Service::start(&[]).await;
    let mut in_flight = Vec::new();
    for _ in 0..30 {
        in_flight.push(service.in_flight().await);
    }
    service.binary.signal("TERM");
    service.is_draining().await;
    let says = |what: &str| service.binary.log().iter().any(|line| line["msg"] == what);
    eventually("the log says so", async || says("draining")).await;
    assert!(!says("stopped"), "{:?}", service.binary.stderr());
    service.origin.release();
    let mut answered = JoinSet::new();
    for mut client in in_flight {
        answered.spawn(async move {
            let response = client.response().await;
            (response.status, response.text(), client.is_closed_in_order().await)
        });
    }
    for answer in answered.join_all().await {
        assert_eq!(answer, (200, "late".to_owned(), true));
    }
    // Within a patience that is shorter than the grace period: nothing is left to wait for.
    let ended = service.binary.wait().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.lines().last().is_some_and(|line| line.contains("\"stopped\"")), "{}", ended.stderr);
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_cut_and_the_exit_code_is_143() {
    let service = Service::start(&["--shutdown-grace-period", "1s"]).await;
    let mut in_flight = service.in_flight().await;
    let start = Instant::now();
    service.binary.signal("TERM");
    assert!(in_flight.is_closed().await);
    let seconds = start.elapsed().as_secs_f64();
    assert!((0.9..4.0).contains(&seconds), "{seconds} s");
    assert_eq!(service.binary.wait().await.code, Some(143));
}

#[tokio::test]
async fn a_body_in_transit_is_not_cut_within_the_grace_period() {
    let service = Service::start(&[]).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
    service.origin.reply_at("/held", Reply::raw(head).hold().then("later"));
    let mut client = service.client().await;
    client.send(service.request("/held")).await;
    assert_eq!(client.response_head().await.status, 200);
    service.binary.signal("TERM");
    service.is_draining().await;
    service.origin.release();
    assert_eq!(client.bytes(10).await, b"firstlater");
    assert!(client.is_closed().await);
    assert_eq!(service.binary.wait().await.code, Some(0));
}

#[tokio::test]
async fn idle_and_silent_connections_do_not_delay_the_end() {
    let service = Service::start(&[]).await;
    let mut silent = service.client().await;
    let mut idle = service.client().await;
    idle.send(service.request("/")).await;
    assert_eq!(idle.response().await.status, 200);
    let start = Instant::now();
    service.binary.signal("TERM");
    assert!(idle.is_closed().await && silent.is_closed().await);
    assert_eq!(service.binary.wait().await.code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn new_connections_are_served_during_the_drain_delay() {
    let service = Service::start(&["--drain-delay", "5s"]).await;
    let mut idle = service.client().await;
    idle.send(service.request("/")).await;
    assert_eq!(idle.response().await.header("connection"), None);
    service.binary.signal("TERM");
    service.is_draining().await;
    for mut client in [service.client().await, idle] {
        client.send(service.request("/")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert!(client.is_closed().await);
    }
    let refused = client::get(service.binary.addr().await, "/", None).await;
    assert_eq!((refused.status, refused.header("connection")), (401, Some("close")));
    drop(service.issuer);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let service = Service::start(&[]).await;
    let mut in_flight = service.in_flight().await;
    service.binary.signal("TERM");
    service.is_draining().await;
    service.binary.signal("TERM");
    assert!(in_flight.is_closed().await);
    assert_eq!(service.binary.wait().await.code, Some(143));
}

#[tokio::test]
async fn a_client_that_has_its_answer_and_does_not_close_is_not_cut() {
    let service = Service::start(&["--shutdown-grace-period", "300ms"]).await;
    let mut client = service.client().await;
    let fields = "Content-Length: 4\r\nConnection: close\r\n";
    client.send(client::request("POST", "/", Some(&service.token), fields) + "body").await;
    assert_eq!(client.response().await.status, 200);
    // It is waited for longer than for that.
    service.binary.signal("TERM");
    assert_eq!(service.binary.wait().await.code, Some(0));
}

#[tokio::test]
async fn sigint_ends_it_in_the_same_way() {
    let service = Service::start(&[]).await;
    service.binary.signal("INT");
    assert_eq!(service.binary.wait().await.code, Some(0));
}
