//! What is heard of other processes: their clients come and go, move and speak as those of this one do.

use std::collections::HashSet;

use super::clients::{Client, Echo, Membership};
use super::ids::{ClientId, RoomId, RoomSlot};
use super::moves::Notice;
use super::talk::Speech;
use super::{Chat, Ctx, Effect};
use crate::protocol::{
    Event, LocalEvent, Message, Payload, Presence, Problem, RemoteEvent, Sender, UniqueId,
};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

impl Chat {
    /// Something is known of another process, or of the link to it.
    pub fn hear(&mut self, news: RemoteEvent, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut self.context(now, effects);
        match news {
            RemoteEvent::Message { room, from, sender, kind, body, at_unix_millis } => {
                let at = at_unix_millis.unwrap_or(ctx.now.unix_millis);
                let speech = Speech { kind, body, receipt: false };
                self.hear_said(&room, from, sender, speech, at, ctx);
            }
            RemoteEvent::Relayed { room, from, sender, payload, at_unix_millis } => {
                self.hear_relayed(&room, from, sender, payload, at_unix_millis, ctx);
            }
            RemoteEvent::Private { process, to, by, from, text } => match self.find_local(&to) {
                Some(id) => ctx.deliver(id, Event::Private { by, from, text }),
                None => ctx.publish(|| LocalEvent::Nobody { process, from, called: to }),
            },
            RemoteEvent::Nobody { from, called } => {
                if let Some(id) = self.find_local(&from) {
                    let problem = Problem::NobodyCalled(Text::of_name(&called));
                    ctx.reply_problem(id, problem);
                }
            }
            RemoteEvent::Present { id, presence } => {
                self.remote_present(id, presence, Notice::Announced, ctx)
            }
            RemoteEvent::Gone { id, reason } => self.remote_gone(id, reason, Notice::Announced, ctx),
            RemoteEvent::Everyone { process, clients, told } => {
                self.remote_snapshot(
                    process,
                    clients,
                    if told { Notice::Announced } else { Notice::Silent },
                    ctx,
                );
            }
            RemoteEvent::ProcessGone { process } => {
                let reason = Text::clean("its server is gone");
                for serial in self.clients.far.of_process(process) {
                    self.remote_gone(UniqueId { process, serial }, reason.clone(), Notice::Announced, ctx);
                }
            }
            RemoteEvent::Lost { room, count } => {
                if let Some(id) = self.record_gap(&room) {
                    let event = Event::Lost { room, count };
                    ctx.announce(id, None, event);
                }
            }
            RemoteEvent::Unread { room } => {
                self.record_gap(&room);
            }
            RemoteEvent::Disconnected => self.set_apart(true, ctx),
            RemoteEvent::Connected => self.set_apart(false, ctx),
        }
    }

    /// Who is away from a room and comes back must be told that something is missing.
    fn record_gap(&mut self, room: &RoomName) -> Option<RoomId> {
        let id = self.rooms.find(room)?;
        self.rooms.get_mut(id)?.record_gap();
        Some(id)
    }

    fn hear_said(
        &mut self,
        room: &RoomName,
        from: Name,
        sender: Sender,
        speech: Speech,
        at: u64,
        ctx: &mut Ctx<'_>,
    ) {
        // The room may have been closed while the message was on its way.
        let Some(id) = self.rooms.find(room) else {
            return;
        };
        let Speech { kind, body, .. } = speech;
        let message = |seq| Message { from, sender, kind, body, seq, at_unix_millis: at }.into();
        let message = self.rooms.post(id, message);
        self.announce(id, None, message, ctx);
    }

    fn hear_relayed(
        &mut self,
        room: &RoomName,
        from: Name,
        sender: Sender,
        payload: Payload,
        at: u64,
        ctx: &mut Ctx<'_>,
    ) {
        // The room may have been closed while the message was on its way.
        let Some(id) = self.rooms.find(room) else {
            return;
        };
        let words = payload.words();
        ctx.announce(id, None, Event::Relayed(payload));
        if let Some(words) = words {
            self.hear_said(room, from, sender, Speech::of_text(words), at, ctx);
        }
    }

    fn set_apart(&mut self, apart: bool, ctx: &mut Ctx<'_>) {
        if apart {
            for process in self.clients.far.processes() {
                self.remote_snapshot(process, Vec::new(), Notice::Silent, ctx);
            }
        }
        debug_assert!(self.shared.is_some(), "a chat without other processes");
        // They may be out of reach again before anybody was told that they are not.
        if let Some(shared) = self.shared.as_mut().filter(|shared| shared.apart != apart) {
            shared.apart = apart;
            ctx.send_to_all(if apart { Event::Disconnected } else { Event::Connected });
        }
    }

    /// Those are all clients of a process: who is not among them is gone.
    fn remote_snapshot(
        &mut self,
        process: u64,
        clients: Vec<(u32, Presence)>,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        let present: HashSet<u32> = clients.iter().map(|(client, _)| *client).collect();
        let mut known = self.clients.far.of_process(process);
        known.retain(|client| !present.contains(client));
        for serial in known {
            self.remote_gone(UniqueId { process, serial }, None, notice, ctx);
        }
        for (serial, presence) in clients {
            self.remote_present(UniqueId { process, serial }, presence, notice, ctx);
        }
    }

    fn remote_present(&mut self, id: UniqueId, presence: Presence, notice: Notice, ctx: &mut Ctx<'_>) {
        let Presence { name, since_unix_millis, rooms } = presence;
        self.settle_name(id.process, &name, since_unix_millis, ctx);
        let client = match self.clients.far.find(id) {
            Some(client) => {
                self.remote_rename(client, &name, notice, ctx);
                client
            }
            None => {
                // It is ignored if there are too many.
                let Some(client) = self.clients.far.insert(id, name) else {
                    return;
                };
                self.take_remote_name(client, notice);
                client
            }
        };
        self.doubt_holder(self.clients.name_of(client), Some(id.process), ctx);
        self.remote_move(client, rooms, notice, ctx);
    }

    /// A far client is in these rooms now, as far as there is a place for them.
    fn remote_move(&mut self, client: ClientId, rooms: Vec<RoomName>, notice: Notice, ctx: &mut Ctx<'_>) {
        let notice = if self.is_in_conflict(client) { Notice::Silent } else { notice };
        let slot = |room: &RoomName| Some(self.rooms.find(room)?.slot());
        let wanted: HashSet<RoomSlot> = rooms.iter().filter_map(slot).collect();
        let memberships = self.clients.present(client).into_iter().flat_map(Client::memberships);
        let (stays, leaves): (Vec<Membership>, Vec<Membership>) =
            memberships.partition(|seat| wanted.contains(&seat.slot));
        self.leave_memberships(client, &leaves, None, notice, ctx);
        let mut seated: HashSet<RoomSlot> = stays.into_iter().map(|seat| seat.slot).collect();
        // Each is taken as soon as it is open: the next might be opened in its place.
        for room in rooms {
            if let Some(room) = self.rooms.open(room)
                && seated.insert(room.slot())
            {
                self.take_membership(client, room, Echo(false), notice, ctx);
            }
        }
    }

    fn remote_gone(&mut self, id: UniqueId, reason: Option<Text>, notice: Notice, ctx: &mut Ctx<'_>) {
        // It was ignored if there were too many, or it is gone already.
        let Some(client) = self.clients.far.find(id) else {
            return;
        };
        let name = self.clients.name_of(client).to_string();
        let notice = self.lose_remote_name(client, &name).map_or(notice, |_| Notice::Silent);
        let memberships: Vec<Membership> =
            self.clients.present(client).into_iter().flat_map(Client::memberships).collect();
        self.leave_memberships(client, &memberships, reason, notice, ctx);
        self.clients.far.remove(id);
        self.name_is_free(&name, ctx);
    }

    fn remote_rename(&mut self, client: ClientId, name: &Name, notice: Notice, ctx: &mut Ctx<'_>) {
        let Some(old) = self.present_name(client).filter(|old| old != name) else {
            return;
        };
        let was_rival = self.lose_remote_name(client, old.as_str());
        self.set_name(client, name.clone());
        self.take_remote_name(client, was_rival.unwrap_or(notice));
        match (was_rival, self.is_in_conflict(client)) {
            (None, false) if notice == Notice::Announced => self.announce_rename(client, &old, name, ctx),
            (None, true) if notice == Notice::Announced => self.announce_leave_everywhere(client, &old, ctx),
            // Its rooms have not heard of it under the old name: that was another's.
            (Some(later), false) if notice == Notice::Announced => {
                self.announce_join_everywhere(client, later, ctx);
            }
            _ => {}
        }
        self.name_is_free(old.as_str(), ctx);
    }

    /// Tells all rooms of a client that nobody is there under its old name any more.
    fn announce_leave_everywhere(&mut self, client: ClientId, old: &Name, ctx: &mut Ctx<'_>) {
        let by = self.unique(client);
        for id in self.rooms_of(client) {
            let Some(room) = self.rooms.present_mut(id) else {
                continue;
            };
            let count = room.count();
            if count <= self.rules.announce_max {
                let room = room.name.clone();
                let event = Event::Left { by, name: old.clone(), room, reason: None, count };
                ctx.announce(id, None, event);
            } else {
                self.crowds.note(id, &mut room.crowd, |crowd| crowd.left += 1, ctx.now.moment);
            }
        }
    }
}
