//! A thread with a runtime, for servers that outlive nothing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

/// A server on a thread of its own. Dropping it stops the server and raises its panics.
#[derive(Debug)]
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Runs what `serve` makes of the signal to stop.
    pub(super) fn spawn<F: Future<Output = ()>>(
        name: &str,
        serve: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = move || tokio::task::LocalSet::new().block_on(&runtime, serve(stopped));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) else { return };
        if !std::thread::panicking() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A listener on a free port of the loopback.
pub(super) fn listen() -> (TcpListener, SocketAddr) {
    let listener = listen_at((Ipv4Addr::LOCALHOST, 0).into());
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A listener at this address.
pub(super) fn listen_at(addr: SocketAddr) -> TcpListener {
    // The standard library sets SO_REUSEADDR.
    let listener = TcpListener::bind(addr).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A free port of the loopback, refusing connections until somebody listens there, and nobody else's for as long as the
/// socket lives.
pub(crate) fn reserve() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}
