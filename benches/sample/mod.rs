//! Samples that are taken in turns, and what they come to.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Long enough for the clock, short enough that what disturbs the machine hits few samples.
const SAMPLE: Duration = Duration::from_millis(1);

/// Seconds per call, over as many calls as a sample takes.
pub(crate) fn per_call<T>(call: impl Fn() -> T) -> f64 {
    let begun = Instant::now();
    let mut calls = 0_u32;
    loop {
        for _ in 0..8 {
            black_box(call());
        }
        calls += 8;
        let elapsed = begun.elapsed();
        if elapsed >= SAMPLE {
            return elapsed.as_secs_f64() / f64::from(calls);
        }
    }
}

/// The middle one.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of each sample's ratio to the one that was taken beside it.
pub(crate) fn ratio(samples: &[f64], bases: &[f64]) -> f64 {
    let ratios: Vec<f64> = samples.iter().zip(bases).map(|(sample, base)| sample / base).collect();
    median(&ratios)
}
