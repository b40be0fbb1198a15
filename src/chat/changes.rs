//! Changes of rooms take effect: [`Chat::commit`]. Messages, joins, leaves, new names and topics all pass here, in the one order
//! that the members of a room see.
//!
//! A single process commits a change as soon as it is made. With several processes, Redis first gives it its place.

use std::rc::Rc;

use super::clients::Client;
use super::context::NO_FACTS;
use super::crowd::Crowd;
use super::ids::{ClientId, RoomId};
use super::rooms::Room;
use super::{Chat, Ctx, Effect, Except};
use crate::protocol::{Change, Event, Message, Order};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// A change with its place, and what its author expects.
#[derive(Debug)]
pub struct Placed {
    pub change: Change,
    pub order: Order,
    /// The client here that has made the change.
    pub author: Option<ClientId>,
    /// Whether the author is sent the message back.
    pub receipt: bool,
}

impl Chat {
    /// Commits a change in the room with that name, which is opened if necessary. Returns its sequence number; 0: it has none.
    pub fn commit_to(&mut self, room: &RoomName, placed: Placed, now: Now, effects: &mut Vec<Effect>) -> u64 {
        // There are too many rooms, and so no subscriber here.
        let Some(id) = self.rooms.open(room.clone()) else {
            return 0;
        };
        let seq = self.commit(id, placed, now, effects);
        self.rooms.close_if_unused(id, now.moment);
        seq
    }

    /// Commits a change: stores it if it is kept, and announces it. Returns its sequence number; 0: it has none.
    pub fn commit(&mut self, id: RoomId, placed: Placed, now: Now, effects: &mut Vec<Effect>) -> u64 {
        let ctx = &mut Ctx::new(now, &NO_FACTS, effects);
        // The room may have been closed since the change was made.
        if self.rooms.get(id).is_none() {
            return 0;
        }
        let Placed { change, order, author, receipt } = placed;
        match change {
            Change::Message(message) => {
                return self.commit_message(id, message, (order, author, receipt), ctx);
            }
            Change::Relayed { payload, from, message } => {
                if !matches!(order, Order::Seen(_)) {
                    let further = self.ignores.of(from.as_str()).cloned();
                    self.announce_of(id, author, further, Event::Relayed(payload), receipt, ctx);
                }
                let placed = (order, author, receipt);
                return message.map_or(0, |message| self.commit_message(id, message, placed, ctx));
            }
            Change::Topic { by, text } => self.commit_topic(id, by, text, author, ctx),
            Change::Joined { by, name, count } => {
                let event = |room: &Room| Event::Joined { by, name, room: room.name.clone(), count };
                self.announce_or_count(id, self.member(author, id), count, event, ctx);
            }
            Change::Left { by, name, reason, count } => {
                let event = |room: &Room| Event::Left { by, name, room: room.name.clone(), reason, count };
                self.announce_or_count(id, self.member(author, id), count + 1, event, ctx);
            }
            Change::Renamed { by, from, to, count } => {
                // A client of this process is followed as soon as it is renamed, since it may be in no room.
                if by.process != self.process {
                    self.ignores.rename(from.as_str(), to.as_str());
                }
                if let Some(room) = self.rooms.get(id).filter(|_| count <= self.rules.announce_max) {
                    let room = room.name.clone();
                    ctx.announce(id, self.member(author, id), Event::Renamed { room, by, from, to });
                }
            }
            Change::Crowd { joined, left, count } => {
                if let Some(room) = self.rooms.get(id) {
                    ctx.announce(id, None, Event::Crowd { room: room.name.clone(), joined, left, count });
                }
            }
            Change::Lost { count } => {
                let seq = self.rooms.number(id, order).unwrap_or_default();
                // Some members here may have seen the messages without numbers. Others have come back since, and have not.
                self.announce_lost(id, Some(count), ctx);
                return seq;
            }
        }
        0
    }

    fn commit_message(
        &mut self,
        id: RoomId,
        message: Rc<Message>,
        (order, author, receipt): (Order, Option<ClientId>, bool),
        ctx: &mut Ctx<'_>,
    ) -> u64 {
        let (message, is_stored) = self.rooms.append(id, order, message);
        let seq = message.seq;
        // A message over the memory limit closes a room that has no subscribers.
        if let Some(room) = self.rooms.get(id).filter(|_| !matches!(order, Order::Seen(_))) {
            let ignorers = self.ignores.of(message.from.as_str());
            let further = merged(ignorers, room.catching_up.as_ref().filter(|_| is_stored));
            let event = Event::Message { room: room.name.clone(), epoch: room.epoch, message };
            self.announce_of(id, author, further, event, receipt, ctx);
        }
        seq
    }

    /// The author of a change, if it is still in the room. Only members are left out of an announcement.
    fn member(&self, author: Option<ClientId>, room: RoomId) -> Option<ClientId> {
        let is_member = |client: &Client| client.membership_in(room.slot()).is_some();
        author.filter(|author| self.client(*author).is_some_and(is_member))
    }

    /// Announces what a client has said to all subscribers but the `further` ones. The author gets it too if it wants to.
    fn announce_of(
        &self,
        id: RoomId,
        author: Option<ClientId>,
        further: Option<Rc<[ClientId]>>,
        event: Event,
        receipt: bool,
        ctx: &mut Ctx<'_>,
    ) {
        let gets_echo = |author: &ClientId| {
            self.client(*author).is_some_and(|client| receipt || client.gets_echo(id.slot()))
        };
        let echo = author.filter(gets_echo).map(|author| (author, event.clone()));
        ctx.announce(id, Except { cause: self.member(author, id), further }, event);
        if let Some((author, event)) = echo {
            ctx.reply(author, event);
        }
    }

    /// Announces a join or a leave, or counts it for the summary if the room has had too many members.
    fn announce_or_count(
        &mut self,
        id: RoomId,
        author: Option<ClientId>,
        members: usize,
        event: impl FnOnce(&Room) -> Event,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.rules().announce) else {
            return;
        };
        let event = event(room);
        if members <= self.rules.announce_max {
            return ctx.announce(id, author, event);
        }
        let is_join = matches!(event, Event::Joined { .. });
        let count = |crowd: &mut Crowd| match is_join {
            true => crowd.joined += 1,
            false => crowd.left += 1,
        };
        self.crowds.record(id, &mut room.crowd, count, ctx.now.moment);
    }

    fn commit_topic(
        &mut self,
        id: RoomId,
        by: Option<Name>,
        text: Option<Text>,
        author: Option<ClientId>,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.topic = Some((by, text));
        let event = room.topic_event();
        // The answer has the `id` of the request, and the announcement has none.
        if let Some(author) = author {
            ctx.reply(author, event.clone());
        }
        ctx.announce(id, self.member(author, id), event);
    }

    /// Announces that messages of a room are lost; `None` if their number is unknown.
    pub(super) fn announce_lost(&self, id: RoomId, count: Option<u64>, ctx: &mut Ctx<'_>) {
        let Some(room) = self.rooms.get(id) else {
            return;
        };
        ctx.announce(id, None, Event::Lost { room: room.name.clone(), count });
        self.announce_position(id, ctx);
    }

    /// Announces the position of a room, which the next message alone would not show. Clients that are catching up get it at
    /// the end.
    pub(super) fn announce_position(&self, id: RoomId, ctx: &mut Ctx<'_>) {
        if let Some(room) = self.rooms.get(id) {
            let except = Except { cause: None, further: room.catching_up.clone() };
            ctx.announce(id, except, room.position_event());
        }
    }
}

/// The clients of two sorted lists.
fn merged(a: Option<&Rc<[ClientId]>>, b: Option<&Rc<[ClientId]>>) -> Option<Rc<[ClientId]>> {
    let (Some(first), Some(second)) = (a, b) else {
        return a.or(b).cloned();
    };
    let mut ids = [&**first, second].concat();
    ids.sort_unstable();
    ids.dedup();
    Some(ids.into())
}
