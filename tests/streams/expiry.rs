//! A stream of events ends when its token does; nothing else that has begun does.

use claimgate::clock::NumericDate;
use h2::Reason;

use super::{EVENT, EVENTS, LastMoment};
use crate::support::caller::End;
use crate::support::origin::is_pattern;
use crate::support::{
    Binary, Caller, Client, Exposition, Gate, Http2Origin, Http2Reply, Issuer, Origin, Reply, client, eventually, now,
};

const CUT: &str = r#"claimgate_responses_cut_total{cause="token_expired"}"#;

/// So many that the last of them hardly ends before the first of as many others would.
const MANY: usize = 16;

fn events() -> Reply {
    Reply::raw([EVENTS, EVENT].concat()).then_never()
}

#[tokio::test]
async fn a_stream_of_events_ends_without_its_last_chunk_when_its_token_does() {
    let house = LastMoment::of_a_token(&[]).await;
    let mixed = EVENTS.replace("text/event-stream", "Text/Event-Stream ; charset=utf-8");
    house.origin.reply_at("/events", events());
    house.origin.reply_at("/mixed", Reply::raw([&mixed, EVENT].concat()).then_never());
    let mut streams = house.streams(3).await;
    let (_, mut mixed) = house.begin("/mixed", Some(&house.token)).await;
    assert_eq!(mixed.bytes(EVENT.len()).await, EVENT.as_bytes());
    streams.push(mixed);
    // The token is refused from now on, and what was let through before is ended by time alone.
    house.clock.set(NumericDate::from_seconds(house.exp + 30.0).unwrap());
    assert_eq!(house.begin("/events", Some(&house.token)).await.0.status, 401);
    for stream in &mut streams {
        assert!(stream.is_closed().await);
    }
    eventually("the origin is let go", async || house.origin.open() == 0).await;
    let count = async || Exposition::scrape(house.gate.admin_addr()).await.find(CUT);
    eventually("each is counted", async || count().await == Some(4.0)).await;
}

#[tokio::test]
async fn over_http_2_it_is_reset_as_cancelled() {
    let house = LastMoment::of_a_token(&[]).await;
    house.origin.reply_at("/events", events());
    house.origin.reply_at("/download", Reply::new(200, &[], "whole"));
    let caller = Caller::connect(house.gate.addr()).await;
    let get = |path: &str| {
        let request = http::Request::get(format!("http://gate.test{path}"));
        request.header("authorization", format!("Bearer {}", house.token)).body(()).unwrap()
    };
    let mut stream = caller.begin(get("/events"), true).await;
    let mut answer = stream.answer().await;
    assert_eq!(answer.end().await, (b"data: 1\n\n".to_vec(), End::Reset(Reason::CANCEL)));
    eventually("the origin is let go", async || house.origin.open() == 0).await;
    // The connection goes on.
    let mut answer = caller.begin(get("/download"), true).await.answer().await;
    assert_eq!(answer.end().await, (b"whole".to_vec(), End::Trailers(Vec::new())));
}

#[tokio::test]
async fn it_ends_for_an_http_2_origin_as_well() {
    let origin = Http2Origin::start();
    let house = LastMoment::of_a_token(&["--upstream", &origin.url()]).await;
    origin
        .reply(Http2Reply::late().head(200, &[("content-type", "text/event-stream")]).data("data: 1\n\n").then_never());
    let mut client = house.streams(1).await.remove(0);
    let caller = Caller::connect(house.gate.addr()).await;
    let request = http::Request::get("http://gate.test/").header("authorization", format!("Bearer {}", house.token));
    let mut answer = caller.begin(request.body(()).unwrap(), true).await.answer().await;
    assert!(client.is_closed().await);
    assert_eq!(answer.end().await, (b"data: 1\n\n".to_vec(), End::Reset(Reason::CANCEL)));
    eventually("the origin is told", async || origin.resets() == [Some(Reason::CANCEL); 2]).await;
}

#[tokio::test]
async fn a_stream_that_does_not_stand_still_ends_too() {
    let house = LastMoment::of_a_token(&[]).await;
    let endless = Reply::raw(EVENTS).then("7fffffff\r\n").then_pattern(u64::MAX / 2);
    house.origin.reply_at("/endless", endless);
    let (_, mut client) = house.begin("/endless", Some(&house.token)).await;
    while !client.some().await.is_empty() {}
    eventually("the origin is let go", async || house.origin.open() == 0).await;
}

#[tokio::test]
async fn nothing_but_a_stream_of_events_ends_before_its_own_end() {
    const LENGTH: usize = 8 * 1024 * 1024;
    let house = LastMoment::of_a_token(&["--skip-auth-route", "/public"]).await;
    let plain = EVENTS.replace("text/event-stream", "application/octet-stream");
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {LENGTH}\r\n\r\n");
    house.origin.reply_at("/events", events());
    house.origin.reply_at("/download", Reply::pattern(LENGTH as u64));
    house.origin.reply_at("/whole", Reply::raw(whole).then_pattern(LENGTH as u64));
    house.origin.reply_at("/plain", Reply::raw([&plain, EVENT].concat()).hold().then("0\r\n\r\n"));
    house.origin.reply_at("/public", Reply::raw([EVENTS, EVENT].concat()).hold().then("0\r\n\r\n"));
    let mut streams = house.streams(MANY).await;
    let (mut bodies, mut chunked) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        for path in ["/download", "/whole"] {
            bodies.push(house.begin(path, Some(&house.token)).await.1);
        }
        for (path, token) in [("/plain", Some(&*house.token)), ("/public", None)] {
            let (_, mut client) = house.begin(path, token).await;
            assert_eq!(client.bytes(EVENT.len()).await, EVENT.as_bytes());
            chunked.push(client);
        }
    }
    for stream in &mut streams {
        assert!(stream.is_closed().await);
    }
    house.origin.release();
    for mut client in bodies {
        assert!(is_pattern(0, &client.bytes(LENGTH).await));
    }
    for mut client in chunked {
        assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
    }
}

#[tokio::test]
async fn streams_outlive_their_tokens_where_that_is_wanted() {
    let (house, other) =
        (LastMoment::of_a_token(&["--stream-expiry", "ignore"]).await, LastMoment::of_a_token(&[]).await);
    house.origin.reply_at("/events", Reply::raw([EVENTS, EVENT].concat()).hold().then("0\r\n\r\n"));
    other.origin.reply_at("/events", events());
    let (ignoring, mut closing) = (house.streams(MANY).await, other.streams(MANY).await);
    for stream in &mut closing {
        assert!(stream.is_closed().await);
    }
    house.origin.release();
    for mut stream in ignoring {
        assert_eq!(stream.bytes(5).await, b"0\r\n\r\n");
    }
}

#[tokio::test]
async fn a_token_that_lives_for_ages_ends_no_stream() {
    let house = LastMoment::of_a_token(&[]).await;
    let forever = Issuer::start();
    let gate = Gate::start(&forever, &house.origin, &[]);
    gate.is_ready().await;
    house.origin.reply(Reply::raw([EVENTS, EVENT].concat()).then("0\r\n\r\n"));
    let token = forever.token().claim("exp", 9_007_199_254_740_991_u64).sign();
    assert_eq!(client::get(gate.addr(), "/", Some(&token)).await.text(), "data: 1\n\n");
}

#[tokio::test]
async fn the_end_of_a_stream_is_logged() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--leeway", "30s"]);
    let addr = binary.addr().await;
    let lasting = issuer.token().sign();
    eventually("it has keys", async || client::get(addr, "/", Some(&lasting)).await.status == 200).await;
    origin.reply(events());
    let token = issuer.token().claim("iat", now() - 60).claim("exp", now() - 28).sign();
    let mut client = Client::connect(addr).await;
    client.send(client::request("GET", "/events", Some(&token), "")).await;
    assert_eq!(client.response_head().await.status, 200);
    assert_eq!(client.bytes(EVENT.len()).await, EVENT.as_bytes());
    assert!(client.is_closed().await);
    let is_told = |line: &serde_json::Value| {
        line["path"] == "/events" && line["outcome"] == "forwarded" && line["cut"] == "token_expired"
    };
    eventually("it is logged", async || binary.log().iter().any(is_told)).await;
}
