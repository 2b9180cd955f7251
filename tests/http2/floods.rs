//! Frames that ask for work and lead to nothing, as many as a client can send. Each is the end of its connection, and of
//! no other.

use crate::support::http2::{Frames, Http2, USUAL, fields_block, frame, get};
use crate::support::origin::is_pattern;
use crate::support::{House, Reply};

const TIMES: usize = 200_000;

/// Whether such a flood ends its connection while a good client is served.
async fn is_ended(begin: &[u8], again: &[u8]) -> bool {
    let house = House::start(&["--skip-auth-route", "/open"]).await;
    house.origin.reply_at("/never", Reply::never());
    let mut good = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let mut flood = Frames::connect(house.gate.addr()).await;
    flood.send(begin).await;
    let flooded = flood.flood(again, TIMES);
    tokio::pin!(flooded);
    let mut served = 0;
    let ended = loop {
        tokio::select! {
            ended = &mut flooded => break ended,
            response = good.exchange(get("/", Some(&token))) => {
                assert_eq!(response.status, 200);
                served += 1;
            }
        }
    };
    let last = good.exchange(get("/", Some(&token))).await;
    assert_eq!((last.status, served > 0 || ended), (200, true));
    ended
}

#[tokio::test]
async fn pings_are_not_answered_without_end() {
    // CVE-2019-9512.
    assert!(is_ended(&[], &frame(6, 0, 0, &[0; 8])).await);
}

#[tokio::test]
async fn settings_are_not_acknowledged_without_end() {
    // CVE-2019-9515.
    assert!(is_ended(&[], &frame(4, 0, 0, &[])).await);
}

#[tokio::test]
async fn empty_data_is_not_read_without_end() {
    // CVE-2019-9518: DATA without a byte and without END_STREAM, of a request that waits for its body.
    let open = [("authorization", "none"), ("x", "y")];
    let fields: Vec<_> = USUAL.map(|field| if field.0 == ":path" { (":path", "/open") } else { field }).to_vec();
    let head = frame(1, 0x4, 1, &fields_block(&[&fields[..], &open[1..]].concat()));
    assert!(is_ended(&head, &frame(0, 0, 1, &[])).await);
}

#[tokio::test]
async fn room_is_not_made_without_end() {
    // WINDOW_UPDATE by 1 of the connection.
    assert!(is_ended(&[], &frame(8, 0, 0, &1_u32.to_be_bytes())).await);
}

#[tokio::test]
async fn priorities_are_not_read_without_end() {
    // CVE-2019-9513.
    assert!(is_ended(&[], &frame(2, 0, 1, &[0, 0, 0, 0, 1])).await);
}

#[tokio::test]
async fn frames_of_no_known_kind_are_not_skipped_without_end() {
    assert!(is_ended(&[], &frame(0x42, 0, 0, &[])).await);
}

#[tokio::test]
async fn a_list_of_fields_does_not_go_on_without_end() {
    // CVE-2024-27316: HEADERS without END_HEADERS, then CONTINUATION, empty or not.
    let head = frame(1, 0x1, 1, &fields_block(&USUAL));
    assert!(is_ended(&head, &frame(9, 0, 1, &[])).await);
    assert!(is_ended(&head, &frame(9, 0, 1, &fields_block(&[("x-more", &"v".repeat(100))]))).await);
}

/// As many streams as there may be, each of them begun and ended by `end`.
fn streams(end: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let fields = fields_block(&USUAL.map(|field| if field.0 == ":path" { (":path", "/open") } else { field }));
    (0..20_000)
        .map(|number| 2 * number + 1)
        .flat_map(|stream| [frame(1, 0x4, stream, &fields), end(stream)].concat())
        .collect()
}

#[tokio::test]
async fn streams_are_not_begun_and_reset_without_end() {
    // CVE-2023-44487.
    assert!(is_ended(&[], &streams(|stream| frame(3, 0, stream, &8_u32.to_be_bytes()))).await);
}

#[tokio::test]
async fn we_are_not_made_to_reset_streams_without_end() {
    // CVE-2025-8671: WINDOW_UPDATE by 0 is an error of the stream, which we reset.
    assert!(is_ended(&[], &streams(|stream| frame(8, 0, stream, &[0; 4]))).await);
}

#[tokio::test]
async fn a_flood_is_told_why_it_ends() {
    let house = House::start(&[]).await;
    let mut client = Frames::connect(house.gate.addr()).await;
    client.send(&frame(4, 0, 0, &[]).repeat(1_100)).await;
    let goaway = client.next_of(7).await.unwrap();
    // ENHANCE_YOUR_CALM.
    assert_eq!(goaway.payload[4..8], 11_u32.to_be_bytes());
}

#[tokio::test]
async fn a_list_of_fields_that_grows_when_it_is_read_is_not_kept() {
    // One field of 4,000 bytes is put into the table (RFC 7541 §6.2.1), and then named by one byte each, 16,000 times.
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let mut client = Frames::connect(house.gate.addr()).await;
    let (name, value) = ("x", "v".repeat(3_900));
    let mut block = fields_block(&USUAL);
    let literal = fields_block(&[(name, &value)]);
    block.extend([&[0x40], &literal[1..]].concat());
    block.resize(16_000, 0x80 | 0x3e);
    client.send(&frame(1, 0x5, 1, &block)).await;
    let goaway = client.next_of(7).await.unwrap();
    assert_eq!(goaway.payload[4..8], 11_u32.to_be_bytes());
    assert!(house.origin.received().is_empty());
}

/// As Go's client makes it: for each 4 KiB that are read, of the stream and of the connection.
#[tokio::test]
async fn room_that_is_made_for_what_was_read_is_no_flood() {
    const LENGTH: usize = 32 * 1024 * 1024;
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    house.origin.reply(Reply::pattern(LENGTH as u64));
    let mut client = Frames::connect(house.gate.addr()).await;
    client.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
    let mut received = 0;
    while received < LENGTH {
        let data = client.next().await.unwrap();
        assert_ne!(data.kind, 7, "GOAWAY after {received} bytes");
        if data.kind != 0 {
            continue;
        }
        assert!(is_pattern(received as u64, &data.payload));
        received += data.payload.len();
        for read in data.payload.chunks(4096) {
            let room = u32::try_from(read.len()).unwrap().to_be_bytes();
            client.send(&[frame(8, 0, 0, &room), frame(8, 0, 1, &room)].concat()).await;
        }
    }
}
