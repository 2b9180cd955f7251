//! The demo's origin: shows what reached it. There is no authentication in it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;
use serde_json::{Value, json};

/// Tells the client what it looks like from here.
pub(super) fn answer<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let shown = json!({
        "message": format!("hello {}", text(request.headers(), "x-user").unwrap_or("nobody")),
        "claims": claims(request.headers()),
        "received": request.headers().iter().map(shown_field).collect::<Vec<_>>(),
    });
    let mut response = Response::new(Full::from(format!("{shown:#}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// All that an origin has to do: decode what is verified already.
fn claims(headers: &HeaderMap) -> Option<Value> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(text(headers, "x-jwt-claims")?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn shown_field((name, value): (&header::HeaderName, &HeaderValue)) -> String {
    if *name == header::AUTHORIZATION {
        return "authorization: Bearer [not shown]".to_owned();
    }
    format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
}
