//! Deliveries: what the chat wants told is written to the page once and queued for everyone it concerns.

use super::Server;
use crate::chat::{Chat, ClientId, Effect, RoomId};
use crate::codec::line;
use crate::config::SlowClient;
use crate::connection::{Kind, Life, Pushed};
use crate::net::{Net, Token};
use crate::page::Slice;
use crate::protocol::{CloseReason, Event};
use crate::time::Now;

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
                    connection.set_life(Life::Chatting, now);
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
    pub(super) fn tell_regardless(&mut self, token: Token, event: &Event) {
        if let Some(connection) = self.roster.get_mut(token) {
            let slice = self.pages.frame(|page| line::encode(event, page));
            self.pages.hold(slice, 1);
            connection.outbox.push(slice);
            self.roster.mark_dirty(token.into());
        }
    }

    /// Queues an event for one client.
    fn send(&mut self, id: ClientId, event: &Event, kind: Kind) {
        let slice = self.pages.frame(|page| line::encode(event, page));
        match self.roster.push(id, slice, kind) {
            Pushed::Queued => self.count(slice, 1),
            Pushed::Full => self.overflow(id, slice, kind),
            Pushed::Deaf => {}
        }
    }

    /// Queues an event for a room: one frame, and a slice of it for each member. The members don't change meanwhile,
    /// whatever happens to some of them.
    fn announce(&mut self, room: RoomId, except: Option<ClientId>, event: &Event) {
        let slice = self.pages.frame(|page| line::encode(event, page));
        let mut full = Vec::new();
        let audience = self.chat.audience(room, except);
        let queued = audience.map(|ids| self.roster.broadcast(ids, slice, &mut full)).iter().sum();
        self.count(slice, queued);
        for id in full {
            self.overflow(id, slice, Kind::Message);
        }
    }

    fn count(&mut self, slice: Slice, outboxes: usize) {
        self.pages.hold(slice, outboxes);
        self.metrics.deliveries += outboxes as u64;
    }

    /// There is no room for a frame in a client's write buffer.
    ///
    /// A busy tick can fill the buffer of somebody who reads as fast as anyone: so what is there is written first, and
    /// only who does not take it is slow.
    #[cold]
    fn overflow(&mut self, id: ClientId, slice: Slice, kind: Kind) {
        let Some(token) = self.roster.token(id) else {
            return;
        };
        if self.roster.get(token).is_some_and(|connection| connection.ready.writable) {
            self.flush(token);
        }
        match self.roster.push(id, slice, kind) {
            Pushed::Queued => self.count(slice, 1),
            Pushed::Deaf => {}
            Pushed::Full if kind == Kind::Message && self.limits.slow_client == SlowClient::Skip => {
                self.metrics.missed += 1;
                if let Some(connection) = self.roster.get_mut(token) {
                    connection.outbox.miss();
                }
            }
            Pushed::Full => self.roster.doom(token, CloseReason::BufferFull),
        }
    }
}
