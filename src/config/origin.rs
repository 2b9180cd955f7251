//! Flags about where the origin is and how it is spoken to.

use std::path::PathBuf;
use std::sync::Arc;

use http::uri::{Authority, Uri};
use rustls::pki_types::ServerName;

use super::mistakes::Mistakes;
use crate::cli::OriginFlags;
use crate::forward::{Address, ClientIdentity, Origin, Protocol, Tls, UnusableIdentity};
use crate::trust::{Bundle, Trust};

const EXAMPLE: &str = "it must be http://HOST[:PORT], https://…, h2c://… or unix:PATH, such as http://127.0.0.1:3000";

/// The origin, or something in its place when it is a mistake.
pub(super) fn origin(flags: &OriginFlags, mistakes: &Mistakes<'_>) -> Origin {
    if flags.upstream.is_none() {
        mistakes.missing("upstream", "the service to protect, such as http://127.0.0.1:3000");
    }
    let placeholder = Address::Tcp(Authority::from_static("127.0.0.1"));
    let placeholder = Origin { address: placeholder, protocol: Protocol::Tls };
    mistakes.or_default("upstream", flags.upstream.as_ref(), placeholder, read)
}

/// `SCHEME://HOST[:PORT]`, nothing more: the path is the request's. Or a unix socket.
fn read(text: &str) -> Result<Origin, String> {
    for (prefix, protocol) in [("unix:", Protocol::Http1), ("unix+h2c:", Protocol::Http2)] {
        if let Some(path) = text.strip_prefix(prefix) {
            return unix(path).map(|address| Origin { address, protocol });
        }
    }
    let protocol = match text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
        Some("http") => Protocol::Http1,
        Some("https") => Protocol::Tls,
        Some("h2c") => Protocol::Http2,
        Some(scheme) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
            return Err(format!(
                "this scheme is not supported: only http://, https://, h2c:// and unix: are spoken to the service, not \
                 {scheme}:"
            ));
        }
        _ => return Err(EXAMPLE.to_owned()),
    };
    let uri: Uri = text.parse().map_err(|_| EXAMPLE.to_owned())?;
    let authority = uri.authority().ok_or(EXAMPLE)?;
    if authority.as_str().contains('@') {
        return Err("a user name and a password have no place here; leave them out".to_owned());
    }
    // `Uri` takes a fragment off without a word.
    if authority.host().is_empty() || uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        let scheme = uri.scheme_str().unwrap_or_default();
        return Err(format!("the path is the request's, byte for byte; use {scheme}://{authority}"));
    }
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("its port must be a number from 1 to 65535".to_owned());
    }
    Ok(Origin { address: Address::Tcp(authority.clone()), protocol })
}

/// The longest that fits the address of a socket on every system.
const MAX_PATH: usize = 103;

fn unix(path: &str) -> Result<Address, String> {
    // As in URLs of local files.
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("it must name a socket by its whole path, such as unix:/run/service.sock".to_owned());
    }
    if path.len() > MAX_PATH {
        return Err(format!("the path of a socket has at most {MAX_PATH} bytes; use a shorter one"));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

/// TLS, where the origin has it.
pub(super) fn tls(
    origin: &Origin,
    flags: &OriginFlags,
    replaced: Option<Bundle>,
    mistakes: &Mistakes<'_>,
) -> Option<Tls> {
    let Origin { address: Address::Tcp(authority), protocol: Protocol::Tls } = origin else {
        for (flag, value) in [
            ("upstream-ca-file", &flags.upstream_ca_file),
            ("upstream-client-cert-file", &flags.upstream_client_cert_file),
            ("upstream-client-key-file", &flags.upstream_client_key_file),
            ("upstream-server-name", &flags.upstream_server_name),
        ] {
            let refuse = |_: &str| Err::<(), _>("it is for --upstream https://; leave it out");
            value.as_ref().and_then(|value| mistakes.read(flag, value, refuse));
        }
        return None;
    };
    let added = flags.upstream_ca_file.as_ref();
    let added = added.and_then(|path| {
        mistakes.read_file("upstream-ca-file", path, |path| Bundle::read("--upstream-ca-file", path.as_ref()))
    });
    let given = flags.upstream_server_name.as_ref();
    let given = given.and_then(|name| mistakes.read("upstream-server-name", name, server_name));
    let identity = identity(flags, mistakes);
    let trust = Arc::new(Trust::new(replaced, added));
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = match given {
        Some(name) => name,
        None => mistakes.read("upstream", host, server_name)?,
    };
    mistakes.read("upstream", "-", |_| Tls::new(&trust, identity, name))
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| "it must be a host name or an address, as certificates have them".to_owned())
}

fn identity(flags: &OriginFlags, mistakes: &Mistakes<'_>) -> Option<ClientIdentity> {
    const CERTIFICATE: &str = "upstream-client-cert-file";
    const KEY: &str = "upstream-client-key-file";
    let (certificate, key) = match (&flags.upstream_client_cert_file, &flags.upstream_client_key_file) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        (Some(_), None) => {
            mistakes.missing(KEY, "the key of --upstream-client-cert-file");
            return None;
        }
        (None, Some(_)) => {
            mistakes.missing(CERTIFICATE, "the certificate of --upstream-client-key-file");
            return None;
        }
    };
    if !mistakes.has_files() {
        return None;
    }
    match ClientIdentity::read(certificate.trim().into(), key.trim().into()) {
        Ok(identity) => Some(identity),
        Err(error @ UnusableIdentity::Certificate(_)) => {
            mistakes.read(CERTIFICATE, certificate, |_| Err::<ClientIdentity, _>(error))
        }
        Err(error @ UnusableIdentity::Key(_)) => mistakes.read(KEY, key, |_| Err::<ClientIdentity, _>(error)),
    }
}
