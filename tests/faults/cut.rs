//! An answer that has begun cannot be taken back. Where the origin leaves it unfinished, the client can tell.

use crate::support::{Client, House, Reply, client, eventually};

/// How a body of ten bytes is framed when five of them have come.
const FRAMINGS: [(&str, &str, &str); 3] = [
    ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "first"),
    ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nfirst\r\n"),
    ("the end", "HTTP/1.1 200 OK\r\n\r\n", "first"),
];

/// How the rest does not come.
type End = (&'static str, fn(Reply) -> Reply);

const ENDS: [End; 3] = [("reset", Reply::then_reset), ("closed", Reply::close), ("stands still", Reply::then_never)];

/// The start of an answer and a client that has seen it.
async fn begun(house: &House, reply: Reply, version: &str) -> (client::Response, Client) {
    house.origin.reply_next([reply]);
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", None, "").replace("HTTP/1.1", version)).await;
    let response = client.response_head().await;
    (response, client)
}

#[tokio::test]
async fn a_client_can_tell_an_answer_that_was_cut_in_every_framing_and_version() {
    for (framing, head, start) in FRAMINGS {
        for (how, end) in ENDS {
            // This one is whole.
            if (framing, how) == ("the end", "closed") {
                continue;
            }
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let case = format!("{framing}, {how}, {version}");
                let house = House::start(&["--skip-auth-route", "/*", "--stream-idle-timeout", "300ms"]).await;
                let reply = end(Reply::raw(format!("{head}{start}")).hold());
                let (response, mut client) = begun(&house, reply, version).await;
                assert_eq!(response.status, 200, "{case}");
                let is_chunked = response.header("transfer-encoding").is_some();
                let length = response.header("content-length");
                let first = if is_chunked { "5\r\nfirst\r\n" } else { "first" };
                assert_eq!(client.bytes(first.len()).await, first.as_bytes(), "{case}: what has come is passed on");
                // Not before: a reset takes with it what was not read.
                house.origin.release();
                assert_eq!(client.rest().await, b"", "{case}");
                match (is_chunked, length) {
                    // No last chunk came, or not the length that was announced.
                    (true, None) | (false, Some("10")) => {}
                    (false, None) => assert!(client.was_reset(), "{case}: taken for the end of the body"),
                    _ => panic!("{case}: {}", response.head),
                }
                eventually("the origin is let go", async || house.origin.open() == 0).await;
            }
        }
    }
}

#[tokio::test]
async fn a_whole_answer_that_only_the_end_of_the_connection_ends_ends_in_order() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    house.origin.release();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n5\r\nlater\r\n0\r\n\r\n";
    let until_close = Reply::raw("HTTP/1.1 200 OK\r\n\r\nfirst").hold().then("later").close();
    for reply in [Reply::raw(chunked), until_close] {
        let (response, mut client) = begun(&house, reply, "HTTP/1.0").await;
        assert_eq!((response.header("content-length"), response.header("transfer-encoding")), (None, None));
        assert_eq!((client.rest().await, client.was_reset()), (b"firstlater".to_vec(), false));
    }
    let mut client = Client::connect(house.gate.addr()).await;
    house.origin.reply_next([Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")]);
    client.send("HEAD / HTTP/1.0\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    assert!(client.is_closed_in_order().await, "an answer without a body is whole");
}

#[tokio::test]
async fn rubbish_in_place_of_a_chunk_cuts_the_answer() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for rubbish in ["zz\r\nlater\r\n", "5\r\nlaterX\r\n0\r\n\r\n", "-5\r\nlater\r\n", "ffffffffffffffff1\r\nlater"] {
        let reply = Reply::raw(format!("{head}5\r\nfirst\r\n{rubbish}"));
        let (_, mut client) = begun(&house, reply, "HTTP/1.1").await;
        let rest = client.rest().await;
        assert!(rest.starts_with(b"5\r\nfirst\r\n") && !rest.ends_with(b"0\r\n\r\n"), "{rubbish:?}: {rest:?}");
        eventually("the origin is let go", async || house.origin.open() == 0).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_by_the_grace_period_is_no_whole_one() {
    let house = House::start(&["--skip-auth-route", "/*", "--shutdown-grace-period", "300ms"]).await;
    let reply = Reply::raw("HTTP/1.1 200 OK\r\n\r\nfirst").hold();
    let (_, mut client) = begun(&house, reply, "HTTP/1.0").await;
    assert_eq!(client.bytes(5).await, b"first");
    let House { issuer, origin, gate } = house;
    drop(gate);
    assert_eq!((client.rest().await, client.was_reset()), (vec![], true));
    drop((issuer, origin));
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_in_time_is_no_whole_one() {
    let house = House::start(&["--skip-auth-route", "/*", "--stream-idle-timeout", "300ms"]).await;
    // More than is on its way at a time, so that some of it waits at the gate.
    let reply = Reply::raw("HTTP/1.1 200 OK\r\n\r\n").then_pattern(40_000_000).close();
    let (_, mut client) = begun(&house, reply, "HTTP/1.0").await;
    eventually("nobody waits any longer", async || house.origin.open() == 0).await;
    let rest = client.rest().await.len();
    assert!(rest < 40_000_000 && client.was_reset(), "{rest}");
}
