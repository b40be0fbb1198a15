//! Catch-up of SSE and JSON clients that return: the messages since their last position, one batch at a time.
//!
//! A client that is catching up is a subscriber of the room, but announcements of stored messages leave it out. It reads them
//! from the room's history, up to its end. So messages keep their order, none is sent twice, and a client's queued output is at
//! most one batch. If messages are evicted before they were sent, the client is sent their number. The server handles no further
//! request of a JSON client meanwhile.

use smallvec::SmallVec;

use super::context::NO_FACTS;
use super::ids::{ClientId, RoomId};
use super::rooms::{Room, encoded_bytes_max};
use super::{Chat, Ctx, Effect};
use crate::protocol::{Dialect, Event, Position, PositionError};
use crate::time::Now;

/// The progress of a client that is catching up. It is a subscriber of the room, which stays open.
#[derive(Clone, Copy, Debug)]
pub struct CatchUp {
    room: RoomId,
    /// The offset of the next message in the room.
    next: u64,
    /// The serial number of the last message that it was sent without a sequence number. Those come after all others.
    unnumbered: u64,
    /// The number of missing messages before `next` that were not reported yet; `None` if it is unknown.
    missing: Option<u64>,
    /// The position of the client is past the end of the room here, and so the client keeps it.
    is_ahead: bool,
}

impl Chat {
    /// Lets a subscriber catch up from its last `position`. [`Chat::catch_up`] sends the messages.
    pub(super) fn start_catch_up(
        &mut self,
        id: ClientId,
        to: RoomId,
        position: Option<Result<Position, PositionError>>,
    ) {
        self.stop_catch_up(id);
        if let Some(room) = self.rooms.existing_mut(to) {
            room.set_catching_up(id, true);
            self.catch_ups.insert(id.0, CatchUp::after(position, to, room, self.is_disconnected));
        }
    }

    /// Sends a client that is catching up its next batch, if it has not left. The server calls this when the last batch
    /// was written.
    pub fn catch_up(&mut self, id: ClientId, now: Now, effects: &mut Vec<Effect>) {
        self.send_batch(id, &mut Ctx::new(now, &NO_FACTS, effects));
    }

    /// Sends the next batch. The position is sent last: a client that disconnects before gets these messages again.
    pub(super) fn send_batch(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        // The client may have left the room since the last batch.
        let Some(mut progress) = self.catch_ups.take(id.0) else {
            return;
        };
        let Some(room) = self.rooms.existing(progress.room) else {
            return;
        };
        let evicted = room.start_offset().saturating_sub(progress.next);
        let count = progress.missing.map(|missing| missing + evicted);
        if count != Some(0) {
            ctx.reply(id, Event::Lost { room: room.name.clone(), count });
        }
        progress = CatchUp { next: progress.next + evicted, missing: Some(0), ..progress };
        let dialect = self.clients.dialect(id).unwrap_or(Dialect::Json);
        let mut bytes = 0;
        let later = room.unnumbered_after(progress.unnumbered);
        for message in room.messages_from(progress.next).chain(later) {
            match message.id {
                Some(id) if message.seq == 0 => progress.unnumbered = id.serial,
                _ => progress.next += 1,
            }
            if self.ignores.has(id, message.from.as_str()) {
                continue;
            }
            bytes += encoded_bytes_max(message, dialect);
            let (room, epoch, message) = (room.name.clone(), room.epoch, message.clone());
            ctx.reply(id, Event::Message { room, epoch, message });
            if bytes >= self.rules.batch_bytes {
                break;
            }
        }
        let has_more = room.unnumbered_after(progress.unnumbered).next().is_some();
        if has_more || progress.next < room.end_offset() {
            return self.catch_ups.insert(id.0, progress);
        }
        if !progress.is_ahead {
            ctx.reply(id, room.position_event());
        }
        if let Some(room) = self.rooms.existing_mut(progress.room) {
            room.set_catching_up(id, false);
        }
    }

    /// The rooms of a client whose messages it is sent as they come. A slow client holds up no others in a room with whose
    /// history it catches up.
    pub fn live_rooms_of(&self, id: ClientId) -> SmallVec<[RoomId; 1]> {
        let mut rooms = self.rooms_of(id);
        let behind_in = self.catch_ups.get(id.0).map(|progress| progress.room);
        rooms.retain(|room| Some(*room) != behind_in);
        rooms
    }

    pub fn is_catching_up(&self, id: ClientId) -> bool {
        !self.catch_ups.is_empty() && self.catch_ups.get(id.0).is_some()
    }

    /// Ends the catch-up of a client that leaves the room.
    pub(super) fn stop_catch_up_in(&mut self, id: ClientId, room: RoomId) {
        if self.catch_ups.get(id.0).is_some_and(|progress| progress.room == room) {
            self.stop_catch_up(id);
        }
    }

    fn stop_catch_up(&mut self, id: ClientId) {
        let progress = self.catch_ups.take(id.0);
        if let Some(room) = progress.and_then(|progress| self.rooms.existing_mut(progress.room)) {
            room.set_catching_up(id, false);
        }
    }
}

impl CatchUp {
    /// Begins after the last `position` of a client.
    fn after(
        position: Option<Result<Position, PositionError>>,
        id: RoomId,
        room: &Room,
        is_disconnected: bool,
    ) -> CatchUp {
        let last = room.seq();
        let (next, missing, is_ahead) = match position {
            None => (room.end_offset(), Some(0), false),
            Some(Ok(position)) if position.epoch == room.epoch && position.seq <= last => {
                let next = room.offset_after(position.seq);
                let missing = last - position.seq - (room.end_offset() - next);
                (next, Some(missing), false)
            }
            // The client has read more at another process than this one knew when the link broke.
            Some(Ok(position)) if position.epoch == room.epoch && is_disconnected => {
                (room.end_offset(), Some(0), true)
            }
            // The client may have received any of the stored messages, or none.
            Some(_) => (room.start_offset(), None, false),
        };
        CatchUp { room: id, next, unnumbered: 0, missing, is_ahead }
    }
}
