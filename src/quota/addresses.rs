//! Connections by address: [`Addresses`] counts them against `--max-per-ip`, and limits the refusals in the log.

use std::collections::HashMap;
use std::time::Duration;

use crate::host::Host;
use crate::protocol::CloseReason;
use crate::time::Moment;

/// Connections of an address over `--max-per-ip` that are open until they were sent the reason. Further ones are closed at
/// once, so that refused connections can't use up descriptors.
pub const REFUSED_MAX: u32 = 16;

/// One refusal of an address is logged in this time; the others are counted.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Addresses whose refusals are counted apart from each other. The rest share one line of the log.
const LOGGED_MAX: usize = 1_000;

/// The decision on a new connection, by its address alone.
#[derive(PartialEq, Eq, Debug)]
pub enum Verdict {
    Admit(AddressClaim),
    /// It is sent the reason, and closed.
    Refuse(AddressClaim, CloseReason),
    /// It is closed without a reason, and not counted.
    Abort(CloseReason),
}

/// The part of a connection in the count of its address. Only [`Addresses`] makes one and takes it back.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the address counts the connection until the claim is given back"]
pub struct AddressClaim {
    host: Host,
    is_refused: bool,
}

impl AddressClaim {
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The address, to be kept in a [`super::Claim`] until this is made again.
    pub(super) fn into_host(self) -> Host {
        self.host
    }

    /// The claim that was kept in a [`super::Claim`].
    pub(super) fn again(host: Host, is_refused: bool) -> AddressClaim {
        AddressClaim { host, is_refused }
    }
}

/// The open connections of each address, until their descriptors are closed. Loopback and trusted proxies are exempt.
#[derive(Debug)]
pub struct Addresses {
    max: Option<u32>,
    open: HashMap<Host, Open>,
    refusals: HashMap<Host, RefusalCount>,
}

/// The open connections of one address.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    admitted: u32,
    refused: u32,
}

/// The refusals of one address that were not logged, since the last that was.
#[derive(Clone, Copy, Debug)]
struct RefusalCount {
    logged_at: Moment,
    silent: u64,
}

impl Addresses {
    /// No connections, and a limit of `max` for each address.
    pub fn new(max: Option<u32>) -> Addresses {
        Addresses { max, open: HashMap::new(), refusals: HashMap::new() }
    }

    /// Replaces the limit. Open connections over it stay.
    pub fn set_max(&mut self, max: Option<u32>) {
        self.max = max;
    }

    /// Counts a new connection, unless the verdict is to abort it. `refusal` is a reason to refuse it in any case.
    pub fn take(&mut self, host: Host, refusal: Option<CloseReason>) -> Verdict {
        if host.is_exempt() {
            return Verdict::Admit(AddressClaim { host, is_refused: false });
        }
        let open = self.open.entry(host).or_default();
        let is_free = self.max.is_none_or(|max| open.admitted < max);
        if is_free && refusal.is_none() {
            open.admitted += 1;
            return Verdict::Admit(AddressClaim { host, is_refused: false });
        }
        let reason = refusal.unwrap_or(CloseReason::TooManyFromAddress);
        if open.refused < REFUSED_MAX {
            open.refused += 1;
            Verdict::Refuse(AddressClaim { host, is_refused: true }, reason)
        } else {
            Verdict::Abort(reason)
        }
    }

    /// Takes back the claim of a connection whose descriptor is closed.
    pub fn give_back(&mut self, AddressClaim { host, is_refused }: AddressClaim) {
        if host.is_exempt() {
            return;
        }
        let Some(open) = self.open.get_mut(&host) else {
            debug_assert!(false, "a connection of {host} was never counted");
            return;
        };
        let count = if is_refused { &mut open.refused } else { &mut open.admitted };
        *count -= 1;
        if (open.admitted, open.refused) == (0, 0) {
            self.open.remove(&host);
        }
    }

    /// The number of addresses with open connections.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The number of addresses with refusals that were not logged yet.
    pub fn refusals(&self) -> usize {
        self.refusals.len()
    }

    /// Counts a refusal of an address. If it is to be logged, returns the number of those before it that were not.
    pub fn record_refusal(&mut self, host: Host, now: Moment) -> Option<u64> {
        let known = self.refusals.contains_key(&host) || self.refusals.len() < LOGGED_MAX;
        let host = if known { host } else { Host::LOCAL };
        let Some(refusals) = self.refusals.get_mut(&host) else {
            // The first refusal is logged at once.
            self.refusals.insert(host, RefusalCount { logged_at: now, silent: 0 });
            return Some(0);
        };
        if now < refusals.logged_at + LOG_INTERVAL {
            refusals.silent += 1;
            return None;
        }
        refusals.logged_at = now;
        Some(std::mem::take(&mut refusals.silent))
    }

    /// The time at which refusals that were not logged are due.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.refusals.values().map(|refusals| refusals.logged_at + LOG_INTERVAL).min()
    }

    /// Takes the addresses whose interval is over, with the refusals that were not logged.
    pub fn take_refusals(&mut self, now: Moment) -> Vec<(Host, u64)> {
        let due = |refusals: &RefusalCount| refusals.logged_at + LOG_INTERVAL <= now;
        let silent = self.refusals.iter().filter(|(_, refusals)| due(refusals) && refusals.silent > 0);
        let taken = silent.map(|(host, refusals)| (*host, refusals.silent)).collect();
        self.refusals.retain(|_, refusals| !due(refusals));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host::v4([10, 0, 0, 1]);
    const OTHER: Host = Host::v4([10, 0, 0, 2]);
    const ADMIT: Verdict = Verdict::Admit(admitted(HOST));
    const REFUSE: Verdict = Verdict::Refuse(refused(HOST), CloseReason::TooManyFromAddress);
    const ABORT: Verdict = Verdict::Abort(CloseReason::TooManyFromAddress);

    const fn admitted(host: Host) -> AddressClaim {
        AddressClaim { host, is_refused: false }
    }

    const fn refused(host: Host) -> AddressClaim {
        AddressClaim { host, is_refused: true }
    }

    #[test]
    fn address_is_refused_over_its_maximum_and_aborted_over_the_maximum_of_refusals() {
        let mut addresses = Addresses::new(Some(2));
        let verdicts: Vec<Verdict> = (0..2 + REFUSED_MAX + 2).map(|_| addresses.take(HOST, None)).collect();
        let (first, others) = verdicts.split_at(2);
        let (second, aborted) = others.split_at(REFUSED_MAX as usize);
        assert!(first.iter().all(|verdict| *verdict == ADMIT));
        assert!(second.iter().all(|verdict| *verdict == REFUSE));
        assert!(aborted.iter().all(|verdict| *verdict == ABORT));
        addresses.give_back(refused(HOST));
        assert_eq!([addresses.take(HOST, None), addresses.take(HOST, None)], [REFUSE, ABORT]);
        addresses.give_back(admitted(HOST));
        assert_eq!([addresses.take(HOST, None), addresses.take(HOST, None)], [ADMIT, ABORT]);
    }

    #[test]
    fn addresses_are_counted_apart_and_dropped_with_their_last_connection() {
        let mut addresses = Addresses::new(Some(1));
        assert_eq!([addresses.take(HOST, None), addresses.take(HOST, None)], [ADMIT, REFUSE]);
        assert_eq!(addresses.take(OTHER, None), Verdict::Admit(admitted(OTHER)));
        assert!((0..100).all(|_| addresses.take(Host::LOCAL, None) == Verdict::Admit(admitted(Host::LOCAL))));
        addresses.give_back(admitted(HOST));
        assert_eq!(addresses.count(), 2);
        addresses.give_back(refused(HOST));
        addresses.give_back(admitted(Host::LOCAL));
        assert_eq!(addresses.count(), 1);
    }

    #[test]
    fn address_that_connects_too_fast_is_refused_for_that_even_without_a_maximum() {
        for max in [None, Some(1)] {
            let mut addresses = Addresses::new(max);
            assert_eq!(
                addresses.take(HOST, Some(CloseReason::TooManyArrivals)),
                Verdict::Refuse(refused(HOST), CloseReason::TooManyArrivals)
            );
            assert_eq!(addresses.take(HOST, None), ADMIT);
            addresses.give_back(refused(HOST));
            addresses.give_back(admitted(HOST));
            assert_eq!(addresses.count(), 0);
        }
    }

    #[test]
    fn refusals_of_an_address_are_logged_once_a_second_with_the_number_of_the_others() {
        let mut addresses = Addresses::new(Some(1));
        let at = Moment::from_millis;
        let logged = [0, 1, 999, 1_000, 1_500].map(|now| addresses.record_refusal(HOST, at(now)));
        assert_eq!(logged, [Some(0), None, None, Some(2), None]);
        assert_eq!(addresses.next_timeout(), Some(at(2_000)));
        assert_eq!(addresses.take_refusals(at(1_999)), []);
        assert_eq!(addresses.take_refusals(at(2_000)), [(HOST, 1)]);
        assert_eq!(addresses.next_timeout(), None);
    }

    #[test]
    fn refusals_of_too_many_addresses_share_a_line() {
        let mut addresses = Addresses::new(Some(1));
        let now = Moment::from_millis(1);
        let host = |number: usize| Host::v4([10, 1, (number >> 8) as u8, number as u8]);
        let logged =
            (0..2 * LOGGED_MAX).filter(|number| addresses.record_refusal(host(*number), now).is_some());
        assert_eq!(logged.count(), LOGGED_MAX + 1);
        assert!(addresses.refusals.len() <= LOGGED_MAX + 1);
    }
}
