//! A connection to the origin.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::Authority;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admission::RETRY_AFTER;
use super::interim::InterimReader;
use super::places::Place;
use crate::denial::Denial;

/// Connects to the origin; its name is resolved anew.
pub(super) async fn connect(upstream: &Authority, limit: Duration, place: Place) -> Result<OriginIo, Denial> {
    // Brackets are a URI's, not an address's.
    let host = upstream.host().trim_start_matches('[').trim_end_matches(']');
    let port = upstream.port_u16().unwrap_or(80);
    let connected = timeout(limit, TcpStream::connect((host, port))).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(upstream, &error)),
        Err(_elapsed) => return Err(unreachable(upstream, &format!("no connection within {} s", limit.as_secs_f32()))),
    };
    stream.set_nodelay(true).map_err(|error| unreachable(upstream, &error.to_string()))?;
    Ok(OriginIo {
        socket: Rc::new(RefCell::new(stream)),
        received: Rc::default(),
        interim: Rc::default(),
        was_reset: false,
        has_switched: false,
        _place: place,
    })
}

/// Descriptors that have run out are no fault of the origin's.
fn failed(upstream: &Authority, error: &io::Error) -> Denial {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Denial::Overloaded {
            retry_after: RETRY_AFTER,
            limit: format!("no connection to the origin: {error}").into(),
        },
        _ => unreachable(upstream, &error.to_string()),
    }
}

fn unreachable(upstream: &Authority, cause: &str) -> Denial {
    Denial::UpstreamUnreachable(format!("{upstream}: {cause}").into())
}

/// The origin's socket, which tells whether anything has come from it.
#[derive(Debug)]
pub(super) struct OriginIo {
    socket: Rc<RefCell<TcpStream>>,
    received: Rc<Cell<bool>>,
    interim: Rc<InterimReader>,
    /// Writing found it so. The kernel tells but once, and reading would find the end of an orderly close.
    was_reset: bool,
    /// No answer is awaited any more: what cannot be written is an error.
    has_switched: bool,
    /// Behind the socket: it is free when that is closed.
    _place: Place,
}

/// A look at the socket, which does not keep it open.
#[derive(Debug)]
pub(super) struct Watch {
    socket: Weak<RefCell<TcpStream>>,
    received: Rc<Cell<bool>>,
    interim: Rc<InterimReader>,
}

impl OriginIo {
    pub(super) fn watch(&self) -> Watch {
        Watch {
            socket: Rc::downgrade(&self.socket),
            received: Rc::clone(&self.received),
            interim: Rc::clone(&self.interim),
        }
    }

    /// The same as the end of a tunnel.
    pub(super) const fn switched(mut self) -> Self {
        self.has_switched = true;
        self
    }

    /// An origin that has closed takes no more, but may have answered before: its answer is there to be read, and after
    /// it the end. An error here would be the end of the exchange at once.
    fn thrown_away(&mut self, written: io::Result<usize>, length: usize) -> io::Result<usize> {
        let kind = written.as_ref().err().map(io::Error::kind);
        self.was_reset |= kind == Some(io::ErrorKind::ConnectionReset);
        match kind {
            Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) if !self.has_switched => Ok(length),
            _ => written,
        }
    }
}

impl Watch {
    /// A request is about to be sent: what was received belongs to others.
    pub(super) fn begin(&self) {
        self.received.set(false);
    }

    /// What reads the interim responses.
    pub(super) fn interim(&self) -> &InterimReader {
        &self.interim
    }

    /// Whether anything has come since then.
    pub(super) fn has_received(&self) -> bool {
        self.received.get()
    }

    /// Whether nothing is there to be read, not even the end. Asks the kernel: what has just arrived, nobody else knows
    /// of yet, and whoever sent the next request would take it for the answer.
    pub(super) fn is_quiet(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return false };
        let peeked = SockRef::from(&*socket.borrow()).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for OriginIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.socket.borrow_mut()).poll_read(cx, buffer))?;
        if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.received.set(true);
            self.interim.read(bytes);
        } else if self.was_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OriginIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, bytes));
        Poll::Ready(self.get_mut().thrown_away(written, bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = {
            let socket = &mut *self.socket.borrow_mut();
            match slices {
                // What a request without a body is; the kernel takes it faster so.
                [slice] => Pin::new(socket).poll_write(cx, slice),
                slices => Pin::new(socket).poll_write_vectored(cx, slices),
            }
        };
        let length = slices.iter().map(|slice| slice.len()).sum();
        Poll::Ready(self.get_mut().thrown_away(ready!(written), length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::forward::places::{Entry, Places};

    #[tokio::test]
    async fn a_socket_is_quiet_until_the_kernel_has_something_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Authority::try_from(listener.local_addr().unwrap().to_string()).unwrap();
        let worker = Places::new(1, 0).join();
        for bytes in [b"HTTP/1.1 200 OK".as_slice(), b""] {
            let Entry::Free(place) = worker.enter() else { panic!("the one before is closed") };
            let io = connect(&upstream, Duration::from_secs(5), place).await.unwrap();
            let (mut origin, _) = listener.accept().unwrap();
            let watch = io.watch();
            assert!(watch.is_quiet());
            // Nothing is awaited from here on, so that the runtime cannot have heard of it.
            origin.write_all(bytes).unwrap();
            origin.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(!watch.is_quiet());
            drop(io);
            assert!(!watch.is_quiet());
            assert_eq!(origin.read(&mut [0]).unwrap_or_default(), 0, "a watch keeps no socket open");
        }
    }
}
