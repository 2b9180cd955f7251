//! What runs beside the workers: probes and the admin port, the keys, the files, and reloads of both.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admin;
use crate::background::Task;
use crate::clock::Clock;
use crate::issuer::{Issuer, Refresher};
use crate::readiness::Readiness;
use crate::server::Tls;
use crate::trust::Trust;

/// How long a reload waits for a file before it fetches the keys without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ports for the kubelet and for operators, until what is returned is dropped.
pub(super) fn serve_ports(health: Option<TcpListener>, admin: Option<TcpListener>, view: &admin::View) -> JoinSet<()> {
    let mut ports = JoinSet::new();
    for (name, listener, verbose) in [("health port", health, false), ("admin port", admin, true)] {
        let Some(listener) = listener else { continue };
        let (listener, view) = (Arc::new(listener), admin::View { verbose, ..view.clone() });
        let panics = view.panics.clone();
        let task = Task::new(name, "", move || admin::serve(Arc::clone(&listener), view.clone()));
        ports.spawn(task.keep_running(panics));
    }
    ports
}

/// What waits for issuers and for files.
pub(super) fn tasks(refreshers: Vec<Refresher>, reload: Reload, readiness: &Readiness) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (issuer, refresher) in reload.issuers.iter().zip(refreshers) {
        let latch = readiness.latch();
        tasks.push(Task::new("keys", issuer.identifier(), move || refresher.clone().run(latch.clone())));
    }
    for trust in reload.trusts.clone() {
        tasks.push(Task::new("CA files", "", move || Arc::clone(&trust).watch()));
    }
    if let Some(tls) = reload.tls.clone() {
        let clock = reload.clock.clone();
        tasks.push(Task::new("TLS files", "", move || Arc::clone(&tls).watch(clock.clone())));
    }
    tasks.push(Task::new("reload", "", move || reload.clone().run()));
    tasks
}

/// What is read and fetched again when the operator asks.
#[derive(Clone)]
pub(super) struct Reload {
    pub(super) asked: Arc<Notify>,
    pub(super) trusts: Vec<Arc<Trust>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) issuers: Vec<Arc<Issuer>>,
    pub(super) clock: Clock,
}

impl Reload {
    async fn run(self) {
        loop {
            self.asked.notified().await;
            tracing::info!(issuers = self.issuers.len(), "reload: files are read again, and keys are fetched");
            // First, so that the keys are fetched by the new authorities.
            for trust in &self.trusts {
                let _ = timeout(PATIENCE, trust.reload()).await;
            }
            for issuer in &self.issuers {
                issuer.reload();
            }
            if let Some(tls) = &self.tls {
                let _ = timeout(PATIENCE, tls.reload(&self.clock)).await;
            }
        }
    }
}
