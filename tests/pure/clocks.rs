//! Timers, token buckets and the monotonic clock, at random, against simpler models.

use std::collections::BTreeMap;
use std::time::Duration;

use chinwag::config::{OrOff, Rate};
use chinwag::rate::{Throttle, TokenBucket};
use chinwag::time::{Moment, SteadyClock};
use chinwag::timers::Timers;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::random::check;

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

/// Deadlines used as `roster.rs` does: they move freely, and arm a timer only if the guess would be late.
#[derive(Default)]
struct Deadlines {
    timers: Timers,
    real: BTreeMap<u32, Moment>,
}

impl Deadlines {
    fn set(&mut self, slot: u32, real: Option<Moment>) {
        let Some(real) = real else {
            self.real.remove(&slot);
            return;
        };
        self.real.insert(slot, real);
        if self.timers.get(slot).is_none_or(|guess| real < guess) {
            self.timers.set(slot, real);
        }
    }

    fn next(&mut self) -> Option<(Moment, u32)> {
        loop {
            let (guess, slot) = self.timers.first()?;
            match self.real.get(&slot) {
                Some(real) if *real <= guess => return Some((guess, slot)),
                Some(later) => self.timers.set(slot, *later),
                None => self.timers.remove(slot),
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        self.timers.remove(slot);
        self.real.remove(&slot);
    }

    /// Returns the earliest deadline of all, by the model.
    fn earliest(&self) -> Option<Moment> {
        self.real.values().min().copied()
    }
}

#[test]
fn no_timer_fires_early_and_none_is_lost() {
    let step = (0u32..40, proptest::option::weighted(0.8, 0u64..1_000), any::<bool>());
    check(500, &vec(step, 1..400), |steps| {
        let mut deadlines = Deadlines::default();
        for (slot, deadline, look) in steps {
            deadlines.set(slot, deadline.map(at));
            if look {
                let head = deadlines.next();
                assert_eq!(head.map(|(moment, _)| moment), deadlines.earliest());
                if let Some((moment, slot)) = head {
                    assert_eq!(deadlines.real[&slot], moment);
                    deadlines.remove(slot);
                }
            }
        }
        while let Some((moment, slot)) = deadlines.next() {
            assert_eq!(Some(moment), deadlines.earliest());
            deadlines.remove(slot);
        }
        assert_eq!(deadlines.earliest(), None);
        assert!(deadlines.timers.is_empty());
    });
}

#[test]
fn deadline_that_moves_later_queues_nothing() {
    let mut deadlines = Deadlines::default();
    (1..10_000).for_each(|millis| deadlines.set(0, Some(at(millis))));
    assert_eq!((deadlines.timers.len(), deadlines.timers.first()), (1, Some((at(1), 0))));
    assert_eq!(deadlines.next(), Some((at(9_999), 0)));
}

/// A token bucket as in a textbook; it counts nanoseconds of filling.
struct Bucket {
    /// The cost of a message, the capacity, and the level, in nanoseconds times the rate's number.
    each: u128,
    capacity: u128,
    level: u128,
    number: u128,
    now: Moment,
}

impl Bucket {
    fn full(rate: Rate, burst: u64) -> Bucket {
        let (each, number) = (rate.span().as_nanos(), u128::from(rate.amount()));
        let capacity = each * u128::from(burst);
        Bucket { each, capacity, level: capacity, number, now: Moment::default() }
    }

    fn fill(&mut self, now: Moment) {
        self.level = self.capacity.min(self.level + now.since(self.now).as_nanos() * self.number);
        self.now = now;
    }

    /// Takes a token, or returns in how many whole milliseconds there will be one.
    fn take(&mut self) -> Result<(), u64> {
        if self.level < self.each {
            return Err((self.each - self.level).div_ceil(1_000_000 * self.number) as u64);
        }
        self.level -= self.each;
        Ok(())
    }
}

#[test]
fn token_bucket_behaves_as_the_model() {
    let rates = vec!["1/s", "3/s", "5/s", "7/m", "999/s", "10000/s", "1/h", "1000000/s"];
    let waits = vec(prop_oneof![4 => Just(0), 3 => 0u64..300, 1 => 0u64..20_000], 1..200);
    check(500, &(select(rates), 1u64..20, waits), |(rate, burst, waits)| {
        let rate: Rate = rate.parse::<OrOff<Rate>>().expect("a rate").expect("not off");
        let (pace, mut allowance) = (Throttle::new(rate, burst), TokenBucket::default());
        let mut bucket = Bucket::full(rate, burst);
        let mut now = Moment::default();
        for wait in waits {
            now += Duration::from_millis(wait);
            bucket.fill(now);
            // The bucket under test rounds each message down to a nanosecond.
            let rested = bucket.capacity - bucket.level <= 200 * bucket.number;
            assert_eq!(allowance.is_full(now), rested);
            let expected = bucket.take().map_err(|millis| now + Duration::from_millis(millis));
            assert_eq!(allowance.take(pace, 1, now), expected.is_ok());
            if let Err(later) = expected {
                assert_eq!(allowance.ready_at(pace, 1), later);
            }
        }
    });
}

#[test]
fn client_that_waits_as_long_as_required_has_a_token() {
    check(200, &(1u32..2_000, 1u64..20), |(rate, burst)| {
        let rate = format!("{rate}/s").parse::<OrOff<Rate>>().expect("a rate").expect("not off");
        let (pace, mut allowance) = (Throttle::new(rate, burst), TokenBucket::default());
        let mut now = Moment::default();
        for _ in 0..100 {
            if !allowance.take(pace, 1, now) {
                assert!(allowance.ready_at(pace, 1) > now);
                now = allowance.ready_at(pace, 1);
                assert!(allowance.take(pace, 1, now));
            }
        }
    });
}

#[test]
fn monotonic_clock_never_leaps_and_never_goes_back() {
    /// Longest oversleep that still counts as time that passed.
    const LATE_MILLIS: u64 = 1_000;
    let asked = proptest::option::weighted(0.9, (0u64..3_000).prop_map(Duration::from_millis));
    let reading = prop_oneof![8 => 0u64..4_000, 1 => 0u64..10_000_000];
    check(500, &vec((reading, any::<bool>(), asked), 1..100), |steps| {
        let (mut clock, mut reading, mut now) = (SteadyClock::default(), 0u64, Moment::default());
        let mut latest = 0;
        for (span, back, asked) in steps {
            reading = if back { reading.saturating_sub(span) } else { reading + span };
            let passed = reading.saturating_sub(latest);
            latest = latest.max(reading);
            let lived = match asked.map(|asked| asked.as_millis() as u64) {
                Some(asked) if passed > asked + LATE_MILLIS => LATE_MILLIS,
                _ => passed,
            };
            let next = clock.advance(at(reading), asked);
            assert_eq!(next, now + Duration::from_millis(lived), "{passed} ms passed, asked for {asked:?}");
            now = next;
        }
    });
}
