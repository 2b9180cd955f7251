//! Certificates of an authority that nobody has heard of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// A certificate for 127.0.0.1 that vouches for itself.
#[derive(Clone)]
pub(crate) struct Certificate {
    config: Arc<ServerConfig>,
    file: Arc<PemFile>,
}

/// Removed when dropped.
struct PemFile(PathBuf);

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let chain = vec![made.cert.der().clone()];
        let config = builder.with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
        let name = format!("certificate-{:016x}.pem", fastrand::u64(..));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, made.cert.pem()).unwrap();
        Self { config: Arc::new(config), file: Arc::new(PemFile(path)) }
    }

    /// Where it is as PEM.
    pub(crate) fn path(&self) -> &str {
        self.file.0.to_str().unwrap()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Certificate").field(&self.file.0).finish()
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}
