//! The effective settings in one line, each under the name of its flag.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use url::Position;

use super::Config;
use crate::forward::{ForwardToken, StreamExpiry};
use crate::jose::AlgorithmSet;
use crate::server::TlsVersion;
use crate::telemetry::LogFormat;
use crate::telemetry::access_log::Mode;
use crate::token::claims_headers::ClaimsFormat;

/// Names and values, in the order of the help.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<(String, String)>);

/// What is said however it is set: without them a line says nothing.
const ALWAYS: [&str; 3] = ["upstream", "issuer", "audience"];

pub(super) fn of(config: &Config) -> Line {
    let mut line = Line::default();
    origin(config, &mut line);
    tokens(config, &mut line);
    claims(config, &mut line);
    listener(config, &mut line);
    limits(config, &mut line);
    line
}

fn origin(config: &Config, line: &mut Line) {
    let (forward, policy) = (&config.forward, &config.policy);
    line.tell("upstream", &forward.upstream);
    let tls = forward.tls.as_ref();
    line.tell(
        "upstream_ca_file",
        tls.map_or_else(|| "none".into(), |tls| format!("{} certificates with the usual ones", tls.trust().count())),
    );
    let files = tls.and_then(|tls| tls.identity_files());
    for (index, name) in ["upstream_client_cert_file", "upstream_client_key_file"].into_iter().enumerate() {
        line.tell(name, files.map_or_else(|| "none".into(), |files| files[index].to_string_lossy()));
    }
    line.tell("upstream_server_name", tls.map_or_else(|| "none".into(), |tls| tls.name().to_str()));
    line.tell(
        "forward_token",
        match forward.forward_token {
            ForwardToken::Keep => "keep",
            ForwardToken::Strip => "strip",
        },
    );
    line.tell("origin_health_check", list(&config.origin_health.checks));
    line.tell("allow_upgrade", list(&forward.allowed_upgrades));
    line.tell("trusted_proxy", &forward.trusted_proxies);
    line.tell("skip_auth_route", list(&policy.skip_auth_routes));
    line.tell("skip_auth_preflight", policy.skip_auth_preflight);
}

fn tokens(config: &Config, line: &mut Line) {
    let expectations = &config.expectations;
    line.tell("issuer", list(config.issuers.iter().map(|issuer| &issuer.identifier)));
    // What follows is the same for each of them.
    if let Some(issuer) = config.issuers.first() {
        // A query may hold a key to the keys.
        line.tell("jwks_url", issuer.jwks_url.as_ref().map_or("discovered", |url| &url[..Position::AfterPath]));
        line.tell("insecure_issuer", issuer.insecure);
        line.tell("allowed_alg", algorithms(issuer.allowed_algorithms));
        line.tell(
            "ssl_cert_file",
            issuer.trust.replaced().map_or_else(|| "built-in".to_owned(), |count| format!("{count} certificates")),
        );
        line.tell("issuer_ca_file", format!("{} certificates", issuer.trust.added()));
        let token_file = issuer.bearer_token_file.as_ref();
        line.tell(
            "jwks_bearer_token_file",
            token_file.map_or_else(|| "none".into(), |file| file.path().to_string_lossy()),
        );
        line.time("jwks_refresh_cooldown", issuer.refresh_cooldown);
        line.time("jwks_timeout", issuer.timeout);
        line.time("jwks_max_stale", issuer.max_stale);
        let cache_dir = issuer.cache_dir.as_ref();
        line.tell("jwks_cache_dir", cache_dir.map_or_else(|| "off".into(), |dir| dir.path().to_string_lossy()));
    }
    let audiences = &expectations.audiences;
    line.tell("audience", if audiences.is_empty() { "any".to_owned() } else { list(audiences) });
    line.time("leeway", expectations.leeway);
    match expectations.max_lifetime {
        Some(lifetime) => line.time("max_token_lifetime", lifetime),
        None => line.tell("max_token_lifetime", "any"),
    }
    line.tell("token_cache_size", config.token_cache_size);
    let place = config.handshake_place.as_ref();
    line.tell("token_websocket_protocol", place.map_or_else(|| "off".to_owned(), ToString::to_string));
    line.tell("realm", &config.realm);
}

fn claims(config: &Config, line: &mut Line) {
    let claims = &config.claims_headers;
    line.tell("claims_header", &claims.header);
    line.tell(
        "claims_format",
        match claims.format {
            ClaimsFormat::Base64Url => "base64url",
            ClaimsFormat::Json => "json",
        },
    );
    line.tell("claim_header", list(claims.claim_headers.iter().map(|one| format!("{}={}", one.claim, one.header))));
    line.tell("claims_header_max", claims.max_size);
}

fn listener(config: &Config, line: &mut Line) {
    let server = &config.server;
    let tls = server.tls.as_ref().map(|tls| tls.settings());
    let path =
        |path: Option<&PathBuf>| path.map_or_else(|| "off".to_owned(), |path| path.to_string_lossy().into_owned());
    line.tell("tls_cert_file", path(tls.map(|tls| &tls.cert_file)));
    line.tell("tls_key_file", path(tls.map(|tls| &tls.key_file)));
    line.tell("tls_client_ca_file", path(tls.and_then(|tls| tls.client_ca_file.as_ref())));
    line.tell(
        "tls_min_version",
        tls.map_or("off", |tls| match tls.min_version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        }),
    );
    match tls {
        Some(tls) => line.time("tls_reload_interval", tls.reload_interval),
        None => line.tell("tls_reload_interval", "off"),
    }
    line.tell("proxy_protocol", server.proxy_protocol.is_some());
}

fn limits(config: &Config, line: &mut Line) {
    let (server, forward, telemetry) = (&config.server, &config.forward, &config.telemetry);
    line.tell("workers", server.workers);
    line.tell("max_connections", server.max_connections);
    line.time("header_timeout", server.header_timeout);
    line.time("idle_timeout", server.idle_timeout);
    line.tell("max_header_size", server.max_header_size);
    line.tell("max_body_size", forward.max_body_size.map_or_else(|| "none".to_owned(), |size| size.to_string()));
    line.tell("min_body_rate", forward.min_body_rate);
    line.tell("max_upstream_connections", forward.max_connections);
    line.tell("max_waiting_requests", forward.max_waiting);
    line.time("upstream_connect_timeout", forward.connect_timeout);
    line.time("upstream_timeout", forward.response_timeout);
    line.time("upstream_idle_timeout", forward.idle_timeout);
    line.time("stream_idle_timeout", forward.stream_idle_timeout);
    line.tell(
        "stream_expiry",
        match forward.stream_expiry {
            StreamExpiry::Close => "close",
            StreamExpiry::Ignore => "ignore",
        },
    );
    line.time("drain_delay", server.drain_delay);
    line.time("shutdown_grace_period", server.shutdown_grace_period);
    line.tell("log_level", &telemetry.filter);
    line.tell(
        "log_format",
        match telemetry.format {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        },
    );
    line.tell(
        "access_log",
        match telemetry.access_log {
            Mode::Denied => "denied",
            Mode::All => "all",
            Mode::Off => "off",
        },
    );
}

impl Line {
    fn tell(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    /// Without what the other line has, too.
    pub(super) fn without(self, other: &Self) -> Self {
        let is_told = |setting: &(String, String)| ALWAYS.contains(&&*setting.0) || !other.0.contains(setting);
        Self(self.0.into_iter().filter(is_told).collect())
    }

    /// `1h 30m` as `1h30m`.
    fn time(&mut self, name: &str, duration: Duration) {
        self.tell(name, humantime::format_duration(duration).to_string().replace(' ', ""));
    }
}

/// `key=value` with spaces between; quoted where it could be read as more than one value.
impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
            let gap = if index == 0 { "" } else { " " };
            if is_plain { write!(f, "{gap}{name}={value}")? } else { write!(f, "{gap}{name}={value:?}")? }
        }
        Ok(())
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn algorithms(set: AlgorithmSet) -> String {
    list(set.iter())
}
