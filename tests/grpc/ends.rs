//! A call that has begun ends in trailers, whatever ends it.

use std::time::Duration;

use h2::Reason;

use super::{BEGUN, CHUNK, MESSAGE, call, status};
use crate::streams::LastMoment;
use crate::support::caller::End;
use crate::support::{Caller, Exposition, House, Reply, client, eventually};

const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];

fn begun() -> Reply {
    Reply::early([BEGUN, CHUNK].concat())
}

#[tokio::test]
async fn a_call_ends_when_its_token_does() {
    let house = LastMoment::of_a_token(&[]).await;
    house.origin.reply(begun().then_never());
    let caller = Caller::connect(house.gate.addr()).await;
    let mut call = call(&caller, Some(&house.token), &[]).await;
    let mut answer = call.answer().await;
    assert_eq!(answer.bytes(MESSAGE.len()).await, MESSAGE);
    assert_eq!(answer.end().await, (Vec::new(), status(16, "token expired")));
    // The request is not wanted any more.
    assert_eq!(call.is_reset().await, Reason::NO_ERROR);
    eventually("the origin is let go", async || house.origin.open() == 0).await;
    let cut = r#"claimgate_responses_cut_total{cause="token_expired"}"#;
    let count = async || Exposition::scrape(house.gate.admin_addr()).await.find(cut);
    eventually("it is counted", async || count().await == Some(1.0)).await;
}

#[tokio::test]
async fn a_call_without_an_answer_is_refused_when_its_token_ends() {
    let house = LastMoment::of_a_token(&[]).await;
    house.origin.reply(Reply::never());
    let caller = Caller::connect(house.gate.addr()).await;
    let answer = call(&caller, Some(&house.token), &[]).await.answer().await;
    assert_eq!((answer.header("grpc-status"), answer.body.is_end_stream()), (Some("16"), true));
    let message = answer.header("grpc-message").unwrap();
    assert!(message.starts_with("expired: Token has expired: expired at 20"), "{message}");
    eventually("the origin is let go", async || house.origin.open() == 0).await;
}

#[tokio::test]
async fn a_call_outlives_its_token_where_that_is_wanted() {
    let (house, other) =
        (LastMoment::of_a_token(&["--stream-expiry", "ignore"]).await, LastMoment::of_a_token(&[]).await);
    house.origin.reply(begun().hold().then("0\r\n\r\n"));
    other.origin.reply(begun().then_never());
    let (ignoring, closing) = (Caller::connect(house.gate.addr()).await, Caller::connect(other.gate.addr()).await);
    let (mut kept, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        kept.push(call(&ignoring, Some(&house.token), &[]).await.answer().await);
        ended.push(call(&closing, Some(&other.token), &[]).await.answer().await);
    }
    for answer in &mut ended {
        assert_eq!(answer.end().await.1, status(16, "token expired"));
    }
    house.origin.release();
    for answer in &mut kept {
        assert_eq!(answer.end().await, (MESSAGE.to_vec(), End::Trailers(Vec::new())));
    }
}

#[tokio::test]
async fn a_deadline_goes_to_the_origin_and_is_held_when_that_does_not_heed_it() {
    let house = House::start(&OPEN).await;
    let caller = Caller::connect(house.gate.addr()).await;
    house.origin.reply_next([Reply::never(), begun().then_never()]);
    let answer = call(&caller, None, &[("grpc-timeout", "50m")]).await.answer().await;
    assert_eq!((answer.header("grpc-status"), answer.body.is_end_stream()), (Some("4"), true));
    let message = answer.header("grpc-message").unwrap();
    assert_eq!(message, "upstream_timeout: The origin did not answer in time");
    let mut answer = call(&caller, None, &[("grpc-timeout", "50000u")]).await.answer().await;
    assert_eq!(answer.end().await, (MESSAGE.to_vec(), status(4, "deadline exceeded")));
    eventually("the origin is let go", async || house.origin.open() == 0).await;
    let timeouts: Vec<_> =
        house.origin.received().iter().map(|call| call.header("grpc-timeout").map(str::to_owned)).collect();
    assert_eq!(timeouts, [Some("50m".to_owned()), Some("50000u".to_owned())]);
}

#[tokio::test]
async fn a_call_may_take_longer_to_be_answered_than_other_requests() {
    let house = House::start(&[&OPEN[..], &["--upstream-timeout", "50ms"]].concat()).await;
    let caller = Caller::connect(house.gate.addr()).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 0\r\nContent-Length: 0\r\n\r\n";
    house.origin.reply_at("/shout.Shout/Both", Reply::early("").hold().then(answer));
    house.origin.reply_at("/slow", Reply::never());
    let mut call = call(&caller, None, &[]).await;
    house.origin.has_begun(1).await;
    assert_eq!(client::get(house.gate.addr(), "/slow", None).await.status, 504);
    house.origin.release();
    let answer = call.answer().await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("0")));
}

#[tokio::test]
async fn a_call_that_stands_still_or_is_left_by_the_origin_is_unavailable() {
    let house = House::start(&[&OPEN[..], &["--stream-idle-timeout", "300ms"]].concat()).await;
    let caller = Caller::connect(house.gate.addr()).await;
    for (reply, message) in [
        (begun().then_never(), "the call stood still"),
        (begun().hold().close(), "the connection to the origin ended"),
        (begun().hold().then_reset(), "the connection to the origin ended"),
        (begun().hold().then("no chunk"), "the connection to the origin ended"),
    ] {
        house.origin.reply(reply);
        let mut answer = call(&caller, None, &[]).await.answer().await;
        assert_eq!(answer.bytes(MESSAGE.len()).await, MESSAGE);
        house.origin.release();
        assert_eq!(answer.end().await, (Vec::new(), status(14, message)));
    }
}

#[tokio::test]
async fn a_call_that_the_client_cancels_is_over_for_the_origin() {
    let house = House::start(&OPEN).await;
    let caller = Caller::connect(house.gate.addr()).await;
    for reply in [Reply::never(), begun().then_never()] {
        house.origin.reply(reply);
        let begun = house.origin.begun();
        let mut call = call(&caller, None, &[]).await;
        house.origin.has_begun(begun + 1).await;
        call.sending.send_reset(Reason::CANCEL);
        eventually("the origin is let go", async || house.origin.open() == 0).await;
    }
}

#[tokio::test]
async fn a_call_stands_still_only_when_neither_side_says_anything() {
    const TURNS: usize = 6;
    let pause = Duration::from_millis(500);
    let house = House::start(&[&OPEN[..], &["--stream-idle-timeout", "2s"]].concat()).await;
    let caller = Caller::connect(house.gate.addr()).await;
    // The origin speaks, the client does not.
    let speaking = (0..TURNS).fold(begun(), |reply, _| reply.wait(pause).then(CHUNK)).then("0\r\n\r\n");
    house.origin.reply_next([speaking]);
    let mut silent = call(&caller, None, &[]).await;
    assert_eq!(silent.answer().await.end().await, (MESSAGE.repeat(TURNS + 1), End::Trailers(Vec::new())));
    // And the other way round; each pause is another request's.
    house.origin.reply_next([begun().hold().then("0\r\n\r\n")]);
    let paused = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    house.origin.reply_at("/pause", Reply::early("").wait(pause).then(paused));
    let mut speaking = call(&caller, None, &[]).await;
    let mut answer = speaking.answer().await;
    for _ in 0..TURNS {
        assert_eq!(client::get(house.gate.addr(), "/pause", None).await.status, 200);
        speaking.send(MESSAGE);
    }
    house.origin.release();
    assert_eq!(answer.end().await, (MESSAGE.to_vec(), End::Trailers(Vec::new())));
}
