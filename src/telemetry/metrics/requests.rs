//! What one worker counts of its requests.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use super::Samples;
use super::families::{REQUEST_DURATION, REQUESTS, RESPONSES, RESPONSES_CUT, UPSTREAM_ERRORS};
use crate::counter::Counter;
use crate::denial::Denial;
use crate::telemetry::{Cut, Outcome};

/// Upper bounds of the durations, in nanoseconds: from what a cached token costs to what a slow origin may take.
const BOUNDS: [u64; 15] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const DENIALS: usize = Denial::ALL.len();

static ALL: [Denial; DENIALS] = Denial::ALL;
/// Which denial is which: by its place in [`Denial::ALL`].
static KINDS: [Discriminant<Denial>; DENIALS] = {
    let mut kinds = [discriminant(&ALL[0]); DENIALS];
    let mut at = 0;
    while at < DENIALS {
        kinds[at] = discriminant(&ALL[at]);
        at += 1;
    }
    kinds
};

/// Written by one worker's thread alone, and on no cache line of another's.
#[derive(Debug)]
#[repr(align(128))]
pub(in crate::telemetry) struct Requests {
    /// By the class of the origin's status.
    forwarded: [Counter; CODES.len()],
    denied: [Counter; DENIALS],
    client_gone: Counter,
    cut: [Counter; Cut::ALL.len()],
    durations: [Durations; 3],
}

/// The durations of one outcome.
#[derive(Debug)]
struct Durations {
    outcome: &'static str,
    /// One more than there are bounds.
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            forwarded: [const { Counter::new() }; CODES.len()],
            denied: [const { Counter::new() }; DENIALS],
            client_gone: Counter::new(),
            cut: [const { Counter::new() }; Cut::ALL.len()],
            durations: ["forwarded", "denied", "client_gone"].map(Durations::new),
        }
    }

    /// Counts one request.
    pub(in crate::telemetry) fn count(&self, outcome: &Outcome, duration: Duration) {
        let [of_forwarded, of_denied, of_gone] = &self.durations;
        let (counter, durations) = match outcome {
            Outcome::Forwarded(status) => (self.forwarded.get(class(status.as_u16())), of_forwarded),
            Outcome::Denied(denial) => {
                let kind = discriminant(denial);
                let at = KINDS.iter().position(|other| *other == kind);
                (at.and_then(|at| self.denied.get(at)), of_denied)
            }
            Outcome::ClientGone => (Some(&self.client_gone), of_gone),
        };
        if let Some(counter) = counter {
            counter.add(1);
        }
        durations.count(duration);
    }

    /// Counts one answer that ended early.
    pub(in crate::telemetry) fn count_cut(&self, cut: Cut) {
        if let Some((_, counter)) = Cut::ALL.iter().zip(&self.cut).find(|(other, _)| **other == cut) {
            counter.add(1);
        }
    }

    pub(super) fn collect(&self, samples: &mut Samples) {
        samples.count(&REQUESTS, &["forwarded", ""], self.forwarded.iter().map(Counter::value).sum());
        for (code, counter) in CODES.iter().zip(&self.forwarded) {
            samples.count(&RESPONSES, &[code], counter.value());
        }
        for (denial, counter) in ALL.iter().zip(&self.denied) {
            let (row, number) = (denial.row(), counter.value());
            samples.count(&REQUESTS, &["denied", row.reason], number);
            if let Some(code) = CODES.get(class(row.status)) {
                samples.count(&RESPONSES, &[code], number);
            }
            if is_upstreams(denial) {
                samples.count(&UPSTREAM_ERRORS, &[row.reason], number);
            }
        }
        samples.count(&REQUESTS, &["client_gone", ""], self.client_gone.value());
        for (cut, counter) in Cut::ALL.iter().zip(&self.cut) {
            samples.count(&RESPONSES_CUT, &[cut.name()], counter.value());
        }
        for durations in &self.durations {
            durations.collect(samples);
        }
    }
}

/// RFC 9110 §15: what is no status code is to be taken for a 5xx.
fn class(status: u16) -> usize {
    usize::from(status / 100).saturating_sub(1).min(CODES.len() - 1)
}

const fn is_upstreams(denial: &Denial) -> bool {
    matches!(denial, Denial::UpstreamUnreachable(_) | Denial::UpstreamProtocol(_) | Denial::UpstreamTimeout(_))
}

impl Durations {
    const fn new(outcome: &'static str) -> Self {
        let buckets = [const { Counter::new() }; BOUNDS.len() + 1];
        Self { outcome, buckets, nanoseconds: Counter::new() }
    }

    fn count(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(BOUNDS.partition_point(|bound| *bound < nanoseconds)) {
            bucket.add(1);
        }
        self.nanoseconds.add(nanoseconds);
    }

    fn collect(&self, samples: &mut Samples) {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_nanos(*bound).as_secs_f64()).chain([f64::INFINITY]);
        let buckets = bounds.zip(self.buckets.iter().map(Counter::value));
        let sum = Duration::from_nanos(self.nanoseconds.value()).as_secs_f64();
        samples.histogram(&REQUEST_DURATION, &[self.outcome], buckets, sum);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn text(requests: &Requests) -> String {
        let mut samples = Samples::default();
        requests.collect(&mut samples);
        samples.to_string()
    }

    #[test]
    fn every_denial_is_counted_under_its_own_reason() {
        for (number, denial) in (1..).zip(Denial::ALL) {
            let (requests, reason) = (Requests::new(), denial.row().reason);
            for _ in 0..number {
                requests.count(&Outcome::Denied(denial.clone()), Duration::ZERO);
            }
            let text = text(&requests);
            let expected = format!("claimgate_requests_total{{outcome=\"denied\",reason=\"{reason}\"}} {number}\n");
            assert!(text.contains(&expected), "{text}");
            let others = text.lines().filter(|line| line.starts_with("claimgate_requests_total{"));
            assert_eq!(others.filter(|line| !line.ends_with(" 0")).count(), 1, "{text}");
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let requests = Requests::new();
        for nanoseconds in [0, 1_000_000, 1_000_001, 30_000_000_001] {
            requests.count(&Outcome::Forwarded(StatusCode::OK), Duration::from_nanos(nanoseconds));
        }
        let text = text(&requests);
        let of = |series: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("claimgate_request_duration_seconds{series} ")));
            line.map(str::to_owned)
        };
        for (bound, number) in [("0.0005", "1"), ("0.001", "2"), ("0.0025", "3"), ("30", "3"), ("+Inf", "4")] {
            let series = format!("_bucket{{outcome=\"forwarded\",le=\"{bound}\"}}");
            assert_eq!(of(&series).as_deref(), Some(number), "{bound}");
        }
        assert_eq!(of("_count{outcome=\"forwarded\"}").as_deref(), Some("4"));
        assert_eq!(of("_sum{outcome=\"forwarded\"}").as_deref(), Some("30.002000002"));
    }

    #[test]
    fn a_status_beyond_599_is_counted_as_5xx() {
        for (status, code) in [(101, "1xx"), (204, "2xx"), (304, "3xx"), (404, "4xx"), (599, "5xx"), (999, "5xx")] {
            let requests = Requests::new();
            requests.count(&Outcome::Forwarded(StatusCode::from_u16(status).unwrap()), Duration::ZERO);
            assert!(text(&requests).contains(&format!("claimgate_responses_total{{code=\"{code}\"}} 1\n")), "{status}");
        }
    }
}
