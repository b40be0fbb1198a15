//! The kept tables: bans, mutes of accounts, and registered names. The state file has them, and processes with one Redis share
//! them.

use super::accounts::Registered;
use super::bans::{Ban, BanTarget, Mute};
use crate::text::{Name, fold};

/// An entry of the kept tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessEntry {
    Ban(Ban),
    Mute(Mute),
    Name(Registered),
}

impl AccessEntry {
    /// The key of the entry, which is the same for all spellings of a name.
    pub fn key(&self) -> String {
        let key = |kind: &str, name: &Name| format!("{kind} {}", fold(name.as_str()).collect::<String>());
        match self {
            AccessEntry::Ban(Ban { target: BanTarget::Network(network), .. }) => format!("ban {network}"),
            AccessEntry::Ban(Ban { target: BanTarget::Name(name), .. }) => key("ban", name),
            AccessEntry::Mute(mute) => key("mute", &mute.account),
            AccessEntry::Name(registered) => key("name", &registered.name),
        }
    }

    /// Whether the entry lasts at that time.
    pub fn is_active(&self, now_unix_millis: u64) -> bool {
        match self {
            AccessEntry::Ban(ban) => ban.is_active(now_unix_millis),
            AccessEntry::Mute(mute) => mute.is_active(now_unix_millis),
            AccessEntry::Name(_) => true,
        }
    }
}

/// A change of the kept tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessChange {
    /// The entry is new, or replaces the one with its key.
    Added(AccessEntry),
    /// A moderator has lifted the entry before its end.
    Lifted { entry: AccessEntry, by: Name },
}

/// The value that Redis has under the key of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessRecord {
    Entry(AccessEntry),
    /// A tombstone: processes that still have the entry delete it.
    Lifted {
        by: Name,
    },
}
