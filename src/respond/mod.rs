//! A [`Denial`] as an answer: challenge (RFC 6750 §3) and problem details (RFC 9457), or what a gRPC client reads.
//!
//! The commonest refusal is a client's that tries again with the same bad token. Its token is recognised, so what it costs
//! is mostly what is written here: into one buffer each, without the machinery of formatting.

mod grpc;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

pub use self::grpc::is_grpc;
use crate::denial::{Denial, Row};

/// The request's name in both logs and answers.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The methods that are proxied, among those that have a name everywhere (RFC 9110 §9.3).
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What most bodies and challenges have room in, in bytes.
const USUAL_SIZE: usize = 512;

/// What stands in an answer beside the denial itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'r> {
    /// The protection space (RFC 9110 §11.5), from the settings, never from the request.
    pub realm: &'r str,
    /// The request's `X-Request-Id`.
    pub request_id: &'r HeaderValue,
    /// Whether the connection ends with this answer, as it must when a body is left unread.
    pub closes: bool,
    /// Whether a gRPC client reads it.
    pub is_grpc: bool,
}

/// The answer.
pub fn denied(denial: &Denial, context: Context<'_>) -> Response<Full<Bytes>> {
    if context.is_grpc {
        return grpc::denied(denial, context);
    }
    let row = denial.row();
    let detail = denial.shared_detail();
    let problem = Problem {
        r#type: ["urn:claimgate:denial:", row.reason].concat(),
        title: row.title,
        status: row.status,
        detail: detail.as_deref(),
        reason: row.reason,
        request_id: context.request_id.to_str().unwrap_or_default(),
    };
    let mut body = Vec::with_capacity(USUAL_SIZE);
    // A struct of strings and a number always is JSON, and writing to memory does not fail.
    let _ = serde_json::to_writer(&mut body, &problem);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, context.request_id.clone());
    insert_what_the_row_asks(headers, denial, &row, detail.as_deref(), context.realm);
    if context.closes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn insert_what_the_row_asks(headers: &mut HeaderMap, denial: &Denial, row: &Row, detail: Option<&str>, realm: &str) {
    if row.error.is_some() || matches!(row.status, 401 | 403) {
        let challenge = challenge(row, detail, realm);
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    if let Some(retry_after) = denial.retry_after() {
        // Whole seconds, and never "at once".
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if *denial == Denial::MethodRefused {
        headers.insert(header::ALLOW, ALLOW);
    }
}

/// RFC 6750 §3: without credentials there is no error to speak of.
fn challenge(row: &Row, detail: Option<&str>, realm: &str) -> String {
    let mut challenge = String::with_capacity(USUAL_SIZE);
    let mut add = |texts: &[&str]| texts.iter().for_each(|text| challenge.push_str(text));
    add(&["Bearer realm=\"", realm, "\""]);
    if let Some(error) = row.error {
        add(&[", error=\"", error, "\", error_description=\"", &quotable(row.title)]);
        if let Some(detail) = detail {
            add(&[": ", &quotable(detail)]);
        }
        add(&["\""]);
    }
    challenge
}

/// Only the characters that RFC 6750 §3 allows in a description: visible ASCII and spaces without `"` and `\`.
fn quotable(text: &str) -> Cow<'_, str> {
    let is_allowed = |character: char| matches!(character, ' '..='~') && !matches!(character, '"' | '\\');
    if text.bytes().all(|byte| is_allowed(char::from(byte))) {
        return text.into();
    }
    text.chars().map(|character| if is_allowed(character) { character } else { '?' }).collect()
}

/// RFC 9457 §3.1, with two members of our own.
#[derive(Serialize)]
struct Problem<'r> {
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'r str>,
    reason: &'static str,
    request_id: &'r str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(denial: &Denial) -> Response<Full<Bytes>> {
        let request_id = HeaderValue::from_static("r1");
        denied(denial, Context { realm: "claimgate", request_id: &request_id, closes: false, is_grpc: false })
    }

    #[test]
    fn every_401_403_and_token_error_carries_a_challenge_and_nothing_else_does() {
        for denial in Denial::ALL {
            let row = denial.row();
            let expected = matches!(row.status, 401 | 403) || row.error.is_some();
            let response = answer(&denial);
            assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), expected, "{denial}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), row.status == 503, "{denial}");
        }
    }

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        let denial = Denial::WrongAudience { found: "a\", error=\"none\\\u{e9}\r\nX: y".into(), expected: None };
        let response = answer(&denial);
        let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert_eq!(
            challenge,
            "Bearer realm=\"claimgate\", error=\"invalid_token\", error_description=\"Invalid token: it is meant for \
             another audience: a?, error=?none???r?nX: y\""
        );
    }

    #[test]
    fn a_missing_token_is_no_error() {
        assert_eq!(answer(&Denial::TokenMissing).headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"claimgate\"");
    }
}
