//! A batch: messages that are delivered in one step ([`super`]).

use std::rc::Rc;

use crate::arena::Frame;
use crate::chat::{ClientId, RoomId};
use crate::protocol::Dialect;

/// Messages to the members of one room who speak one dialect, one behind the other in the arena.
#[derive(Debug)]
pub struct Batch {
    pub room: RoomId,
    pub dialect: Dialect,
    /// The number of changes of the room's members, when the batch began.
    pub changes: u32,
    /// All frames together.
    pub whole: Frame,
    pub frames: Vec<BatchedFrame>,
    /// [`crate::chat::Except::further`] of some frames. It is mostly empty.
    pub further: Vec<Rc<[ClientId]>>,
}

impl Batch {
    /// The members that are left out of at least one frame.
    pub fn left_out(&self) -> Vec<ClientId> {
        let mut ids: Vec<ClientId> = self.frames.iter().filter_map(|frame| frame.except).collect();
        ids.extend(self.further.iter().flat_map(|further| further.iter().copied()));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether a member is left out of a frame.
    pub fn leaves_out(&self, id: ClientId, frame: &BatchedFrame) -> bool {
        let further = frame.further.and_then(|index| self.further.get(usize::from(index)));
        frame.except == Some(id) || further.is_some_and(|ids| ids.binary_search(&id).is_ok())
    }
}

#[derive(Clone, Copy, Debug)]
pub struct BatchedFrame {
    pub frame: Frame,
    /// The member that is left out, mostly the talker.
    pub except: Option<ClientId>,
    /// The index in [`Batch::further`].
    pub further: Option<u16>,
}
