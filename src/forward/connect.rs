//! Connects to the origin.

use std::io;
use std::path::PathBuf;

use http::uri::Authority;
use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::admission::RETRY_AFTER;
use super::origin::{Address, Origin, Protocol};
use super::places::Place;
use super::stream::{OriginIo, Socket};
use super::tls::Tls;
use crate::denial::Denial;
use crate::trust::explain_io;

/// The flag that adds an authority.
const CA_FLAG: &str = "--upstream-ca-file";

/// The way to the origin.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) origin: Origin,
    pub(super) tls: Option<Tls>,
}

/// A connection, and whether HTTP/2 is spoken on it.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) io: OriginIo,
    pub(super) is_http2: bool,
}

impl Connector {
    /// Connects; the name is resolved anew. `offers_http2` only where there is a choice.
    pub(super) async fn connect(&self, place: Place, offers_http2: bool) -> Result<Connected, Denial> {
        let is_http2 = self.origin.protocol == Protocol::Http2;
        let (socket, is_http2) = match (&self.origin.address, &self.tls) {
            (Address::Unix(path), _) => (Socket::Unix(self.unix(path).await?), is_http2),
            (Address::Tcp(authority), None) => (Socket::Tcp(self.tcp(authority).await?), is_http2),
            (Address::Tcp(authority), Some(tls)) => {
                let stream = self.tcp(authority).await?;
                let connector = TlsConnector::from(tls.config(offers_http2));
                let handshake = connector.connect(tls.name().clone(), stream).await;
                let stream =
                    handshake.map_err(|error| self.unreachable(&format!("TLS: {}", explain_io(&error, CA_FLAG))))?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                (Socket::Tls(Box::new(stream)), is_http2)
            }
        };
        Ok(Connected { io: OriginIo::new(socket, place), is_http2 })
    }

    async fn tcp(&self, authority: &Authority) -> Result<TcpStream, Denial> {
        // Brackets are a URI's, not an address's.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let connected = TcpStream::connect((host, self.origin.port(authority))).await;
        let stream = connected.map_err(|error| self.failed(&error))?;
        stream.set_nodelay(true).map_err(|error| self.unreachable(&error.to_string()))?;
        Ok(stream)
    }

    async fn unix(&self, path: &PathBuf) -> Result<UnixStream, Denial> {
        UnixStream::connect(path).await.map_err(|error| self.failed(&error))
    }

    /// Descriptors that have run out are no fault of the origin's.
    fn failed(&self, error: &io::Error) -> Denial {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => Denial::Overloaded {
                retry_after: RETRY_AFTER,
                limit: format!("no connection to the origin: {error}").into(),
            },
            _ => self.unreachable(&error.to_string()),
        }
    }

    pub(super) fn unreachable(&self, cause: &str) -> Denial {
        Denial::UpstreamUnreachable(format!("{}: {cause}", self.origin).into())
    }
}
