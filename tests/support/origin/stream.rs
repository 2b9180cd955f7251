//! What a connection leads through.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::Certificate;

/// Where it is listened, before there is a runtime.
pub(super) enum Listener {
    Tcp(std::net::TcpListener, Option<Certificate>),
    Unix(std::os::unix::net::UnixListener),
}

pub(super) enum Listening {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

/// A connection whose TLS may not have begun.
pub(super) enum Accepted {
    Tcp(TcpStream, Option<TlsAcceptor>),
    Unix(UnixStream),
}

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Listener {
    /// On a unix socket; the one that was there before is nobody's any more.
    pub(super) fn unix(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::Unix(listener)
    }

    pub(super) fn listen(self) -> Listening {
        match self {
            Self::Tcp(listener, certificate) => {
                let acceptor = certificate.map(|certificate| certificate.acceptor());
                Listening::Tcp(TcpListener::from_std(listener).unwrap(), acceptor)
            }
            Self::Unix(listener) => Listening::Unix(UnixListener::from_std(listener).unwrap()),
        }
    }
}

impl Listening {
    pub(super) async fn accept(&self) -> Accepted {
        match self {
            Self::Tcp(listener, acceptor) => {
                let stream = listener.accept().await.unwrap().0;
                stream.set_nodelay(true).unwrap();
                Accepted::Tcp(stream, acceptor.clone())
            }
            Self::Unix(listener) => Accepted::Unix(listener.accept().await.unwrap().0),
        }
    }
}

impl Accepted {
    /// `None` when the other end does not go through with it.
    pub(super) async fn ready(self) -> Option<Stream> {
        match self {
            Self::Tcp(stream, None) => Some(Stream::Tcp(stream)),
            Self::Tcp(stream, Some(acceptor)) => Some(Stream::Tls(Box::new(acceptor.accept(stream).await.ok()?))),
            Self::Unix(stream) => Some(Stream::Unix(stream)),
        }
    }
}

impl Stream {
    /// Once dropped, the other end sees a reset.
    pub(super) fn reset(&self) {
        let socket = match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream),
            Self::Tls(stream) => socket2::SockRef::from(stream.get_ref().0),
            Self::Unix(_) => return,
        };
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
