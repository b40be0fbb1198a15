//! Rights: one pure function, [`may`], answers whether an identity may perform an action.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::settings::{Allowed, RoomRules};
use crate::text::{Name, RoomName};

/// The role of a client. Each has all rights of those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Role {
    /// A client that has not logged in.
    #[default]
    Guest,
    User,
    Moderator,
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Guest, Role::User, Role::Moderator, Role::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Guest => "guest",
            Role::User => "user",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    /// # Errors
    /// The text is no role.
    fn from_str(raw: &str) -> Result<Role, String> {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == raw);
        role.ok_or_else(|| "a role is guest, user, moderator or admin".into())
    }
}

/// The right that a token of another application grants in a room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grant {
    /// Enter, and read.
    Read,
    /// Speak as well.
    Write,
}

/// The rooms that a token of another application names. It narrows the rights of the role: no other room can be entered.
pub type Grants = BTreeMap<RoomName, Grant>;

/// The account and the rights of a client. The default is a guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// `None` for a guest.
    pub account: Option<Name>,
    pub role: Role,
    /// `None`: all rooms, as the role may.
    pub grants: Option<Grants>,
}

impl Identity {
    /// Whether it is of that account, in any spelling.
    pub fn is_of(&self, account: &Name) -> bool {
        self.account.as_ref().is_some_and(|own| own.same_as(account.as_str()))
    }
}

/// A kind of request, by the right that it needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Log in, leave, quit, ask for help or a pong: allowed to every client.
    Connect,
    /// Take a name, send a private message, list rooms, ask about a client, be away, ignore: everything that is bound to no
    /// room.
    Converse,
    /// Enter a room, read its history, its events, its topic or its members.
    Enter,
    /// Send a message to a room, or publish into it.
    Speak,
    /// Change the topic of a room.
    SetTopic,
    /// Kick, mute, ban, lift a ban or a mute, list the bans, see addresses.
    Moderate,
}

impl Action {
    pub const ALL: [Action; 6] =
        [Action::Connect, Action::Converse, Action::Enter, Action::Speak, Action::SetTopic, Action::Moderate];
}

/// The circumstances of an action.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Whether guests must log in first (`--access login`).
    pub login_required: bool,
    /// The room of the action with its rules, if it has one.
    pub room: Option<(&'a RoomName, &'a RoomRules)>,
}

/// The reason why an action is not allowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Denied {
    /// The client must log in. With another identity it may be allowed.
    LoginRequired,
    /// The role or the account does not suffice.
    NoRight,
}

/// Whether `identity` may perform `action`.
///
/// # Errors
/// The reason why not.
pub fn may(identity: &Identity, action: Action, scope: Scope<'_>) -> Result<(), Denied> {
    if action == Action::Connect {
        return Ok(());
    }
    if scope.login_required && identity.account.is_none() {
        return Err(Denied::LoginRequired);
    }
    let by_role = match (action, scope.room) {
        (Action::Moderate, _) => identity.role >= Role::Moderator,
        (Action::SetTopic, Some((_, rules))) => {
            identity.role >= Role::Moderator && rules.enter.includes(identity)
        }
        (Action::Enter, Some((_, rules))) => rules.enter.includes(identity),
        (Action::Speak, Some((_, rules))) => {
            // A list of speakers keeps no moderator silent, but `speak = "admin"` does.
            let moderates = matches!(rules.speak, Allowed::Accounts(_)) && identity.role >= Role::Moderator;
            (rules.speak.includes(identity) || moderates) && rules.enter.includes(identity)
        }
        (Action::Connect | Action::Converse, _) => true,
        // Without a room there is nothing to protect; the request fails for another reason.
        (Action::Enter | Action::Speak | Action::SetTopic, None) => true,
    };
    match by_role && is_granted(identity, action, scope) {
        true => Ok(()),
        false if identity.account.is_none() => Err(Denied::LoginRequired),
        false => Err(Denied::NoRight),
    }
}

/// Whether the grants of the identity's token allow the action.
fn is_granted(identity: &Identity, action: Action, scope: Scope<'_>) -> bool {
    let Some((grants, (room, _))) = identity.grants.as_ref().zip(scope.room) else {
        return true;
    };
    let least = match action {
        Action::Enter => Grant::Read,
        Action::Speak | Action::SetTopic => Grant::Write,
        Action::Connect | Action::Converse | Action::Moderate => return true,
    };
    grants.get(room).is_some_and(|grant| *grant >= least)
}
