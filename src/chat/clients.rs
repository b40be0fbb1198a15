//! What the chat knows of a client: its name, and where it is.
//!
//! Ten thousand line clients are idle, each in one room, so all that is known of one is in 24 bytes. Whoever comes by
//! WebSocket may be in many rooms, and what is known of it is on the heap.

use smallvec::SmallVec;

use super::ids::{ClientId, RoomSlot};
use super::remote::RemoteClients;
use crate::protocol::{Dialect, UniqueId};
use crate::text::Name;

/// All clients: ours by their places in the roster, and those of other processes.
#[derive(Debug)]
pub struct Clients {
    /// The number of this process, which no other has.
    process: u64,
    near: Vec<Option<Client>>,
    /// The serial numbers of their connections, apart: there is no room for one in a [`Client`].
    serials: Vec<u32>,
    /// Those of other processes.
    pub far: RemoteClients,
}

impl Clients {
    /// Room for so many clients of ours, and never more of others than that.
    pub fn new(process: u64, slots: usize, remote_max: usize) -> Clients {
        let (near, serials) = (Vec::with_capacity(slots), Vec::with_capacity(slots));
        Clients { process, near, serials, far: RemoteClients::new(remote_max) }
    }

    /// The id that names a client for ever, also to other processes.
    pub fn unique(&self, id: ClientId) -> UniqueId {
        let near = || {
            let serial = self.serials.get(id.0 as usize).copied();
            debug_assert!(serial.is_some(), "client {id:?} is not here");
            UniqueId { process: self.process, serial: serial.unwrap_or_default() }
        };
        self.far.unique(id).unwrap_or_else(near)
    }

    /// A client, if it is here.
    pub fn get(&self, id: ClientId) -> Option<&Client> {
        match id.remote_key() {
            None => self.near.get(id.0 as usize)?.as_ref(),
            Some(key) => self.far.get(key),
        }
    }

    /// A client that has not left.
    pub fn present(&self, id: ClientId) -> Option<&Client> {
        let client = self.get(id);
        debug_assert!(client.is_some(), "{id:?} has left");
        client
    }

    /// A client that has not left.
    pub fn present_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        let client = self.get_mut(id);
        debug_assert!(client.is_some(), "{id:?} has left");
        client
    }

    /// A client, if it is here.
    fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        match id.remote_key() {
            None => self.near.get_mut(id.0 as usize)?.as_mut(),
            Some(key) => self.far.get_mut(key),
        }
    }

    /// What a client speaks; one of another process, Redis.
    pub fn dialect(&self, id: ClientId) -> Option<Dialect> {
        let client = self.present(id)?;
        Some(if id.remote_key().is_some() { Dialect::Redis } else { client.dialect() })
    }

    /// The name of a client that has one.
    pub fn name_of(&self, id: ClientId) -> &str {
        let name = self.present(id).and_then(Client::name);
        debug_assert!(name.is_some(), "{id:?} has no name");
        name.map_or("", Name::as_str)
    }

    /// A client of ours has come; its connection has that serial number.
    pub fn insert(&mut self, id: ClientId, serial: u32, client: Client) {
        let slot = id.0 as usize;
        if self.near.len() <= slot {
            self.near.resize_with(slot + 1, || None);
            self.serials.resize(slot + 1, 0);
        }
        debug_assert!(self.near[slot].is_none(), "client {slot} connected twice");
        self.near[slot] = Some(client);
        self.serials[slot] = serial;
    }

    /// A client of ours has gone.
    pub fn remove(&mut self, id: ClientId) {
        // A connection that ends before it was a client has no slot here.
        if let Some(client) = self.near.get_mut(id.0 as usize) {
            *client = None;
        }
        while self.near.last().is_some_and(Option::is_none) {
            self.near.pop();
            self.serials.pop();
        }
    }

    /// Ours, in the order of their places.
    pub fn near(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        let id = |slot: usize| ClientId(slot as u32);
        self.near.iter().enumerate().filter_map(move |(slot, client)| Some((id(slot), client.as_ref()?)))
    }
}

/// A client.
#[derive(Debug)]
pub enum Client {
    /// A line client, or one of another process that is in one room. It is nowhere until it has given a name, and then
    /// always in one room.
    SingleRoom {
        /// Its name.
        name: Name,
        /// Where it is.
        seat: Option<Membership>,
    },
    /// A WebSocket client, somebody who only listens, or a client of another process that is in several rooms.
    MultiRoom(Box<MultiRoom>),
}

/// A client that may be in any number of rooms.
#[derive(Debug)]
pub struct MultiRoom {
    /// Its name; `None` for who only listens, and is not one of the members.
    pub name: Option<Name>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where it is: mostly in one room.
    pub memberships: SmallVec<[(Membership, Echo); 1]>,
}

/// A place among the ears of a room, in eight bytes: whoever has it is there, so the room is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    /// The room.
    pub slot: RoomSlot,
    /// The index among those who speak the same dialect, so that leaving does not search.
    pub index: u32,
}

/// Whether a client's own messages come back to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo(pub bool);

impl Client {
    /// Its name, if it has or will have one.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Client::SingleRoom { name, .. } => Some(name),
            Client::MultiRoom(social) => social.name.as_ref(),
        }
    }

    /// Gives it another name, and tells the old one.
    pub fn rename(&mut self, new: Name) -> Option<Name> {
        match self {
            Client::SingleRoom { name, .. } => Some(std::mem::replace(name, new)),
            Client::MultiRoom(social) => social.name.replace(new),
        }
    }

    /// What it speaks, if it is one of ours.
    pub fn dialect(&self) -> Dialect {
        match self {
            Client::SingleRoom { .. } => Dialect::Line,
            Client::MultiRoom(social) => social.dialect,
        }
    }

    /// Whether it still has to give a name.
    pub fn is_unnamed(&self) -> bool {
        matches!(self, Client::SingleRoom { seat: None, .. })
    }

    /// All its memberships.
    pub fn memberships(&self) -> impl Iterator<Item = Membership> {
        let (one, many) = match self {
            Client::SingleRoom { seat, .. } => (*seat, &[][..]),
            Client::MultiRoom(social) => (None, &social.memberships[..]),
        };
        one.into_iter().chain(many.iter().map(|(seat, _)| *seat))
    }

    /// Its seat in that room.
    pub fn membership_in(&self, slot: RoomSlot) -> Option<Membership> {
        self.memberships().find(|seat| seat.slot == slot)
    }

    /// Whether its own messages come back to it from that room.
    pub fn gets_echo(&self, slot: RoomSlot) -> bool {
        match self {
            Client::SingleRoom { .. } => false,
            Client::MultiRoom(social) => {
                social.memberships.iter().any(|(seat, echo)| seat.slot == slot && echo.0)
            }
        }
    }

    /// It has a seat more.
    pub fn add_membership(&mut self, new: Membership, echo: Echo) {
        match self {
            Client::SingleRoom { seat: seat @ None, .. } => *seat = Some(new),
            Client::SingleRoom { name, seat: Some(first) } => {
                let memberships = [(*first, Echo(false)), (new, echo)].into_iter().collect();
                let social = MultiRoom { name: Some(name.clone()), dialect: Dialect::Redis, memberships };
                *self = Client::MultiRoom(Box::new(social));
            }
            Client::MultiRoom(social) => {
                social.memberships.push((new, echo));
            }
        }
    }

    /// It has left that room.
    pub fn remove_membership(&mut self, slot: RoomSlot) {
        match self {
            Client::SingleRoom { seat, .. } => *seat = None,
            Client::MultiRoom(social) => {
                let before = social.memberships.len();
                social.memberships.retain(|(seat, _)| seat.slot != slot);
                debug_assert_eq!(social.memberships.len() + 1, before, "not in the room exactly once");
            }
        }
    }

    /// Its seat in that room is another one now.
    pub fn shift(&mut self, slot: RoomSlot, index: u32) {
        match self {
            Client::SingleRoom { seat, .. } => *seat = Some(Membership { slot, index }),
            Client::MultiRoom(social) => {
                let seat = social.memberships.iter_mut().find(|(seat, _)| seat.slot == slot);
                debug_assert!(seat.is_some(), "not in the room");
                seat.into_iter().for_each(|(seat, _)| seat.index = index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_client_is_small() {
        assert_eq!(size_of::<Option<Client>>(), 24);
    }
}
