//! The context of one call into the chat: [`Ctx`].

use super::Effect;
use super::ids::{ClientId, RoomId};
use crate::protocol::{Event, LocalEvent, Problem};
use crate::time::Now;

/// The time of a call into the chat, and its effects so far. The server carries them out in this order.
#[derive(Debug)]
pub struct Ctx<'a> {
    pub now: Now,
    effects: &'a mut Vec<Effect>,
    /// Whether other processes are in the same chat.
    is_shared: bool,
}

impl<'a> Ctx<'a> {
    pub fn new(now: Now, effects: &'a mut Vec<Effect>, is_shared: bool) -> Ctx<'a> {
        Ctx { now, effects, is_shared }
    }

    /// Sends a client an answer or a notice about itself, which is never dropped.
    pub fn reply(&mut self, id: ClientId, event: Event) {
        self.effects.push(Effect::Reply(id, event));
    }

    /// Sends a client that has a name the reason why its request was refused.
    pub fn reply_problem(&mut self, id: ClientId, problem: Problem) {
        self.reply(id, Event::Problem { problem, unnamed: false });
    }

    /// Sends a client a message of another client. It is dropped if the client reads too slowly.
    pub fn deliver(&mut self, id: ClientId, event: Event) {
        self.effects.push(Effect::Deliver(id, event));
    }

    /// Sends an event to all subscribers of a room but `except`.
    pub fn announce(&mut self, room: RoomId, except: Option<ClientId>, event: Event) {
        self.effects.push(Effect::Announce { room, except, event });
    }

    /// Sends an event to all clients in the chat.
    pub fn send_to_all(&mut self, event: Event) {
        self.effects.push(Effect::SendToAll(event));
    }

    /// Makes a client active: it is in the chat from now on.
    pub fn activate(&mut self, id: ClientId) {
        self.effects.push(Effect::Activated(id));
    }

    /// Closes the connection of a client that asked for it.
    pub fn quit(&mut self, id: ClientId) {
        self.effects.push(Effect::Quit(id));
    }

    /// Sends an event to the other processes, if there are any.
    pub fn publish(&mut self, event: impl FnOnce() -> LocalEvent) {
        if self.is_shared {
            self.effects.push(Effect::Publish(event()));
        }
    }
}
