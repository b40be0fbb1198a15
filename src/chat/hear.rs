//! What is heard of other processes: their clients come and go, move and speak as those of this one do.

use std::collections::HashSet;

use super::clients::{Client, Echo, Seat};
use super::ids::{ClientId, RoomId, RoomSlot};
use super::moves::Notice;
use super::talk::Speech;
use super::{Chat, Effect};
use crate::protocol::{Event, Message, News, Payload, Presence, Problem, Sender, Share, UniqueId};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

impl Chat {
    /// Something is known of another process, or of the link to it.
    pub fn hear(&mut self, news: News, now: Now, effects: &mut Vec<Effect>) {
        match news {
            News::Said { room, from, sender, manner, body, at_unix_millis } => {
                let at = at_unix_millis.unwrap_or(now.unix_millis);
                let speech = Speech { manner, body, receipt: false };
                self.hear_said(&room, from, sender, speech, at, effects);
            }
            News::Relayed { room, from, sender, payload, at_unix_millis } => {
                self.hear_relayed(&room, from, sender, payload, at_unix_millis, effects);
            }
            News::Private { process, to, by, from, text } => match self.find_near(&to) {
                Some(id) => effects.push(Effect::Pass(id, Event::Private { by, from, text })),
                None => self.share(|| Share::Nobody { process, from, called: to }, effects),
            },
            News::Nobody { from, called } => {
                if let Some(id) = self.find_near(&from) {
                    let problem = Problem::NobodyCalled(Text::of_name(&called));
                    effects.push(Effect::Reply(id, Event::Problem { problem, unnamed: false }));
                }
            }
            News::Present { id, presence } => self.far_present(id, presence, Notice::Told, now, effects),
            News::Gone { id, reason } => self.far_gone(id, reason, Notice::Told, now, effects),
            News::Everyone { process, clients, told } => {
                self.far_everyone(
                    process,
                    clients,
                    if told { Notice::Told } else { Notice::Quiet },
                    now,
                    effects,
                );
            }
            News::ProcessGone { process } => {
                let reason = Text::clean("its server is gone");
                for serial in self.clients.far.of_process(process) {
                    self.far_gone(UniqueId { process, serial }, reason.clone(), Notice::Told, now, effects);
                }
            }
            News::Lost { room, count } => {
                if let Some(id) = self.note_gap(&room) {
                    let event = Event::Lost { room, count };
                    effects.push(Effect::Announce { room: id, except: None, event });
                }
            }
            News::Unheard { room } => {
                self.note_gap(&room);
            }
            News::Apart => self.set_apart(true, now, effects),
            News::Together => self.set_apart(false, now, effects),
        }
    }

    /// Who is away from a room and comes back must be told that something is missing.
    fn note_gap(&mut self, room: &RoomName) -> Option<RoomId> {
        let id = self.rooms.find(room)?;
        self.rooms.get_mut(id)?.note_gap();
        Some(id)
    }

    fn hear_said(
        &mut self,
        room: &RoomName,
        from: Name,
        sender: Sender,
        speech: Speech,
        at: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.rooms.find(room) else {
            return;
        };
        let Speech { manner, body, .. } = speech;
        let message = |seq| Message { from, sender, manner, body, seq, at_unix_millis: at }.into();
        let message = self.rooms.post(id, message);
        effects.extend(self.announce(id, None, message));
    }

    fn hear_relayed(
        &mut self,
        room: &RoomName,
        from: Name,
        sender: Sender,
        payload: Payload,
        at: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.rooms.find(room) else {
            return;
        };
        let words = payload.words();
        effects.push(Effect::Announce { room: id, except: None, event: Event::Relayed(payload) });
        if let Some(words) = words {
            self.hear_said(room, from, sender, Speech::of_text(words), at, effects);
        }
    }

    fn set_apart(&mut self, apart: bool, now: Now, effects: &mut Vec<Effect>) {
        if apart {
            for process in self.clients.far.processes() {
                self.far_everyone(process, Vec::new(), Notice::Quiet, now, effects);
            }
        }
        // They may be out of reach again before anybody was told that they are not.
        if let Some(shared) = self.shared.as_mut().filter(|shared| shared.apart != apart) {
            shared.apart = apart;
            effects.push(Effect::Everybody(if apart { Event::Apart } else { Event::Together }));
        }
    }

    /// Those are all clients of a process: who is not among them is gone.
    fn far_everyone(
        &mut self,
        process: u64,
        clients: Vec<(u32, Presence)>,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let present: HashSet<u32> = clients.iter().map(|(client, _)| *client).collect();
        let mut known = self.clients.far.of_process(process);
        known.retain(|client| !present.contains(client));
        for serial in known {
            self.far_gone(UniqueId { process, serial }, None, notice, now, effects);
        }
        for (serial, presence) in clients {
            self.far_present(UniqueId { process, serial }, presence, notice, now, effects);
        }
    }

    fn far_present(
        &mut self,
        id: UniqueId,
        presence: Presence,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Presence { name, since_unix_millis, rooms } = presence;
        self.settle_name(id.process, &name, since_unix_millis, now, effects);
        let client = match self.clients.far.find(id) {
            Some(client) => {
                self.far_rename(client, &name, notice, now, effects);
                client
            }
            None => {
                let Some(client) = self.clients.far.insert(id, name) else {
                    return;
                };
                self.take_far_name(client, notice);
                client
            }
        };
        self.doubt_holder(self.clients.name_of(client), Some(id.process), effects);
        self.far_move(client, rooms, notice, now, effects);
    }

    /// A far client is in these rooms now, as far as there is a place for them.
    fn far_move(
        &mut self,
        client: ClientId,
        rooms: Vec<RoomName>,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let notice = if self.is_rival(client) { Notice::Quiet } else { notice };
        let slot = |room: &RoomName| Some(self.rooms.find(room)?.slot());
        let wanted: HashSet<RoomSlot> = rooms.iter().filter_map(slot).collect();
        let seats = self.client(client).into_iter().flat_map(Client::seats);
        let (stays, leaves): (Vec<Seat>, Vec<Seat>) = seats.partition(|seat| wanted.contains(&seat.slot));
        self.leave_seats(client, &leaves, None, notice, now, effects);
        let mut seated: HashSet<RoomSlot> = stays.into_iter().map(|seat| seat.slot).collect();
        // Each is taken as soon as it is open: the next might be opened in its place.
        for room in rooms {
            if let Some(room) = self.rooms.open(room)
                && seated.insert(room.slot())
            {
                self.take_seat(client, room, Echo(false), notice, now, effects);
            }
        }
    }

    fn far_gone(
        &mut self,
        id: UniqueId,
        reason: Option<Text>,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(client) = self.clients.far.find(id) else {
            return;
        };
        let name = self.clients.name_of(client).to_string();
        let notice = self.lose_far_name(client, &name).map_or(notice, |_| Notice::Quiet);
        let seats: Vec<Seat> = self.client(client).into_iter().flat_map(Client::seats).collect();
        self.leave_seats(client, &seats, reason, notice, now, effects);
        self.clients.far.remove(id);
        self.name_is_free(&name, now, effects);
    }

    fn far_rename(
        &mut self,
        client: ClientId,
        name: &Name,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(old) = self.name(client).filter(|old| *old != name).cloned() else {
            return;
        };
        let was_rival = self.lose_far_name(client, old.as_str());
        self.clients.get_mut(client).and_then(|client| client.rename(name.clone()));
        self.take_far_name(client, was_rival.unwrap_or(notice));
        match (was_rival, self.is_rival(client)) {
            (None, false) if notice == Notice::Told => self.tell_renamed(client, &old, name, effects),
            (None, true) if notice == Notice::Told => self.tell_left_everywhere(client, &old, now, effects),
            // Its rooms have not heard of it under the old name: that was another's.
            (Some(later), false) if notice == Notice::Told => {
                self.tell_joined_everywhere(client, later, now, effects);
            }
            _ => {}
        }
        self.name_is_free(old.as_str(), now, effects);
    }

    /// Tells all rooms of a client that nobody is there under its old name any more.
    fn tell_left_everywhere(&mut self, client: ClientId, old: &Name, now: Now, effects: &mut Vec<Effect>) {
        let by = self.unique(client);
        for id in self.rooms_of(client) {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            let count = room.count();
            if count <= self.rules.announce_max {
                let room = room.name.clone();
                let event = Event::Left { by, name: old.clone(), room, reason: None, count };
                effects.push(Effect::Announce { room: id, except: None, event });
            } else {
                self.crowds.note(id, &mut room.crowd, |crowd| crowd.left += 1, now.moment);
            }
        }
    }
}
