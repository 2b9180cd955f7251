//! The gate starts anew while the issuer is away, with the keys that it kept in `--jwks-cache-dir`.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Binary, Gate, Issuer, Origin, client, eventually, now};

/// A directory of a test's own. Dropping it removes it.
struct Scratch(PathBuf);

impl Scratch {
    /// Others may write into it, as into an `emptyDir` of Kubernetes.
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The one file that a gate with one issuer keeps there.
    async fn kept(&self) -> PathBuf {
        let is_kept = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        eventually("the keys are kept", async || self.files().iter().any(is_kept)).await;
        self.files().into_iter().find(is_kept).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test may have removed it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the gate fetch.
async fn ask_for_a_stray_key(addr: std::net::SocketAddr, issuer: &Issuer) {
    client::get(addr, "/", Some(&issuer.token().header("kid", format!("stray {}", now())).sign())).await;
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_restart_during_an_outage_serves_the_kept_keys_until_the_issuer_is_back() {
    let (issuer, origin, dir) = (Issuer::start(), Origin::start(), Scratch::new("outage"));
    let flags = ["--jwks-cache-dir", dir.path(), "--jwks-refresh-cooldown", "1s"];
    let token = issuer.token().sign();
    let verdict = async |gate: &Gate| client::get(gate.addr(), "/", Some(&token)).await.status;
    let details = async |gate: &Gate| client::get_local(gate.admin_addr(), "/readyz?verbose").await.text();
    let source = "before this start: read from --jwks-cache-dir";

    let gate = Gate::start(&issuer, &origin, &flags);
    gate.is_ready().await;
    assert!(!details(&gate).await.contains(source));
    dir.kept().await;
    drop(gate);

    issuer.go_down();
    let gate = Gate::start(&issuer, &origin, &flags);
    gate.is_ready().await;
    assert_eq!(verdict(&gate).await, 200);
    let told = details(&gate).await;
    assert!(told.contains(source) && told.contains("[+] issuer") && told.contains(" s ago"), "{told}");
    let forged = issuer.token().signed_by(&crate::support::Key::new("ES256", "key-0")).sign();
    assert_eq!(client::get(gate.addr(), "/", Some(&forged)).await.denial().reason, "invalid_signature");

    issuer.rotate();
    issuer.retire("key-0");
    issuer.recover();
    eventually("the kept keys are gone", async || {
        ask_for_a_stray_key(gate.addr(), &issuer).await;
        verdict(&gate).await == 401
    })
    .await;
    assert!(!details(&gate).await.contains(source));
}

#[tokio::test]
async fn without_the_directory_a_restart_during_an_outage_has_no_keys() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.go_down();
    let gate = Gate::start(&issuer, &origin, &[]);
    let token = issuer.token().sign();
    assert_eq!(client::get(gate.addr(), "/", Some(&token)).await.denial().reason, "keys_unavailable");
}

#[tokio::test]
async fn the_file_is_its_owners_alone_and_replaced_as_a_whole_at_every_confirmation() {
    let (issuer, origin, dir) = (Issuer::start(), Origin::start(), Scratch::new("file"));
    issuer.etag();
    let flags = ["--jwks-cache-dir", dir.path(), "--jwks-refresh-cooldown", "1s"];
    let gate = Gate::start(&issuer, &origin, &flags);
    gate.is_ready().await;
    let path = dir.kept().await;
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let first = read(&path);
    assert_eq!((&first["issuer"], &first["jwks_uri"]), (&json!(issuer.url()), &json!(issuer.jwks_url())));
    assert!((first["fetched_at"].as_f64().unwrap() - f64::from(i32::try_from(now()).unwrap())).abs() < 10.0);

    let (mut open, inode) = (fs::File::open(&path).unwrap(), fs::metadata(&path).unwrap().ino());
    eventually("304", async || {
        ask_for_a_stray_key(gate.addr(), &issuer).await;
        issuer.not_modified() > 0
    })
    .await;
    eventually("a new file", async || fs::metadata(&path).unwrap().ino() != inode).await;
    let mut old = Vec::new();
    open.read_to_end(&mut old).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&old).unwrap(), first, "whoever reads the old file reads all of it");
    let second = read(&path);
    assert_eq!(second["jwks"], first["jwks"]);
    assert!(second["fetched_at"].as_f64() > first["fetched_at"].as_f64(), "{second}");
    eventually("nothing else is left", async || dir.files() == [path.clone()]).await;
}

#[tokio::test]
async fn each_issuer_has_its_own_file_and_what_a_killed_process_left_is_swept() {
    let (one, two, origin, dir) = (Issuer::start(), Issuer::start(), Origin::start(), Scratch::new("two"));
    let issuers = format!("{},{}", one.url(), two.url());
    let flags = ["--jwks-cache-dir", dir.path(), "--issuer", &issuers];
    drop({
        let gate = Gate::start(&one, &origin, &flags);
        gate.is_ready().await;
        eventually("both are kept", async || dir.files().len() == 2).await;
        gate
    });
    let left = dir.files()[0].with_extension("0123.tmp");
    fs::write(&left, "{").unwrap();
    fs::write(dir.0.join("another's.tmp"), "").unwrap();
    one.go_down();
    two.go_down();
    let gate = Gate::start(&one, &origin, &flags);
    gate.is_ready().await;
    for issuer in [&one, &two] {
        assert_eq!(client::get(gate.addr(), "/", Some(&issuer.token().sign())).await.status, 200);
    }
    assert!(!left.exists());
    assert_eq!(dir.files().len(), 3, "what is not ours stays: {:?}", dir.files());
}

/// A way to spoil the file, with words of the reason that is told.
type Spoil = (&'static str, fn(&Path, Value));

fn write(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

/// Writes the file with another value of this member.
fn with(path: &Path, mut kept: Value, member: &str, value: impl Into<Value>) {
    kept[member] = value.into();
    write(path, kept.to_string());
}

fn with_mode(path: &Path, kept: &Value, mode: u32) {
    write(path, kept.to_string());
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const SPOILT: &[Spoil] = &[
    ("not written by this program: line 1", |path, _| write(path, "")),
    ("not written by this program", |path, kept| write(path, &kept.to_string()[..100])),
    ("not written by this program", |path, kept| with(path, kept, "more", 1)),
    ("another issuer", |path, kept| {
        let issuer = format!("{}/", kept["issuer"].as_str().unwrap());
        with(path, kept, "issuer", issuer);
    }),
    ("where they are not looked for", |path, kept| with(path, kept, "is_discovered", false)),
    ("where they are not looked for", |path, kept| with(path, kept, "jwks_uri", "ftp://127.0.0.1/keys")),
    ("longer than --jwks-max-stale", |path, kept| with(path, kept, "fetched_at", now() - 24 * 60 * 60)),
    ("s from now", |path, kept| with(path, kept, "fetched_at", now() + 60)),
    ("too large", |path, kept| write(path, kept.to_string() + &" ".repeat(2 << 20))),
    ("too large", |path, mut kept| {
        let jwks = kept["jwks"].take();
        with(path, kept, "jwks", format!("{}{}", jwks.as_str().unwrap(), " ".repeat(600_000)));
    }),
    ("key set: not a JWK set", |path, kept| with(path, kept, "jwks", "<html>")),
    ("no usable key", |path, kept| with(path, kept, "jwks", r#"{"keys":[]}"#)),
    ("others than its owner may write it: mode 0620", |path, kept| with_mode(path, &kept, 0o620)),
    ("others than its owner may write it: mode 0602", |path, kept| with_mode(path, &kept, 0o602)),
    ("kept and put back", |path, kept| {
        write(path, kept.to_string());
        put_back(path);
    }),
    ("no regular file", |path, kept| {
        let elsewhere = path.with_extension("elsewhere");
        let _ = fs::remove_file(&elsewhere);
        write(&elsewhere, kept.to_string());
        symlink(elsewhere, path).unwrap();
    }),
    ("no regular file", |path, _| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
];

/// Moves the file away and back until that is long after it was written.
fn put_back(path: &Path) {
    let saved = path.with_extension("saved");
    let moved_after = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.ctime() - found.mtime()) * 1_000_000_000 + found.ctime_nsec() - found.mtime_nsec()
    };
    while moved_after(path) <= 1_000_000_000 {
        fs::rename(path, &saved).unwrap();
        fs::rename(&saved, path).unwrap();
    }
}

/// Starts the binary with an issuer that is down; its report of the file, once it has failed to fetch, and its readiness.
async fn reports(flags: &[&str], path: &Path) -> (Vec<String>, u16) {
    let binary = Binary::start(flags);
    let admin = binary.admin_addr().await;
    eventually("it has tried to fetch", async || binary.stderr().iter().any(|line| line.contains("keys not fetched")))
        .await;
    let status = client::get_local(admin, "/readyz").await.status;
    let is_report = |line: &String| line.contains("kept keys ignored") && line.contains(path.to_str().unwrap());
    (binary.stderr().into_iter().filter(is_report).collect(), status)
}

#[tokio::test]
async fn an_unfit_file_is_reported_once_with_its_path_and_ignored() {
    let (issuer, origin, dir) = (Issuer::start(), Origin::start(), Scratch::new("unfit"));
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = ["--issuer", &*issuer_url, "--upstream", &origin_url, "--jwks-cache-dir", dir.path()];
    let binary = Binary::start(&flags);
    let path = dir.kept().await;
    drop(binary);
    let kept = read(&path);
    issuer.go_down();
    for (reason, spoil) in SPOILT {
        fs::remove_file(&path).unwrap();
        spoil(&path, kept.clone());
        let (reports, status) = reports(&flags, &path).await;
        assert_eq!((reports.len(), status), (1, 503), "{reason}: {reports:?}");
        assert!(reports[0].contains(reason) && reports[0].contains("WARN"), "{reason}: {reports:?}");
    }
    fs::remove_file(&path).unwrap();
    write(&path, kept.to_string());
    assert_eq!(reports(&flags, &path).await, (vec![], 200), "and none of this is so without a fault");
    let binary = Binary::start(&flags);
    let is_restored = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.starts_with("keys restored"));
    eventually("the restored keys are logged", async || binary.log().iter().any(is_restored)).await;
    drop(binary);
    let jwks_url = issuer.jwks_url();
    let elsewhere = [&flags[..], &["--jwks-url", &jwks_url]].concat();
    assert_eq!(reports(&elsewhere, &path).await.1, 503, "keys of discovery are not those of --jwks-url");
    // Only root can give a file away.
    if chown(&path, Some(12345), None).is_ok() {
        let (reports, status) = reports(&flags, &path).await;
        assert!(status == 503 && reports[0].contains("another user"), "{reports:?}");
    }
}

#[tokio::test]
async fn keys_that_were_kept_aside_and_put_back_do_not_live_again() {
    let (issuer, origin, dir) = (Issuer::start(), Origin::start(), Scratch::new("put-back"));
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = ["--issuer", &*issuer_url, "--upstream", &*origin_url, "--jwks-cache-dir", dir.path()];
    let binary = Binary::start(&flags);
    let (addr, path) = (binary.addr().await, dir.kept().await);
    let withdrawn = issuer.token().sign();
    let saved = path.with_extension("saved");
    // As the other who may write there: the file stays ours, byte for byte.
    fs::hard_link(&path, &saved).unwrap();
    issuer.retire("key-0");
    issuer.rotate();
    let current = issuer.token().sign();
    assert_eq!(client::get(addr, "/", Some(&current)).await.status, 200);
    eventually("the new keys are kept", async || !read(&path)["jwks"].as_str().unwrap().contains("key-0")).await;
    drop(binary);
    issuer.go_down();
    fs::rename(&saved, &path).unwrap();
    put_back(&path);
    let binary = Binary::start(&flags);
    let addr = binary.addr().await;
    eventually("it is told", async || binary.stderr().iter().any(|line| line.contains("kept and put back"))).await;
    for token in [&withdrawn, &current] {
        assert_eq!(client::get(addr, "/", Some(token)).await.status, 503);
    }
}

#[tokio::test]
async fn a_directory_that_others_may_replace_is_refused_with_the_fix() {
    let outer = Scratch::new("outer");
    let (inner, link) = (outer.0.join("inner"), outer.0.join("link"));
    fs::create_dir(&inner).unwrap();
    symlink(&inner, &link).unwrap();
    let flags = |dir: &Path| {
        let dir = dir.to_str().unwrap().to_owned();
        ["--issuer", "http://127.0.0.1:1", "--upstream", "http://127.0.0.1:1", "--jwks-cache-dir", &dir]
            .map(str::to_owned)
    };
    let refusal = |dir: &Path| {
        let gate = Command::new(env!("CARGO_BIN_EXE_claimgate")).args(flags(dir)).env_clear().output().unwrap();
        (gate.status.code(), String::from_utf8(gate.stderr).unwrap())
    };
    for (mode, dir) in [(0o777, &inner), (0o775, &inner), (0o757, &inner), (0o2777, &inner), (0o777, &link)] {
        fs::set_permissions(&outer.0, Permissions::from_mode(mode)).unwrap();
        let (code, told) = refusal(dir);
        assert_eq!(code, Some(2), "{mode:o}: {told}");
        let expected = format!("others may replace it, as {} has the mode {mode:04o}; take", outer.path());
        assert!(told.contains(&expected) && told.contains("chmod go-w"), "{told}");
    }
    for (outer_mode, inner_mode) in [(0o755, 0o777), (0o1777, 0o777), (0o700, 0o700)] {
        fs::set_permissions(&outer.0, Permissions::from_mode(outer_mode)).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(inner_mode)).unwrap();
        let flags = flags(&inner);
        let binary = Binary::start(&flags.each_ref().map(String::as_str));
        binary.addr().await;
    }
    // Only root can give a directory away.
    fs::set_permissions(&outer.0, Permissions::from_mode(0o1777)).unwrap();
    if chown(&inner, Some(12345), None).is_ok() {
        assert_eq!(refusal(&inner).0, Some(2), "its owner may rename it");
        chown(&inner, Some(0), None).unwrap();
        fs::set_permissions(&outer.0, Permissions::from_mode(0o755)).unwrap();
        chown(&outer.0, Some(12345), None).unwrap();
        let (code, told) = refusal(&inner);
        assert!(code == Some(2) && told.contains("user 12345 may replace it"), "{told}");
    }
}

#[tokio::test]
async fn a_directory_that_is_lost_is_reported_and_fails_no_request() {
    let (issuer, origin, dir) = (Issuer::start(), Origin::start(), Scratch::new("lost"));
    let binary = Binary::start(&[
        "--issuer",
        &issuer.url(),
        "--upstream",
        &origin.url(),
        "--jwks-cache-dir",
        dir.path(),
        "--jwks-refresh-cooldown",
        "1s",
    ]);
    let addr = binary.addr().await;
    dir.kept().await;
    fs::remove_dir_all(&dir.0).unwrap();
    eventually("it is reported", async || {
        ask_for_a_stray_key(addr, &issuer).await;
        binary.stderr().iter().any(|line| line.contains("keys not kept") && line.contains("WARN"))
    })
    .await;
    assert_eq!(client::get(addr, "/", Some(&issuer.token().sign())).await.status, 200);
}
