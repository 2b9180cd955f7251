//! Discovery: from the issuer's identifier to the URL of its keys.
//!
//! The forms are tried in order: `OpenID` Connect Discovery 1.0 §4, then RFC 8414 §3, then a bare key set. An answer that
//! is no metadata says that a form is not offered and leads to the next: servers say so with nearly any 4xx, with 501,
//! and with the index.html of an application. An issuer that is down or busy (408, 425, 429, 5xx) must not be taken for
//! one of another form, and metadata of another issuer is a mistake that has to be seen: both end the attempt.

use std::fmt;

use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::fetch::{self, FetchError, FetchErrorKind, Fetcher};
use super::unexpected::Found;

/// Where an issuer says where its keys are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// `OpenID` Connect Discovery 1.0 §4.1: appended.
    OpenIdConfiguration,
    /// RFC 8414 §3.1: between host and path.
    AuthorizationServer,
    /// Appended, as many deploy it.
    AuthorizationServerAppended,
    /// RFC 8414 §5: the `OpenID` name between host and path.
    OpenIdConfigurationInserted,
    /// No metadata, a key set at once.
    JwkSet,
}

impl Form {
    const ALL: [Self; 5] = [
        Self::OpenIdConfiguration,
        Self::AuthorizationServer,
        Self::AuthorizationServerAppended,
        Self::OpenIdConfigurationInserted,
        Self::JwkSet,
    ];

    /// Where it is for this issuer. A terminating slash does not count (RFC 8414 §3.1).
    fn url(self, issuer: &Url) -> Url {
        let path = issuer.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut url = issuer.clone();
        url.set_path(&match self {
            Self::OpenIdConfiguration => format!("{path}/.well-known/openid-configuration"),
            Self::AuthorizationServer => format!("/.well-known/oauth-authorization-server{path}"),
            Self::AuthorizationServerAppended => format!("{path}/.well-known/oauth-authorization-server"),
            Self::OpenIdConfigurationInserted => format!("/.well-known/openid-configuration{path}"),
            Self::JwkSet => format!("{path}/.well-known/jwks.json"),
        });
        url
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenIdConfiguration => "OpenID Connect Discovery",
            Self::AuthorizationServer => "RFC 8414",
            Self::AuthorizationServerAppended => "RFC 8414, appended to the issuer",
            Self::OpenIdConfigurationInserted => "OpenID Connect Discovery, as in RFC 8414 section 5",
            Self::JwkSet => "a key set without metadata",
        })
    }
}

/// The issuer as it was configured.
#[derive(Debug)]
pub(super) struct Configured {
    /// Byte for byte what tokens have to carry.
    pub(super) identifier: String,
    /// The same as a URL.
    pub(super) url: Url,
    /// Whether plain HTTP was asked for explicitly.
    pub(super) insecure: bool,
}

impl Configured {
    /// Whether an issuer, or a key set without discovery, may be at this URL.
    pub(super) fn permits(url: &Url, insecure: bool) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => insecure || fetch::is_loopback(url),
            _ => false,
        }
    }

    /// Keys may be on another host, but not less protected than the issuer is.
    pub(super) fn permits_keys_at(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.url.scheme() == "http" && Self::permits(url, self.insecure)
    }
}

/// What discovery found.
#[derive(Clone, Debug)]
pub(super) struct Discovered {
    pub(super) form: Form,
    pub(super) jwks_uri: Url,
    /// As in [`fetch::Answer`].
    pub(super) clock_skew: Option<f64>,
    /// What each form of metadata answered that is not offered; for a bare key set, that is all of them.
    pub(super) not_offered: Vec<String>,
}

/// Finds the keys' URL: the form that worked before first, then the others in order.
pub(super) async fn discover(
    fetcher: &Fetcher,
    issuer: &Configured,
    remembered: Option<Form>,
    deadline: Instant,
) -> Result<Discovered, DiscoveryError> {
    let (mut tried, mut not_offered) = (Vec::new(), Vec::new());
    for form in in_order(remembered) {
        let url = form.url(&issuer.url);
        if tried.contains(&url) {
            continue;
        }
        if form == Form::JwkSet {
            // Whether it is there shows when the keys are fetched.
            return Ok(Discovered { form, jwks_uri: url, clock_skew: None, not_offered });
        }
        let why = match fetcher.get(&url, None, deadline).await {
            Ok(answer) => {
                let body = answer.body.unwrap_or_default();
                match jwks_uri(issuer, &body, answer.coding.as_ref()) {
                    Ok(jwks_uri) => {
                        return Ok(Discovered { form, jwks_uri, clock_skew: answer.clock_skew, not_offered });
                    }
                    Err(flaw) if flaw.is_not_offered() => flaw.at(&url).to_string(),
                    Err(flaw) => return Err(flaw.at(&url)),
                }
            }
            Err(error) if is_not_offered(&error) || matches!(error.kind, FetchErrorKind::TooLarge) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        not_offered.push(why);
        tried.push(url);
    }
    // The last form returns above.
    Err(DiscoveryError::Metadata { url: fetch::shown(&issuer.url), flaw: Flaw::NoJwksUri })
}

/// Why discovery failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DiscoveryError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{url}: metadata: {flaw}")]
    Metadata { url: String, flaw: Flaw },
}

/// What is wrong with a metadata document. Quotes no more of it than the two URLs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("not a JSON object: line {line}, column {column}{found}")]
    NotAnObject { line: usize, column: usize, found: Found },
    #[error("it is a key set; if it is the issuer's, name it with --jwks-url")]
    KeySet,
    #[error("it is an object that is none: neither issuer nor jwks_uri is in it")]
    NotMetadata,
    #[error("it has no issuer")]
    NoIssuer,
    #[error(
        "it is that of the issuer {theirs:?}, not of {ours:?}: use --issuer {theirs} if that is what the tokens carry"
    )]
    OtherIssuer { theirs: String, ours: String },
    #[error("it has no jwks_uri")]
    NoJwksUri,
    #[error("its jwks_uri is not an absolute http or https URL")]
    InvalidJwksUri,
    #[error("its jwks_uri {0} is not https")]
    InsecureJwksUri(String),
}

impl Flaw {
    /// Whether such a document is no metadata at all. What is metadata, of another issuer or of none, or without a place
    /// where keys may be fetched, is a mistake that must not be passed over.
    const fn is_not_offered(&self) -> bool {
        matches!(self, Self::NotAnObject { .. } | Self::NotMetadata | Self::KeySet)
    }

    fn at(self, url: &Url) -> DiscoveryError {
        DiscoveryError::Metadata { url: fetch::shown(url), flaw: self }
    }
}

/// Whether this answer says that there is no such document. Many do not tell what is absent from what is not public.
pub(super) fn is_not_offered(error: &FetchError) -> bool {
    const LATER: [StatusCode; 3] = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    let (FetchErrorKind::Status(status) | FetchErrorKind::Refused { status, .. }) = error.kind else { return false };
    status == StatusCode::NOT_IMPLEMENTED || status.is_client_error() && !LATER.contains(&status)
}

fn in_order(remembered: Option<Form>) -> impl Iterator<Item = Form> {
    // A bare key set is no evidence that there is no metadata, so it stays the last.
    let first = remembered.filter(|form| *form != Form::JwkSet);
    first.into_iter().chain(Form::ALL.into_iter().filter(move |form| Some(*form) != first))
}

fn jwks_uri(issuer: &Configured, body: &[u8], coding: Option<&HeaderValue>) -> Result<Url, Flaw> {
    // The text of the error is left out: it may quote the document.
    let not_an_object = |error: serde_json::Error| {
        let found = Found::of(body, coding);
        Flaw::NotAnObject { line: error.line(), column: error.column(), found }
    };
    let metadata: Map<String, Value> = serde_json::from_slice(body).map_err(not_an_object)?;
    let text = |name| metadata.get(name).and_then(Value::as_str);
    if Found::is_key_set(&metadata) {
        return Err(Flaw::KeySet);
    }
    if !metadata.contains_key("issuer") && !metadata.contains_key("jwks_uri") {
        return Err(Flaw::NotMetadata);
    }

    let theirs = text("issuer").ok_or(Flaw::NoIssuer)?;
    if theirs != issuer.identifier {
        let theirs = theirs.chars().filter(|character| !character.is_control()).take(256).collect();
        return Err(Flaw::OtherIssuer { theirs, ours: issuer.identifier.clone() });
    }
    let url = Url::parse(text("jwks_uri").ok_or(Flaw::NoJwksUri)?).map_err(|_| Flaw::InvalidJwksUri)?;
    match url.scheme() {
        "http" | "https" if issuer.permits_keys_at(&url) => Ok(url),
        "http" => Err(Flaw::InsecureJwksUri(fetch::shown(&url))),
        _ => Err(Flaw::InvalidJwksUri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(identifier: &str, insecure: bool) -> Configured {
        Configured { identifier: identifier.to_owned(), url: Url::parse(identifier).unwrap(), insecure }
    }

    #[test]
    fn a_form_s_url_is_appended_or_inserted_and_knows_no_trailing_slash() {
        let (appended, inserted) = ("https://i.example/t/1/.well-known/", "https://i.example/.well-known/");
        for issuer in ["https://i.example/t/1", "https://i.example/t/1/"] {
            let urls = Form::ALL.map(|form| form.url(&Url::parse(issuer).unwrap()).to_string());
            let expected = [
                format!("{appended}openid-configuration"),
                format!("{inserted}oauth-authorization-server/t/1"),
                format!("{appended}oauth-authorization-server"),
                format!("{inserted}openid-configuration/t/1"),
                format!("{appended}jwks.json"),
            ];
            assert_eq!(urls, expected);
        }
        let bare = Url::parse("https://i.example").unwrap();
        assert_eq!(Form::AuthorizationServer.url(&bare), Form::AuthorizationServerAppended.url(&bare));
    }

    #[test]
    fn the_form_that_worked_is_tried_first_and_a_bare_key_set_last() {
        let order = |remembered| in_order(remembered).collect::<Vec<_>>();
        assert_eq!(order(None), Form::ALL);
        assert_eq!(order(Some(Form::JwkSet)), Form::ALL);
        let remembered = order(Some(Form::AuthorizationServer));
        assert_eq!(remembered[..2], [Form::AuthorizationServer, Form::OpenIdConfiguration]);
        assert_eq!(remembered.len(), Form::ALL.len());
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte_and_the_message_names_the_fix() {
        let issuer = configured("https://i.example/t", false);
        for theirs in ["https://i.example/t/", "https://i.example", "https://I.example/t"] {
            let document = format!(r#"{{"issuer":"{theirs}","jwks_uri":"https://i.example/keys"}}"#);
            let message = jwks_uri(&issuer, document.as_bytes(), None).unwrap_err().to_string();
            assert!(message.contains(&format!("use --issuer {theirs} if")), "{message}");
            assert!(message.contains("https://i.example/t\""), "{message}");
        }
    }

    #[test]
    fn keys_may_be_elsewhere_but_not_less_protected() {
        let ok = |issuer: &str, insecure, keys: &str| {
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
            jwks_uri(&configured(issuer, insecure), document.as_bytes(), None).map(|_| ())
        };
        let plain = |url: &str| Err(Flaw::InsecureJwksUri(url.to_owned()));
        assert_eq!(ok("https://i.example", false, "https://keys.example/1"), Ok(()));
        assert_eq!(ok("https://i.example", false, "http://i.example/1"), plain("http://i.example/1"));
        assert_eq!(ok("https://i.example", true, "http://i.example/1"), plain("http://i.example/1"));
        assert_eq!(ok("http://i.example", true, "http://keys.example/1"), Ok(()));
        assert_eq!(ok("http://localhost:1", false, "http://127.0.0.1:2/1"), Ok(()));
        assert_eq!(ok("http://localhost:1", false, "http://keys.example/1"), plain("http://keys.example/1"));
        assert_eq!(ok("https://i.example", false, "ftp://i.example/1"), Err(Flaw::InvalidJwksUri));
        assert_eq!(ok("https://i.example", false, "/keys"), Err(Flaw::InvalidJwksUri));
    }

    #[test]
    fn a_malformed_document_is_told_by_position_not_by_content() {
        let issuer = configured("https://i.example", false);
        let flaw = |document: &[u8]| jwks_uri(&issuer, document, None).unwrap_err().to_string();
        let html = "it is HTML, such as a login page or the index.html of an application";
        assert_eq!(flaw(b"<html>secret"), format!("not a JSON object: line 1, column 1: {html}"));
        assert!(!flaw(br#"["secret"]"#).contains("secret"));
        assert_eq!(flaw(br#"{"secret":1}"#), "it is an object that is none: neither issuer nor jwks_uri is in it");
        assert_eq!(flaw(br#"{"jwks_uri":"https://i.example/keys"}"#), "it has no issuer");
        assert_eq!(flaw(br#"{"issuer":7}"#), "it has no issuer");
        assert_eq!(flaw(br#"{"issuer":"https://i.example"}"#), "it has no jwks_uri");
    }
}
