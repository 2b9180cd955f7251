//! An HTTP/2 origin that says what no decent one would, frame by frame (RFC 9113 §4.1).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
/// `:status: 200` of the static table of HPACK (RFC 7541).
pub(super) const STATUS_200: &[u8] = &[0x88];

/// A frame with its nine bytes of header.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GOAWAY with the last stream that was acted upon and a reason.
pub(super) fn go_away(last: u32, reason: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

pub(super) fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// A whole response without a body.
pub(super) fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200)
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Which connection, from 0.
    pub(super) connection: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// An origin that answers each frame as it is told; it stops with the runtime of its test.
pub(super) struct RawOrigin {
    pub(super) addr: SocketAddr,
    frames: Arc<Mutex<Vec<Frame>>>,
}

/// What is sent for a frame; an empty list closes the connection, `None` says nothing.
pub(super) type Answer = Option<Vec<u8>>;

impl RawOrigin {
    /// With these SETTINGS.
    pub(super) async fn start(
        settings: &'static [u8],
        answer: impl Fn(&Frame) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let frames = Arc::<Mutex<Vec<Frame>>>::default();
        let (seen, answer) = (Arc::clone(&frames), Arc::new(answer));
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // A connection that ends early is what some tests are about.
                tokio::spawn(async move { drop(serve(stream, connection, settings, seen, answer).await) });
            }
        });
        Self { addr, frames }
    }

    pub(super) fn url(&self) -> String {
        format!("h2c://{}", self.addr)
    }

    /// The frames of this kind, in their order.
    pub(super) fn frames(&self, kind: u8) -> Vec<Frame> {
        self.frames.lock().unwrap().iter().filter(|frame| frame.kind == kind).cloned().collect()
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    settings: &[u8],
    seen: Arc<Mutex<Vec<Frame>>>,
    answer: Arc<impl Fn(&Frame) -> Answer>,
) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let (say, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(bytes) = said.recv().await {
            writer.write_all(&bytes).await?;
        }
        writer.shutdown().await
    });
    reader.read_exact(&mut [0; PREFACE]).await?;
    say.send(frame(SETTINGS, 0, 0, settings)).ok();
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        let received = Frame { connection, kind: head[3], flags: head[4], stream, payload };
        let answered = answer(&received);
        if received.kind == SETTINGS && received.flags == 0 {
            say.send(frame(SETTINGS, 1, 0, &[])).ok();
        }
        seen.lock().unwrap().push(received);
        match answered {
            Some(bytes) if bytes.is_empty() => return Ok(()),
            Some(bytes) => drop(say.send(bytes)),
            None => {}
        }
    }
}
