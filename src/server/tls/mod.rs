//! TLS towards clients: certificate, key and client CAs from files, taken anew when the files change.

mod reload;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, Digest, SHA256};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use zeroize::Zeroize;

use super::stream::H2;
use crate::clock::{Clock, NumericDate};

/// What is spoken above TLS, by preference (RFC 7301).
const ALPN: [&[u8]; 2] = [H2, b"http/1.1"];

/// Where the keys are, and what is accepted.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate and what leads to its root, in PEM.
    pub cert_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// Who vouches for clients; without it they need no certificate.
    pub client_ca_file: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// One of the files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsFile {
    /// The certificate's.
    Cert,
    /// The key's.
    Key,
    /// The client CAs'.
    ClientCa,
}

impl fmt::Display for TlsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cert => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client CA",
        })
    }
}

/// What is wrong with one of them.
#[derive(Debug, thiserror::Error)]
#[error("the {file} cannot be used: {problem}")]
pub struct UnusableFile {
    /// Which.
    pub file: TlsFile,
    /// Why, with its fix.
    pub problem: String,
}

impl UnusableFile {
    fn new(file: TlsFile, problem: impl Into<String>) -> Self {
        Self { file, problem: problem.into() }
    }
}

/// What new connections are served with.
pub struct Tls {
    settings: TlsSettings,
    current: ArcSwap<Loaded>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files, or says what is wrong with each of them.
    pub fn load(settings: TlsSettings) -> Result<Self, Vec<UnusableFile>> {
        let loaded = Contents::read(&settings).load(settings.min_version)?;
        Ok(Self { settings, current: ArcSwap::from_pointee(loaded) })
    }

    /// Where it came from.
    pub const fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// What clients will hold against the certificate, for somebody to know before they do.
    pub fn complaint(&self, clock: &Clock) -> Option<String> {
        let loaded = self.current.load();
        let cert_file = self.settings.cert_file.display();
        let now = clock.now();
        match (loaded.not_before, loaded.not_after) {
            (_, Some(after)) if now > after => Some(format!("the certificate in {cert_file} expired at {after}")),
            (Some(before), _) if now < before => {
                Some(format!("the certificate in {cert_file} is not valid before {before}"))
            }
            _ => None,
        }
    }

    /// For a connection that begins now.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }
}

/// A certificate with its key, in use.
struct Loaded {
    config: Arc<ServerConfig>,
    digest: Digest,
    not_before: Option<NumericDate>,
    not_after: Option<NumericDate>,
}

/// What the files hold at a time, or why they cannot be read.
struct Contents {
    cert: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
    client_ca: Option<Result<Vec<u8>, String>>,
}

impl Drop for Contents {
    /// The files' copy of the key is overwritten; the one that signs is the library's, which does the same.
    fn drop(&mut self) {
        if let Ok(key) = &mut self.key {
            key.zeroize();
        }
    }
}

impl Contents {
    fn read(settings: &TlsSettings) -> Self {
        let read = |path: &Path| fs::read(path).map_err(|error| format!("it cannot be read: {error}"));
        Self {
            cert: read(&settings.cert_file),
            key: read(&settings.key_file),
            client_ca: settings.client_ca_file.as_deref().map(read),
        }
    }

    /// By which two contents are told apart; the key itself is not kept.
    fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        for file in [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten() {
            let (mark, bytes) = match file {
                Ok(bytes) => (b"+", bytes.as_slice()),
                Err(problem) => (b"-", problem.as_bytes()),
            };
            context.update(mark);
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        context.finish()
    }

    fn load(&self, min_version: TlsVersion) -> Result<Loaded, Vec<UnusableFile>> {
        let cert = certificates(self.cert.as_deref(), TlsFile::Cert);
        let key = private_key(self.key.as_deref());
        let client_cas =
            self.client_ca.as_ref().map(|file| certificates(file.as_deref(), TlsFile::ClientCa)).transpose();
        let (chain, key, client_cas) = match (cert, key, client_cas) {
            (Ok(chain), Ok(key), Ok(client_cas)) => (chain, key, client_cas),
            (cert, key, client_cas) => {
                return Err([cert.err(), key.err(), client_cas.err()].into_iter().flatten().collect());
            }
        };
        let (not_before, not_after) = validity(&chain);
        let config = config(chain, key, client_cas, min_version).map_err(|unusable| vec![unusable])?;
        Ok(Loaded { config: Arc::new(config), digest: self.digest(), not_before, not_after })
    }
}

fn certificates(pem: Result<&[u8], &String>, file: TlsFile) -> Result<Vec<CertificateDer<'static>>, UnusableFile> {
    let pem = pem.map_err(|problem| UnusableFile::new(file, problem))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(UnusableFile::new(file, "it holds no certificate in PEM")),
    }
}

fn private_key(pem: Result<&[u8], &String>) -> Result<PrivateKeyDer<'static>, UnusableFile> {
    const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    let pem = pem.map_err(|problem| UnusableFile::new(TlsFile::Key, problem))?;
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let is_encrypted = memchr::memmem::find(pem, ENCRYPTED).is_some();
        let problem = if is_encrypted {
            "its key is encrypted; decrypt it (openssl pkey)"
        } else {
            "it holds no private key in PEM"
        };
        UnusableFile::new(TlsFile::Key, problem)
    })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_cas: Option<Vec<CertificateDer<'static>>>,
    min_version: TlsVersion,
) -> Result<ServerConfig, UnusableFile> {
    let provider = Arc::new(default_provider());
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            UnusableFile::new(TlsFile::Key, "it is not the key of the certificate; give both of one pair")
        }
        Error::InvalidCertificate(error) => {
            UnusableFile::new(TlsFile::Cert, format!("its first certificate is not valid: {error}"))
        }
        error => UnusableFile::new(TlsFile::Key, error.to_string()),
    })?;
    let versions: &[&SupportedProtocolVersion] = match min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let broken = |error: Error| UnusableFile::new(TlsFile::Cert, error.to_string());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).map_err(broken)?;
    let needs_client = client_cas.is_some();
    let builder = match client_cas {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let unusable = |problem: String| UnusableFile::new(TlsFile::ClientCa, problem);
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    if needs_client {
        // A session that is resumed would outlive the client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Ticketer::new().map_err(broken)?;
    }
    Ok(config)
}

/// From when to when a certificate is valid. The verifier names the bound that a time is beyond.
fn validity(chain: &[CertificateDer<'static>]) -> (Option<NumericDate>, Option<NumericDate>) {
    let at = |seconds| {
        let parsed = chain.first().and_then(|certificate| ParsedCertificate::try_from(certificate).ok())?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        match verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], time, &[]) {
            Err(Error::InvalidCertificate(
                CertificateError::ExpiredContext { not_after: bound, .. }
                | CertificateError::NotValidYetContext { not_before: bound, .. },
            )) => NumericDate::from_seconds(Duration::from_secs(bound.as_secs()).as_secs_f64()),
            _ => None,
        }
    };
    (at(0), at(u64::MAX))
}
