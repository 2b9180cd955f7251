//! Clients that go away while nothing is read from them.

use bytes::Bytes;

use crate::support::entrance::{AnyClient, Departure, Entrance, Way, fill};
use crate::support::http2::{Http2, post};
use crate::support::{Exposition, House, Reply, client, eventually};

/// Requests wait for it for as long as they like.
const ONE_PLACE: [&str; 6] = ["--max-upstream-connections", "1", "--workers", "1", "--upstream-connect-timeout", "30s"];
const THREE_PLACES: [&str; 6] =
    ["--max-upstream-connections", "3", "--workers", "1", "--upstream-connect-timeout", "30s"];

/// A house whose origin takes nothing of a body, and a way into it.
struct Deaf {
    entrance: Entrance,
    house: House,
    token: String,
}

impl Deaf {
    async fn start(way: Way, flags: &[&str]) -> Self {
        let entrance = Entrance::new(way);
        let way = entrance.flags();
        let flags: Vec<_> = way.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let house = House::start(&flags).await;
        house.origin.reply(Reply::early("").hold());
        let token = house.issuer.token().sign();
        Self { entrance, house, token }
    }

    /// Sends a request of which the origin gets the head.
    async fn ask(&self, departure: Departure, method: &str, fields: &str, behind: &str) -> AnyClient {
        let mut client = self.entrance.client(&self.house.gate, departure).await;
        let begun = self.house.origin.begun();
        client.send(client::request(method, "/", Some(&self.token), fields) + behind).await;
        self.house.origin.has_begun(begun + 1).await;
        client
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        Exposition::scrape(self.house.gate.admin_addr()).await.find(name)
    }

    async fn has_free_place(&self, what: &str) {
        let active = r#"claimgate_upstream_connections{state="active"}"#;
        eventually(what, async || self.metric(active).await == Some(0.0)).await;
    }
}

#[tokio::test]
async fn a_client_that_dies_while_nothing_is_taken_of_its_body_frees_its_place() {
    let plain = "x".repeat(64 * 1024);
    let chunk = format!("10000\r\n{plain}\r\n");
    let (length, chunked) = ("Content-Length: 1073741824\r\n", "Transfer-Encoding: chunked\r\n");
    for (way, fields, piece) in [
        (Way::Tcp, length, &plain),
        (Way::Tcp, chunked, &chunk),
        (Way::Tls, length, &plain),
        (Way::Tls, chunked, &chunk),
        (Way::Unix, length, &plain),
    ] {
        let deaf = Deaf::start(way, &[]).await;
        let mut client = deaf.ask(Departure::Resets, "POST", fields, "").await;
        fill(&mut client, piece.as_bytes()).await;
        drop(client);
        deaf.has_free_place(&format!("{way:?}, {fields}")).await;
        // It reads on now, and finds neither the rest nor an orderly end behind a part of it.
        deaf.house.origin.release();
        eventually("the origin is rid of it, too", async || deaf.house.origin.open() == 0).await;
        assert_eq!((deaf.house.origin.opened(), deaf.house.origin.abandoned()), (1, 1));
    }
}

#[tokio::test]
async fn a_client_that_dies_with_requests_behind_the_one_under_way_frees_its_place() {
    use Departure::{Closes, Resets};
    // More than is kept of them, so that the end of the connection is not read.
    let behind = client::request("GET", "/", None, "").repeat(2000);
    for (way, departure) in
        [(Way::Tcp, Resets), (Way::Tcp, Closes), (Way::Tls, Resets), (Way::Tls, Closes), (Way::Unix, Closes)]
    {
        let deaf = Deaf::start(way, &[]).await;
        drop(deaf.ask(departure, "GET", "", &behind).await);
        deaf.has_free_place(&format!("{way:?}, {departure:?}")).await;
    }
}

#[tokio::test]
async fn a_client_that_dies_in_the_queue_leaves_it_though_its_body_is_not_read() {
    use Departure::{Closes, Resets};
    let (length, chunked) = ("Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n");
    for (way, departure, fields) in [
        (Way::Tcp, Resets, length),
        (Way::Tcp, Resets, chunked),
        (Way::Tls, Resets, length),
        // More was announced than can still come.
        (Way::Tcp, Closes, length),
        (Way::Unix, Closes, length),
    ] {
        let deaf = Deaf::start(way, &ONE_PLACE).await;
        let _first = deaf.ask(Resets, "GET", "", "").await;
        let mut waiting = deaf.entrance.client(&deaf.house.gate, departure).await;
        waiting.send(client::request("POST", "/", Some(&deaf.token), fields) + "10\r\n half of a chunk").await;
        let queue = async |count| deaf.metric("claimgate_upstream_waiting_requests").await == Some(count);
        eventually("it waits", async || queue(1.0).await).await;
        drop(waiting);
        eventually(&format!("{way:?}, {departure:?}, {fields}"), async || queue(0.0).await).await;
        assert_eq!(deaf.house.origin.begun(), 1, "what nobody waits for is not asked");
    }
}

#[tokio::test]
async fn a_client_of_http2_that_dies_in_the_queue_leaves_it_though_nothing_more_is_read() {
    use Departure::{Closes, Resets};
    for (way, departure) in [(Way::Tcp, Resets), (Way::Tcp, Closes), (Way::Unix, Closes)] {
        let deaf = Deaf::start(way, &ONE_PLACE).await;
        let _first = deaf.ask(Resets, "GET", "", "").await;
        let stream = deaf.entrance.client(&deaf.house.gate, departure).await.into_stream();
        let mut client = Http2::over(stream).await;
        // More than is read of bodies whose requests wait.
        let (_response, mut sending) = client.begin(post("/", Some(&deaf.token)), false).await;
        sending.send_data(Bytes::from(vec![b'x'; 60_000]), false).unwrap();
        let queue = async |count| deaf.metric("claimgate_upstream_waiting_requests").await == Some(count);
        eventually("it waits", async || queue(1.0).await).await;
        client.go_away();
        eventually(&format!("{way:?}, {departure:?}"), async || queue(0.0).await).await;
    }
}

#[tokio::test]
async fn a_request_is_served_soon_after_as_many_clients_died_as_there_are_places() {
    let deaf = Deaf::start(Way::Tcp, &THREE_PLACES).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = deaf.ask(Departure::Resets, "POST", "Content-Length: 1073741824\r\n", "").await;
        fill(&mut client, &vec![b'x'; 64 * 1024]).await;
        clients.push(client);
    }
    drop(clients);
    deaf.house.origin.reply(Reply::ok("soon"));
    let response = deaf.house.get("/", &deaf.token).await;
    assert_eq!((response.status, &*response.text()), (200, "soon"));
}

#[tokio::test]
async fn a_client_that_says_it_is_done_behind_a_whole_body_has_it_passed_on() {
    for way in [Way::Tcp, Way::Tls, Way::Unix] {
        let deaf = Deaf::start(way, &ONE_PLACE).await;
        deaf.house.origin.reply(Reply::ok("late").held());
        let _first = deaf.ask(Departure::Resets, "GET", "", "").await;
        let mut client = deaf.entrance.client(&deaf.house.gate, Departure::Closes).await;
        client.send(client::request("POST", "/", Some(&deaf.token), "Content-Length: 5\r\n") + "whole").await;
        client.half_close().await;
        let waiting = async || deaf.metric("claimgate_upstream_waiting_requests").await == Some(1.0);
        eventually("it waits", waiting).await;
        deaf.house.origin.reply(Reply::ok("taken"));
        deaf.house.origin.release();
        eventually(&format!("{way:?}"), async || deaf.house.origin.begun() == 2).await;
    }
}
