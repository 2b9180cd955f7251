//! From flags to settings: typed, validated, every mistake at once.

mod admin;
mod environment;
mod forward;
pub(crate) mod lists;
mod mistakes;
mod origin;
mod origin_address;
mod server;
mod summary;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeSet, HashSet};
use std::io::{IsTerminal, stderr};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use self::environment::Environment;
pub use self::mistakes::ConfigErrors;
use self::mistakes::Mistakes;
use crate::cli::{Flags, TokenFlags};
use crate::forward::Protocol;
use crate::issuer::{self, BearerTokenFile, CacheDir};
use crate::jose::{Algorithm, AlgorithmSet, refused_on_purpose};
use crate::policy;
use crate::telemetry::access_log::Mode;
use crate::telemetry::{self, LogFormat};
use crate::token::HandshakePlace;
use crate::token::claims::Expectations;
use crate::token::claims_headers::{self, ClaimsFormat};
use crate::trust::{Bundle, Trust};

/// One `Settings` for each room.
#[derive(Clone, Debug)]
pub struct Config {
    /// The issuers, in the order of the flags.
    pub issuers: Vec<issuer::Settings>,
    /// What their tokens must claim.
    pub expectations: Expectations,
    /// What passes without a token.
    pub policy: policy::Settings,
    /// What the origin is told of the claims.
    pub claims_headers: claims_headers::Settings,
    /// Where the origin is.
    pub forward: crate::forward::Settings,
    /// Where requests are taken.
    pub server: crate::server::Settings,
    /// Where in the handshake of a WebSocket a token may stand.
    pub handshake_place: Option<HandshakePlace>,
    /// The protection space.
    pub realm: String,
    /// What is logged.
    pub telemetry: telemetry::Settings,
    /// How many bytes of tokens are remembered, over all workers; 0 for none.
    pub token_cache_size: u64,
    /// Where the kubelet asks.
    pub health_listen: Option<SocketAddr>,
    /// Where operators ask.
    pub admin_listen: Option<SocketAddr>,
    /// How the kubelet asks for the origin, which it cannot reach itself.
    pub origin_health: crate::admin::OriginHealth,
    /// What in the environment may surprise.
    surprises: Vec<String>,
    /// How lists were read.
    readings: Vec<String>,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Of 365.25 days.
const YEAR: Duration = Duration::from_hours(8766);
const KIB: u64 = 1024;

impl Config {
    /// Settings from flags and their environment twins, or everything that is wrong with them.
    pub fn resolve(flags: &Flags) -> Result<Self, ConfigErrors> {
        Self::resolve_in(&Environment::of_this_process(), flags)
    }

    /// Settings of a gate that will run elsewhere: neither this machine's variables nor its files count.
    pub(crate) fn resolve_for_elsewhere(flags: &Flags) -> Result<Self, ConfigErrors> {
        let environment = Environment::default();
        Self::resolve_with(&environment, flags, Mistakes::elsewhere(&environment))
    }

    fn resolve_in(environment: &Environment, flags: &Flags) -> Result<Self, ConfigErrors> {
        Self::resolve_with(environment, flags, Mistakes::new(environment))
    }

    fn resolve_with(environment: &Environment, flags: &Flags, mistakes: Mistakes<'_>) -> Result<Self, ConfigErrors> {
        let (flags, readings) = lists::read(flags);
        let flags = &flags;
        let claims_headers = claims_headers(flags, &mistakes);
        let stream_idle_timeout = stream_idle_timeout(flags, &mistakes);
        let trusted_proxies = server::trusted_proxies(flags, &mistakes);
        let server = server::settings(flags, &trusted_proxies, stream_idle_timeout, &mistakes);
        let expectations = expectations(flags, &mistakes);
        let replaced_roots = replaced_roots(environment, &mistakes);
        let forward = forward::settings(
            flags,
            &claims_headers,
            &trusted_proxies,
            stream_idle_timeout,
            replaced_roots.clone(),
            &mistakes,
        );
        let (health_listen, admin_listen) =
            (admin::health_listen(flags, &mistakes), admin::admin_listen(flags, &mistakes));
        let others = [("health-listen", health_listen), ("admin-listen", admin_listen)];
        origin_address::check_loop(&forward.upstream, &server.listen, others, &mistakes);
        let config = Self {
            issuers: issuers(flags, replaced_roots, &server, expectations.leeway, &mistakes),
            expectations,
            policy: policy(flags, &mistakes),
            origin_health: admin::origin_health(flags, &forward, &mistakes),
            forward,
            claims_headers,
            server,
            handshake_place: flags
                .token
                .token_websocket_protocol
                .as_ref()
                .and_then(|text| mistakes.read("token-websocket-protocol", text, str::parse::<HandshakePlace>)),
            realm: mistakes.or_default("realm", flags.token.realm.as_ref(), "claimgate".to_owned(), values::realm),
            telemetry: telemetry(flags, &mistakes),
            token_cache_size: flags
                .token
                .token_cache_size
                .as_ref()
                .and_then(|size| mistakes.read("token-cache-size", size, values::token_cache_size))
                .unwrap_or(16 * 1024 * KIB),
            health_listen,
            admin_listen,
            surprises: environment.warnings(),
            readings,
        };
        mistakes.or(config)
    }

    /// Whose certificates are believed, on each side; to be watched.
    pub fn trusts(&self) -> impl Iterator<Item = &Arc<Trust>> {
        // The same for all issuers.
        let issuer = self.issuers.first().map(|issuer| &issuer.trust);
        issuer.into_iter().chain(self.forward.tls.as_ref().map(crate::forward::Tls::trust))
    }

    /// What an operator should know before it hurts.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.expectations.audiences.is_empty() {
            warnings.push(
                "no --audience: a token that the issuer made for any other service passes too (RFC 7519 §4.1.3)"
                    .to_owned(),
            );
        }
        let is_insecure = |issuer: &&issuer::Settings| {
            let fetched = issuer.jwks_url.as_ref().map_or(&*issuer.identifier, |url| url.as_str());
            issuer.insecure && fetched.starts_with("http://")
        };
        for issuer in self.issuers.iter().filter(is_insecure) {
            warnings.push(format!("--insecure-issuer: keys of {} can be forged on the way", issuer.identifier));
        }
        warnings.extend(self.warnings_of_origin());
        let skipped: BTreeSet<_> = self.trusts().flat_map(|trust| trust.warnings()).collect();
        warnings.extend(skipped);
        warnings.extend_from_slice(&self.surprises);
        warnings
    }

    fn warnings_of_origin(&self) -> impl Iterator<Item = String> {
        let origin = &self.forward.upstream;
        let in_the_clear = origin_address::is_in_the_clear(origin).then(|| {
            format!(
                "--upstream {origin}: it is not on this machine and without TLS, so that others on the way can read and \
                 change what is verified here; use https://, or keep it in the same pod"
            )
        });
        let public = self.policy.skip_auth_routes.iter().filter(|route| route.is_everything());
        let public = public.map(|route| {
            let which = if route.has_method() { "each of these requests" } else { "every request" };
            format!("--skip-auth-route {route}: {which} passes without a token; name what is public, such as /docs/*")
        });
        let asks_grpc = self.origin_health.checks.iter().any(|check| check.to_string().starts_with("grpc"));
        let is_deaf = asks_grpc && origin.protocol == Protocol::Http1;
        let grpc = is_deaf.then(|| {
            let h2c = origin.to_string().replacen("http://", "h2c://", 1).replacen("unix:", "unix+h2c:", 1);
            format!("--origin-health-check grpc: gRPC needs HTTP/2, and --upstream {origin} is HTTP/1.1; use {h2c}")
        });
        let small = self.forward.max_body_size.filter(|size| *size < KIB);
        let small =
            small.map(|size| format!("--max-body-size {size}: {size} bytes are hardly any body; was {size}MiB meant?"));
        in_the_clear.into_iter().chain(public).chain(grpc).chain(small)
    }

    /// How lists were read, where that may surprise.
    pub fn readings(&self) -> &[String] {
        &self.readings
    }

    /// The effective settings.
    pub fn summary(&self) -> String {
        summary::of(self).to_string()
    }

    /// Those of them that are not as they are by default, for the first line of the log.
    pub fn changes(&self) -> String {
        let example = Some("http://127.0.0.1:80".to_owned());
        let mut flags = Flags::default();
        (flags.origin.upstream, flags.token.issuer) = (example, vec!["https://issuer.example.com".to_owned()]);
        let default = Self::resolve_for_elsewhere(&flags).map(|default| summary::of(&default)).unwrap_or_default();
        summary::of(self).without(&default).to_string()
    }
}

fn issuers(
    flags: &Flags,
    replaced_roots: Option<Bundle>,
    server: &crate::server::Settings,
    leeway: Duration,
    mistakes: &Mistakes<'_>,
) -> Vec<issuer::Settings> {
    let flags = &flags.token;
    let insecure = flags.insecure_issuer;
    let mut seen = HashSet::new();
    let mut read = |text: &str| {
        // Judged by what is fetched, and with a URL of the keys it is nothing.
        let are_keys_given = flags.jwks_url.is_some();
        let identifier = if are_keys_given { values::issuer_name(text) } else { values::issuer(text, insecure) }?;
        let is_first = seen.insert(identifier.clone());
        is_first.then_some(identifier).ok_or_else(|| "it is given twice; leave one of them out".to_owned())
    };
    let given = flags.issuer.iter();
    let identifiers: Vec<_> = given.filter_map(|text| mistakes.read("issuer", text, &mut read)).collect();
    if flags.issuer.is_empty() {
        mistakes.missing("issuer", "whose tokens are accepted, such as https://issuer.example.com");
    }
    if flags.jwks_url.is_some() && flags.issuer.len() > 1 {
        mistakes.note("jwks-url", "with several issuers nobody knows whose keys these are; leave it out");
    }
    let jwks_url = flags.jwks_url.as_ref();
    let jwks_url = jwks_url.and_then(|url| mistakes.read("jwks-url", url, |url| values::jwks_url(url, insecure)));
    let cache_dir = flags.jwks_cache_dir.as_ref();
    let added_roots = flags.issuer_ca_file.as_ref();
    let added_roots = added_roots.and_then(|path| {
        mistakes.read_file("issuer-ca-file", path, |path| Bundle::read("--issuer-ca-file", path.as_ref()))
    });
    let template = issuer::Settings {
        jwks_url,
        insecure,
        allowed_algorithms: allowed_algorithms(&flags.allowed_alg, mistakes),
        refresh_cooldown: mistakes.duration(
            "jwks-refresh-cooldown",
            flags.jwks_refresh_cooldown.as_ref(),
            10 * SECOND,
            SECOND..=HOUR,
        ),
        timeout: mistakes.duration("jwks-timeout", flags.jwks_timeout.as_ref(), 5 * SECOND, 100 * MILLISECOND..=MINUTE),
        max_stale: mistakes.duration("jwks-max-stale", flags.jwks_max_stale.as_ref(), DAY, SECOND..=30 * DAY),
        leeway,
        cache_dir: cache_dir.and_then(|dir| mistakes.read_file("jwks-cache-dir", dir, CacheDir::open)),
        bearer_token_file: bearer_token_file(flags, mistakes),
        waiting_room: issuer::Settings::WAITING_PER_WORKER * server.workers.get(),
        trust: Arc::new(Trust::new(replaced_roots, added_roots)),
        ..issuer::Settings::new("")
    };
    let with = |identifier| issuer::Settings { identifier, ..template.clone() };
    identifiers.into_iter().map(with).collect()
}

/// Sent to one issuer alone, and never in the clear.
fn bearer_token_file(flags: &TokenFlags, mistakes: &Mistakes<'_>) -> Option<BearerTokenFile> {
    let path = flags.jwks_bearer_token_file.as_ref()?;
    if flags.issuer.len() > 1 {
        mistakes.note("jwks-bearer-token-file", "with several issuers each would be sent the token; leave it out");
    }
    let fetched = flags.jwks_url.as_ref().map_or(&*flags.issuer, std::slice::from_ref);
    for url in fetched {
        if values::is_in_the_clear(url) {
            mistakes.note("jwks-bearer-token-file", format!("it would be sent in the clear; use https:// for {url}"));
        }
    }
    mistakes.read_file("jwks-bearer-token-file", path, BearerTokenFile::open)
}

fn allowed_algorithms(names: &[String], mistakes: &Mistakes<'_>) -> AlgorithmSet {
    if names.is_empty() {
        return AlgorithmSet::ALL;
    }
    let read = |name: &String| {
        let refusal = |name: &str| refused_on_purpose(name).unwrap_or("it is not known");
        let explained = |name: &str| format!("{}; known are {}", refusal(name), AlgorithmSet::ALL);
        mistakes.read("allowed-alg", name, |name| name.parse::<Algorithm>().map_err(|_| explained(name)))
    };
    names.iter().filter_map(read).collect()
}

/// `SSL_CERT_FILE` replaces what is compiled in, as it does for every program that uses OpenSSL.
fn replaced_roots(environment: &Environment, mistakes: &Mistakes<'_>) -> Option<Bundle> {
    let path = environment.get("SSL_CERT_FILE")?;
    mistakes.read_variable("SSL_CERT_FILE", path, |path| Bundle::read("SSL_CERT_FILE", path.as_ref()))
}

fn expectations(flags: &Flags, mistakes: &Mistakes<'_>) -> Expectations {
    let flags = &flags.token;
    let read = |text: &String| mistakes.read("audience", text, |text| Ok::<_, String>(text.to_owned()));
    Expectations {
        audiences: flags.audience.iter().filter_map(read).collect(),
        leeway: mistakes.duration("leeway", flags.leeway.as_ref(), 30 * SECOND, Duration::ZERO..=5 * MINUTE),
        max_lifetime: flags
            .max_token_lifetime
            .as_ref()
            .map(|given| mistakes.duration("max-token-lifetime", Some(given), DAY, SECOND..=YEAR)),
    }
}

fn policy(flags: &Flags, mistakes: &Mistakes<'_>) -> policy::Settings {
    let flags = &flags.route;
    let read = |text: &String| mistakes.read("skip-auth-route", text, str::parse::<policy::Route>);
    policy::Settings {
        skip_auth_routes: flags.skip_auth_route.iter().filter_map(read).collect(),
        skip_auth_preflight: flags.skip_auth_preflight,
    }
}

fn claims_headers(flags: &Flags, mistakes: &Mistakes<'_>) -> claims_headers::Settings {
    let flags = &flags.claims;
    let default = HeaderName::from_static("x-jwt-claims");
    let header = mistakes.or_default("claims-header", flags.claims_header.as_ref(), default, values::claims_header);
    let mut names = HashSet::from([values::fold(&header)]);
    let mut read = |text: &str| {
        let claim = values::claim_header(text)?;
        let folded = values::fold(&claim.header);
        if names.insert(folded.clone()) {
            Ok(claim)
        } else {
            Err(format!("origins read it as {folded}, which another claim is sent in; use another name"))
        }
    };
    let claim_headers = flags.claim_header.iter();
    claims_headers::Settings {
        header,
        format: mistakes.word(
            "claims-format",
            flags.claims_format.as_ref(),
            ClaimsFormat::Base64Url,
            &[("base64url", ClaimsFormat::Base64Url), ("json", ClaimsFormat::Json)],
        ),
        claim_headers: claim_headers.filter_map(|text| mistakes.read("claim-header", text, &mut read)).collect(),
        max_size: size(flags.claims_header_max.as_ref(), "claims-header-max", 8 * KIB, 256..=64 * KIB, mistakes),
    }
}

/// For both sides of the gate.
fn stream_idle_timeout(flags: &Flags, mistakes: &Mistakes<'_>) -> Duration {
    let given = flags.limits.stream_idle_timeout.as_ref();
    mistakes.duration("stream-idle-timeout", given, 5 * MINUTE, MILLISECOND..=DAY)
}

fn telemetry(flags: &Flags, mistakes: &Mistakes<'_>) -> telemetry::Settings {
    let flags = &flags.log;
    let format = if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    telemetry::Settings {
        format: mistakes.word(
            "log-format",
            flags.log_format.as_ref(),
            format,
            &[("json", LogFormat::Json), ("text", LogFormat::Text)],
        ),
        filter: mistakes.or_default("log-level", flags.log_level.as_ref(), "info".to_owned(), values::log_filter),
        access_log: mistakes.word(
            "access-log",
            flags.access_log.as_ref(),
            Mode::Denied,
            &[("denied", Mode::Denied), ("all", Mode::All), ("off", Mode::Off)],
        ),
    }
}

fn size(
    value: Option<&String>,
    flag: &'static str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    mistakes: &Mistakes<'_>,
) -> usize {
    let size = value.and_then(|value| mistakes.size(flag, value, range)).unwrap_or(default);
    usize::try_from(size).unwrap_or(usize::MAX)
}
