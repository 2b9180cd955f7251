//! gRPC calls, as a client sees them on the wire.

mod ends;
mod http1;
mod origin;
mod refusals;

use http::Request;

use crate::support::Caller;
use crate::support::caller::{Call, End};

/// How an origin over HTTP/1.1 begins an answer, and one message in it.
pub(crate) const BEGUN: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n";
pub(crate) const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";
pub(crate) const CHUNK: &str = "7\r\n\0\0\0\0\u{2}hi\r\n";

fn request(token: Option<&str>, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::post("http://gate.test/shout.Shout/Both").header("te", "trailers");
    let request =
        token.iter().fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
    let has_type = fields.iter().any(|(name, _)| *name == "content-type");
    let request = if has_type { request } else { request.header("content-type", "application/grpc") };
    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

/// A call whose request stays open.
pub(crate) async fn call(caller: &Caller, token: Option<&str>, fields: &[(&str, &str)]) -> Call {
    let mut call = caller.begin(request(token, fields), false).await;
    call.send(MESSAGE);
    call
}

/// The end that trailers of ours tell.
pub(crate) fn status(status: u8, message: &str) -> End {
    let fields = [("grpc-message", message.to_owned()), ("grpc-status", status.to_string())];
    End::Trailers(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}
