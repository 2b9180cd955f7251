//! A request through the gate and back, over sockets, beside the same request without it: `cargo bench --bench gateway`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on says so by panicking")]
#![expect(clippy::print_stdout, reason = "the table")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests' support; here only an issuer and a gate")]
mod support;

#[expect(dead_code, reason = "a sample here is a batch of requests")]
mod sample;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use self::sample::{median, ratio};
use self::support::issuer::Discovery;
use self::support::{House, Issuer, Key, PATIENCE, Token};

const SAMPLES: usize = 41;
/// Requests in a sample, one after the other.
const BATCH: usize = 100;
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// So that a token has about 848 bytes.
const FILLER: usize = 201;

fn main() {
    let origin = origin();
    let upstream = format!("http://{origin}");
    let issuer = Issuer::start_with(Discovery::JwksOnly, "");
    let key = Key::new("RS256", "bench-1");
    issuer.add(&key);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let flags = ["--upstream", &*upstream, "--workers", "1", "--access-log", "off"];
    let house = runtime.block_on(House::with_issuer(issuer, &flags));

    let mut tokens = (0_usize..).map(|number| token(&house.issuer, &key, number));
    let mut direct = Connection::to(origin);
    let mut gate = Connection::to(house.gate.addr());
    let known: Vec<_> = tokens.next().into_iter().cycle().take(BATCH).collect();
    direct.seconds_per_request(&known);
    gate.seconds_per_request(&known);
    let (mut without, mut cached, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let unseen: Vec<_> = tokens.by_ref().take(BATCH).collect();
        without.push(direct.seconds_per_request(&known));
        cached.push(gate.seconds_per_request(&known));
        cold.push(gate.seconds_per_request(&unseen));
    }

    println!("| | round trip | ratio |");
    println!("|---|---|---|");
    for (what, samples) in [("origin alone", &without), ("gate, cached", &cached), ("gate, cold", &cold)] {
        println!("| {what} | {:.1} µs | {:.2} |", median(samples) * 1e6, ratio(samples, &without));
    }
}

/// Each is another one.
fn token(issuer: &Issuer, key: &Key, number: usize) -> Vec<u8> {
    let token =
        Token::new(&issuer.url(), key).claim("jti", format!("{number:032}")).claim("groups", "g".repeat(FILLER));
    format!("GET / HTTP/1.1\r\nHost: bench.test\r\nAuthorization: Bearer {}\r\n\r\n", token.sign()).into_bytes()
}

/// A client's connection, kept alive.
struct Connection(TcpStream);

impl Connection {
    fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn seconds_per_request(&mut self, requests: &[Vec<u8>]) -> f64 {
        let begun = Instant::now();
        for request in requests {
            self.0.write_all(request).unwrap();
            self.response();
        }
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let count = requests.len() as f64;
        begun.elapsed().as_secs_f64() / count
    }

    /// Reads one; it is a bench of what passes.
    fn response(&mut self) {
        let mut buffer = [0; 4096];
        let mut length = 0;
        while !buffer[..length].ends_with(b"\r\n\r\nok") {
            let read = self.0.read(&mut buffer[length..]).expect("a response in time");
            length += read;
            let shown = String::from_utf8_lossy(&buffer[..length]);
            assert!(read > 0 && shown.starts_with("HTTP/1.1 200"), "not a 200: {shown}");
        }
    }
}

/// An origin that does nothing but answer, so that the gate is what is seen.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    addr
}

fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        head.extend_from_slice(&buffer[..read]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(RESPONSE).unwrap();
        }
    }
}
