//! What the processes of one chat tell each other: a [`LocalEvent`] goes out, [`RemoteEvent`] comes in.

use std::rc::Rc;

use super::{Body, Message, MessageKind, Payload, Sender, UniqueId};
use crate::text::{Name, RoomName, Text};

/// What is known of a client wherever the chat is: its name, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presence {
    /// Its name.
    pub name: Name,
    /// When it took that name, in milliseconds since the Unix epoch. Of two with one name the later must give it up.
    pub since_unix_millis: u64,
    /// The rooms it is in.
    pub rooms: Vec<RoomName>,
}

/// Something that other processes are to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalEvent {
    /// Somebody here listens to a room now, or nobody does any more.
    Subscribed {
        /// Which.
        room: RoomName,
        /// Whether somebody does.
        any: bool,
    },
    /// Something was said in a room.
    Message {
        /// Where.
        room: RoomName,
        /// What.
        message: Rc<Message>,
    },
    /// A program passed something on.
    Relayed {
        /// Where.
        room: RoomName,
        /// The program.
        by: UniqueId,
        /// Its name.
        from: Name,
        /// What.
        payload: Payload,
        /// When, in milliseconds since the Unix epoch.
        at_unix_millis: u64,
    },
    /// A client is here, or is elsewhere, or has another name now.
    Present {
        /// Its number here, which stays the same; no other client has it later ([`UniqueId::serial`]).
        client: u32,
        /// How things are with it now.
        presence: Presence,
    },
    /// A client is gone.
    Gone {
        /// The number it had here.
        client: u32,
        /// Why, if it is worth telling.
        reason: Option<Text>,
    },
    /// Something said to one client of another process.
    Private {
        /// Which process.
        process: u64,
        /// To whom.
        to: Name,
        /// The client that said it.
        by: UniqueId,
        /// Its name.
        from: Name,
        /// What.
        text: Text,
    },
    /// Somebody wants a name that a client of that process has: is the process still there?
    Doubt {
        /// Which.
        process: u64,
    },
    /// Nobody here has the name that something was said to.
    Nobody {
        /// The process it came from.
        process: u64,
        /// Who said it.
        from: Name,
        /// The name.
        called: Name,
    },
}

/// Something that happened in another process, or to the link to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RemoteEvent {
    /// Something was said in a room.
    Message {
        /// Where.
        room: RoomName,
        /// The name it was said under.
        from: Name,
        /// Its sender.
        sender: Sender,
        /// Said or done.
        kind: MessageKind,
        /// What.
        body: Body,
        /// When, in milliseconds since the Unix epoch; `None` if that is not known.
        at_unix_millis: Option<u64>,
    },
    /// A program passed something on.
    Relayed {
        /// Where.
        room: RoomName,
        /// The program's name.
        from: Name,
        /// Its sender.
        sender: Sender,
        /// What.
        payload: Payload,
        /// When, in milliseconds since the Unix epoch.
        at_unix_millis: u64,
    },
    /// Something was said to one client here.
    Private {
        /// The process it comes from.
        process: u64,
        /// To whom.
        to: Name,
        /// The client that said it; `None` if its process is too old to say.
        by: Option<UniqueId>,
        /// Its name.
        from: Name,
        /// What.
        text: Text,
    },
    /// Something that was said here to one client of another process found nobody.
    Nobody {
        /// Who said it.
        from: Name,
        /// The name it was said to.
        called: Name,
    },
    /// A client is there, or is elsewhere, or has another name now.
    Present {
        /// Which.
        id: UniqueId,
        /// How things are with it now.
        presence: Presence,
    },
    /// A client is gone.
    Gone {
        /// Which.
        id: UniqueId,
        /// Why, if it is worth telling.
        reason: Option<Text>,
    },
    /// These are all clients of a process.
    Everyone {
        /// Which.
        process: u64,
        /// Their numbers there, and how things are with them.
        clients: Vec<(u32, Presence)>,
        /// Whether the rooms are told who has come and gone: not if it only comes to light.
        told: bool,
    },
    /// A process is gone, and its clients with it.
    ProcessGone {
        /// Which.
        process: u64,
    },
    /// Messages for a room were lost on the way.
    Lost {
        /// Which.
        room: RoomName,
        /// How many; `None` if that can't be known, and it may be none.
        count: Option<u64>,
    },
    /// Nobody here listens to a room, so from now on nothing comes of what is said there elsewhere.
    Unread {
        /// Which.
        room: RoomName,
    },
    /// The other processes are out of reach: as if nobody were there.
    Disconnected,
    /// They are within reach again.
    Connected,
}
