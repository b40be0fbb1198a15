//! The part of the configuration file that is no flag: rooms, accounts and the filter.

use std::collections::BTreeMap;

use super::rights::{Identity, Role};
use super::token::TokenHash;
use crate::text::{Name, RoomName, Text};

/// Settings of access. Without a file they are empty: an open chat.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    pub rooms: BTreeMap<RoomName, RoomRules>,
    pub accounts: Vec<AccountSettings>,
    pub filter: Option<FilterSettings>,
}

impl Settings {
    /// The names of the sections that differ.
    pub fn changed(&self, other: &Settings) -> Vec<&'static str> {
        let rows = [
            ("rooms", self.rooms != other.rooms),
            ("accounts", self.accounts != other.accounts),
            ("filter", self.filter != other.filter),
        ];
        rows.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
    }
}

/// Longest topic of a room, in bytes.
pub const TOPIC_MAX_BYTES: usize = 512;

/// The rules of one room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomRules {
    pub enter: Allowed,
    pub speak: Allowed,
    pub topic: Option<Text>,
    /// Replaces `--history` in this room.
    pub history: Option<usize>,
    /// Whether the list of rooms shows it to clients that may not enter.
    pub listed: bool,
    /// Whether joins and leaves are announced.
    pub announce: bool,
}

impl RoomRules {
    /// The rules of a room without a section: everybody may enter and speak.
    pub const OPEN: RoomRules = RoomRules {
        enter: Allowed::Role(Role::Guest),
        speak: Allowed::Role(Role::Guest),
        topic: None,
        history: None,
        listed: true,
        announce: true,
    };
}

impl Default for RoomRules {
    fn default() -> RoomRules {
        RoomRules::OPEN
    }
}

/// The clients that have a right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Clients with this role or a higher one.
    Role(Role),
    /// These accounts, and administrators.
    Accounts(Vec<Name>),
}

impl Allowed {
    pub fn includes(&self, identity: &Identity) -> bool {
        match self {
            Allowed::Role(least) => identity.role >= *least,
            Allowed::Accounts(names) => {
                identity.role == Role::Admin || names.iter().any(|name| identity.is_of(name))
            }
        }
    }
}

/// An account of the configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountSettings {
    pub name: Name,
    /// At least [`Role::User`].
    pub role: Role,
    pub tokens: Vec<TokenHash>,
}

/// The filter of words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterSettings {
    /// Words, or parts of words marked by `*`.
    pub words: Vec<String>,
    pub action: FilterAction,
}

/// The treatment of a text with a word of the filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FilterAction {
    /// Each character of the word but white space becomes `*`.
    #[default]
    Mask,
    /// The sender gets an error.
    Refuse,
    /// The text is delivered, and moderators are sent a notice.
    Flag,
}
