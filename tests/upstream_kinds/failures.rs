//! What goes wrong with an HTTP/2 origin, and what a client sees of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;

use super::House2;
use super::raw::{self, DATA, END_HEADERS, HEADERS, RST_STREAM, RawOrigin, STATUS_200, frame, go_away, ok, reset};
use crate::support::client::request;
use crate::support::http2::{Http2, post as post_over_http2};
use crate::support::{Client, Gate, Http2Reply, Issuer, client, eventually, patiently};

/// A gate before a raw origin.
pub(super) async fn before(origin: &RawOrigin, flags: &[&str]) -> (Gate, String) {
    let issuer = Issuer::start();
    let gate = Gate::start_before(&issuer, &origin.url(), &[&["--workers", "1"], flags].concat());
    gate.is_ready().await;
    (gate, issuer.token().sign())
}

async fn post(gate: &Gate, token: &str, body: &str) -> client::Response {
    let bytes = request("POST", "/", Some(token), &format!("Content-Length: {}\r\n", body.len())) + body;
    client::exchange(gate.addr(), bytes).await
}

#[tokio::test]
async fn what_the_origin_has_not_acted_upon_is_sent_again_with_its_body() {
    for refusal in ["GOAWAY", "REFUSED_STREAM"] {
        let origin = RawOrigin::start(&[], move |received| {
            let is_first = received.connection == 0 && received.stream == 1;
            match received.kind {
                DATA if is_first && refusal == "GOAWAY" => Some(go_away(0, 0)),
                DATA if is_first => Some(reset(received.stream, Reason::REFUSED_STREAM.into())),
                DATA if received.flags & raw::END_STREAM != 0 => Some(ok(received.stream)),
                _ => None,
            }
        })
        .await;
        let (gate, token) = before(&origin, &[]).await;
        assert_eq!(post(&gate, &token, "body").await.status, 200, "{refusal}");
        let bodies: Vec<_> = origin.frames(DATA).into_iter().map(|frame| frame.payload).collect();
        assert_eq!(bodies, [b"body", b"body"], "{refusal}");
        let connections: Vec<_> = origin.frames(HEADERS).iter().map(|frame| frame.connection).collect();
        assert_eq!(connections, if refusal == "GOAWAY" { [0, 1] } else { [0, 0] }, "{refusal}");
    }
}

#[tokio::test]
async fn an_origin_that_refuses_for_ever_is_asked_so_often_and_no_more() {
    let origin = RawOrigin::start(&[], |received| {
        (received.kind == HEADERS).then(|| reset(received.stream, Reason::REFUSED_STREAM.into()))
    })
    .await;
    let (gate, token) = before(&origin, &[]).await;
    let response = client::get(gate.addr(), "/", Some(&token)).await;
    assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
    assert_eq!(origin.frames(HEADERS).len(), 4);
}

#[tokio::test]
async fn what_the_origin_may_have_acted_upon_is_not_sent_again() {
    for name in ["GOAWAY", "RST_STREAM", "the end"] {
        let origin = RawOrigin::start(&[], move |received| match (received.kind, name) {
            // Behind the stream: it goes on, and the end of the connection ends it.
            (HEADERS, "GOAWAY") => Some(go_away(received.stream, 0)),
            (DATA, "RST_STREAM") => Some(reset(received.stream, Reason::INTERNAL_ERROR.into())),
            (DATA, _) => Some(Vec::new()),
            _ => None,
        })
        .await;
        let (gate, token) = before(&origin, &[]).await;
        let response = post(&gate, &token, "body").await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"), "{name}");
        assert_eq!(origin.frames(HEADERS).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_get_whose_connection_ends_is_sent_once_more() {
    for (ends, status) in [(1, 200), (9, 502)] {
        let count = AtomicUsize::new(0);
        let origin = RawOrigin::start(&[], move |received| {
            let is_end = received.kind == HEADERS && count.fetch_add(1, Ordering::Relaxed) < ends;
            (received.kind == HEADERS).then(|| if is_end { Vec::new() } else { ok(received.stream) })
        })
        .await;
        let (gate, token) = before(&origin, &[]).await;
        assert_eq!(client::get(gate.addr(), "/", Some(&token)).await.status, status);
        assert_eq!(origin.frames(HEADERS).len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_502() {
    let literal = |name: &str, value: &str| {
        let part = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [&[0x00][..], &part(name), &part(value)].concat()
    };
    let heads = [
        ("no status", literal("x-a", "1")),
        ("a field of a connection", [STATUS_200, &literal("connection", "close")].concat()),
        ("upper case", [STATUS_200, &literal("X-A", "1")].concat()),
        ("a foreign coding", [STATUS_200, &literal("transfer-encoding", "chunked")].concat()),
        ("two lengths", [STATUS_200, &literal("content-length", "1"), &literal("content-length", "2")].concat()),
        ("no number", [STATUS_200, &literal("content-length", "x")].concat()),
    ];
    for (name, head) in heads {
        let origin = RawOrigin::start(&[], move |received| {
            (received.kind == HEADERS).then(|| frame(HEADERS, END_HEADERS, received.stream, &head))
        })
        .await;
        let (gate, token) = before(&origin, &[]).await;
        let response = client::get(gate.addr(), "/", Some(&token)).await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{name}");
    }
}

#[tokio::test]
async fn an_origin_that_speaks_no_http2_is_a_502() {
    let house = crate::support::House::start(&[]).await;
    let gate = Gate::start_before(&house.issuer, &house.origin.url().replace("http:", "h2c:"), &[]);
    gate.is_ready().await;
    house.origin.reply(crate::support::Reply::new(400, &[], "no").close());
    let response = client::get(gate.addr(), "/", Some(&house.issuer.token().sign())).await;
    assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn a_response_that_is_cut_is_cut_for_the_client_too() {
    for (name, how) in [("reset", Http2Reply::late()), ("closed", Http2Reply::late())] {
        let house = House2::start(&[]).await;
        let how = how.head(200, &[]).data("half").hold();
        house.origin.reply(if name == "reset" { how.reset(Reason::INTERNAL_ERROR) } else { how.close().then_never() });
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(request("GET", "/", Some(&house.token()), "")).await;
        assert_eq!(client.response_head().await.status, 200);
        assert_eq!(client.bytes(9).await, b"4\r\nhalf\r\n");
        house.origin.release();
        assert_eq!(client.rest().await, b"", "{name}: no last chunk");
    }
}

#[tokio::test]
async fn an_early_answer_arrives_and_the_rest_of_the_request_is_not_waited_for() {
    let house = House2::start(&[]).await;
    house.origin.reply(Http2Reply::early().head(413, &[]).data("too much").end());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request("POST", "/", Some(&house.token()), "Content-Length: 1000000\r\n")).await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (413, "too much"));
    // Only that one stream ended.
    house.origin.reply(Http2Reply::ok("ok"));
    assert_eq!(client::get(house.gate.addr(), "/", Some(&house.token())).await.status, 200);
}

#[tokio::test]
async fn a_whole_answer_may_be_followed_by_a_reset_that_is_no_error() {
    for (name, flags, reason, is_whole) in [
        ("no error behind the end", raw::END_STREAM, Reason::NO_ERROR, true),
        ("no error before the end", 0, Reason::NO_ERROR, false),
        ("an error", 0, Reason::INTERNAL_ERROR, false),
    ] {
        let origin = RawOrigin::start(&[], move |received| {
            let head = frame(HEADERS, END_HEADERS, received.stream, STATUS_200);
            let body = frame(DATA, flags, received.stream, b"whole");
            (received.kind == HEADERS).then(|| [head, body, reset(received.stream, reason.into())].concat())
        })
        .await;
        let (gate, token) = before(&origin, &[]).await;
        let mut client = Client::connect(gate.addr()).await;
        client.send(request("POST", "/", Some(&token), "Content-Length: 1000000\r\n")).await;
        assert_eq!(client.response_head().await.status, 200, "{name}");
        assert_eq!(client.rest().await.ends_with(b"0\r\n\r\n"), is_whole, "{name}");
    }
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_given_up_and_its_stream_is_reset() {
    let house = House2::start(&["--workers", "1", "--upstream-timeout", "500ms"]).await;
    house.origin.reply(Http2Reply::never());
    let response = client::get(house.gate.addr(), "/", Some(&house.token())).await;
    assert_eq!((response.status, &*response.denial().reason), (504, "upstream_timeout"));
    eventually("the stream is reset", async || house.origin.resets() == [Some(Reason::CANCEL)]).await;
    house.origin.reply(Http2Reply::ok("ok"));
    assert_eq!(client::get(house.gate.addr(), "/", Some(&house.token())).await.status, 200);
    assert_eq!((house.origin.opened(), house.origin.open()), (1, 1), "it was one stream of a connection");
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up_in_either_direction() {
    let house = House2::start(&["--stream-idle-timeout", "500ms"]).await;
    // The origin's.
    house.origin.reply(Http2Reply::late().head(200, &[]).data("half").then_never());
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request("GET", "/", Some(&house.token()), "")).await;
    assert_eq!(client.response_head().await.status, 200);
    assert_eq!(client.rest().await, b"4\r\nhalf\r\n");
    eventually("the stream is reset", async || house.origin.resets() == [Some(Reason::CANCEL)]).await;
    // The client's.
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(request("POST", "/", Some(&house.token()), "Content-Length: 10\r\n") + "half").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.denial().reason), (408, "request_timeout"));
    eventually("the stream is reset", async || house.origin.resets().len() == 2).await;
}

#[tokio::test]
async fn an_origin_that_takes_nothing_of_a_body_is_given_up() {
    let house = House2::start(&["--stream-idle-timeout", "500ms"]).await;
    house.origin.reply(Http2Reply::never());
    let mut client = Client::connect(house.gate.addr()).await;
    let body = "x".repeat(1 << 20);
    client.send(request("POST", "/", Some(&house.token()), &format!("Content-Length: {}\r\n", body.len()))).await;
    client.try_send(&body).await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.denial().reason), (504, "upstream_timeout"));
}

#[tokio::test]
async fn a_body_beyond_its_limit_is_refused_and_its_stream_is_reset() {
    let house = House2::start(&["--max-body-size", "10"]).await;
    house.origin.reply(Http2Reply::late().head(200, &[]).end());
    let bytes = request("POST", "/", Some(&house.token()), "Transfer-Encoding: chunked\r\n") + "b\r\nhello world\r\n";
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(bytes).await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.denial().reason), (413, "body_too_large"));
    eventually("the stream is reset", async || house.origin.resets() == [Some(Reason::CANCEL)]).await;
}

#[tokio::test]
async fn a_client_that_goes_away_resets_its_stream_and_no_other() {
    let house = House2::start(&["--workers", "1"]).await;
    let token = house.token();
    let stays = {
        house.origin.reply(Http2Reply::late().hold().head(200, &[]).data("ok").end());
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(request("GET", "/", Some(&token), "")).await;
        house.origin.has_begun(1).await;
        client
    };
    for (count, (name, reply, body)) in [
        ("before the answer", Http2Reply::never(), ""),
        ("in its body", Http2Reply::late().head(200, &[]).end(), "Content-Length: 10\r\n"),
        ("in the answer", Http2Reply::late().head(200, &[]).then_pattern(1 << 30), ""),
    ]
    .into_iter()
    .enumerate()
    {
        house.origin.reply(reply);
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(request("POST", "/", Some(&token), body) + if body.is_empty() { "" } else { "half" }).await;
        house.origin.has_begun(count + 2).await;
        if name == "in the answer" {
            assert_eq!(client.response_head().await.status, 200);
        }
        drop(client);
        eventually(&format!("reset: {name}"), async || house.origin.resets().len() == count + 1).await;
        assert_eq!((house.origin.resets()[count], house.origin.streams()), (Some(Reason::CANCEL), 1), "{name}");
    }
    house.origin.release();
    let mut stays = stays;
    assert_eq!(stays.response().await.text(), "ok");
    assert_eq!(house.origin.opened(), 1);
}

#[tokio::test]
async fn an_origin_that_restarts_is_found_again() {
    let house = House2::start(&["--workers", "1"]).await;
    let token = house.token();
    for _ in 0..3 {
        assert_eq!(client::get(house.gate.addr(), "/", Some(&token)).await.status, 200);
        house.origin.stop();
        let response = client::get(house.gate.addr(), "/", Some(&token)).await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_unreachable"));
        house.origin.start_again();
    }
    assert_eq!(client::get(house.gate.addr(), "/", Some(&token)).await.status, 200);
    assert!(house.origin.last().is_complete);
}

#[tokio::test]
async fn a_head_of_a_response_that_is_too_large_is_a_502() {
    let house = House2::start(&[]).await;
    let large = "x".repeat(8_000);
    let fields: Vec<_> = (0..12).map(|number| format!("x-{number}")).collect();
    let fields: Vec<_> = fields.iter().map(|name| (name.as_str(), large.as_str())).collect();
    // As much as an HTTP/1.1 origin may send.
    house.origin.reply(Http2Reply::new(200, &fields[..8], "ok"));
    let response = client::get(house.gate.addr(), "/", Some(&house.token())).await;
    assert_eq!((response.status, response.header("x-7").map(str::len)), (200, Some(8_000)));
    house.origin.reply(Http2Reply::new(200, &fields, "ok"));
    let response = client::get(house.gate.addr(), "/", Some(&house.token())).await;
    assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"));
}

/// There is no 101 in HTTP/2 (RFC 9113 §8.6); in HTTP/1.1 it would be the end of HTTP.
#[tokio::test]
async fn a_101_is_not_passed_on_as_an_interim_response() {
    let origin = RawOrigin::start(&[], |received| {
        // `:status`, the eighth of the static table of HPACK, as a literal.
        let switching = frame(HEADERS, END_HEADERS, received.stream, b"\x08\x03101");
        (received.kind == HEADERS).then(|| [switching, ok(received.stream)].concat())
    })
    .await;
    let (gate, token) = before(&origin, &[]).await;
    let mut client = Client::connect(gate.addr()).await;
    client.send(request("GET", "/", Some(&token), "")).await;
    assert_eq!(client.next_status().await, 200);
}

/// The origin has said all that it will, and the client goes on asking, or not even that.
#[tokio::test]
async fn a_request_that_stands_still_behind_its_answer_is_given_up() {
    for content_type in ["text/plain", "application/grpc"] {
        let origin = RawOrigin::start(&[], |received| (received.kind == HEADERS).then(|| ok(received.stream))).await;
        let (gate, token) = before(&origin, &["--stream-idle-timeout", "300ms"]).await;
        let mut client = Http2::connect(gate.addr()).await;
        let mut request = post_over_http2("/", Some(&token));
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        let (response, _open) = client.begin(request, false).await;
        assert_eq!(patiently("a response", response).await.unwrap().status(), 200);
        eventually(&format!("it is reset: {content_type}"), async || !origin.frames(RST_STREAM).is_empty()).await;
    }
}
