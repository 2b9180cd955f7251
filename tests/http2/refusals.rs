//! What is refused is refused as over HTTP/1.1, and costs nobody else anything.

use http::Request;

use crate::support::http2::{Frames, Http2, USUAL, fields_block, frame, get, post, reason, whole};
use crate::support::{Binary, Client, House, Issuer, Reply, client, eventually};

/// RFC 9110 §9.3.2.
#[tokio::test]
async fn a_refusal_of_head_has_a_length_and_no_body() {
    let house = House::start(&[]).await;
    let mut client = Frames::connect(house.gate.addr()).await;
    let fields = USUAL.map(|field| if field.0 == ":method" { (":method", "HEAD") } else { field });
    client.send(&frame(1, 0x5, 1, &fields_block(&fields))).await;
    let mut answer = client.next_of(1).await.unwrap();
    while answer.flags & 1 == 0 {
        answer = client.next().await.unwrap();
        assert_eq!((answer.kind, answer.payload.len()), (0, 0));
    }
    let head = Request::head("http://gate.test/").body(()).unwrap();
    let response = Http2::connect(house.gate.addr()).await.exchange(head).await;
    let mut old = Client::connect(house.gate.addr()).await;
    old.send(client::request("HEAD", "/", None, "")).await;
    let length = old.response_head().await.header("content-length").map(str::to_owned);
    assert_eq!((response.status, response.header("content-length")), (401, length.as_deref()));
    assert!(response.body.is_empty() && length.is_some());
}

/// Whoever reads the length as a signed number takes it for negative.
#[tokio::test]
async fn a_length_of_2_to_the_63_or_more_is_refused() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for (length, status) in [("9223372036854775808", 400), ("9999999999999999999", 400), ("2", 200)] {
        let mut client = Http2::connect(house.gate.addr()).await;
        let mut request = post("/", Some(&token));
        request.headers_mut().insert("content-length", length.parse().unwrap());
        let (response, mut body) = client.begin(request, false).await;
        // A body of another length is for the library to refuse.
        if status == 200 {
            body.send_data("ok".into(), true).unwrap();
        }
        let response = whole(response).await.unwrap();
        assert_eq!(response.status, status, "{length}");
        assert!(status == 200 || reason(&response) == "malformed_request", "{length}");
    }
    assert_eq!(house.origin.begun(), 1);
}

/// hyper would end the whole connection.
#[tokio::test]
async fn a_connect_with_a_length_ends_its_stream_alone() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::ok("late").held());
    let mut client = Http2::connect(house.gate.addr()).await;
    let (held, _) = client.begin(get("/", Some(&house.issuer.token().sign())), true).await;
    house.origin.has_begun(1).await;
    for _ in 0..3 {
        let connect = Request::connect("gate.test:80").header("content-length", "5").body(()).unwrap();
        let (refused, _body) = client.begin(connect, false).await;
        assert!(whole(refused).await.unwrap_err().is_reset());
    }
    house.origin.release();
    assert_eq!(whole(held).await.unwrap().text(), "late");
    drop(client);
}

#[tokio::test]
async fn what_is_refused_for_its_head_is_logged_with_it() {
    let issuer = Issuer::start();
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", "http://127.0.0.1:1", "--access-log", "all"]);
    let mut client = Http2::connect(binary.addr().await).await;
    let mut request = get("/here", None);
    request.headers_mut().insert("host", "another.test".parse().unwrap());
    assert_eq!(client.exchange(request).await.status, 400);
    let is_told = |line: &serde_json::Value| {
        line["reason"] == "ambiguous_request" && line["path"] == "/here" && line["method"] == "GET"
    };
    eventually("it is logged", async || binary.log().iter().any(is_told)).await;
}
