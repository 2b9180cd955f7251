//! What HTTP/1.1 to the origin holds to, whatever the connection leads through.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::{find, request};
use crate::support::origin::{is_pattern, pattern};
use crate::support::{Certificate, Client, Gate, House, Issuer, Origin, Reply, client, eventually, patiently};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request's framing, how its body begins, and the rest of it.
const FRAMINGS: [(&str, &str, &str); 2] = [
    ("Content-Length: 6\r\n", "abc", "def"),
    ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"),
];

/// A house for each kind of connection, with one pool that keeps what is put into it.
async fn houses(flags: &[&str]) -> Vec<(&'static str, House)> {
    let certificate = Certificate::new();
    let origins =
        [("TCP", Origin::start()), ("TLS", Origin::start_tls(&certificate)), ("a socket", Origin::start_unix())];
    let mut houses = Vec::new();
    for (kind, origin) in origins {
        let mut flags = flags.to_vec();
        flags.extend(["--workers", "1", "--skip-auth-route", "/*", "--upstream-idle-timeout", "1m"]);
        if kind == "TLS" {
            flags.extend(["--upstream-ca-file", certificate.path()]);
        }
        let issuer = Issuer::start();
        let gate = Gate::start(&issuer, &origin, &flags);
        gate.is_ready().await;
        houses.push((kind, House { issuer, origin, gate }));
    }
    houses
}

/// A client whose request has begun.
async fn begun(house: &House, framing: &str, start: &str) -> Client {
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request("POST", "/slow", None, framing) + start).await;
    client
}

fn whole_bodies(house: &House) -> Vec<Vec<u8>> {
    let received = house.origin.received().into_iter();
    received
        .filter(|received| received.target == "/slow" && received.is_complete)
        .map(|received| received.body)
        .collect()
}

#[tokio::test]
async fn a_connection_with_half_a_request_on_it_is_nobody_elses() {
    for (kind, house) in houses(&[]).await {
        for (index, (framing, start, rest)) in FRAMINGS.into_iter().enumerate() {
            house.origin.reply_next([Reply::early(OK).then_body()]);
            let mut slow = begun(&house, framing, start).await;
            assert_eq!(slow.response().await.text(), "ok", "{kind}, {framing}");
            for _ in 0..3 {
                let other = client::get(house.gate.addr(), "/", None).await;
                assert_eq!(other.text(), "ok", "{kind}, {framing}");
            }
            assert_eq!(house.origin.opened(), 2, "{kind}, {framing}: one for each");
            slow.send(rest).await;
            eventually("the request is whole", async || whole_bodies(&house).len() == index + 1).await;
            assert_eq!(whole_bodies(&house)[index], b"abcdef", "{kind}, {framing}");
        }
        assert_eq!((house.origin.open(), house.origin.abandoned()), (2, 0), "{kind}: both go on");
    }
}

#[tokio::test]
async fn a_request_that_is_cut_behind_its_answer_is_whole_for_nobody() {
    let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    for (kind, house) in houses(&["--stream-idle-timeout", "500ms"]).await {
        let mut cut = 0;
        for (framing, start, _) in FRAMINGS {
            for (answer, goes_away) in [(OK, true), (half, true), (OK, false), (half, false), (last, false)] {
                house.origin.reply_next([Reply::early(answer).then_body()]);
                let mut slow = begun(&house, framing, start).await;
                assert_eq!(slow.response_head().await.status, 200, "{kind}, {framing}");
                // The other one stands still, or its answer is the last on its connection.
                let _stays = (!goes_away).then_some(slow);
                cut += 1;
                eventually("it is cut", async || house.origin.abandoned() == cut).await;
                assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok", "{kind}, {framing}");
            }
        }
        assert_eq!(whole_bodies(&house), Vec::<Vec<u8>>::new(), "{kind}");
    }
}

#[tokio::test]
async fn a_request_and_its_answer_go_on_at_once() {
    const LENGTH: u64 = 8_000_000;
    for (kind, house) in houses(&[]).await {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        house.origin.reply(Reply::early(head).then_pattern(LENGTH).then_body());
        let client = begun(&house, &format!("Content-Length: {LENGTH}\r\n"), "").await;
        let (mut reader, mut writer) = client.into_stream().into_split();
        let send = async {
            let mut sent = 0;
            while sent < LENGTH {
                let bytes = pattern(sent, usize::try_from((LENGTH - sent).min(65_536)).unwrap());
                writer.write_all(bytes).await.unwrap();
                sent += bytes.len() as u64;
            }
        };
        let receive = async {
            let mut received = Vec::new();
            let body = loop {
                assert_ne!(reader.read_buf(&mut received).await.unwrap(), 0, "{kind}");
                let body = find(&received, b"\r\n\r\n").map(|end| &received[end + 4..]);
                if let Some(body) = body.filter(|body| body.len() as u64 == LENGTH) {
                    break body;
                }
            };
            assert!(is_pattern(0, body), "{kind}");
        };
        patiently("both", async { tokio::join!(send, receive) }).await;
        eventually("the request is whole", async || whole_bodies(&house).len() == 1).await;
        assert_eq!((house.origin.only().body_length, house.origin.only().is_pattern), (LENGTH, true), "{kind}");
    }
}

#[tokio::test]
async fn an_early_answer_arrives_whatever_becomes_of_its_connection() {
    let block = vec![b'x'; 64 * 1024];
    for (kind, house) in houses(&[]).await {
        house.origin.reply(Reply::early("HTTP/1.1 413 Whatever\r\nContent-Length: 9\r\n\r\ntoo large").close());
        for _ in 0..10 {
            let mut client = begun(&house, "Content-Length: 80000000\r\n", "").await;
            while client.send_at_once(&block).is_some() {}
            let response = client.response().await;
            assert_eq!((response.status, &*response.text()), (413, "too large"), "{kind}");
        }
        eventually("its connection is dropped", async || house.origin.open() == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_only_the_end_ends_is_whole_when_the_end_is_told() {
    for (kind, house) in houses(&[]).await {
        let reply = Reply::raw("HTTP/1.1 200 OK\r\n\r\nfirst");
        // Anybody can cut a connection; in TLS the end is told within (RFC 8446 §6.1).
        for (reply, is_whole) in [(reply.clone().end(), true), (reply.close(), kind != "TLS")] {
            house.origin.reply_next([reply]);
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(request("GET", "/", None, "Connection: close\r\n")).await;
            assert_eq!(client.response_head().await.status, 200, "{kind}");
            let expected: &[u8] = if is_whole { b"5\r\nfirst\r\n0\r\n\r\n" } else { b"5\r\nfirst\r\n" };
            assert_eq!(client.rest().await, expected, "{kind}");
        }
    }
}

#[tokio::test]
async fn what_comes_unasked_answers_nobody() {
    for (kind, house) in houses(&[]).await {
        let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
        house.origin.reply_next([Reply::raw(format!("{OK}{poison}")), Reply::raw(OK).then(poison)]);
        for _ in 0..6 {
            assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok", "{kind}");
        }
        let (written, opened) = (house.origin.written(), house.origin.opened());
        house.origin.reply_next([Reply::raw(OK).hold().then_pattern(7)]);
        assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok", "{kind}");
        house.origin.release();
        eventually("it is on its way", async || house.origin.written() == written + 7).await;
        assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok", "{kind}");
        assert_eq!(house.origin.opened(), opened + 1, "{kind}: its connection is not used again");
    }
}

#[tokio::test]
async fn an_answer_may_come_byte_by_byte() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                  Trailer: X-Sum\r\n\r\n5;a=b\r\nhello\r\n006 \r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
    for (kind, house) in houses(&[]).await {
        house.origin.reply(answer.bytes().fold(Reply::raw(""), |reply, byte| reply.then([byte])));
        for _ in 0..3 {
            let fields = "TE: trailers\r\nConnection: TE\r\n";
            let response = client::exchange(house.gate.addr(), request("GET", "/", None, fields)).await;
            assert_eq!((response.status, &*response.text(), &*response.interim), (200, "hello world", &[103][..]));
            assert_eq!(response.trailers, [("x-sum".to_owned(), "1".to_owned())], "{kind}");
        }
        assert_eq!(house.origin.opened(), 1, "{kind}");
    }
}
