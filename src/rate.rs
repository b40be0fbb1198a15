//! How fast a client may send: [`Allowance`], the generic cell rate algorithm (ITU-T I.371); and [`Meter`], the
//! allowances of those who have sent something lately, and who of them must wait.
//!
//! An allowance is a token bucket in one number: the moment at which the bucket would be full again. Once it is full there
//! is nothing to remember, so who is quiet costs nothing.

use std::time::Duration;

use crate::config::Rate;
use crate::sparse::Sparse;
use crate::time::Moment;
use crate::timers::Timers;

/// The pace everybody is held to.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Duration,
    /// How far ahead of the pace a client may be before it must wait.
    ahead: Duration,
}

impl Pace {
    /// How long who has sent its whole burst takes until it may do so again.
    fn rest(&self) -> Duration {
        self.ahead + self.interval
    }

    /// One message each interval of `rate`, and `burst` at once after a rest.
    pub fn new(rate: Rate, burst: u32) -> Pace {
        Pace { interval: rate.interval(), ahead: rate.interval() * (burst - 1) }
    }
}

/// What one client has used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    /// When all that was sent would have been sent at the pace. In nanoseconds, since an interval may be shorter
    /// than a millisecond.
    paid_until_nanos: u64,
}

impl Allowance {
    /// Takes one message from the allowance; `false` if there is none before [`Allowance::ready_at`].
    pub fn take(&mut self, pace: Pace, now: Moment) -> bool {
        if self.ready_at(pace) > now {
            return false;
        }
        let now_nanos = now.as_millis().saturating_mul(1_000_000);
        self.paid_until_nanos = self.paid_until_nanos.max(now_nanos) + pace.interval.as_nanos() as u64;
        true
    }

    /// The moment from which a message may be taken.
    pub fn ready_at(&self, pace: Pace) -> Moment {
        Moment::default() + Duration::from_nanos(self.paid_until_nanos).saturating_sub(pace.ahead)
    }

    /// Whether the whole burst is to be had again.
    pub fn is_rested(&self, now: Moment) -> bool {
        self.paid_until_nanos <= now.as_millis().saturating_mul(1_000_000)
    }
}

/// What all clients have used up, by the slots of their connections.
#[derive(Debug)]
pub struct Meter {
    pace: Option<Pace>,
    /// Of whoever has sent something lately, and of some who are rested since.
    recent: Sparse<Allowance>,
    /// When the rested were last thrown out, or the first came. Who has sent nothing for a whole rest is rested, so a look
    /// at each after that costs no more than the messages did.
    swept_at: Moment,
    /// Until when those who must wait do.
    waiting: Timers,
}

impl Meter {
    /// Holds everybody in so many slots to `pace`; nobody to anything if there is none.
    pub fn new(pace: Option<Pace>, slots: usize) -> Meter {
        let waiting = Timers::with_capacity(slots);
        Meter { pace, recent: Sparse::default(), swept_at: Moment::default(), waiting }
    }

    /// Takes one message from the allowance of `slot`. `false` if there is none left: it must wait.
    pub fn take(&mut self, slot: u32, now: Moment) -> bool {
        let Some(pace) = self.pace else {
            return true;
        };
        if self.recent.is_empty() {
            self.swept_at = now;
        }
        let allowance = self.recent.get_or_default(slot);
        let taken = allowance.take(pace, now);
        if !taken {
            self.waiting.set(slot, allowance.ready_at(pace));
        }
        taken
    }

    /// Whether `slot` has its whole burst.
    pub fn is_rested(&self, slot: u32, now: Moment) -> bool {
        self.recent.get(slot).is_none_or(|allowance| allowance.is_rested(now))
    }

    /// The next whose wait is over by `now`; it waits no longer.
    pub fn next_to_go_on(&mut self, now: Moment) -> Option<u32> {
        let (_, slot) = self.waiting.first().filter(|(moment, _)| *moment <= now)?;
        self.waiting.remove(slot);
        Some(slot)
    }

    /// Forgets whoever is rested, if it is time to.
    pub fn sweep(&mut self, now: Moment) {
        if self.sweep_at().is_some_and(|moment| moment <= now) {
            self.recent.retain(|allowance| !allowance.is_rested(now));
            self.swept_at = now;
        }
    }

    fn sweep_at(&self) -> Option<Moment> {
        self.pace.filter(|_| !self.recent.is_empty()).map(|pace| self.swept_at + pace.rest())
    }

    /// When there is something to do: a wait is over, or somebody rested to be forgotten.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.waiting.first().map(|(moment, _)| moment).into_iter().chain(self.sweep_at()).min()
    }

    /// Whether `slot` must wait.
    pub fn waits(&self, slot: u32) -> bool {
        self.waiting.get(slot).is_some()
    }

    /// The connection in `slot` is gone: the next one there has used up nothing.
    pub fn forget(&mut self, slot: u32) {
        self.recent.take(slot);
        self.waiting.remove(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OrOff;

    fn pace(rate: &str, burst: u32) -> Pace {
        Pace::new(rate.parse::<OrOff<Rate>>().unwrap().unwrap(), burst)
    }

    #[test]
    fn a_burst_then_the_pace_then_rest() {
        let pace = pace("5/s", 10);
        let mut allowance = Allowance::default();
        let at = Moment::from_millis;
        let start = 60_000;
        for n in 0..10 {
            assert!(allowance.take(pace, at(start)), "{n}");
        }
        assert!(!allowance.take(pace, at(start)));
        assert_eq!(allowance.ready_at(pace), at(start + 200));
        assert!(!allowance.take(pace, at(start + 199)));
        assert!(allowance.take(pace, at(start + 200)));
        assert_eq!(allowance.ready_at(pace), at(start + 400));
        assert!(!allowance.is_rested(at(start + 2_199)));
        assert!(allowance.is_rested(at(start + 2_200)));
    }

    #[test]
    fn a_burst_of_one_and_a_pace_finer_than_the_clock() {
        let mut allowance = Allowance::default();
        let slow = pace("1/s", 1);
        assert!(allowance.take(slow, Moment::default()) && !allowance.take(slow, Moment::default()));
        assert_eq!(allowance.ready_at(slow), Moment::from_millis(1_000));
        let fast = pace("10000/s", 1);
        let mut allowance = Allowance::default();
        let mut taken = 0;
        let mut now = Moment::default();
        while now < Moment::from_millis(1_000) {
            match allowance.take(fast, now) {
                true => taken += 1,
                false => now = allowance.ready_at(fast),
            }
        }
        assert!((1_000..=10_001).contains(&taken), "{taken}");
    }

    #[test]
    fn who_is_rested_is_forgotten_and_who_is_not_is_not() {
        let mut meter = Meter::new(Some(pace("1/s", 2)), 1_000);
        let at = Moment::from_millis;
        // All at once, as after a restart.
        assert!((0..1_000).all(|slot| meter.take(slot, at(500 + u64::from(slot % 2)))));
        assert_eq!(meter.next_deadline(), Some(at(2_500)));
        assert!((0..3).all(|slot| meter.take(slot, at(2_000))));
        assert!(meter.take(0, at(2_000)) && !meter.take(0, at(2_000)));
        meter.sweep(at(2_499));
        assert_eq!(meter.recent.len(), 1_000);
        meter.sweep(at(2_500));
        assert_eq!(meter.recent.len(), 3);
        assert!(!meter.is_rested(2, at(2_500)) && meter.is_rested(3, at(2_500)));
        assert_eq!((meter.next_deadline(), meter.waits(0)), (Some(at(3_000)), true));
        assert_eq!((meter.next_to_go_on(at(2_999)), meter.next_to_go_on(at(3_000))), (None, Some(0)));
        assert_eq!((meter.waits(0), meter.next_deadline()), (false, Some(at(4_500))));
        meter.sweep(at(4_500));
        assert_eq!(meter.next_deadline(), None, "nothing is left to wake the server for");
    }

    #[test]
    fn nothing_of_a_connection_stays_for_the_next_in_its_slot() {
        let mut meter = Meter::new(Some(pace("1/s", 1)), 1);
        let now = Moment::from_millis(1);
        assert!(meter.take(0, now) && !meter.take(0, now));
        meter.forget(0);
        assert_eq!((meter.is_rested(0, now), meter.waits(0), meter.next_deadline()), (true, false, None));
        assert!((0..9).all(|_| Meter::new(None, 1).take(0, now)));
    }
}
