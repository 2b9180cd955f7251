//! Whether a connection from which nothing comes is dead.

/// After how many silent ticks in a row the origin is asked.
const FIRST: u32 = 1;
/// The same when it has answered and is silent still. Servers of gRPC close a connection on which they are asked more
/// often than every 5 min while they have nothing to send ("`too_many_pings`").
const LATER: u32 = 31;

/// What was seen at each tick.
#[derive(Debug, Default)]
pub(super) struct Silence {
    ticks: u32,
    is_asked: bool,
    has_answered: bool,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Fine,
    /// A PING is due.
    Ask,
    /// Not even that was answered.
    Dead,
}

impl Silence {
    /// Whether anything came since the last tick, and whether anybody waits for something.
    pub(super) fn tick(&mut self, has_received: bool, is_in_use: bool) -> Verdict {
        if has_received || !is_in_use {
            *self = Self { has_answered: self.is_asked && has_received, ..Self::default() };
            return Verdict::Fine;
        }
        if self.is_asked {
            return Verdict::Dead;
        }
        self.ticks += 1;
        self.is_asked = self.ticks >= if self.has_answered { LATER } else { FIRST };
        if self.is_asked { Verdict::Ask } else { Verdict::Fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_and_then_taken_for_death() {
        let mut silence = Silence::default();
        assert_eq!(silence.tick(true, true), Verdict::Fine);
        assert_eq!(silence.tick(false, true), Verdict::Ask);
        assert_eq!(silence.tick(false, true), Verdict::Dead);
    }

    #[test]
    fn an_origin_that_answers_and_is_silent_is_asked_again_much_later() {
        let mut silence = Silence::default();
        assert_eq!(silence.tick(false, true), Verdict::Ask);
        assert_eq!(silence.tick(true, true), Verdict::Fine);
        for tick in 1..LATER {
            assert_eq!(silence.tick(false, true), Verdict::Fine, "{tick}");
        }
        assert_eq!(silence.tick(false, true), Verdict::Ask);
        assert_eq!(silence.tick(true, true), Verdict::Fine);
        assert_eq!(silence.tick(true, true), Verdict::Fine, "it has said something of its own");
        assert_eq!(silence.tick(false, true), Verdict::Ask);
    }

    #[test]
    fn a_connection_that_nobody_uses_may_be_silent() {
        let mut silence = Silence::default();
        for _ in 0..100 {
            assert_eq!(silence.tick(false, false), Verdict::Fine);
        }
    }
}
