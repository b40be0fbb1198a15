//! Quotas of connections: [`Quotas`] counts the connections of each [`Quota`], and [`Addresses`] those of each address.
//!
//! A connection owns a [`Claim`] on one quota and one address. Only the counts here make a claim, change it and take it back,
//! and it can't be copied. So a connection is counted once from accept until its descriptor is closed. Debug builds compare
//! the counts with the connections after each tick.

mod addresses;

use crate::host::Host;
use crate::protocol::CloseReason;

pub use addresses::{AddressClaim, Addresses, Verdict};

/// The quota that a connection is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quota {
    /// Clients (`--max-clients`).
    Client,
    /// Clients in the queue (`--max-waiting`).
    Queue,
    /// HTTP connections (`--max-http`).
    Http,
    /// Closing connections (`--max-closing`).
    Closing,
    /// Connections that were refused because of their address, in the same quota of closing ones.
    Refused,
}

impl Quota {
    /// All quotas, in the order of their numbers.
    pub const ALL: [Quota; 5] = [Quota::Client, Quota::Queue, Quota::Http, Quota::Closing, Quota::Refused];
}

/// The counts that a connection is part of.
#[derive(Debug)]
#[must_use = "the connection stays counted until the claim is given back"]
pub struct Claim {
    /// The quota. [`Quota::Refused`] tells how the address counts the connection: a flag of its own would not fit into a
    /// connection of 64 bytes.
    quota: Quota,
    host: Host,
}

impl Claim {
    /// The quota that counts the connection.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// The address that the connection is counted by.
    pub fn host(&self) -> Host {
        self.host
    }
}

/// The outcome of [`Quotas::move_claim`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a refused connection must be closed"]
pub enum Moved {
    Admitted,
    /// The new address counts the connection as a refused one.
    Refused(CloseReason),
    /// The former address counts the connection still. It is to be closed at once.
    Aborted(CloseReason),
}

/// The number of connections in each quota.
#[derive(Debug, Default)]
pub struct Quotas {
    taken: [usize; Quota::ALL.len()],
}

impl Quotas {
    /// The number of connections in a quota.
    pub fn taken(&self, quota: Quota) -> usize {
        self.taken[quota as usize]
    }

    /// The number of closing connections, those of refused ones included.
    pub fn closing(&self) -> usize {
        self.taken(Quota::Closing) + self.taken(Quota::Refused)
    }

    /// Counts a new connection, which its address counts already.
    pub fn take(&mut self, quota: Quota, address: AddressClaim) -> Claim {
        debug_assert_eq!(address.is_refused(), quota == Quota::Refused, "the quota of {address:?}");
        self.taken[quota as usize] += 1;
        Claim { quota, host: address.into_host() }
    }

    /// Counts a connection in another quota from now on. The quota of a refused one does not change.
    pub fn change(&mut self, claim: &mut Claim, quota: Quota) {
        if claim.quota != Quota::Refused {
            self.taken[claim.quota as usize] -= 1;
            self.taken[quota as usize] += 1;
            claim.quota = quota;
        }
    }

    /// Counts a connection under another address from now on, as if that address had just opened it. An exempt address
    /// admits every connection.
    pub fn move_claim(
        &mut self,
        addresses: &mut Addresses,
        claim: &mut Claim,
        host: Host,
        refusal: Option<CloseReason>,
    ) -> Moved {
        if claim.quota == Quota::Refused || claim.host == host {
            return Moved::Admitted;
        }
        let (address, moved) = match addresses.take(host, refusal) {
            Verdict::Admit(address) => (address, Moved::Admitted),
            Verdict::Refuse(address, reason) => (address, Moved::Refused(reason)),
            Verdict::Abort(reason) => return Moved::Aborted(reason),
        };
        addresses.give_back(AddressClaim::again(claim.host, false));
        if address.is_refused() {
            self.change(claim, Quota::Refused);
        }
        claim.host = address.into_host();
        moved
    }

    /// Takes back the claim of a connection whose descriptor is closed. The result goes to [`Addresses::give_back`].
    pub fn give_back(&mut self, claim: Claim) -> AddressClaim {
        self.taken[claim.quota as usize] -= 1;
        AddressClaim::again(claim.host, claim.quota == Quota::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quota_is_counted_apart() {
        let (mut quotas, mut addresses) = (Quotas::default(), Addresses::new(None));
        let mut take = |quota| {
            // This address is over its rate: all its connections are refused.
            let host = if quota == Quota::Refused { Host::v4([10, 0, 0, 1]) } else { Host::LOCAL };
            match addresses.take(host, Some(CloseReason::TooManyArrivals)) {
                Verdict::Admit(address) | Verdict::Refuse(address, _) => quotas.take(quota, address),
                Verdict::Abort(reason) => panic!("{reason:?}"),
            }
        };
        let [client, mut queued, http, closing, mut refused] = Quota::ALL.map(&mut take);
        let counts = |quotas: &Quotas| Quota::ALL.map(|quota| quotas.taken(quota));
        assert_eq!(counts(&quotas), [1; 5]);
        quotas.change(&mut queued, Quota::Client);
        quotas.change(&mut refused, Quota::Closing);
        assert_eq!((counts(&quotas), quotas.closing()), ([2, 0, 1, 1, 1], 2));
        for claim in [client, queued, http, closing, refused] {
            addresses.give_back(quotas.give_back(claim));
        }
        assert_eq!((counts(&quotas), addresses.count()), ([0; 5], 0));
    }

    #[test]
    fn moved_claim_is_counted_once_and_at_its_new_address_only() {
        let (mut quotas, mut addresses) = (Quotas::default(), Addresses::new(Some(1)));
        let [ann, bob] = [1, 2].map(|last| Host::v4([10, 0, 0, last]));
        let mut claims = Vec::new();
        for number in 0..20 {
            let Verdict::Admit(address) = addresses.take(Host::PROXY, None) else { panic!("it is exempt") };
            let mut claim = quotas.take(Quota::Http, address);
            let moved = quotas.move_claim(&mut addresses, &mut claim, ann, None);
            match number {
                0 => assert_eq!(moved, Moved::Admitted),
                1..=16 => assert_eq!(moved, Moved::Refused(CloseReason::TooManyFromAddress)),
                _ => assert_eq!(moved, Moved::Aborted(CloseReason::TooManyFromAddress)),
            }
            claims.push(claim);
        }
        assert_eq!((quotas.taken(Quota::Http), quotas.taken(Quota::Refused)), (4, 16));
        assert_eq!(addresses.count(), 1);
        assert_eq!(quotas.move_claim(&mut addresses, &mut claims[0], bob, None), Moved::Admitted);
        assert_eq!(quotas.move_claim(&mut addresses, &mut claims[19], ann, None), Moved::Admitted);
        assert_eq!(quotas.move_claim(&mut addresses, &mut claims[0], Host::PROXY, None), Moved::Admitted);
        assert_eq!(claims[0].host(), Host::PROXY);
        for claim in claims {
            addresses.give_back(quotas.give_back(claim));
        }
        assert_eq!((Quota::ALL.map(|quota| quotas.taken(quota)), addresses.count()), ([0; 5], 0));
    }
}
