//! Looks at the files again and again: kubelet, cert-manager and ACME clients swap them without a word.

use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Contents, Loaded, Tls, TlsVersion, UnusableFile};
use crate::clock::Clock;

impl Tls {
    /// Takes new files into use for as long as it is polled. Connections that are open go on with what they began with.
    pub async fn watch(self: Arc<Self>, clock: Clock) {
        let mut watch = Watch { good: self.current.load().digest, bad: None };
        loop {
            sleep(self.settings.reload_interval).await;
            let settings = self.settings.clone();
            // A volume may hang.
            let Ok(contents) = spawn_blocking(move || Contents::read(&settings)).await else { continue };
            match watch.look(&contents, self.settings.min_version) {
                Seen::Nothing => {}
                Seen::New(loaded) => {
                    let not_after = loaded.not_after.map(|date| date.to_string());
                    self.current.store(Arc::new(*loaded));
                    tracing::info!(not_after, "new TLS files are in use");
                    if let Some(complaint) = self.complaint(&clock) {
                        tracing::warn!("{complaint}");
                    }
                }
                Seen::Bad(problems) => {
                    let cert_file = self.settings.cert_file.display();
                    tracing::warn!("{problems}; what was read from {cert_file} before stays in use");
                }
            }
        }
    }
}

/// What was seen last.
struct Watch {
    good: Digest,
    bad: Option<Bad>,
}

struct Bad {
    digest: Digest,
    problems: String,
    is_told: bool,
}

enum Seen {
    Nothing,
    New(Box<Loaded>),
    /// For the second time in a row: the first may have been in the middle of a change.
    Bad(String),
}

impl Watch {
    fn look(&mut self, contents: &Contents, min_version: TlsVersion) -> Seen {
        let digest = contents.digest();
        if digest.as_ref() == self.good.as_ref() {
            self.bad = None;
            return Seen::Nothing;
        }
        if let Some(bad) = &mut self.bad
            && bad.digest.as_ref() == digest.as_ref()
        {
            let is_told = std::mem::replace(&mut bad.is_told, true);
            return if is_told { Seen::Nothing } else { Seen::Bad(bad.problems.clone()) };
        }
        match contents.load(min_version) {
            Ok(loaded) => {
                *self = Self { good: digest, bad: None };
                Seen::New(Box::new(loaded))
            }
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(UnusableFile::to_string).collect();
                self.bad = Some(Bad { digest, problems: problems.join("; "), is_told: false });
                Seen::Nothing
            }
        }
    }
}
