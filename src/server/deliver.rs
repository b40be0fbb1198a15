//! Deliveries: what the chat wants told is written to the page once and queued for everyone it concerns.

use super::Server;
use crate::arena::Slice;
use crate::chat::{Chat, ClientId, Effect, RoomId};
use crate::codec;
use crate::connection::{Priority, Pushed, Readiness, State};
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Dialect, Event};
use crate::time::Now;

impl<N: Net> Server<N> {
    /// Asks the chat for something, and carries out what it wants. Somebody may come or go by it.
    pub(super) fn call_chat<T>(&mut self, ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>) -> T) -> T {
        self.deliver_batch();
        self.call_chat_within_batch(ask)
    }

    /// The same, for what changes nothing in who is in which room.
    pub(super) fn call_chat_within_batch<T>(
        &mut self,
        ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut effects = std::mem::take(&mut self.effects);
        let answer = ask(&mut self.chat, self.now, &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.effects = effects;
        answer
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(id, event) => self.send(id, &event, Priority::Required),
            Effect::Deliver(id, event) => self.send(id, &event, Priority::Droppable),
            Effect::Announce { room, except, event } => self.announce(room, except, &event),
            Effect::NameGiven(id) => self.record_name(id),
            Effect::SendToAll(event) => self.send_to_everybody(&event),
            Effect::Publish(share) => {
                if let Some(linked) = &mut self.linked {
                    linked.backplane.share(share, self.now);
                }
            }
            Effect::Quit(id) => {
                if let Some(token) = self.roster.token(id) {
                    self.roster.close(token, CloseReason::Quit);
                }
            }
        }
    }

    /// Tells everyone who is in the chat.
    fn send_to_everybody(&mut self, event: &Event) {
        let here = self.roster.iter().filter(|(_, connection)| connection.state == State::Active);
        let here: Vec<Token> = here.map(|(token, _)| token).collect();
        here.into_iter().for_each(|token| self.send(token.into(), event, Priority::Required));
    }

    /// Sends a client that catches up the next piece of what it has still to be sent.
    pub(super) fn catch_up(&mut self, token: Token) {
        self.requester = Some((token.into(), None));
        self.call_chat(|chat, _, effects| chat.catch_up(token.into(), effects));
        self.requester = None;
        self.record_catching_up(token);
    }

    /// Notes whether the chat has more to send to a client than it was sent.
    pub(super) fn record_catching_up(&mut self, token: Token) {
        let catches_up = self.chat.is_catching_up(token.into());
        if let Some(connection) = self.roster.get_mut(token) {
            connection.ready.set(Readiness::CATCHING_UP, catches_up);
        }
    }

    /// Tells a connection something about itself.
    pub(super) fn tell(&mut self, token: Token, event: &Event) {
        if self.roster.get(token).is_some() {
            self.send(token.into(), event, Priority::Required);
        }
    }

    /// Tells a connection of its own fate, in a few words that no limit and no closing holds back.
    pub(super) fn send_regardless(&mut self, token: Token, event: &Event) {
        if let Some(connection) = self.roster.get(token) {
            let dialect = connection.dialect;
            self.put(token, |out| codec::encode(dialect, event, None, out));
        }
    }

    /// Tells a client how many messages were left out for it: where it may be in several rooms, of which.
    pub(super) fn send_missed(&mut self, token: Token) {
        self.deliver_batch();
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let mut missed = connection.outbox.take_missed();
        if connection.dialect == Dialect::Line && !missed.is_empty() {
            missed = vec![(None, missed.iter().map(|(_, count)| count).sum())];
        }
        for (source, count) in missed {
            let room = source.and_then(|source| self.chat.room_name(RoomId::from_u64(source)).cloned());
            self.send_regardless(token, &Event::Missed { room, count });
        }
    }

    /// Queues bytes for a connection, whatever waits already.
    pub(super) fn put(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        self.deliver_batch();
        if let Some(connection) = self.roster.get_mut(token) {
            let slice = self.arena.frame(write);
            self.arena.leave_out_of_round(slice);
            self.arena.hold(slice, 1);
            connection.outbox.push_answer(slice, self.limits.small_answers_bytes());
            self.roster.mark_dirty(token.into());
        }
    }

    /// Queues bytes that are no event for a connection, if they fit.
    pub(super) fn send_bytes(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        if self.roster.get(token).is_some() {
            let slice = self.arena.frame(write);
            self.deliver_batch();
            self.queue(token.into(), slice, Priority::Required, None);
        }
    }

    /// Queues an event for one client.
    fn send(&mut self, id: ClientId, event: &Event, kind: Priority) {
        let Some(connection) = self.roster.client_mut(id) else {
            return;
        };
        let dialect = connection.dialect;
        let requester =
            self.requester.as_ref().filter(|(requester, _)| *requester == id && kind == Priority::Required);
        let kind = if requester.is_some() { Priority::Reply } else { kind };
        let tag = requester.and_then(|(_, tag)| tag.as_ref());
        let slice = self.arena.frame(|out| codec::encode(dialect, event, tag, out));
        if kind != Priority::Droppable {
            self.arena.leave_out_of_round(slice);
        }
        if !slice.is_empty() {
            self.deliver_batch();
            self.queue(id, slice, kind, None);
        }
    }

    /// Queues a frame for one client; `room` is where it was said, if it was said to one.
    pub(super) fn queue(&mut self, id: ClientId, frame: Slice, kind: Priority, room: Option<RoomId>) {
        match self.roster.push(id, frame, 1, kind) {
            Pushed::Queued => self.count(frame, 1, 1),
            Pushed::Full => self.overflow(id, frame, kind, room),
            Pushed::Closing => {}
        }
    }

    /// Counts a slice of so many frames that is now in so many outboxes.
    pub(super) fn count(&mut self, slice: Slice, frames: usize, outboxes: usize) {
        self.arena.hold(slice, outboxes);
        self.metrics.deliveries += (frames * outboxes) as u64;
        self.metrics.bytes_queued += (outboxes * slice.len()) as u64;
    }

    /// There is no room for a frame in a client's write buffer.
    ///
    /// A busy tick can fill the buffer of somebody who reads as fast as anyone: so what is there is written first, and
    /// only who does not take it is slow.
    #[cold]
    fn overflow(&mut self, id: ClientId, slice: Slice, kind: Priority, room: Option<RoomId>) {
        let Some(token) = self.roster.token(id) else {
            return;
        };
        if self.roster.get(token).is_some_and(|connection| connection.ready.contains(Readiness::WRITABLE)) {
            self.flush(token);
        }
        match self.roster.push(id, slice, 1, kind) {
            Pushed::Queued => self.count(slice, 1, 1),
            Pushed::Closing => {}
            Pushed::Full => match self.roster.get_mut(token) {
                Some(connection) if kind == Priority::Droppable && connection.skips(&self.limits) => {
                    self.metrics.missed += 1;
                    connection.outbox.miss(room.map(RoomId::as_u64));
                }
                _ => self.roster.close(token, CloseReason::BufferFull),
            },
        }
    }
}
