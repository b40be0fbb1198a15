//! What can be said, in words that belong to no listener: a [`Request`] of a client, an [`Event`] it is told.
//!
//! A codec turns bytes into requests and events into bytes; the chat turns requests into events. Neither knows the
//! other.

mod close;
mod exchange;
mod position;
mod problem;
mod sender;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use crate::text::{Name, RoomName, Text, clean};

pub use close::CloseReason;
pub use exchange::{LocalEvent, Presence, RemoteEvent};
pub use position::{Epoch, Position, PositionError};
pub use problem::Problem;
pub use sender::{Sender, UNIQUE_ID_MAX_BYTES, UniqueId};

/// What a client speaks, and so how it hears what happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// Lines: `nc`, `telnet`.
    Line,
    /// JSON objects in WebSocket messages.
    Json,
    /// A program's own WebSocket messages, as they are.
    Raw,
    /// Server-sent events: it hears, and says nothing.
    Events,
    /// Redis's protocol, that of clients of other processes: what is for them goes out by the link.
    Redis,
    /// HTTP requests: not a client of the chat.
    Http,
}

impl Dialect {
    /// Those that clients of this process in rooms speak, in the order of their numbers.
    pub const IN_ROOMS: [Dialect; 4] = [Dialect::Line, Dialect::Json, Dialect::Raw, Dialect::Events];

    /// Whether it is spoken in WebSocket frames.
    pub fn is_websocket(self) -> bool {
        matches!(self, Dialect::Json | Dialect::Raw)
    }

    /// One word for the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Line => "line",
            Dialect::Json => "json",
            Dialect::Raw => "raw",
            Dialect::Events => "events",
            Dialect::Redis => "redis",
            Dialect::Http => "http",
        }
    }
}

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Be called that; also the answer to the question for a name.
    Nick(Name),
    /// Answer the question for a name by keeping the guest name.
    StayGuest,
    /// Say something to a room.
    Say {
        /// Which (`None`: the one it is in).
        room: Option<RoomName>,
        /// Said or done.
        kind: MessageKind,
        /// What.
        body: Body,
        /// Whether the message itself is to come back, so that the client knows that it was accepted.
        receipt: bool,
    },
    /// Pass a program's message on to the room's other programs; a text is heard by everybody else too.
    Relay(Payload),
    /// Say it to one client only.
    Private {
        /// The name, as it was typed.
        to: Text,
        /// The message.
        text: Text,
        /// Whether it is to come back.
        receipt: bool,
    },
    /// Who is in the room (`None`: in one's own).
    Who(Option<RoomName>),
    /// Which rooms there are.
    Rooms,
    /// Go to that room.
    Join {
        /// Which.
        room: RoomName,
        /// How much of its history to show (`None`: as much as everybody sees).
        history: Option<usize>,
        /// Whether the client's own messages are to come back to it.
        echo: bool,
    },
    /// Leave that room; without one, go back to the lobby.
    Leave(Option<RoomName>),
    /// Show a room's last messages.
    History {
        /// Which (`None`: the one it is in).
        room: Option<RoomName>,
        /// How many (`None`: as many as on joining).
        count: Option<usize>,
        /// The first ones behind that number, instead of the last.
        after: Option<u64>,
    },
    /// Say good-bye.
    Quit(Option<Text>),
    /// List the commands.
    Help,
    /// Answer, so that the client knows how far the server has read.
    Ping,
}

impl Request {
    /// Bytes of text and data in it that others are sent.
    pub fn said_bytes(&self) -> usize {
        match self {
            Request::Say { body, .. } => body.len(),
            Request::Relay(payload) => payload.len(),
            Request::Private { text, .. } => text.as_str().len(),
            Request::Quit(reason) => reason.as_ref().map_or(0, |reason| reason.as_str().len()),
            _ => 0,
        }
    }

    /// Whether a client must have a name for it.
    pub fn needs_name(&self) -> bool {
        match self {
            Request::Say { .. } | Request::Relay(_) | Request::Private { .. } => true,
            Request::Join { .. } | Request::Leave(_) | Request::History { .. } => true,
            Request::Nick(_) | Request::StayGuest | Request::Quit(_) => false,
            Request::Who(_) | Request::Rooms | Request::Help | Request::Ping => false,
        }
    }
}

/// What a client brings along that enters by a listener where nobody is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// What it speaks.
    pub dialect: Dialect,
    /// What it wants to be called.
    pub name: Option<Name>,
    /// Where it goes first.
    pub room: Option<RoomName>,
    /// How much of that room's history to show (`None`: as much as everybody sees).
    pub history: Option<usize>,
    /// Whether its own messages are to come back to it.
    pub echo: bool,
    /// How far it has heard that room, if it was here before and says so; an error if that can't be read.
    pub heard: Option<Result<Position, PositionError>>,
    /// What could not be read of what it asked for.
    pub problems: Vec<Problem>,
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A line of the message of the day.
    Greeting(Text),
    /// The question for a name.
    AskName,
    /// The client is in the chat, under that name.
    Welcome {
        /// Names it for ever.
        id: UniqueId,
        /// Its name.
        name: Name,
    },
    /// The client is in a room: at first, and after each move.
    YouJoined {
        /// The client.
        by: UniqueId,
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
        /// What the room's numbers belong to.
        epoch: Epoch,
        /// The room's last number.
        seq: u64,
        /// Who has heard the room up to a lower number may have missed something that did not come here.
        since: u64,
    },
    /// The client has left a room, and is in no other for it.
    YouLeft {
        /// The client.
        by: UniqueId,
        /// Its name.
        name: Name,
        /// The room.
        room: RoomName,
        /// How many are there now.
        count: usize,
    },
    /// Somebody said something in the room.
    Message {
        /// Where.
        room: RoomName,
        /// What its number belongs to.
        epoch: Epoch,
        /// What.
        message: Rc<Message>,
    },
    /// A program passed something on.
    Relayed(Payload),
    /// One message from before the client came.
    HistoryEntry {
        /// What was said.
        message: Rc<Message>,
        /// How long ago.
        age: Duration,
    },
    /// There is no history to show.
    HistoryEmpty,
    /// What was said before, in one piece.
    History {
        /// Where.
        room: RoomName,
        /// What their numbers belong to.
        epoch: Epoch,
        /// What, the oldest first.
        messages: Vec<Rc<Message>>,
    },
    /// A message for this client only.
    Private {
        /// The client that sent it; `None` if its process is too old to say.
        by: Option<UniqueId>,
        /// Its name.
        from: Name,
        /// What.
        text: Text,
    },
    /// The client's own message has reached that one.
    PrivateSent {
        /// The client itself.
        by: UniqueId,
        /// Its name.
        from: Name,
        /// To whom.
        to: Name,
        /// What.
        text: Text,
    },
    /// Somebody came into the room.
    Joined {
        /// The client that did.
        by: UniqueId,
        /// Its name.
        name: Name,
        /// Where.
        room: RoomName,
        /// How many are there now.
        count: usize,
    },
    /// Somebody left the room.
    Left {
        /// The client that did.
        by: UniqueId,
        /// Its name.
        name: Name,
        /// Where.
        room: RoomName,
        /// Why, if it is worth telling.
        reason: Option<Text>,
        /// How many are there now.
        count: usize,
    },
    /// What happened lately in a room too large to tell each time.
    Crowd {
        /// Where.
        room: RoomName,
        /// How many came.
        joined: u32,
        /// How many left.
        left: u32,
        /// How many are there now.
        count: usize,
    },
    /// Somebody in the room has another name now.
    Renamed {
        /// Where.
        room: RoomName,
        /// The client.
        by: UniqueId,
        /// The old name.
        from: Name,
        /// The new name.
        to: Name,
    },
    /// The client itself has another name now.
    YouAre {
        /// The client itself.
        by: UniqueId,
        /// The old name.
        from: Name,
        /// The new name.
        to: Name,
    },
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
    Missed {
        /// Where, if it was in a room.
        room: Option<RoomName>,
        /// How many.
        count: u64,
    },
    /// Who has come back can't be told all that was said since: so many messages are no longer remembered.
    Gap {
        /// Where.
        room: RoomName,
        /// How many; `None` if that can't be known, and it may be none. Where it has heard the room by other numbers, what
        /// it is told now may be what it has heard already.
        count: Option<u64>,
    },
    /// Who listens has heard all that was said up to there, or was told what is missing.
    Position(Position),
    /// Messages for a room were lost on the way from other processes.
    Lost {
        /// Where.
        room: RoomName,
        /// How many; `None` if that can't be known, and it may be none.
        count: Option<u64>,
    },
    /// The other processes of the chat are out of reach.
    Disconnected,
    /// They are within reach again.
    Connected,
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
    /// The name it was said under.
    pub from: Name,
    /// Its sender, which a name can't prove.
    pub sender: Sender,
    /// Said or done.
    pub kind: MessageKind,
    /// What.
    pub body: Body,
    /// Its number among the room's messages, ascending from 1. Some are nobody's: those of gaps.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_millis: u64,
}

/// How a message is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// `ann: hi`
    Say,
    /// `* ann waves`
    Emote,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Words, for people.
    Text(Text),
    /// A JSON value, for programs: well formed, without white space between its parts.
    Data(Box<str>),
}

impl Body {
    /// As people see it who read lines.
    pub fn as_line(&self) -> Cow<'_, str> {
        match self {
            Body::Text(text) => text.one_line(),
            Body::Data(json) => clean(json),
        }
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Text(text) => text.as_str().len(),
            Body::Data(json) => json.len(),
        }
    }

    /// Whether nothing is said; no parsed body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A program's message, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Text.
    Text(Box<str>),
    /// Anything else.
    Binary(Box<[u8]>),
}

impl Payload {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it says to people, if it is a text that says anything.
    pub fn words(&self) -> Option<Text> {
        match self {
            Payload::Text(text) => Text::clean_lines(text),
            Payload::Binary(_) => None,
        }
    }
}
