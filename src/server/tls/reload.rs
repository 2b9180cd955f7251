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
            self.look(&mut watch, &clock).await;
        }
    }

    /// Takes new files into use now, and says what is wrong with them.
    pub async fn reload(&self, clock: &Clock) {
        let mut watch = Watch { good: self.current.load().digest, bad: None };
        self.look(&mut watch, clock).await;
        if watch.bad.is_some() {
            // The second look says it: there is no third.
            self.look(&mut watch, clock).await;
        }
    }

    async fn look(&self, watch: &mut Watch, clock: &Clock) {
        let settings = self.settings.clone();
        // A volume may hang.
        let Ok(contents) = spawn_blocking(move || Contents::read(&settings)).await else { return };
        match watch.look(&contents, self.settings.min_version) {
            Seen::Nothing => {}
            Seen::New(loaded) => {
                let not_after = loaded.not_after.map(|date| date.to_string());
                self.current.store(Arc::new(*loaded));
                tracing::info!(not_after, "new TLS files are in use");
                if let Some(complaint) = self.complaint(clock) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate that vouches for itself, and its key.
    fn pair() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".to_owned()]).unwrap();
        (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
    }

    fn contents(cert: &[u8], key: &[u8]) -> Contents {
        Contents { cert: Ok(cert.to_vec()), key: Ok(key.to_vec()), client_ca: None }
    }

    /// What a look at each brings, one after the other.
    fn looks(watch: &mut Watch, seen: &[&Contents]) -> Vec<&'static str> {
        let look = |contents: &&Contents| match watch.look(contents, TlsVersion::Tls12) {
            Seen::Nothing => "nothing",
            Seen::New(_) => "new",
            Seen::Bad(_) => "bad",
        };
        seen.iter().map(look).collect()
    }

    #[test]
    fn what_is_bad_is_told_once_it_lasts_and_not_again() {
        let ((cert, key), (other_cert, other_key)) = (pair(), pair());
        let (good, other) = (contents(&cert, &key), contents(&other_cert, &other_key));
        let (torn, half) = (contents(&other_cert, &key), contents(&other_cert[..100], &other_key));
        let mut watch = Watch { good: good.digest(), bad: None };
        // In the middle of a change.
        assert_eq!(looks(&mut watch, &[&good, &torn, &other, &other]), ["nothing", "nothing", "new", "nothing"]);
        assert_eq!(looks(&mut watch, &[&torn, &torn, &torn, &torn]), ["nothing", "bad", "nothing", "nothing"]);
        assert_eq!(looks(&mut watch, &[&half, &half, &half]), ["nothing", "bad", "nothing"]);
        // As it was before: nothing to take up, and told anew when it is bad again.
        assert_eq!(looks(&mut watch, &[&other, &half, &half]), ["nothing", "nothing", "bad"]);
        assert_eq!(looks(&mut watch, &[&good]), ["new"]);
    }
}
