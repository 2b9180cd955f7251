//! Answers without an end of their own: how they arrive, and how they end.

mod expiry;
mod interim;
mod pieces;
mod withdrawal;

use claimgate::clock::{Clock, NumericDate};

use crate::support::{Client, Gate, Issuer, Origin, client};

/// How an origin begins a stream of events.
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
/// One event, as a chunk.
const EVENT: &str = "9\r\ndata: 1\n\n\r\n";

/// A house in the last second of its token, which is accepted for the leeway beyond its `exp`.
pub(crate) struct LastMoment {
    pub(crate) origin: Origin,
    pub(crate) gate: Gate,
    clock: Clock,
    pub(crate) token: String,
    exp: f64,
}

impl LastMoment {
    pub(crate) async fn of_a_token(flags: &[&str]) -> Self {
        const LEEWAY: f64 = 30.0;
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let exp = Clock::system().now().as_seconds().floor() + 300.0;
        let clock = Clock::manual(NumericDate::from_seconds(exp + LEEWAY - 1.0).unwrap());
        let gate = Gate::start_at(clock.clone(), &issuer, &origin, flags);
        gate.is_ready().await;
        let token = issuer.token().claim("exp", exp).sign();
        Self { origin, gate, clock, token, exp }
    }

    /// Sends a request and reads the head of its response.
    async fn begin(&self, path: &str, token: Option<&str>) -> (client::Response, Client) {
        let mut client = Client::connect(self.gate.addr()).await;
        client.send(client::request("GET", path, token, "")).await;
        (client.response_head().await, client)
    }

    /// So many streams of events, each with its first event.
    async fn streams(&self, count: usize) -> Vec<Client> {
        let mut streams = Vec::new();
        for _ in 0..count {
            let (response, mut client) = self.begin("/events", Some(&self.token)).await;
            assert_eq!(response.status, 200, "{}", response.head);
            assert_eq!(client.bytes(EVENT.len()).await, EVENT.as_bytes());
            streams.push(client);
        }
        streams
    }
}
