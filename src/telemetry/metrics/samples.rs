//! One scrape: samples in the text format 0.0.4 of Prometheus.

use std::fmt::{self, Display, Write};

use super::families::{self, Family};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is known now. What is added to one series from several places is summed.
#[derive(Debug, Default)]
pub struct Samples(Vec<Series>);

#[derive(Debug)]
struct Series {
    family: &'static str,
    /// Its name with its labels.
    key: String,
    value: f64,
}

impl Samples {
    /// Adds to the series of these label values, in the order of the family's labels.
    #[expect(clippy::cast_precision_loss, reason = "a counter that passes 2^53 has no tests to fail")]
    pub fn count(&mut self, family: &Family, values: &[&str], number: u64) {
        self.gauge(family, values, number as f64);
    }

    /// The same for what has fractions or a sign.
    pub fn gauge(&mut self, family: &Family, values: &[&str], value: f64) {
        self.add(family.name, family.name.to_owned() + &Labels(family.labels, values, None).to_string(), value);
    }

    /// Adds to a histogram: upper bounds, each with how many values lie between it and the bound before.
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    pub(super) fn histogram(
        &mut self,
        family: &Family,
        values: &[&str],
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
    ) {
        let name = family.name;
        let mut total = 0;
        for (bound, number) in buckets {
            total += number;
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let labels = Labels(family.labels, values, Some(&bound));
            self.add(name, format!("{name}_bucket{labels}"), total as f64);
        }
        let labels = Labels(family.labels, values, None);
        self.add(name, format!("{name}_sum{labels}"), sum);
        self.add(name, format!("{name}_count{labels}"), total as f64);
    }

    fn add(&mut self, family: &'static str, key: String, value: f64) {
        match self.0.iter_mut().find(|series| series.key == key) {
            Some(series) => series.value += value,
            None => self.0.push(Series { family, key, value }),
        }
    }
}

impl Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Family { name, kind, help, .. } in families::ALL {
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {}", kind.name())?;
            for Series { key, value, .. } in self.0.iter().filter(|series| series.family == *name) {
                writeln!(f, "{key} {value}")?;
            }
        }
        Ok(())
    }
}

/// Names, values and the bound of a bucket.
struct Labels<'l>(&'l [&'l str], &'l [&'l str], Option<&'l str>);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.2.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in self.0.iter().copied().zip(self.1.iter().copied()).chain(bound) {
            write!(f, "{separator}{name}=\"")?;
            for character in value.chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    other => f.write_char(other)?,
                }
            }
            f.write_char('"')?;
            separator = ',';
        }
        if separator == ',' { f.write_char('}') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::families::{CLOCK_SKEW, KEYS};
    use super::*;

    #[test]
    fn a_label_cannot_break_its_line() {
        let mut samples = Samples::default();
        samples.count(&KEYS, &["a\"b\\c\nd{},="], 2);
        let text = samples.to_string();
        assert!(text.contains("\nclaimgate_jwks_keys{issuer=\"a\\\"b\\\\c\\nd{},=\"} 2\n"), "{text}");
    }

    #[test]
    fn one_series_from_two_places_is_one_sum() {
        let mut samples = Samples::default();
        for (issuer, number) in [("a", 1), ("b", 10), ("a", 2)] {
            samples.count(&KEYS, &[issuer], number);
        }
        samples.gauge(&CLOCK_SKEW, &["a"], -0.5);
        let text = samples.to_string();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "claimgate_jwks_keys{issuer=\"a\"} 3",
            "claimgate_jwks_keys{issuer=\"b\"} 10",
            "claimgate_issuer_clock_skew_seconds{issuer=\"a\"} -0.5",
        ];
        assert_eq!(lines, expected);
    }
}
