//! Input from rooms: payloads of their channels, and entries read from their streams. Both are delivered in the order of Redis.

use std::mem;

use super::rooms::{FollowedRoom, Following};
use super::{Backplane, LinkCommand, entry};
use crate::codec::json;
use crate::codec::resp::Reply;
use crate::protocol::{
    Body, Change, Epoch, Gap, Message, MessageId, MessageKind, Order, Position, RemoteEvent, RoomPosition,
    Sender,
};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// The prefix of each payload that a process or a script publishes.
pub const SIGNATURE: &[u8] = b"chinwag ";

/// A payload in a room's channel.
struct RoomPayload<'a> {
    /// `None` if the entry is not kept.
    position: Option<Position>,
    count: usize,
    entry: &'a str,
}

impl<'a> RoomPayload<'a> {
    /// Parses `chinwag OFFSET EPOCH COUNT JSON`, with `-` for what is missing.
    fn parse(raw: &'a [u8]) -> Option<RoomPayload<'a>> {
        let raw = str::from_utf8(raw.strip_prefix(SIGNATURE)?).ok()?;
        let [offset, epoch, count, entry] = raw.splitn(4, ' ').collect::<Vec<_>>().try_into().ok()?;
        let position = match (offset, epoch) {
            ("-", "-") => None,
            _ => Some(format!("{epoch}-{offset}").parse().ok()?),
        };
        Some(RoomPayload { position, count: if count == "-" { 0 } else { count.parse().ok()? }, entry })
    }
}

impl Backplane {
    /// Reads a room from its position on. The payload that was `held` waits for that, and so do later ones.
    pub(super) fn begin_reading(&mut self, name: &RoomName, held: Option<Vec<u8>>) {
        // The room may not be followed any more.
        if let Some(room) = self.rooms.by_name.get_mut(name) {
            room.state = Following::Reading { held: Vec::new(), earlier: 0 };
            held.into_iter().for_each(|raw| self.rooms.hold(name, raw));
            self.read(name);
        }
    }

    /// Reads a live room again. Any other is about to be read.
    pub(super) fn read_again(&mut self, name: &RoomName) {
        if self.rooms.by_name.get(name).is_some_and(FollowedRoom::is_live) {
            self.begin_reading(name, None);
        }
    }

    /// Requests the entries after the position. Before the session serves clients it does nothing: [`Backplane::serve`] reads all rooms.
    pub(super) fn read(&mut self, name: &RoomName) {
        if self.is_serving()
            && let Some(Following::Reading { held, earlier }) =
                self.rooms.by_name.get_mut(name).map(|room| &mut room.state)
        {
            *earlier = held.len();
            self.queue.push_for_session(LinkCommand::Sync(name.clone()));
        }
    }

    pub(super) fn handle_room_payload(&mut self, name: &RoomName, raw: Vec<u8>, now: Now) {
        // It is a late payload of a room that is not followed any more.
        let Some(room) = self.rooms.by_name.get_mut(name) else {
            return;
        };
        match room.state {
            Following::Unsubscribed => {}
            Following::Reading { .. } => {
                self.rooms.hold(name, raw);
                if self.rooms.held_bytes > self.reply_max_bytes {
                    self.handle_broken("rooms receive more than --redis-reply-max while they are read", now);
                }
            }
            Following::Live => self.handle_live_payload(name, raw),
        }
    }

    fn handle_live_payload(&mut self, name: &RoomName, raw: Vec<u8>) {
        if !raw.starts_with(SIGNATURE) {
            return self.handle_foreign(name, &raw);
        }
        let Some(RoomPayload { position, count, entry }) = RoomPayload::parse(&raw) else {
            self.counts.ignored += 1;
            return;
        };
        // A payload without a position is not kept.
        let Some((known, Position { epoch, seq })) = self.position(name).zip(position) else {
            return self.deliver_entry(name, entry.as_bytes(), Order::Unnumbered, count);
        };
        if known.epoch == epoch && seq == known.seq.saturating_add(1) {
            self.deliver_entry(name, entry.as_bytes(), Order::At(seq), count);
        } else if known.epoch != epoch || seq > known.seq {
            self.begin_reading(name, Some(raw));
        }
    }

    /// Delivers a payload of another program: data if it is JSON, else text.
    fn handle_foreign(&mut self, name: &RoomName, payload: &[u8]) {
        let text = str::from_utf8(payload).ok().filter(|text| text.len() <= self.message_max_bytes);
        let data = text.and_then(|text| json::body(text).ok());
        let Some(body) = data.or_else(|| text.and_then(Text::clean_lines).map(Body::Text)) else {
            self.counts.ignored += 1;
            return;
        };
        self.counts.received += 1;
        let (from, sender, kind) = (Name::of_redis(), Sender::Unknown, MessageKind::Say);
        let message =
            Message { from, sender, kind, body, seq: 0, id: None, at_unix_millis: self.unix_millis };
        let change = Change::Message(message.into());
        self.deliver(RemoteEvent::Changed {
            room: name.clone(),
            change,
            order: Order::Unnumbered,
            ticket: None,
        });
    }

    /// Delivers an entry, and moves the position to it if it is numbered.
    fn deliver_entry(&mut self, name: &RoomName, raw: &[u8], order: Order, count: usize) {
        let seq = match order {
            Order::At(seq) | Order::Seen(seq) => seq,
            Order::Next | Order::Unnumbered => 0,
        };
        let entry::ReceivedEntry { id, change } = entry::decode(raw, seq, count, self.message_max_bytes);
        let ticket = id.filter(|id| id.process == self.process).map(|id| id.serial);
        ticket.iter().for_each(|serial| drop(self.confirmed.remove(serial)));
        let mut was_shown = ticket.is_some_and(|serial| self.queue.record_shown(serial));
        if let Some(room) = self.rooms.by_name.get_mut(name) {
            if let Some(serial) = ticket {
                // Redis has them in ascending order, so smaller ones were discarded.
                let later = room.seen.split_off(&serial.saturating_add(1));
                was_shown |= mem::replace(&mut room.seen, later).contains(&serial);
            }
            if let Some(position) = room.position.as_mut().filter(|_| seq > 0) {
                (position.seq, position.id) = (seq, id);
            }
            if let Some(id) = id.filter(|_| ticket.is_none() && seq > 0) {
                was_shown |= room.record_remote(id);
            }
        }
        let Some(change) = change else {
            self.counts.ignored += 1;
            return;
        };
        self.counts.received += u64::from(ticket.is_none());
        // A topic is shown again: the room was read since, and Redis had another one. Its author has got the answer.
        let is_shown_again = was_shown && matches!(change, Change::Topic { .. });
        let ticket = ticket.filter(|_| !is_shown_again);
        let order = match order {
            Order::At(seq) if was_shown => Order::Seen(seq),
            order => order,
        };
        self.deliver(RemoteEvent::Changed { room: name.clone(), change, order, ticket });
    }

    fn position(&self, name: &RoomName) -> Option<RoomPosition> {
        self.rooms.by_name.get(name)?.position
    }

    /// Handles the reply to `sync`. `None` if it is malformed.
    pub(super) fn handle_sync(&mut self, name: &RoomName, reply: &[Reply], now: Now) -> Option<()> {
        let [epoch, start, last, topic, entries @ ..] = reply else {
            return None;
        };
        let is_reading = |room: &FollowedRoom| matches!(room.state, Following::Reading { .. });
        // The room may not be followed any more, or again.
        if !self.rooms.by_name.get(name).is_some_and(is_reading) {
            return Some(());
        }
        let epoch: Epoch = super::reply::text(epoch)?.parse().ok()?;
        let (start, last) = (super::reply::number(start)?, super::reply::number(last)?);
        let topic = entry::decode_topic(super::reply::bytes(topic)?);
        let pairs = entries.chunks_exact(2);
        let entries =
            pairs.map(|pair| Some((super::reply::number(&pair[0])?, super::reply::bytes(&pair[1])?)));
        let entries: Vec<(u64, &[u8])> = entries.collect::<Option<_>>()?;
        let before = entries.first().map_or(last, |(seq, _)| seq.saturating_sub(1));
        // The last entry before those of a history.
        let older = entries.iter().rev().nth(self.history).map_or(before, |(seq, _)| *seq);
        let known = self.position(name);
        let seen_to = self.set_position(name, epoch, before, (start, older), topic)?;
        if known.is_some_and(|known| known.epoch != epoch && known.seq > 0) {
            self.register_after_loss(now.moment);
        }
        for (seq, raw) in entries {
            if self.position(name).is_some_and(|known| known.seq < seq) {
                let order = if seq <= seen_to { Order::Seen(seq) } else { Order::At(seq) };
                self.deliver_entry(name, raw, order, 0);
            }
        }
        match self.position(name).is_some_and(|position| position.seq < last) {
            true => self.read(name),
            false => self.go_live(name, now),
        }
        Some(())
    }

    /// Moves the position to `before` the entries read, and reports what is missed. Returns the last entry that members here
    /// may have seen.
    fn set_position(
        &mut self,
        name: &RoomName,
        epoch: Epoch,
        before: u64,
        (start, older): (u64, u64),
        topic: Option<(Option<Name>, Option<Text>)>,
    ) -> Option<u64> {
        let room = self.rooms.by_name.get_mut(name)?;
        let (missed, seen_to, seq) = match room.position {
            Some(known) if known.epoch == epoch => {
                let missed = match before.saturating_sub(known.seq) {
                    0 => Gap::Nothing,
                    count => Gap::Count(count),
                };
                (missed, 0, before.max(known.seq))
            }
            Some(_) => (Gap::Unknown, start, before),
            // The subscribers came while the link was down. They get the last entries now, and may have missed some of the others.
            None if room.has_subscribers && older > start => (Gap::Unknown, older, before),
            None if room.has_subscribers => (Gap::Nothing, older, before),
            None => (Gap::Nothing, 0, before),
        };
        let is_same = room.position.is_some_and(|known| (known.epoch, known.seq) == (epoch, seq));
        let id: Option<MessageId> = room.position.filter(|_| is_same).and_then(|known| known.id);
        room.position = Some(RoomPosition { epoch, seq, id });
        self.deliver(RemoteEvent::Synced { room: name.clone(), epoch, seq, missed, topic });
        Some(seen_to)
    }

    /// Delivers the payloads that have waited, and sends the questions about the room that have.
    fn go_live(&mut self, name: &RoomName, now: Now) {
        let Some(room) = self.rooms.by_name.get_mut(name) else {
            return debug_assert!(false, "a room that was just read is followed");
        };
        if let Following::Reading { held, earlier } = mem::replace(&mut room.state, Following::Live) {
            self.rooms.held_bytes -= held.iter().map(Vec::len).sum::<usize>();
            for (index, raw) in held.into_iter().enumerate() {
                let is_read = index < earlier
                    && RoomPayload::parse(&raw).is_some_and(|payload| payload.position.is_some());
                if !is_read {
                    self.handle_room_payload(name, raw, now);
                }
            }
        }
        // The older ones are not among the entries read: Redis has trimmed them.
        self.deliver_confirmed(|it| it.is_older() && it.submission.room == *name);
        self.ask_about(name);
    }
}
