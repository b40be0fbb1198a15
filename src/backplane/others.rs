//! How far the other processes were heard in a room: [`Others`]. Their numbers tell what was lost and what comes twice.

use std::time::Duration;

use super::packet::{Ages, Offset};
use crate::time::Now;

/// Somebody of ours listens to a room.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Since then.
    pub since: Now,
    /// Whether there was no session for some of that time, so that something may be missing.
    pub cut: bool,
}

/// What a number says of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It is new, and so many before it are known to be lost.
    New {
        /// How many.
        lost: u64,
    },
    /// It was here before.
    Again,
}

/// The other processes that were heard in a room; the one that spoke last comes last.
#[derive(Debug, Default)]
pub struct Others(Vec<Other>);

#[derive(Clone, Copy, Debug)]
struct Other {
    process: u64,
    /// The number of its last message that came.
    last: Offset,
    /// Whether we were to hear all that it has said since then.
    followed: bool,
    /// Messages before those that came. They may be lost, or have been said before anybody here listened: the process's mark
    /// will tell.
    unsettled: u64,
}

impl Others {
    /// A message has come.
    pub fn hear(&mut self, process: u64, place: Offset, listening: Option<Listening>) -> Heard {
        let other = self.get(process);
        if place <= other.last {
            return Heard::Again;
        }
        let before = other.missing(Offset { n: place.n.saturating_sub(1), ..place });
        let (lost, unsettled) = other.judge(before, listening);
        self.put(Other { last: place, unsettled, ..other }, listening);
        Heard::New { lost }
    }

    /// A process has told the number of its last message, and how old its messages are. How many are lost; `None` if some may
    /// be and nobody can know.
    pub fn hear_mark(
        &mut self,
        process: u64,
        place: Offset,
        ages: Option<Ages>,
        listening: Option<Listening>,
        now: Now,
    ) -> Option<u64> {
        let other = self.get(process);
        let behind = if place > other.last { other.missing(place) } else { 0 };
        let (lost, unsettled) = other.judge(behind, listening);
        self.put(Other { last: place.max(other.last), unsettled: 0, ..other }, listening);
        if unsettled == 0 {
            return Some(lost);
        }
        let listening_for = now.since(listening?.since);
        let was_before_us = |age_millis: u64| Duration::from_millis(age_millis) > listening_for;
        match ages? {
            ages if was_before_us(ages.last_millis) => Some(lost),
            ages if !was_before_us(ages.first_millis) => Some(lost.saturating_add(unsettled)),
            // Some were said before anybody here listened, and some since.
            _ => None,
        }
    }

    /// Forgets those that have not spoken for longest, until there are no more than that.
    pub fn keep(&mut self, most: usize) {
        let surplus = self.0.len().saturating_sub(most);
        self.0.drain(..surplus);
    }

    /// From now on nobody is heard.
    pub fn unfollow(&mut self) {
        self.0.iter_mut().for_each(|other| (other.followed, other.unsettled) = (false, 0));
    }

    /// What is known of a process; of one that was never heard, that it has said nothing.
    fn get(&self, process: u64) -> Other {
        let unknown = Other { process, last: Offset::default(), followed: false, unsettled: 0 };
        self.0.iter().find(|other| other.process == process).copied().unwrap_or(unknown)
    }

    fn put(&mut self, new: Other, listening: Option<Listening>) {
        self.0.retain(|other| other.process != new.process);
        // What was on its way when we unsubscribed does not mean that we hear what follows.
        self.0.push(Other { followed: listening.is_some(), ..new });
    }
}

impl Other {
    /// How many messages there are behind its last one, up to that.
    fn missing(&self, up_to: Offset) -> u64 {
        match self.last.epoch == up_to.epoch {
            true => up_to.n.saturating_sub(self.last.n),
            false => up_to.n,
        }
    }

    /// How many of those missing are lost for certain, and how many may be, with those of before.
    fn judge(&self, missing: u64, listening: Option<Listening>) -> (u64, u64) {
        match listening {
            _ if self.followed => (missing, self.unsettled),
            Some(Listening { cut: true, .. }) => (0, self.unsettled.saturating_add(missing)),
            // Who has just come has missed nothing.
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    const NEW: Heard = Heard::New { lost: 0 };
    const PROCESS: u64 = 1;

    fn at(seconds: u64) -> Now {
        Now { moment: Moment::from_millis(seconds * 1000), unix_millis: seconds * 1000 }
    }

    fn place(epoch: u32, n: u64) -> Offset {
        Offset { epoch, n }
    }

    /// Somebody listens since second 10.
    fn listening(cut: bool) -> Option<Listening> {
        Some(Listening { since: at(10), cut })
    }

    /// At second 20 the process tells its last number, and in which seconds it has said its first and its last message.
    fn mark(others: &mut Others, cut: bool, place: Offset, said: [u64; 2]) -> Option<u64> {
        let [first_millis, last_millis] = said.map(|second| (20 - second) * 1000);
        others.hear_mark(PROCESS, place, Some(Ages { first_millis, last_millis }), listening(cut), at(20))
    }

    #[test]
    fn what_comes_twice_and_what_is_lost() {
        let mut others = Others::default();
        let mut hear = |process, place| others.hear(process, place, listening(false));
        assert_eq!(hear(1, place(1, 7)), NEW, "what was before we came is not lost");
        assert_eq!([hear(1, place(1, 7)), hear(1, place(1, 6))], [Heard::Again; 2]);
        assert_eq!(hear(2, place(1, 1)), NEW, "each process counts for itself");
        assert_eq!(hear(1, place(1, 10)), Heard::New { lost: 2 });
        let mut mark = |n| others.hear_mark(1, place(1, n), None, listening(false), at(20));
        assert_eq!([mark(10), mark(12), mark(11)], [Some(0), Some(2), Some(0)]);
        let mut hear = |process, place| others.hear(process, place, listening(false));
        assert_eq!(hear(1, place(2, 1)), NEW, "it has begun anew");
        assert_eq!(hear(1, place(1, 13)), Heard::Again);
        assert_eq!(hear(1, place(3, 3)), Heard::New { lost: 2 });
    }

    #[test]
    fn what_an_unknown_process_has_said_is_lost_if_it_was_said_since_we_listen() {
        for (said, lost) in [([1, 9], Some(0)), ([10, 19], Some(5)), ([9, 10], None), ([9, 20], None)] {
            assert_eq!(mark(&mut Others::default(), true, place(1, 5), said), lost, "{said:?}");
            assert_eq!(mark(&mut Others::default(), false, place(1, 5), said), Some(0), "nothing was cut");
        }
        let others = &mut Others::default();
        assert_eq!(others.hear_mark(PROCESS, place(1, 5), None, listening(true), at(20)), None, "no ages");
        assert_eq!(others.hear_mark(PROCESS, place(1, 0), None, listening(true), at(20)), Some(0));
    }

    #[test]
    fn what_came_before_the_first_that_is_heard_is_told_with_the_mark() {
        for (first, lost) in [(10, Some(4)), (9, None)] {
            let mut others = Others::default();
            assert_eq!(others.hear(PROCESS, place(1, 5), listening(true)), NEW);
            assert_eq!(others.hear(PROCESS, place(1, 6), listening(true)), NEW);
            assert_eq!(mark(&mut others, true, place(1, 6), [first, 20]), lost);
            assert_eq!(mark(&mut others, true, place(1, 6), [first, 20]), Some(0), "once");
            assert_eq!(mark(&mut others, true, place(1, 8), [first, 20]), Some(2), "it is followed now");
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut others = Others::default();
        for process in 1..=64 {
            others.hear(process, place(1, 5), listening(false));
            assert_eq!(others.hear(0, place(1, 5 + process), listening(false)), NEW, "who speaks is kept");
            others.keep(32);
        }
        assert_eq!(others.hear(0, place(1, 5), listening(false)), Heard::Again);
        assert_eq!(others.0.len(), 32);
    }
}
