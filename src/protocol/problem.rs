//! Why a request was not done: [`Problem`].

use std::fmt;

use crate::text::{Name, NameError, RoomName, RoomNameError, Text};

/// Why a request was not done. [`fmt::Display`] tells the client, and what to do instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The line is over the limit.
    LineTooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// The line is no UTF-8.
    NotUtf8,
    /// There is no such command.
    UnknownCommand(Text),
    /// The command lacks something, or has too much.
    Usage(&'static str),
    /// The name breaks a rule.
    BadName(NameError),
    /// Somebody else has the name.
    NameTaken(Name),
    /// Somebody else has a name that looks like it.
    NameAlike {
        /// The name that was wanted.
        name: Name,
        /// The name that it could be taken for.
        holder: Name,
    },
    /// Somebody on another process had the name first, or one that looks like it, and so the client has lost it.
    NameYielded {
        /// The name that the client had.
        name: Name,
        /// The name of the other.
        to: Name,
    },
    /// Nobody has the name.
    NobodyCalled(Text),
    /// The room's name breaks a rule.
    BadRoomName(RoomNameError),
    /// There is no such room.
    NoSuchRoom(RoomName),
    /// There are as many rooms as there may be.
    TooManyRooms,
    /// The client is in that room.
    AlreadyIn(RoomName),
    /// The client is not in that room.
    NotIn(RoomName),
    /// The client is in several rooms, or none, and has not said which it means.
    WhichRoom,
    /// The client is in as many rooms as it may be.
    TooManyJoined {
        /// The limit.
        max: usize,
    },
    /// The message is not of the form that the listener asks for.
    BadRequest(String),
    /// There is no request of that type.
    UnknownType(Text),
    /// The client still waits for a place.
    StillWaiting,
    /// Only who has a name can do that.
    NameFirst,
}

impl Problem {
    /// One word for programs. It stays the same when the wording changes.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::LineTooLong { .. } => "too_long",
            Problem::NotUtf8 => "not_utf8",
            Problem::UnknownCommand(_) => "unknown_command",
            Problem::Usage(_) => "usage",
            Problem::BadName(_) => "bad_name",
            Problem::NameTaken(_) | Problem::NameAlike { .. } | Problem::NameYielded { .. } => "name_taken",
            Problem::NobodyCalled(_) => "nobody",
            Problem::BadRoomName(_) => "bad_room",
            Problem::NoSuchRoom(_) => "no_such_room",
            Problem::TooManyRooms => "too_many_rooms",
            Problem::AlreadyIn(_) => "already_in",
            Problem::NotIn(_) => "not_in_room",
            Problem::WhichRoom => "which_room",
            Problem::TooManyJoined { .. } => "too_many_joined",
            Problem::BadRequest(_) => "bad_request",
            Problem::UnknownType(_) => "unknown_type",
            Problem::StillWaiting => "waiting",
            Problem::NameFirst => "name_first",
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
            Problem::NameAlike { name, holder } => {
                write!(f, "the name {name} is taken: it looks like {holder}, who is here. choose another")
            }
            Problem::NameYielded { name, to } if name.same_as(to.as_str()) => {
                write!(f, "somebody on another server had the name {to} before you")
            }
            Problem::NameYielded { name, to } => {
                write!(f, "somebody on another server had the name {to} before you, and {name} looks like it")
            }
            Problem::NobodyCalled(name) => write!(f, "nobody is called {name}. /who lists the names"),
            Problem::BadRoomName(error) => write!(f, "{error}"),
            Problem::NoSuchRoom(room) => write!(f, "there is no room {room}. /rooms lists the rooms"),
            Problem::TooManyRooms => {
                write!(f, "the server has as many rooms as it may. /rooms lists them")
            }
            Problem::AlreadyIn(room) => write!(f, "you are in {room} already"),
            Problem::NotIn(room) => write!(f, "you are not in {room}. join it first"),
            Problem::WhichRoom => write!(f, "say which room you mean"),
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
            Problem::NameFirst => write!(f, "give your name first, or an empty line to be a guest"),
        }
    }
}
