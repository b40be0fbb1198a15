//! Reasons for failed requests: [`Problem`].

use std::fmt;

use crate::text::{Name, NameError, RoomName, RoomNameError, Text};

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
    /// A client of another process had the name, or a confusable one, earlier. The client gets a guest name.
    NameLost {
        name: Name,
        to: Name,
    },
    NoSuchClient(Text),
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
                write!(f, "somebody on another server had the name {to} before you")
            }
            Problem::NameLost { name, to } => {
                write!(f, "somebody on another server had the name {to} before you, and {name} looks like it")
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
        }
    }
}
