use std::time::Duration;

use super::*;

const GET: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// After the preface.
fn begun() -> Frames {
    let mut frames = Frames::new();
    frames.read(PREFACE, frames.since).unwrap();
    frames
}

fn read(frames: &mut Frames, bytes: &[u8]) -> Result<(), Flood> {
    frames.read(bytes, frames.since)
}

#[test]
fn a_stream_is_open_from_its_fields_to_the_end_of_its_answer() {
    let answer = frame(1, END_HEADERS, 1, b"head");
    let ends = [
        frame(0, END_STREAM, 1, b"body"),
        frame(1, GET, 1, b"trailers"),
        frame(3, 0, 1, &8_u32.to_be_bytes()),
        frame(7, 0, 0, &[0; 8]),
    ];
    for end in ends {
        let mut frames = begun();
        read(&mut frames, &frame(1, END_HEADERS, 1, b"fields")).unwrap();
        read(&mut frames, &frame(1, GET, 1, b"trailers")).unwrap();
        frames.wrote(&answer);
        assert!(frames.have_open());
        frames.wrote(&end);
        assert!(!frames.have_open(), "{end:?}");
    }
    let mut frames = begun();
    read(&mut frames, &frame(1, GET, 1, b"fields")).unwrap();
    read(&mut frames, &frame(3, 0, 1, &8_u32.to_be_bytes())).unwrap();
    assert!(!frames.have_open());
}

#[test]
fn what_is_behind_a_goaway_is_never_open() {
    let mut frames = begun();
    frames.wrote(&frame(7, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    read(&mut frames, &[frame(1, GET, 1, b"a"), frame(1, GET, 3, b"b")].concat()).unwrap();
    frames.wrote(&frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    read(&mut frames, &frame(1, GET, 5, b"c")).unwrap();
    assert_eq!(frames.streams.ids, [1]);
}

#[test]
fn pieces_make_no_difference() {
    let all = [
        frame(4, 0, 0, &[0; 12]),
        frame(1, 0, 1, b"some"),
        frame(9, END_HEADERS, 1, b"more"),
        frame(3, 0, 1, &8_u32.to_be_bytes()),
        frame(1, END_HEADERS, 3, b""),
        frame(0, 0, 3, b"body"),
    ]
    .concat();
    let seen = |size: usize| {
        let mut frames = begun();
        for piece in all.chunks(size) {
            read(&mut frames, piece).unwrap();
        }
        (frames.streams.ids.clone(), frames.credit, frames.are_in_fields(), frames.received.is_within())
    };
    let whole = seen(all.len());
    assert_eq!(whole.0, [3]);
    for size in 1..20 {
        assert_eq!(seen(size), whole, "{size}");
    }
}

#[test]
fn fields_go_on_until_their_last_byte_is_here() {
    let mut frames = begun();
    let list = [frame(1, END_STREAM, 1, b"some"), frame(9, END_HEADERS, 1, b"more")].concat();
    for (at, byte) in list.iter().enumerate() {
        read(&mut frames, &[*byte]).unwrap();
        // A head of nine bytes tells what it is.
        assert_eq!(frames.are_in_fields(), (8..list.len() - 1).contains(&at), "{at}");
    }
}

#[test]
fn what_leads_to_nothing_has_an_end_and_time_brings_it_back() {
    let ping = frame(6, 0, 0, &[0; 8]);
    let pings = |count: u64| ping.repeat(usize::try_from(count).unwrap());
    assert_eq!(read(&mut begun(), &pings(CREDIT + 1)), Err(Flood));
    for (more, expected) in [(0, Ok(())), (1, Err(Flood))] {
        let mut frames = begun();
        read(&mut frames, &pings(CREDIT)).unwrap();
        let second = frames.since + Duration::from_secs(1);
        assert_eq!(frames.read(&pings(1000 / MILLIS_PER_ONE + more), second), expected, "{more}");
    }
    let mut frames = begun();
    let reset = |stream| [frame(1, GET, stream, b"get"), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
    let streams = (0..10_000).find(|number| read(&mut frames, &reset(2 * number + 1)).is_err()).unwrap();
    assert_eq!(u64::from(streams), CREDIT / (RESET + 1));
}

#[test]
fn answers_and_bodies_pay_for_what_is_beside_them() {
    let beside = [frame(6, 0, 0, &[0; 8]), frame(8, 0, 0, &1_u32.to_be_bytes())].concat();
    let mut frames = begun();
    read(&mut frames, &frame(1, END_HEADERS, 1, b"fields")).unwrap();
    for _ in 0..2 * CREDIT {
        read(&mut frames, &[frame(0, 0, 1, b"a"), beside.clone()].concat()).unwrap();
        frames.wrote(&frame(0, 0, 1, b"b"));
        read(&mut frames, &beside).unwrap();
    }
    for stream in (3..).step_by(2).take(5_000) {
        read(&mut frames, &[frame(1, GET, stream, b"get"), beside.clone()].concat()).unwrap();
        frames.wrote(&frame(1, GET, stream, b"answer"));
    }
    // Bytes for a stream that is not open earn nothing.
    assert!((0..=CREDIT).any(|_| read(&mut frames, &frame(0, 0, 3, b"a")).is_err()));
}

#[test]
fn a_client_pays_for_resets_that_it_provokes_and_not_for_ours() {
    for (reason, is_paid) in [(0_u32, false), (2, false), (8, false), (1, true), (5, true), (7, true)] {
        let mut frames = begun();
        frames.wrote(&frame(3, 0, 1, &reason.to_be_bytes()));
        assert_eq!(frames.credit < CREDIT, is_paid, "{reason}");
    }
}

#[test]
fn a_goaway_is_not_put_into_another_frame() {
    let mut frames = begun();
    read(&mut frames, &frame(1, GET, 5, b"get")).unwrap();
    let goaway = frames.goaway(Reason::EnhanceYourCalm).unwrap();
    assert_eq!(goaway.as_slice(), frame(7, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 11]));
    frames.wrote(&frame(0, 0, 5, b"body")[..11]);
    assert_eq!(frames.goaway(Reason::EnhanceYourCalm), None);
    frames.wrote(b"dy");
    assert!(frames.goaway(Reason::EnhanceYourCalm).is_some());
}
