//! The types between the codecs and the chat: a client sends a [`Request`] and receives [`Event`]s.
//!
//! A codec turns bytes into requests and events into bytes; the chat turns requests into events. Neither imports the
//! other.

mod close;
mod exchange;
mod forward;
mod message;
mod moderation;
mod need;
mod position;
mod problem;
mod sender;

use std::rc::Rc;
use std::time::Duration;

use crate::access::{Ban, Login, LoginToken, Role};
use crate::text::{Name, RoomName, Text, TypedName};

pub use close::CloseReason;
pub use exchange::{
    Change, ClaimOver, Facts, Gap, Holder, LocalEvent, MESSAGE_ID_MAX_BYTES, Members, MessageId, Order,
    Presence, Question, RemoteEvent, RoomPosition,
};
pub use forward::{ForwardedAnswer, ForwardedBy, ForwardedRequest, Moderator, Outcome};
pub use message::{Body, Message, MessageKind, Payload};
pub use moderation::{BanLength, Moderation, Removal};
pub use need::{Need, Place};
pub use position::{Epoch, Position, PositionError};
pub use problem::Problem;
pub use sender::{Sender, UNIQUE_ID_MAX_BYTES, UniqueId};

/// The protocol of a connection, which decides how its events are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// Lines: `nc`, `telnet`.
    Line,
    /// JSON objects in WebSocket messages.
    Json,
    /// A program's own WebSocket messages, unchanged.
    Raw,
    /// Server-sent events: the client only receives.
    Events,
    /// HTTP requests: the connection is not a client of the chat.
    Http,
}

impl Dialect {
    /// The dialects that clients of this process can have in a room, in the order of their discriminants.
    pub const IN_ROOMS: [Dialect; 4] = [Dialect::Line, Dialect::Json, Dialect::Raw, Dialect::Events];

    pub fn is_websocket(self) -> bool {
        matches!(self, Dialect::Json | Dialect::Raw)
    }

    /// The word for the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Line => "line",
            Dialect::Json => "json",
            Dialect::Raw => "raw",
            Dialect::Events => "events",
            Dialect::Http => "http",
        }
    }
}

/// A request of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Take a name. It also answers [`Event::AskName`].
    Nick(Name),
    /// Keep the guest name. It answers [`Event::AskName`].
    StayGuest,
    Say {
        /// `None`: the client's only room.
        room: Option<RoomName>,
        kind: MessageKind,
        body: Body,
        /// Send the message back to its author as a receipt.
        receipt: bool,
    },
    /// Relay a program's message to the other raw clients of the room. All other members receive it too if it is text.
    Relay(Payload),
    Private {
        to: TypedName,
        text: Text,
        receipt: bool,
    },
    /// List the members of a room (`None`: of the client's only room).
    Who(Option<RoomName>),
    Rooms,
    Join {
        room: RoomName,
        /// Number of messages to show (`None`: the configured default).
        history: Option<usize>,
        /// Send the client's own messages in that room back to it.
        echo: bool,
        /// Send the messages after this position of an earlier visit instead of the last ones.
        since: Option<Position>,
    },
    /// Leave a room (`None`: the only one). A line client goes home.
    Leave(Option<RoomName>),
    History {
        /// `None`: the client's only room.
        room: Option<RoomName>,
        /// Number of messages (`None`: as many as on joining).
        count: Option<usize>,
        /// Show the first messages behind this sequence number instead of the last messages.
        after: Option<u64>,
    },
    /// Log in to an account by its token.
    Login {
        /// `None`: the account of the token, or the one whose token was asked for.
        name: Option<Name>,
        token: LoginToken,
    },
    /// Register the client's own name as an account.
    Register,
    /// Show the topic of a room, or change it.
    Topic {
        /// `None`: the client's only room.
        room: Option<RoomName>,
        text: Option<Topic>,
    },
    Moderate(Moderation),
    /// Ask about a client.
    Whois(TypedName),
    /// Send a text to the client of the last private message.
    Answer(Text),
    /// Leave out messages under that name; `None`: list the names.
    Ignore(Option<TypedName>),
    Unignore(TypedName),
    /// Tell the senders of private messages that the client is away; `None`: that it is back.
    Away(Option<Text>),
    Quit(Option<Text>),
    Help,
    /// Ask for a [`Event::Pong`], which shows how far the server has read.
    Ping,
}

impl Request {
    /// Bytes of text and data that other clients may receive.
    pub fn content_bytes(&self) -> usize {
        match self {
            Request::Say { body, .. } => body.len(),
            Request::Relay(payload) => payload.len(),
            Request::Private { text, .. } => text.as_str().len(),
            Request::Answer(text) => text.as_str().len(),
            Request::Quit(text) | Request::Away(text) | Request::Topic { text: Some(Topic(text)), .. } => {
                text.as_ref().map_or(0, |text| text.as_str().len())
            }
            Request::Moderate(moderation) => moderation.reason().map_or(0, |reason| reason.as_str().len()),
            Request::Nick(_) | Request::StayGuest | Request::Join { .. } | Request::Leave(_) => 0,
            Request::Login { .. } | Request::Register | Request::Topic { text: None, .. } => 0,
            Request::Whois(_) | Request::Ignore(_) | Request::Unignore(_) => 0,
            Request::Who(_) | Request::Rooms | Request::History { .. } | Request::Help | Request::Ping => 0,
        }
    }

    /// Whether the client must have a name first.
    pub fn needs_name(&self) -> bool {
        match self {
            Request::Say { .. } | Request::Relay(_) | Request::Private { .. } => true,
            Request::Join { .. } | Request::Leave(_) | Request::History { .. } => true,
            Request::Register | Request::Topic { .. } | Request::Moderate(_) => true,
            Request::Answer(_) | Request::Away(_) => true,
            Request::Ignore(_) | Request::Unignore(_) => true,
            Request::Nick(_) | Request::StayGuest | Request::Quit(_) => false,
            Request::Login { .. } | Request::Whois(_) => false,
            Request::Who(_) | Request::Rooms | Request::Help | Request::Ping => false,
        }
    }
}

/// The longest text that the server keeps for a client: a topic, an away text, or the reason of a ban. In bytes.
pub const KEPT_TEXT_MAX_BYTES: usize = crate::access::TOPIC_MAX_BYTES;

/// Parses a text that the server keeps; `None` if it is blank. `what` is its name in an error: "a topic".
///
/// # Errors
/// [`Problem::BadRequest`]: it is too long.
pub fn kept_text(what: &str, raw: &str) -> Result<Option<Text>, Problem> {
    let text = Text::clean(raw);
    match text.as_ref().is_some_and(|text| text.as_str().len() > KEPT_TEXT_MAX_BYTES) {
        true => Err(Problem::BadRequest(format!("{what} has at most {KEPT_TEXT_MAX_BYTES} bytes"))),
        false => Ok(text),
    }
}

/// A new topic of a room; `None` removes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic(pub Option<Text>);

impl Topic {
    /// Parses a topic of one line. An empty text removes the topic.
    ///
    /// # Errors
    /// [`Problem::BadRequest`]: it is too long.
    pub fn parse(raw: &str) -> Result<Topic, Problem> {
        kept_text("a topic", raw).map(Topic)
    }
}

/// The parameters of a client that enters by HTTP, where no name is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub dialect: Dialect,
    pub name: Option<Name>,
    pub room: Option<RoomName>,
    /// Number of messages of the room's history to show (`None`: the configured default).
    pub history: Option<usize>,
    /// Send the client's own messages back to it.
    pub echo: bool,
    /// The position up to which a returning client has received the room; an error if it is malformed.
    pub last_position: Option<Result<Position, PositionError>>,
    /// The result of the token in the request; `None` without a token.
    pub login: Option<Result<Login, Problem>>,
    /// Parameters that are invalid. The client is sent an error for each after it has entered.
    pub problems: Vec<Problem>,
}

/// A message from the server to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A line of the message of the day.
    Greeting(Text),
    AskName,
    /// The name that the client has given is that of an account. Its next line is the token.
    AskToken(Name),
    /// The client is in the chat.
    Welcome {
        id: UniqueId,
        name: Name,
    },
    /// The client has entered a room.
    YouJoined {
        by: UniqueId,
        name: Name,
        /// Whether this is the client's first room after it has given its name.
        first: bool,
        room: RoomName,
        others: Vec<Name>,
        more: usize,
        epoch: Epoch,
        /// The sequence number of the room's last message.
        seq: u64,
    },
    /// The client has logged in.
    LoggedIn {
        account: Name,
        role: Role,
    },
    /// The session ends after that time, unless the client logs in again.
    Expiring(Duration),
    /// The client's name is an account now. The token is shown once.
    Registered {
        account: Name,
        token: LoginToken,
    },
    /// Whether the client may speak in a room that it is in: the reason why not.
    MaySpeak {
        room: RoomName,
        denied: Option<Problem>,
    },
    /// The topic of a room, or that it has none.
    Topic {
        room: RoomName,
        /// The client that has set it; `None` for the configuration.
        by: Option<Name>,
        text: Option<Text>,
    },
    /// A moderator has removed the client.
    Removed(Removal),
    /// A moderator has muted the client, or has lifted the mute (`None`).
    Muted {
        by: Name,
        length: Option<BanLength>,
    },
    /// A moderator's action was carried out.
    Moderated(Text),
    Bans {
        bans: Vec<Ban>,
        more: usize,
        now_unix_millis: u64,
    },
    Whois(Box<Whois>),
    /// The client that was sent a private message is away.
    IsAway {
        name: Name,
        text: Text,
    },
    /// The client itself is away, or is back.
    YouAreAway(bool),
    /// The names that the client ignores.
    Ignoring(Vec<Text>),
    /// For moderators: a text has a word of the filter.
    Flagged {
        /// `None` for the name of a room.
        author: Option<Name>,
        text: Text,
    },
    /// The client has left a room without entering another one.
    YouLeft {
        by: UniqueId,
        name: Name,
        room: RoomName,
        count: usize,
    },
    /// A message was sent to the room.
    Message {
        room: RoomName,
        epoch: Epoch,
        message: Rc<Message>,
    },
    /// A program's message, relayed unchanged.
    Relayed(Payload),
    /// One message of the history.
    HistoryEntry {
        message: Rc<Message>,
        age: Duration,
    },
    HistoryEmpty,
    /// The history as one event.
    History {
        room: RoomName,
        epoch: Epoch,
        /// Oldest first.
        messages: Vec<Rc<Message>>,
    },
    /// A message for this client only.
    Private {
        by: UniqueId,
        from: Name,
        text: Text,
    },
    /// The client's own private message was passed on to `to`, or to its process. In the second case
    /// [`RemoteEvent::Undelivered`] may follow.
    PrivateSent {
        by: UniqueId,
        from: Name,
        to: Name,
        text: Text,
    },
    /// A client has joined the room.
    Joined {
        by: UniqueId,
        name: Name,
        room: RoomName,
        count: usize,
    },
    /// A client has left the room.
    Left {
        by: UniqueId,
        name: Name,
        room: RoomName,
        /// `None` if the reason is of no interest to others.
        reason: Option<Text>,
        count: usize,
    },
    /// A summary of arrivals and departures in a room that is too large to announce each of them.
    Crowd {
        room: RoomName,
        joined: u32,
        left: u32,
        count: usize,
    },
    /// Another client of the room has changed its name.
    Renamed {
        room: RoomName,
        by: UniqueId,
        from: Name,
        to: Name,
    },
    /// The client itself has a new name.
    YouWereRenamed {
        by: UniqueId,
        from: Name,
        to: Name,
    },
    Who {
        room: RoomName,
        names: Vec<Name>,
        more: usize,
    },
    Rooms {
        /// Some rooms with their number of members, the largest first.
        rooms: Vec<(RoomName, usize)>,
        more: usize,
    },
    Help,
    /// The answer to [`Request::Ping`].
    Pong,
    /// The client sends faster than its rate limit, so its input is delayed.
    Delayed,
    /// Messages were skipped because the client read too slowly.
    Missed {
        /// `None` if the messages belonged to no room.
        room: Option<RoomName>,
        count: u64,
    },
    /// The client has received everything up to this position, or was sent the number of missing messages.
    Position {
        room: RoomName,
        position: Position,
    },
    /// Messages of the room are lost to the client: other processes have sent them, or the history no longer has them.
    Lost {
        room: RoomName,
        /// `None` if the number is unknown; it may be zero.
        count: Option<u64>,
    },
    /// The link to the other processes is down.
    Disconnected,
    /// The link to the other processes is up again.
    Connected,
    /// The server is full. The number is the client's place in the queue, from 1.
    Waiting(usize),
    /// A request failed.
    Problem {
        problem: Problem,
        /// Whether the client still has no name.
        unnamed: bool,
    },
    Bye(CloseReason),
}

/// The server's information about a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whois {
    pub name: Name,
    /// `None` for a guest.
    pub account: Option<Name>,
    pub role: Role,
    pub away: Option<Text>,
    /// Time since the client connected; `None` for a client of another process.
    pub connected: Option<Duration>,
    /// Time since its last request, or since it entered. Pings and pongs of a WebSocket client don't count.
    pub idle: Option<Duration>,
    /// For moderators only.
    pub address: Option<String>,
}
