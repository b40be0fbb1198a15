//! The ids of clients and rooms inside the chat.

use std::num::NonZeroU32;

/// The id of a client: its slot in the roster, which the server assigns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// The id of a room. A slot is used again after its room is closed, but an id never is. Queued summaries and messages of a
/// closed room can't reach a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RoomId {
    pub(super) slot: RoomSlot,
    pub(super) serial: u32,
}

/// The slot of a room. It identifies the room only while the room has subscribers; use a [`RoomId`] to keep it longer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RoomSlot(NonZeroU32);

impl RoomSlot {
    /// Converts a key of the slab. The slot is the key plus one, so that an `Option<RoomSlot>` takes no more space.
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
    pub fn as_u64(self) -> u64 {
        (u64::from(self.serial) << 32) | self.slot.key() as u64
    }

    /// Converts a number of [`RoomId::as_u64`] back.
    pub fn from_u64(number: u64) -> RoomId {
        RoomId { slot: RoomSlot::from_key(number as u32 as usize), serial: (number >> 32) as u32 }
    }

    pub(super) fn slot(self) -> RoomSlot {
        self.slot
    }
}
