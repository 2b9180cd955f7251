//! What an origin says before its answer (RFC 9110 §15.2) goes on to HTTP/1.1 clients, and to them alone.

use crate::support::origin::is_pattern;
use crate::support::{Caller, Client, House, Http2Reply, Reply, client, stands_still};
use crate::upstream_kinds::House2;

const HINTS: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: </b>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n";
/// The same as clients see it.
const TOLD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];

/// A client that has sent this.
async fn sent(house: &House, request: impl AsRef<[u8]>) -> Client {
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request).await;
    client
}

async fn is_told(client: &mut Client, expected: &str) {
    assert_eq!(String::from_utf8(client.bytes(expected.len()).await).unwrap(), expected);
}

#[tokio::test]
async fn hints_arrive_before_the_origin_has_an_answer() {
    let house = House::start(&OPEN).await;
    for method in ["GET", "HEAD", "DELETE"] {
        let processing = "HTTP/1.1 102 Processing\r\n\r\n";
        house.origin.reply_next([Reply::raw([processing, HINTS].concat()).hold().then(OK)]);
        let mut client = sent(&house, client::request(method, "/", None, "")).await;
        is_told(&mut client, processing).await;
        is_told(&mut client, TOLD).await;
        house.origin.release();
        assert_eq!(client.response_head().await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn hints_that_come_with_the_answer_stand_before_it() {
    let house = House::start(&OPEN).await;
    house.origin.reply(Reply::raw([HINTS, OK].concat()));
    let mut client = Client::connect(house.gate.addr()).await;
    for _ in 0..3 {
        client.send(client::request("GET", "/", None, "")).await;
        is_told(&mut client, TOLD).await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn hints_for_a_request_wait_until_the_answer_before_is_written() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let house = House::start(&OPEN).await;
    house.origin.reply_at("/large", Reply::pattern(LENGTH as u64));
    house.origin.reply_at("/hinted", Reply::raw([HINTS, OK].concat()));
    let large = client::request("GET", "/large", None, "");
    let hinted = client::request("GET", "/hinted", None, "");
    let mut client = sent(&house, [&*large, &hinted, &large, &hinted].concat()).await;
    for _ in 0..2 {
        let response = client.response_head().await;
        assert_eq!((response.status, response.interim.len()), (200, 0));
        assert!(is_pattern(0, &client.bytes(LENGTH).await));
        is_told(&mut client, TOLD).await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn hints_come_while_the_request_is_still_on_its_way() {
    let house = House::start(&OPEN).await;
    house.origin.reply(Reply::early(HINTS).then_body().then(OK));
    let head = client::request("POST", "/", None, "Content-Length: 4\r\nExpect: 100-continue\r\n");
    let mut client = sent(&house, head).await;
    is_told(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("bo").await;
    is_told(&mut client, TOLD).await;
    client.send("dy").await;
    assert_eq!(client.response().await.text(), "ok");
    assert_eq!(house.origin.only().body, b"body");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_hints() {
    let house = House::start(&OPEN).await;
    house.origin.reply(Reply::raw([HINTS, OK].concat()));
    let mut client = sent(&house, "GET / HTTP/1.0\r\n\r\n").await;
    let response = client.response_head().await;
    assert_eq!((response.status, response.interim.len()), (200, 0));
    assert_eq!(client.rest().await, b"ok");
}

#[tokio::test]
async fn hints_may_be_followed_by_a_refusal() {
    let house = House::start(&OPEN).await;
    for end in ["", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n"] {
        house.origin.reply(Reply::raw([HINTS, end].concat()).close());
        let mut client = sent(&house, client::request("GET", "/", None, "")).await;
        is_told(&mut client, TOLD).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{end}");
    }
}

#[tokio::test]
async fn a_flood_of_hints_is_heard_in_part_and_does_not_spoil_the_answer() {
    let house = House::start(&OPEN).await;
    let large = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "l".repeat(10_000));
    for (hints, expected) in [(HINTS.repeat(10_000), 16), (large.repeat(100), 3)] {
        house.origin.reply(Reply::raw([&*hints, OK].concat()));
        let mut client = sent(&house, client::request("GET", "/", None, "")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.interim.len(), &*response.text()), (200, expected, "ok"));
    }
}

#[tokio::test]
async fn a_client_of_http_2_gets_no_hints_and_its_answer_whole() {
    let house = House::start(&OPEN).await;
    house.origin.reply(Reply::raw([HINTS, OK].concat()));
    let caller = Caller::connect(house.gate.addr()).await;
    let mut call = caller.begin(http::Request::get("http://gate.test/").body(()).unwrap(), true).await;
    let mut answer = call.answer().await;
    assert_eq!((answer.status, answer.end().await.0), (200, b"ok".to_vec()));
}

#[tokio::test]
async fn hints_of_an_http_2_origin_arrive_before_it_has_an_answer() {
    let house = House2::start(&OPEN).await;
    let hints = [("link", "</a>; rel=preload"), ("link", "</b>")];
    let reply = Http2Reply::late().interim(100, &[]).interim(103, &hints).interim(102, &[]).hold();
    house.origin.reply(reply.head(200, &[("content-length", "2")]).data("ok").end());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", None, "")).await;
    is_told(&mut client, TOLD).await;
    is_told(&mut client, "HTTP/1.1 102 Processing\r\n\r\n").await;
    house.origin.release();
    assert_eq!(client.response().await.text(), "ok");
    let mut old = Client::connect(house.gate.addr()).await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.response_head().await.interim.is_empty());
    let caller = Caller::connect(house.gate.addr()).await;
    let mut call = caller.begin(http::Request::get("http://gate.test/").body(()).unwrap(), true).await;
    assert_eq!(call.answer().await.end().await.0, b"ok");
}

#[tokio::test]
async fn an_origin_that_never_comes_to_its_answer_is_given_up_and_holds_up_nobody() {
    let house = House::start(&[&OPEN[..], &["--workers", "1", "--upstream-timeout", "1s"]].concat()).await;
    for head in ["HTTP/1.1 100 Continue\r\n\r\n", HINTS] {
        let flood = head.repeat(64 * 1024 * 1024 / head.len());
        house.origin.reply_at("/flood", Reply::raw(flood).then_never());
        let mut client = sent(&house, client::request("GET", "/flood", None, "")).await;
        for _ in 0..10 {
            assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok", "{head}");
        }
        assert_eq!(client.response().await.denial().reason, "upstream_timeout", "{head}");
    }
}

#[tokio::test]
async fn hints_that_a_client_does_not_read_yet_are_whole_before_the_answer() {
    const COUNT: usize = 600;
    let house = House::start(&OPEN).await;
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "l".repeat(30_000));
    house.origin.reply(Reply::raw([&*hints, OK].concat()));
    let mut client = sent(&house, client::request("GET", "/", None, "").repeat(COUNT)).await;
    let begun = stands_still("the client is not read from", || house.origin.begun() as u64).await;
    assert!(begun < COUNT as u64, "{begun}: the client's connection is full");
    for index in 0..COUNT {
        let response = client.response().await;
        assert_eq!((response.status, &*response.interim, &*response.text()), (200, &[103][..], "ok"), "{index}");
    }
}
