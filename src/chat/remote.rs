//! Events of other processes that concern clients here, and the state of the link to them. Changes of rooms are committed by
//! [`Chat::commit_to`].

use super::context::NO_FACTS;
use super::courtesies::{Asker, Sent};
use super::ids::ClientId;
use super::{Chat, Ctx, Effect};
use crate::protocol::{
    Event, ForwardedAnswer, ForwardedBy, ForwardedRequest, Gap, LocalEvent, Presence, Problem, RemoteEvent,
    UniqueId,
};
use crate::text::{Name, RoomName, Text, TypedName};
use crate::time::Now;

impl Chat {
    /// Applies an event of another process, or of the link to the others.
    pub fn apply_remote(&mut self, event: RemoteEvent, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut Ctx::new(now, &NO_FACTS, effects);
        match event {
            RemoteEvent::Changed { .. } => debug_assert!(false, "the server commits changes"),
            RemoteEvent::Synced { room, epoch, seq, missed, topic } => {
                // There are too many rooms, and so no subscriber here.
                let Some(id) = self.rooms.open(room) else {
                    return;
                };
                let is_new = self.rooms.begin_epoch(id, epoch, seq);
                if let Some(room) = self.rooms.get_mut(id)
                    && std::mem::replace(&mut room.topic, topic) != room.topic
                {
                    ctx.announce(id, None, room.topic_event());
                }
                match missed {
                    Gap::Count(count) => self.announce_lost(id, Some(count), ctx),
                    Gap::Unknown => self.announce_lost(id, None, ctx),
                    Gap::Nothing if is_new => self.announce_position(id, ctx),
                    Gap::Nothing => {}
                }
            }
            RemoteEvent::Discarded { room, id } => {
                // It may have been shown to nobody.
                let room = self.rooms.find(&room).and_then(|room| self.rooms.get_mut(room));
                room.into_iter().for_each(|room| room.discard_unnumbered(id));
            }
            RemoteEvent::Unfollowed { room } => {
                if let Some(id) = self.rooms.find(&room) {
                    self.rooms.close_if_unused(id, now.moment);
                }
            }
            RemoteEvent::Private { to, name, by, from, text } => {
                self.receive_private((to, name), by, from, text, ctx)
            }
            RemoteEvent::Away { by, name, text } => {
                if let Some(id) = self.clients.find(by) {
                    ctx.reply(id, Event::IsAway { name, text });
                }
            }
            RemoteEvent::Forwarded { by, request } => self.carry_out_forwarded(by, request, ctx),
            RemoteEvent::Undelivered { by, to } => {
                if let Some(id) = self.clients.find(by) {
                    ctx.reply_problem(id, Problem::NoSuchClient(TypedName::of(&to)));
                }
            }
            RemoteEvent::NameLost { client, name, to_account } => {
                self.lose_name(client, &name, to_account, ctx)
            }
            RemoteEvent::Access(table) => self.merge_access(table, ctx),
            RemoteEvent::Guests { first, last } => self.guests.reserve(first..=last),
            RemoteEvent::Disconnected => self.set_disconnected(true, ctx),
            RemoteEvent::Connected => self.set_disconnected(false, ctx),
        }
    }

    /// Sends a private message of another process to a client here, unless the client has left or has another name.
    fn receive_private(
        &mut self,
        (to, name): (u32, Name),
        by: UniqueId,
        from: Name,
        text: Text,
        ctx: &mut Ctx<'_>,
    ) {
        let has_name = |id: &ClientId| self.find_client(name.as_str()) == Some(*id);
        let Some(id) = self.clients.find(to).filter(has_name).filter(|id| self.may_read(*id)) else {
            return ctx.share(LocalEvent::Undelivered { by, to: name });
        };
        // The sender gets no notice that it is ignored.
        if !self.ignores.has(id, from.as_str()) {
            self.record_private(id, Sent { by, from: from.clone(), here: None }, ctx);
            ctx.deliver(id, Event::Private { by, from, text });
        }
    }

    /// Carries out a request of another process, which has checked that its client may make it.
    fn carry_out_forwarded(&mut self, of: ForwardedBy, request: ForwardedRequest, ctx: &mut Ctx<'_>) {
        let outcome = match request {
            ForwardedRequest::Moderate { by, moderation } => {
                let text = self.moderate_by(&by, moderation, ctx).and_then(moderated_text);
                text.map(ForwardedAnswer::Moderated)
            }
            ForwardedRequest::Whois { name, with_address } => {
                match self.whois(Asker::Process(of), &name, with_address, ctx) {
                    // The server completes the information, and sends it.
                    Ok(()) => return,
                    Err(problem) => Err(problem),
                }
            }
        };
        ctx.share(LocalEvent::Outcome { of, outcome });
    }

    /// Makes a client a guest, since its name belongs to a client of another process.
    fn lose_name(&mut self, client: u32, name: &Name, to_account: bool, ctx: &mut Ctx<'_>) {
        // The client may have left or changed its name meanwhile.
        let has_name = |id: &ClientId| self.look_alikes(name.as_str()).contains(id);
        let Some(id) = self.clients.find(client).filter(has_name) else {
            return;
        };
        let Some(own) = self.existing_name(id) else {
            return;
        };
        let guest = self.next_guest_name(ctx);
        let problem = match to_account {
            true if self.access.identity(id).is_of(name) => {
                Problem::NameTakenOver { name: name.clone(), to: guest.clone() }
            }
            true => Problem::NameClaimed { name: name.clone(), to: guest.clone() },
            false => Problem::NameLost { name: own, to: name.clone() },
        };
        ctx.reply_problem(id, problem);
        self.rename(id, guest, ctx);
    }

    /// Whether other processes are out of reach.
    pub fn is_disconnected(&self) -> bool {
        self.is_disconnected
    }

    /// Sends all clients a notice if the other processes are out of reach, or are not any more.
    fn set_disconnected(&mut self, is_disconnected: bool, ctx: &mut Ctx<'_>) {
        // The link may break again before its return was reported.
        if self.is_disconnected != is_disconnected {
            self.is_disconnected = is_disconnected;
            ctx.send_to_all(if is_disconnected { Event::Disconnected } else { Event::Connected });
        }
    }

    /// Sends a client that has just entered the notice that the other processes are out of reach, if they are.
    pub(super) fn reply_if_disconnected(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        if self.is_disconnected {
            ctx.reply(id, Event::Disconnected);
        }
    }

    /// The clients that have names, to register this process.
    pub fn presences(&self) -> Vec<Presence> {
        self.clients.all().filter_map(|(id, _)| self.presence(id)).collect()
    }

    fn presence(&self, id: ClientId) -> Option<Presence> {
        let client = self.clients.existing(id).filter(|client| !client.is_unnamed())?;
        let name = client.name()?.clone();
        let rooms: Vec<RoomName> =
            self.rooms_of(id).into_iter().filter_map(|room| self.room_name(room).cloned()).collect();
        let is_account = self.access.identity(id).is_of(&name);
        Some(Presence { client: self.unique_id(id).serial, name, is_account, rooms })
    }

    /// The number of rooms that have subscribers, for tests.
    pub fn rooms_with_subscribers(&self) -> usize {
        self.rooms.with_subscribers()
    }
}

/// The text of an answer. Another process does not ask for the list of bans, which is the same there.
fn moderated_text(event: Event) -> Result<Text, Problem> {
    match event {
        Event::Moderated(text) => Ok(text),
        _ => Err(Problem::CantModerate("a list is not forwarded".into())),
    }
}
