//! How the chat calls its clients and rooms: small numbers that never mean another one.

use std::num::NonZeroU32;

/// A client, by the place it has in the roster. The server gives these and takes them back.
///
/// Those of other processes are not in the roster, but have numbers of their own, beyond its last place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ClientId(pub u32);

impl ClientId {
    /// More than there can be places in the roster.
    const FAR: u32 = 1 << 31;

    /// The client of another process with that key.
    pub(super) fn far(key: usize) -> ClientId {
        ClientId(ClientId::FAR + key as u32)
    }

    /// The key of a client of another process; `None` if it is one of ours.
    pub(super) fn remote_key(self) -> Option<usize> {
        self.0.checked_sub(ClientId::FAR).map(|key| key as usize)
    }
}

/// A room. Once it is closed, its slot may be another room's, but its id never is: a summary or a message of the old
/// one that is still in a queue is not taken for one of the new.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RoomId {
    pub(super) slot: RoomSlot,
    pub(super) serial: u32,
}

/// A place for a room. While somebody is in the room, the slot alone says which it is; who keeps it longer needs the
/// [`RoomId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RoomSlot(NonZeroU32);

impl RoomSlot {
    /// From a key of the slab. One more, so that "no room" takes no space in a client.
    pub(super) const fn from_key(key: usize) -> RoomSlot {
        match NonZeroU32::new(key as u32 + 1) {
            Some(number) => RoomSlot(number),
            None => panic!("more rooms than numbers"),
        }
    }

    pub(super) const fn key(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl RoomId {
    /// The id as one number.
    pub fn as_u64(self) -> u64 {
        (u64::from(self.serial) << 32) | self.slot.key() as u64
    }

    /// The id that is that number.
    pub fn from_u64(number: u64) -> RoomId {
        RoomId { slot: RoomSlot::from_key(number as u32 as usize), serial: (number >> 32) as u32 }
    }

    /// Its slot.
    pub fn slot(self) -> RoomSlot {
        self.slot
    }
}
