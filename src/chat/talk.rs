//! What is said: to a room, to one client, from one program to others.

use std::rc::Rc;

use super::ids::{ClientId, RoomId};
use super::{Chat, Ctx, Effect, Location};
use crate::protocol::{Body, Event, LocalEvent, Message, MessageKind, Payload, Problem, Sender};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// What a client says, and whether it wants to see it itself.
#[derive(Debug)]
pub struct Speech {
    /// Said or done.
    pub kind: MessageKind,
    /// What.
    pub body: Body,
    /// Whether the message is to come back.
    pub receipt: bool,
}

impl Speech {
    /// Words that nobody wants to see again.
    pub fn of_text(text: Text) -> Speech {
        Speech { kind: MessageKind::Say, body: Body::Text(text), receipt: false }
    }
}

impl Chat {
    /// Somebody who is no client says something in a room, which is made if need be. The message's number.
    ///
    /// # Errors
    /// The name is somebody's, or there are too many rooms.
    pub fn publish(
        &mut self,
        room: RoomName,
        from: Name,
        body: Body,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, Problem> {
        let ctx = &mut self.context(now, effects);
        if let Some(problem) = self.name_taken(&from) {
            return Err(problem);
        }
        let id = self.rooms.open(room).ok_or(Problem::TooManyRooms)?;
        let message = self.post(id, from, Sender::Http, MessageKind::Say, body, ctx.now);
        let seq = message.seq;
        self.announce(id, None, message.clone(), ctx);
        self.share_message(id, message, ctx);
        self.rooms.close_if_unused(id, ctx.now.moment);
        Ok(seq)
    }

    pub(super) fn say(&mut self, id: ClientId, place: Location, speech: Speech, ctx: &mut Ctx<'_>) {
        if let Some(message) = self.say_here(id, place, speech, ctx) {
            self.share_message(place.room, message, ctx);
        }
    }

    /// The same, but the other processes do not hear of it.
    fn say_here(
        &mut self,
        id: ClientId,
        place: Location,
        speech: Speech,
        ctx: &mut Ctx<'_>,
    ) -> Option<Rc<Message>> {
        let from = self.present_name(id)?;
        let Speech { kind, body, receipt } = speech;
        let sender = Sender::Client(self.unique(id));
        let message = self.post(place.room, from, sender, kind, body, ctx.now);
        let said = message.clone();
        let own = self.gets_echo(id, place, receipt).then(|| message.clone());
        self.announce(place.room, Some(id), message, ctx);
        if let Some(event) = own.and_then(|message| self.message(place.room, message)) {
            ctx.reply(id, event);
        }
        Some(said)
    }

    fn share_message(&self, room: RoomId, message: Rc<Message>, ctx: &mut Ctx<'_>) {
        // A room without members that can store nothing was closed by the message.
        if let Some(name) = self.room_name(room) {
            ctx.publish(|| LocalEvent::Message { room: name.clone(), message });
        }
    }

    /// Passes a program's message on: to the other programs as it is, and, if it is a text that says anything, to
    /// everybody else as a message.
    pub(super) fn relay(&mut self, id: ClientId, payload: Payload, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let place = self.place_in(id, None)?;
        let words = payload.words();
        let event = Event::Relayed(payload.clone());
        let own = self.gets_echo(id, place, false).then(|| event.clone());
        ctx.announce(place.room, Some(id), event);
        own.into_iter().for_each(|event| ctx.reply(id, event));
        if let Some(words) = words {
            self.say_here(id, place, Speech::of_text(words), ctx);
        }
        if let Some((room, from)) = self.rooms.present(place.room).zip(self.present_name(id)) {
            let (room, by) = (room.name.clone(), self.unique(id));
            let at_unix_millis = ctx.now.unix_millis;
            ctx.publish(|| LocalEvent::Relayed { room, by, from, payload, at_unix_millis });
        }
        Ok(())
    }

    pub(super) fn tell(
        &mut self,
        id: ClientId,
        to: &Text,
        text: Text,
        receipt: bool,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        self.client(id).filter(|client| !client.is_unnamed()).ok_or(Problem::NameFirst)?;
        let addressee = self.find(to.as_str()).ok_or_else(|| Problem::NobodyCalled(to.clone()))?;
        if let Some((from, to)) = self.present_name(id).zip(self.present_name(addressee)) {
            let by = self.unique(id);
            let told = Event::PrivateSent { by, from: from.clone(), to: to.clone(), text: text.clone() };
            match self.clients.far.process_of(addressee) {
                None => ctx.deliver(addressee, Event::Private { by: Some(by), from, text }),
                Some(process) => ctx.publish(|| LocalEvent::Private { process, to, by, from, text }),
            }
            if receipt {
                ctx.reply(id, told);
            }
        }
        Ok(())
    }

    fn post(
        &mut self,
        room: RoomId,
        from: Name,
        sender: Sender,
        kind: MessageKind,
        body: Body,
        now: Now,
    ) -> Rc<Message> {
        let at_unix_millis = now.unix_millis;
        self.rooms.post(room, |seq| Rc::new(Message { from, sender, kind, body, seq, at_unix_millis }))
    }

    pub(super) fn announce(
        &self,
        room: RoomId,
        except: Option<ClientId>,
        message: Rc<Message>,
        ctx: &mut Ctx<'_>,
    ) {
        // A room without members that can store nothing was closed by the message.
        if let Some(event) = self.message(room, message) {
            ctx.announce(room, except, event);
        }
    }

    fn message(&self, room: RoomId, message: Rc<Message>) -> Option<Event> {
        let room = self.rooms.get(room)?;
        Some(Event::Message { room: room.name.clone(), epoch: self.epoch(room), message })
    }

    fn gets_echo(&self, id: ClientId, place: Location, receipt: bool) -> bool {
        receipt || self.clients.present(id).is_some_and(|client| client.gets_echo(place.room.slot()))
    }
}
