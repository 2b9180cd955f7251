use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::deadline::Deadlines;

const IDLE: Duration = Duration::from_mins(5);
const LIFE: Duration = Duration::from_mins(1);
const EXPIRED: &[u8] = b"\x88\x0f\x03\xf0token expired";
/// `Hello`, masked and not (RFC 6455 §5.7).
const MASKED: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const HELLO: &[u8] = b"\x81\x05Hello";

impl Liveness for DuplexStream {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Both ends of a tunnel, and since when it is there.
struct Peers {
    client: DuplexStream,
    origin: DuplexStream,
    start: Instant,
}

impl Peers {
    /// So many whole seconds since the start.
    fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

async fn some(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn unmask(frame: &[u8]) -> Vec<u8> {
    let (head, rest) = frame.split_at(2);
    let (key, payload) = rest.split_at(4);
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    [head[0], head[1] & 0x7f].into_iter().chain(payload).collect()
}

/// Runs a tunnel between two peers; how it ended, and how many bytes went to the origin and to the client.
async fn joined(
    is_websocket: bool,
    ends: Option<Duration>,
    peers: impl AsyncFnOnce(Peers),
) -> (TunnelEnd, usize, usize) {
    let deadlines = Deadlines::default();
    let (client, near) = duplex(64);
    let (far, origin) = duplex(64);
    let start = Instant::now();
    let limits = Limits { deadline: deadlines.deadline(), idle: IDLE, ends: ends.map(|life| start + life), key: None };
    let tunnel = Ends { origin: far, received: Bytes::from_static(HELLO), is_websocket, limits };
    let (mut out, mut back) = (0, 0);
    let count = |direction, bytes| match direction {
        Direction::ToOrigin => out += bytes,
        Direction::ToClient => back += bytes,
    };
    let end = tokio::select! {
        (end, ()) = async { tokio::join!(tunnel.join(near, pending(), count), peers(Peers { client, origin, start })) } => end,
        () = deadlines.sweep() => unreachable!("a sweep has no end"),
    };
    (end, out, back)
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_until_both_have_ended() {
    let text = b"GET / neither a frame nor anything else, longer than what either end takes at once".repeat(9);
    let counted = joined(false, None, async |mut peers| {
        let sent = async {
            peers.client.write_all(&text).await.unwrap();
            peers.client.shutdown().await.unwrap();
        };
        let (received, ()) = tokio::join!(rest(&mut peers.origin), sent);
        assert!(received == text);
        // One end has ended, and the other goes on.
        let sent = async {
            peers.origin.write_all(&text).await.unwrap();
            drop(peers.origin);
        };
        let (received, ()) = tokio::join!(rest(&mut peers.client), sent);
        assert_eq!(received, [HELLO, &text].concat());
    });
    assert_eq!(counted.await, (TunnelEnd::Closed, text.len(), text.len() + HELLO.len()));
}

#[tokio::test(start_paused = true)]
async fn at_its_end_each_side_gets_a_close_frame_and_a_second_to_answer() {
    let ended = joined(true, Some(LIFE), async |mut peers| {
        assert_eq!(some(&mut peers.client, HELLO.len()).await, HELLO);
        assert_eq!(some(&mut peers.client, EXPIRED.len()).await, EXPIRED);
        assert_eq!(peers.seconds(), 60);
        let close = some(&mut peers.origin, EXPIRED.len() + 4).await;
        assert_eq!((close[1] & 0x80, unmask(&close)), (0x80, EXPIRED.to_vec()));
        // What still comes is thrown away.
        peers.client.write_all(MASKED).await.unwrap();
        assert_eq!(rest(&mut peers.origin).await, b"");
        assert_eq!(rest(&mut peers.client).await, b"");
        assert_eq!(peers.seconds(), 61);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn answers_to_the_close_frames_end_it_at_once() {
    let ended = joined(true, Some(LIFE), async |mut peers| {
        some(&mut peers.client, HELLO.len() + EXPIRED.len()).await;
        some(&mut peers.origin, EXPIRED.len() + 4).await;
        peers.client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xf0]).await.unwrap();
        peers.origin.write_all(&[0x88, 0x02, 3, 0xf0]).await.unwrap();
        assert_eq!(rest(&mut peers.client).await, b"");
        assert_eq!(rest(&mut peers.origin).await, b"");
        assert_eq!(peers.seconds(), 60);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_has_begun_is_finished_first() {
    let ended = joined(true, Some(LIFE), async |mut peers| {
        some(&mut peers.client, HELLO.len()).await;
        peers.origin.write_all(&HELLO[..4]).await.unwrap();
        some(&mut peers.client, 4).await;
        some(&mut peers.origin, EXPIRED.len() + 4).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        // Behind it comes the close frame, and nothing of the next one.
        peers.origin.write_all(&[&HELLO[4..], HELLO].concat()).await.unwrap();
        assert_eq!(rest(&mut peers.client).await, [&HELLO[4..], EXPIRED].concat());
        assert_eq!(peers.seconds(), 65);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_never_finished_is_cut_after_5_seconds() {
    let ended = joined(true, Some(LIFE), async |mut peers| {
        some(&mut peers.client, HELLO.len()).await;
        peers.client.write_all(&MASKED[..3]).await.unwrap();
        some(&mut peers.origin, 3).await;
        assert_eq!(rest(&mut peers.client).await, EXPIRED);
        assert_eq!(rest(&mut peers.origin).await, b"");
        assert_eq!(peers.seconds(), 65);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_behind_a_close_frame() {
    let ended = joined(true, Some(LIFE), async |mut peers| {
        some(&mut peers.client, HELLO.len()).await;
        let close = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
        peers.client.write_all(&close).await.unwrap();
        assert_eq!(rest(&mut peers.client).await, EXPIRED);
        assert_eq!(rest(&mut peers.origin).await, close);
        assert_eq!(peers.seconds(), 61);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_websocket_just_ends() {
    let ended = joined(false, Some(LIFE), async |mut peers| {
        assert_eq!(rest(&mut peers.client).await, HELLO);
        assert_eq!(rest(&mut peers.origin).await, b"");
        assert_eq!(peers.seconds(), 60);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_read_is_not_waited_for() {
    let ended = joined(true, Some(LIFE), async |mut peers| {
        // More than the client's end takes: what is behind it waits, and so does the close frame.
        let frames = HELLO.repeat(15);
        peers.origin.write_all(&frames).await.unwrap();
        assert_eq!(rest(&mut peers.origin).await.len(), EXPIRED.len() + 4);
        assert_eq!(peers.seconds(), 65);
        assert_eq!(rest(&mut peers.client).await.len(), 64);
    });
    assert_eq!(ended.await.0, TunnelEnd::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn without_a_byte_either_way_it_ends() {
    let ended = joined(true, None, async |mut peers| {
        some(&mut peers.client, HELLO.len()).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(290)).await;
            peers.client.write_all(MASKED).await.unwrap();
            some(&mut peers.origin, MASKED.len()).await;
        }
        let start = Instant::now();
        assert_eq!(rest(&mut peers.client).await, Close::IDLE.unmasked());
        let elapsed = start.elapsed();
        assert!(elapsed >= IDLE && elapsed < IDLE + Duration::from_secs(2), "{elapsed:?}");
    });
    assert_eq!(ended.await.0, TunnelEnd::Idle);
}
