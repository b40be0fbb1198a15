//! What can be said, in words that belong to no door: a [`Request`] of a client, an [`Event`] it is told.
//!
//! A codec turns bytes into requests and events into bytes; the chat turns requests into events. Neither knows the
//! other.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::text::{Name, NameError, RoomName, RoomNameError, Text};

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Be called that; also the answer to the question for a name.
    Nick(Name),
    /// Answer the question for a name by keeping the guest name.
    StayGuest,
    /// Say it to the room.
    Say(Text),
    /// Do it, told in the third person.
    Me(Text),
    /// Say it to one client only.
    Tell {
        /// The name, as it was typed.
        to: Text,
        /// The message.
        text: Text,
    },
    /// Who is in the room (`None`: in one's own).
    Who(Option<RoomName>),
    /// Which rooms there are.
    Rooms,
    /// Go to that room.
    Join(RoomName),
    /// Go back to the lobby.
    Leave,
    /// Show the room's last messages (`None`: as many as on joining).
    History(Option<usize>),
    /// Say good-bye.
    Quit(Option<Text>),
    /// List the commands.
    Help,
    /// Answer, so that the client knows how far the server has read.
    Ping,
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A line of the message of the day.
    Greeting(Text),
    /// The question for a name.
    WhatName,
    /// The client is in a room: at first, and after each move.
    Entered {
        /// Its name.
        name: Name,
        /// Whether this is its first room, after it has given its name.
        first: bool,
        /// The room.
        room: RoomName,
        /// Some of the other members.
        others: Vec<Name>,
        /// How many more there are.
        more: usize,
    },
    /// Somebody said something in the room.
    Message(Rc<Message>),
    /// The same, from before the client came.
    Past {
        /// What was said.
        message: Rc<Message>,
        /// How long ago.
        age: Duration,
    },
    /// There is no history to show.
    NoPast,
    /// A message for this client only.
    Private {
        /// Who says so.
        from: Name,
        /// What.
        text: Text,
    },
    /// Somebody came into the room.
    Joined(Name),
    /// Somebody left the room.
    Left {
        /// Who.
        name: Name,
        /// Why, if it is worth telling.
        reason: Option<Text>,
    },
    /// What happened lately in a room too large to tell each time.
    Crowd {
        /// How many came.
        joined: u32,
        /// How many left.
        left: u32,
        /// How many are there now.
        count: usize,
    },
    /// Somebody has another name now.
    Renamed {
        /// The old name.
        from: Name,
        /// The new name.
        to: Name,
    },
    /// The client itself has another name now.
    YouAre(Name),
    /// Who is in a room.
    Who {
        /// The room.
        room: RoomName,
        /// Some members.
        names: Vec<Name>,
        /// How many more there are.
        more: usize,
    },
    /// Which rooms there are, the largest first.
    Rooms {
        /// Some rooms, with the number of members.
        rooms: Vec<(RoomName, usize)>,
        /// How many more there are.
        more: usize,
    },
    /// The commands.
    Help,
    /// The answer to [`Request::Ping`].
    Pong,
    /// The client sends faster than it may and is read more slowly.
    Delayed,
    /// So many messages were left out because the client read too slowly.
    Missed(u64),
    /// The server has no place yet; so many are to be served first, this one included.
    Waiting(usize),
    /// A request could not be done.
    Problem {
        /// Why.
        problem: Problem,
        /// Whether the client still has to give a name.
        unnamed: bool,
    },
    /// The connection ends.
    Bye(CloseReason),
}

/// Something said in a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who said it, by the name at that time.
    pub from: Name,
    /// Said or done.
    pub manner: Manner,
    /// What.
    pub text: Text,
    /// Its place among the room's messages, from 1.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_millis: u64,
}

/// How a message is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// `ann: hi`
    Say,
    /// `* ann waves`
    Act,
}

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
    /// Only who has a name can do that.
    NameFirst,
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
            Problem::NobodyCalled(name) => write!(f, "nobody is called {name}. /who lists the names"),
            Problem::BadRoomName(error) => write!(f, "{error}"),
            Problem::NoSuchRoom(room) => write!(f, "there is no room {room}. /rooms lists the rooms"),
            Problem::TooManyRooms => {
                write!(f, "the server has as many rooms as it may. /rooms lists them")
            }
            Problem::AlreadyIn(room) => write!(f, "you are in {room} already"),
            Problem::NameFirst => write!(f, "give your name first, or an empty line to be a guest"),
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The client said `/quit`.
    Quit,
    /// The client closed its side, and all it had sent was dealt with.
    EndOfInput,
    /// The connection broke: reset, timed out, host gone.
    Lost,
    /// The write buffer reached its hard limit.
    BufferFull,
    /// The write buffer stayed over its soft limit too long.
    BufferHigh,
    /// Nothing was taken of what waits for too long.
    Stalled,
    /// All clients together held too much, and this one most.
    ServerMemory,
    /// No name was given in time.
    NoName,
    /// Nothing was sent for too long.
    Idle,
    /// A line would not end.
    EndlessLine,
    /// No place, and no place to wait.
    Full,
    /// Too many connections from the same address.
    TooManyFromAddress,
    /// The server ends.
    Shutdown,
}

impl CloseReason {
    /// One word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Quit => "quit",
            CloseReason::EndOfInput => "end-of-input",
            CloseReason::Lost => "lost",
            CloseReason::BufferFull => "buffer-full",
            CloseReason::BufferHigh => "buffer-high",
            CloseReason::Stalled => "stalled",
            CloseReason::ServerMemory => "server-memory",
            CloseReason::NoName => "no-name",
            CloseReason::Idle => "idle",
            CloseReason::EndlessLine => "endless-line",
            CloseReason::Full => "full",
            CloseReason::TooManyFromAddress => "too-many-from-address",
            CloseReason::Shutdown => "shutdown",
        }
    }

    /// Whether the server gave up on a client that does not read.
    pub fn is_drop(self) -> bool {
        use CloseReason::{BufferFull, BufferHigh, ServerMemory, Stalled};
        matches!(self, BufferFull | BufferHigh | Stalled | ServerMemory)
    }

    /// What the client itself is told; `None` if it does not want to know or can't be told.
    pub fn farewell(self) -> Option<&'static str> {
        Some(match self {
            CloseReason::EndOfInput | CloseReason::Lost => return None,
            CloseReason::Quit => "bye",
            CloseReason::BufferFull => "you were dropped: too much was waiting for you to read it",
            CloseReason::BufferHigh => "you were dropped: you were behind with reading for too long",
            CloseReason::Stalled => "you were dropped: you stopped reading",
            CloseReason::ServerMemory => "you were dropped: the server ran short of memory for what waits",
            CloseReason::NoName => "you gave no name in time. connect again to try again",
            CloseReason::Idle => "you were idle for too long. connect again to go on",
            CloseReason::EndlessLine => "your line does not end. good-bye",
            CloseReason::Full => "the server is full. try again later",
            CloseReason::TooManyFromAddress => {
                "too many connections from your address. close one of them first"
            }
            CloseReason::Shutdown => "the server is shutting down",
        })
    }

    /// What the rest of the room is told behind `ann left`.
    pub fn told_others(self) -> Option<Text> {
        match self {
            reason if reason.is_drop() => Text::clean("too slow"),
            CloseReason::Idle => Text::clean("idle"),
            _ => None,
        }
    }
}
