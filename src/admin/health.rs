//! `/livez`, `/readyz` and `/startupz`, named as Kubernetes names its own.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::View;
use crate::issuer::Status;

/// Answers probes.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) view: View,
    /// Once true, always true.
    pub(super) has_started: AtomicBool,
}

impl Health {
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if self.view.verbose && !is_for_this_machine(request) {
            return plain(StatusCode::FORBIDDEN, "this listener answers to a loopback Host only\n".to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let is_verbose = self.view.verbose && request.uri().query().is_some_and(asks_for_details);
        match request.uri().path() {
            "/livez" => verdict(true, String::new()),
            "/readyz" if is_verbose => verdict(self.view.readiness.is_ready(), self.details()),
            "/readyz" => verdict(self.view.readiness.is_ready(), String::new()),
            "/startupz" => verdict(self.has_started(), String::new()),
            _ => plain(StatusCode::NOT_FOUND, "/livez, /readyz or /startupz\n".to_owned()),
        }
    }

    fn has_started(&self) -> bool {
        if self.view.readiness.is_ready() {
            self.has_started.store(true, Ordering::Relaxed);
        }
        self.has_started.load(Ordering::Relaxed)
    }

    fn details(&self) -> String {
        let mut details = String::new();
        if self.view.readiness.is_draining() {
            details += "draining\n";
        }
        for issuer in &self.view.issuers {
            // Writing into memory does not fail.
            let _ = write_issuer(&mut details, &issuer.status());
        }
        for note in &self.view.notes {
            let _ = writeln!(details, "note: {note}");
        }
        details
    }
}

fn write_issuer(out: &mut String, status: &Status) -> std::fmt::Result {
    let sign = if status.keys.is_empty() { '-' } else { '+' };
    writeln!(out, "[{sign}] issuer {}", status.identifier)?;
    for key in &status.keys {
        writeln!(out, "    key {}: {}", key.kid.as_deref().unwrap_or("without kid"), key.algorithms)?;
    }
    for key in &status.unusable_keys {
        writeln!(out, "    unusable key {}: {}", key.kid.as_deref().unwrap_or("without kid"), key.reason)?;
    }
    if let Some(age) = status.age {
        writeln!(out, "    confirmed {} s ago", age.as_secs())?;
    }
    let report = &status.report;
    if let Some(uri) = &report.jwks_uri {
        let form = report.metadata_form.as_ref().map(|form| format!(", found by {form}")).unwrap_or_default();
        writeln!(out, "    keys from {uri}{form}")?;
    }
    if let Some(error) = &report.last_error {
        writeln!(out, "    last error at {}: {}", error.at, error.cause)?;
    }
    if let Some(skew) = report.clock_skew {
        writeln!(out, "    its clock is {skew:.0} s ahead of ours")?;
    }
    match status.next_attempt {
        Some(next) => writeln!(out, "    next attempt in {} s", next.as_secs()),
        None => writeln!(out, "    an attempt is under way"),
    }
}

fn asks_for_details(query: &str) -> bool {
    query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="))
}

/// A browser that was led here under another name sends that name (DNS rebinding).
fn is_for_this_machine<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn verdict(is_good: bool, details: String) -> Response<Full<Bytes>> {
    let (status, word) =
        if is_good { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") };
    plain(status, details + word)
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
