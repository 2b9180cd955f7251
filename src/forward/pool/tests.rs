//! What comes back of a request that is not answered.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use http::Request;
use tokio::runtime::Builder;
use tokio::task::coop::{consume_budget, has_budget_remaining};
use tokio::task::{LocalSet, yield_now};

use super::*;
use crate::forward::body::Limits;
use crate::forward::http1::Length;
use crate::forward::{Address, ForwardToken, Origin, Settings, StreamExpiry};
use crate::turn;

const SECOND: Duration = Duration::from_secs(1);

fn settings(listener: &TcpListener, protocol: Protocol) -> Settings {
    Settings {
        upstream: Origin {
            address: Address::Tcp(listener.local_addr().unwrap().to_string().parse().unwrap()),
            protocol,
        },
        tls: None,
        http2_idle_timeout: SECOND,
        connect_timeout: SECOND,
        response_timeout: SECOND,
        idle_timeout: SECOND,
        stream_idle_timeout: SECOND,
        min_body_rate: 0,
        max_body_size: None,
        max_connections: 2,
        max_waiting: 0,
        trusted_proxies: crate::peer::TrustedProxies::default(),
        forward_token: ForwardToken::Keep,
        stream_expiry: StreamExpiry::Close,
        allowed_upgrades: Vec::new(),
        identity_names: Vec::new(),
    }
}

fn answer(origin: &mut TcpStream) {
    assert!(origin.read(&mut [0; 1024]).unwrap() > 0);
    origin.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
}

/// A pool, and the origin's end of the one connection in it, which was used once and is put back.
struct UsedOnce {
    pool: Pool,
    origin: TcpStream,
    exchange: Rc<Exchange>,
}

impl UsedOnce {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (settings, deadlines) = (settings(&listener, Protocol::Http1), Deadlines::default());
        let limits = Limits { idle: SECOND, min_rate: 0, max_size: None, response: SECOND };
        let exchange = Rc::new(Exchange::new(deadlines.deadline(), limits));
        let pool = Pool::new(&settings, &Places::new(2, 0), &deadlines);
        let Ok(Lease::Http1(mut lease)) = pool.lease(&exchange, false).await else { panic!("there is a place") };
        let (mut origin, _) = listener.accept().unwrap();
        assert!(lease.begin(post, RequestBody::empty()).is_ok());
        answer(&mut origin);
        let sent = lease.head(None).await;
        assert_eq!(sent.map(|response| response.status.as_u16()).map_err(|failure| failure.error).ok(), Some(204));
        lease.end(&exchange);
        Self { pool, origin, exchange }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as who begins a request asks for")]
fn post(head: &mut Vec<u8>) -> Result<Length, Denial> {
    head.extend_from_slice(b"POST / HTTP/1.1\r\nhost: origin.test\r\ncontent-length: 0\r\n\r\n");
    Ok(Length::Known(0))
}

/// What may be sent once more, whatever it is.
#[tokio::test]
async fn a_request_that_meets_the_end_of_its_connection_comes_back_untouched() {
    let test = async {
        let used = UsedOnce::new().await;
        let Some(Lease::Http1(mut lease)) = used.pool.take(false) else { panic!("it was put back") };
        let body = RequestBody::empty();
        // After it was looked at.
        drop(used.origin);
        yield_now().await;
        let Err(failure) = lease.begin(post, body) else { panic!("nobody is there") };
        assert!(failure.unsent.is_some() && failure.was_idle && !failure.has_answered);
        assert!(used.pool.take(false).is_none());
    };
    LocalSet::new().run_until(test).await;
}

/// As a worker does, which counts the turns of its loop.
fn run_in_turns(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let runtime = turn::count(builder.enable_all()).build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}

async fn next_turn() {
    let turn = LoopTurn::now();
    while !turn.is_over() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_connection_on_which_something_came_unasked_is_not_used_again_in_whichever_turn() {
    for is_next_turn in [false, true] {
        for bytes in [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), b"\r", b""] {
            run_in_turns(async {
                let mut used = UsedOnce::new().await;
                used.origin.write_all(bytes).unwrap();
                if bytes.is_empty() {
                    used.origin.shutdown(Shutdown::Write).unwrap();
                }
                if is_next_turn {
                    next_turn().await;
                }
                assert!(used.pool.take(false).is_none(), "{bytes:?}, in the next turn: {is_next_turn}");
            });
        }
    }
}

#[test]
fn a_connection_on_which_nothing_came_is_used_again_in_whichever_turn() {
    run_in_turns(async {
        let mut used = UsedOnce::new().await;
        for is_next_turn in [false, true, true, false] {
            if is_next_turn {
                next_turn().await;
            }
            let Some(Lease::Http1(mut lease)) = used.pool.take(false) else { panic!("it was put back") };
            assert!(lease.begin(post, RequestBody::empty()).is_ok());
            answer(&mut used.origin);
            assert!(lease.head(None).await.is_ok());
            lease.end(&used.exchange);
        }
    });
}

/// A task that does much gets nothing from tokio any more: it must not take that for silence.
#[test]
fn what_came_unasked_is_seen_also_by_a_task_that_is_to_give_way() {
    run_in_turns(async {
        let mut used = UsedOnce::new().await;
        let Some(Lease::Http1(mut lease)) = used.pool.take(false) else { panic!("it was put back") };
        used.origin.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        next_turn().await;
        while has_budget_remaining() {
            consume_budget().await;
        }
        assert!(lease.begin(post, RequestBody::empty()).is_err());
    });
}

/// A connection with HTTP/2 to an origin that says which streams it permits and then nothing any more.
async fn before_a_silent_origin(test: impl AsyncFnOnce(&Pool, &Rc<Exchange>, Request<RequestBody>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (settings, deadlines) = (settings(&listener, Protocol::Http2), Deadlines::default());
    let silent = std::thread::spawn(move || {
        let (mut origin, _) = listener.accept().unwrap();
        origin.write_all(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        while origin.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
    });
    let limits = Limits { idle: SECOND, min_rate: 0, max_size: None, response: SECOND };
    let exchange = Rc::new(Exchange::new(deadlines.deadline(), limits));
    let body = RequestBody::empty();
    let get = Request::builder().uri("/").header("host", "origin.test").body(body).unwrap();
    let sweep = deadlines.clone().sweep();
    let local = LocalSet::new();
    let test = async {
        tokio::task::spawn_local(sweep);
        let pool = Pool::new(&settings, &Places::new(2, 0), &deadlines);
        test(&pool, &exchange, get).await;
    };
    local.run_until(test).await;
    drop(local);
    silent.join().unwrap();
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_dead() {
    before_a_silent_origin(async |pool, exchange, get| {
        let Ok(Lease::Http2(stream)) = pool.lease(exchange, false).await else { panic!("it is HTTP/2") };
        tokio::time::pause();
        let start = Instant::now();
        let Err(failure) = stream.send(get, None).await else { panic!("nothing is said") };
        assert!(matches!(failure.error, Broken::Http2(error) if error.is_io()) && failure.unsent.is_none());
        assert!((20..=31).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert!(pool.take(false).is_none());
    })
    .await;
}

#[tokio::test]
async fn a_silent_connection_on_which_a_request_was_given_up_takes_no_other() {
    before_a_silent_origin(async |pool, exchange, get| {
        let Ok(Lease::Http2(stream)) = pool.lease(exchange, false).await else { panic!("it is HTTP/2") };
        tokio::time::pause();
        tokio::select! {
            _ = stream.send(get, None) => panic!("nothing is said"),
            () = tokio::time::sleep(6 * SECOND) => {}
        }
        assert!(pool.take(false).is_none());
    })
    .await;
}
