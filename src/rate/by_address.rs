//! Rates by address: [`AddressRates`]. A new connection costs its maker nothing, so what each may do says little of what
//! all of an address do together.

use std::collections::HashMap;
use std::time::Duration;

use super::{Throttle, TokenBucket};
use crate::host::Host;
use crate::time::Moment;

/// The burst of an address, in seconds of its rate.
pub const BURST_SECONDS: u64 = 2;

/// Something that counts against the rates of its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// A message, with so many bytes of text or data.
    Message {
        /// How many.
        bytes: usize,
    },
    /// A request that says nothing: a `GET`, a ping.
    Request,
    /// A new connection.
    Connection,
}

/// The throttles that an address is held to, each of which may be lifted.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressThrottles {
    /// Of messages.
    pub messages: Option<Throttle>,
    /// Of the bytes in them.
    pub bytes: Option<Throttle>,
    /// Of requests that say nothing.
    pub requests: Option<Throttle>,
    /// Of new connections.
    pub connections: Option<Throttle>,
}

/// The allowances of one address.
#[derive(Clone, Copy, Debug, Default)]
struct AddressUse {
    messages: TokenBucket,
    bytes: TokenBucket,
    requests: TokenBucket,
    connections: TokenBucket,
}

impl AddressUse {
    /// The allowances that something counts against, each with its pace and the amount.
    fn of(
        &mut self,
        what: Use,
        throttles: &AddressThrottles,
    ) -> [Option<(&mut TokenBucket, Throttle, u64)>; 2] {
        match what {
            Use::Message { bytes } => [
                throttles.messages.map(|pace| (&mut self.messages, pace, 1)),
                throttles.bytes.map(|pace| (&mut self.bytes, pace, bytes as u64)),
            ],
            Use::Request => [throttles.requests.map(|pace| (&mut self.requests, pace, 1)), None],
            Use::Connection => [throttles.connections.map(|pace| (&mut self.connections, pace, 1)), None],
        }
    }

    fn is_full_again(&self, now: Moment) -> bool {
        [self.messages, self.bytes, self.requests, self.connections]
            .iter()
            .all(|allowance| allowance.is_full_again(now))
    }
}

/// The allowances of the addresses that were active lately. This machine is exempt.
#[derive(Debug)]
pub struct AddressRates {
    throttles: AddressThrottles,
    recent: HashMap<Host, AddressUse>,
    swept_at: Moment,
}

impl AddressRates {
    /// Holds every address to `throttles`.
    pub fn new(throttles: AddressThrottles) -> AddressRates {
        AddressRates { throttles, recent: HashMap::new(), swept_at: Moment::default() }
    }

    /// The moment from which an address may do something; now or earlier if it may.
    pub fn ready_at(&mut self, host: Host, what: Use) -> Moment {
        let Some(spent) = self.recent.get_mut(&host) else {
            return Moment::default();
        };
        let limits = spent.of(what, &self.throttles).into_iter().flatten();
        limits.map(|(allowance, pace, amount)| allowance.ready_at(pace, amount)).max().unwrap_or_default()
    }

    /// Counts something that an address does, whether or not it may.
    pub fn spend(&mut self, host: Host, what: Use, now: Moment) {
        let is_lifted = AddressUse::default().of(what, &self.throttles).iter().all(Option::is_none);
        if host == Host::LOCAL || is_lifted {
            return;
        }
        if self.recent.is_empty() {
            self.swept_at = now;
        }
        let spent = self.recent.entry(host).or_default();
        let limits = spent.of(what, &self.throttles).into_iter().flatten();
        limits.for_each(|(allowance, pace, amount)| allowance.spend(pace, amount, now));
    }

    /// Whether an address has used up nothing.
    pub fn is_full_again(&self, host: Host, now: Moment) -> bool {
        self.recent.get(&host).is_none_or(|spent| spent.is_full_again(now))
    }

    /// Addresses that are remembered.
    pub fn len(&self) -> usize {
        self.recent.len()
    }

    /// Whether no address is remembered.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }

    /// When addresses can be forgotten.
    pub fn next_timeout(&self) -> Option<Moment> {
        (!self.recent.is_empty()).then(|| self.swept_at + Duration::from_secs(BURST_SECONDS))
    }

    /// Forgets the addresses that have used up nothing, if it is time to.
    pub fn sweep(&mut self, now: Moment) {
        if self.next_timeout().is_some_and(|due| due <= now) {
            self.recent.retain(|_, spent| !spent.is_full_again(now));
            self.recent.shrink_to(0);
            self.swept_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OrOff, Rate};

    const HOST: Host = Host::v4([10, 0, 0, 1]);
    const OTHER: Host = Host::v4([10, 0, 0, 2]);

    fn pace(rate: &str, burst: u64) -> Option<Throttle> {
        let rate = rate.parse::<OrOff<Rate>>().expect("a rate").expect("not off");
        Some(Throttle::new(rate, burst))
    }

    fn rates() -> AddressRates {
        AddressRates::new(AddressThrottles {
            messages: pace("1/s", 2),
            bytes: pace("100/s", 200),
            requests: pace("1/s", 2),
            connections: None,
        })
    }

    fn may(rates: &mut AddressRates, host: Host, what: Use, now: Moment) -> bool {
        let may = rates.ready_at(host, what) <= now;
        if may {
            rates.spend(host, what, now);
        }
        may
    }

    #[test]
    fn each_rate_is_counted_for_itself_and_each_address_too() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        let line = Use::Message { bytes: 1 };
        let said: Vec<bool> = (0..3).map(|_| may(&mut rates, HOST, line, now)).collect();
        assert_eq!(said, [true, true, false]);
        assert!(may(&mut rates, HOST, Use::Request, now) && may(&mut rates, OTHER, line, now));
        assert_eq!(rates.ready_at(HOST, line), now + Duration::from_secs(1));
        assert!(may(&mut rates, HOST, line, now + Duration::from_secs(1)));
        assert!((0..100).all(|_| may(&mut rates, HOST, Use::Connection, now)), "that limit is lifted");
    }

    #[test]
    fn bytes_of_an_address_are_limited_as_its_messages_are() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        assert!(may(&mut rates, HOST, Use::Message { bytes: 200 }, now));
        assert!(!may(&mut rates, HOST, Use::Message { bytes: 1 }, now));
        assert_eq!(rates.ready_at(HOST, Use::Message { bytes: 100 }), now + Duration::from_secs(1));
    }

    #[test]
    fn this_machine_is_exempt_and_rested_addresses_are_forgotten() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        assert!((0..100).all(|_| may(&mut rates, Host::LOCAL, Use::Request, now)));
        assert_eq!(rates.next_timeout(), None);
        assert!(may(&mut rates, HOST, Use::Request, now) && !rates.is_full_again(HOST, now));
        let later = now + Duration::from_secs(BURST_SECONDS);
        rates.sweep(later);
        assert_eq!((rates.len(), rates.is_full_again(HOST, now), rates.next_timeout()), (0, true, None));
    }
}
