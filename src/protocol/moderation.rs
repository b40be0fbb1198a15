//! Actions of moderators: [`Moderation`].

use std::fmt;
use std::time::Duration;

use crate::access::BanTarget;
use crate::text::{Name, Text, TypedName};

/// An action of a moderator, by line, JSON or HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moderation {
    /// Disconnect a client.
    Kick {
        name: TypedName,
        reason: Option<Text>,
    },
    /// Refuse a client's messages, for ever if no time is given.
    Mute {
        name: TypedName,
        time: Option<Duration>,
    },
    Unmute {
        name: TypedName,
    },
    /// Keep a name or the clients of an address out.
    Ban {
        target: BanTarget,
        time: Option<Duration>,
        reason: Option<Text>,
    },
    Unban {
        target: BanTarget,
    },
    /// Delete a registered account, so that its name is free.
    Unregister {
        name: TypedName,
    },
    /// List the bans.
    Bans,
}

impl Moderation {
    /// The word of the command, the JSON type and the path.
    pub fn word(&self) -> &'static str {
        match self {
            Moderation::Kick { .. } => "kick",
            Moderation::Mute { .. } => "mute",
            Moderation::Unmute { .. } => "unmute",
            Moderation::Ban { .. } => "ban",
            Moderation::Unban { .. } => "unban",
            Moderation::Unregister { .. } => "unregister",
            Moderation::Bans => "bans",
        }
    }

    /// The target for the log.
    pub fn target(&self) -> String {
        match self {
            Moderation::Kick { name, .. } | Moderation::Mute { name, .. } => name.as_str().into(),
            Moderation::Unmute { name } | Moderation::Unregister { name } => name.as_str().into(),
            Moderation::Ban { target, .. } | Moderation::Unban { target } => target.to_string(),
            Moderation::Bans => "-".into(),
        }
    }

    /// The client whose name the action has.
    pub fn client(&self) -> Option<TypedName> {
        match self {
            Moderation::Kick { name, .. } | Moderation::Mute { name, .. } | Moderation::Unmute { name } => {
                Some(name.clone())
            }
            Moderation::Ban { target: BanTarget::Name(name), .. } => Some(TypedName::of(name)),
            Moderation::Ban { .. } | Moderation::Unban { .. } => None,
            Moderation::Unregister { .. } | Moderation::Bans => None,
        }
    }

    /// The reason that the moderator gave.
    pub fn reason(&self) -> Option<&Text> {
        match self {
            Moderation::Kick { reason, .. } | Moderation::Ban { reason, .. } => reason.as_ref(),
            Moderation::Mute { .. }
            | Moderation::Unmute { .. }
            | Moderation::Unban { .. }
            | Moderation::Unregister { .. }
            | Moderation::Bans => None,
        }
    }
}

/// The removal of a client by a moderator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    pub by: Name,
    pub reason: Option<Text>,
    /// The length of a ban; `None` for a kick.
    pub ban: Option<BanLength>,
}

/// The length of a ban or a mute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BanLength {
    For(Duration),
    /// Until a moderator lifts it.
    Unlimited,
}

impl From<Option<Duration>> for BanLength {
    fn from(time: Option<Duration>) -> BanLength {
        time.map_or(BanLength::Unlimited, BanLength::For)
    }
}

/// As in `for 2 h`, rounded up to the larger unit.
impl fmt::Display for BanLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BanLength::For(time) = self else {
            return f.write_str("until a moderator lifts it");
        };
        let seconds = time.as_millis().div_ceil(1000);
        match seconds {
            0..120 => write!(f, "for {seconds} s"),
            120..7_200 => write!(f, "for {} min", seconds.div_ceil(60)),
            7_200..172_800 => write!(f, "for {} h", seconds.div_ceil(3_600)),
            _ => write!(f, "for {} days", seconds.div_ceil(86_400)),
        }
    }
}

/// The sentence for the removed client, as in `ann has banned you for 2 h: spam`.
impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ban {
            None => write!(f, "{} has removed you", self.by)?,
            Some(length) => write!(f, "{} has banned you {length}", self.by)?,
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl Removal {
    /// The reason for the others in the room, behind `bob left`.
    pub fn for_others(&self) -> Option<Text> {
        let verb = if self.ban.is_some() { "banned" } else { "kicked" };
        match &self.reason {
            Some(reason) => Text::clean(&format!("{verb} by {}: {reason}", self.by)),
            None => Text::clean(&format!("{verb} by {}", self.by)),
        }
    }
}
