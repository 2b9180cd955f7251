//! HTTP/2 to the origin: many requests at a time on a connection (RFC 9113).

mod cancelled;
mod connection;
mod exchange;
mod head;
mod silence;
mod upload;

pub(super) use self::connection::{Connection, MAX_STREAMS, Stream};
pub(super) use self::exchange::Answer;
