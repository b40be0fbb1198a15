//! How fast a client may send: [`TokenBucket`], the generic cell rate algorithm (ITU-T I.371); and [`Meter`], the
//! allowances of those who have sent something lately, and who of them must wait.
//!
//! An allowance is a token bucket in one number: the moment at which the bucket would be full again. Once it is full there
//! is nothing to remember, so who is quiet costs nothing. It counts whatever has an amount: messages, bytes.

mod by_address;

use std::time::Duration;

use crate::config::Rate;
use crate::sparse::Sparse;
use crate::time::Moment;
use crate::timers::Timers;

pub use by_address::{AddressRates, AddressThrottles, BURST_SECONDS, Use};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A rate with a burst: so much in the long run, and so much at once.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    rate: Rate,
    burst: u64,
}

impl Throttle {
    /// `rate` in the long run, and `burst` at once after a rest.
    pub fn new(rate: Rate, burst: u64) -> Throttle {
        Throttle { rate, burst }
    }

    /// The time that `amount` takes at this rate, in nanoseconds.
    fn nanos(&self, amount: u64) -> u64 {
        let nanos = self.rate.span().as_nanos() * u128::from(amount) / u128::from(self.rate.amount());
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The time after which a spent burst is whole again.
    fn rest(&self) -> Duration {
        Duration::from_nanos(self.nanos(self.burst))
    }
}

/// What one client has used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    /// When all that was sent would have been sent at the pace. In nanoseconds, since a unit may take less than a
    /// millisecond.
    paid_until_nanos: u64,
}

impl TokenBucket {
    /// Takes `amount` from the allowance; `false` if there is not so much before [`TokenBucket::ready_at`].
    pub fn take(&mut self, pace: Throttle, amount: u64, now: Moment) -> bool {
        let is_ready = self.ready_at(pace, amount) <= now;
        if is_ready {
            self.spend(pace, amount, now);
        }
        is_ready
    }

    /// Takes `amount`, whether or not there is so much.
    fn spend(&mut self, pace: Throttle, amount: u64, now: Moment) {
        let now_nanos = now.as_millis().saturating_mul(NANOS_PER_MILLI);
        self.paid_until_nanos = self.paid_until_nanos.max(now_nanos).saturating_add(pace.nanos(amount));
    }

    /// The moment from which `amount` may be taken. More than the whole burst may be taken when the burst is whole.
    pub fn ready_at(&self, pace: Throttle, amount: u64) -> Moment {
        let ahead_nanos = pace.nanos(pace.burst.saturating_sub(amount));
        Moment::default() + Duration::from_nanos(self.paid_until_nanos.saturating_sub(ahead_nanos))
    }

    /// Whether the whole burst is to be had again.
    pub fn is_full_again(&self, now: Moment) -> bool {
        self.paid_until_nanos <= now.as_millis().saturating_mul(NANOS_PER_MILLI)
    }
}

/// The throttles that one client is held to, each of which may be lifted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttles {
    /// Of messages.
    pub messages: Option<Throttle>,
    /// Of the bytes in them.
    pub bytes: Option<Throttle>,
}

impl Throttles {
    /// The time after which everything spent is whole again; `None` if nothing is counted.
    fn rest(&self) -> Option<Duration> {
        self.messages.iter().chain(&self.bytes).map(Throttle::rest).max()
    }
}

/// The allowances of one client.
#[derive(Clone, Copy, Debug, Default)]
struct ClientUse {
    messages: TokenBucket,
    bytes: TokenBucket,
}

impl ClientUse {
    /// When a message of so many bytes may be taken from both.
    fn ready_at(&self, throttles: Throttles, bytes: u64) -> Moment {
        let by_messages = throttles.messages.map(|pace| self.messages.ready_at(pace, 1));
        let by_bytes = throttles.bytes.map(|pace| self.bytes.ready_at(pace, bytes));
        by_messages.max(by_bytes).unwrap_or_default()
    }

    /// Takes a message of so many bytes from both, or from none.
    fn take(&mut self, throttles: Throttles, bytes: u64, now: Moment) -> bool {
        let is_ready = self.ready_at(throttles, bytes) <= now;
        if is_ready {
            throttles.messages.iter().for_each(|pace| self.messages.spend(*pace, 1, now));
            throttles.bytes.iter().for_each(|pace| self.bytes.spend(*pace, bytes, now));
        }
        is_ready
    }

    fn is_full_again(&self, now: Moment) -> bool {
        self.messages.is_full_again(now) && self.bytes.is_full_again(now)
    }
}

/// What all clients have used up, by the slots of their connections.
#[derive(Debug)]
pub struct Meter {
    throttles: Throttles,
    /// Of whoever has sent something lately, and of some who are rested since.
    recent: Sparse<ClientUse>,
    /// When the rested were last thrown out, or the first came. Who has sent nothing for a whole rest is rested, so a look
    /// at each after that costs no more than the messages did.
    swept_at: Moment,
    /// Until when those who must wait do.
    waiting: Timers,
}

impl Meter {
    /// Holds everybody in so many slots to `throttles`.
    pub fn new(throttles: Throttles, slots: usize) -> Meter {
        let waiting = Timers::with_capacity(slots);
        Meter { throttles, recent: Sparse::default(), swept_at: Moment::default(), waiting }
    }

    /// Takes one message of so many bytes from the allowance of `slot`. `false` if there is not so much left: it must
    /// wait.
    pub fn take(&mut self, slot: u32, bytes: usize, now: Moment) -> bool {
        if self.throttles.rest().is_none() {
            return true;
        }
        if self.recent.is_empty() {
            self.swept_at = now;
        }
        let (spent, bytes) = (self.recent.get_or_default(slot), bytes as u64);
        let taken = spent.take(self.throttles, bytes, now);
        if !taken {
            self.waiting.set(slot, spent.ready_at(self.throttles, bytes));
        }
        taken
    }

    /// Has `slot` wait until `moment`, for an allowance that is not its own.
    pub fn wait(&mut self, slot: u32, moment: Moment) {
        self.waiting.set(slot, moment);
    }

    /// Whether `slot` has its whole burst.
    pub fn is_full_again(&self, slot: u32, now: Moment) -> bool {
        self.recent.get(slot).is_none_or(|spent| spent.is_full_again(now))
    }

    /// The next whose wait is over by `now`; it waits no longer.
    pub fn next_unthrottled(&mut self, now: Moment) -> Option<u32> {
        let (_, slot) = self.waiting.first().filter(|(moment, _)| *moment <= now)?;
        self.waiting.remove(slot);
        Some(slot)
    }

    /// Forgets whoever is rested, if it is time to.
    pub fn sweep(&mut self, now: Moment) {
        if self.sweep_at().is_some_and(|moment| moment <= now) {
            self.recent.retain(|spent| !spent.is_full_again(now));
            self.swept_at = now;
        }
    }

    fn sweep_at(&self) -> Option<Moment> {
        self.throttles.rest().filter(|_| !self.recent.is_empty()).map(|rest| self.swept_at + rest)
    }

    /// When there is something to do: a wait is over, or somebody rested to be forgotten.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.waiting.first().map(|(moment, _)| moment).into_iter().chain(self.sweep_at()).min()
    }

    /// The tables here that have the slots of connections as their keys.
    pub fn tables(&self) -> [(&'static str, Vec<u32>); 2] {
        [("allowances", self.recent.slots().collect()), ("slowed down", self.waiting.slots().collect())]
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
    use crate::config::{ByteRate, OrOff};

    fn pace(rate: &str, burst: u64) -> Throttle {
        Throttle::new(rate.parse::<OrOff<Rate>>().unwrap().unwrap(), burst)
    }

    fn messages(rate: &str, burst: u64) -> Throttles {
        Throttles { messages: Some(pace(rate, burst)), bytes: None }
    }

    #[test]
    fn a_burst_then_the_pace_then_rest() {
        let pace = pace("5/s", 10);
        let mut allowance = TokenBucket::default();
        let at = Moment::from_millis;
        let start = 60_000;
        for n in 0..10 {
            assert!(allowance.take(pace, 1, at(start)), "{n}");
        }
        assert!(!allowance.take(pace, 1, at(start)));
        assert_eq!(allowance.ready_at(pace, 1), at(start + 200));
        assert!(!allowance.take(pace, 1, at(start + 199)));
        assert!(allowance.take(pace, 1, at(start + 200)));
        assert_eq!(allowance.ready_at(pace, 1), at(start + 400));
        assert!(!allowance.is_full_again(at(start + 2_199)));
        assert!(allowance.is_full_again(at(start + 2_200)));
    }

    #[test]
    fn a_burst_of_one_and_a_pace_finer_than_the_clock() {
        let mut allowance = TokenBucket::default();
        let slow = pace("1/s", 1);
        assert!(allowance.take(slow, 1, Moment::default()) && !allowance.take(slow, 1, Moment::default()));
        assert_eq!(allowance.ready_at(slow, 1), Moment::from_millis(1_000));
        let fast = pace("10000/s", 1);
        let mut allowance = TokenBucket::default();
        let mut taken = 0;
        let mut now = Moment::default();
        while now < Moment::from_millis(1_000) {
            match allowance.take(fast, 1, now) {
                true => taken += 1,
                false => now = allowance.ready_at(fast, 1),
            }
        }
        assert!((1_000..=10_001).contains(&taken), "{taken}");
    }

    #[test]
    fn who_is_rested_is_forgotten_and_who_is_not_is_not() {
        let mut meter = Meter::new(messages("1/s", 2), 1_000);
        let at = Moment::from_millis;
        // All at once, as after a restart.
        assert!((0..1_000).all(|slot| meter.take(slot, 0, at(500 + u64::from(slot % 2)))));
        assert_eq!(meter.next_deadline(), Some(at(2_500)));
        assert!((0..3).all(|slot| meter.take(slot, 0, at(2_000))));
        assert!(meter.take(0, 0, at(2_000)) && !meter.take(0, 0, at(2_000)));
        meter.sweep(at(2_499));
        assert_eq!(meter.recent.len(), 1_000);
        meter.sweep(at(2_500));
        assert_eq!(meter.recent.len(), 3);
        assert!(!meter.is_full_again(2, at(2_500)) && meter.is_full_again(3, at(2_500)));
        assert_eq!((meter.next_deadline(), meter.waits(0)), (Some(at(3_000)), true));
        assert_eq!((meter.next_unthrottled(at(2_999)), meter.next_unthrottled(at(3_000))), (None, Some(0)));
        assert_eq!((meter.waits(0), meter.next_deadline()), (false, Some(at(4_500))));
        meter.sweep(at(4_500));
        assert_eq!(meter.next_deadline(), None, "nothing is left to wake the server for");
    }

    #[test]
    fn nothing_of_a_connection_stays_for_the_next_in_its_slot() {
        let mut meter = Meter::new(messages("1/s", 1), 1);
        let now = Moment::from_millis(1);
        assert!(meter.take(0, 0, now) && !meter.take(0, 0, now));
        meter.forget(0);
        assert_eq!((meter.is_full_again(0, now), meter.waits(0), meter.next_deadline()), (true, false, None));
        assert!((0..9).all(|_| Meter::new(Throttles::default(), 1).take(0, 1, now)));
    }

    #[test]
    fn an_amount_is_taken_whole_and_a_larger_one_than_the_burst_when_that_is_whole() {
        let rate: Rate = "1k/s".parse::<OrOff<ByteRate>>().unwrap().unwrap().into();
        let (pace, mut allowance) = (Throttle::new(rate, 2_048), TokenBucket::default());
        let at = Moment::from_millis;
        assert!(allowance.take(pace, 1_000, at(0)) && allowance.take(pace, 1_048, at(0)));
        assert!(allowance.take(pace, 0, at(0)), "nothing is always to be had");
        assert_eq!(allowance.ready_at(pace, 512), at(500));
        assert!(!allowance.take(pace, 512, at(499)) && allowance.take(pace, 512, at(500)));
        assert_eq!(allowance.ready_at(pace, 10_240), at(2_500));
        assert!(!allowance.take(pace, 10_240, at(2_499)) && allowance.take(pace, 10_240, at(2_500)));
        assert_eq!(allowance.ready_at(pace, 2_048), at(12_500), "and is paid for afterwards");
    }

    #[test]
    fn a_message_is_taken_from_both_allowances_or_from_none() {
        let rate: Rate = "1k/s".parse::<OrOff<ByteRate>>().unwrap().unwrap().into();
        let throttles = Throttles { messages: Some(pace("1/s", 2)), bytes: Some(Throttle::new(rate, 1_024)) };
        let mut meter = Meter::new(throttles, 1);
        let at = Moment::from_millis;
        assert!(meter.take(0, 1_024, at(0)));
        assert!(!meter.take(0, 512, at(0)) && !meter.take(0, 512, at(499)), "too many bytes");
        assert_eq!(meter.next_unthrottled(at(500)), Some(0));
        assert!(meter.take(0, 512, at(500)), "a refused one has taken no message");
        assert!(!meter.take(0, 0, at(999)), "too many messages");
        assert_eq!((meter.next_unthrottled(at(999)), meter.next_unthrottled(at(1_000))), (None, Some(0)));
        assert!(meter.take(0, 0, at(1_000)));
        assert!(!meter.is_full_again(0, at(2_999)) && meter.is_full_again(0, at(3_000)));
    }
}
