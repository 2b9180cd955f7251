//! `WebSocket`s over HTTP/2 of which an end does not read, or says nothing.

use bytes::Bytes;
use tokio::time::Instant;

use super::Sockets;
use super::extended_connect::{Open, connect, connection, open, received, rest};
use crate::support::http2::{Http2, get};
use crate::support::{Binary, Client, Issuer, client, eventually};

const PIECE: usize = 64 * 1024;
/// What the kernel keeps for the sockets on the way, and more.
const MUCH: usize = 64 << 20;
/// For all that one connection has under way.
const MAX_GROWTH_IN_KIB: u64 = 2 * 1024;

/// A process, since what it takes is to be seen, and its origin.
async fn start() -> (Sockets, Binary) {
    let sockets = Sockets::start(&[]).await;
    let upstream = format!("http://{}", sockets.origin.local_addr().unwrap());
    let issuer: &Issuer = &sockets.house.issuer;
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &upstream, "--workers", "1"]);
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    (sockets, binary)
}

/// A connection to it, with room for more than its streams have; warm, as what it takes is measured from here on.
async fn warm(sockets: &Sockets, binary: &Binary) -> (Http2, Open, u64) {
    let roomy = h2::client::Builder::new().initial_connection_window_size(1 << 20).clone();
    let mut connection = Http2::connect_with(binary.addr().await, &roomy).await;
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
    let open = open(sockets, &mut connection, connect(Some(&sockets.token))).await;
    (connection, open, binary.memory("VmHWM"))
}

fn growth(binary: &Binary, before: u64) -> u64 {
    binary.memory("VmHWM") - before
}

#[tokio::test]
async fn an_origin_that_does_not_read_makes_the_client_wait() {
    let (sockets, binary) = start().await;
    let (mut connection, Open { mut sending, mut origin, .. }, before) = warm(&sockets, &binary).await;
    let (mut sent, mut last) = (0, Instant::now());
    eventually("the client is held back", async || {
        sending.reserve_capacity(PIECE);
        let room = sending.capacity().min(PIECE);
        if room > 0 {
            sending.send_data(Bytes::from(vec![0; room]), false).unwrap();
            (sent, last) = (sent + room, Instant::now());
        }
        last.elapsed().as_millis() > 500
    })
    .await;
    assert!(sent < MUCH, "{sent} bytes were taken");
    // Others on the connection are served meanwhile.
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
    assert!(origin.bytes(sent).await.iter().all(|byte| *byte == 0));
    let growth = growth(&binary, before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn a_client_that_does_not_read_makes_the_origin_wait() {
    let (sockets, binary) = start().await;
    let (mut connection, Open { mut receiving, mut origin, .. }, before) = warm(&sockets, &binary).await;
    let (piece, mut sent, mut last) = (vec![0; PIECE], 0, Instant::now());
    eventually("the origin is held back", async || {
        while let Some(count) = Client::send_at_once(&mut origin, &piece) {
            (sent, last) = (sent + count, Instant::now());
        }
        last.elapsed().as_millis() > 500
    })
    .await;
    assert!(sent < MUCH, "{sent} bytes were taken");
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
    assert!(received(&mut receiving, sent).await.iter().all(|byte| *byte == 0));
    let growth = growth(&binary, before);
    assert!(growth < MAX_GROWTH_IN_KIB, "{growth} KiB");
}

#[tokio::test]
async fn one_on_which_nothing_is_said_ends_and_its_connection_does_not() {
    let sockets = Sockets::start(&["--stream-idle-timeout", "300ms"]).await;
    let mut connection = connection(&sockets).await;
    let mut open = open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    assert_eq!(rest(&mut open.receiving).await, b"\x88\x06\x03\xe9idle");
    assert_eq!(open.origin.rest().await.len(), 12);
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
}
