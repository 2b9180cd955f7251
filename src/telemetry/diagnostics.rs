//! What the process says of itself, on stderr. Whoever logs never waits for a reader: a full pipe would stop the acceptor,
//! the probes and a worker at their first warning.

use std::env;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};

use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::json_lines::JsonLines;
use super::line_queue::{Bounds, LineQueue};
use super::{LogFormat, Settings};

/// What may wait for the writer; beyond it lines are dropped and counted.
const BOUNDS: Bounds = Bounds { lines: 4 * 1024, bytes: 1024 * 1024 };
/// The most characters of a panic's message: it may hold what a client sent.
const MAX_PANIC_MESSAGE: usize = 256;

/// How much of one value a line of diagnostics holds, in bytes: libraries put into theirs what a peer sent.
pub(super) const MAX_VALUE: usize = 8 * 1024;

/// The process has one destination, so it has one queue.
static QUEUE: OnceLock<Arc<LineQueue>> = OnceLock::new();

/// How many lines of diagnostics were dropped so far, because stderr was not read.
pub fn dropped_diagnostics() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.dropped())
}

/// The way to stderr. What is logged arrives there before this is dropped, or the time for it has passed.
#[derive(Debug)]
#[must_use]
pub struct Diagnostics(Arc<LineQueue>);

impl Diagnostics {
    /// Writes a line as it stands, behind everything that was logged.
    pub fn say(&self, line: &str) {
        self.0.push(format!("{line}\n").into_bytes().into());
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Sends diagnostics and the messages of panics to stderr from now on, for the whole process.
pub fn init(settings: &Settings) -> io::Result<Diagnostics> {
    let queue = LineQueue::start("diagnostics", BOUNDS, io::stderr(), |count| {
        tracing::warn!(count, "lines of the log were dropped: stderr is not read fast enough");
    })?;
    let queue = Arc::new(queue);
    let filter = settings.filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // Nothing but a terminal understands colours (https://no-color.org).
    let has_colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(Lines(Arc::clone(&queue)));
    let lines = lines.with_ansi(has_colours);
    let is_first = match settings.format {
        LogFormat::Json => lines.event_format(JsonLines).finish().with(filter).try_init(),
        LogFormat::Text => {
            let fields = debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{}", bounded(&format!("{value:?}"))),
                name => write!(writer, "{name}={}", bounded(&format!("{value:?}"))),
            });
            let lines = lines.fmt_fields(fields.delimited(" "));
            lines.with_target(false).with_timer(SystemTime).finish().with(filter).try_init()
        }
    };
    // A second call changes nothing.
    if is_first.is_ok() {
        let _ = QUEUE.set(Arc::clone(&queue));
        panic::set_hook(Box::new(log_panic));
    }
    Ok(Diagnostics(queue))
}

/// A value on its line, and not the whole of it when it is long.
fn bounded(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(MAX_VALUE)).unwrap_or_default();
    let mut line = String::with_capacity(cut.len());
    for character in cut.chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
}

/// The hook of the standard library writes to stderr itself, and would wait there.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or_default();
    let message =
        message.char_indices().nth(MAX_PANIC_MESSAGE).and_then(|(end, _)| message.get(..end)).unwrap_or(message);
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(thread = thread.name(), location, cause = message, "panicked");
}

/// Takes one write for each event.
struct Lines(Arc<LineQueue>);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}

impl io::Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.into());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
