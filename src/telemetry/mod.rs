//! Logging, and what became of each request.

pub mod access_log;
mod observation;

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

pub use self::observation::{Observation, Outcome};

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // A second call changes nothing; there is one process-wide destination.
    let _ = match settings.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_timer(SystemTime);
            lines.with_current_span(false).with_span_list(false).try_init()
        }
        LogFormat::Text => lines.with_timer(SystemTime).try_init(),
    };
}
