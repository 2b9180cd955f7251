//! HTTP/1.1 to the origin: one request at a time on a connection (RFC 9112).
//!
//! Written and read here, as is HTTP/1 with clients: a request that is forwarded has been taken apart already, and
//! to build it up once more for a client library, which hands its halves from task to task, is a quarter of what a request
//! costs. What is read of a response is what hyper reads, no more leniently, but for the extensions of chunks: 16 KiB of them
//! is the most in a line here, in a whole body there.

mod connection;
mod decode;
mod lease;
mod lines;
#[cfg(any(fuzzing, test))]
mod pieces;
mod response;
mod upload;

use std::io;

pub(super) use self::connection::{Connection, Scratch};
pub(super) use self::lease::Lease;
#[cfg(any(fuzzing, test))]
pub(super) use self::pieces::Pieces;
pub(super) use self::response::Asks;
pub(super) use self::upload::Length;
use super::answer::Broken;
use crate::chunked::Malformed;

/// Why an exchange ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Before anything came.
    #[error("the connection was closed before a response")]
    Closed,
    /// In the middle of a message.
    #[error("the connection was closed in the middle of a response")]
    Incomplete,
    /// What came is no HTTP/1.
    #[error("not valid HTTP: {0}")]
    Malformed(&'static str),
    /// It is more than is read; which limit.
    #[error("{0}")]
    TooLarge(&'static str),
    /// What came of a chunked body is none.
    #[error("not valid HTTP: {0}")]
    Chunked(#[from] Malformed),
    /// The request was not sent to its end.
    #[error("the request was cut")]
    Cut,
}
