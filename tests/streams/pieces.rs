//! Each piece goes on as it comes: an origin, or a client, that waits for it to arrive before it sends the next one would
//! otherwise wait for ever.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::caller::End;
use crate::support::{Caller, Client, Gate, House, Issuer, Origin, Reply, client};

const PIECES: usize = 50;
const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];

fn piece(number: usize) -> String {
    format!("data: {number}\n\n")
}

fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn each_piece_of_an_answer_arrives_before_the_next_one_is_sent() {
    let length: usize = (1..=PIECES).map(|number| piece(number).len()).sum();
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{fields}\r\n");
    for (fields, is_chunked) in [
        ("Transfer-Encoding: chunked\r\n", true),
        ("Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", true),
        // Whose end is that of the connection, to an HTTP/1.1 client in chunks.
        ("", false),
        (&format!("Content-Length: {length}\r\n"), false),
    ] {
        let house = House::start(&OPEN).await;
        let sent = |number| if is_chunked { chunk(&piece(number)) } else { piece(number) };
        let pieces =
            (1..=PIECES).fold(Reply::raw(head(fields)), |reply, number| reply.then(sent(number)).hold_until(number));
        house.origin.reply(if is_chunked { pieces.then("0\r\n\r\n") } else { pieces.close() });
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request("GET", "/", None, "")).await;
        let response = client.response_head().await;
        for number in 1..=PIECES {
            let expected =
                if response.header("transfer-encoding").is_some() { chunk(&piece(number)) } else { piece(number) };
            assert_eq!(client.bytes(expected.len()).await, expected.as_bytes(), "{fields:?}");
            house.origin.release();
        }
    }
}

/// An origin that answers each byte of a request's body with the same byte, framing included.
async fn echo(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.unwrap();
}

#[tokio::test]
async fn each_piece_of_a_request_is_answered_before_the_next_one_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let (issuer, unused) = (Issuer::start(), Origin::start());
    let gate = Gate::start(&issuer, &unused, &[&OPEN[..], &["--upstream", &upstream]].concat());
    let echo = tokio::spawn(echo(listener));
    let mut client = Client::connect(gate.addr()).await;
    client.send(client::request("POST", "/", None, "Transfer-Encoding: chunked\r\n")).await;
    for number in 1..=PIECES {
        let chunk = chunk(&piece(number));
        client.send(&chunk).await;
        if number == 1 {
            assert_eq!(client.response_head().await.status, 200);
        }
        assert_eq!(client.bytes(chunk.len()).await, chunk.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
    drop((client, gate));
    echo.await.unwrap();
}

#[tokio::test]
async fn each_piece_goes_on_over_http_2_as_well_in_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let (issuer, unused) = (Issuer::start(), Origin::start());
    let gate = Gate::start(&issuer, &unused, &[&OPEN[..], &["--upstream", &upstream]].concat());
    let echo = tokio::spawn(echo(listener));
    let caller = Caller::connect(gate.addr()).await;
    let mut call = caller.begin(http::Request::post("http://gate.test/").body(()).unwrap(), false).await;
    call.send(piece(0));
    let mut answer = call.answer().await;
    for number in 1..=PIECES {
        assert_eq!(answer.bytes(piece(number - 1).len()).await, piece(number - 1).as_bytes());
        call.send(piece(number));
    }
    call.sending.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(answer.end().await, (piece(PIECES).into_bytes(), End::Trailers(Vec::new())));
    drop((caller, gate));
    echo.await.unwrap();
}
