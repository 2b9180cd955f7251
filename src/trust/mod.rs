//! Whose certificates are believed: authorities that are compiled in, or from files, which are read again when they change.
//!
//! One odd certificate in a bundle is no reason to believe none of the others: it is skipped, and named.

mod bundle;
mod explain;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

pub use self::bundle::Bundle;
pub use self::explain::{explain, explain_io};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// The authorities that servers' certificates may come from.
pub struct Trust {
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    /// In place of those that are compiled in.
    replaced: Option<Bundle>,
    /// In addition.
    added: Option<Bundle>,
    /// `None` where nothing is believed.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    count: usize,
}

impl Trust {
    /// Those of `replaced`, or the ones that are compiled in without it, and those that are added.
    pub fn new(replaced: Option<Bundle>, added: Option<Bundle>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = ArcSwap::from_pointee(Loaded::new(replaced, added, &provider));
        Self { provider, current }
    }

    /// How many authorities are believed.
    pub fn count(&self) -> usize {
        self.current.load().count
    }

    /// How many stand in place of those that are compiled in, if any do.
    pub fn replaced(&self) -> Option<usize> {
        self.current.load().replaced.as_ref().map(Bundle::len)
    }

    /// How many were added.
    pub fn added(&self) -> usize {
        self.current.load().added.as_ref().map_or(0, Bundle::len)
    }

    /// Whether what is believed may change, so that no session may be resumed that began before.
    pub fn is_from_files(&self) -> bool {
        self.current.load().bundles().any(Bundle::is_from_file)
    }

    /// What was skipped, with its place and its flag.
    pub fn warnings(&self) -> Vec<String> {
        self.current.load().bundles().flat_map(|bundle| bundle.odd().to_vec()).collect()
    }

    /// Takes changed files into use for as long as it is polled.
    pub async fn watch(self: Arc<Self>) {
        let mut last = Fault::default();
        while self.is_from_files() {
            sleep(INTERVAL).await;
            if let Some(fault) = self.look().await {
                last.tell(fault);
            }
        }
    }

    /// Takes changed files into use now, and says what is wrong with them.
    pub async fn reload(&self) {
        if let Some(fault) = self.look().await.filter(|fault| !fault.is_empty()) {
            tracing::warn!("{fault}; what was read before stays in use");
        }
    }

    /// What is wrong with the files, or an empty text; `None` when they could not be looked at.
    async fn look(&self) -> Option<String> {
        let current = self.current.load_full();
        // A volume may hang.
        let (replaced, added) = spawn_blocking(move || current.read_again()).await.ok()?;
        let fault = [&replaced, &added].into_iter().filter_map(Reading::problem).collect::<Vec<_>>().join("; ");
        if fault.is_empty() {
            self.take_up(replaced, added);
        }
        Some(fault)
    }

    fn take_up(&self, replaced: Reading, added: Reading) {
        if matches!((&replaced, &added), (Reading::Unchanged, Reading::Unchanged)) {
            return;
        }
        let current = self.current.load();
        let (replaced, added) = (replaced.or(current.replaced.as_ref()), added.or(current.added.as_ref()));
        let next = Loaded::new(replaced, added, &self.provider);
        tracing::info!(authorities = next.count, "changed CA files are in use");
        self.current.store(Arc::new(next));
        for warning in self.warnings() {
            tracing::warn!("{warning}");
        }
    }
}

/// What was wrong with the files when they were looked at last.
#[derive(Default)]
struct Fault {
    problems: String,
    is_told: bool,
}

impl Fault {
    /// Says so once when it lasts: the first time may have been in the middle of a change.
    fn tell(&mut self, problems: String) {
        if self.problems != problems {
            *self = Self { problems, is_told: false };
        } else if !self.problems.is_empty() && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!("{}; what was read before stays in use", self.problems);
        }
    }
}

/// What looking at a file again found.
enum Reading {
    Unchanged,
    Changed(Bundle),
    Bad(String),
}

impl Reading {
    fn of(bundle: Option<&Bundle>) -> Self {
        match bundle.and_then(Bundle::read_again) {
            None => Self::Unchanged,
            Some(Ok(read)) => Self::Changed(read),
            Some(Err(problem)) => Self::Bad(problem),
        }
    }

    fn problem(&self) -> Option<&str> {
        if let Self::Bad(problem) = self { Some(problem) } else { None }
    }

    fn or(self, current: Option<&Bundle>) -> Option<Bundle> {
        if let Self::Changed(bundle) = self { Some(bundle) } else { current.cloned() }
    }
}

impl Loaded {
    fn new(replaced: Option<Bundle>, added: Option<Bundle>, provider: &Arc<CryptoProvider>) -> Self {
        let mut store = RootCertStore::empty();
        if replaced.is_none() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for bundle in [&replaced, &added].into_iter().flatten() {
            store.add_parsable_certificates(bundle.certificates().iter().cloned());
        }
        let count = store.len();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build().ok();
        Self { replaced, added, verifier, count }
    }

    fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        [&self.replaced, &self.added].into_iter().flatten()
    }

    fn read_again(&self) -> (Reading, Reading) {
        (Reading::of(self.replaced.as_ref()), Reading::of(self.added.as_ref()))
    }

    fn is_given(&self, certificate: &CertificateDer<'_>) -> bool {
        self.bundles().any(|bundle| bundle.certificates().iter().any(|given| given == certificate))
    }
}

impl ServerCertVerifier for Trust {
    /// A server may show the very certificate of an authority that was given, as one that made its own does.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let current = self.current.load();
        let Some(verifier) = &current.verifier else { return Err(CertificateError::UnknownIssuer.into()) };
        match verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The last thing to be found of the certificate itself: its times have been looked at.
            Err(error) if is_authority(&error) && current.is_given(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a server showed a certificate that is an authority's. The library has no type for this.
fn is_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(why) if explain::is_ca(why))
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("count", &self.count()).finish_non_exhaustive()
    }
}
