//! What may happen to a fleet and its issuer.

use std::ops::Range;
use std::time::Duration;

use crate::fleet::Story;
use crate::issuer::Issuer;
use crate::requests::Requests;

/// A story, and what to tell of it.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) story: Story,
    /// `--jwks-refresh-cooldown`.
    pub(crate) cooldown: Duration,
    /// `--jwks-max-stale`.
    pub(crate) max_stale: Duration,
    pub(crate) phases: Vec<(&'static str, Range<Duration>)>,
    /// Where the naive sidecar's story is another than the one above.
    pub(crate) tells_naive: bool,
}

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// In which a fleet starts one by one: a multiple of the 8 minutes between refreshes, of the 4 with `max-age=300` and of
/// the 5 of naive polling, so that afterwards every moment is as good as another.
const STAGGER: Duration = Duration::from_mins(40);
/// A while after that.
const WARM: Duration = HOUR;
/// Attempts per second.
const SMALL: f64 = 500.0;

impl Case {
    fn new(what: &'static str, story: Story, phases: Vec<(&'static str, Range<Duration>)>) -> Self {
        let end = phases.iter().map(|(_, time)| time.end).max().unwrap_or_default();
        let story = Story { end, ..story };
        Self { what, story, cooldown: 10 * SECOND, max_stale: 24 * HOUR, phases, tells_naive: true }
    }
}

/// Each with its title.
pub(crate) fn chapters() -> [(&'static str, Vec<Case>); 5] {
    [
        ("Every day", steady()),
        ("Fleet restart", restarts()),
        ("Rotation", rotations()),
        ("A flood of made-up key ids", floods()),
        ("A 30-minute outage", outages()),
    ]
}

fn steady() -> Vec<Case> {
    let case = |what, life| {
        let issuer = Issuer { life, ..Issuer::default() };
        let story = Story { issuer, recovers_from: Duration::MAX, ..staggered() };
        Case::new(what, story, vec![("20th to 24th hour", 20 * HOUR..24 * HOUR)])
    };
    let same_for_naive = |case| Case { tells_naive: false, ..case };
    vec![
        case("no `Cache-Control`", None),
        same_for_naive(case("`max-age=300`", Some(5 * MINUTE))),
        same_for_naive(case("`max-age=3600`", Some(HOUR))),
    ]
}

/// Started one by one.
fn staggered() -> Story {
    Story { starts_within: STAGGER, ..Story::default() }
}

fn restarts() -> Vec<Case> {
    let small = |story: Story| {
        let issuer = Issuer { capacity: SMALL, ..Issuer::default() };
        Case::new("the same, 500/s", Story { issuer, ..story }, vec![("first 10 min", Duration::ZERO..10 * MINUTE)])
    };
    let at_once = Story::default();
    let kept = Story { kept: Some(MINUTE), ..Story::default() };
    let rolling = Story { starts_within: 5 * MINUTE, ..Story::default() };
    let mut patient =
        Case { what: "the same, 500/s, `--jwks-timeout 30s`", tells_naive: false, ..small(at_once.clone()) };
    patient.story.issuer.timeout = 30 * SECOND;
    let start = Duration::ZERO..10 * SECOND;
    let hours =
        vec![("first 10 s", start.clone()), ("rest of the hour", start.end..HOUR), ("8th hour", 7 * HOUR..8 * HOUR)];
    vec![
        Case::new("at once", at_once.clone(), hours),
        small(at_once),
        patient,
        Case { tells_naive: false, ..Case::new("at once, keys on disk", kept.clone(), vec![("first 10 s", start)]) },
        Case { tells_naive: false, ..small(kept) },
        Case::new("within 5 min", rolling.clone(), vec![("first 10 min", Duration::ZERO..10 * MINUTE)]),
        small(rolling),
    ]
}

fn rotations() -> Vec<Case> {
    let case = |what, published_before, rate, ramp| {
        let requests = Requests { rate, from: WARM, ramp, until: WARM + HOUR, are_made_up: false };
        let new_key_at = WARM.saturating_sub(published_before);
        let issuer = Issuer { new_key_at, ..Issuer::default() };
        let story = Story { issuer, requests: Some(requests), recovers_from: new_key_at, ..staggered() };
        Case::new(what, story, vec![("10 min from its publication", new_key_at..new_key_at + 10 * MINUTE)])
    };
    vec![
        case("tokens change within 5 min, 1 request/s", Duration::ZERO, 1.0, 5 * MINUTE),
        case("tokens change within 5 min, 100 requests/s", Duration::ZERO, 100.0, 5 * MINUTE),
        case("tokens change at once, 100 requests/s", Duration::ZERO, 100.0, Duration::ZERO),
        case("the same, 10 min after the publication", 10 * MINUTE, 100.0, Duration::ZERO),
    ]
}

fn floods() -> Vec<Case> {
    let (soon, end) = (WARM + 5 * SECOND, WARM + MINUTE);
    let minute = || vec![("first 5 s", WARM..soon), ("rest of its minute", soon..end)];
    let story = |rate| {
        let requests = Requests { rate, from: WARM, ramp: Duration::ZERO, until: end, are_made_up: true };
        Story { requests: Some(requests), recovers_from: Duration::MAX, ..staggered() }
    };
    let patient = Case::new("10/s at each, cooldown 1 min", story(10.0), minute());
    vec![
        Case::new("1/s at each", story(1.0), minute()),
        Case::new("10/s at each", story(10.0), minute()),
        Case { cooldown: MINUTE, tells_naive: false, ..patient },
    ]
}

fn outages() -> Vec<Case> {
    let case = |what, from: Duration, change: &dyn Fn(&mut Story)| {
        let end = from + 30 * MINUTE;
        let issuer = Issuer { outage: from..end, ..Issuer::default() };
        let mut story = Story { issuer, recovers_from: end, ..Story::default() };
        change(&mut story);
        let (soon, later) = (end + 10 * SECOND, end + 30 * MINUTE);
        Case::new(what, story, vec![("during", from..end), ("10 s from its end", end..soon), ("then", soon..later)])
    };
    let held = |story: &mut Story| story.starts_within = STAGGER;
    let hangs = |story: &mut Story| story.issuer.hangs = true;
    let kept = |story: &mut Story| story.kept = Some(MINUTE);
    let small = |story: &mut Story| story.issuer.capacity = SMALL;
    let start = Duration::ZERO;
    vec![
        case("keys held", WARM, &held),
        case("the same, 500/s afterwards", WARM, &|story| (held(story), small(story)).1),
        case("keys held, it hangs", WARM, &|story| (held(story), hangs(story)).1),
        case("restarted as it begins", start, &|_| ()),
        case("restarted as it begins, it hangs", start, &hangs),
        Case { tells_naive: false, ..case("restarted as it begins, 500/s afterwards", start, &small) },
        Case { tells_naive: false, ..case("restarted as it begins, keys on disk", start, &kept) },
        Case { tells_naive: false, max_stale: 20 * MINUTE, ..case("keys held for 20 min", WARM, &held) },
    ]
}
