//! Certificates of an authority that nobody has heard of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// A certificate that vouches for itself.
#[derive(Clone)]
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    key: Arc<[u8]>,
    files: Arc<[PemFile; 2]>,
    /// Whose certificate a client has to show.
    demanded: Option<CertificateDer<'static>>,
    protocols: Vec<Vec<u8>>,
}

/// Removed when dropped.
struct PemFile(PathBuf);

impl Certificate {
    /// For 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::of("127.0.0.1")
    }

    /// For this name.
    pub(crate) fn of(name: &str) -> Self {
        Self::made(&rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// The certificate of an authority, for 127.0.0.1 as well.
    pub(crate) fn of_an_authority() -> Self {
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self::made(&params)
    }

    fn made(params: &rcgen::CertificateParams) -> Self {
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let random = fastrand::u64(..);
        let file = |kind: &str, pem: String| {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{kind}-{random:016x}.pem"));
            std::fs::write(&path, pem).unwrap();
            PemFile(path)
        };
        Self {
            der: cert.der().clone(),
            key: signing_key.serialize_der().into(),
            files: Arc::new([file("certificate", cert.pem()), file("key", signing_key.serialize_pem())]),
            demanded: None,
            protocols: Vec::new(),
        }
    }

    /// The same, shown only to clients that show that one.
    pub(crate) fn demanding(&self, client: &Self) -> Self {
        Self { demanded: Some(client.der.clone()), ..self.clone() }
    }

    /// The same with which these protocols are offered.
    pub(super) fn offering(&self, protocols: &[&str]) -> Self {
        Self { protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).collect(), ..self.clone() }
    }

    /// Where it is as PEM.
    pub(crate) fn path(&self) -> &str {
        self.files[0].0.to_str().unwrap()
    }

    /// Where its key is as PEM.
    pub(crate) fn key_path(&self) -> &str {
        self.files[1].0.to_str().unwrap()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match &self.demanded {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivatePkcs8KeyDer::from(self.key.to_vec());
        let mut config = builder.with_single_cert(vec![self.der.clone()], key.into()).unwrap();
        config.alpn_protocols.clone_from(&self.protocols);
        TlsAcceptor::from(Arc::new(config))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Certificate").field(&self.path()).finish()
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}
