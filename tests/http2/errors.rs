//! What the library refuses by itself, so that no request of it reaches us: counted and logged all the same.

use crate::support::http2::{Frames, Http2, USUAL, fields_block, frame, get, next};
use crate::support::{Binary, Exposition, House, Issuer, Reply, eventually, patiently};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

fn with(field: (&'static str, &'static str)) -> Vec<u8> {
    request(&USUAL.into_iter().chain([field]).collect::<Vec<_>>())
}

fn replaced(name: &str, value: &'static str) -> Vec<u8> {
    request(&USUAL.map(|field| if field.0 == name { (field.0, value) } else { field }))
}

fn without(name: &str) -> Vec<u8> {
    request(&USUAL.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>())
}

/// A whole request on the first stream.
fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, 0x5, 1, &fields_block(fields))
}

#[tokio::test]
async fn what_the_library_refuses_by_itself_is_counted() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let connect = [(":method", "CONNECT"), (":authority", "a.test:80"), ("content-length", "5")];
    for (what, bytes, scope, error) in [
        ("a quote in the path", replaced(":path", "/q?a=\"b\""), "stream", "PROTOCOL_ERROR"),
        ("a bracket in the path", replaced(":path", "/<b>"), "stream", "PROTOCOL_ERROR"),
        ("a path with a space", replaced(":path", "/a b"), "stream", "PROTOCOL_ERROR"),
        ("an empty path", replaced(":path", ""), "stream", "PROTOCOL_ERROR"),
        ("no path", without(":path"), "stream", "PROTOCOL_ERROR"),
        ("an unknown pseudo-header field", with((":status", "200")), "stream", "PROTOCOL_ERROR"),
        ("a pseudo-header field twice", with((":path", "/two")), "stream", "PROTOCOL_ERROR"),
        ("a field of a connection", with(("connection", "close")), "stream", "PROTOCOL_ERROR"),
        ("a CONNECT with a length", frame(HEADERS, 0x4, 1, &fields_block(&connect)), "stream", "INTERNAL_ERROR"),
        ("a name in upper case", with(("X-Upper", "1")), "connection", "PROTOCOL_ERROR"),
        ("DATA of no request", frame(0, 0, 1, b"data"), "connection", "PROTOCOL_ERROR"),
        ("no HPACK", frame(HEADERS, 0x5, 1, &[0xff; 9]), "connection", "PROTOCOL_ERROR"),
        ("a PING of a wrong size", frame(6, 0, 0, &[0; 7]), "connection", "PROTOCOL_ERROR"),
        ("a frame beyond all sizes", [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1].to_vec(), "connection", "FRAME_SIZE_ERROR"),
        ("a flood", frame(4, 0, 0, &[]).repeat(1_100), "connection", "ENHANCE_YOUR_CALM"),
    ] {
        let series = format!("claimgate_http2_errors_total{{scope=\"{scope}\",error=\"{error}\"}}");
        let count = async || Exposition::scrape(house.gate.admin_addr()).await.find(&series);
        let before = count().await.unwrap();
        let mut client = Frames::connect(house.gate.addr()).await;
        client.send(&bytes).await;
        let kind = if scope == "stream" { RST_STREAM } else { GOAWAY };
        assert!(client.next_of(kind).await.is_some(), "{what}");
        eventually(what, async || count().await == Some(before + 1.0)).await;
    }
    assert!(house.origin.received().is_empty());
}

#[tokio::test]
async fn what_is_answered_or_given_up_is_not_counted_as_refused() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    assert_eq!(client.exchange(get("/", None)).await.status, 200);
    // One that the origin cuts.
    house.origin.reply_at("/cut", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").close());
    let (response, _) = client.begin(get("/cut", None), true).await;
    let mut body = patiently("a head", response).await.unwrap().into_body();
    while let Some(Ok(_)) = next(&mut body).await {}
    // One that its client resets.
    house.origin.reply_at("/never", Reply::never());
    let (response, mut sending) = client.begin(get("/never", None), true).await;
    house.origin.has_begun(3).await;
    sending.send_reset(h2::Reason::CANCEL);
    drop(response);
    eventually("it is cancelled", async || house.origin.abandoned() >= 1).await;
    // One that is refused by us.
    let mut frames = Frames::connect(house.gate.addr()).await;
    frames.send(&replaced(":path", "/a\\b")).await;
    assert!(frames.next_of(HEADERS).await.is_some());
    let scrape = Exposition::scrape(house.gate.admin_addr()).await;
    let counted = scrape.text.lines().filter(|line| line.starts_with("claimgate_http2_errors_total{"));
    let counted: Vec<_> = counted.filter(|line| !line.ends_with(" 0")).collect();
    assert!(counted.is_empty(), "{counted:?}");
    assert_eq!(scrape.find("claimgate_requests_total{outcome=\"denied\",reason=\"malformed_request\"}"), Some(1.0));
}

#[tokio::test]
async fn a_refusal_by_the_library_is_logged_with_its_peer_and_many_are_not() {
    let issuer = Issuer::start();
    let flags = ["--issuer", &issuer.url(), "--upstream", "http://127.0.0.1:1", "--workers", "1"];
    let binary = Binary::start(&flags);
    let addr = binary.addr().await;
    let quoted = |stream| {
        let fields = USUAL.map(|field| if field.0 == ":path" { (":path", "/?\"secret\"") } else { field });
        frame(HEADERS, 0x5, stream, &fields_block(&fields))
    };
    let lines = || {
        let all = binary.log().into_iter();
        all.filter(|line| line["msg"].as_str().is_some_and(|msg| msg.starts_with("an HTTP/2 "))).collect::<Vec<_>>()
    };
    for round in 0..10 {
        let mut client = Frames::connect(addr).await;
        for number in 0..100 {
            client.send(&quoted(2 * number + 1)).await;
            assert!(client.next_of(RST_STREAM).await.is_some(), "{round} {number}");
        }
    }
    eventually("some are logged", async || !lines().is_empty()).await;
    let first = lines()[0].clone();
    assert_eq!(
        (&first["peer"], &first["stream"], &first["error"]),
        (&"127.0.0.1".into(), &1.into(), &"PROTOCOL_ERROR".into())
    );
    assert!(lines().len() < 200, "{} lines of 1,000", lines().len());
    assert!(!lines().iter().any(|line| line.to_string().contains("secret")));
}
