//! One line per request on stdout, written by a thread of its own: a reader that is stuck never blocks a worker.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use super::line_queue::{Bounds, LineQueue};
use super::{LogFormat, Settings};

/// What may wait for the writer; beyond it lines are dropped and counted.
const BOUNDS: Bounds = Bounds { lines: 8 * 1024, bytes: 4 * 1024 * 1024 };

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// What was answered here instead of at the origin, answers that were cut, and clients that went away.
    Denied,
    /// Every request.
    All,
    /// None.
    Off,
}

/// What is told of a request.
#[derive(Debug, Serialize)]
pub struct Record<'r> {
    /// When it began, in RFC 3339.
    pub ts: &'r str,
    /// `forwarded`, `denied` or `client_gone`.
    pub outcome: &'static str,
    /// The status of the answer; 499 for none.
    pub status: u16,
    /// Why it was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What varies about the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'r str>,
    /// Why the answer ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<&'static str>,
    /// Its method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'r str>,
    /// Its path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'r str>,
    /// Its `X-Request-Id`.
    pub request_id: &'r str,
    /// Who sent it: an address, or `unix`.
    pub peer: &'r str,
    /// The first hexadecimal digits of the token's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<&'r str>,
    /// From its head to the end of its answer, in milliseconds.
    pub duration_ms: f64,
    /// What the origin answered, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// Bytes that went to the origin behind a 101.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Bytes of the answer's body, or of what followed a 101.
    pub bytes_out: u64,
}

/// Where requests are logged. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    mode: Mode,
    format: LogFormat,
    queue: Option<Arc<Queue>>,
}

/// What was logged is written before the last clone is gone, or the time for it has passed.
#[derive(Debug)]
struct Queue(LineQueue);

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl AccessLog {
    /// Starts the writer, unless nothing is logged.
    pub fn start(settings: &Settings, output: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (mode, format) = (settings.access_log, settings.format);
        if mode == Mode::Off {
            return Ok(Self { mode, format, queue: None });
        }
        let queue = LineQueue::start("access-log", BOUNDS, output, |count| {
            tracing::warn!(count, "lines of the access log were dropped: stdout is not read fast enough");
        })?;
        Ok(Self { mode, format, queue: Some(Arc::new(Queue(queue))) })
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.queue.as_deref().map_or(0, |queue| queue.0.dropped())
    }

    /// Whether a request that was answered or cut here, or that was forwarded, is logged.
    pub fn wants(&self, is_denied: bool) -> bool {
        match self.mode {
            Mode::All => true,
            Mode::Denied => is_denied,
            Mode::Off => false,
        }
    }

    /// Logs a request; when the queue is full, counts it instead.
    pub fn write(&self, record: &Record<'_>) {
        let Some(queue) = self.queue.as_deref() else { return };
        let mut line = self.line(record);
        line.push('\n');
        queue.0.push(line.into_boxed_str().into_boxed_bytes());
    }

    fn line(&self, record: &Record<'_>) -> String {
        match self.format {
            // Strings and numbers always are JSON.
            LogFormat::Json => serde_json::to_string(record).unwrap_or_default(),
            LogFormat::Text => text(record),
        }
    }
}

/// The order of the common log format, then ours.
fn text(record: &Record<'_>) -> String {
    let Record { ts, outcome, status, peer, request_id, bytes_out, duration_ms, .. } = record;
    let (method, path) = (record.method.unwrap_or("-"), record.path.unwrap_or("-"));
    let reason = record.reason.or(record.cut).unwrap_or(outcome);
    let detail = record.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{ts} {peer} \"{method} {path}\" {status} {bytes_out} {duration_ms:.3}ms {reason}{detail} {request_id}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::time::Instant;

    use serde_json::Value;

    use super::*;
    use crate::telemetry::line_queue::FLUSH_TIME;

    const QUEUE: usize = BOUNDS.lines;

    /// Takes bytes when it is let.
    #[derive(Clone, Default)]
    struct Output {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.written.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    fn start(mode: Mode, format: LogFormat, output: &Output) -> AccessLog {
        let settings = Settings { format, filter: "info".to_owned(), access_log: mode };
        AccessLog::start(&settings, Box::new(output.clone())).unwrap()
    }

    fn record(request_id: &str) -> Record<'_> {
        Record {
            ts: "2026-11-23T10:00:00Z",
            outcome: "denied",
            status: 401,
            reason: Some("expired"),
            detail: Some("35 s ago, \"x\""),
            cut: None,
            method: Some("GET"),
            path: Some("/a"),
            request_id,
            peer: "192.0.2.1",
            token_sha256: None,
            duration_ms: 0.125,
            upstream_status: None,
            bytes_in: None,
            bytes_out: 7,
        }
    }

    #[test]
    fn each_mode_wants_what_it_says() {
        for (mode, wants) in [(Mode::Denied, [true, false]), (Mode::All, [true; 2]), (Mode::Off, [false; 2])] {
            let log = start(mode, LogFormat::Json, &Output::default());
            assert_eq!([true, false].map(|is_denied| log.wants(is_denied)), wants, "{mode:?}");
        }
    }

    #[test]
    fn everything_is_written_before_the_last_clone_is_gone() {
        let output = Output::default();
        let log = start(Mode::All, LogFormat::Json, &output);
        let clone = log.clone();
        for number in 0..1000 {
            clone.write(&record(&number.to_string()));
        }
        drop((log, clone));
        let lines = output.lines();
        assert_eq!(lines.len(), 1000);
        let last: Value = serde_json::from_str(&lines[999]).unwrap();
        assert_eq!(
            (&last["request_id"], &last["status"], &last["duration_ms"]),
            (&"999".into(), &401.into(), &0.125.into())
        );
        assert_eq!((&last["detail"], last.get("token_sha256")), (&"35 s ago, \"x\"".into(), None));
    }

    #[test]
    fn text_is_one_line_for_people() {
        let output = Output::default();
        start(Mode::All, LogFormat::Text, &output).write(&record("r1"));
        let expected = "2026-11-23T10:00:00Z 192.0.2.1 \"GET /a\" 401 7 0.125ms expired (35 s ago, \"x\") r1";
        assert_eq!(output.lines(), [expected]);
    }

    #[test]
    fn a_reader_that_is_stuck_costs_lines_and_blocks_nobody() {
        let output = Output::default();
        let stuck = output.gate.lock().unwrap();
        let log = start(Mode::All, LogFormat::Json, &output);
        for _ in 0..3 * QUEUE {
            log.write(&record("r"));
        }
        let dropped = log.dropped();
        assert!(dropped >= QUEUE as u64, "{dropped}");
        drop(stuck);
        drop(log);
        assert_eq!(output.lines().len() as u64, 3 * QUEUE as u64 - dropped);
    }

    #[test]
    fn a_reader_that_stays_stuck_does_not_keep_the_process() {
        let output = Output::default();
        let _stuck = output.gate.lock().unwrap();
        let log = start(Mode::All, LogFormat::Json, &output);
        log.write(&record("r"));
        let since = Instant::now();
        drop(log);
        assert!(since.elapsed() < 5 * FLUSH_TIME);
    }
}
