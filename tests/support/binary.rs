//! The real binary, with its output line by line.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use super::eventually;

const PROGRAM: &str = env!("CARGO_BIN_EXE_claimgate");

/// The process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Binary {
    child: Child,
    output: Arc<Mutex<Output>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Output {
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// How a process ended that was waited for.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Binary {
    /// Starts it with these arguments alone, and an environment of nothing but `env`.
    pub(crate) fn spawn(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        Self::run_as(Command::new(PROGRAM).args(arguments).stdin(Stdio::null()), env)
    }

    fn run_as(command: &mut Command, env: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_clear()
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(Output::default()));
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let readers = vec![
            read_lines(stdout, Arc::clone(&output), |output| &mut output.stdout),
            read_lines(stderr, Arc::clone(&output), |output| &mut output.stderr),
        ];
        Self { child, output, readers }
    }

    /// Starts it on a free port, with JSON logs and these flags beside.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn(&usual(flags), &[])
    }

    /// The same with this limit of a shell's `ulimit`.
    pub(crate) fn start_with_limit(limit: &str, flags: &[&str]) -> Self {
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        Self::run_as(
            Command::new("/bin/sh").args(["-c", &script, PROGRAM]).args(usual(flags)).stdin(Stdio::null()),
            &[],
        )
    }

    /// The same with this descriptor as systemd would hand it over, as number 3.
    pub(crate) fn start_with_descriptor(descriptor: OwnedFd, flags: &[&str]) -> Self {
        let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, PROGRAM]).args(usual(flags)).stdin(Stdio::from(descriptor));
        Self::run_as(&mut command, &[])
    }

    /// Runs it to its end.
    pub(crate) async fn run(arguments: &[&str], env: &[(&str, &str)]) -> Ended {
        Self::spawn(arguments, env).wait().await
    }

    /// Where it listens, from its first log line.
    pub(crate) async fn addr(&self) -> SocketAddr {
        self.address("listen").await
    }

    /// Where its admin listener is, from its first log line.
    pub(crate) async fn admin_addr(&self) -> SocketAddr {
        self.address("admin_listen").await
    }

    async fn address(&self, field: &str) -> SocketAddr {
        eventually("a first log line", async || !self.stderr().is_empty()).await;
        let line = self.stderr().into_iter().next().unwrap();
        let json: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let address = find_member(&json, field).and_then(Value::as_str).unwrap_or_else(|| panic!("no {field}: {line}"));
        address.parse().unwrap()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.output.lock().unwrap().stdout.clone()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.output.lock().unwrap().stderr.clone()
    }

    /// Every line of both that is a JSON object.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = [self.stderr(), self.stdout()].concat();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// A line of `/proc/<pid>/status`, in KiB.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until it ends.
    pub(crate) async fn wait(mut self) -> Ended {
        let mut status: Option<ExitStatus> = None;
        let mut lines = String::new();
        eventually("the process ends", async || {
            status = self.child.try_wait().unwrap();
            lines = self.stderr().join("\n");
            status.is_some()
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { code: status.unwrap().code(), stdout: self.stdout().join("\n"), stderr: self.stderr().join("\n") }
    }
}

impl Binary {
    #[expect(clippy::print_stdout, reason = "whoever reads a failed test wants to see what the process said")]
    fn show(&self) {
        for line in [self.stderr(), self.stdout()].concat() {
            println!("{line}");
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.show();
            return;
        }
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let panicked: Vec<_> = self.stderr().into_iter().filter(|line| line.contains("panicked")).collect();
        assert!(panicked.is_empty(), "the binary panicked: {panicked:?}");
    }
}

/// Free ports, JSON logs and these flags.
fn usual<'f>(flags: &[&'f str]) -> Vec<&'f str> {
    let usual = [("--listen", "127.0.0.1:0"), ("--admin-listen", "127.0.0.1:0"), ("--log-format", "json")];
    let usual = usual.into_iter().filter(|(flag, _)| !flags.contains(flag));
    usual.flat_map(|(flag, value)| [flag, value]).chain(flags.iter().copied()).collect()
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    output: Arc<Mutex<Output>>,
    stream: impl Fn(&mut Output) -> &mut Vec<String> + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            stream(&mut output.lock().unwrap()).push(line);
        }
    })
}

/// The member of this name, at any depth.
pub(crate) fn find_member<'j>(json: &'j Value, name: &str) -> Option<&'j Value> {
    match json {
        Value::Object(object) => {
            object.get(name).or_else(|| object.values().find_map(|value| find_member(value, name)))
        }
        Value::Array(array) => array.iter().find_map(|value| find_member(value, name)),
        _ => None,
    }
}
