//! Clients that make room after each frame, and those that only seem to.

use crate::support::http2::{Frames, USUAL, fields_block, frame};
use crate::support::{House, Reply, stands_still};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// A kind that no RFC knows.
const UNKNOWN: u8 = 0x42;
const ENHANCE_YOUR_CALM: u32 = 11;
/// So many frames has a small answer.
const SMALL: usize = 5_000;

/// An answer of chunks of one byte, each of which goes on as a frame.
fn small() -> Reply {
    let chunks = "1\r\na\r\n".repeat(SMALL);
    Reply::raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"))
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0x5, stream, &fields_block(&USUAL))
}

fn room(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Reads an answer and says this to each of its frames, at once or when all are here; how many there were.
async fn read(client: &mut Frames, says: impl Fn(u32) -> Vec<u8>, is_at_once: bool) -> usize {
    let (mut count, mut late) = (0, Vec::new());
    loop {
        let next = client.next().await.unwrap_or_else(|| panic!("cut after {count} frames"));
        assert_ne!(next.kind, GOAWAY, "after {count} frames: {next:?}");
        if next.kind == DATA && !next.payload.is_empty() {
            count += 1;
            let said = says(u32::try_from(next.payload.len()).unwrap());
            if is_at_once {
                client.send(&said).await;
            } else {
                late.extend(said);
            }
        }
        if next.kind == DATA && next.flags & 1 != 0 {
            client.send(&late).await;
            return count;
        }
    }
}

/// What a client says to a frame of so many bytes.
type Says<'s> = &'s dyn Fn(u32) -> Vec<u8>;

async fn reason(client: &mut Frames) -> u32 {
    let goaway = client.next_of(GOAWAY).await.expect("a GOAWAY before the end");
    u32::from_be_bytes(goaway.payload[4..8].try_into().unwrap())
}

#[tokio::test]
async fn a_client_that_makes_room_after_each_frame_is_served() {
    let both = |bytes| [room(0, bytes), room(1, bytes)].concat();
    let with_ping = move |bytes| [both(bytes), frame(PING, 0, 0, &[0; 8])].concat();
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    house.origin.reply(small());
    for (name, is_at_once) in [("late", false), ("at once", true)] {
        let cases: [(&str, Says<'_>); 4] = [
            ("for the connection", &|bytes| room(0, bytes)),
            ("for the stream", &|bytes| room(1, bytes)),
            ("for both", &both),
            ("for both, with a PING", &with_ping),
        ];
        for (what, says) in cases {
            let mut client = Frames::connect(house.gate.addr()).await;
            client.send(&get(1)).await;
            let count = read(&mut client, says, is_at_once).await;
            assert!(count > SMALL / 2, "{what}, {name}: only {count} frames");
            // The connection goes on.
            client.send(&get(3)).await;
            loop {
                let next = client.next().await.unwrap_or_else(|| panic!("{what}, {name}: cut"));
                assert_ne!(next.kind, GOAWAY, "{what}, {name}: {next:?}");
                if next.kind == HEADERS && next.stream == 3 {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_sent_pays_for_what_is_said_to_it_and_for_no_more() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    house.origin.reply(small());
    for (what, flood) in [
        // More than three for each frame.
        ("room", room(0, 1).repeat(3 * SMALL + 4_000)),
        ("PING", frame(PING, 0, 0, &[0; 8]).repeat(3 * SMALL + 4_000)),
        // No client says this to a frame.
        ("SETTINGS", frame(SETTINGS, 0, 0, &[]).repeat(1_100)),
        ("frames of no known kind", frame(UNKNOWN, 0, 0, &[]).repeat(5_000)),
    ] {
        let mut client = Frames::connect(house.gate.addr()).await;
        client.send(&get(1)).await;
        read(&mut client, |_| Vec::new(), false).await;
        client.send(&flood).await;
        assert_eq!(reason(&mut client).await, ENHANCE_YOUR_CALM, "{what}");
    }
}

/// What it reads first is the rest of the frame.
#[tokio::test]
async fn a_flood_in_the_middle_of_a_frame_is_told_why_it_ends() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    house.origin.reply(Reply::pattern(1 << 30));
    for (what, flood) in [
        ("frames of no known kind", frame(UNKNOWN, 0, 0, &[]).repeat(4_000)),
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(4_000)),
    ] {
        let mut client = Frames::connect(house.gate.addr()).await;
        // Room for more than the sockets take.
        let wide = frame(SETTINGS, 0, 0, &[0, 4, 0x3f, 0xff, 0xff, 0xff]);
        client.send(&[wide, room(0, 1 << 30), get(1)].concat()).await;
        stands_still("what is written", || house.origin.written()).await;
        client.send(&flood).await;
        assert_eq!(reason(&mut client).await, ENHANCE_YOUR_CALM, "{what}");
    }
}
