//! Sidecars and their issuer in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;

use crate::issuer::{Answer, Issuer};
use crate::load::Load;
use crate::requests::Requests;
use crate::sidecar::{Happening, Sidecar};

/// How many sidecars there are.
pub(crate) const SIZE: usize = 10_000;

const SEED: u64 = 1;

/// What happens to a fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// They start one by one, at random within this time.
    pub(crate) starts_within: Duration,
    /// The age of the keys that each has on its disk.
    pub(crate) kept: Option<Duration>,
    pub(crate) issuer: Issuer,
    /// Requests whose key is not in the first set.
    pub(crate) requests: Option<Requests>,
    pub(crate) end: Duration,
    /// A sidecar is well off once it has keys from this time on, with the new key if requests need it.
    pub(crate) recovers_from: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) load: Load,
    /// When each was well off again, counted from `recovers_from`, in ascending order.
    pub(crate) recovered: Vec<Duration>,
}

impl Outcome {
    /// How long it took until this part of the fleet had recovered, if it ever had.
    pub(crate) fn recovery(&self, percent: usize) -> Option<Duration> {
        self.recovered.get(SIZE * percent / 100 - 1).copied()
    }
}

struct Member<S> {
    sidecar: S,
    /// Its wake-ups on the agenda, whether it still wants them or not.
    wake_ups: Vec<Duration>,
    has_new_key: bool,
    is_well: bool,
}

#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum What {
    Start,
    Wake,
    Request,
    End(Answer),
}

struct Fleet<S> {
    story: Story,
    members: Vec<Member<S>>,
    /// What is to come: when, to whom, what.
    agenda: BinaryHeap<Reverse<(Duration, usize, What)>>,
    random: Rng,
    outcome: Outcome,
}

/// Tells the story of a fleet of these; the same story always ends the same.
pub(crate) fn tell<S: Sidecar>(story: &Story, sidecar: &S) -> Outcome {
    let member = || Member { sidecar: sidecar.clone(), wake_ups: Vec::new(), has_new_key: false, is_well: false };
    let mut fleet = Fleet {
        story: story.clone(),
        members: (0..SIZE).map(|_| member()).collect(),
        agenda: BinaryHeap::new(),
        random: Rng::with_seed(SEED),
        outcome: Outcome::default(),
    };
    for index in 0..SIZE {
        let start = story.starts_within.mul_f64(fleet.random.f64());
        fleet.note(start, index, What::Start);
        fleet.note_next_request(Duration::ZERO, index);
    }
    while let Some(Reverse((now, index, what))) = fleet.agenda.pop() {
        if now >= story.end {
            break;
        }
        fleet.happen(now, index, &what);
    }
    fleet.outcome
}

impl<S: Sidecar> Fleet<S> {
    fn note(&mut self, at: Duration, index: usize, what: What) {
        self.agenda.push(Reverse((at, index, what)));
    }

    fn note_next_request(&mut self, now: Duration, index: usize) {
        let next = self.story.requests.as_ref().and_then(|requests| requests.next(now, &mut self.random));
        if let Some(next) = next {
            self.note(next, index, What::Request);
        }
    }

    fn happen(&mut self, now: Duration, index: usize, what: &What) {
        let happening = match what {
            What::Start => Happening::Started { kept: self.story.kept },
            What::Wake => {
                let member = &mut self.members[index];
                member.wake_ups.retain(|at| *at != now);
                if member.sidecar.wake_at() != Some(now) {
                    return;
                }
                Happening::Woken
            }
            What::Request if self.has_what_requests_need(index) => return,
            What::Request => {
                self.note_next_request(now, index);
                Happening::Asked
            }
            What::End(Answer::Nothing) => Happening::Failed,
            What::End(Answer::Keys { with_new_key }) => self.keys_came(now, index, *with_new_key),
        };
        let member = &mut self.members[index];
        let begins = member.sidecar.step(happening, now, &mut self.random);
        if let Some(at) = member.sidecar.wake_at().filter(|at| !member.wake_ups.contains(at)) {
            member.wake_ups.push(at);
            self.note(at, index, What::Wake);
        }
        if begins {
            self.outcome.load.count(now);
            let (end, answer) = self.story.issuer.answer(now, &mut self.random);
            self.note(end, index, What::End(answer));
        }
    }

    fn keys_came(&mut self, now: Duration, index: usize, with_new_key: bool) -> Happening {
        self.members[index].has_new_key |= with_new_key;
        let content = self.has_what_requests_need(index);
        let member = &mut self.members[index];
        if content && !member.is_well && now >= self.story.recovers_from {
            member.is_well = true;
            self.outcome.recovered.push(now.saturating_sub(self.story.recovers_from));
        }
        Happening::Succeeded { life: self.story.issuer.life, content }
    }

    /// A made-up key is in no set.
    fn has_what_requests_need(&self, index: usize) -> bool {
        match &self.story.requests {
            None => true,
            Some(requests) => !requests.are_made_up && self.members[index].has_new_key,
        }
    }
}
