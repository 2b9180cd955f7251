//! Where requests are taken: a port, a unix socket, or a socket that systemd hands over.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::stream;

/// Connections that the kernel may complete before we accept them.
const BACKLOG: i32 = 1024;
/// The first descriptor that systemd hands over (`sd_listen_fds(3)`).
pub(super) const FIRST_INHERITED: usize = 3;
/// Owner and group: a sidecar's front proxy is another user of the same group.
const SOCKET_MODE: u32 = 0o660;
/// Appended to a socket's path until it listens.
const NEW: &str = ".new";

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// At this address; the IPv6 wildcard takes IPv4 too.
    Tcp(SocketAddr),
    /// At this path.
    Unix(PathBuf),
    /// On this descriptor, inherited by the systemd protocol.
    Inherited(usize),
}

impl Listen {
    /// The longest path of a unix socket, in bytes (`unix(7)`: 107), with room for what is appended meanwhile.
    pub const MAX_PATH: usize = 107 - NEW.len();
    /// The first descriptor that can be inherited.
    pub const FIRST_INHERITED: usize = FIRST_INHERITED;
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(descriptor) => write!(f, "fd:{descriptor}"),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listening {
    socket: Listener,
    listen: Listen,
    /// Removed when nobody listens any more.
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    /// Opens it, or takes it over.
    pub fn open(listen: &Listen) -> io::Result<Self> {
        let (socket, file) = match listen {
            Listen::Tcp(address) => (Listener::Tcp(bind(*address)?), None),
            Listen::Unix(path) => {
                let (socket, file) = bind_unix(path)?;
                (Listener::Unix(socket), Some(file))
            }
            Listen::Inherited(descriptor) => (inherit(*descriptor)?, None),
        };
        Ok(Self { socket, listen: listen.clone(), file })
    }

    /// Its address, where it has one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Listener::Tcp(socket) => socket.local_addr(),
            Listener::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "a unix socket has no address")),
        }
    }

    /// Registers it with the runtime that accepts.
    pub(super) fn register(self) -> io::Result<(Acceptor, Option<SocketFile>)> {
        let acceptor = match self.socket {
            Listener::Tcp(socket) => Acceptor::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Listener::Unix(socket) => Acceptor::Unix(tokio::net::UnixListener::from_std(socket)?),
        };
        Ok((acceptor, self.file))
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local_addr() {
            Ok(address) => address.fmt(f),
            Err(_) => self.listen.fmt(f),
        }
    }
}

/// Opens a listening TCP socket; the IPv6 wildcard takes IPv4 connections too.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a unix socket in place of one that a dead process left behind.
///
/// It listens under another name first: under its own it is there only with its permissions, and never refuses.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    check_free(path)?;
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    let new = PathBuf::from(name);
    if check_free(&new)? == Place::Stale {
        fs::remove_file(&new)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&new)?)?;
    let file = SocketFile::of(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    fs::rename(&new, path)?;
    Ok((socket.into(), SocketFile { path: path.to_owned(), ..file }))
}

/// Where a socket is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Empty,
    /// A dead process's socket is there.
    Stale,
}

/// Nothing is replaced but a socket on which nobody listens.
fn check_free(path: &Path) -> io::Result<Place> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Empty),
        Err(error) => return Err(error),
    };
    if !there.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there; remove it"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Place::Stale),
        Err(error) => Err(error),
        Ok(_) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there; end it, or use another path"))
        }
    }
}

/// A socket's place in the file system.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

impl Drop for SocketFile {
    /// Unless another process has taken the place over.
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|there| there == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes over what systemd opened (`sd_listen_fds(3)`).
fn inherit(descriptor: usize) -> io::Result<Listener> {
    let refused = |problem: &str| io::Error::new(io::ErrorKind::InvalidInput, problem.to_owned());
    let mut inherited = ListenFd::from_env();
    let at = descriptor.checked_sub(FIRST_INHERITED).filter(|at| *at < inherited.len());
    let at = at.ok_or_else(|| refused("it was not handed over: LISTEN_FDS and LISTEN_PID do not name it"))?;
    let tcp = inherited.take_tcp_listener(at);
    let socket = match tcp {
        Ok(Some(socket)) => Listener::Tcp(socket),
        _ => match inherited.take_unix_listener(at) {
            Ok(Some(socket)) => Listener::Unix(socket),
            _ => return Err(refused("it is neither a TCP nor a unix stream socket")),
        },
    };
    let socket_ref = match &socket {
        Listener::Tcp(socket) => SockRef::from(socket),
        Listener::Unix(socket) => SockRef::from(socket),
    };
    if !socket_ref.is_listener()? {
        return Err(refused("nobody listens on it; with systemd, set Accept=no"));
    }
    socket_ref.set_nonblocking(true)?;
    Ok(socket)
}

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// The next connection, with its peer's address if it has one.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Option<IpAddr>)>> {
        match self {
            Self::Tcp(socket) => {
                let (stream, address) = ready!(socket.poll_accept(cx))?;
                Poll::Ready(Ok((Accepted::Tcp(stream), Some(address.ip()))))
            }
            Self::Unix(socket) => {
                let (stream, _) = ready!(socket.poll_accept(cx))?;
                Poll::Ready(Ok((Accepted::Unix(stream), None)))
            }
        }
    }
}

/// A connection in the hands of the acceptor.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Accepted {
    /// Takes it out of the acceptor's runtime.
    pub(super) fn release(self) -> io::Result<Released> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.into_std().map(Released::Tcp)
            }
            Self::Unix(stream) => stream.into_std().map(Released::Unix),
        }
    }
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub(super) enum Released {
    Tcp(std::net::TcpStream),
    Unix(UnixStream),
}

impl Released {
    /// Registers it with the worker's runtime.
    pub(super) fn register(self) -> io::Result<stream::Socket> {
        match self {
            Self::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(stream::Socket::Tcp),
            Self::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(stream::Socket::Unix),
        }
    }
}
