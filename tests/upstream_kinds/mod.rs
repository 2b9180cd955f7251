//! What can be spoken to an origin.

mod ends;
mod failures;
mod http1;
mod kinds;
mod memory;
mod multiplexing;
mod raw;
mod tls;
mod upgrades;

use crate::support::{Certificate, Gate, Http2Origin, Issuer};

/// Issuer, HTTP/2 origin and a gate between.
pub(crate) struct House2 {
    pub(crate) issuer: Issuer,
    pub(crate) origin: Http2Origin,
    pub(crate) gate: Gate,
}

impl House2 {
    /// In clear text.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::with(Http2Origin::start(), flags).await
    }

    /// In TLS.
    pub(crate) async fn start_tls(flags: &[&str]) -> Self {
        let certificate = Certificate::new();
        let origin = Http2Origin::start_tls(&certificate);
        Self::with(origin, &[&["--upstream-ca-file", certificate.path()], flags].concat()).await
    }

    pub(crate) async fn with(origin: Http2Origin, flags: &[&str]) -> Self {
        let issuer = Issuer::start();
        let gate = Gate::start_before(&issuer, &origin.url(), flags);
        gate.is_ready().await;
        Self { issuer, origin, gate }
    }

    pub(crate) fn token(&self) -> String {
        self.issuer.token().sign()
    }
}
