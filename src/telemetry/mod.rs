//! Logging, metrics, and what became of each request.

pub mod access_log;
mod json_lines;
pub mod metrics;
mod observation;
mod shown;

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::json_lines::JsonLines;
pub use self::observation::{Cut, Observation, Observer, Outcome};
pub use self::shown::shown;

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a line is written.
    pub format: LogFormat,
    /// From which level on; as in `info,claimgate::issuer=debug`, with others for single modules.
    pub filter: String,
    /// Which requests are logged.
    pub access_log: access_log::Mode,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// How much of one value a line of diagnostics holds, in bytes: libraries put into theirs what a peer sent.
const MAX_VALUE: usize = 8 * 1024;

/// Sends diagnostics to stderr from now on, for the whole process.
pub fn init(settings: &Settings) {
    let filter = settings.filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // Nothing but a terminal understands colours (https://no-color.org).
    let has_colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(io::stderr);
    let lines = lines.with_ansi(has_colours);
    // A second call changes nothing; there is one process-wide destination.
    let _ = match settings.format {
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
