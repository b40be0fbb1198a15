//! Listeners that come back: they are sent what was said since they were here last, a piece at a time, as they take it.
//!
//! Until that is done, such a listener is not among those who are sent what is said. It reads the room's history up to
//! its end, and joins them there. So no message overtakes another or is sent twice, and what waits for a listener is one
//! piece, however much was said. If the history drops a message before its turn, the listener is told how many are missing.

use super::ids::{ClientId, RoomId};
use super::rooms::{Room, shown_bytes};
use super::{Chat, Ctx, Effect};
use crate::chat::clients::Echo;
use crate::protocol::{Dialect, Event, LocalEvent, Position, PositionError};
use crate::time::Now;

/// The progress of a listener that catches up.
#[derive(Clone, Copy, Debug)]
pub struct Returning {
    /// The room, which stays open for it.
    room: RoomId,
    /// The place of the next message among all that the room has ever remembered.
    next: u64,
    /// The last gap that it was told of.
    since: u64,
}

impl Chat {
    /// Sends a listener what was said since it has `heard` a room: the first piece, or all of it if it is not much.
    pub(super) fn begin_to_catch_up(
        &mut self,
        id: ClientId,
        to: RoomId,
        heard: Option<Result<Position, PositionError>>,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(room) = self.rooms.present(to) else {
            return;
        };
        let (next, missing) = self.missed_since(room, heard);
        if missing != Some(0) {
            let gap = Event::Gap { room: room.name.clone(), count: missing };
            ctx.reply(id, gap);
        }
        self.returning.insert(id.0, Returning { room: to, next, since: room.since() });
        self.hold_open(to, ctx);
        self.send_piece(id, ctx);
    }

    /// The first message for a listener that has `heard` a room, and how many before that it has missed; `None` if that
    /// can't be known.
    fn missed_since(
        &self,
        room: &Room,
        heard: Option<Result<Position, PositionError>>,
    ) -> (u64, Option<u64>) {
        let (epoch, last) = (self.epoch(room), room.seq());
        match heard {
            None => (room.end(), Some(0)),
            Some(Ok(heard)) if heard.epoch == epoch && heard.seq <= last => {
                let next = room.place_behind(heard.seq);
                let missing = last - heard.seq - (room.end() - next);
                (next, (heard.seq >= room.since()).then_some(missing))
            }
            // It may miss any of what is remembered, and may have heard all of it.
            Some(_) => (room.forgotten(), None),
        }
    }

    /// Sends the next piece to a listener that catches up. The position comes last, so that a listener that breaks off
    /// before is told again.
    pub fn catch_up(&mut self, id: ClientId, now: Now, effects: &mut Vec<Effect>) {
        self.send_piece(id, &mut self.context(now, effects));
    }

    fn send_piece(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        // It may have left since the last piece was sent.
        let Some(mut returning) = self.returning.take(id.0) else {
            return;
        };
        let Some(room) = self.rooms.present(returning.room) else {
            return;
        };
        let epoch = self.epoch(room);
        let gap = |count| Event::Gap { room: room.name.clone(), count };
        let forgotten = room.forgotten().saturating_sub(returning.next);
        if forgotten > 0 {
            ctx.reply(id, gap(Some(forgotten)));
        }
        if room.since() > returning.since {
            ctx.reply(id, gap(None));
        }
        returning.next += forgotten;
        returning.since = room.since();
        let mut bytes = 0;
        for message in room.from(returning.next) {
            bytes += shown_bytes(message, Dialect::Events);
            let event = Event::Message { room: room.name.clone(), epoch, message: message.clone() };
            ctx.reply(id, event);
            returning.next += 1;
            if bytes >= self.rules.piece_bytes {
                break;
            }
        }
        if returning.next < room.end() {
            return self.returning.insert(id.0, returning);
        }
        ctx.reply(id, Event::Position(Position { epoch, seq: room.seq() }));
        self.put_in(id, returning.room, Echo(false), ctx);
        self.let_go(returning.room, ctx);
    }

    /// Whether a listener has still to be sent something that was said before.
    pub fn is_catching_up(&self, id: ClientId) -> bool {
        !self.returning.is_empty() && self.returning.get(id.0).is_some()
    }

    /// A listener is gone, perhaps before it has caught up.
    pub(super) fn stop_catching_up(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        if let Some(returning) = self.returning.take(id.0) {
            self.let_go(returning.room, ctx);
            self.rooms.close_if_unused(returning.room, ctx.now.moment);
        }
    }

    /// Keeps a room open for a listener that catches up, and its messages coming.
    fn hold_open(&mut self, id: RoomId, ctx: &mut Ctx<'_>) {
        if let Some(room) = self.rooms.present_mut(id) {
            room.returning += 1;
            if room.local_subscribers() == 1 {
                ctx.publish(|| LocalEvent::Subscribed { room: room.name.clone(), any: true });
            }
        }
    }

    fn let_go(&mut self, id: RoomId, ctx: &mut Ctx<'_>) {
        if let Some(room) = self.rooms.present_mut(id) {
            room.returning -= 1;
            if room.local_subscribers() == 0 {
                ctx.publish(|| LocalEvent::Subscribed { room: room.name.clone(), any: false });
            }
        }
    }
}
