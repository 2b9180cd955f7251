//! Calls to an origin that speaks HTTP/2, as real ones do.

use h2::Reason;

use super::{MESSAGE, call, status};
use crate::streams::LastMoment;
use crate::support::caller::End;
use crate::support::{Caller, Http2Origin, Http2Reply, eventually};
use crate::upstream_kinds::House2;

const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];
const TYPE: (&str, &str) = ("content-type", "application/grpc");
const TEXT: &str = "\0\0\0\0\u{2}hi";

fn begun() -> Http2Reply {
    Http2Reply::early().head(200, &[TYPE, ("x-begin-bin", "AP8")]).data(TEXT)
}

fn told(fields: &[(&str, &str)]) -> End {
    End::Trailers(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[tokio::test]
async fn metadata_and_trailers_pass_as_they_are() {
    let house = House2::start(&OPEN).await;
    let trailers = [("grpc-message", "100%25 %C3%A9"), ("grpc-status", "5"), ("x-end-bin", "AP8")];
    house.origin.reply(begun().trailers(&trailers));
    let caller = Caller::connect(house.gate.addr()).await;
    let fields = [("grpc-timeout", "30S"), ("x-mine-bin", "AP8"), ("grpc-encoding", "identity")];
    let mut answer = call(&caller, None, &fields).await.answer().await;
    assert_eq!(answer.header("x-begin-bin"), Some("AP8"));
    assert_eq!(answer.end().await, (MESSAGE.to_vec(), told(&trailers)));
    let received = house.origin.last();
    for (name, value) in fields.into_iter().chain([TYPE, ("te", "trailers")]) {
        assert_eq!(received.header(name), Some(value), "{received:#?}");
    }
}

#[tokio::test]
async fn each_message_goes_on_before_the_next_one_is_sent() {
    let house = House2::start(&OPEN).await;
    house.origin.reply(Http2Reply::echo());
    let caller = Caller::connect(house.gate.addr()).await;
    let mut call = call(&caller, None, &[]).await;
    let mut answer = call.answer().await;
    for _ in 0..50 {
        assert_eq!(answer.bytes(MESSAGE.len()).await, MESSAGE);
        call.send(MESSAGE);
    }
    call.sending.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(answer.end().await, (MESSAGE.to_vec(), End::Trailers(Vec::new())));
}

#[tokio::test]
async fn a_reset_by_the_origin_goes_on_as_it_is_and_its_end_is_unavailable() {
    for reason in [Reason::CANCEL, Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM] {
        let house = House2::start(&OPEN).await;
        let caller = Caller::connect(house.gate.addr()).await;
        house.origin.reply(begun().hold().reset(reason));
        let mut answer = call(&caller, None, &[]).await.answer().await;
        assert_eq!(answer.bytes(MESSAGE.len()).await, MESSAGE);
        house.origin.release();
        assert_eq!(answer.end().await, (Vec::new(), End::Reset(reason)));
    }
    let house = House2::start(&OPEN).await;
    let caller = Caller::connect(house.gate.addr()).await;
    house.origin.reply(begun().then_never());
    let mut answer = call(&caller, None, &[]).await.answer().await;
    assert_eq!(answer.bytes(MESSAGE.len()).await, MESSAGE);
    house.origin.stop();
    assert_eq!(answer.end().await, (Vec::new(), status(14, "the connection to the origin ended")));
    let answer = call(&caller, None, &[]).await.answer().await;
    assert_eq!((answer.header("grpc-status"), answer.body.is_end_stream()), (Some("14"), true));
}

#[tokio::test]
async fn the_origin_is_told_of_whatever_ends_a_call() {
    let origin = Http2Origin::start();
    let house = LastMoment::of_a_token(&["--upstream", &origin.url()]).await;
    let caller = Caller::connect(house.gate.addr()).await;
    let count = async |count: usize| {
        eventually("the origin is told", async || origin.resets().len() == count).await;
        assert_eq!(origin.resets()[count - 1], Some(Reason::CANCEL));
    };
    // The client.
    origin.reply(begun().then_never());
    let mut cancelled = call(&caller, Some(&house.token), &[]).await;
    cancelled.answer().await;
    cancelled.sending.send_reset(Reason::CANCEL);
    count(1).await;
    // Its deadline, and its token: with an answer and without.
    let mut late = call(&caller, Some(&house.token), &[("grpc-timeout", "1n")]).await.answer().await;
    let mut begun = call(&caller, Some(&house.token), &[]).await.answer().await;
    origin.reply(Http2Reply::never());
    let silent = call(&caller, Some(&house.token), &[]).await.answer().await;
    assert_eq!((silent.header("grpc-status"), silent.body.is_end_stream()), (Some("16"), true));
    assert_eq!(late.end().await, (MESSAGE.to_vec(), status(4, "deadline exceeded")));
    assert_eq!(begun.end().await, (MESSAGE.to_vec(), status(16, "token expired")));
    count(4).await;
    eventually("no stream is left", async || origin.streams() == 0).await;
    assert_eq!(origin.opened(), 1, "the connection goes on");
}
