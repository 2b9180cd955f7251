//! A connection to the origin, whatever it leads through.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::places::Place;
use crate::liveness::{ANY, Liveness, readiness};
use crate::turn::LoopTurn;

/// What leads to the origin.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The same for each kind.
macro_rules! each {
    ($socket:expr, $io:ident => $then:expr) => {
        match $socket {
            Socket::Tcp($io) => $then,
            Socket::Unix($io) => $then,
            Socket::Tls($io) => {
                let $io = &mut **$io;
                $then
            }
        }
    };
}

impl Socket {
    /// What the kernel has of it.
    fn kernel(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
        }
    }

    /// Whether the runtime has heard of something to be read, if only of what has been read meanwhile. What TLS has read
    /// it knows nothing of.
    fn is_heard(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Self::Tls(_) => true,
        }
    }

    /// Writes what the kernel takes at once without asking tokio for its turn, which costs more than all that is done here.
    /// What is written has been read by somebody, who was asked.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Self::Tcp(stream) = self {
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
        each!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    /// Whether nothing is there to be read, not even the end. Asks the kernel.
    fn has_nothing(&mut self) -> bool {
        match self {
            Self::Tcp(stream) => has_nothing(&SockRef::from(&*stream)),
            Self::Unix(stream) => has_nothing(&SockRef::from(&*stream)),
            Self::Tls(stream) => {
                // What the kernel has may be a new key and no answer; nobody has to find out on a connection that can be
                // replaced. What TLS has read already, the kernel has no more.
                let (stream, session) = stream.get_mut();
                let has_read = session.process_new_packets().map_or(true, |state| state.plaintext_bytes_to_read() > 0);
                !has_read && has_nothing(&SockRef::from(&*stream))
            }
        }
    }
}

fn has_nothing(socket: &SockRef<'_>) -> bool {
    socket.peek(&mut [MaybeUninit::uninit()]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// The origin's socket.
#[derive(Debug)]
pub(super) struct OriginIo {
    socket: Socket,
    reads: Reads,
    /// Writing found it so. The kernel tells but once, and reading would find the end of an orderly close.
    was_reset: bool,
    /// No answer is awaited any more: what cannot be written is an error.
    has_switched: bool,
    /// Behind the socket: it is free when that is closed.
    _place: Place,
}

/// How often something has come from the origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads(Rc<Cell<u64>>);

impl Reads {
    pub(super) fn count(&self) -> u64 {
        self.0.get()
    }
}

impl OriginIo {
    pub(super) fn new(socket: Socket, place: Place) -> Self {
        Self { socket, reads: Reads::default(), was_reset: false, has_switched: false, _place: place }
    }

    pub(super) fn reads(&self) -> Reads {
        self.reads.clone()
    }

    /// Whether nothing is there to be read, not even the end; whoever sent the next request would take it for the answer.
    ///
    /// `since` is when somebody last read. While that turn goes on, only the kernel knows what has come; then the runtime
    /// has heard of it, which costs nothing to find out. What comes later still is as late as after asking the kernel:
    /// until the origin answers, nothing tells what it says unasked from its answer.
    pub(super) fn is_quiet(&mut self, since: LoopTurn) -> bool {
        (since.is_over() && !self.socket.is_heard()) || self.socket.has_nothing()
    }

    /// Whether the runtime has heard of something to be read, or cannot have.
    pub(super) fn is_heard(&self) -> bool {
        self.socket.is_heard()
    }

    /// Nothing more is read or written.
    pub(super) fn shut(&self) {
        // What is closed already needs no more.
        let _ = self.socket.kernel().shutdown(Shutdown::Both);
    }

    /// Has it end in a reset, whatever the origin has not taken yet.
    pub(super) fn abort(&self) {
        let _ = self.socket.kernel().set_linger(Some(Duration::ZERO));
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

impl Liveness for OriginIo {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let ready = match &self.socket {
            Socket::Tcp(stream) => readiness(stream.ready(ANY)),
            Socket::Unix(stream) => readiness(stream.ready(ANY)),
            Socket::Tls(stream) => readiness(stream.get_ref().0.ready(ANY)),
        };
        if ready.is_error() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn abort(&mut self) {
        Self::abort(self);
    }
}

impl AsyncRead for OriginIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(each!(&mut self.socket, io => Pin::new(io).poll_read(cx, buffer)))?;
        if buffer.filled().len() > before {
            self.reads.0.set(self.reads.count() + 1);
        } else if self.was_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OriginIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(each!(&mut self.socket, io => Pin::new(io).poll_write(cx, bytes)));
        Poll::Ready(self.thrown_away(written, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match slices {
            // What a request without a body is; the kernel takes it faster so.
            [slice] => self.socket.poll_write(cx, slice),
            slices => each!(&mut self.socket, io => Pin::new(io).poll_write_vectored(cx, slices)),
        };
        let length = slices.iter().map(|slice| slice.len()).sum();
        Poll::Ready(self.thrown_away(ready!(written), length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Only TLS keeps anything back.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.socket {
            Socket::Tcp(_) | Socket::Unix(_) => return Poll::Ready(Ok(())),
            Socket::Tls(stream) => ready!(Pin::new(stream).poll_flush(cx)),
        };
        Poll::Ready(self.thrown_away(flushed.map(|()| 0), 0).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.socket, io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::forward::places::{Entry, Places};

    #[tokio::test]
    async fn a_socket_is_quiet_until_the_kernel_has_something_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let worker = Places::new(1, 0).join();
        for bytes in [b"HTTP/1.1 200 OK".as_slice(), b""] {
            let Entry::Free(place) = worker.enter() else { panic!("the one before is closed") };
            let mut io = OriginIo::new(Socket::Tcp(TcpStream::connect(addr).await.unwrap()), place);
            let (mut origin, _) = listener.accept().unwrap();
            let turn = LoopTurn::now();
            assert!(io.is_quiet(turn));
            // Nothing is awaited from here on, so that the runtime cannot have heard of it.
            origin.write_all(bytes).unwrap();
            origin.shutdown(Shutdown::Write).unwrap();
            assert!(!io.is_quiet(turn));
        }
    }
}
