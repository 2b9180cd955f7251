//! Logging, metrics, and what became of each request.

pub mod access_log;
mod json_lines;
pub mod metrics;
mod observation;

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use self::json_lines::JsonLines;
pub use self::observation::{Observation, Observer, Outcome};

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a line is written.
    pub format: LogFormat,
    /// From which level on, in the directives of `tracing`.
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

/// Sends diagnostics to stderr from now on, for the whole process.
pub fn init(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Nothing but a terminal understands colours (https://no-color.org).
    let has_colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(has_colours);
    // A second call changes nothing; there is one process-wide destination.
    let _ = match settings.format {
        LogFormat::Json => lines.event_format(JsonLines).try_init(),
        LogFormat::Text => lines.with_target(false).with_timer(SystemTime).try_init(),
    };
}
