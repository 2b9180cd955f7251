//! Diagnostics as JSON, one object to a line: `ts`, `level`, `msg`, then what the event carries.

use std::error::Error;
use std::fmt::{self, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::diagnostics::MAX_VALUE;

/// The format.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        let metadata = event.metadata();
        let mut members = Members::default();
        event.record(&mut members);
        write!(writer, r#"{{"ts":"{ts}","level":"{}","msg":{}"#, metadata.level(), members.message)?;
        if !metadata.target().starts_with(env!("CARGO_CRATE_NAME")) {
            write!(writer, r#","target":{}"#, Value::from(metadata.target()))?;
        }
        writeln!(writer, "{}}}", members.others)
    }
}

/// What an event carries, as JSON. `Value` escapes.
#[derive(Debug)]
struct Members {
    message: Value,
    /// Each with a comma before it.
    others: String,
}

impl Default for Members {
    fn default() -> Self {
        Self { message: Value::from(""), others: String::new() }
    }
}

impl Members {
    fn text(&mut self, field: &Field, text: &str) {
        self.add(field, Value::from(text.get(..text.floor_char_boundary(MAX_VALUE)).unwrap_or_default()));
    }

    fn add(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value,
            // Where in a crate's source it was logged.
            name if name.starts_with("log.") => {}
            name => {
                // Writing into memory does not fail.
                let _ = write!(self.others, ",{}:{value}", Value::from(name));
            }
        }
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.text(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(log: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let sink = written.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || sink.clone()).event_format(JsonLines).finish();
        tracing::subscriber::with_default(lines, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_value_that_is_long_is_cut() {
        let long = "\u{e9}".repeat(MAX_VALUE);
        let error = std::io::Error::other(long.clone());
        for line in [
            written(|| tracing::warn!(long, "text")),
            written(|| tracing::warn!(%long, "shown")),
            written(|| tracing::warn!(error = &error as &(dyn Error + 'static), "error")),
            written(|| tracing::warn!("{long}")),
        ] {
            assert!(line[0].len() < MAX_VALUE + 128, "{} bytes", line[0].len());
            assert!(serde_json::from_str::<Value>(&line[0]).is_ok(), "{}", line[0]);
        }
    }

    #[test]
    fn a_line_begins_with_time_level_and_message_and_is_json_whatever_it_carries() {
        let lines = written(|| tracing::warn!(issuer = %"a\"b\nc", count = 3, is_new = true, "not\nfetched"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert!(lines[0].starts_with(r#"{"ts":"2"#) && lines[0].contains(r#"Z","level":"WARN","msg":"not\nfetched","#));
        assert_eq!(line["issuer"], "a\"b\nc");
        assert_eq!((&line["count"], &line["is_new"]), (&Value::from(3), &Value::from(true)));
        assert_eq!(line.get("target"), None);
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_another_crate_with_its_name() {
        #[derive(Debug, thiserror::Error)]
        #[error("not fetched")]
        struct NotFetched(#[source] std::io::Error);
        let error = NotFetched(std::io::Error::other("refused"));
        let lines = written(|| tracing::error!(target: "other", error = &error as &(dyn Error + 'static)));
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&line["error"], &line["target"]), (&"not fetched: refused".into(), &"other".into()));
    }
}
