//! Between the chat and the other processes of it: [`Change`]s of rooms, [`Question`]s and [`Facts`], and events about clients.
//!
//! A single process numbers its own changes and has no questions. With `--redis`, Redis numbers them and has the answers.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use super::{Epoch, ForwardedBy, ForwardedRequest, Message, Outcome, Payload, UniqueId};
use crate::access::AccessRecord;
use crate::text::{Name, RoomName, Text, TypedName};

/// Identifies a message, whether or not it has a number in its room yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MessageId {
    /// The process that has accepted the message.
    pub process: u64,
    /// The serial number of the change at that process.
    pub serial: u64,
}

/// The longest text of a [`MessageId`].
pub const MESSAGE_ID_MAX_BYTES: usize = 16 + 1 + 20;

/// `PROCESS-SERIAL`, as in `00c0ffee00c0ffee-57`.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.process, self.serial)
    }
}

impl FromStr for MessageId {
    type Err = ();

    /// Accepts only what `Display` writes.
    fn from_str(raw: &str) -> Result<MessageId, ()> {
        let (process, serial) = raw.split_once('-').ok_or(())?;
        let process = u64::from_str_radix(process, 16).map_err(|_| ())?;
        let id = MessageId { process, serial: serial.parse().map_err(|_| ())? };
        if id.to_string() == raw { Ok(id) } else { Err(()) }
    }
}

/// A change in a room. Its members see all changes in one order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A message. Its `seq` is 0 until the room has numbered it.
    Message(Rc<Message>),
    /// A program's message, unchanged, and the same as a message if it is text.
    Relayed { payload: Payload, from: Name, message: Option<Rc<Message>> },
    /// A client has changed or removed (`None`) the topic.
    Topic { by: Option<Name>, text: Option<Text> },
    /// A client has become a member; `count` includes it.
    Joined { by: UniqueId, name: Name, count: usize },
    /// A member has left; `count` is that of the others.
    Left {
        by: UniqueId,
        name: Name,
        /// `None` if the reason is of no interest to others.
        reason: Option<Text>,
        count: usize,
    },
    /// A member has another name.
    Renamed { by: UniqueId, from: Name, to: Name, count: usize },
    /// Joins and leaves that were not announced one by one.
    Crowd { joined: u32, left: u32, count: usize },
    /// A process could not keep so many messages until Redis was back.
    Lost { count: u64 },
}

impl Change {
    /// The client that has joined or left.
    pub fn member(&self) -> Option<UniqueId> {
        match self {
            Change::Joined { by, .. } | Change::Left { by, .. } => Some(*by),
            _ => None,
        }
    }
}

/// The place of a change in the order of its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The next one, since this process alone numbers the room.
    Next,
    /// The number that Redis has given it.
    At(u64),
    /// The same, but the members here have seen the change before.
    Seen(u64),
    /// It has no number: it is not kept, or not yet.
    Unnumbered,
}

/// A client of another process that has a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    pub id: UniqueId,
    pub name: Name,
}

/// Some members of a room at all processes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    pub names: Vec<Name>,
    /// The number of all.
    pub count: usize,
}

/// The clients at other processes that a claim takes a name from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimOver {
    Nobody,
    /// Those that have not logged in to the account of that name.
    Guests,
    Everybody,
}

/// A question of a request to the other processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Give the name to the client with that serial number, or return its holder.
    Claim { client: u32, name: Name, over: ClaimOver, is_account: bool },
    /// Find the client with that name, and have its process carry out the request.
    Find { name: TypedName, request: Option<ForwardedRequest> },
    /// Follow a room, and read what is missing here. Return at most so many members.
    Room { room: RoomName, members: usize },
    /// List some members of a room.
    Who { room: RoomName, max: usize },
    /// List the largest rooms, at most so many.
    Rooms { max: usize },
}

/// The last numbered change of a room that a process has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomPosition {
    pub epoch: Epoch,
    pub seq: u64,
    pub id: Option<MessageId>,
}

/// The answers to the questions of one request. A single process has none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The client elsewhere that has the name of a claim or a search, or one that looks like it.
    pub holder: Option<Holder>,
    pub members: Option<Members>,
    /// The largest rooms with their members, and the number of further ones.
    pub rooms: Option<(Vec<(RoomName, usize)>, usize)>,
    /// The outcome of a request that the holder's process has carried out.
    pub outcome: Option<Outcome>,
}

/// A client with a name, as a process registers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presence {
    /// [`UniqueId::serial`].
    pub client: u32,
    pub name: Name,
    /// Whether it has logged in to the account of that name.
    pub is_account: bool,
    pub rooms: Vec<RoomName>,
}

/// An event in this process that others need to know of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalEvent {
    /// The room has got its first local subscriber, or has lost its last one.
    Subscribed { room: RoomName, has_subscribers: bool },
    /// A client has a name from now on, and no longer the `old` one. It may have been claimed before.
    Named { client: u32, name: Name, old: Option<Name>, is_account: bool },
    /// A client has left, and its name is free.
    Gone { client: u32, name: Name },
    /// A private message for a client of another process.
    Private { to: Holder, by: UniqueId, from: Name, text: Text },
    /// A private message from another process found no recipient here.
    Undelivered { by: UniqueId, to: Name },
    /// The sender of a private message from another process is sent the away text of the client.
    Away { by: UniqueId, name: Name, text: Text },
    /// The outcome of a request that another process has forwarded.
    Outcome { of: ForwardedBy, outcome: Outcome },
    /// The numbers for guests are running out.
    GuestsNeeded,
}

/// Changes of a room that its members here do not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    Nothing,
    Count(u64),
    /// Perhaps none.
    Unknown,
}

/// An event in another process, or a change of the link to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RemoteEvent {
    Changed {
        room: RoomName,
        change: Change,
        order: Order,
        /// The serial number of the submission, if this process has made the change.
        ticket: Option<u64>,
    },
    /// The room was read, and the changes that follow begin after this position.
    Synced {
        room: RoomName,
        epoch: Epoch,
        seq: u64,
        missed: Gap,
        topic: Option<(Option<Name>, Option<Text>)>,
    },
    /// A message of this process waits for Redis no more.
    Discarded { room: RoomName, id: MessageId },
    /// This process does not follow the room any more.
    Unfollowed { room: RoomName },
    /// A private message for the client here with that serial number.
    Private { to: u32, name: Name, by: UniqueId, from: Name, text: Text },
    /// A private message of a client here found no recipient.
    Undelivered { by: u32, to: Name },
    /// The client elsewhere that was sent a private message is away.
    Away { by: u32, name: Name, text: Text },
    /// Another process has forwarded a request about a client here.
    Forwarded { by: ForwardedBy, request: ForwardedRequest },
    /// A client here has lost its name to a client elsewhere that had `name` or a look-alike before, or to the account `name`.
    NameLost { client: u32, name: Name, to_account: bool },
    /// The bans, mutes and registered names of all processes, by their keys.
    Access(BTreeMap<String, AccessRecord>),
    /// Numbers that only guests of this process get.
    Guests { first: u64, last: u64 },
    /// The link is down for long.
    Disconnected,
    /// The link is up again.
    Connected,
}
