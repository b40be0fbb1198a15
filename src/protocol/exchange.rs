//! Events between the processes of one chat: a [`LocalEvent`] goes out, a [`RemoteEvent`] comes in.

use std::rc::Rc;

use super::{Body, Message, MessageKind, Payload, Sender, UniqueId};
use crate::text::{Name, RoomName, Text};

/// The state of a client that every process has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presence {
    pub name: Name,
    /// Time at which the client took its name. If two clients have one name, the later one loses it.
    pub since_unix_millis: u64,
    pub rooms: Vec<RoomName>,
}

/// An event in this process that is published to the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalEvent {
    /// The room has got its first local subscriber, or has lost its last one.
    Subscribed {
        room: RoomName,
        has_subscribers: bool,
    },
    Message {
        room: RoomName,
        message: Rc<Message>,
    },
    /// A program's message, relayed unchanged.
    Relayed {
        room: RoomName,
        by: UniqueId,
        from: Name,
        payload: Payload,
        at_unix_millis: u64,
    },
    /// A client has arrived, or has changed its name or its rooms.
    Present {
        /// [`UniqueId::serial`].
        client: u32,
        presence: Presence,
    },
    Gone {
        /// [`UniqueId::serial`].
        client: u32,
        /// `None` if the reason is of no interest to others.
        reason: Option<Text>,
    },
    /// A private message for a client of another process.
    Private {
        process: u64,
        to: Name,
        by: UniqueId,
        from: Name,
        text: Text,
    },
    /// A client has chosen a name that is taken in that process, so check whether the process still runs.
    ProbeProcess {
        process: u64,
    },
    /// A private message from another process found no recipient here.
    Undelivered {
        process: u64,
        from: Name,
        to: Name,
    },
}

/// An event in another process, or a change of the link to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RemoteEvent {
    Message {
        room: RoomName,
        from: Name,
        sender: Sender,
        kind: MessageKind,
        body: Body,
        /// `None` if another program published the message.
        at_unix_millis: Option<u64>,
    },
    /// A program's message, relayed unchanged.
    Relayed { room: RoomName, from: Name, sender: Sender, payload: Payload, at_unix_millis: u64 },
    /// A private message for a client here.
    Private {
        process: u64,
        to: Name,
        /// `None` if the sender's process is too old to send its id.
        by: Option<UniqueId>,
        from: Name,
        text: Text,
    },
    /// A private message from a client here found no recipient.
    Undelivered { from: Name, to: Name },
    /// A client has arrived, or has changed its name or its rooms.
    Present { id: UniqueId, presence: Presence },
    Gone {
        id: UniqueId,
        /// `None` if the reason is of no interest to others.
        reason: Option<Text>,
    },
    /// The complete list of a process's clients.
    AllClients {
        process: u64,
        /// By [`UniqueId::serial`].
        clients: Vec<(u32, Presence)>,
        /// Announce the differences in the rooms. Not if the process itself was unknown before.
        announce: bool,
    },
    /// A process has ended, and its clients with it.
    ProcessGone { process: u64 },
    /// Messages to a room were lost on the way.
    Lost {
        room: RoomName,
        /// `None` if the number is unknown; it may be zero.
        count: Option<u64>,
    },
    /// This process has unsubscribed from a room without members: it no longer receives the room's messages.
    Unsubscribed { room: RoomName },
    /// The link is down: the clients of the other processes count as gone.
    Disconnected,
    /// The link is up again.
    Connected,
}
