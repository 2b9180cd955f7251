//! A fault of ours in one request costs that request's connection and nothing else, and what hangs in one does not keep
//! the process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use claimgate::deadline::Deadlines;
use claimgate::denial::Denial;
use claimgate::incoming::Incoming;
use claimgate::interim::Interim;
use claimgate::peer::Peer;
use claimgate::reply::Reply;
use claimgate::server::{Ended, Handler, Listen, Listening, MakeHandler, Server, Settings};
use http::request::Parts;
use http_body_util::Full;
use tokio::sync::oneshot;

use crate::support::{Client, client};

/// Panics when it is asked to.
#[derive(Clone)]
struct Fragile;

impl MakeHandler for Fragile {
    type Handler = Self;

    fn make(self, _: &Deadlines) -> Self {
        self
    }
}

impl Handler for Fragile {
    type Body = Full<Bytes>;
    type Tunnel = Infallible;

    async fn handle(&self, head: Rc<Parts>, _: Incoming, _: &Peer, _: Option<&Interim>) -> Reply<Full<Bytes>> {
        assert_ne!(head.uri.path(), "/panic", "as asked");
        if head.uri.path() == "/look-up" {
            // As the look-up of a name does while no name server answers.
            tokio::task::spawn_blocking(|| {
                loop {
                    thread::park();
                }
            });
        }
        Reply { body: Full::from("ok"), ..Reply::default() }
    }

    fn refuse(&self, _: Denial, _: &Peer, _: Option<Rc<Parts>>) -> Reply<Full<Bytes>> {
        Reply::default()
    }
}

fn settings(listen: Listen) -> Settings {
    let limit = Duration::from_secs(10);
    Settings {
        listen,
        tls: None,
        proxy_protocol: None,
        workers: NonZeroUsize::MIN,
        max_connections: 10,
        header_timeout: limit,
        idle_timeout: limit,
        stream_idle_timeout: limit,
        max_header_size: 64 * 1024,
        drain_delay: Duration::ZERO,
        shutdown_grace_period: limit,
    }
}

/// Serves on a thread of its own: where, the signal to stop, and the thread.
fn serve() -> (SocketAddr, oneshot::Sender<()>, JoinHandle<Ended>) {
    let listen = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = Listening::open(&listen).unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(listener, settings(listen), &Fragile).unwrap();
            let shutdown = async { drop(stopped.await) };
            server.run(shutdown).await
        })
    });
    (addr, stop, served)
}

#[tokio::test]
async fn a_look_up_that_hangs_in_a_worker_does_not_keep_the_server() {
    let (addr, stop, served) = serve();
    let mut client = Client::connect(addr).await;
    client.send(client::request("GET", "/look-up", None, "")).await;
    assert_eq!(client.response().await.text(), "ok");
    stop.send(()).unwrap();
    assert_eq!(served.join().unwrap(), Ended::Clean);
}

#[tokio::test]
async fn a_panic_takes_down_its_own_connection_alone() {
    let (addr, stop, served) = serve();
    let (mut other, mut victim) = (Client::connect(addr).await, Client::connect(addr).await);
    other.send(client::request("GET", "/", None, "")).await;
    assert_eq!(other.response().await.text(), "ok");
    victim.send(client::request("GET", "/panic", None, "")).await;
    assert_eq!(victim.rest().await, b"");
    // The one worker there is goes on, for the connection that was open and for a new one.
    other.send(client::request("GET", "/", None, "")).await;
    assert_eq!(other.response().await.text(), "ok");
    let mut new = Client::connect(addr).await;
    new.send(client::request("GET", "/", None, "")).await;
    assert_eq!(new.response().await.text(), "ok");
    stop.send(()).unwrap();
    assert_eq!(served.join().unwrap(), Ended::Clean);
}
