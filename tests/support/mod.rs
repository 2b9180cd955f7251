//! A real issuer, a real origin, a gate and a client that shows every byte: all on port 0.

pub(crate) mod authority;
pub(crate) mod binary;
pub(crate) mod caller;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod entrance;
pub(crate) mod exposition;
pub(crate) mod gate;
pub(crate) mod http2;
pub(crate) mod http2_origin;
pub(crate) mod issuer;
pub(crate) mod key;
pub(crate) mod origin;
mod server;
pub(crate) mod token;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::authority::{Authority, Secret};
pub(crate) use self::binary::Binary;
pub(crate) use self::caller::Caller;
pub(crate) use self::certificate::Certificate;
pub(crate) use self::client::{Client, Response};
pub(crate) use self::exposition::Exposition;
pub(crate) use self::gate::Gate;
pub(crate) use self::http2_origin::{Http2Origin, Http2Reply};
pub(crate) use self::issuer::Issuer;
pub(crate) use self::key::Key;
pub(crate) use self::origin::{Origin, Reply};
pub(crate) use self::server::reserve;
pub(crate) use self::token::{Token, now};

/// The longest that anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds; `what` is said when it does not.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until what is counted has stood still for a while; how much it is then.
pub(crate) async fn stands_still(what: &str, count: impl Fn() -> u64) -> u64 {
    let (mut seen, mut since) = (count(), Instant::now());
    eventually(what, async || {
        if count() != seen {
            (seen, since) = (count(), Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    })
    .await;
    seen
}

/// What `future` gives within [`PATIENCE`].
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else { panic!("not within {PATIENCE:?}: {what}") };
    value
}
/// A whole house: issuer, origin and a gate between a client and them.
pub(crate) struct House {
    pub(crate) issuer: Issuer,
    pub(crate) origin: Origin,
    pub(crate) gate: Gate,
}

impl House {
    /// With these flags beside `--issuer` and `--upstream`, when the keys are there.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let issuer = Issuer::start();
        Self::with_issuer(issuer, flags).await
    }

    /// With an issuer that was prepared.
    pub(crate) async fn with_issuer(issuer: Issuer, flags: &[&str]) -> Self {
        let origin = Origin::start();
        let gate = Gate::start(&issuer, &origin, flags);
        gate.is_ready().await;
        Self { issuer, origin, gate }
    }

    /// `GET path` with this token.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Response {
        client::get(self.gate.addr(), path, Some(token)).await
    }

    /// The reason of the denial that this token gets; `"passed"` when it got through.
    pub(crate) async fn verdict(&self, token: &str) -> String {
        let response = self.get("/", token).await;
        if response.status == 200 { "passed".to_owned() } else { response.denial().reason }
    }
}
