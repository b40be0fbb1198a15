//! Clients of other processes: [`FarClients`]. To the rooms and to the names they are clients as any others; what they
//! are told goes through the link.

use std::collections::{BTreeSet, HashMap, HashSet};

use slab::Slab;

use super::clients::{Client, Echo, Seat};
use super::ids::{ClientId, RoomId, RoomSlot};
use super::moves::Notice;
use super::talk::Speech;
use super::{Chat, Effect};
use crate::protocol::{Event, FarId, Message, News, Payload, Presence, Problem, Share};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// The clients of all other processes.
#[derive(Debug)]
pub struct FarClients {
    clients: Slab<FarClient>,
    max: usize,
    /// How many were too many.
    ignored: u64,
    /// The keys of each process's clients, by their numbers there.
    processes: HashMap<u64, HashMap<u32, u32>>,
    rivals: Rivals,
}

/// Those whose name somebody else had when they came by it. One of the two is about to lose it; if it is the other, the
/// name must not be free.
#[derive(Debug, Default)]
struct Rivals(BTreeSet<(String, ClientId)>);

#[derive(Debug)]
struct FarClient {
    client: Client,
    id: FarId,
}

impl FarClients {
    /// None so far, and never more than that.
    pub fn new(max: usize) -> FarClients {
        let rivals = Rivals::default();
        FarClients { clients: Slab::new(), max, ignored: 0, processes: HashMap::new(), rivals }
    }

    /// The client with that key.
    pub fn get(&self, key: usize) -> Option<&Client> {
        self.clients.get(key).map(|far| &far.client)
    }

    /// The client with that key.
    pub fn get_mut(&mut self, key: usize) -> Option<&mut Client> {
        self.clients.get_mut(key).map(|far| &mut far.client)
    }

    /// Where a client is really; `None` if it is one of ours.
    pub fn process_of(&self, id: ClientId) -> Option<u64> {
        Some(self.clients.get(id.far_key()?)?.id.process)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    fn find(&self, id: FarId) -> Option<ClientId> {
        let key = self.processes.get(&id.process)?.get(&id.client)?;
        Some(ClientId::far(*key as usize))
    }

    /// How often one was not taken note of, since there are as many as there may be.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn insert(&mut self, id: FarId, name: Name) -> Option<ClientId> {
        if self.clients.len() >= self.max {
            self.ignored += 1;
            return None;
        }
        let key = self.clients.insert(FarClient { client: Client::Solo { name, seat: None }, id });
        self.processes.entry(id.process).or_default().insert(id.client, key as u32);
        Some(ClientId::far(key))
    }

    fn remove(&mut self, id: FarId) {
        let Some(clients) = self.processes.get_mut(&id.process) else {
            return;
        };
        if let Some(key) = clients.remove(&id.client) {
            self.clients.try_remove(key as usize);
        }
        if clients.is_empty() {
            self.processes.remove(&id.process);
        }
    }

    /// The numbers of a process's clients, ascending.
    fn of_process(&self, process: u64) -> Vec<u32> {
        let mut clients: Vec<u32> =
            self.processes.get(&process).into_iter().flatten().map(|(id, _)| *id).collect();
        clients.sort_unstable();
        clients
    }

    fn processes(&self) -> Vec<u64> {
        let mut processes: Vec<u64> = self.processes.keys().copied().collect();
        processes.sort_unstable();
        processes
    }
}

impl Rivals {
    fn insert(&mut self, name: &str, id: ClientId) {
        self.0.insert((Name::folded(name).collect(), id));
    }

    fn remove(&mut self, name: &str, id: ClientId) {
        self.0.remove(&(Name::folded(name).collect(), id));
    }

    /// One of those with that name, which is none any more.
    fn take(&mut self, name: &str) -> Option<ClientId> {
        let lowest = (Name::folded(name).collect(), ClientId(0));
        let first = self.0.range(&lowest..).next().filter(|(other, _)| *other == lowest.0)?.clone();
        self.0.remove(&first);
        Some(first.1)
    }
}

/// What a chat knows of itself that is one of several.
#[derive(Debug)]
pub struct Shared {
    /// The process it is in.
    pub process: u64,
    /// What goes with the name of each client of ours, by its place in the roster.
    claims: Vec<Claim>,
    /// The number of the next client that comes by a name.
    next_number: u32,
    /// Whether the others are out of reach.
    pub apart: bool,
}

/// What the other processes tell a client of ours by.
#[derive(Clone, Copy, Default, Debug)]
struct Claim {
    /// Its number, under whatever name. Its place in the roster would not do: another client has that next, and to who
    /// did not hear of either would be the same one under a new name.
    number: u32,
    /// When it took its name, in milliseconds since the Unix epoch.
    since_unix_millis: u64,
}

impl Shared {
    /// In that process, where nobody is yet.
    pub fn new(process: u64) -> Shared {
        Shared { process, claims: Vec::new(), next_number: 0, apart: false }
    }

    /// A client has taken its first name.
    pub fn admit(&mut self, id: ClientId, now: Now) {
        let slot = id.0 as usize;
        if self.claims.len() <= slot {
            self.claims.resize(slot + 1, Claim::default());
        }
        self.claims[slot] = Claim { number: self.next_number, since_unix_millis: now.unix_millis };
        self.next_number = self.next_number.wrapping_add(1);
    }

    /// A client has taken another name.
    pub fn claim(&mut self, id: ClientId, now: Now) {
        if let Some(claim) = self.claims.get_mut(id.0 as usize) {
            claim.since_unix_millis = now.unix_millis;
        }
    }

    fn claim_of(&self, id: ClientId) -> Claim {
        self.claims.get(id.0 as usize).copied().unwrap_or_default()
    }
}

impl Chat {
    /// Something is known of another process, or of the link to it.
    pub fn hear(&mut self, news: News, now: Now, effects: &mut Vec<Effect>) {
        match news {
            News::Said { room, from, manner, body, at_unix_millis } => {
                let at = at_unix_millis.unwrap_or(now.unix_millis);
                let speech = Speech { manner, body, receipt: false };
                self.hear_said(&room, from, speech, at, effects);
            }
            News::Relayed { room, from, payload, at_unix_millis } => {
                self.hear_relayed(&room, from, payload, at_unix_millis, effects);
            }
            News::Private { process, to, from, text } => self.hear_private(process, to, from, text, effects),
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
                for client in self.clients.far.of_process(process) {
                    self.far_gone(FarId { process, client }, reason.clone(), Notice::Told, now, effects);
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

    /// All who are here under a name, for processes that know nothing yet.
    pub fn presences(&self) -> Vec<(u32, Presence)> {
        self.clients.near().filter_map(|(id, _)| self.presence(id)).collect()
    }

    /// Rooms that somebody here listens to.
    pub fn rooms_with_ears(&self) -> usize {
        self.rooms.with_near_ears()
    }

    /// The number of a client of ours, and how things are with it.
    fn presence(&self, id: ClientId) -> Option<(u32, Presence)> {
        let Claim { number, since_unix_millis } = self.shared.as_ref()?.claim_of(id);
        let client = self.clients.get(id).filter(|client| !client.is_unnamed())?;
        let room = |seat: Seat| Some(self.rooms.get(self.rooms.at(seat.slot)?)?.name.clone());
        let (name, rooms) = (client.name()?.clone(), client.seats().filter_map(room).collect());
        Some((number, Presence { name, since_unix_millis, rooms }))
    }

    /// Lets the other processes know how things are with a client of ours.
    pub(super) fn share_presence(&self, id: ClientId, effects: &mut Vec<Effect>) {
        let presence = self.presence(id);
        effects.extend(presence.map(|(client, presence)| Effect::Share(Share::Present { client, presence })));
    }

    /// Lets the other processes know that a client of ours is gone.
    pub(super) fn share_gone(&self, id: ClientId, reason: Option<Text>, effects: &mut Vec<Effect>) {
        let client = self.shared.as_ref().map(|shared| shared.claim_of(id).number);
        effects.extend(client.map(|client| Effect::Share(Share::Gone { client, reason })));
    }

    /// Lets the other processes know of something, if there are any.
    pub(super) fn share(&self, share: impl FnOnce() -> Share, effects: &mut Vec<Effect>) {
        if self.shared.is_some() {
            effects.push(Effect::Share(share()));
        }
    }

    /// Who is away from a room and comes back must be told that something is missing.
    fn note_gap(&mut self, room: &RoomName) -> Option<RoomId> {
        let id = self.rooms.find(room)?;
        self.rooms.get_mut(id)?.note_gap();
        Some(id)
    }

    fn hear_said(&mut self, room: &RoomName, from: Name, speech: Speech, at: u64, effects: &mut Vec<Effect>) {
        let Some(id) = self.rooms.find(room) else {
            return;
        };
        let Speech { manner, body, .. } = speech;
        let message = |seq| Message { from, manner, body, seq, at_unix_millis: at }.into();
        let message = self.rooms.post(id, message);
        effects.extend(self.announce(id, None, message));
    }

    fn hear_relayed(
        &mut self,
        room: &RoomName,
        from: Name,
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
            self.hear_said(room, from, Speech::of_text(words), at, effects);
        }
    }

    fn hear_private(&mut self, process: u64, to: Name, from: Name, text: Text, effects: &mut Vec<Effect>) {
        match self.find_near(&to) {
            Some(id) => effects.push(Effect::Pass(id, Event::Private { from, text })),
            None => self.share(|| Share::Nobody { process, from, called: to }, effects),
        }
    }

    fn find_near(&self, name: &Name) -> Option<ClientId> {
        self.find(name.as_str()).filter(|id| id.far_key().is_none())
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

    /// Tells somebody who has just come that the others are out of reach, if they are.
    pub(super) fn tell_if_apart(&self, id: ClientId, effects: &mut Vec<Effect>) {
        if self.shared.as_ref().is_some_and(|shared| shared.apart) {
            effects.push(Effect::Reply(id, Event::Apart));
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
        for client in known {
            self.far_gone(FarId { process, client }, None, notice, now, effects);
        }
        for (client, presence) in clients {
            self.far_present(FarId { process, client }, presence, notice, now, effects);
        }
    }

    fn far_present(
        &mut self,
        id: FarId,
        presence: Presence,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Presence { name, since_unix_millis, rooms } = presence;
        self.settle_name(id.process, &name, since_unix_millis, now, effects);
        let client = match self.clients.far.find(id) {
            Some(client) => {
                self.far_rename(client, &name, notice, effects);
                client
            }
            None => {
                let Some(client) = self.clients.far.insert(id, name) else {
                    return;
                };
                self.take_far_name(client);
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
        id: FarId,
        reason: Option<Text>,
        notice: Notice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(client) = self.clients.far.find(id) else {
            return;
        };
        let name = self.clients.name_of(client).to_string();
        self.lose_far_name(client, &name);
        let seats: Vec<Seat> = self.client(client).into_iter().flat_map(Client::seats).collect();
        self.leave_seats(client, &seats, reason, notice, now, effects);
        self.clients.far.remove(id);
        self.name_is_free(&name);
    }

    fn far_rename(&mut self, client: ClientId, name: &Name, notice: Notice, effects: &mut Vec<Effect>) {
        let Some(old) = self.name(client).filter(|old| *old != name).cloned() else {
            return;
        };
        self.lose_far_name(client, old.as_str());
        self.clients.get_mut(client).and_then(|client| client.rename(name.clone()));
        self.take_far_name(client);
        self.name_is_free(old.as_str());
        if notice == Notice::Told {
            self.tell_renamed(client, &old, name, effects);
        }
    }

    /// Notes a far client's name as taken, unless somebody has it: then one of the two is about to lose it.
    fn take_far_name(&mut self, client: ClientId) {
        let name = self.clients.name_of(client);
        match self.find(name) {
            None => self.take_name(client, None),
            Some(_) => {
                let name = name.to_string();
                self.clients.far.rivals.insert(&name, client);
            }
        }
    }

    fn lose_far_name(&mut self, client: ClientId, name: &str) {
        self.names.remove(client, name);
        self.clients.far.rivals.remove(name, client);
    }

    /// Has it looked after whether the one who has a name is still there, if that one is far: its process may have died with
    /// nobody the wiser, and who wants the name may be the same person. `wanted_by` is the process that wants it.
    pub(super) fn doubt_holder(&self, name: &str, wanted_by: Option<u64>, effects: &mut Vec<Effect>) {
        let process = self.find(name).and_then(|holder| self.clients.far.process_of(holder));
        if let Some(process) = process.filter(|process| Some(*process) != wanted_by) {
            effects.push(Effect::Share(Share::Doubt { process }));
        }
    }

    /// Somebody has lost this name, or given it up: whoever else has it keeps it.
    pub(super) fn name_is_free(&mut self, name: &str) {
        if self.find(name).is_none()
            && let Some(rival) = self.clients.far.rivals.take(name)
        {
            self.take_name(rival, None);
        }
    }

    /// If somebody of ours has that name and took it later, it is a guest from now on. Who took it first is the same to
    /// both processes, so the other does nothing.
    fn settle_name(&mut self, process: u64, name: &Name, since: u64, now: Now, effects: &mut Vec<Effect>) {
        let Some((holder, shared)) = self.find_near(name).zip(self.shared.as_ref()) else {
            return;
        };
        if (since, process) < (shared.claim_of(holder).since_unix_millis, shared.process) {
            let problem = Problem::NameYielded(name.clone());
            effects.push(Effect::Reply(holder, Event::Problem { problem, unnamed: false }));
            let guest = self.next_guest();
            self.rename(holder, guest, now, effects);
        }
    }
}
