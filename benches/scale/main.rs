//! What ten thousand sidecars cost one issuer, in simulated time: `cargo bench --bench scale`.
//!
//! Nothing here decides when claimgate fetches: that is the very file that claimgate is built of, and it is pure, so that
//! days are told in seconds. The same seed tells the same each time.
#![expect(clippy::expect_used, reason = "a bench that cannot go on says so by panicking")]
#![expect(clippy::print_stdout, reason = "the tables")]

#[path = "../../src/issuer/refresh.rs"]
#[expect(dead_code, reason = "its unit tests are none here, and nobody is told to withdraw keys")]
mod refresh;

mod fleet;
mod issuer;
mod load;
mod requests;
mod sidecar;
mod stories;

use std::ops::Range;
use std::thread;
use std::time::Duration;

use self::fleet::{Outcome, tell};
use self::sidecar::{Claimgate, Naive};
use self::stories::{Case, chapters};

fn main() {
    for (title, cases) in chapters() {
        println!("**{title}**\n");
        println!("| | | sidecar | attempts | mean/s | peak/s | worst 10 s | 50 % | 99 % | all |");
        println!("|---|---|---|--:|--:|--:|--:|--:|--:|--:|");
        thread::scope(|scope| {
            let told: Vec<_> = cases.iter().map(|case| scope.spawn(|| rows(case))).collect();
            for rows in told {
                for row in rows.join().expect("a story that can be told") {
                    println!("{row}");
                }
            }
        });
        println!();
    }
}

fn rows(case: &Case) -> Vec<String> {
    let ours = tell(&case.story, &Claimgate::new(case.cooldown, case.max_stale));
    let naive = case.tells_naive.then(|| tell(&case.story, &Naive::default()));
    let mut rows = Vec::new();
    for (phase, time) in &case.phases {
        let with_recovery = time.start == case.story.recovers_from;
        for (sidecar, outcome) in [("claimgate", Some(&ours)), ("naive", naive.as_ref())] {
            if let Some(outcome) = outcome {
                let cells = cells(outcome, time, with_recovery);
                rows.push(format!("| {} | {phase} | {sidecar} | {cells} |", case.what));
            }
        }
    }
    rows
}

fn cells(outcome: &Outcome, time: &Range<Duration>, with_recovery: bool) -> String {
    let figures = outcome.load.over(time);
    let recovery = [50, 99, 100].map(|percent| match outcome.recovery(percent) {
        _ if !with_recovery => String::new(),
        Some(after) => format!("{:.1} s", after.as_secs_f64()),
        None => "not yet".to_owned(),
    });
    let [total, second, ten_seconds] = [figures.total, figures.second, figures.ten_seconds].map(in_thousands);
    let mean = format!("{:.1}", figures.mean);
    format!("{total} | {mean} | {second} | {ten_seconds} | {}", recovery.join(" | "))
}

/// 1234567 as 1,234,567.
fn in_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
