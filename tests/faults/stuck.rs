//! What the gate writes to or reads from does not move: a log that has no reader, a file system that hangs.
#![expect(clippy::float_cmp, reason = "counters are whole numbers")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::binary::find_member;
use crate::support::{Authority, Binary, Client, Exposition, Issuer, Origin, Secret, client, eventually, http2};

/// `O_NONBLOCK` on Linux.
const NONBLOCK: i32 = 0o4000;
const FAILURES: &str = "claimgate_jwks_fetches_total";

/// The real binary, whose stderr has no reader behind the line that says where it listens.
struct Unread {
    process: Process,
    reader: BufReader<PipeReader>,
    writer: PipeWriter,
    addr: SocketAddr,
    admin: SocketAddr,
}

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the process ends", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Unread {
    async fn start(issuer: &Issuer, origin: &Origin, stdout: Stdio, flags: &[&str]) -> Self {
        let (reader, writer) = pipe().unwrap();
        let (issuer, origin) = (issuer.url(), origin.url());
        let usual = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
        command.args(usual).args(["--issuer", &issuer, "--upstream", &origin]).args(flags).env_clear();
        command.stdin(Stdio::null()).stdout(stdout).stderr(writer.try_clone().unwrap());
        let process = Process(command.spawn().unwrap());
        let mut reader = BufReader::new(reader);
        let (addr, admin) = loop {
            let mut line = String::new();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0);
            let json: Value = serde_json::from_str(&line).unwrap();
            let address = |name| Some(find_member(&json, name)?.as_str()?.parse().unwrap());
            if let (Some(addr), Some(admin)) = (address("listen"), address("admin_listen")) {
                break (addr, admin);
            }
        };
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        Self { process, reader, writer, addr, admin }
    }

    /// Fills the pipe: from now on, a write to it waits.
    fn fill(&self) {
        // A description of its own, so that the process's end goes on waiting.
        let path = format!("/proc/self/fd/{}", self.writer.as_raw_fd());
        let mut writer = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(path).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        while writer.write(b"x").is_ok() {}
    }

    async fn has_failed_to_fetch(&self) {
        let admin = self.admin;
        eventually("a warning that nobody reads", async || {
            let scrape = Exposition::scrape(admin).await;
            let is_failure = |line: &&str| line.starts_with(FAILURES) && line.contains("failure");
            scrape.text.lines().filter(is_failure).any(|line| !line.ends_with(" 0"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_holds_up_no_probe_no_client_and_no_end() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let mut unread = Unread::start(&issuer, &origin, Stdio::null(), &["--health-listen", "127.0.0.1:0"]).await;
    unread.fill();
    issuer.go_down();
    // An unknown key makes it fetch, and the failure is warned of.
    let foreign = issuer.token().header("kid", "unknown").sign();
    assert_eq!(client::get(unread.addr, "/", Some(&foreign)).await.status, 503);
    unread.has_failed_to_fetch().await;
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(client::get_local(unread.admin, path).await.status, 200, "{path}");
    }
    assert_eq!(client::get(unread.addr, "/", Some(&issuer.token().sign())).await.status, 200);
    unread.process.terminate();
    assert_eq!(unread.process.exit_code().await, Some(0));
}

#[tokio::test]
async fn lines_that_stderr_had_no_room_for_are_counted_and_spoken_of_when_it_is_read() {
    const DROPPED: &str = r#"claimgate_log_lines_dropped_total{log="diagnostics"}"#;
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let unread = Unread::start(&issuer, &origin, Stdio::null(), &["--log-level", "trace"]).await;
    unread.fill();
    // Each request writes many lines at this level.
    let (addr, admin) = (unread.addr, unread.admin);
    let mut connection = http2::Http2::connect(addr).await;
    eventually("lines are dropped", async || {
        for _ in 0..50 {
            assert_eq!(connection.exchange(http2::get("/", None)).await.status, 401);
        }
        Exposition::scrape(admin).await.value(DROPPED) > 0.0
    })
    .await;
    drop(connection);
    let Unread { mut process, mut reader, writer, .. } = unread;
    drop(writer);
    process.terminate();
    let text = std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    assert_eq!(process.exit_code().await, Some(0));
    let text = text.join().unwrap();
    let notice = text.lines().filter(|line| line.contains("lines of the log were dropped")).count();
    assert!(notice >= 1, "{} bytes without a notice", text.len());
}

#[tokio::test]
async fn an_access_log_of_long_paths_is_bounded_by_its_bytes() {
    const DROPPED: &str = r#"claimgate_log_lines_dropped_total{log="access"}"#;
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (reader, writer) = pipe().unwrap();
    let Unread { addr, admin, process: _process, .. } =
        Unread::start(&issuer, &origin, writer.into(), &["--access-log", "all"]).await;
    assert_eq!(Exposition::scrape(admin).await.value(DROPPED), 0.0);
    // Of all paths, these make the longest lines.
    let request = client::request("GET", &format!("/{}", "\"".repeat(2 * 1024)), None, "");
    let mut client = Client::connect(addr).await;
    eventually("lines are dropped", async || {
        for _ in 0..50 {
            client.send(&request).await;
            assert_eq!(client.response().await.status, 401);
        }
        Exposition::scrape(admin).await.value(DROPPED) > 0.0
    })
    .await;
    drop(reader);
}

#[tokio::test]
async fn the_last_line_is_written_before_the_process_ends() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    for format in ["json", "text"] {
        let flags = ["--issuer", &issuer_url, "--upstream", &origin_url, "--listen", "127.0.0.1:0"];
        let flags = [&flags[..], &["--admin-listen", "off", "--log-format", format]].concat();
        let binary = Binary::spawn(&flags, &[]);
        eventually("it serves", async || !binary.stderr().is_empty()).await;
        binary.signal("TERM");
        let ended = binary.wait().await;
        assert_eq!(ended.code, Some(0), "{format}: {ended:?}");
        assert!(ended.stderr.lines().last().unwrap().contains("stopped"), "{format}: {ended:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_start_follows_what_was_logged_before() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer, origin, listen) = (issuer.url(), origin.url(), taken.local_addr().unwrap().to_string());
    for flag in ["--listen", "--admin-listen", "--health-listen"] {
        let free = if flag == "--listen" { "--admin-listen" } else { "--listen" };
        let flags = ["--issuer", &issuer, "--upstream", &origin, free, "127.0.0.1:0", flag, &listen];
        let ended = Binary::run(&flags, &[]).await;
        assert_eq!(ended.code, Some(1), "{flag}: {ended:?}");
        assert!(ended.stderr.lines().last().unwrap().contains(&format!("error: {flag}")), "{ended:?}");
    }
}

#[tokio::test]
async fn a_file_that_hangs_does_not_keep_the_process() {
    let authority = Authority::new();
    let identity = authority.issue();
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let secret = Secret::new(&identity, &authority);
    let flags = secret.flags();
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    flags.extend(["--issuer", &issuer_url, "--upstream", &origin_url]);
    let binary = Binary::start(&flags);
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    // To read a pipe waits for its other end, as a file of a server that is away does.
    let path = secret.file("tls.crt");
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut silent = None;
    eventually("it reads the file", async || {
        silent = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&path).ok();
        silent.is_some()
    })
    .await;
    binary.signal("TERM");
    assert_eq!(binary.wait().await.code, Some(0));
}
