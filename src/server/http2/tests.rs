//! Clients that are asked whether they are still there.

use bytes::Bytes;
use http::request::Parts;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::deadline::Deadlines;
use crate::denial::Denial;
use crate::incoming::Incoming;
use crate::interim::Interim;
use crate::reply::Reply;
use crate::server::io::Limits;
use crate::server::stream::{Socket, Stream};

const MINUTE: Duration = Duration::from_mins(1);
/// `GET /` of `a`, by the static table of HPACK.
const GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
const PING: u8 = 6;

/// Never answers.
struct Busy;

impl Handler for Busy {
    type Body = Full<Bytes>;
    type Tunnel = Infallible;

    async fn handle(&self, _: Rc<Parts>, _: Incoming, _: &Peer, _: Option<&Interim>) -> Reply<Full<Bytes>> {
        std::future::pending().await
    }

    fn refuse(&self, _: Denial, _: &Peer, _: Option<Rc<Parts>>) -> Reply<Full<Bytes>> {
        Reply::default()
    }
}

/// When a client is given up that asks for one thing and answers each PING, or none; not within 5 min. And how often it was
/// asked.
async fn given_up(answers: bool) -> (Option<Duration>, u32) {
    let (near, mut client) = UnixStream::pair().unwrap();
    let deadlines = Deadlines::default();
    let limits = Limits { header: MINUTE, idle: MINUTE, write: MINUTE };
    let worker = Worker::alone(Busy, limits, &deadlines);
    let connection = Rc::new(worker.connection(Stream::Plain(Socket::Unix(near)), deadlines.deadline()));
    client.write_all(&[PREFACE, b"\0\0\0\x04\0\0\0\0\0", GET].concat()).await.unwrap();
    let start = Instant::now();
    let watch = worker.drain.watch();
    let peer = Rc::new(Peer::new(None));
    let mut pings = 0;
    let reading = async {
        loop {
            let mut head = [0; 9];
            if client.read_exact(&mut head).await.is_err() {
                return std::future::pending().await;
            }
            let mut payload = vec![0; usize::from(head[2])];
            client.read_exact(&mut payload).await.unwrap();
            if head[3] == PING && head[4] == 0 {
                pings += 1;
                head[4] = 1;
                if answers {
                    client.write_all(&[&head[..], &payload].concat()).await.unwrap();
                }
            }
        }
    };
    // Time passes in small steps, between which the sockets are looked at.
    let ticking = async {
        while start.elapsed() < 5 * MINUTE {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let given_up = tokio::select! {
        () = serve(connection, &watch, &peer, &worker) => Some(start.elapsed()),
        () = ticking => None,
        () = reading => None,
    };
    (given_up, pings)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_given_up() {
    let (given_up, pings) = LocalSet::new().run_until(given_up(false)).await;
    let after = given_up.unwrap().as_secs_f32();
    assert!(pings == 1 && (40.0..41.0).contains(&after), "{pings} {after}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_is_waited_for_however_long_it_takes() {
    let (given_up, pings) = LocalSet::new().run_until(given_up(true)).await;
    assert!(given_up.is_none() && (9..=10).contains(&pings), "{given_up:?} {pings}");
}
