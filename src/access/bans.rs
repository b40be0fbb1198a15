//! Bans of names and addresses: [`Bans`].
//!
//! A look-up costs one hash for a name. For an address it costs one for each length of a prefix in use, at most 33 for IPv4
//! and 65 for IPv6. So the length of the list makes no difference to a new connection.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::network::Network;
use crate::text::{GUEST_PREFIX, Name, Text, fold};

/// The most bans. Each is kept in memory and written with every change of the state file, which has about two megabytes then.
pub const BANS_MAX: usize = 10_000;

/// The longest prefix of a banned IPv6 network, in bits. A client has a whole /64 and can change the rest of its address at
/// will, so limits count a /64 too ([`crate::host`]).
const IPV6_PREFIX_MAX: u8 = 64;

/// The target of a ban.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BanTarget {
    /// The name in any spelling ([`Name::same_as`]).
    Name(Name),
    /// The addresses of clients. An IPv6 network is a /64 or larger.
    Network(Network),
}

impl FromStr for BanTarget {
    type Err = String;

    /// Reads an address, a network in CIDR notation, or a name. The /64 stands for a single IPv6 address.
    ///
    /// # Errors
    /// The rule that the name or network breaks.
    fn from_str(raw: &str) -> Result<BanTarget, String> {
        let raw = raw.trim();
        if let Ok(address) = raw.parse::<IpAddr>() {
            let bits = if address.to_canonical().is_ipv6() { IPV6_PREFIX_MAX } else { 32 };
            let network = Network::around(address, bits);
            return network.map(BanTarget::Network).ok_or_else(|| "the address has too few bits".into());
        }
        if !is_like_a_network(raw) {
            let name = Name::parse(raw).or_else(|error| guest_name(raw).ok_or(error));
            return name.map(BanTarget::Name).map_err(|error| error.to_string());
        }
        let network: Network = raw.parse()?;
        match network.is_ipv6() && network.prefix_bits() > IPV6_PREFIX_MAX {
            true => Err(format!(
                "an IPv6 client has a whole /{IPV6_PREFIX_MAX}; write that prefix or a shorter one"
            )),
            false => Ok(BanTarget::Network(network)),
        }
    }
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BanTarget::Name(name) => write!(f, "{name}"),
            BanTarget::Network(network) => write!(f, "{network}"),
        }
    }
}

/// Whether a text is meant as a network: an error in `10.0.0/8` must not make it a name. A colon can't be in a name.
fn is_like_a_network(raw: &str) -> bool {
    let begins_with_address =
        raw.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    let has_no_letter = raw.bytes().all(|byte| byte.is_ascii_digit() || b"./".contains(&byte));
    begins_with_address || raw.contains(':') || raw.contains('/') && has_no_letter
}

fn guest_name(raw: &str) -> Option<Name> {
    Name::of_remote(raw).filter(|name| name.as_str().starts_with(GUEST_PREFIX))
}

/// A ban.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ban {
    pub target: BanTarget,
    /// The account of the moderator.
    pub by: Name,
    pub reason: Option<Text>,
    /// The end of the ban. `None`: until it is lifted.
    pub until_unix_millis: Option<u64>,
}

impl Ban {
    /// Whether the ban lasts at that time.
    pub fn is_active(&self, now_unix_millis: u64) -> bool {
        self.until_unix_millis.is_none_or(|until| now_unix_millis < until)
    }
}

/// An account whose messages are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mute {
    pub account: Name,
    /// The account of the moderator.
    pub by: Name,
    /// The end of the mute. `None`: until it is lifted.
    pub until_unix_millis: Option<u64>,
}

impl Mute {
    /// Whether the mute lasts at that time.
    pub fn is_active(&self, now_unix_millis: u64) -> bool {
        self.until_unix_millis.is_none_or(|until| now_unix_millis < until)
    }
}

/// All bans, at most one of each target.
#[derive(Default, Debug)]
pub struct Bans {
    /// By the folded names, which are equal for the spellings of one name.
    names: HashMap<String, Ban>,
    networks: HashMap<Network, Ban>,
    /// The number of banned networks by kind (IPv6 or not) and length of the prefix.
    prefixes: BTreeMap<(bool, u8), usize>,
}

impl Bans {
    /// Adds a ban. It replaces one of the same target.
    ///
    /// # Errors
    /// There are [`BANS_MAX`] others.
    pub fn add(&mut self, ban: Ban) -> Result<(), String> {
        let is_replaced = self.lift(&ban.target);
        if !is_replaced && self.names.len() + self.networks.len() >= BANS_MAX {
            return Err(format!(
                "there are {BANS_MAX} bans, and no more are kept; lift some, or ban a network"
            ));
        }
        match &ban.target {
            BanTarget::Name(name) => {
                self.names.insert(key(name.as_str()), ban);
            }
            BanTarget::Network(network) => {
                *self.prefixes.entry(prefix(network)).or_default() += 1;
                self.networks.insert(*network, ban);
            }
        }
        Ok(())
    }

    /// Whether addresses are banned, or were until lately.
    pub fn has_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    /// The active ban of exactly that target.
    pub fn get(&self, target: &BanTarget, now_unix_millis: u64) -> Option<&Ban> {
        let ban = match target {
            BanTarget::Name(name) => self.names.get(&key(name.as_str())),
            BanTarget::Network(network) => self.networks.get(network),
        };
        ban.filter(|ban| ban.is_active(now_unix_millis))
    }

    /// Lifts the ban of exactly that target. Returns whether there was one.
    pub fn lift(&mut self, target: &BanTarget) -> bool {
        match target {
            BanTarget::Name(name) => self.names.remove(&key(name.as_str())).is_some(),
            BanTarget::Network(network) => {
                let is_lifted = self.networks.remove(network).is_some();
                if is_lifted {
                    self.release_prefix(network);
                }
                is_lifted
            }
        }
    }

    /// The active ban of a name, in any spelling. A look-alike is another name.
    pub fn name(&self, name: &str, now_unix_millis: u64) -> Option<&Ban> {
        if self.names.is_empty() {
            return None;
        }
        self.names.get(&key(name)).filter(|ban| ban.is_active(now_unix_millis))
    }

    /// The active ban of an address. If several networks have it, this is the ban that ends last.
    pub fn address(&self, address: IpAddr, now_unix_millis: u64) -> Option<&Ban> {
        let address = address.to_canonical();
        let kind = address.is_ipv6();
        let lengths = self.prefixes.range((kind, 0)..=(kind, u8::MAX)).map(|((_, bits), _)| *bits);
        let bans = lengths.filter_map(|bits| self.networks.get(&Network::around(address, bits)?));
        let active = bans.filter(|ban| ban.is_active(now_unix_millis));
        active.max_by_key(|ban| ban.until_unix_millis.unwrap_or(u64::MAX))
    }

    /// The active bans, sorted: networks, then names. So a listing and the state file have the same order every time.
    pub fn active(&self, now_unix_millis: u64) -> impl Iterator<Item = &Ban> {
        let mut networks: Vec<(&Network, &Ban)> = self.networks.iter().collect();
        networks.sort_unstable_by_key(|(network, _)| **network);
        let mut names: Vec<(&String, &Ban)> = self.names.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        let bans = networks.into_iter().map(|(_, ban)| ban).chain(names.into_iter().map(|(_, ban)| ban));
        bans.filter(move |ban| ban.is_active(now_unix_millis))
    }

    /// Removes the bans that have ended. Returns their number.
    pub fn remove_expired(&mut self, now_unix_millis: u64) -> usize {
        let is_over = |ban: &Ban| !ban.is_active(now_unix_millis);
        let names = self.names.extract_if(|_, ban| is_over(ban)).count();
        let networks: Vec<Network> =
            self.networks.extract_if(|_, ban| is_over(ban)).map(|(network, _)| network).collect();
        for network in &networks {
            self.release_prefix(network);
        }
        names + networks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.networks.is_empty()
    }

    fn release_prefix(&mut self, network: &Network) {
        if let Entry::Occupied(mut count) = self.prefixes.entry(prefix(network)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The key of a name, which is the same for all its spellings.
fn key(name: &str) -> String {
    fold(name).collect()
}

fn prefix(network: &Network) -> (bool, u8) {
    (network.is_ipv6(), network.prefix_bits())
}
