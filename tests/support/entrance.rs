//! The ways to the gate: in the clear, under TLS, through a unix socket.

use std::path::PathBuf;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::authority::connect;
use super::{Authority, Client, Gate, Secret, patiently};

/// How clients come to the gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Tcp,
    Tls,
    Unix,
}

/// How a client goes away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Departure {
    /// In order, though it has not read its answer.
    Closes,
    /// A unix socket knows no reset.
    Resets,
}

/// Any stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

pub(crate) type AnyClient = Client<Box<dyn Io>>;

/// One way, and what it takes.
pub(crate) struct Entrance {
    way: Way,
    authority: Authority,
    secret: Secret,
    socket: PathBuf,
}

impl Entrance {
    pub(crate) fn new(way: Way) -> Self {
        let authority = Authority::new();
        let secret = Secret::new(&authority.issue(), &authority);
        let socket = std::env::temp_dir().join(format!("gate-{:016x}.sock", fastrand::u64(..)));
        Self { way, authority, secret, socket }
    }

    /// The flags of a gate that has it.
    pub(crate) fn flags(&self) -> Vec<String> {
        match self.way {
            Way::Tcp => Vec::new(),
            Way::Tls => self.secret.flags(),
            Way::Unix => vec!["--listen".to_owned(), format!("unix:{}", self.socket.display())],
        }
    }

    /// A client that goes away so when it is dropped.
    pub(crate) async fn client(&self, gate: &Gate, departure: Departure) -> AnyClient {
        if self.way == Way::Unix {
            let stream = patiently("connect", UnixStream::connect(&self.socket)).await.unwrap();
            return Client::over(Box::new(stream));
        }
        let stream = connect(gate.addr()).await;
        if departure == Departure::Resets {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        if self.way == Way::Tcp {
            return Client::over(Box::new(stream));
        }
        let tls = self.authority.client().try_over(stream).await.unwrap();
        Client::over(Box::new(tls.into_stream()))
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Sends such pieces until the other end takes none any more.
pub(crate) async fn fill<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, piece: &[u8]) {
    while timeout(Duration::from_millis(300), client.send(piece)).await.is_ok() {}
}
