//! One connection at the origin.

use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::pattern::{is_pattern, pattern};
use super::reply::{Reply, Step};
use super::stream::Stream;
use super::{Received, State};
use crate::support::client::find;

/// How much of a body is kept; of the rest only the length and whether it is the [`pattern`].
pub(crate) const KEPT_BODY: usize = 64 * 1024;

/// The other end went away, or what it sent makes no sense.
#[derive(Debug)]
struct Gone;

pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) buffer: BytesMut,
}

impl Connection {
    pub(super) async fn run(
        mut self,
        state: Arc<Mutex<State>>,
        mut released: watch::Receiver<usize>,
        mut dismissals: watch::Receiver<usize>,
    ) {
        for count in 0.. {
            dismissals.mark_unchanged();
            let head = tokio::select! {
                head = self.read_request_head() => head,
                _ = dismissals.changed(), if count > 0 => break,
            };
            let Ok(mut received) = head else { break };
            let reply = state.lock().unwrap().reply_to(&received.target);
            let outcome = self.play(&reply, &mut received, &mut released, &state).await;
            let mut state = state.lock().unwrap();
            if !received.is_complete {
                state.received.push(received);
            }
            match outcome {
                Ok(true) => {}
                Ok(false) => break,
                Err(Gone) => {
                    state.abandoned += 1;
                    break;
                }
            }
        }
        state.lock().unwrap().closed += 1;
    }

    /// Whether the connection goes on.
    async fn play(
        &mut self,
        reply: &Reply,
        received: &mut Received,
        released: &mut watch::Receiver<usize>,
        state: &Mutex<State>,
    ) -> Result<bool, Gone> {
        let mut has_read = false;
        for step in &reply.0 {
            match step {
                Step::ReadBody => {
                    self.read_body(received, state).await?;
                    has_read = true;
                }
                Step::Switch => self.write(switching(received).as_bytes()).await?,
                Step::Write(bytes) => self.write(bytes).await?,
                Step::Pattern(length) => self.write_pattern(*length, state).await?,
                Step::Wait(duration) => tokio::time::sleep(*duration).await,
                // Nothing is read meanwhile, not even whether the other end is still there.
                Step::Hold(wanted) => drop(released.wait_for(|count| count >= wanted).await),
                Step::Never => return Err(self.is_gone().await),
                Step::Reset => {
                    self.stream.reset();
                    return Ok(false);
                }
                Step::End => {
                    self.stream.shutdown().await.map_err(|_| Gone)?;
                    return Ok(false);
                }
                Step::Close => return Ok(false),
            }
        }
        if !has_read {
            self.read_body(received, state).await?;
        }
        Ok(true)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.stream.write_all(bytes).await.map_err(|_| Gone)?;
        // TLS keeps back what the runtime lets nobody write any more in this turn.
        self.stream.flush().await.map_err(|_| Gone)
    }

    async fn write_pattern(&mut self, length: u64, state: &Mutex<State>) -> Result<(), Gone> {
        let mut offset = 0;
        while offset < length {
            let left = usize::try_from(length - offset).unwrap();
            let bytes = pattern(offset, left);
            self.write(bytes).await?;
            offset += bytes.len() as u64;
            state.lock().unwrap().written += bytes.len() as u64;
        }
        Ok(())
    }

    /// Waits until the other end goes away, whatever it sends until then.
    async fn is_gone(&mut self) -> Gone {
        while self.read_more().await.is_ok() {
            self.buffer.clear();
        }
        Gone
    }

    async fn read_more(&mut self) -> Result<(), Gone> {
        self.buffer.reserve(64 * 1024);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Gone),
        }
    }

    async fn read_request_head(&mut self) -> Result<Received, Gone> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more().await?;
        };
        let head: String = self.buffer.split_to(end).iter().map(|byte| char::from(*byte)).collect();
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let request_line: Vec<_> = lines.next().unwrap().split(' ').map(str::to_owned).collect();
        let [method, target, version] = request_line.try_into().unwrap_or_else(|_| panic!("request line of {head:?}"));
        let headers = lines.map(|line| field(line).unwrap_or_else(|| panic!("no field: {line:?}"))).collect();
        Ok(Received { method, target, version, headers, head, is_pattern: true, ..Received::default() })
    }

    /// RFC 9112 §6.3. Whoever sees the reply finds the request recorded.
    async fn read_body(&mut self, received: &mut Received, state: &Mutex<State>) -> Result<(), Gone> {
        if received.header("transfer-encoding").is_some() {
            assert_eq!(received.header("content-length"), None, "one framing: {}", received.head);
            self.read_chunks(received).await?;
        } else if let Some(length) = received.header("content-length") {
            let length = length.parse().unwrap();
            self.read_bytes(length, received).await?;
        }
        received.is_complete = true;
        state.lock().unwrap().received.push(received.clone());
        Ok(())
    }

    async fn read_bytes(&mut self, mut count: u64, received: &mut Received) -> Result<(), Gone> {
        while count > 0 {
            if self.buffer.is_empty() {
                self.read_more().await?;
            }
            let length = self.buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            let bytes = &self.buffer[..length];
            received.is_pattern &= is_pattern(received.body_length, bytes);
            let room = KEPT_BODY.saturating_sub(received.body.len());
            received.body.extend_from_slice(&bytes[..length.min(room)]);
            received.body_length += length as u64;
            self.buffer.advance(length);
            count -= length as u64;
        }
        Ok(())
    }

    async fn read_chunks(&mut self, received: &mut Received) -> Result<(), Gone> {
        loop {
            let size = u64::from_str_radix(&self.read_line().await?, 16).unwrap();
            if size == 0 {
                break;
            }
            self.read_bytes(size, received).await?;
            assert_eq!(self.read_line().await?, "");
        }
        loop {
            let line = self.read_line().await?;
            match field(&line) {
                Some(trailer) => received.trailers.push(trailer),
                None => return Ok(()),
            }
        }
    }

    async fn read_line(&mut self) -> Result<String, Gone> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end).iter().map(|byte| char::from(*byte)).collect();
                self.buffer.advance(2);
                return Ok(line);
            }
            self.read_more().await?;
        }
    }
}

fn field(line: &str) -> Option<(String, String)> {
    line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// RFC 6455 §4.2.2.
fn switching(received: &Received) -> String {
    let key = received.header("sec-websocket-key").expect("a key");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {accept}\r\n\r\n"
    )
}
