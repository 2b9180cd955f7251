//! TLS to the origin: whom we believe, and who we are.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fs, io};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use crate::trust::Trust;

/// How the origin is spoken to in TLS. A clone is the same.
#[derive(Clone)]
pub struct Tls {
    /// Offers HTTP/2 and HTTP/1.1.
    any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone.
    http1: Arc<ClientConfig>,
    name: ServerName<'static>,
    trust: Arc<Trust>,
    files: Option<[PathBuf; 2]>,
}

impl Tls {
    /// Believes a certificate for this name by one of these authorities, always; shows one of our own when asked.
    pub fn new(
        trust: &Arc<Trust>,
        identity: Option<ClientIdentity>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let files = identity.as_ref().map(|identity| [identity.certificate.clone(), identity.key.clone()]);
        let verifier: Arc<Trust> = Arc::clone(trust);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut any = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let mut config = builder.with_client_cert_resolver(Arc::new(identity));
                // A resumed session goes on with the certificate that it began with, however old that is by then.
                config.resumption = Resumption::disabled();
                config
            }
        };
        if trust.is_from_files() {
            // Nor would the certificate of a session be looked at again when its authority has gone.
            any.resumption = Resumption::disabled();
        }
        any.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut http1 = any.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { any: Arc::new(any), http1: Arc::new(http1), name, trust: Arc::clone(trust), files })
    }

    /// Offers HTTP/2 and HTTP/1.1, or the latter alone.
    pub fn config(&self, offers_http2: bool) -> Arc<ClientConfig> {
        Arc::clone(if offers_http2 { &self.any } else { &self.http1 })
    }

    /// Which authorities are believed.
    pub const fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Where our own certificate is, and where its key.
    pub fn identity_files(&self) -> Option<&[PathBuf; 2]> {
        self.files.as_ref()
    }

    /// The name that the origin's certificate must be for.
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Our own certificate with its key, read again when the files have changed.
pub struct ClientIdentity {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<(Stamp, Arc<CertifiedKey>)>,
}

/// Tells one state of the files from another.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// Why there is no identity in these files.
#[derive(Debug, thiserror::Error)]
pub enum UnusableIdentity {
    /// The file with the certificates.
    #[error("it {0}")]
    Certificate(String),
    /// The file with the key.
    #[error("it {0}")]
    Key(String),
}

impl ClientIdentity {
    /// Reads both files.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, UnusableIdentity> {
        let stamp = stamp(&certificate, &key);
        let read = read(&certificate, &key)?;
        Ok(Self { certificate, key, current: Mutex::new((stamp, read)) })
    }

    /// A new one that cannot be read does not replace the old one: it may be half written.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.certificate, &self.key);
        if stamp != current.0 {
            match read(&self.certificate, &self.key) {
                Ok(read) => {
                    tracing::info!("the client certificate for the origin was read again");
                    current.1 = read;
                }
                Err(error) => tracing::warn!(%error, "the client certificate for the origin cannot be read again"),
            }
            current.0 = stamp;
        }
        Arc::clone(&current.1)
    }
}

fn stamp(certificate: &PathBuf, key: &PathBuf) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Arc<CertifiedKey>, UnusableIdentity> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let pem = fs::read(certificate).map_err(|error| UnusableIdentity::Certificate(cannot(error)))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| UnusableIdentity::Certificate("holds no certificate in PEM".to_owned()))?;
    let pem = fs::read(key).map_err(|error| UnusableIdentity::Key(cannot(error)))?;
    let der = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| UnusableIdentity::Key("holds no private key in PEM".to_owned()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let pair = CertifiedKey::from_der(chain, der, &provider);
    pair.map(Arc::new).map_err(|error| UnusableIdentity::Key(format!("does not fit the certificate: {error}")))
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
