//! `/livez`, `/readyz` and `/startupz`, named as Kubernetes names its own.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::{View, metrics, origin};
use crate::issuer::Status;
use crate::telemetry::shown;

/// Where a reload is asked for.
const RELOAD: &str = "/-/reload";
const ON_PURPOSE: HeaderName = HeaderName::from_static("x-claimgate");

/// How much of a text of an issuer is shown, in bytes.
const MAX_TEXT: usize = 512;

/// Answers probes.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) view: View,
    /// Once true, always true.
    pub(super) has_started: AtomicBool,
}

impl Health {
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let response = self.answer_at_once(request);
        let path_and_query = (request.uri().path(), request.uri().query());
        match path_and_query {
            (origin::PATH, Some(query)) if response.status() == StatusCode::NOT_FOUND => self.ask_origin(query).await,
            _ => response,
        }
    }

    async fn ask_origin(&self, query: &str) -> Response<Full<Bytes>> {
        let Some(check) = self.view.origin.find(query) else {
            return plain(StatusCode::NOT_FOUND, "this is no --origin-health-check\n".to_owned());
        };
        match self.view.origin.run(check).await {
            Ok(()) => verdict(true, String::new()),
            Err(cause) => verdict(false, cause + "\n"),
        }
    }

    fn answer_at_once<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if self.view.verbose && !is_for_this_machine(request) {
            return plain(StatusCode::FORBIDDEN, "this listener answers to a loopback Host only\n".to_owned());
        }
        if self.view.verbose && request.uri().path() == RELOAD {
            return self.reload(request);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        let is_verbose = self.view.verbose && request.uri().query().is_some_and(asks_for_details);
        match request.uri().path() {
            "/livez" => verdict(true, String::new()),
            "/readyz" if is_verbose => verdict(self.view.readiness.is_ready(), self.details()),
            "/readyz" => verdict(self.view.readiness.is_ready(), String::new()),
            "/startupz" => verdict(self.has_started(), String::new()),
            "/metrics" if self.view.verbose => metrics::answer(&self.view),
            _ if self.view.verbose => {
                plain(StatusCode::NOT_FOUND, "/livez, /readyz, /startupz, /metrics or POST /-/reload\n".to_owned())
            }
            _ => plain(StatusCode::NOT_FOUND, "/livez, /readyz or /startupz\n".to_owned()),
        }
    }

    /// No page in a browser sends the field without asking first, and it is not told that it may (Fetch §3.2.2).
    fn reload<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return not_allowed("POST");
        }
        if request.headers().get(ON_PURPOSE).is_none_or(|value| value != "1") {
            return plain(StatusCode::FORBIDDEN, "this needs the field X-Claimgate: 1\n".to_owned());
        }
        self.view.reload.notify_one();
        plain(StatusCode::ACCEPTED, "files are read again, and keys are fetched\n".to_owned())
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
        for (task, count) in self.view.panics.each() {
            let _ = writeln!(details, "[-] {}: panicked {count} times; it is run again", shown(&task, MAX_TEXT));
        }
        for note in &self.view.notes {
            let _ = writeln!(details, "note: {note}");
        }
        details
    }
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, allowed.replace(", ", " or ") + "\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A key set says what it likes: no text of it may look like a line of ours.
fn write_issuer(out: &mut String, status: &Status) -> std::fmt::Result {
    let text = |text: &str| shown(text, MAX_TEXT).into_owned();
    let kid = |kid: &Option<String>| kid.as_deref().map_or_else(|| "without kid".to_owned(), text);
    let sign = if status.keys.is_empty() { '-' } else { '+' };
    writeln!(out, "[{sign}] issuer {}", text(&status.identifier))?;
    for key in &status.keys {
        writeln!(out, "    key {}: {}", kid(&key.kid), key.algorithms)?;
    }
    for key in &status.unusable_keys {
        writeln!(out, "    unusable key {}: {}", kid(&key.kid), text(&key.reason))?;
    }
    if let Some(age) = status.age {
        let origin = if status.restored { ", before this start: read from --jwks-cache-dir" } else { "" };
        writeln!(out, "    confirmed {} s ago{origin}", age.as_secs())?;
    }
    let report = &status.report;
    if let Some(uri) = &report.jwks_uri {
        let form = report.metadata_form.as_ref().map(|form| format!(", found by {}", text(form))).unwrap_or_default();
        writeln!(out, "    keys from {}{form}", text(uri))?;
    }
    if let Some(error) = &report.last_error {
        writeln!(out, "    last error at {}: {}", error.at, text(&error.cause))?;
    }
    if let Some(skew) = report.clock_skew {
        let side = if skew < 0.0 { "behind" } else { "ahead of" };
        writeln!(out, "    its clock is {:.0} s {side} ours", skew.abs())?;
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

pub(super) fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::{OriginHealth, Way};
    use crate::background::Panics;
    use crate::clock::{Clock, NumericDate};
    use crate::issuer::{Failure, Issuer, Report, Settings};
    use crate::readiness::Readiness;
    use crate::telemetry::metrics::Metrics;

    fn health(readiness: &Readiness, verbose: bool) -> Health {
        let (issuer, _) = Issuer::new(Settings::new("https://issuer.example.com"), Clock::system()).unwrap();
        let view = View {
            readiness: readiness.clone(),
            issuers: vec![issuer],
            notes: vec!["mind the gap".to_owned()],
            metrics: Metrics::new(NumericDate::EPOCH),
            origin: OriginHealth {
                origin: Authority::from_static("127.0.0.1"),
                way: Way::Tcp(80),
                is_http2: false,
                checks: Vec::new(),
            },
            panics: Panics::default(),
            reload: Arc::default(),
            verbose,
        };
        Health { view, has_started: AtomicBool::new(false) }
    }

    fn request(method: &str, target: &str, host: &str) -> Request<()> {
        Request::builder().method(method).uri(target).header(header::HOST, host).body(()).unwrap()
    }

    async fn text(response: Response<Full<Bytes>>) -> String {
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn startup_latches_where_readiness_does_not() {
        let readiness = Readiness::new();
        let health = health(&readiness, false);
        let latch = readiness.latch();
        let statuses = || {
            ["/livez", "/readyz", "/startupz"]
                .map(|path| health.answer_at_once(&request("GET", path, "x")).status().as_u16())
        };
        assert_eq!(statuses(), [200, 503, 503]);
        drop(latch);
        assert_eq!(statuses(), [200, 200, 200]);
        readiness.drain();
        assert_eq!(statuses(), [200, 503, 200]);
    }

    #[test]
    fn what_is_no_probe_is_refused_by_name() {
        let health = health(&Readiness::new(), false);
        for (method, target, status, allow) in [
            ("HEAD", "/livez", 200, None),
            ("GET", "/", 404, None),
            ("GET", "/livez/", 404, None),
            ("POST", "/livez", 405, Some("GET, HEAD")),
            ("DELETE", "/", 405, Some("GET, HEAD")),
        ] {
            let response = health.answer_at_once(&request(method, target, "x"));
            assert_eq!(response.status(), status, "{method} {target}");
            let header = |name| response.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!((header(header::ALLOW), header(header::CACHE_CONTROL)), (allow, Some("no-store")));
        }
    }

    #[tokio::test]
    async fn details_are_shown_to_those_who_ask_on_this_machine_only() {
        let readiness = Readiness::new();
        for (verbose, target, shows) in [
            (true, "/readyz?verbose", true),
            (true, "/readyz?a=b&verbose=1", true),
            (true, "/readyz", false),
            (true, "/readyz?verboser", false),
            (false, "/readyz?verbose", false),
        ] {
            let text = text(health(&readiness, verbose).answer_at_once(&request("GET", target, "localhost"))).await;
            assert_eq!(text.contains("https://issuer.example.com"), shows, "{target}: {text}");
            assert_eq!(text.contains("note: mind the gap"), shows, "{target}: {text}");
        }
        readiness.drain();
        let text =
            text(health(&readiness, true).answer_at_once(&request("GET", "/readyz?verbose", "[::1]:9180"))).await;
        assert!(text.starts_with("draining\n") && text.ends_with("not ready\n"), "{text}");
    }

    /// DNS rebinding.
    #[test]
    fn only_the_names_of_this_machine_are_answered_with_details() {
        let health = health(&Readiness::new(), true);
        for (host, status) in [
            ("localhost", 200),
            ("LOCALHOST:9180", 200),
            ("127.0.0.1:9180", 200),
            ("127.8.9.1", 200),
            ("[::1]:9180", 200),
            ("localhost.evil.example.com", 403),
            ("127.0.0.1.evil.example.com", 403),
            ("10.0.0.1", 403),
            ("localhost@evil.example.com", 403),
            ("", 403),
        ] {
            assert_eq!(health.answer_at_once(&request("GET", "/livez", host)).status(), status, "{host}");
        }
        let without_host = Request::builder().uri("/livez").body(()).unwrap();
        assert_eq!(health.answer_at_once(&without_host).status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn an_issuer_is_told_with_its_age_its_last_error_and_its_next_attempt() {
        let failure = Failure { at: NumericDate::EPOCH, cause: "fetch: TLS: expired".to_owned() };
        let status = Status {
            identifier: "https://issuer.example.com".to_owned(),
            keys: Vec::new(),
            unusable_keys: Vec::new(),
            generation: 0,
            age: Some(std::time::Duration::from_secs(61)),
            restored: false,
            next_attempt: Some(std::time::Duration::from_secs(4)),
            report: Report { last_error: Some(failure), clock_skew: Some(-3.2), ..Report::default() },
        };
        let mut text = String::new();
        write_issuer(&mut text, &status).unwrap();
        assert_eq!(
            text.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "[-] issuer https://issuer.example.com",
                "confirmed 61 s ago",
                "last error at 1970-01-01T00:00:00Z: fetch: TLS: expired",
                "its clock is 3 s behind ours",
                "next attempt in 4 s",
            ]
        );
    }
}
