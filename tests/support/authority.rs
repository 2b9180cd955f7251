//! A certificate authority, the certificates that it gives out, and clients that trust it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, patiently};

/// The name that every certificate for the gate is for.
pub(crate) const SERVER_NAME: &str = "gate.test";

/// Issues certificates.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
    key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {:08x}", fastrand::u32(..)));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Self { issuer: rcgen::Issuer::new(params, key), certificate, pem }
    }

    /// For the gate or for a client.
    pub(crate) fn issue(&self) -> Identity {
        self.issue_until(2090)
    }

    /// One that ends with the beginning of a year.
    pub(crate) fn issue_until(&self, year: i32) -> Identity {
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }

    /// A client that trusts it, and speaks HTTP/1.1 alone.
    pub(crate) fn client(&self) -> TlsClient {
        self.client_of(None, &[b"http/1.1"])
    }

    /// The same with these versions alone.
    pub(crate) fn client_with(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsClient {
        self.build(None, &[b"http/1.1"], versions)
    }

    /// A client with a certificate of its own, and these protocols in ALPN.
    pub(crate) fn client_of(&self, identity: Option<&Identity>, alpn: &[&[u8]]) -> TlsClient {
        self.build(identity, alpn, rustls::ALL_VERSIONS)
    }

    fn build(
        &self,
        identity: Option<&Identity>,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
                builder.with_client_auth_cert(vec![identity.certificate.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        TlsClient { config }
    }
}

/// How a client speaks TLS.
#[derive(Clone)]
pub(crate) struct TlsClient {
    pub(crate) config: ClientConfig,
}

impl TlsClient {
    /// Connects, and waits until the handshake is done.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> Client<TlsStream<TcpStream>> {
        self.try_over(connect(addr).await).await.unwrap()
    }

    /// The same on a stream that is open already; why there is no TLS on it.
    pub(crate) async fn try_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<Client<TlsStream<S>>> {
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        patiently("a handshake", connector.connect(name, stream)).await.map(Client::over)
    }
}

/// A bare connection.
pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<TlsStream<S>> {
    /// What the other end has shown.
    pub(crate) fn server_certificate(&self) -> CertificateDer<'static> {
        self.stream().get_ref().1.peer_certificates().unwrap()[0].clone()
    }
}

/// A directory with `tls.crt`, `tls.key` and `ca.crt` as the kubelet keeps a mounted Secret: each a link through `..data`,
/// which is swapped. Removed when dropped.
pub(crate) struct Secret(PathBuf);

impl Secret {
    pub(crate) fn new(identity: &Identity, client_ca: &Authority) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secret-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&path).unwrap();
        let secret = Self(path);
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            std::os::unix::fs::symlink(format!("..data/{name}"), secret.0.join(name)).unwrap();
        }
        secret.put(&identity.cert_pem, &identity.key_pem, &client_ca.pem);
        secret
    }

    /// Swaps all three at once.
    pub(crate) fn put(&self, cert: &str, key: &str, client_ca: &str) {
        let name = format!("..{:016x}", fastrand::u64(..));
        let version = self.0.join(&name);
        std::fs::create_dir(&version).unwrap();
        for (file, content) in [("tls.crt", cert), ("tls.key", key), ("ca.crt", client_ca)] {
            std::fs::write(version.join(file), content).unwrap();
        }
        std::os::unix::fs::symlink(&name, self.0.join("..data_tmp")).unwrap();
        std::fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The flags that name certificate and key, looked at every 10 ms.
    pub(crate) fn flags(&self) -> Vec<String> {
        let flag = |flag: &str, value: String| [flag.to_owned(), value];
        [
            flag("--tls-cert-file", self.file("tls.crt")),
            flag("--tls-key-file", self.file("tls.key")),
            flag("--tls-reload-interval", "10ms".to_owned()),
        ]
        .concat()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
