//! The context of one call into the chat: [`Ctx`].

use super::access::AppliedChange;
use super::ids::{ClientId, RoomId};
use super::{Asker, Effect, Except};
use crate::access::{Ban, Network, Role};
use crate::protocol::{Change, CloseReason, Event, Facts, LocalEvent, Moderation, Problem, Removal, Whois};
use crate::text::{Name, RoomName};
use crate::time::Now;

/// The time of a call into the chat, and its effects so far. The server carries them out in this order.
#[derive(Debug)]
pub struct Ctx<'a> {
    pub now: Now,
    /// The state of the other processes, as far as the request needs it.
    pub facts: &'a Facts,
    effects: &'a mut Vec<Effect>,
}

/// The facts of a call that has asked no questions.
pub static NO_FACTS: Facts = Facts { holder: None, members: None, rooms: None, outcome: None };

impl<'a> Ctx<'a> {
    pub fn new(now: Now, facts: &'a Facts, effects: &'a mut Vec<Effect>) -> Ctx<'a> {
        Ctx { now, facts, effects }
    }

    /// Makes a change in a room. It takes effect by [`super::Chat::commit`], once it has its place in the order of the room.
    pub fn submit(&mut self, room: (RoomId, &RoomName), author: Option<ClientId>, change: Change) {
        self.submit_for(room, author, change, false);
    }

    /// The same for a change that its author may want back (`receipt`).
    pub fn submit_for(
        &mut self,
        (room, name): (RoomId, &RoomName),
        author: Option<ClientId>,
        change: Change,
        receipt: bool,
    ) {
        self.effects.push(Effect::Submit { room, name: name.clone(), author, change, receipt });
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
    pub fn announce(&mut self, room: RoomId, except: impl Into<Except>, event: Event) {
        self.effects.push(Effect::Announce { room, except: except.into(), event });
    }

    /// Sends an event to all clients in the chat.
    pub fn send_to_all(&mut self, event: Event) {
        self.effects.push(Effect::SendToAll(event));
    }

    /// Makes a client active: it is in the chat from now on.
    pub fn activate(&mut self, id: ClientId) {
        self.effects.push(Effect::Activated(id));
    }

    /// Closes the connection of a client.
    pub fn close(&mut self, id: ClientId, reason: CloseReason) {
        self.effects.push(Effect::Close(id, reason));
    }

    /// Reports that a client has logged in.
    pub fn logged_in(&mut self, id: ClientId) {
        self.effects.push(Effect::LoggedIn(id));
    }

    /// Reports that a login has failed.
    pub fn login_failed(&mut self, id: ClientId) {
        self.effects.push(Effect::LoginFailed(id));
    }

    /// Reports an action of a moderator.
    pub fn log_moderation(&mut self, by: Name, moderation: Moderation) {
        self.effects.push(Effect::LogModeration { by, moderation });
    }

    /// Saves and shares a change.
    pub fn save(&mut self, applied: AppliedChange) {
        self.effects.push(Effect::Save { change: Some(applied.into()), answer: None });
    }

    /// Saves and shares a change, and then sends a client an answer.
    pub fn save_then(&mut self, id: ClientId, answer: Event, applied: AppliedChange) {
        let answer = Some((id, Box::new(answer)));
        self.effects.push(Effect::Save { change: Some(applied.into()), answer });
    }

    /// Saves changes of other processes.
    pub fn save_shared(&mut self) {
        self.effects.push(Effect::Save { change: None, answer: None });
    }

    /// Bans the address of a client as well, and disconnects the others there.
    pub fn ban_address(&mut self, of: ClientId, ban: Ban, removal: Removal, rank: Role) {
        self.effects.push(Effect::BanAddress { of, ban: Box::new(ban), removal, rank });
    }

    /// Disconnects the clients of a network.
    pub fn disconnect(&mut self, network: Network, removal: Removal, rank: Role) {
        self.effects.push(Effect::Disconnect { network, removal, rank });
    }

    /// Sends a client what the server has about another one.
    pub fn whois(&mut self, to: Asker, of: ClientId, whois: Whois, with_address: bool) {
        self.effects.push(Effect::Whois { to, of, whois: Box::new(whois), with_address });
    }

    /// Sends an event to the other processes, if there are any.
    pub fn share(&mut self, event: LocalEvent) {
        self.effects.push(Effect::Report(event));
    }
}
