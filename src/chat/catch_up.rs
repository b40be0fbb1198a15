//! Catch-up of SSE clients that return: the messages since their last position, one batch at a time.
//!
//! A client that is catching up reads the room's history to its end, and becomes a subscriber there. So messages keep their
//! order, none is sent twice, and a client's queued output is at most one batch. If messages are evicted before they were
//! sent, the client is sent their number.

use super::clients::Echo;
use super::context::NO_FACTS;
use super::ids::{ClientId, RoomId};
use super::membership::share_subscription;
use super::rooms::{Room, encoded_bytes_max};
use super::{Chat, Ctx, Effect};
use crate::protocol::{Dialect, Epoch, Event, Position, PositionError};
use crate::time::Now;

/// The progress of an SSE client that is catching up.
#[derive(Clone, Copy, Debug)]
pub struct CatchUp {
    /// The room stays open until the client has caught up or left.
    room: RoomId,
    /// The offset of the next message in the room.
    next: u64,
    epoch: Epoch,
}

impl CatchUp {
    /// The room whose messages the client is sent.
    pub fn room(&self) -> RoomId {
        self.room
    }
}

impl Chat {
    /// Sends an SSE client the first batch of messages after its last `position`.
    pub(super) fn start_catch_up(
        &mut self,
        id: ClientId,
        to: RoomId,
        position: Option<Result<Position, PositionError>>,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(room) = self.rooms.existing(to) else {
            return;
        };
        let (next, missing) = self.resume_at(room, position);
        if missing != Some(0) {
            ctx.reply(id, Event::Gap { room: room.name.clone(), count: missing });
        }
        self.catch_ups.insert(id.0, CatchUp { room: to, next, epoch: room.epoch });
        self.count_catching_up(to, ctx, |count| *count += 1);
        self.send_batch(id, ctx);
    }

    /// The offset of the first message to send after `position`, and the number of messages that are missing before it:
    /// `None` if that can't be known.
    fn resume_at(
        &self,
        room: &Room,
        position: Option<Result<Position, PositionError>>,
    ) -> (u64, Option<u64>) {
        let (epoch, last) = (room.epoch, room.seq());
        match position {
            None => (room.end_offset(), Some(0)),
            Some(Ok(position)) if position.epoch == epoch && position.seq <= last => {
                let next = room.offset_after(position.seq);
                let missing = last - position.seq - (room.end_offset() - next);
                (next, Some(missing))
            }
            // The client may have received any of the stored messages, or none.
            Some(_) => (room.start_offset(), None),
        }
    }

    /// Sends a client that is catching up its next batch, if it has not left. The server calls this when the last batch
    /// was written.
    pub fn catch_up(&mut self, id: ClientId, now: Now, effects: &mut Vec<Effect>) {
        self.send_batch(id, &mut Ctx::new(now, &NO_FACTS, effects));
    }

    /// Sends the next batch. The position is sent last: a client that disconnects before gets these messages again.
    fn send_batch(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        // The client may have left since the last batch.
        let Some(mut progress) = self.catch_ups.take(id.0) else {
            return;
        };
        let Some(room) = self.rooms.existing(progress.room) else {
            return;
        };
        let epoch = room.epoch;
        let gap = |count| Event::Gap { room: room.name.clone(), count };
        let evicted = room.start_offset().saturating_sub(progress.next);
        if evicted > 0 {
            ctx.reply(id, gap(Some(evicted)));
        }
        if epoch != progress.epoch {
            ctx.reply(id, gap(None));
        }
        progress.next += evicted;
        progress.epoch = epoch;
        let mut bytes = 0;
        for message in room.messages_from(progress.next) {
            bytes += encoded_bytes_max(message, Dialect::Events);
            ctx.reply(id, Event::Message { room: room.name.clone(), epoch, message: message.clone() });
            progress.next += 1;
            if bytes >= self.rules.batch_bytes {
                break;
            }
        }
        if progress.next < room.end_offset() {
            return self.catch_ups.insert(id.0, progress);
        }
        ctx.reply(id, Event::Position(Position { epoch, seq: room.seq() }));
        self.subscribe(id, progress.room, Echo(false), ctx);
        self.count_catching_up(progress.room, ctx, |count| *count -= 1);
    }

    pub fn is_catching_up(&self, id: ClientId) -> bool {
        !self.catch_ups.is_empty() && self.catch_ups.get(id.0).is_some()
    }

    /// The clients that are catching up in that epoch of a room.
    pub(super) fn catching_up_in(&self, id: RoomId, epoch: Epoch) -> Vec<ClientId> {
        let is_in = |slot: &u32| {
            self.catch_ups.get(*slot).is_some_and(|progress| progress.room == id && progress.epoch == epoch)
        };
        let mut slots: Vec<u32> = self.catch_ups.slots().filter(is_in).collect();
        // The order of the table is random, and a simulation must be repeatable.
        slots.sort_unstable();
        slots.into_iter().map(ClientId).collect()
    }

    /// Ends the catch-up of a client that leaves, if it was catching up.
    pub(super) fn stop_catch_up(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        if let Some(progress) = self.catch_ups.take(id.0) {
            self.count_catching_up(progress.room, ctx, |count| *count -= 1);
            self.rooms.close_if_unused(progress.room, ctx.now.moment);
        }
    }

    /// Changes the number of clients that are catching up in a room. They keep the room open and subscribed in Redis.
    fn count_catching_up(&mut self, id: RoomId, ctx: &mut Ctx<'_>, change: impl FnOnce(&mut u32)) {
        if let Some(room) = self.rooms.existing_mut(id) {
            let was_unused = room.is_unused();
            change(&mut room.catching_up);
            share_subscription(room, was_unused, ctx);
        }
    }
}
