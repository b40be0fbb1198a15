//! The state of each client: its name and its memberships.
//!
//! Most clients are idle line clients in one room, so a client takes 24 bytes here. The state of a client that may be in
//! several rooms is on the heap.

use smallvec::SmallVec;

use super::ids::{ClientId, RoomSlot};
use crate::protocol::{Dialect, UniqueId};
use crate::text::Name;

/// The clients of this process, by their slots in the roster.
#[derive(Debug)]
pub struct Clients {
    /// The number of this process, which no other process has.
    process: u64,
    local: Vec<Option<Client>>,
    /// The serial number of each local client's connection. A [`Client`] has no room for it.
    serials: Vec<u32>,
}

impl Clients {
    /// Creates the table for that many clients.
    pub fn new(process: u64, slots: usize) -> Clients {
        let (local, serials) = (Vec::with_capacity(slots), Vec::with_capacity(slots));
        Clients { process, local, serials }
    }

    /// The id of a client that is unique among all processes and is never used again.
    pub fn unique_id(&self, id: ClientId) -> UniqueId {
        let serial = self.serials.get(id.0 as usize).copied();
        debug_assert!(serial.is_some(), "{id:?} has left");
        UniqueId { process: self.process, serial: serial.unwrap_or_default() }
    }

    /// Finds the client with that serial number. It looks at all, so it is not for messages to rooms.
    pub fn find(&self, serial: u32) -> Option<ClientId> {
        let slot = self.serials.iter().position(|other| *other == serial)?;
        self.local[slot].as_ref().map(|_| ClientId(slot as u32))
    }

    pub fn get(&self, id: ClientId) -> Option<&Client> {
        self.local.get(id.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.local.get_mut(id.0 as usize)?.as_mut()
    }

    /// A client that must not have left: `None` is a bug.
    pub fn existing(&self, id: ClientId) -> Option<&Client> {
        let client = self.get(id);
        debug_assert!(client.is_some(), "{id:?} has left");
        client
    }

    /// A client that must not have left: `None` is a bug.
    pub fn existing_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        let client = self.get_mut(id);
        debug_assert!(client.is_some(), "{id:?} has left");
        client
    }

    /// The dialect of a client; `None` if it has left.
    pub fn dialect(&self, id: ClientId) -> Option<Dialect> {
        self.get(id).map(Client::dialect)
    }

    /// The name of a client that must have one: an empty name is a bug.
    pub fn name_of(&self, id: ClientId) -> &str {
        let name = self.existing(id).and_then(Client::name);
        debug_assert!(name.is_some(), "{id:?} has no name");
        name.map_or("", Name::as_str)
    }

    /// Adds a client, whose connection has that serial number.
    pub fn insert(&mut self, id: ClientId, serial: u32, client: Client) {
        let slot = id.0 as usize;
        if self.local.len() <= slot {
            self.local.resize_with(slot + 1, || None);
            self.serials.resize(slot + 1, 0);
        }
        debug_assert!(self.local[slot].is_none(), "client {slot} connected twice");
        self.local[slot] = Some(client);
        self.serials[slot] = serial;
    }

    /// Removes a client.
    pub fn remove(&mut self, id: ClientId) {
        // A connection that ends before it becomes a client has no slot here.
        if let Some(client) = self.local.get_mut(id.0 as usize) {
            *client = None;
        }
        while self.local.last().is_some_and(Option::is_none) {
            self.local.pop();
            self.serials.pop();
        }
    }

    /// All clients, in the order of their slots.
    pub fn all(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        let id = |slot: usize| ClientId(slot as u32);
        self.local.iter().enumerate().filter_map(move |(slot, client)| Some((id(slot), client.as_ref()?)))
    }
}

#[derive(Debug)]
pub enum Client {
    /// A line client. Without a name it is in no room; afterwards it is always in one.
    SingleRoom { name: Name, membership: Option<Membership> },
    /// A WebSocket client, or an SSE client.
    MultiRoom(Box<MultiRoom>),
}

/// The state of a client that may be in any number of rooms.
#[derive(Debug)]
pub struct MultiRoom {
    /// `None` for an SSE client, which is a subscriber of its room and not a member.
    pub name: Option<Name>,
    pub dialect: Dialect,
    /// Most of these clients are in one room.
    pub memberships: SmallVec<[(Membership, Echo); 1]>,
}

/// A client's entry among the subscribers of a room, in eight bytes. A room with subscribers stays open, so its slot
/// identifies it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    pub slot: RoomSlot,
    /// The index among the subscribers of the same dialect, so that leaving needs no search.
    pub index: u32,
}

/// Whether a client is sent its own messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo(pub bool);

impl Client {
    /// The client's name: a guest name until it has chosen one, `None` for an SSE client.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Client::SingleRoom { name, .. } => Some(name),
            Client::MultiRoom(client) => client.name.as_ref(),
        }
    }

    /// Changes the client's name and returns the old one.
    pub fn rename(&mut self, new: Name) -> Option<Name> {
        match self {
            Client::SingleRoom { name, .. } => Some(std::mem::replace(name, new)),
            Client::MultiRoom(client) => client.name.replace(new),
        }
    }

    /// The dialect of the client.
    pub fn dialect(&self) -> Dialect {
        match self {
            Client::SingleRoom { .. } => Dialect::Line,
            Client::MultiRoom(client) => client.dialect,
        }
    }

    /// Whether the client must still choose a name.
    pub fn is_unnamed(&self) -> bool {
        matches!(self, Client::SingleRoom { membership: None, .. })
    }

    pub fn memberships(&self) -> impl Iterator<Item = Membership> {
        let (one, many) = match self {
            Client::SingleRoom { membership, .. } => (*membership, &[][..]),
            Client::MultiRoom(client) => (None, &client.memberships[..]),
        };
        one.into_iter().chain(many.iter().map(|(membership, _)| *membership))
    }

    pub fn membership_in(&self, slot: RoomSlot) -> Option<Membership> {
        self.memberships().find(|membership| membership.slot == slot)
    }

    /// Whether the client is sent its own messages in that room.
    pub fn gets_echo(&self, slot: RoomSlot) -> bool {
        match self {
            Client::SingleRoom { .. } => false,
            Client::MultiRoom(client) => {
                client.memberships.iter().any(|(membership, echo)| membership.slot == slot && echo.0)
            }
        }
    }

    pub fn add_membership(&mut self, new: Membership, echo: Echo) {
        match self {
            Client::SingleRoom { membership, .. } => {
                debug_assert!(membership.is_none(), "a line client in two rooms");
                *membership = Some(new);
            }
            Client::MultiRoom(client) => client.memberships.push((new, echo)),
        }
    }

    pub fn remove_membership(&mut self, slot: RoomSlot) {
        match self {
            Client::SingleRoom { membership, .. } => *membership = None,
            Client::MultiRoom(client) => {
                let before = client.memberships.len();
                client.memberships.retain(|(membership, _)| membership.slot != slot);
                debug_assert_eq!(client.memberships.len() + 1, before, "not in the room exactly once");
            }
        }
    }

    /// Records that the client's index among the subscribers of a room has changed.
    pub fn set_index(&mut self, slot: RoomSlot, index: u32) {
        match self {
            Client::SingleRoom { membership, .. } => *membership = Some(Membership { slot, index }),
            Client::MultiRoom(client) => {
                let found = client.memberships.iter_mut().find(|(membership, _)| membership.slot == slot);
                debug_assert!(found.is_some(), "not in the room");
                found.into_iter().for_each(|(membership, _)| membership.index = index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_client_takes_24_bytes() {
        assert_eq!(size_of::<Option<Client>>(), 24);
    }
}
