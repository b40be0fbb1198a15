//! How fast a client may send: [`Allowance`], the generic cell rate algorithm (ITU-T I.371).
//!
//! A token bucket in one number: the moment at which the bucket would be full again. Eight bytes a client, no timer,
//! no arithmetic while idle.

use std::time::Duration;

use crate::config::Rate;
use crate::time::Moment;

/// The pace everybody is held to.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Duration,
    /// How far ahead of the pace a client may be before it must wait.
    ahead: Duration,
}

impl Pace {
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
}
