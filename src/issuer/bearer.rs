//! The credential for keys that are not public, such as those of a Kubernetes API server (RFC 6750 §2.1).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use tokio::task::spawn_blocking;
use url::{Origin, Url};

use super::fetch::is_loopback;

/// The largest file that can be a token.
const MAX_SIZE: u64 = 16 * 1024;

/// A file that holds a bearer token and nothing else. Read anew for each fetch: a projected token is replaced in time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BearerTokenFile(PathBuf);

impl BearerTokenFile {
    /// Makes sure that there is a token in it now. Or says why not.
    pub fn open(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        read(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A token and whom it is for.
#[derive(Clone, Debug)]
pub(super) struct Credential {
    pub(super) file: BearerTokenFile,
    /// Those that were configured, never one that a document names.
    pub(super) origins: Vec<Origin>,
}

impl Credential {
    /// Whether it may be sent there: to an origin that was configured, and not in the clear.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        (url.scheme() == "https" || is_loopback(url)) && self.origins.contains(&url.origin())
    }

    /// The value of the `Authorization` field as the file has it now.
    pub(super) async fn authorization(&self) -> Result<HeaderValue, String> {
        let path = self.file.0.clone();
        let read = spawn_blocking(move || read(&path)).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// The errors quote nothing of what is in the file.
fn read(path: &Path) -> Result<HeaderValue, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::from("Bearer ");
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(unreadable)?;
    let text = text.trim_end();
    let token = text.strip_prefix("Bearer ").unwrap_or_default();
    if text.len() as u64 > MAX_SIZE || !is_b64token(token) {
        return Err("it holds no bearer token, or not that alone (RFC 6750 §2.1)".to_owned());
    }
    let mut value = HeaderValue::from_str(text).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_b64token(token: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let inner = token.trim_end_matches('=');
    !inner.is_empty() && inner.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(origins: &[&str]) -> Credential {
        let origins = origins.iter().map(|url| Url::parse(url).unwrap().origin()).collect();
        Credential { file: BearerTokenFile(PathBuf::new()), origins }
    }

    #[test]
    fn it_is_sent_to_a_configured_origin_and_never_in_the_clear() {
        let credential =
            credential(&["https://i.example/t", "https://keys.example:8443", "http://i.example", "http://127.0.0.1:7"]);
        for (url, expected) in [
            ("https://i.example/.well-known/openid-configuration", true),
            ("https://i.example:443/keys", true),
            ("https://keys.example:8443/keys", true),
            ("http://127.0.0.1:7/keys", true),
            ("https://keys.example/keys", false),
            ("https://i.example:8443/keys", false),
            ("https://j.i.example/keys", false),
            ("http://127.0.0.1:8/keys", false),
            // Configured, and yet anybody on the way could read it.
            ("http://i.example/keys", false),
        ] {
            assert_eq!(credential.is_for(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_token_is_told_from_what_only_looks_like_one() {
        for (token, expected) in [
            ("eyJ.eyJ.c2ln", true),
            ("a-._~+/b==", true),
            ("", false),
            ("==", false),
            ("a=b", false),
            ("Bearer a", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_b64token(token), expected, "{token:?}");
        }
    }
}
