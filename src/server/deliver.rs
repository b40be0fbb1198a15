//! Deliveries: what the chat wants told is written to the page once and queued for everyone it concerns.

use super::Server;
use crate::chat::{Chat, ClientId, Effect, RoomId};
use crate::codec::line;
use crate::config::SlowClient;
use crate::connection::{Connection, Life, Limits};
use crate::net::{Net, Token};
use crate::page::Slice;
use crate::protocol::{CloseReason, Event};
use crate::time::Now;

/// Whether a frame may be left out for a client that reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It may: somebody said something to a room or to this client.
    Message,
    /// It may not: it answers this client, or tells it about its connection.
    Vital,
}

/// What became of a frame for one client.
enum Outcome {
    /// It is queued.
    Queued,
    /// The client is closing and hears nothing more.
    Deaf,
    /// There is no room for it in the client's write buffer.
    Overflow,
}

impl<N: Net> Server<N> {
    /// Asks the chat for something, and carries out what it wants.
    pub(super) fn ask_chat(&mut self, ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>)) {
        let mut effects = std::mem::take(&mut self.effects);
        ask(&mut self.chat, self.now, &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(id, event) => self.send(id, &event, Kind::Vital),
            Effect::Pass(id, event) => self.send(id, &event, Kind::Message),
            Effect::Announce { room, except, event } => self.announce(room, except, &event),
            Effect::NameGiven(id) => {
                let now = self.now.moment;
                if let Some(connection) = self.roster.client_mut(id).filter(|c| c.life == Life::Naming) {
                    connection.codec.name_given();
                    connection.live(Life::Chatting, now);
                }
            }
            Effect::Quit(id) => {
                if let Some(token) = self.roster.token(id) {
                    self.roster.doom(token, CloseReason::Quit);
                }
            }
        }
    }

    /// Tells a connection something about itself.
    pub(super) fn tell(&mut self, token: Token, event: &Event) {
        if self.roster.get(token).is_some() {
            self.send(token.into(), event, Kind::Vital);
        }
    }

    /// Tells a connection of its own fate, in a few words that no limit and no closing holds back.
    pub(super) fn insist(&mut self, token: Token, event: &Event) {
        if let Some(connection) = self.roster.get_mut(token) {
            let slice = self.pages.frame(|page| line::encode(event, page));
            self.pages.hold(slice, 1);
            connection.outbox.push(slice);
            self.roster.soil(token.into());
        }
    }

    /// Queues an event for one client.
    fn send(&mut self, id: ClientId, event: &Event, kind: Kind) {
        let slice = self.pages.frame(|page| line::encode(event, page));
        let held = self.queue(id, slice, kind);
        self.pages.hold(slice, usize::from(held));
    }

    /// Queues an event for a room: one frame, and a slice of it for each member. The members don't change meanwhile,
    /// whatever happens to some of them.
    fn announce(&mut self, room: RoomId, except: Option<ClientId>, event: &Event) {
        let slice = self.pages.frame(|page| line::encode(event, page));
        let mut held = 0;
        for index in 0..self.chat.members(room).len() {
            let id = self.chat.members(room)[index];
            if Some(id) != except && self.queue(id, slice, Kind::Message) {
                held += 1;
            }
        }
        self.pages.hold(slice, held);
    }

    /// Queues a frame for one client, or does what its slowness calls for. `true` if it is queued.
    #[inline]
    fn queue(&mut self, id: ClientId, slice: Slice, kind: Kind) -> bool {
        let Some(connection) = self.roster.client_mut(id) else {
            return false;
        };
        match offer(connection, slice, kind, &self.limits) {
            Outcome::Queued => {
                self.metrics.deliveries += 1;
                self.roster.soil(id);
                true
            }
            Outcome::Deaf => false,
            Outcome::Overflow => self.overflow(id, slice, kind),
        }
    }

    /// There is no room for a frame in a client's write buffer. `true` if it could be queued after all.
    ///
    /// A busy tick can fill the buffer of somebody who reads as fast as anyone: so what is there is written first, and
    /// only who does not take it is slow.
    #[cold]
    fn overflow(&mut self, id: ClientId, slice: Slice, kind: Kind) -> bool {
        let Some(token) = self.roster.token(id) else {
            return false;
        };
        if self.roster.get(token).is_some_and(|connection| connection.ready.writable) {
            self.flush(token);
        }
        let Some(connection) = self.roster.get_mut(token) else {
            return false;
        };
        match offer(connection, slice, kind, &self.limits) {
            Outcome::Queued => {
                self.metrics.deliveries += 1;
                self.roster.soil(id);
                return true;
            }
            Outcome::Deaf => {}
            Outcome::Overflow if kind == Kind::Message && self.limits.slow_client == SlowClient::Skip => {
                connection.outbox.miss();
                self.metrics.missed += 1;
            }
            Outcome::Overflow => self.roster.doom(token, CloseReason::BufferFull),
        }
        false
    }
}

/// Puts a frame into a client's outbox if it fits. Behind a gap no message fits until the client was told of the gap.
#[inline]
fn offer<S>(connection: &mut Connection<S>, slice: Slice, kind: Kind, limits: &Limits) -> Outcome {
    if !connection.hears() {
        return Outcome::Deaf;
    }
    let behind_a_gap = kind == Kind::Message && connection.outbox.missed() > 0;
    if behind_a_gap || connection.overflows(slice.len(), limits) {
        return Outcome::Overflow;
    }
    connection.frames_out = connection.frames_out.saturating_add(1);
    connection.outbox.push(slice);
    Outcome::Queued
}
