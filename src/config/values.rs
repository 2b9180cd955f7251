//! What the words of the flags mean.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use bytesize::ByteSize;
use http::HeaderName;
use ipnet::IpNet;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use url::{Host, Url};

use crate::server::Listen;
use crate::token::claims_headers::ClaimHeader;

/// Names that no claim can be sent under: they frame, route or authenticate, or are set by this proxy.
const FORBIDDEN_NAMES: [&str; 29] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

/// An issuer identifier (RFC 8414 §2): https without query and fragment; plain http where that is permitted.
pub(super) fn issuer(text: &str, is_insecure_permitted: bool) -> Result<String, String> {
    let elsewhere = |problem| format!("{problem}; a name that keys are not looked for at needs --jwks-url");
    let url = web_url(text, is_insecure_permitted).map_err(elsewhere)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an issuer has no query and no fragment (RFC 8414 §2); leave them out".to_owned());
    }
    // Tokens carry it byte for byte; a normalised form would never match.
    Ok(text.to_owned())
}

/// An issuer that is only compared, as its keys are given: any `StringOrURI` (RFC 7519 §4.1.1).
pub(super) fn issuer_name(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it has a control character; leave it out".to_owned());
    }
    Ok(text.to_owned())
}

/// Where a key set is.
pub(super) fn jwks_url(text: &str, is_insecure_permitted: bool) -> Result<Url, String> {
    web_url(text, is_insecure_permitted)
}

fn web_url(text: &str, is_insecure_permitted: bool) -> Result<Url, String> {
    let example = "it must be a URL such as https://issuer.example.com";
    let url = Url::parse(text).map_err(|error| format!("{example}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme {}: is not supported here; it must begin with https://", url.scheme()));
    }
    // The parser mends `https:host`, `\\`, tabs and more. No token carries what has to be mended.
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    match authority {
        Some(authority) if is_plain && !authority.is_empty() => {
            if authority.contains('@') {
                return Err("a user name and a password have no place here; leave them out".to_owned());
            }
        }
        _ => return Err(format!("{example}, in ASCII, without spaces and `\\`")),
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(host)) if is_insecure_permitted || is_loopback(&host) => Ok(url),
        ("http", Some(_)) => {
            Err("keys fetched over http:// can be forged; use https://, or --insecure-issuer".to_owned())
        }
        _ => Err("it must begin with https://".to_owned()),
    }
}

/// Whether what is sent there can be read on the way.
pub(super) fn is_in_the_clear(url: &str) -> bool {
    let url = Url::parse(url).ok();
    url.is_some_and(|url| url.scheme() == "http" && !url.host().as_ref().is_some_and(is_loopback))
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// An address with its port; a bare `:PORT` means all of IPv4.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    text.parse().map_err(|_| "it must be an address with its port, such as 0.0.0.0:4180 or [::]:4180".to_owned())
}

/// An address, or none.
pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.eq_ignore_ascii_case("off") { Ok(None) } else { address(text).map(Some) }
}

/// Where requests are taken.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let (most, is_absolute) = (Listen::MAX_PATH, Path::new(path).is_absolute());
        return match path.len() {
            _ if !is_absolute || path.ends_with('/') => {
                Err("its path must be absolute, such as unix:/run/claimgate.sock".to_owned())
            }
            length if length > most => {
                Err(format!("its path has {length} bytes, and {most} are the most; use a shorter one"))
            }
            _ => Ok(Listen::Unix(path.into())),
        };
    }
    if let Some(descriptor) = text.strip_prefix("fd:") {
        let first = Listen::FIRST_INHERITED;
        let descriptor = descriptor.trim_start_matches("//").parse().ok().filter(|number| *number >= first);
        return descriptor.map(Listen::Inherited).ok_or_else(|| {
            format!("it must be the number of a descriptor that systemd hands over; the first is fd:{first}")
        });
    }
    let other = "unix:/run/claimgate.sock, or fd:3";
    address(text).map(Listen::Tcp).map_err(|problem| format!("{problem}, or {other}"))
}

/// A network or one address, or `None` for who comes over a unix socket (nginx: `set_real_ip_from unix:`).
pub(super) fn trusted_proxy(text: &str) -> Result<Option<IpNet>, String> {
    if matches!(text, "unix" | "unix:") {
        return Ok(None);
    }
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(Some).map_err(|_| "it must be a network or an address, such as 10.0.0.0/8 or ::1, or unix".to_owned())
}

/// A header that claims can be sent under.
pub(super) fn claims_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "it is no header name; use one such as X-User".to_owned())?;
    let folded = fold(&name);
    if folded.is_empty() {
        return Err("a header name needs letters; use one such as X-User".to_owned());
    }
    if FORBIDDEN_NAMES.contains(&&*folded) {
        return Err(format!("{name} has a meaning of its own; use another name, such as X-User"));
    }
    Ok(name)
}

/// `CLAIM=HEADER`; claims may have `=` in their names, headers may not.
pub(super) fn claim_header(text: &str) -> Result<ClaimHeader, String> {
    let (claim, header) = text.rsplit_once('=').ok_or("it must be CLAIM=HEADER, such as sub=X-User")?;
    if claim.is_empty() {
        return Err("the claim before `=` has no name".to_owned());
    }
    Ok(ClaimHeader { claim: claim.to_owned(), header: claims_header(header)? })
}

/// A name as origins may read it: two names that fold alike are one to CGI, WSGI and PHP.
pub(super) fn fold(name: &HeaderName) -> String {
    let words = name.as_str().split(|character: char| !character.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// What can stand between quotation marks (RFC 9110 §5.6.4).
pub(super) fn realm(text: &str) -> Result<String, String> {
    let is_plain = text.chars().all(|character| matches!(character, ' '..='~') && !matches!(character, '"' | '\\'));
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("it must be visible ASCII without \" and \\; use other characters".to_owned())
    }
}

/// A level, or levels for single modules.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    // A word that is no level would be taken for a module, and everything else would fall silent.
    let is_meant = |directive: &str| directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok();
    if text.split(',').all(is_meant) && text.parse::<Targets>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("it must be error, warn, info, debug or trace, or such as info,claimgate=debug".to_owned())
    }
}

/// The least that is a cache at all: a token takes about 1 KiB.
const MIN_TOKEN_CACHE: u64 = 4 * 1024;
const MAX_TOKEN_CACHE: u64 = 16 * 1024 * 1024 * 1024;

/// A size, or 0. A bare number is of bytes, where many mean MiB.
pub(super) fn token_cache_size(text: &str) -> Result<u64, String> {
    let size: ByteSize =
        text.parse().map_err(|_| "it must be a size with its unit, such as 16MiB, or 0 for none".to_owned())?;
    match size.as_u64() {
        size @ (0 | MIN_TOKEN_CACHE..=MAX_TOKEN_CACHE) => Ok(size),
        size @ ..MIN_TOKEN_CACHE => {
            Err(format!("{size} bytes hold no token; use {size}MiB if that is meant, at least 4KiB, or 0 for none"))
        }
        _ => Err("it must be at most 16GiB".to_owned()),
    }
}

/// A protocol to be switched to. HTTP itself is spoken from the first byte, or not at all.
pub(super) fn upgrade(text: &str) -> Result<String, String> {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    let lower = text.to_ascii_lowercase();
    if text.is_empty() || !text.bytes().all(is_tchar) {
        return Err("it must be the name of a protocol, such as tcp or foo/2".to_owned());
    }
    if matches!(lower.as_str(), "h2c" | "h2") || lower.starts_with("http/") {
        return Err("requests in a tunnel would pass unseen; HTTP/2 is spoken without an upgrade".to_owned());
    }
    Ok(lower)
}
