//! Reasons for failed requests: [`Problem`].

use std::fmt;

use super::moderation::BanLength;
use crate::access::{Action, Role};
use crate::text::{Name, NameError, RoomName, RoomNameError, Text, TypedName};

/// The reason why a request failed. [`fmt::Display`] is the text for the client: what failed, and what to do instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    LineTooLong {
        max_bytes: usize,
    },
    NotUtf8,
    UnknownCommand(Text),
    /// The command has missing or surplus arguments.
    Usage(&'static str),
    BadName(NameError),
    NameTaken(Name),
    /// Another client has a name that looks like it (UTS 39).
    NameConfusable {
        name: Name,
        holder: Name,
    },
    /// A client of another process has the name, or a confusable one. The client gets a guest name.
    NameLost {
        name: Name,
        to: Name,
    },
    NoSuchClient(TypedName),
    BadRoomName(RoomNameError),
    NoSuchRoom(RoomName),
    TooManyRooms,
    AlreadyIn(RoomName),
    NotIn(RoomName),
    /// The request names no room, and the client is in none or in several.
    RoomRequired,
    TooManyJoined {
        max: usize,
    },
    /// The JSON is malformed, or a field is missing or invalid.
    BadRequest(String),
    UnknownType(Text),
    /// The client is still in the queue of a full server.
    StillWaiting,
    /// The request needs a name.
    NameRequired,
    /// The name is that of an account, or looks like it.
    NameRegistered(Name),
    /// The owner of the name has logged in, so the client gets a guest name.
    NameClaimed {
        name: Name,
        to: Name,
    },
    /// A newer session of the client's own account has its name, so the client gets a guest name.
    NameTakenOver {
        name: Name,
        to: Name,
    },
    /// The request needs an account.
    LoginRequired,
    /// The role or the token does not allow the request.
    NotAllowed {
        action: Action,
        room: Option<RoomName>,
    },
    /// The name or the token is wrong.
    LoginFailed,
    /// Too many failed logins came from the address.
    TooManyLogins,
    /// `--registration` is off.
    RegistrationOff,
    /// A guest name can't be registered, and an account is registered already.
    CantRegister,
    Muted(BanLength),
    Banned(BanLength),
    /// The client to be moderated has a role that is not below the moderator's.
    RoleTooHigh {
        name: Name,
        role: Role,
    },
    /// The client is connected to another process, which does not answer.
    Unreachable(Name),
    /// Redis is away, so a message can't be kept.
    NotKept,
    /// Redis went away before it confirmed a message. It gets the message again.
    NotConfirmed,
    NotBanned(String),
    NotMuted(Name),
    /// No client has registered the name.
    NotRegistered(TypedName),
    /// The text has a word that the server's filter refuses.
    Filtered,
    TooManyIgnored {
        max: usize,
    },
    /// There was no private message to answer.
    NobodyToAnswer,
    /// The action holds, but could not be written to the state file.
    NotSaved(String),
    /// The action can't be carried out for that reason.
    CantModerate(String),
}

impl Problem {
    /// The word for programs. It stays the same when the text changes.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::LineTooLong { .. } => "too_long",
            Problem::NotUtf8 => "not_utf8",
            Problem::UnknownCommand(_) => "unknown_command",
            Problem::Usage(_) => "usage",
            Problem::BadName(_) => "bad_name",
            Problem::NameTaken(_) | Problem::NameConfusable { .. } | Problem::NameLost { .. } => "name_taken",
            Problem::NoSuchClient(_) => "nobody",
            Problem::BadRoomName(_) => "bad_room",
            Problem::NoSuchRoom(_) => "no_such_room",
            Problem::TooManyRooms => "too_many_rooms",
            Problem::AlreadyIn(_) => "already_in",
            Problem::NotIn(_) => "not_in_room",
            Problem::RoomRequired => "which_room",
            Problem::TooManyJoined { .. } => "too_many_joined",
            Problem::BadRequest(_) => "bad_request",
            Problem::UnknownType(_) => "unknown_type",
            Problem::StillWaiting => "waiting",
            Problem::NameRequired => "name_first",
            Problem::NameRegistered(_) | Problem::NameClaimed { .. } => "name_registered",
            Problem::NameTakenOver { .. } => "name_taken",
            Problem::LoginRequired => "login_required",
            Problem::NotAllowed { .. } => "not_allowed",
            Problem::LoginFailed => "login_failed",
            Problem::TooManyLogins => "too_many_logins",
            Problem::RegistrationOff => "registration_off",
            Problem::CantRegister => "cant_register",
            Problem::Muted(_) => "muted",
            Problem::Banned(_) => "banned",
            Problem::RoleTooHigh { .. } => "role_too_high",
            Problem::Unreachable(_) => "unreachable",
            Problem::NotKept => "not_kept",
            Problem::NotConfirmed => "not_confirmed",
            Problem::NotBanned(_) => "not_banned",
            Problem::NotMuted(_) => "not_muted",
            Problem::NotRegistered(_) => "not_registered",
            Problem::Filtered => "filtered",
            Problem::TooManyIgnored { .. } => "too_many_ignored",
            Problem::NobodyToAnswer => "nobody",
            Problem::NotSaved(_) => "not_saved",
            Problem::CantModerate(_) => "cant_moderate",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::LineTooLong { max_bytes } => {
                write!(f, "that line was not sent: it is over {max_bytes} bytes")
            }
            Problem::NotUtf8 => write!(f, "that line was not sent: it is not UTF-8"),
            Problem::UnknownCommand(command) => {
                write!(f, "there is no command /{command}. /help lists the commands, //text says /text")
            }
            Problem::Usage(usage) => write!(f, "usage: {usage}"),
            Problem::BadName(error) => write!(f, "{error}"),
            Problem::NameTaken(name) => write!(f, "the name {name} is taken"),
            Problem::NameConfusable { name, holder } => {
                write!(f, "the name {name} is taken: it looks like {holder}, who is here. choose another")
            }
            Problem::NameLost { name, to } if name.same_as(to.as_str()) => {
                write!(f, "somebody on another server has the name {to} now")
            }
            Problem::NameLost { name, to } => {
                write!(f, "somebody on another server has the name {to} now, and {name} looks like it")
            }
            Problem::NoSuchClient(name) => write!(f, "nobody is called {name}. /who lists the names"),
            Problem::BadRoomName(error) => write!(f, "{error}"),
            Problem::NoSuchRoom(room) => write!(f, "there is no room {room}. /rooms lists the rooms"),
            Problem::TooManyRooms => {
                write!(f, "the server has as many rooms as it may. /rooms lists them")
            }
            Problem::AlreadyIn(room) => write!(f, "you are in {room} already"),
            Problem::NotIn(room) => write!(f, "you are not in {room}. join it first"),
            Problem::RoomRequired => write!(f, "say which room you mean"),
            Problem::TooManyJoined { max } => {
                write!(f, "you are in {max} rooms, as many as you may be. leave one")
            }
            Problem::BadRequest(what) => write!(f, "{what}"),
            Problem::UnknownType(kind) => write!(f, "there is no request of type {kind}"),
            Problem::StillWaiting => {
                write!(
                    f,
                    "that was not done: the server is full and you have no place yet. wait for the welcome"
                )
            }
            Problem::NameRequired => write!(f, "give your name first, or an empty line to be a guest"),
            problem => problem.fmt_access(f),
        }
    }
}

impl Problem {
    /// Writes the text of a problem with accounts, rights or moderation.
    fn fmt_access(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NameRegistered(name) => {
                write!(f, "the name {name} is registered. its owner logs in with /login {name} TOKEN")
            }
            Problem::NameClaimed { name, to } => {
                write!(f, "the owner of the name {name} has logged in, so you are {to} now")
            }
            Problem::NameTakenOver { name, to } => {
                write!(f, "you have logged in elsewhere as {name}, so you are {to} here now")
            }
            Problem::LoginRequired => write!(f, "that needs an account. log in with /login NAME TOKEN"),
            Problem::NotAllowed { action, room } => not_allowed(*action, room.as_ref(), f),
            Problem::LoginFailed => write!(f, "the name or the token is wrong, or the token has expired"),
            Problem::TooManyLogins => {
                write!(f, "too many logins from your address have failed. wait a moment and try again")
            }
            Problem::RegistrationOff => {
                write!(f, "names can't be registered here. ask an administrator for an account")
            }
            Problem::CantRegister => {
                write!(
                    f,
                    "you have an account, or only a guest name. a guest takes a free name first: /nick NAME"
                )
            }
            Problem::Muted(length) => write!(f, "a moderator has muted you {length}"),
            Problem::Banned(length) => write!(f, "a moderator has banned that name {length}"),
            Problem::RoleTooHigh { name, role } => {
                write!(f, "{name} is {role}, and you can only act on roles below your own")
            }
            Problem::NotKept => write!(f, "Redis is away, so the message is not kept; try again later"),
            Problem::NotConfirmed => write!(
                f,
                "Redis has not confirmed the message. it gets it again when it is back, so don't publish it again"
            ),
            Problem::Unreachable(name) => {
                write!(f, "{name} is connected to another server, which does not answer. try again later")
            }
            Problem::NotBanned(target) => write!(f, "there is no ban of {target}. /bans lists them"),
            Problem::NotRegistered(name) => write!(f, "nobody has registered the name {name}"),
            Problem::NotMuted(name) => write!(f, "{name} is not muted"),
            Problem::Filtered => write!(f, "that was not sent: it has a word that is not allowed here"),
            Problem::TooManyIgnored { max } => {
                write!(f, "you ignore {max} names, as many as you may. /unignore one")
            }
            Problem::NobodyToAnswer => write!(f, "nobody has sent you a private message yet"),
            Problem::NotSaved(error) => {
                write!(f, "that holds until the server restarts, since it could not be saved: {error}")
            }
            Problem::CantModerate(reason) => write!(f, "{reason}"),
            other => {
                debug_assert!(false, "{} is no problem of access", other.code());
                f.write_str(other.code())
            }
        }
    }
}

fn not_allowed(action: Action, room: Option<&RoomName>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (action, room) {
        (Action::Enter, Some(room)) => write!(f, "you may not enter {room}"),
        (Action::Speak, Some(room)) => write!(f, "you may read in {room}, but not speak"),
        (Action::SetTopic, _) => write!(f, "only moderators may set the topic"),
        (Action::Moderate, _) => write!(f, "only moderators may do that"),
        (Action::Connect | Action::Converse | Action::Enter | Action::Speak, _) => {
            write!(f, "you may not do that")
        }
    }
}
