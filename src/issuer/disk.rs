//! An issuer's last good key set on disk, so that it survives a restart during an outage of the issuer.
//!
//! Whoever can write the file decides whom the gate believes. So it is made for its owner alone, and believed only if it
//! is still ours alone, is about the issuer and the source that are configured now, and is not older than keys may be.
//! The directory may be writable by others, as an `emptyDir` of Kubernetes is: a file that they put there is not ours, and
//! one of ours that they kept and put back was moved later than it was written, which the kernel notes in its `ctime`.
//! Only root can set that. The directory as a whole could be put back with its files untouched, so that others must
//! not be able to replace it.
//!
//! It is replaced as a whole: whoever reads it, after a crash as well, finds an old one or a new one.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::Url;

use super::Settings;
use super::fetch::MAX_BODY;
use super::source::{Document, Source};
use crate::clock::NumericDate;
use crate::jose::{JwkSet, MalformedJwkSet};

/// The most bytes of a file: what stands in JSON as a string has at most twice its size, and there is a little beside it.
const MAX_FILE: u64 = 2 * MAX_BODY as u64 + 64 * 1024;
/// How long the first fetch waits for the file. A local disk takes far less; a network's may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// How much later than its last change a file may have been given its name, in nanoseconds. Both are done in a row.
const MAX_MOVE: i128 = 1_000_000_000;

/// A directory that key sets can be kept in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheDir {
    path: PathBuf,
    /// Whom a file belongs to that is made here.
    owner: u32,
}

impl CacheDir {
    /// Makes sure, with a file that is removed at once, that files can be made there. Or says why not.
    pub fn open(path: &str) -> Result<Self, String> {
        // Without links, which others might turn elsewhere later.
        let path = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err("it is no directory".to_owned()),
            Err(error) => return Err(format!("the directory has to be there: {error}")),
        }
        let probe = path.join(format!(".claimgate-{:016x}", fastrand::u64(..)));
        let owner = create(&probe).and_then(|file| file.metadata()).map(|made| made.uid());
        let removed = fs::remove_file(&probe);
        let unwritable = |error: io::Error| format!("no file can be made there: {error}");
        let owner = owner.map_err(unwritable)?;
        removed.map_err(unwritable)?;
        irreplaceable(&path, owner)?;
        Ok(Self { path, owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes sure that only root and the owner can put another directory in the place of this one. Or says what to change.
fn irreplaceable(path: &Path, owner: u32) -> Result<(), String> {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let is_ours = |uid: u32| uid == 0 || uid == owner;
    let metadata = |path: &Path| fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut child = metadata(path)?;
    for parent in path.ancestors().skip(1) {
        let found = metadata(parent)?;
        // What is mounted there cannot be renamed.
        let is_mounted = found.dev() != child.dev();
        let shown = parent.display();
        if !is_mounted && !is_ours(found.uid()) {
            let uid = found.uid();
            return Err(format!(
                "user {uid} may replace it, to whom {shown} belongs; use a directory below root's or ours"
            ));
        }
        let (may_write, is_sticky) = (found.mode() & OTHERS_MAY_WRITE != 0, found.mode() & STICKY != 0);
        if !is_mounted && may_write && !(is_sticky && is_ours(child.uid())) {
            let mode = found.mode() & 0o7777;
            return Err(format!(
                "others may replace it, as {shown} has the mode {mode:04o}; take that from them with chmod go-w {shown}, \
                 or use another directory"
            ));
        }
        child = found;
    }
    Ok(())
}

/// The key set of one issuer on disk.
pub(super) struct KeyFile {
    dir: CacheDir,
    /// The file's name without its extension.
    stem: String,
    issuer: String,
    source: Arc<Source>,
    leeway: Duration,
    max_stale: Duration,
}

/// What stands in the file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    issuer: String,
    jwks_uri: String,
    /// Else given by a flag.
    is_discovered: bool,
    /// When the issuer last confirmed it, in seconds since the epoch.
    fetched_at: f64,
    /// Byte for byte as the issuer sent it.
    jwks: String,
}

/// What is to be written: a key set, and when the issuer confirmed it.
#[derive(Clone)]
pub(super) struct Confirmed {
    pub(super) document: Arc<Document>,
    pub(super) at: NumericDate,
}

/// A key set from an earlier life.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) set: JwkSet,
    /// How long ago the issuer last confirmed it.
    pub(super) age: Duration,
}

/// Why a file is ignored. Names nothing that stands in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no regular file, or was replaced just now")]
    NotAFile,
    #[error("it belongs to another user: {0}")]
    NotOurs(u32),
    #[error("others than its owner may write it: mode {0:04o}")]
    WritableByOthers(u32),
    #[error("it was moved or changed after it was written, as one that was kept and put back")]
    PutBack,
    #[error("it is too large")]
    TooLarge,
    #[error("it was not written by this program: line {line}, column {column}")]
    Corrupt { line: usize, column: usize },
    #[error("it is about another issuer")]
    OtherIssuer,
    #[error("its keys come from where they are not looked for now")]
    OtherSource,
    #[error("its keys were fetched {0:.0} s from now")]
    FromTheFuture(f64),
    #[error("its keys were fetched {0:.0} s ago, longer than --jwks-max-stale")]
    TooOld(f64),
    #[error("key set: {0}")]
    Malformed(#[from] MalformedJwkSet),
    #[error("key set: no usable key")]
    NoUsableKey,
    #[error("it cannot be read within {} s", READ_TIMEOUT.as_secs())]
    TimedOut,
}

impl KeyFile {
    /// That of this issuer, if key sets are kept.
    pub(super) fn of(settings: &Settings, source: &Arc<Source>) -> Option<Self> {
        let hash = digest::digest(&digest::SHA256, settings.identifier.as_bytes());
        Some(Self {
            dir: settings.cache_dir.clone()?,
            stem: hash.as_ref().iter().fold(String::new(), |stem, byte| stem + &format!("{byte:02x}")),
            issuer: settings.identifier.clone(),
            source: Arc::clone(source),
            leeway: settings.leeway,
            max_stale: settings.max_stale,
        })
    }

    /// What an earlier process left, if it is fit for use; what is not is reported. Does not block the runtime.
    pub(super) async fn restore(self: &Arc<Self>, now: NumericDate) -> Option<Restored> {
        let file = Arc::clone(self);
        let reading = spawn_blocking(move || {
            file.sweep();
            file.read(now)
        });
        let read = match timeout(READ_TIMEOUT, reading).await {
            Ok(read) => read.unwrap_or_else(|panic| Err(io::Error::other(panic.to_string()).into())),
            Err(_) => Err(Unfit::TimedOut),
        };
        let path = self.path().display().to_string();
        match read {
            Ok(None) => None,
            Ok(Some(restored)) => {
                let (keys, age_seconds) = (restored.set.usable.len(), restored.age.as_secs());
                tracing::info!(issuer = self.issuer, path, keys, age_seconds, "keys restored, until they are fetched");
                Some(restored)
            }
            Err(unfit) => {
                tracing::warn!(issuer = self.issuer, path, reason = %unfit, "kept keys ignored");
                None
            }
        }
    }

    /// Writes what it is told last, one after the other and beside the runtime, for as long as there is somebody to tell.
    pub(super) async fn keep(self: Arc<Self>, mut told: watch::Receiver<Option<Confirmed>>) {
        while told.changed().await.is_ok() {
            let Some(confirmed) = told.borrow_and_update().clone() else { continue };
            let file = Arc::clone(&self);
            let written = spawn_blocking(move || file.write(&confirmed)).await;
            if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic.to_string()))) {
                let path = self.path().display().to_string();
                tracing::warn!(issuer = self.issuer, path, error = %error, "keys not kept for the next start");
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path.join(format!("{}.json", self.stem))
    }

    /// Removes what a process left that was killed while it wrote. One that writes just now tries again in a while.
    fn sweep(&self) {
        let is_ours = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.stem));
        for entry in fs::read_dir(&self.dir.path).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension() == Some(OsStr::new("tmp")) && is_ours(&path) {
                // If it stays, it is in nobody's way.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn read(&self, now: NumericDate) -> Result<Option<Restored>, Unfit> {
        let Some(bytes) = self.trusted_bytes()? else { return Ok(None) };
        // The text of the error is left out: it may quote what stands there.
        let corrupt = |error: serde_json::Error| Unfit::Corrupt { line: error.line(), column: error.column() };
        let kept: Contents = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if kept.issuer != self.issuer {
            return Err(Unfit::OtherIssuer);
        }
        let location = &self.source.location;
        let is_ours = |url: &Url| kept.is_discovered == location.is_discovered() && location.permits_keys_at(url);
        if !Url::parse(&kept.jwks_uri).is_ok_and(|url| is_ours(&url)) {
            return Err(Unfit::OtherSource);
        }
        let age = now.as_seconds() - kept.fetched_at;
        if age < -self.leeway.as_secs_f64() {
            return Err(Unfit::FromTheFuture(-age));
        }
        if age >= self.max_stale.as_secs_f64() {
            return Err(Unfit::TooOld(age));
        }
        if kept.jwks.len() > MAX_BODY {
            return Err(Unfit::TooLarge);
        }
        let set = JwkSet::parse(kept.jwks.as_bytes(), self.source.allowed_algorithms)?;
        if set.usable.is_empty() {
            return Err(Unfit::NoUsableKey);
        }
        Ok(Some(Restored { set, age: Duration::from_secs_f64(age.max(0.0)) }))
    }

    /// The file's bytes, if nobody but us can have written them; `None` without a file.
    fn trusted_bytes(&self) -> Result<Option<Vec<u8>>, Unfit> {
        let path = self.path();
        let named = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            named => named?,
        };
        // Before it is opened: that of a pipe would wait for a writer.
        if !named.is_file() {
            return Err(Unfit::NotAFile);
        }
        let file = File::open(&path)?;
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            return Err(Unfit::NotAFile);
        }
        if opened.uid() != self.dir.owner {
            return Err(Unfit::NotOurs(opened.uid()));
        }
        if opened.mode() & 0o022 != 0 {
            return Err(Unfit::WritableByOthers(opened.mode() & 0o7777));
        }
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        let written = nanoseconds(opened.mtime(), opened.mtime_nsec());
        if (nanoseconds(opened.ctime(), opened.ctime_nsec()) - written).abs() > MAX_MOVE {
            return Err(Unfit::PutBack);
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE { Err(Unfit::TooLarge) } else { Ok(Some(bytes)) }
    }

    /// The directory is not synced: a crash may bring the old file back, which is as whole as the new one.
    fn write(&self, confirmed: &Confirmed) -> io::Result<()> {
        let contents = Contents {
            issuer: self.issuer.clone(),
            jwks_uri: confirmed.document.url.to_string(),
            is_discovered: self.source.location.is_discovered(),
            fetched_at: confirmed.at.as_seconds(),
            jwks: confirmed.document.text.clone(),
        };
        // Of its own, as another process may write the same file.
        let temporary = self.dir.path.join(format!("{}.{:016x}.tmp", self.stem, fastrand::u64(..)));
        let written = create(&temporary).and_then(|mut file| {
            file.write_all(serde_json::to_string(&contents)?.as_bytes())?;
            file.sync_all()?;
            // Which may have taken long. The kernel notes this as its last change, so that between it and the name is all
            // that a move may add.
            file.write_all(b"\n")?;
            fs::rename(&temporary, self.path())
        });
        if written.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// A new file for its owner alone from the first moment on; what stands there already is neither followed nor taken.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
