//! Logging, metrics, and what became of each request.

pub mod access_log;
mod diagnostics;
mod json_lines;
mod line_queue;
pub mod metrics;
mod observation;
mod shown;

pub use self::diagnostics::{Diagnostics, dropped_diagnostics, init};
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
