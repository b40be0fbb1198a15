//! Events of other processes: joins, leaves, new names and messages of remote clients, and the state of the Redis link.

use std::collections::HashSet;

use super::clients::{Client, Echo, Membership};
use super::ids::{ClientId, RoomId, RoomSlot};
use super::membership::Notice;
use super::{Chat, Ctx, Effect};
use crate::protocol::{
    Body, Event, LocalEvent, Message, MessageKind, Payload, Presence, Problem, RemoteEvent, UniqueId,
};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

impl Chat {
    /// Applies an event of another process, or of the link to them.
    pub fn apply_remote(&mut self, event: RemoteEvent, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut self.context(now, effects);
        match event {
            RemoteEvent::Message { room, from, sender, kind, body, at_unix_millis } => {
                let at_unix_millis = at_unix_millis.unwrap_or(now.unix_millis);
                let message = |seq| Message { from, sender, kind, body, seq, at_unix_millis };
                self.on_message(&room, message, ctx);
            }
            RemoteEvent::Relayed { room, from, sender, payload, at_unix_millis } => {
                let message = |text, seq| {
                    let (kind, body) = (MessageKind::Say, Body::Text(text));
                    Message { from, sender, kind, body, seq, at_unix_millis }
                };
                self.on_relayed(&room, payload, message, ctx);
            }
            RemoteEvent::Private { process, to, by, from, text } => match self.find_local(&to) {
                Some(id) => ctx.deliver(id, Event::Private { by, from, text }),
                None => ctx.publish(|| LocalEvent::Undelivered { process, from, to }),
            },
            RemoteEvent::Undelivered { from, to: called } => {
                if let Some(id) = self.find_local(&from) {
                    ctx.reply_problem(id, Problem::NoSuchClient(Text::of_name(&called)));
                }
            }
            RemoteEvent::Present { id, presence } => self.on_present(id, presence, Notice::Announced, ctx),
            RemoteEvent::Gone { id, reason } => self.on_gone(id, reason, Notice::Announced, ctx),
            RemoteEvent::AllClients { process, clients, announce } => {
                let notice = if announce { Notice::Announced } else { Notice::Silent };
                self.on_snapshot(process, clients, notice, ctx);
            }
            RemoteEvent::ProcessGone { process } => {
                let reason = Text::clean("its server is gone");
                for serial in self.clients.remote.of_process(process) {
                    let id = UniqueId { process, serial };
                    self.on_gone(id, reason.clone(), Notice::Announced, ctx);
                }
            }
            RemoteEvent::Lost { room, count } => {
                if let Some(id) = self.record_gap(&room) {
                    ctx.announce(id, None, Event::Lost { room, count });
                }
            }
            RemoteEvent::Unsubscribed { room } => {
                self.record_gap(&room);
            }
            RemoteEvent::Disconnected => self.set_disconnected(true, ctx),
            RemoteEvent::Connected => self.set_disconnected(false, ctx),
        }
    }

    /// Records that messages of a room are missing here, for clients that catch up later.
    fn record_gap(&mut self, room: &RoomName) -> Option<RoomId> {
        let id = self.rooms.find(room)?;
        self.rooms.existing_mut(id)?.record_gap();
        Some(id)
    }

    fn on_message(&mut self, room: &RoomName, message: impl FnOnce(u64) -> Message, ctx: &mut Ctx<'_>) {
        // The room may have been closed while the message was on its way.
        if let Some(id) = self.rooms.find(room) {
            self.post(id, None, message, ctx);
        }
    }

    fn on_relayed(
        &mut self,
        room: &RoomName,
        payload: Payload,
        message: impl FnOnce(Text, u64) -> Message,
        ctx: &mut Ctx<'_>,
    ) {
        // The room may have been closed while the message was on its way.
        let Some(id) = self.rooms.find(room) else {
            return;
        };
        let words = payload.as_text();
        ctx.announce(id, None, Event::Relayed(payload));
        if let Some(words) = words {
            self.post(id, None, |seq| message(words, seq), ctx);
        }
    }

    /// Removes the remote clients if the link is down, and sends all clients a notice if that has changed.
    fn set_disconnected(&mut self, is_disconnected: bool, ctx: &mut Ctx<'_>) {
        if is_disconnected {
            for process in self.clients.remote.processes() {
                self.on_snapshot(process, Vec::new(), Notice::Silent, ctx);
            }
        }
        let Some(shared) = &mut self.shared else {
            return debug_assert!(false, "a link in a chat that is not shared");
        };
        // The link may break again before its return was reported.
        if shared.is_disconnected != is_disconnected {
            shared.is_disconnected = is_disconnected;
            ctx.send_to_all(if is_disconnected { Event::Disconnected } else { Event::Connected });
        }
    }

    /// Replaces all clients of a process by `clients`.
    fn on_snapshot(
        &mut self,
        process: u64,
        clients: Vec<(u32, Presence)>,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        let present: HashSet<u32> = clients.iter().map(|(client, _)| *client).collect();
        let mut gone = self.clients.remote.of_process(process);
        gone.retain(|client| !present.contains(client));
        for serial in gone {
            self.on_gone(UniqueId { process, serial }, None, notice, ctx);
        }
        for (serial, presence) in clients {
            self.on_present(UniqueId { process, serial }, presence, notice, ctx);
        }
    }

    /// Adds a remote client, or updates its name and its rooms.
    fn on_present(&mut self, id: UniqueId, presence: Presence, notice: Notice, ctx: &mut Ctx<'_>) {
        let Presence { name, since_unix_millis, rooms } = presence;
        self.give_way(id.process, &name, since_unix_millis, ctx);
        let client = match self.clients.remote.find(id) {
            Some(client) => {
                self.rename_remote(client, &name, notice, ctx);
                client
            }
            None => {
                // The table may be full.
                let Some(client) = self.clients.remote.insert(id, name) else {
                    return;
                };
                self.take_remote_name(client, notice);
                client
            }
        };
        self.check_holders(self.clients.name_of(client), Some(id.process), ctx);
        self.move_remote(client, rooms, notice, ctx);
    }

    /// Moves a remote client to these rooms, except those that can't be opened because there are too many.
    fn move_remote(&mut self, client: ClientId, rooms: Vec<RoomName>, notice: Notice, ctx: &mut Ctx<'_>) {
        let notice = if self.is_in_conflict(client) { Notice::Silent } else { notice };
        let slot = |room: &RoomName| Some(self.rooms.find(room)?.slot());
        let wanted: HashSet<RoomSlot> = rooms.iter().filter_map(slot).collect();
        let memberships = self.clients.existing(client).into_iter().flat_map(Client::memberships);
        let (kept, left): (Vec<Membership>, Vec<Membership>) =
            memberships.partition(|membership| wanted.contains(&membership.slot));
        self.leave_rooms(client, &left, None, notice, ctx);
        let mut joined: HashSet<RoomSlot> = kept.into_iter().map(|membership| membership.slot).collect();
        // The client joins each room at once: an empty room could be closed to open the next one.
        for room in rooms {
            if let Some(room) = self.rooms.open(room)
                && joined.insert(room.slot())
            {
                self.add_to_room(client, room, Echo(false), notice, ctx);
            }
        }
    }

    fn on_gone(&mut self, id: UniqueId, reason: Option<Text>, notice: Notice, ctx: &mut Ctx<'_>) {
        // The client may have been ignored because the table was full, or a snapshot may have removed it.
        let Some(client) = self.clients.remote.find(id) else {
            return;
        };
        let name = self.clients.name_of(client).to_string();
        let notice = self.free_remote_name(client, &name).map_or(notice, |_| Notice::Silent);
        let memberships: Vec<Membership> =
            self.clients.existing(client).into_iter().flat_map(Client::memberships).collect();
        self.leave_rooms(client, &memberships, reason, notice, ctx);
        self.clients.remote.remove(id);
        self.on_name_freed(&name, ctx);
    }

    fn rename_remote(&mut self, client: ClientId, name: &Name, notice: Notice, ctx: &mut Ctx<'_>) {
        let Some(old) = self.existing_name(client).filter(|old| old != name) else {
            return;
        };
        let old_conflict = self.free_remote_name(client, old.as_str());
        self.set_name(client, name.clone());
        self.take_remote_name(client, old_conflict.unwrap_or(notice));
        match (old_conflict, self.is_in_conflict(client)) {
            (None, false) if notice == Notice::Announced => self.announce_rename(client, &old, name, ctx),
            (None, true) if notice == Notice::Announced => self.announce_leave_everywhere(client, &old, ctx),
            // The client was not announced under its old name, which was another client's.
            (Some(notice_then), false) if notice == Notice::Announced => {
                self.announce_join_everywhere(client, notice_then, ctx);
            }
            _ => {}
        }
        self.on_name_freed(old.as_str(), ctx);
    }

    /// Announces in all rooms of a client that it has left under its old name, since its new name is in conflict.
    fn announce_leave_everywhere(&mut self, client: ClientId, old: &Name, ctx: &mut Ctx<'_>) {
        for room in self.rooms_of(client) {
            let count = self.rooms.existing(room).map_or(0, |room| room.count());
            self.announce_leave(client, room, count, old.clone(), None, ctx);
        }
    }
}
