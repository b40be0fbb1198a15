//! The server's time: [`Moment`], and the [`SteadyClock`] that produces it.
//!
//! Only [`crate::net`] reads a clock; everywhere else a moment is an argument. So the whole server can run on a virtual clock
//! in `tests/sim`.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on the server's own clock, in milliseconds since the server started.
///
/// `epoll_wait(2)` sleeps in milliseconds too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(u64);

impl Moment {
    pub const fn from_millis(millis: u64) -> Self {
        Moment(millis)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Rounds up to the next millisecond, so that a deadline never fires early.
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

    /// Saturates at the start of the clock.
    fn sub(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(span.as_millis() as u64))
    }
}

/// Reads a length of time: `500ms`, `10s`, `5m`, `1h`, `7d`.
///
/// # Errors
/// The form of a time, in words.
pub fn parse_duration(raw: &str) -> Result<Duration, String> {
    let malformed = || "a time is a whole number and ms, s, m, h or d, as in 10s".to_string();
    let (number, unit) = raw.split_at(raw.find(|c: char| !c.is_ascii_digit()).unwrap_or(raw.len()));
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(malformed()),
    };
    let number: u64 = number.parse().map_err(|_| malformed())?;
    // A century is enough, and leaves sums of times far from overflow.
    let total = number.checked_mul(millis).filter(|total| *total <= 100 * 366 * 86_400_000);
    total.map(Duration::from_millis).ok_or_else(|| "the time is too long; write a shorter one".into())
}

/// A point on the server's clock in sixteenths of a second, with half the size of a [`Moment`]. Its range is eight years.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coarse(u32);

/// Milliseconds that sixteen [`Coarse`] last.
const SIXTEEN_MILLIS: u64 = 1000;

impl From<Moment> for Coarse {
    /// Rounds up, so that a deadline never fires early.
    fn from(moment: Moment) -> Coarse {
        Coarse(u32::try_from((moment.0 * 16).div_ceil(SIXTEEN_MILLIS)).unwrap_or(u32::MAX))
    }
}

impl From<Coarse> for Moment {
    fn from(coarse: Coarse) -> Moment {
        Moment((u64::from(coarse.0) * SIXTEEN_MILLIS).div_ceil(16))
    }
}

/// Both clocks of a tick, read once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic: for deadlines and durations.
    pub moment: Moment,
    /// Milliseconds since the Unix epoch: for timestamps that clients see.
    pub unix_millis: u64,
}

impl Now {
    /// Whole seconds since the Unix epoch.
    pub fn unix_seconds(self) -> u64 {
        self.unix_millis / 1000
    }

    /// Time since `earlier`, by the clock on which it is longer. The server's clock stands still while the process is stopped,
    /// and the wall clock can be set.
    pub fn since(self, earlier: Now) -> Duration {
        let by_calendar = Duration::from_millis(self.unix_millis.saturating_sub(earlier.unix_millis));
        self.moment.since(earlier.moment).max(by_calendar)
    }
}

/// A poll that returns later than this after its deadline shows a pause of the process, which counts as this time. It is not
/// zero, because deadlines would never fire if every poll were late.
const LATE: Duration = Duration::from_secs(1);

/// Converts readings of the operating system's clock into moments, without the time for which the process was stopped.
///
/// The clock leaps after `SIGSTOP`, a suspended laptop or a paused virtual machine. Every deadline would be due at once, though
/// no client was slow. So if much more time has passed than the loop was to sleep, the server's clock continues near
/// where it stopped.
#[derive(Debug, Default)]
pub struct SteadyClock {
    last_reading: Moment,
    paused: Duration,
}

impl SteadyClock {
    /// The moment for a `reading` after a sleep with the given timeout (`None`: without end).
    ///
    /// A reading before the last one counts as the same time.
    pub fn advance(&mut self, reading: Moment, timeout: Option<Duration>) -> Moment {
        let passed = reading.since(self.last_reading);
        if timeout.is_some_and(|timeout| passed > timeout + LATE) {
            self.paused += passed - LATE;
        }
        self.last_reading = self.last_reading.max(reading);
        self.last_reading - self.paused
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
    fn length_of_time_is_a_whole_number_with_a_unit() {
        let table = [
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("36600d", 36_600 * 86_400_000),
        ];
        for (raw, millis) in table {
            assert_eq!(parse_duration(raw), Ok(Duration::from_millis(millis)), "{raw}");
        }
        for bad in ["", "10", "s", "1.5s", "10w", "10 s", "-1s", "36601d", "99999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deadline_never_fires_early() {
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
    fn pause_of_the_process_counts_as_a_second() {
        let mut clock = SteadyClock::default();
        assert_eq!(clock.advance(at(3), Some(2 * SECOND)), at(3), "one second late is no pause");
        assert_eq!(
            clock.advance(at(3603), Some(30 * SECOND)),
            at(4),
            "a pause of an hour counts as a second"
        );
        assert_eq!(clock.advance(at(3604), Some(SECOND)), at(5));
    }

    #[test]
    fn sleep_without_timeout_is_no_pause() {
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
