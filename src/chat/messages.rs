//! Messages: to a room, to one client, and between programs.

use std::rc::Rc;

use super::ids::{ClientId, RoomId};
use super::{Chat, Ctx, Effect, Except, Location};
use crate::access::Action;
use crate::protocol::{Body, Event, LocalEvent, Message, MessageKind, Payload, Problem, Sender};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// A message that a client wants to send to a room.
#[derive(Debug)]
pub struct NewMessage {
    pub kind: MessageKind,
    pub body: Body,
    /// Whether the sender wants the message back as an acknowledgement.
    pub receipt: bool,
}

impl Chat {
    /// Sends a message of an HTTP request to a room, which is opened if necessary. Returns its sequence number.
    ///
    /// # Errors
    /// A client or another account has the name `from`, or there are too many rooms.
    pub fn publish(
        &mut self,
        room: RoomName,
        (from, account): (Name, Option<&Name>),
        body: Body,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, Problem> {
        let ctx = &mut self.context(now, effects);
        if let Some(problem) = self.refused_author(account, &from, now) {
            return Err(problem);
        }
        let body = self.filter_published(&from, body, ctx)?;
        self.filter_room(&room, ctx)?;
        let id = self.rooms.open(room.clone()).ok_or(Problem::TooManyRooms)?;
        let (sender, kind, at_unix_millis) = (Sender::Http, MessageKind::Say, now.unix_millis);
        let message = |seq| Message { from, sender, kind, body, seq, at_unix_millis };
        let message = self.post(id, None, message, ctx);
        let seq = message.seq;
        ctx.publish(|| LocalEvent::Message { room, message });
        self.rooms.close_if_unused(id, now.moment);
        Ok(seq)
    }

    /// Sends a client's message to a room, here and in the other processes.
    pub(super) fn say(&mut self, id: ClientId, location: Location, new: NewMessage, ctx: &mut Ctx<'_>) {
        let message = self.say_locally(id, location, new, ctx);
        if let Some((room, message)) = self.rooms.existing(location.room).zip(message) {
            ctx.publish(|| LocalEvent::Message { room: room.name.clone(), message });
        }
    }

    fn say_locally(
        &mut self,
        id: ClientId,
        location: Location,
        new: NewMessage,
        ctx: &mut Ctx<'_>,
    ) -> Option<Rc<Message>> {
        let from = self.existing_name(id)?;
        let NewMessage { kind, body, receipt } = new;
        let (sender, at_unix_millis) = (Sender::Client(self.unique_id(id)), ctx.now.unix_millis);
        let message = |seq| Message { from, sender, kind, body, seq, at_unix_millis };
        let message = self.post(location.room, Some(id), message, ctx);
        if self.gets_echo(id, location, receipt)
            && let Some(room) = self.rooms.existing(location.room)
        {
            let (room, epoch) = (room.name.clone(), self.epoch(room));
            ctx.reply(id, Event::Message { room, epoch, message: message.clone() });
        }
        Some(message)
    }

    /// Appends a message to a room's history, and announces it to all subscribers but `except`.
    pub(super) fn post(
        &mut self,
        id: RoomId,
        except: Option<ClientId>,
        message: impl FnOnce(u64) -> Message,
        ctx: &mut Ctx<'_>,
    ) -> Rc<Message> {
        let message = self.rooms.append(id, message);
        // A message over the memory limit closes a room that has no subscribers.
        if let Some(room) = self.rooms.get(id) {
            let (name, epoch) = (room.name.clone(), self.epoch(room));
            let ignorers = self.ignores.of(message.from.as_str()).cloned();
            let except = Except { cause: except, ignorers };
            ctx.announce(id, except, Event::Message { room: name, epoch, message: message.clone() });
        }
        message
    }

    /// Relays a program's payload to the other programs in its room. A payload that is text is a message to the other
    /// clients as well.
    pub(super) fn relay(&mut self, id: ClientId, payload: Payload, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let location = self.locate(id, None)?;
        let words = payload.as_text();
        let event = Event::Relayed(payload.clone());
        let echo = self.gets_echo(id, location, false).then(|| event.clone());
        let ignorers = self.name(id).and_then(|name| self.ignores.of(name.as_str())).cloned();
        ctx.announce(location.room, Except { cause: Some(id), ignorers }, event);
        if let Some(event) = echo {
            ctx.reply(id, event);
        }
        if let Some(words) = words {
            let new = NewMessage { kind: MessageKind::Say, body: Body::Text(words), receipt: false };
            self.say_locally(id, location, new, ctx);
        }
        if let Some((room, from)) = self.rooms.existing(location.room).zip(self.existing_name(id)) {
            let (by, at_unix_millis) = (self.unique_id(id), ctx.now.unix_millis);
            ctx.publish(|| LocalEvent::Relayed {
                room: room.name.clone(),
                by,
                from,
                payload,
                at_unix_millis,
            });
        }
        Ok(())
    }

    /// Sends a text to one client, which may be in another process.
    pub(super) fn send_private(
        &mut self,
        id: ClientId,
        to: &Text,
        text: Text,
        receipt: bool,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        self.client(id).filter(|client| !client.is_unnamed()).ok_or(Problem::NameRequired)?;
        let may_read = |id: &ClientId| {
            self.check_right(self.access.identity(*id), Action::Converse, None).is_ok()
                || id.remote_key().is_some()
        };
        let addressee = self.find_client(to.as_str()).filter(may_read);
        let addressee = addressee.ok_or_else(|| Problem::NoSuchClient(to.clone()))?;
        if let Some((from, to)) = self.existing_name(id).zip(self.existing_name(addressee)) {
            let by = self.unique_id(id);
            let sent = Event::PrivateSent { by, from: from.clone(), to: to.clone(), text: text.clone() };
            match self.clients.remote.process_of(addressee) {
                // The sender gets no notice that it is ignored.
                None if self.ignores.has(addressee, from.as_str()) => {}
                None => {
                    self.record_private(addressee, id, ctx);
                    ctx.deliver(addressee, Event::Private { by: Some(by), from, text });
                }
                Some(process) => ctx.publish(|| LocalEvent::Private { process, to, by, from, text }),
            }
            if receipt {
                ctx.reply(id, sent);
            }
        }
        Ok(())
    }

    fn gets_echo(&self, id: ClientId, location: Location, receipt: bool) -> bool {
        let wants_echo = |client: &super::Client| client.gets_echo(location.room.slot());
        receipt || self.clients.existing(id).is_some_and(wants_echo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn message_over_the_memory_limit_is_published_to_other_processes() {
        let mut chat = Chat::new(&Config::from_flags("--history-memory 1"), 1);
        chat.set_shared();
        let room = RoomName::parse("dev").expect("a room name");
        let from = Name::parse("bot").expect("a name");
        let body = Body::Text(Text::clean("hi").expect("a text"));
        let mut effects = Vec::new();
        let seq = chat.publish(room.clone(), (from, None), body, Now::default(), &mut effects);
        assert_eq!(seq, Ok(1));
        assert_eq!(chat.find_room(&room), None, "the room has neither subscribers nor history");
        assert!(
            matches!(&effects[..], [Effect::Publish(LocalEvent::Message { room: to, .. })] if *to == room),
            "{effects:?}"
        );
    }
}
