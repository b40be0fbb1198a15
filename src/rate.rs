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
    /// Takes one message from the allowance.
    ///
    /// # Errors
    /// The moment from which one may be taken.
    pub fn take(&mut self, pace: Pace, now: Moment) -> Result<(), Moment> {
        let now_nanos = now.as_millis().saturating_mul(1_000_000);
        let ahead = self.paid_until_nanos.saturating_sub(now_nanos);
        let wait = ahead.saturating_sub(pace.ahead.as_nanos() as u64);
        if wait > 0 {
            return Err(now + Duration::from_nanos(wait));
        }
        self.paid_until_nanos = self.paid_until_nanos.max(now_nanos) + pace.interval.as_nanos() as u64;
        Ok(())
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
            assert_eq!(allowance.take(pace, at(start)), Ok(()), "{n}");
        }
        assert_eq!(allowance.take(pace, at(start)), Err(at(start + 200)));
        assert_eq!(allowance.take(pace, at(start + 199)), Err(at(start + 200)));
        assert_eq!(allowance.take(pace, at(start + 200)), Ok(()));
        assert_eq!(allowance.take(pace, at(start + 200)), Err(at(start + 400)));
        assert!(!allowance.is_rested(at(start + 2_199)));
        assert!(allowance.is_rested(at(start + 2_200)));
    }

    #[test]
    fn a_burst_of_one_and_a_pace_finer_than_the_clock() {
        let mut allowance = Allowance::default();
        let slow = pace("1/s", 1);
        assert_eq!(allowance.take(slow, Moment::default()), Ok(()));
        assert_eq!(allowance.take(slow, Moment::default()), Err(Moment::from_millis(1_000)));
        let fast = pace("10000/s", 1);
        let mut allowance = Allowance::default();
        let mut taken = 0;
        let mut now = Moment::default();
        while now < Moment::from_millis(1_000) {
            match allowance.take(fast, now) {
                Ok(()) => taken += 1,
                Err(later) => now = later,
            }
        }
        assert!((1_000..=10_001).contains(&taken), "{taken}");
    }
}
