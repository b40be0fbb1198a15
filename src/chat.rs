//! The chat itself: who is where, under which name, and who is told what.
//!
//! Pure: a [`Request`] goes in, [`Effect`]s come out, and nothing else happens. The chat never sees a byte, a socket
//! or a clock, so its tests read as scripts.

mod answers;
mod census;
mod clients;
mod conflicts;
mod context;
mod crowd;
mod history;
mod ids;
mod moves;
mod names;
mod remote;
mod remote_events;
mod returning;
mod rooms;
mod shared;
mod talk;

use smallvec::SmallVec;

use crate::config::Config;
use crate::protocol::{Dialect, Epoch, Event, LocalEvent, Problem, Request, UniqueId};
use crate::sparse::Sparse;
use crate::text::{Name, RoomName, Text};
use crate::time::{Moment, Now};

pub use census::Census;
use clients::{Client, Clients, Echo, Membership};
use context::Ctx;
pub use ids::{ClientId, RoomId};
use moves::Notice;
use names::Names;
use returning::Returning;
use rooms::{Room, Rooms};
use shared::Shared;
use talk::Speech;

/// What the server is to do, at once. Who is in a room does not change before a room is told something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Answer a client. Never left out.
    Reply(ClientId, Event),
    /// Pass a client something that another said to it alone.
    Deliver(ClientId, Event),
    /// Tell all members of a room, but for one.
    Announce {
        /// The room.
        room: RoomId,
        /// The member who is not told, mostly because it is the cause.
        except: Option<ClientId>,
        /// What they are told.
        event: Event,
    },
    /// The client has its name and is in a room: what it sends is chat from now on.
    NameGiven(ClientId),
    /// The client said good-bye.
    Quit(ClientId),
    /// Tell everyone who is in the chat.
    SendToAll(Event),
    /// Let the other processes know.
    Publish(LocalEvent),
}

/// Guests of one of several processes are numbered from a number under this.
const GUEST_NUMBERS: u64 = 1_000_000;

/// Where a client is.
#[derive(Clone, Copy, Debug)]
struct Location {
    room: RoomId,
    /// What it speaks.
    dialect: Dialect,
    /// Its index among those in the room who speak it, so that leaving does not search.
    index: u32,
}

/// All clients, names and rooms.
#[derive(Debug)]
pub struct Chat {
    /// The number of its process, which no other has.
    process: u64,
    clients: Clients,
    names: Names,
    rooms: Rooms,
    crowds: crowd::Crowds,
    /// Listeners that have still to be sent something that was said before.
    returning: Sparse<Returning>,
    guests: u64,
    /// Set if other processes are in the same chat.
    shared: Option<Shared>,
    rules: Rules,
    motd: Vec<Text>,
}

/// The part of the configuration that the chat goes by.
#[derive(Clone, Copy, Debug)]
struct Rules {
    ask_names: bool,
    announce_max: usize,
    rooms_per_client: usize,
    history_shown: usize,
    /// The most history shown at once, in bytes of text: it must fit into the write buffer of who sees it.
    history_bytes: usize,
    /// Bytes of text in one piece for a listener that catches up; a longer message is a piece of its own.
    piece_bytes: usize,
}

impl Chat {
    /// An empty chat under the rules of `config`, in the process with that number.
    ///
    /// The tables are as large as they can ever become. That costs address space, not memory, and later no pause for
    /// moving them.
    pub fn new(config: &Config, process: u64) -> Chat {
        Chat {
            process,
            clients: Clients::new(process, config.most_slots(), config.redis_clients),
            names: Names::with_capacity(config.max_clients),
            rooms: Rooms::new(config),
            crowds: crowd::Crowds::default(),
            returning: Sparse::default(),
            guests: 0,
            shared: None,
            rules: Rules {
                ask_names: !config.guests,
                announce_max: config.announce_max,
                rooms_per_client: config.max_rooms_per_client,
                history_shown: config.history_shown,
                history_bytes: config.write_buffer / 2,
                piece_bytes: config.write_buffer / 8,
            },
            motd: Vec::new(),
        }
    }

    /// The context of a call that was made at `now`.
    fn context<'a>(&self, now: Now, effects: &'a mut Vec<Effect>) -> Ctx<'a> {
        Ctx::new(now, effects, self.shared.is_some())
    }

    /// From now on the chat is one of several.
    pub fn set_shared(&mut self) {
        let process = self.process;
        // So that guests of different processes have different numbers, mostly.
        self.guests = process % GUEST_NUMBERS;
        self.shared = Some(Shared::new(process));
    }

    /// Sets the lines that greet everyone who connects from now on.
    pub fn set_motd(&mut self, lines: Vec<Text>) {
        self.motd = lines;
    }

    /// Sends a client the message of the day.
    fn greet(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        self.motd.iter().for_each(|line| ctx.reply(id, Event::Greeting(line.clone())));
    }

    /// A line client has connected, with that serial number. It is greeted and asked for its name, or, where nobody is
    /// asked, it enters the lobby.
    pub fn connect(&mut self, id: ClientId, serial: u32, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut self.context(now, effects);
        let name = self.next_guest();
        self.clients.insert(id, serial, Client::SingleRoom { name, seat: None });
        self.greet(id, ctx);
        match self.rules.ask_names {
            true => ctx.reply(id, Event::AskName),
            false => self.record_name(id, ctx),
        }
    }

    /// A client is gone, or as good as gone. The room is told, with `reason` if there is one.
    ///
    /// Once is enough; a client that is not here is no error.
    pub fn leave(&mut self, id: ClientId, reason: Option<Text>, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut self.context(now, effects);
        self.step_out(id, reason, ctx);
        self.stop_catching_up(id, ctx);
        self.clients.remove(id);
        if let Some(shared) = &mut self.shared {
            shared.remove(id);
        }
    }

    /// Takes a client out of its rooms, and its name out of use. The name stays known to [`Chat::name`], for the log,
    /// until [`Chat::leave`].
    fn step_out(&mut self, id: ClientId, reason: Option<Text>, ctx: &mut Ctx<'_>) {
        // A connection may end before it was a client, and a client before it has a name.
        let Some(client) = self.client(id).filter(|client| !client.is_unnamed()) else {
            return;
        };
        let name = client.name().cloned();
        let memberships: SmallVec<[Membership; 1]> = client.memberships().collect();
        if let Some(name) = name {
            self.names.remove(id, name.as_str());
            self.share_gone(id, reason.clone(), ctx);
            self.leave_memberships(id, &memberships, reason, Notice::Announced, ctx);
            return self.name_is_free(name.as_str(), ctx);
        }
        self.leave_memberships(id, &memberships, reason, Notice::Announced, ctx);
    }

    /// A client wants something, or what it sent could not be read.
    pub fn handle(
        &mut self,
        id: ClientId,
        request: Result<Request, Problem>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut self.context(now, effects);
        // A client may have left since its request was read.
        let Some(client) = self.client(id) else {
            return;
        };
        let unnamed = client.is_unnamed();
        if let Err(problem) = request.and_then(|request| self.carry_out(id, request, ctx)) {
            ctx.reply(id, Event::Problem { problem, unnamed });
        }
    }

    /// Those in a room who speak `dialect`, but for some clients: the stretches between those. Their order depends on
    /// nothing but what happened.
    pub fn audience(&self, room: RoomId, dialect: Dialect, except: &[ClientId]) -> Vec<&[ClientId]> {
        // A room may be closed before an announcement in it is delivered.
        let mut rest = self.rooms.get(room).map_or(&[][..], |room| room.subscribers(dialect));
        // A client may have left since it was left out.
        let left_out = except.iter().filter(|id| self.client(**id).is_some());
        let left_out = left_out.filter(|id| self.clients.dialect(**id) == Some(dialect));
        let memberships =
            left_out.filter_map(|id| Some(self.client(*id)?.membership_in(room.slot())?.index as usize));
        let mut memberships: SmallVec<[usize; 1]> = memberships.collect();
        memberships.sort_unstable();
        memberships.dedup();
        let mut stretches = Vec::new();
        let mut from = 0;
        for seat in memberships {
            let split = rest.split_at_checked(seat - from);
            debug_assert!(
                split.is_some_and(|(_, behind)| !behind.is_empty()),
                "no member {seat} in {room:?}"
            );
            if let Some((before, [_, behind @ ..])) = split {
                stretches.extend(Some(before).filter(|before| !before.is_empty()));
                (rest, from) = (behind, seat + 1);
            }
        }
        stretches.extend(Some(rest).filter(|rest| !rest.is_empty()));
        stretches
    }

    /// How often the subscribers of a room have changed, modulo 2^32; 0 if there is no such room.
    pub fn member_changes(&self, room: RoomId) -> u32 {
        self.rooms.get(room).map_or(0, |room| room.changes)
    }

    /// The rooms that a client is in.
    pub fn rooms_of(&self, id: ClientId) -> SmallVec<[RoomId; 1]> {
        let memberships = self.client(id).into_iter().flat_map(Client::memberships);
        memberships.filter_map(|seat| self.rooms.at(seat.slot)).collect()
    }

    /// The room of that name, if there is one.
    pub fn find_room(&self, name: &RoomName) -> Option<RoomId> {
        self.rooms.find(name)
    }

    /// The rooms whose members are told something if a client asks for that.
    pub fn listed_rooms(&self, id: ClientId, request: &Request) -> SmallVec<[RoomId; 1]> {
        match request {
            Request::Say { room, .. } => {
                self.place_in(id, room.clone()).map(|place| place.room).into_iter().collect()
            }
            Request::Relay(_) => self.place_in(id, None).map(|place| place.room).into_iter().collect(),
            Request::Nick(_) | Request::Leave(_) => self.rooms_of(id),
            Request::Join { room, .. } => self.rooms_of(id).into_iter().chain(self.find_room(room)).collect(),
            _ => SmallVec::new(),
        }
    }

    /// The client that is told something, if another asks for that.
    pub fn shown_client(&self, request: &Request) -> Option<ClientId> {
        match request {
            Request::Private { to, .. } => self.find(to.as_str()),
            _ => None,
        }
    }

    /// What a room is called.
    pub fn room_name(&self, room: RoomId) -> Option<&RoomName> {
        Some(&self.rooms.get(room)?.name)
    }

    /// What the numbers of a room's messages belong to.
    fn epoch(&self, room: &Room) -> Epoch {
        room.epoch(self.process)
    }

    /// The id that names a client for ever, also to other processes.
    fn unique(&self, id: ClientId) -> UniqueId {
        self.clients.unique(id)
    }

    /// A client's name; a guest name until it has given one.
    pub fn name(&self, id: ClientId) -> Option<&Name> {
        self.client(id)?.name()
    }

    /// Whether a room of that name is there, or may be made.
    pub fn can_open(&self, room: &RoomName) -> bool {
        self.rooms.can_open(room)
    }

    /// Whether somebody has that name, or one that looks like it.
    pub fn is_taken(&self, name: &Name) -> bool {
        !self.alike(name.as_str()).is_empty()
    }

    /// Whether a client is in no room because it has given no name.
    pub fn is_unnamed(&self, id: ClientId) -> bool {
        self.client(id).is_none_or(Client::is_unnamed)
    }

    /// Whether a line of a client without a name gets a reply that is no refusal.
    pub fn grants(&self, request: &Result<Request, Problem>) -> bool {
        match request {
            Ok(Request::Nick(name)) => !self.is_taken(name),
            Ok(request) => !request.needs_name(),
            Err(_) => false,
        }
    }

    /// Why nobody else can have that name: somebody has it, or one that looks like it.
    pub fn name_taken(&self, name: &Name) -> Option<Problem> {
        self.taken_from(None, name)
    }

    /// The same, for the client `id`, which may have the name or one that looks like it.
    fn taken_from(&self, id: Option<ClientId>, name: &Name) -> Option<Problem> {
        let holder = self.alike(name.as_str()).into_iter().find(|holder| Some(*holder) != id)?;
        let holder = self.present_name(holder)?;
        Some(match holder.same_as(name.as_str()) {
            true => Problem::NameTaken(name.clone()),
            false => Problem::NameAlike { name: name.clone(), holder },
        })
    }

    /// The clients whose names look like that one.
    fn alike(&self, name: &str) -> Vec<ClientId> {
        self.names.alike(name, |id| self.clients.name_of(id))
    }

    /// The client that has the name, in whatever spelling.
    fn find(&self, name: &str) -> Option<ClientId> {
        self.names.find(name, |id| self.clients.name_of(id))
    }

    fn next_guest(&mut self) -> Name {
        loop {
            self.guests += 1;
            let name = Name::guest(self.guests);
            if !self.is_taken(&name) {
                return name;
            }
        }
    }

    /// When [`Chat::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.crowds.next_timeout()
    }

    /// Does what is due by now: summaries of large rooms.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut self.context(now, effects);
        while let Some(id) = self.crowds.due(ctx.now.moment) {
            // The room may have been closed or emptied since.
            if let Some(summary) = self.rooms.get_mut(id).and_then(Room::summary) {
                ctx.announce(id, None, summary);
            }
        }
    }

    /// How much there is of everything. All but the history is zero when everybody has left.
    pub fn census(&self) -> Census {
        Census {
            clients: self.clients.near().count(),
            far: self.clients.far.len(),
            remote_ignored: self.clients.far.ignored(),
            names: self.names.len(),
            further_keys: self.names.further_len(),
            conflicts: self.clients.far.conflicts.len(),
            rooms: self.rooms.len(),
            members: self.rooms.memberships(),
            returning: self.returning.len(),
            summaries: self.crowds.len(),
            history_bytes: self.rooms.history_bytes(),
        }
    }

    /// The tables here that have the slots of connections as their keys.
    pub fn tables(&self) -> Vec<(&'static str, Vec<u32>)> {
        let near = |ids: &mut dyn Iterator<Item = ClientId>| -> Vec<u32> {
            ids.filter(|id| id.remote_key().is_none()).map(|id| id.0).collect()
        };
        let claims = self.shared.iter().flat_map(Shared::slots).collect();
        vec![
            ("clients of the chat", near(&mut self.clients.near().map(|(id, _)| id))),
            ("taken names", near(&mut self.names.ids())),
            ("members", near(&mut self.rooms.everybody())),
            ("claims", claims),
            ("listeners that catch up", self.returning.slots().collect()),
        ]
    }

    fn carry_out(&mut self, id: ClientId, request: Request, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        match request {
            Request::Nick(name) => self.nick(id, name, ctx)?,
            Request::StayGuest if self.client(id).is_some_and(Client::is_unnamed) => {
                self.record_name(id, ctx);
            }
            Request::StayGuest => {}
            Request::Say { room, kind, body, receipt } => {
                let place = self.place_in(id, room)?;
                self.say(id, place, Speech { kind, body, receipt }, ctx);
            }
            Request::Relay(payload) => self.relay(id, payload, ctx)?,
            Request::Private { to, text, receipt } => self.tell(id, &to, text, receipt, ctx)?,
            Request::Who(room) => ctx.reply(id, self.who(id, room)?),
            Request::Rooms => ctx.reply(id, self.list_rooms(id)),
            Request::Join { room, history, echo } => {
                self.join(id, room, history, Echo(echo), ctx)?;
            }
            Request::Leave(room) => self.leave_room(id, room, ctx)?,
            Request::History { room, count, after } => {
                self.show_history(id, room, (count, after), ctx)?;
            }
            Request::Help => ctx.reply(id, Event::Help),
            Request::Ping => ctx.reply(id, Event::Pong),
            Request::Quit(reason) => {
                self.step_out(id, reason, ctx);
                ctx.quit(id);
            }
        }
        Ok(())
    }

    fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id)
    }

    /// The name of a client that has one and has not left.
    fn present_name(&self, id: ClientId) -> Option<Name> {
        let name = self.clients.present(id).and_then(Client::name);
        debug_assert!(name.is_some(), "{id:?} only listens");
        name.cloned()
    }

    /// Gives a client that has a name another one, and returns the old one.
    fn set_name(&mut self, id: ClientId, name: Name) -> Option<Name> {
        let old = self.clients.present_mut(id).and_then(|client| client.rename(name));
        debug_assert!(old.is_some(), "{id:?} only listens");
        old
    }

    fn add_membership(&mut self, id: ClientId, seat: Membership, echo: Echo) {
        if let Some(client) = self.clients.present_mut(id) {
            client.add_membership(seat, echo);
        }
    }

    /// Where the client is in that room, or in the only one that it is in.
    fn place_in(&self, id: ClientId, room: Option<RoomName>) -> Result<Location, Problem> {
        let client = self.client(id).filter(|client| !client.is_unnamed()).ok_or(Problem::NameFirst)?;
        let seat = match room {
            Some(room) => {
                let there = self.rooms.find(&room);
                there.and_then(|there| client.membership_in(there.slot())).ok_or(Problem::NotIn(room))
            }
            None => {
                let mut memberships = client.memberships();
                memberships.next().filter(|_| memberships.next().is_none()).ok_or(Problem::WhichRoom)
            }
        }?;
        let room = self.rooms.at(seat.slot).ok_or(Problem::WhichRoom)?;
        Ok(Location { room, dialect: client.dialect(), index: seat.index })
    }
}
