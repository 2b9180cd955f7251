//! Responses.

use std::time::Duration;

use crate::support::{Client, House, Reply, client};

async fn answer(house: &House, reply: Reply) -> client::Response {
    house.origin.reply(reply);
    house.get("/", &house.issuer.token().sign()).await
}

#[tokio::test]
async fn a_response_arrives_with_its_status_fields_and_body() {
    let house = House::start(&[]).await;
    let fields = [
        ("Set-Cookie", "a=1; Path=/"),
        ("X-One", "1"),
        ("Set-Cookie", "b=2"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Server", "origin/1"),
        ("Date", "Tue, 15 Nov 1994 08:12:31 GMT"),
    ];
    for status in [200, 201, 206, 301, 400, 401, 404, 418, 500, 503, 599] {
        let response = answer(&house, Reply::new(status, &fields, "body")).await;
        assert_eq!((response.status, &*response.text()), (status, "body"));
        assert_eq!(response.headers_named("set-cookie"), ["a=1; Path=/", "b=2"]);
        assert_eq!(response.header("x-one"), Some("1"));
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.header("server"), Some("origin/1"));
        assert_eq!(response.header("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
        assert_eq!(response.header("content-length"), Some("4"));
    }
}

#[tokio::test]
async fn the_origins_own_401_is_not_ours_to_change() {
    let house = House::start(&[]).await;
    let challenge = [("WWW-Authenticate", "Basic realm=\"origin\"")];
    let response = answer(&house, Reply::new(401, &challenge, "no")).await;
    assert_eq!((response.status, &*response.text()), (401, "no"));
    assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"origin\""));
}

#[tokio::test]
async fn a_body_in_any_framing_arrives_whole() {
    let house = House::start(&[]).await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
    assert_eq!(answer(&house, Reply::raw(chunked)).await.text(), "hello world");
    let until_close = Reply::raw("HTTP/1.1 200 OK\r\n\r\nhello world").close();
    assert_eq!(answer(&house, until_close).await.text(), "hello world");
    let of_http_1_0 = Reply::raw("HTTP/1.0 200 OK\r\n\r\nhello world").close();
    assert_eq!(answer(&house, of_http_1_0).await.text(), "hello world");
    assert_eq!(answer(&house, Reply::ok("")).await.header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_response_without_a_body_keeps_what_it_says_about_one() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    house.origin.reply(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n"));
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("HEAD", "/", Some(&token), "")).await;
    let head = client.response_head().await;
    assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, Some("1234"), Some("\"x\"")));
    for status in [204, 304] {
        house.origin.reply(Reply::new(status, &[("ETag", "\"x\"")], ""));
        client.send(client::request("GET", "/", Some(&token), "")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("etag")), (status, Some("\"x\"")));
        assert_eq!(response.header("content-length"), None, "{}", response.head);
    }
    house.origin.reply(Reply::default());
    client.send(client::request("GET", "/", Some(&token), "")).await;
    assert_eq!(client.response().await.text(), "ok", "the connection is still in step");
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_response_end_here() {
    let house = House::start(&[]).await;
    let fields = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("X-End", "1"),
    ];
    let response = answer(&house, Reply::new(200, &fields, "")).await;
    for name in ["x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(response.header(name), None, "{}", response.head);
    }
    assert_eq!(response.header("x-end"), Some("1"));
}

#[tokio::test]
async fn interim_responses_of_the_origin_are_not_taken_for_the_answer() {
    let house = House::start(&[]).await;
    let reply = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let response = answer(&house, Reply::raw(reply)).await;
    assert_eq!((response.status, &*response.text()), (200, "ok"));
}

#[tokio::test]
async fn a_response_begins_to_arrive_before_it_is_complete() {
    let house = House::start(&[]).await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    house.origin.reply(Reply::raw(head).hold().then("6\r\nsecond\r\n0\r\n\r\n"));
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    assert_eq!(client.response_head().await.status, 200);
    assert_eq!(client.bytes(10).await, b"5\r\nfirst\r\n");
    house.origin.release();
    assert_eq!(client.bytes(16).await, b"6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test]
async fn trailers_of_a_response_pass_to_a_client_that_takes_them() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Digest, Content-Length\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Digest: abc\r\nContent-Length: 7\r\n\r\n";
    house.origin.reply(Reply::raw(reply));
    for (fields, expected) in [("TE: trailers\r\nConnection: TE\r\n", 1), ("", 0)] {
        let response = client::exchange(house.gate.addr(), client::request("GET", "/", Some(&token), fields)).await;
        let trailers: Vec<_> = response.trailers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(response.text(), "ok");
        assert_eq!(trailers, [("x-digest", "abc")][..expected], "{fields:?}");
    }
}

#[tokio::test]
async fn a_response_that_stands_still_is_cut() {
    let house = House::start(&["--stream-idle-timeout", "1s"]).await;
    house.origin.reply(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").then_never());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("GET", "/", Some(&house.issuer.token().sign()), "")).await;
    assert_eq!(client.response_head().await.status, 200);
    assert_eq!(client.rest().await, b"half", "cut short, so that the client can tell");
}

#[tokio::test]
async fn a_response_may_be_slow_as_long_as_it_goes_on() {
    let house = House::start(&["--stream-idle-timeout", "1s", "--upstream-timeout", "1s"]).await;
    let mut reply = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    for _ in 0..5 {
        reply = reply.wait(Duration::from_millis(400)).then("x");
    }
    assert_eq!(answer(&house, reply).await.text(), "xxxxx");
}

#[tokio::test]
async fn fields_keep_their_spelling_and_order_and_those_of_the_hop_end_here() {
    let house = House::start(&[]).await;
    let fields =
        "X-Second: 1\r\nDate: today\r\nConnection: keep-alive\r\nx-FIRST: 2\r\nX-Second: 3\r\nContent-Length: 2\r\n";
    house.origin.reply(Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}\r\nok")));
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "");
    let response = client::exchange(house.gate.addr(), request).await;
    assert_eq!(response.body, b"ok");
    let passed = fields.replace("Connection: keep-alive\r\n", "");
    assert!(response.head.contains(&format!("\r\n{passed}")), "{}", response.head);
}
