//! A bounded GET of JSON from an issuer; the only file that knows reqwest.
//!
//! Bounded means: one deadline for everything, [`MAX_BODY`], [`MAX_REDIRECTS`], and no redirect to another origin. Each
//! GET has its own connection: a few in ten minutes are not worth one that died in between.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, DATE, ETAG, IF_NONE_MATCH,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, redirect};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::bearer::Credential;
use crate::clock::{Clock, NumericDate};
use crate::trust::{self, Trust};

/// The most bytes that a document may have.
pub(super) const MAX_BODY: usize = 512 * 1024;
/// The most redirects of one GET.
const MAX_REDIRECTS: usize = 3;

/// Any type as a last resort: some servers say what they have and send nothing else.
const JSON: HeaderValue = HeaderValue::from_static("application/json, application/jwk-set+json, */*;q=0.1");
/// Without it any coding is acceptable (RFC 9110 §12.5.3).
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const USER_AGENT: &str = concat!("claimgate/", env!("CARGO_PKG_VERSION"));

/// The flag that adds an authority.
const CA_FLAG: &str = "--issuer-ca-file";

/// Makes GETs.
pub(super) struct Fetcher {
    /// By `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    by_environment: Client,
    /// Never through a proxy: for loopback.
    direct: Client,
    credential: Option<Credential>,
    clock: Clock,
}

/// An answer of 200 or 304.
#[derive(Debug)]
pub(super) struct Answer {
    /// `None`: not modified.
    pub(super) body: Option<Vec<u8>>,
    pub(super) etag: Option<HeaderValue>,
    /// Its `Content-Encoding`, which none was asked for.
    pub(super) coding: Option<HeaderValue>,
    /// How much longer it is fresh, as its `Cache-Control` says.
    pub(super) max_age: Option<Duration>,
    /// Seconds by which the issuer's clock is ahead of ours; negative: behind.
    pub(super) clock_skew: Option<f64>,
}

impl Fetcher {
    pub(super) fn new(trust: &Arc<Trust>, credential: Option<Credential>, clock: Clock) -> Result<Self, UnusableTls> {
        let tls = tls(trust)?;
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(Arc::new(SystemResolver))
                .redirect(redirect::Policy::custom(within_the_origin))
                .referer(false)
                .pool_max_idle_per_host(0)
                .user_agent(USER_AGENT)
        };
        let failed = |error: reqwest::Error| UnusableTls(root_cause(&error).to_string());
        let by_environment = client().build().map_err(failed)?;
        let direct = client().no_proxy().build().map_err(failed)?;
        Ok(Self { by_environment, direct, credential, clock })
    }

    /// Fetches one document. With an `etag`, 304 is an answer too.
    pub(super) async fn get(
        &self,
        url: &Url,
        etag: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, FetchError> {
        let error = |kind| FetchError { url: shown(url), kind };
        let began = Instant::now();
        let late = |what| error(FetchErrorKind::TimedOut { what, after: began.elapsed() });

        let client = if is_loopback(url) { &self.direct } else { &self.by_environment };
        let mut request = client.get(url.clone()).header(ACCEPT, JSON).header(ACCEPT_ENCODING, IDENTITY);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        // Redirects stay within the origin, so it goes nowhere else.
        let credential = self.credential.as_ref().filter(|credential| credential.is_for(url));
        if let Some(credential) = credential {
            let authorization = timeout_at(deadline, credential.authorization()).await.map_err(|_| late("no token"))?;
            let unusable = |cause| error(FetchErrorKind::BearerTokenFile(cause));
            request = request.header(AUTHORIZATION, authorization.map_err(unusable)?);
        }
        let response = timeout_at(deadline, request.send()).await.map_err(|_| late("no answer"))?;
        let response = response.map_err(|failure| error(classified(&failure)))?;

        let headers = response.headers();
        let mut answer = Answer {
            body: None,
            etag: headers.get(ETAG).cloned(),
            coding: headers.get(CONTENT_ENCODING).cloned(),
            max_age: freshness(headers),
            clock_skew: clock_skew(headers, self.clock.now(), began.elapsed()),
        };
        match response.status() {
            StatusCode::OK => {
                let body = timeout_at(deadline, read(response)).await.map_err(|_| late("no end of the body"))?;
                answer.body = Some(body.map_err(error)?);
            }
            StatusCode::NOT_MODIFIED if etag.is_some() => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let hint = self.hint(credential.is_some());
                return Err(error(FetchErrorKind::Refused { status, hint }));
            }
            status => return Err(error(FetchErrorKind::Status(status))),
        }
        Ok(answer)
    }

    /// What to do about a document that is not for everybody.
    fn hint(&self, was_sent: bool) -> &'static str {
        match (was_sent, &self.credential) {
            (true, _) => "the token in --jwks-bearer-token-file does not permit it",
            (false, Some(_)) => {
                "the token in --jwks-bearer-token-file is sent to the origins of --issuer and --jwks-url alone; \
                 if this is the right place, name it with --jwks-url"
            }
            (false, None) => "if it is not public, use --jwks-bearer-token-file",
        }
    }
}

/// Why there is no document. Names the URL, never what it returned.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{url}: {kind}")]
pub(super) struct FetchError {
    url: String,
    pub(super) kind: FetchErrorKind,
}

/// At which step a GET failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FetchErrorKind {
    #[error("DNS: the host name cannot be resolved: {0}")]
    Dns(String),
    #[error("TCP: cannot connect: {0}")]
    Connect(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("time-out: {what} within {:.1} s", after.as_secs_f64())]
    TimedOut { what: &'static str, after: Duration },
    #[error("redirect refused: {0}")]
    Redirect(String),
    #[error("HTTP: {0}")]
    Http(String),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("status {status}: {hint}")]
    Refused { status: StatusCode, hint: &'static str },
    #[error("--jwks-bearer-token-file: {0}")]
    BearerTokenFile(String),
    #[error("size: more than {MAX_BODY} bytes")]
    TooLarge,
}

/// The TLS settings for fetching are unusable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnusableTls(String);

/// Whether the URL's host is this machine by its name or address.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A URL as it may be logged: user information and query may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{}{}{query}", url.origin().ascii_serialization(), url.path())
}

/// Not the platform's verifier: in an image without certificates it finds no roots. No session is resumed, as its
/// certificate would not be looked at again, and a fetch in ten minutes gains nothing by it.
fn tls(trust: &Arc<Trust>) -> Result<ClientConfig, UnusableTls> {
    let refused = |error: rustls::Error| UnusableTls(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let verifier: Arc<Trust> = Arc::clone(trust);
    let builder = builder.map_err(refused)?.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Resolves like the default, but with an error that can be told from the others.
struct SystemResolver;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ResolveError(io::Error);

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = lookup_host((name.as_str(), 0)).await.map_err(ResolveError)?;
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

fn within_the_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let origin = attempt.previous().first().map(Url::origin);
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(RefusedRedirect(format!("more than {MAX_REDIRECTS} in a row")))
    } else if origin.as_ref() == Some(&attempt.url().origin()) {
        attempt.follow()
    } else {
        let target = attempt.url().origin().ascii_serialization();
        attempt.error(RefusedRedirect(format!("it leads to {target}")))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RefusedRedirect(String);

fn classified(error: &reqwest::Error) -> FetchErrorKind {
    let root = root_cause(error).to_string();
    if causes(error).any(<dyn Error>::is::<ResolveError>) {
        FetchErrorKind::Dns(root)
    } else if let Some(tls) = causes(error).find_map(<dyn Error>::downcast_ref::<rustls::Error>) {
        FetchErrorKind::Tls(trust::explain(tls, CA_FLAG))
    } else if error.is_redirect() {
        FetchErrorKind::Redirect(root)
    } else if error.is_connect() {
        FetchErrorKind::Connect(root)
    } else {
        FetchErrorKind::Http(root)
    }
}

/// The error and what caused it, outermost first.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn Error + 'static) = *error;
        // `io::Error::source` skips the very error that it wraps.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

fn root_cause<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

async fn read(mut response: Response) -> Result<Vec<u8>, FetchErrorKind> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| classified(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(FetchErrorKind::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `max-age` without the time that a cache has held it (RFC 9111 §4.2, §5.2.2.1). The other directives do not count: a
/// key set has to be held, and an unknown key asks for a new one anyway.
fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|field| field.to_str().ok());
    let max_age = fields.flat_map(|field| field.split(',')).find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| seconds(value.trim().trim_matches('"')))?
    })?;
    Some(max_age.saturating_sub(age(headers)))
}

fn age(headers: &HeaderMap) -> Duration {
    text(headers, &AGE).and_then(seconds).unwrap_or_default()
}

/// RFC 9111 §1.2.2: what is too large to count is 2^31.
fn seconds(digits: &str) -> Option<Duration> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(digits.parse::<u32>().map_or(1 << 31, u64::from)))
}

/// How far the issuer's clock is ahead: its `Date` tells a whole second, half a round trip ago. A cache's answer is
/// older by its `Age`.
fn clock_skew(headers: &HeaderMap, now: NumericDate, round_trip: Duration) -> Option<f64> {
    let date = httpdate::parse_http_date(text(headers, &DATE)?).ok()?;
    let theirs = NumericDate::from(date).plus(age(headers)).plus(Duration::from_millis(500));
    Some(theirs.as_seconds() - now.minus(round_trip / 2).as_seconds())
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn headers(fields: Fields) -> HeaderMap {
        let fields = fields.iter().copied();
        fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn freshness_is_max_age_without_the_age() {
        let cases: [(Fields, Option<u64>); 9] = [
            (&[], None),
            (&[("cache-control", "max-age=300")], Some(300)),
            (&[("cache-control", "public, Max-Age=\"300\", must-revalidate")], Some(300)),
            (&[("cache-control", "max-age=300"), ("age", "100")], Some(200)),
            (&[("cache-control", "max-age=300"), ("age", "400")], Some(0)),
            (&[("cache-control", "max-age=99999999999999999999")], Some(1 << 31)),
            (&[("cache-control", "s-maxage=5, no-cache")], None),
            (&[("cache-control", "max-age=-5")], None),
            (&[("cache-control", "max-age=abc")], None),
        ];
        for (fields, expected) in cases {
            assert_eq!(freshness(&headers(fields)), expected.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn clock_skew_is_corrected_by_half_the_round_trip_and_the_age() {
        let now = NumericDate::from_seconds(1_795_428_000.5).unwrap();
        let skew = |fields| clock_skew(&headers(fields), now, Duration::from_secs(4));
        assert_eq!(skew(&[("date", "Mon, 23 Nov 2026 10:00:00 GMT")]), Some(2.0));
        assert_eq!(skew(&[("date", "Mon, 23 Nov 2026 09:59:18 GMT"), ("age", "10")]), Some(-30.0));
        assert_eq!(skew(&[("date", "yesterday")]), None);
        assert_eq!(skew(&[]), None);
    }

    #[test]
    fn loopback_is_told_by_name_and_address() {
        for (url, expected) in [
            ("http://localhost:3000/", true),
            ("http://a.localhost/", true),
            ("http://127.8.0.1/", true),
            ("http://[::1]:9/", true),
            ("http://notlocalhost/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_url_is_shown_without_user_information_and_query() {
        let url = Url::parse("https://user:secret@issuer.example.com:8443/keys?token=secret").unwrap();
        assert_eq!(shown(&url), "https://issuer.example.com:8443/keys?…");
    }
}
