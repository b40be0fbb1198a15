//! Rates of clients: [`TokenBucket`] is the generic cell rate algorithm (ITU-T I.371). [`ClientRates`] has the buckets of all
//! clients, and the time until which each throttled client waits.
//!
//! A bucket is one number: the time at which it will be full again. A full bucket need not be stored, so an idle client
//! takes no memory. A bucket counts anything that has an amount, such as messages or bytes.

mod by_address;

use std::time::Duration;

use crate::config::Rate;
use crate::sparse::Sparse;
use crate::time::Moment;
use crate::timers::Timers;

pub use by_address::{AddressRates, AddressThrottles, BURST_SECONDS, Use};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The parameters of a token bucket: the rate at which it fills, and the burst that it has when it is full.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    rate: Rate,
    burst: u64,
}

impl Throttle {
    pub fn new(rate: Rate, burst: u64) -> Throttle {
        Throttle { rate, burst }
    }

    /// The time that `amount` takes at this rate, in nanoseconds.
    fn nanos(&self, amount: u64) -> u64 {
        let nanos = self.rate.span().as_nanos() * u128::from(amount) / u128::from(self.rate.amount());
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The time in which an empty bucket fills.
    fn refill_time(&self) -> Duration {
        Duration::from_nanos(self.nanos(self.burst))
    }
}

/// A token bucket. Its throttle is passed to each call, since all clients have the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    /// The time at which the bucket is full. It is in nanoseconds, since a unit may take less than a millisecond.
    full_at_nanos: u64,
}

impl TokenBucket {
    /// Takes `amount`, or returns `false` if the bucket has not enough before [`TokenBucket::ready_at`].
    pub fn take(&mut self, throttle: Throttle, amount: u64, now: Moment) -> bool {
        let is_ready = self.ready_at(throttle, amount) <= now;
        if is_ready {
            self.spend(throttle, amount, now);
        }
        is_ready
    }

    /// Takes `amount`, even if the bucket has not enough.
    fn spend(&mut self, throttle: Throttle, amount: u64, now: Moment) {
        let now_nanos = now.as_millis().saturating_mul(NANOS_PER_MILLI);
        self.full_at_nanos = self.full_at_nanos.max(now_nanos).saturating_add(throttle.nanos(amount));
    }

    /// The time from which `amount` may be taken. An amount over the burst may be taken when the bucket is full.
    pub fn ready_at(&self, throttle: Throttle, amount: u64) -> Moment {
        let ahead_nanos = throttle.nanos(throttle.burst.saturating_sub(amount));
        Moment::default() + Duration::from_nanos(self.full_at_nanos.saturating_sub(ahead_nanos))
    }

    pub fn is_full(&self, now: Moment) -> bool {
        self.full_at_nanos <= now.as_millis().saturating_mul(NANOS_PER_MILLI)
    }
}

/// The throttles of each client; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttles {
    pub messages: Option<Throttle>,
    /// Bytes of text or data in messages.
    pub bytes: Option<Throttle>,
}

impl Throttles {
    /// The time in which all empty buckets fill; `None` if nothing is counted.
    fn refill_time(&self) -> Option<Duration> {
        self.messages.iter().chain(&self.bytes).map(Throttle::refill_time).max()
    }
}

/// The buckets of one client.
#[derive(Clone, Copy, Debug, Default)]
struct ClientBuckets {
    messages: TokenBucket,
    bytes: TokenBucket,
}

impl ClientBuckets {
    /// The time from which a message of that length may be taken from both buckets.
    fn ready_at(&self, throttles: Throttles, bytes: u64) -> Moment {
        let by_messages = throttles.messages.map(|throttle| self.messages.ready_at(throttle, 1));
        let by_bytes = throttles.bytes.map(|throttle| self.bytes.ready_at(throttle, bytes));
        by_messages.max(by_bytes).unwrap_or_default()
    }

    /// Takes a message of that length from both buckets, or from none.
    fn take(&mut self, throttles: Throttles, bytes: u64, now: Moment) -> bool {
        let is_ready = self.ready_at(throttles, bytes) <= now;
        if is_ready {
            throttles.messages.iter().for_each(|throttle| self.messages.spend(*throttle, 1, now));
            throttles.bytes.iter().for_each(|throttle| self.bytes.spend(*throttle, bytes, now));
        }
        is_ready
    }

    fn is_full(&self, now: Moment) -> bool {
        self.messages.is_full(now) && self.bytes.is_full(now)
    }
}

/// The buckets of all clients, by the slots of their connections.
#[derive(Debug)]
pub struct ClientRates {
    throttles: Throttles,
    /// The buckets of clients that have sent messages lately. Some may be full since.
    recent: Sparse<ClientBuckets>,
    /// Time of the last sweep, or of the first bucket after `recent` was empty. A sweep once per refill interval is amortised
    /// O(1) per message.
    swept_at: Moment,
    /// The time until which each throttled client waits.
    waiting: Timers,
}

impl ClientRates {
    pub fn new(throttles: Throttles, slots: usize) -> ClientRates {
        let waiting = Timers::with_capacity(slots);
        ClientRates { throttles, recent: Sparse::default(), swept_at: Moment::default(), waiting }
    }

    /// Replaces the throttles. All buckets become full, and all waits end.
    pub fn set_throttles(&mut self, throttles: Throttles, now: Moment) {
        self.throttles = throttles;
        self.recent = Sparse::default();
        let waiting: Vec<u32> = self.waiting.slots().collect();
        waiting.into_iter().for_each(|slot| self.waiting.set(slot, now));
    }

    /// Takes one message of that length from the buckets of `slot`. If they have not enough, the client waits, and the
    /// result is `false`.
    pub fn take(&mut self, slot: u32, bytes: usize, now: Moment) -> bool {
        if self.throttles.refill_time().is_none() {
            return true;
        }
        if self.recent.is_empty() {
            self.swept_at = now;
        }
        let (buckets, bytes) = (self.recent.get_or_default(slot), bytes as u64);
        let taken = buckets.take(self.throttles, bytes, now);
        if !taken {
            self.waiting.set(slot, buckets.ready_at(self.throttles, bytes));
        }
        taken
    }

    /// Throttles `slot` until `moment`, because of its address.
    pub fn wait(&mut self, slot: u32, moment: Moment) {
        self.waiting.set(slot, moment);
    }

    /// Whether the buckets of `slot` are full.
    pub fn is_full(&self, slot: u32, now: Moment) -> bool {
        self.recent.get(slot).is_none_or(|buckets| buckets.is_full(now))
    }

    /// Takes the next slot whose wait is over by `now`.
    pub fn next_unthrottled(&mut self, now: Moment) -> Option<u32> {
        let (_, slot) = self.waiting.first().filter(|(moment, _)| *moment <= now)?;
        self.waiting.remove(slot);
        Some(slot)
    }

    /// Drops full buckets, if a refill interval has passed since the last sweep.
    pub fn sweep(&mut self, now: Moment) {
        if self.sweep_at().is_some_and(|moment| moment <= now) {
            self.recent.retain(|buckets| !buckets.is_full(now));
            self.swept_at = now;
        }
    }

    fn sweep_at(&self) -> Option<Moment> {
        self.throttles.refill_time().filter(|_| !self.recent.is_empty()).map(|refill| self.swept_at + refill)
    }

    /// The time of the next end of a wait, or of the next sweep.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.waiting.first().map(|(moment, _)| moment).into_iter().chain(self.sweep_at()).min()
    }

    /// The tables whose keys are the slots of connections.
    pub fn tables(&self) -> [(&'static str, Vec<u32>); 2] {
        [("rates", self.recent.slots().collect()), ("throttled", self.waiting.slots().collect())]
    }

    /// Whether `slot` is throttled.
    pub fn is_waiting(&self, slot: u32) -> bool {
        self.waiting.get(slot).is_some()
    }

    /// Removes all that is stored for `slot`.
    pub fn remove(&mut self, slot: u32) {
        self.recent.take(slot);
        self.waiting.remove(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ByteRate, OrOff};

    fn throttle(rate: &str, burst: u64) -> Throttle {
        Throttle::new(rate.parse::<OrOff<Rate>>().unwrap().unwrap(), burst)
    }

    fn messages(rate: &str, burst: u64) -> Throttles {
        Throttles { messages: Some(throttle(rate, burst)), bytes: None }
    }

    #[test]
    fn bucket_allows_its_burst_then_its_rate_and_fills_again() {
        let throttle = throttle("5/s", 10);
        let mut bucket = TokenBucket::default();
        let at = Moment::from_millis;
        let start = 60_000;
        for n in 0..10 {
            assert!(bucket.take(throttle, 1, at(start)), "{n}");
        }
        assert!(!bucket.take(throttle, 1, at(start)));
        assert_eq!(bucket.ready_at(throttle, 1), at(start + 200));
        assert!(!bucket.take(throttle, 1, at(start + 199)));
        assert!(bucket.take(throttle, 1, at(start + 200)));
        assert_eq!(bucket.ready_at(throttle, 1), at(start + 400));
        assert!(!bucket.is_full(at(start + 2_199)));
        assert!(bucket.is_full(at(start + 2_200)));
    }

    #[test]
    fn rate_finer_than_the_clock_is_kept_with_a_burst_of_one() {
        let mut bucket = TokenBucket::default();
        let slow = throttle("1/s", 1);
        assert!(bucket.take(slow, 1, Moment::default()) && !bucket.take(slow, 1, Moment::default()));
        assert_eq!(bucket.ready_at(slow, 1), Moment::from_millis(1_000));
        let fast = throttle("10000/s", 1);
        let mut bucket = TokenBucket::default();
        let mut taken = 0;
        let mut now = Moment::default();
        while now < Moment::from_millis(1_000) {
            match bucket.take(fast, 1, now) {
                true => taken += 1,
                false => now = bucket.ready_at(fast, 1),
            }
        }
        assert!((1_000..=10_001).contains(&taken), "{taken}");
    }

    #[test]
    fn full_buckets_are_dropped_and_others_are_kept() {
        let mut rates = ClientRates::new(messages("1/s", 2), 1_000);
        let at = Moment::from_millis;
        // All at once, as after a restart.
        assert!((0..1_000).all(|slot| rates.take(slot, 0, at(500 + u64::from(slot % 2)))));
        assert_eq!(rates.next_deadline(), Some(at(2_500)));
        assert!((0..3).all(|slot| rates.take(slot, 0, at(2_000))));
        assert!(rates.take(0, 0, at(2_000)) && !rates.take(0, 0, at(2_000)));
        rates.sweep(at(2_499));
        assert_eq!(rates.recent.len(), 1_000);
        rates.sweep(at(2_500));
        assert_eq!(rates.recent.len(), 3);
        assert!(!rates.is_full(2, at(2_500)) && rates.is_full(3, at(2_500)));
        assert_eq!((rates.next_deadline(), rates.is_waiting(0)), (Some(at(3_000)), true));
        assert_eq!((rates.next_unthrottled(at(2_999)), rates.next_unthrottled(at(3_000))), (None, Some(0)));
        assert_eq!((rates.is_waiting(0), rates.next_deadline()), (false, Some(at(4_500))));
        rates.sweep(at(4_500));
        assert_eq!(rates.next_deadline(), None, "an idle server is not woken");
    }

    #[test]
    fn next_connection_in_a_slot_starts_with_full_buckets() {
        let mut rates = ClientRates::new(messages("1/s", 1), 1);
        let now = Moment::from_millis(1);
        assert!(rates.take(0, 0, now) && !rates.take(0, 0, now));
        rates.remove(0);
        assert_eq!((rates.is_full(0, now), rates.is_waiting(0), rates.next_deadline()), (true, false, None));
        assert!((0..9).all(|_| ClientRates::new(Throttles::default(), 1).take(0, 1, now)));
    }

    #[test]
    fn amount_over_the_burst_is_taken_when_the_bucket_is_full() {
        let rate: Rate = "1k/s".parse::<OrOff<ByteRate>>().unwrap().unwrap().into();
        let (throttle, mut bucket) = (Throttle::new(rate, 2_048), TokenBucket::default());
        let at = Moment::from_millis;
        assert!(bucket.take(throttle, 1_000, at(0)) && bucket.take(throttle, 1_048, at(0)));
        assert!(bucket.take(throttle, 0, at(0)), "an empty message fits even an empty bucket");
        assert_eq!(bucket.ready_at(throttle, 512), at(500));
        assert!(!bucket.take(throttle, 512, at(499)) && bucket.take(throttle, 512, at(500)));
        assert_eq!(bucket.ready_at(throttle, 10_240), at(2_500));
        assert!(!bucket.take(throttle, 10_240, at(2_499)) && bucket.take(throttle, 10_240, at(2_500)));
        assert_eq!(bucket.ready_at(throttle, 2_048), at(12_500), "the bucket is in debt");
    }

    #[test]
    fn message_is_taken_from_both_buckets_or_from_none() {
        let rate: Rate = "1k/s".parse::<OrOff<ByteRate>>().unwrap().unwrap().into();
        let throttles =
            Throttles { messages: Some(throttle("1/s", 2)), bytes: Some(Throttle::new(rate, 1_024)) };
        let mut rates = ClientRates::new(throttles, 1);
        let at = Moment::from_millis;
        assert!(rates.take(0, 1_024, at(0)));
        assert!(!rates.take(0, 512, at(0)) && !rates.take(0, 512, at(499)), "too many bytes");
        assert_eq!(rates.next_unthrottled(at(500)), Some(0));
        assert!(rates.take(0, 512, at(500)), "the refused message was not taken");
        assert!(!rates.take(0, 0, at(999)), "too many messages");
        assert_eq!((rates.next_unthrottled(at(999)), rates.next_unthrottled(at(1_000))), (None, Some(0)));
        assert!(rates.take(0, 0, at(1_000)));
        assert!(!rates.is_full(0, at(2_999)) && rates.is_full(0, at(3_000)));
    }
}
