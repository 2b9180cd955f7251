//! Hostile input, one table for each family. Every case has a name and a source: what it is an instance of.
//!
//! A table is judged over one gate and few connections, so that many cases cost little. Cases that other files hold
//! already, such as `tests/wire.rs` and `src/jose/tests/`, are not repeated here without need.

mod aliases;
mod audiences;
mod bodiless;
mod chunks;
mod claims_to_headers;
mod documents;
mod ecdsa;
mod encodings;
mod heads;
mod jose_headers;
mod key_sets;
mod payloads;
mod pipelines;
mod properties;
mod responses;
mod routes;
mod targets;
mod times;
mod trailers;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::support::{Client, client};

/// Every table: the family, and the name and source of each of its cases.
fn tables() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    vec![
        ("aliases", aliases::cases()),
        ("audiences", audiences::cases()),
        ("bodiless", bodiless::cases()),
        ("chunks", chunks::cases()),
        ("claims to headers", claims_to_headers::cases()),
        ("ECDSA values", ecdsa::cases()),
        ("encodings", encodings::cases()),
        ("heads", heads::cases()),
        ("JOSE headers", jose_headers::cases()),
        ("key sets", key_sets::cases()),
        ("payloads", payloads::cases()),
        ("pipelines", pipelines::cases()),
        ("responses", responses::cases()),
        ("routes", routes::cases()),
        ("targets", targets::cases()),
        ("times", times::cases()),
        ("trailers", trailers::cases()),
    ]
}

/// What a source begins with.
const SOURCES: [&str; 9] = ["RFC ", "CVE-", "GHSA-", "CWE-", "OpenID ", "FIPS ", "Unicode ", "design", "smuggling: "];

#[test]
fn there_are_300_named_cases_at_least_each_with_its_source() {
    let tables = tables();
    let mut count = 0;
    for (family, cases) in &tables {
        let names: BTreeSet<_> = cases.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), cases.len(), "{family}: a name is there twice");
        for (name, source) in cases {
            assert!(SOURCES.iter().any(|known| source.starts_with(known)), "{family}, {name}: source {source:?}");
        }
        count += cases.len();
    }
    assert!(count >= 300, "{count} cases in {} families", tables.len());
}

/// Somebody who asks again and again over one connection, for as long as the gate keeps it.
struct Caller {
    addr: SocketAddr,
    client: Option<Client>,
}

impl Caller {
    fn new(addr: SocketAddr) -> Self {
        Self { addr, client: None }
    }

    /// The reason of the denial that this token gets; `"passed"` when it got through.
    async fn verdict(&mut self, token: &str) -> String {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.addr).await,
        };
        client.send(client::request("GET", "/", Some(token), "")).await;
        let response = client.response().await;
        if response.header("connection") != Some("close") {
            self.client = Some(client);
        }
        if response.status == 200 { "passed".to_owned() } else { response.denial().reason }
    }
}
