//! A [`Denial`] as gRPC has it (gRPC over HTTP2, "Responses"): trailers alone, in the one HEADERS frame of the answer.

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, Version};
use http_body_util::Full;

use super::{Context, X_REQUEST_ID, insert_what_the_row_asks};
use crate::denial::Denial;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether the request is a gRPC call, whose client reads `grpc-status` and nothing else. gRPC-Web is none.
pub fn is_grpc(head: &Parts) -> bool {
    head.version == Version::HTTP_2
        && head.method == Method::POST
        && head.headers.get(header::CONTENT_TYPE).is_some_and(|value| is_grpc_type(value.as_bytes()))
}

/// `application/grpc` alone, with a message format, or with parameters.
fn is_grpc_type(value: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some((name, rest)) = value.split_at_checked(NAME.len()) else { return false };
    name.eq_ignore_ascii_case(NAME) && matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';'))
}

/// The answer. What else it tells is metadata to the client.
pub(super) fn denied(denial: &Denial, context: Context<'_>) -> Response<Full<Bytes>> {
    let row = denial.row();
    let detail = denial.shared_detail();
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(row.grpc)));
    let parts =
        [row.reason, ": ", row.title, if detail.is_some() { ": " } else { "" }, detail.as_deref().unwrap_or("")];
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&parts.concat())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    headers.insert(X_REQUEST_ID, context.request_id.clone());
    insert_what_the_row_asks(headers, denial, &row, detail.as_deref(), context.realm);
    response
}

/// As `grpc-message` is written: what is not visible ASCII or a space, and `%` itself, by its UTF-8 bytes.
fn percent_encoded(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', DIGITS[usize::from(byte >> 4)].into(), DIGITS[usize::from(byte & 0xf)].into()]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body::Body;

    use super::*;
    use crate::respond;

    #[test]
    fn a_call_is_a_post_over_http_2_with_the_type_of_grpc() {
        let is_call = |version, method, content_type| {
            let request = Request::builder().version(version).method(method).header("content-type", content_type);
            is_grpc(&request.body(()).unwrap().into_parts().0)
        };
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc ; x=y", true),
            ("Application/GRPC", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("application/grp", false),
        ] {
            assert_eq!(is_call(Version::HTTP_2, "POST", content_type), expected, "{content_type}");
            assert!(!is_call(Version::HTTP_11, "POST", content_type));
            assert!(!is_call(Version::HTTP_2, "GET", content_type));
        }
    }

    #[test]
    fn every_refusal_is_a_status_and_a_message_without_a_body() {
        let request_id = HeaderValue::from_static("r1");
        for denial in Denial::ALL {
            let context = Context { realm: "claimgate", request_id: &request_id, closes: true, is_grpc: true };
            let (response, row) = (respond::denied(&denial, context), denial.row());
            assert_eq!((response.status().as_u16(), response.body().is_end_stream()), (200, true));
            let field = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(field("grpc-status"), Some(row.grpc.to_string()));
            assert!(field("grpc-message").unwrap().starts_with(&format!("{}: {}", row.reason, row.title)));
            assert_eq!(field("www-authenticate").is_some(), matches!(row.status, 401 | 403) || row.error.is_some());
            assert_eq!((field("connection"), field("x-request-id")), (None, Some("r1".to_owned())));
        }
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(percent_encoded("a b~100%\r\n\u{e9}"), "a b~100%25%0D%0A%C3%A9");
    }
}
