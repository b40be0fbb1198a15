//! Messages: to a room, to one client, and between programs.

use std::rc::Rc;

use super::courtesies::Sent;
use super::ids::ClientId;
use super::{Chat, Ctx, Effect, Location};
use crate::access::Action;
use crate::protocol::{
    Body, Change, Event, Facts, LocalEvent, Message, MessageKind, Payload, Problem, Sender,
};
use crate::text::{Name, RoomName, Text, TypedName};
use crate::time::Now;

/// A message that a client wants to send to a room.
#[derive(Debug)]
pub struct NewMessage {
    pub kind: MessageKind,
    pub body: Body,
    /// Whether the message is sent back to its author as a receipt.
    pub receipt: bool,
}

/// A message of an HTTP request that may be sent.
#[derive(Debug)]
pub struct Publication {
    pub room: RoomName,
    pub change: Change,
}

impl Chat {
    /// Checks a message of an HTTP request to a room, which need not be open.
    ///
    /// # Errors
    /// A client or another account has the name `from`, a word is not allowed, or there are too many rooms.
    pub fn check_publication(
        &mut self,
        room: RoomName,
        (from, account): (Name, Option<&Name>),
        body: Body,
        (now, facts): (Now, &Facts),
        effects: &mut Vec<Effect>,
    ) -> Result<Publication, Problem> {
        let ctx = &mut Ctx::new(now, facts, effects);
        if let Some(problem) = self.refused_author(account, &from, ctx) {
            return Err(problem);
        }
        let body = self.filter_published(&from, body, ctx)?;
        self.filter_room(&room, ctx)?;
        if !self.rooms.can_open(&room) {
            return Err(Problem::TooManyRooms);
        }
        let (kind, at_unix_millis) = (MessageKind::Say, now.unix_millis);
        let message = Message { from, sender: Sender::Http, kind, body, seq: 0, id: None, at_unix_millis };
        Ok(Publication { room, change: Change::Message(Rc::new(message)) })
    }

    /// Sends a client's message to a room.
    pub(super) fn say(&mut self, id: ClientId, location: Location, new: NewMessage, ctx: &mut Ctx<'_>) {
        let NewMessage { kind, body, receipt } = new;
        let message = self.message_of(id, kind, body, ctx.now);
        if let Some((room, message)) = self.rooms.existing(location.room).zip(message) {
            ctx.submit_for((location.room, &room.name), Some(id), Change::Message(message), receipt);
        }
    }

    fn message_of(&self, id: ClientId, kind: MessageKind, body: Body, now: Now) -> Option<Rc<Message>> {
        let from = self.existing_name(id)?;
        let (sender, at_unix_millis) = (Sender::Client(self.unique_id(id)), now.unix_millis);
        Some(Rc::new(Message { from, sender, kind, body, seq: 0, id: None, at_unix_millis }))
    }

    /// Relays a program's payload to the other programs in its room. A payload that is text is a message to the other
    /// clients as well.
    pub(super) fn relay(&mut self, id: ClientId, payload: Payload, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let location = self.locate(id, None)?;
        let words = payload.as_text().map(Body::Text);
        let message = words.and_then(|body| self.message_of(id, MessageKind::Say, body, ctx.now));
        if let Some((room, from)) = self.rooms.existing(location.room).zip(self.existing_name(id)) {
            let change = Change::Relayed { payload, from, message };
            ctx.submit((location.room, &room.name), Some(id), change);
        }
        Ok(())
    }

    /// Sends a text to one client, which may be in another process.
    pub(super) fn send_private(
        &mut self,
        id: ClientId,
        to: &TypedName,
        text: Text,
        receipt: bool,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        self.client(id).filter(|client| !client.is_unnamed()).ok_or(Problem::NameRequired)?;
        let addressee = self.find_client(to.as_str()).filter(|id| self.may_read(*id));
        let (from, by) = (self.existing_name(id).ok_or(Problem::NameRequired)?, self.unique_id(id));
        let name = match (addressee, &ctx.facts.holder) {
            (Some(addressee), _) => {
                let name = self.existing_name(addressee).ok_or_else(|| Problem::NoSuchClient(to.clone()))?;
                // The sender gets no notice that it is ignored.
                if !self.ignores.has(addressee, from.as_str()) {
                    self.record_private(addressee, Sent { by, from: from.clone(), here: Some(id) }, ctx);
                    ctx.deliver(addressee, Event::Private { by, from: from.clone(), text: text.clone() });
                }
                name
            }
            (None, Some(holder)) if holder.name.same_as(to.as_str()) => {
                let (to, from, text) = (holder.clone(), from.clone(), text.clone());
                ctx.share(LocalEvent::Private { to, by, from, text });
                holder.name.clone()
            }
            (None, _) => return Err(Problem::NoSuchClient(to.clone())),
        };
        if receipt {
            ctx.reply(id, Event::PrivateSent { by, from, to: name, text });
        }
        Ok(())
    }

    /// Whether a client may read private messages.
    pub(super) fn may_read(&self, id: ClientId) -> bool {
        self.check_right(self.access.identity(id), Action::Converse, None).is_ok()
    }
}
