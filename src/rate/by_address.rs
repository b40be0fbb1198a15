//! Rates of addresses: [`AddressRates`]. New connections are cheap, so limits on each connection don't bound the load that
//! one address causes.

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
    Message {
        /// Length of the text or data.
        bytes: usize,
    },
    /// An HTTP request that may publish: each with a method that is not safe, such as `POST`. It counts as a message, and
    /// against rates of the size of one client's, since a new connection for each request has full buckets.
    Publish {
        /// Length of the text or data.
        bytes: usize,
    },
    /// Any other HTTP request, also a malformed one, or a ping.
    Request,
    /// A new connection.
    Connection,
    /// A login with a wrong token, or a registration. It counts afterwards, so good logins are not limited.
    FailedLogin,
}

/// The throttles of each address; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressThrottles {
    pub messages: Option<Throttle>,
    /// Bytes of text or data in messages.
    pub bytes: Option<Throttle>,
    /// HTTP requests that may publish.
    pub posts: Option<Throttle>,
    /// Bytes of the bodies of such requests.
    pub post_bytes: Option<Throttle>,
    /// Other HTTP requests, and pings.
    pub requests: Option<Throttle>,
    /// New connections.
    pub connections: Option<Throttle>,
    /// Failed logins.
    pub failed_logins: Option<Throttle>,
}

/// The buckets of one address.
#[derive(Clone, Copy, Debug, Default)]
struct AddressBuckets {
    messages: TokenBucket,
    bytes: TokenBucket,
    posts: TokenBucket,
    post_bytes: TokenBucket,
    requests: TokenBucket,
    connections: TokenBucket,
    failed_logins: TokenBucket,
}

impl AddressBuckets {
    /// The buckets that a use counts against, each with its throttle and the amount.
    fn of(
        &mut self,
        what: Use,
        throttles: &AddressThrottles,
    ) -> [Option<(&mut TokenBucket, Throttle, u64)>; 4] {
        match what {
            Use::Message { bytes } => [
                throttles.messages.map(|throttle| (&mut self.messages, throttle, 1)),
                throttles.bytes.map(|throttle| (&mut self.bytes, throttle, bytes as u64)),
                None,
                None,
            ],
            Use::Publish { bytes } => [
                throttles.messages.map(|throttle| (&mut self.messages, throttle, 1)),
                throttles.bytes.map(|throttle| (&mut self.bytes, throttle, bytes as u64)),
                throttles.posts.map(|throttle| (&mut self.posts, throttle, 1)),
                throttles.post_bytes.map(|throttle| (&mut self.post_bytes, throttle, bytes as u64)),
            ],
            Use::Request => {
                [throttles.requests.map(|throttle| (&mut self.requests, throttle, 1)), None, None, None]
            }
            Use::Connection => {
                [throttles.connections.map(|throttle| (&mut self.connections, throttle, 1)), None, None, None]
            }
            Use::FailedLogin => [
                throttles.failed_logins.map(|throttle| (&mut self.failed_logins, throttle, 1)),
                None,
                None,
                None,
            ],
        }
    }

    fn is_full(&self, now: Moment) -> bool {
        // Without `..`, so that no bucket is left out: it would be removed while it limits the address.
        let AddressBuckets { messages, bytes, posts, post_bytes, requests, connections, failed_logins } =
            *self;
        [messages, bytes, posts, post_bytes, requests, connections, failed_logins]
            .iter()
            .all(|bucket| bucket.is_full(now))
    }
}

/// The buckets of the addresses that were active lately. Loopback is exempt.
#[derive(Debug)]
pub struct AddressRates {
    throttles: AddressThrottles,
    recent: HashMap<Host, AddressBuckets>,
    swept_at: Moment,
}

impl AddressRates {
    pub fn new(throttles: AddressThrottles) -> AddressRates {
        AddressRates { throttles, recent: HashMap::new(), swept_at: Moment::default() }
    }

    /// The time from which an address may do something; now or earlier if it may.
    pub fn ready_at(&mut self, host: Host, what: Use) -> Moment {
        let Some(buckets) = self.recent.get_mut(&host) else {
            // All its buckets are full.
            return Moment::default();
        };
        let uses = buckets.of(what, &self.throttles).into_iter().flatten();
        uses.map(|(bucket, throttle, amount)| bucket.ready_at(throttle, amount)).max().unwrap_or_default()
    }

    /// Counts a use by an address, even if its buckets have not enough.
    pub fn spend(&mut self, host: Host, what: Use, now: Moment) {
        let is_unlimited = AddressBuckets::default().of(what, &self.throttles).iter().all(Option::is_none);
        if host.is_exempt() || is_unlimited {
            return;
        }
        if self.recent.is_empty() {
            self.swept_at = now;
        }
        let buckets = self.recent.entry(host).or_default();
        let uses = buckets.of(what, &self.throttles).into_iter().flatten();
        uses.for_each(|(bucket, throttle, amount)| bucket.spend(throttle, amount, now));
    }

    /// Whether the buckets of an address are full.
    pub fn is_full(&self, host: Host, now: Moment) -> bool {
        self.recent.get(&host).is_none_or(|buckets| buckets.is_full(now))
    }

    /// The number of addresses with buckets.
    pub fn len(&self) -> usize {
        self.recent.len()
    }

    pub fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }

    /// The time of the next sweep.
    pub fn next_timeout(&self) -> Option<Moment> {
        (!self.recent.is_empty()).then(|| self.swept_at + Duration::from_secs(BURST_SECONDS))
    }

    /// Drops the addresses whose buckets are full, if a refill interval has passed since the last sweep.
    pub fn sweep(&mut self, now: Moment) {
        if self.next_timeout().is_some_and(|due| due <= now) {
            self.recent.retain(|_, buckets| !buckets.is_full(now));
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

    fn throttle(rate: &str, burst: u64) -> Option<Throttle> {
        let rate = rate.parse::<OrOff<Rate>>().expect("a rate").expect("not off");
        Some(Throttle::new(rate, burst))
    }

    fn rates() -> AddressRates {
        AddressRates::new(AddressThrottles {
            messages: throttle("1/s", 2),
            bytes: throttle("100/s", 200),
            posts: throttle("1/s", 1),
            post_bytes: throttle("100/s", 100),
            requests: throttle("1/s", 2),
            connections: None,
            failed_logins: throttle("1/s", 5),
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
    fn rates_and_addresses_are_counted_apart() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        let line = Use::Message { bytes: 1 };
        let said: Vec<bool> = (0..3).map(|_| may(&mut rates, HOST, line, now)).collect();
        assert_eq!(said, [true, true, false]);
        assert!(may(&mut rates, HOST, Use::Request, now) && may(&mut rates, OTHER, line, now));
        assert_eq!(rates.ready_at(HOST, line), now + Duration::from_secs(1));
        assert!(may(&mut rates, HOST, line, now + Duration::from_secs(1)));
        assert!((0..100).all(|_| may(&mut rates, HOST, Use::Connection, now)), "connections have no limit");
    }

    #[test]
    fn bytes_of_an_address_are_limited_like_its_messages() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        assert!(may(&mut rates, HOST, Use::Message { bytes: 200 }, now));
        assert!(!may(&mut rates, HOST, Use::Message { bytes: 1 }, now));
        assert_eq!(rates.ready_at(HOST, Use::Message { bytes: 100 }), now + Duration::from_secs(1));
    }

    #[test]
    fn published_messages_count_against_the_rates_of_one_client_too() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        let post = |bytes| Use::Publish { bytes };
        assert!(may(&mut rates, HOST, post(100), now));
        assert!(!may(&mut rates, HOST, post(1), now));
        // A line counts against the rates of the address only.
        assert!(may(&mut rates, HOST, Use::Message { bytes: 100 }, now));
        assert_eq!(rates.ready_at(HOST, post(50)), now + Duration::from_secs(1));
        assert!((0..100).all(|_| may(&mut rates, Host::LOCAL, post(100), now)));
    }

    #[test]
    fn loopback_is_exempt_and_addresses_with_full_buckets_are_dropped() {
        let (mut rates, now) = (rates(), Moment::from_millis(10_000));
        assert!((0..100).all(|_| may(&mut rates, Host::LOCAL, Use::Request, now)));
        assert_eq!(rates.next_timeout(), None);
        assert!(may(&mut rates, HOST, Use::Request, now) && !rates.is_full(HOST, now));
        let later = now + Duration::from_secs(BURST_SECONDS);
        rates.sweep(later);
        assert_eq!((rates.len(), rates.is_full(HOST, now), rates.next_timeout()), (0, true, None));
    }
}
