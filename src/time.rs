//! Time as the server sees it: [`Moment`] and the [`SteadyClock`] that makes it.
//!
//! Nothing below [`crate::net`] reads a clock; a moment is always an argument. That is what lets the
//! whole server run on a virtual clock in `tests/sim`.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on the server's own clock, in milliseconds since the server started.
///
/// Milliseconds, because that is what `epoll_wait(2)` sleeps in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment that many milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Moment(millis)
    }

    /// Milliseconds since the start.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is in fact later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Rounds up to the next millisecond, so that a deadline never comes early.
    fn add(self, span: Duration) -> Moment {
        let millis = span.as_nanos().div_ceil(1_000_000);
        Moment(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    /// Stops at the start of the clock.
    fn sub(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(span.as_millis() as u64))
    }
}

/// A point on the server's clock to the sixteenth of a second, in half the space of a [`Moment`]. It lasts eight years.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coarse(u32);

/// Milliseconds that sixteen [`Coarse`] last.
const SIXTEEN_MILLIS: u64 = 1000;

impl From<Moment> for Coarse {
    /// Rounds up, so that what is due after it never comes early.
    fn from(moment: Moment) -> Coarse {
        Coarse(u32::try_from((moment.0 * 16).div_ceil(SIXTEEN_MILLIS)).unwrap_or(u32::MAX))
    }
}

impl From<Coarse> for Moment {
    fn from(coarse: Coarse) -> Moment {
        Moment((u64::from(coarse.0) * SIXTEEN_MILLIS).div_ceil(16))
    }
}

/// Both clocks of a tick, read once: deadlines go by the first, people by the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Steady: for deadlines and durations.
    pub moment: Moment,
    /// Milliseconds since the Unix epoch: for what a person is shown.
    pub unix_millis: u64,
}

impl Now {
    /// Time passed since `earlier`, on the clock on which it is more: the server's own stands still while the process is
    /// stopped, and people may set theirs.
    pub fn since(self, earlier: Now) -> Duration {
        let by_calendar = Duration::from_millis(self.unix_millis.saturating_sub(earlier.unix_millis));
        self.moment.since(earlier.moment).max(by_calendar)
    }
}

/// How much later than asked a poll may return before the time counts as one we did not live through; and what such a
/// time counts as, since a clock that stood still would never let anybody go on.
const LATE: Duration = Duration::from_secs(1);

/// Turns readings of the operating system's clock into moments that suit deadlines.
///
/// When the process was stopped (`SIGSTOP`, a suspended laptop, a paused virtual machine) the clock leaps, and
/// every deadline would be due at once though no client did anything wrong. So when much more time has passed than the
/// loop asked to sleep, the server's clock goes on about where it stopped.
#[derive(Debug, Default)]
pub struct SteadyClock {
    last_reading: Moment,
    left_out: Duration,
}

impl SteadyClock {
    /// The moment for a `reading` taken after a sleep that was to last `asked` (`None`: for ever).
    ///
    /// A reading before the last one counts as no time passed.
    pub fn advance(&mut self, reading: Moment, asked: Option<Duration>) -> Moment {
        let passed = reading.since(self.last_reading);
        if asked.is_some_and(|asked| passed > asked + LATE) {
            self.left_out += passed - LATE;
        }
        self.last_reading = self.last_reading.max(reading);
        self.last_reading - self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn a_deadline_never_comes_early() {
        assert_eq!(Moment::default() + Duration::from_nanos(1), Moment::from_millis(1));
        assert_eq!(Moment::default() + Duration::from_millis(1), Moment::from_millis(1));
        assert_eq!(at(1) - 5 * SECOND, at(0));
    }

    #[test]
    fn a_coarse_moment_is_at_most_a_sixteenth_late() {
        for millis in [0, 1, 62, 63, 999, 1000, 123_456_789] {
            let coarse = Moment::from(Coarse::from(Moment::from_millis(millis)));
            assert!((millis..=millis + 63).contains(&coarse.as_millis()), "{millis}");
        }
    }

    #[test]
    fn a_leap_past_what_was_asked_is_left_out() {
        let mut clock = SteadyClock::default();
        assert_eq!(clock.advance(at(3), Some(2 * SECOND)), at(3), "one second late is late, not a leap");
        assert_eq!(clock.advance(at(3603), Some(30 * SECOND)), at(4), "an hour asleep counts as a second");
        assert_eq!(clock.advance(at(3604), Some(SECOND)), at(5));
    }

    #[test]
    fn a_sleep_without_an_end_is_no_leap() {
        let mut clock = SteadyClock::default();
        assert_eq!(clock.advance(at(3600), None), at(3600));
    }

    #[test]
    fn a_clock_that_goes_backward_stands_still() {
        let mut clock = SteadyClock::default();
        clock.advance(at(10), None);
        assert_eq!(clock.advance(at(4), Some(SECOND)), at(10));
        assert_eq!(clock.advance(at(11), Some(SECOND)), at(11));
    }
}
