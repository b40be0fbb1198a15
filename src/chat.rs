//! The chat itself: who is where, under which name, and who is told what.
//!
//! Pure: a [`Request`] goes in, [`Effect`]s come out, and nothing else happens. The chat never sees a byte, a socket
//! or a clock, so its tests read as scripts.

mod crowd;
mod history;
mod names;
mod rooms;

use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::protocol::{Event, Manner, Message, Problem, Request};
use crate::text::{Name, RoomName, Text};
use crate::time::{Moment, Now};

use names::Names;
pub use rooms::RoomId;
use rooms::{Room, RoomSlot, Rooms};

/// A client, by the place it has in the roster. The server gives these and takes them back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// What the server is to do. Members of a room are those at the time the effect is carried out, which is at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Answer a client. Never left out.
    Reply(ClientId, Event),
    /// Pass a client something that another said to it alone.
    Pass(ClientId, Event),
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
}

/// Names listed where somebody enters a room; more are counted.
const NAMES_ON_ENTERING: usize = 10;
/// Names or rooms listed on request; more are counted. All with the longest names fit into the write buffer of a client
/// that has no name yet.
const LISTED: usize = 50;

/// What is known of a client.
#[derive(Debug)]
struct Client {
    name: Name,
    /// Where it is; `None` until it has given a name.
    seat: Option<Seat>,
}

/// Where a client is, in eight bytes: it is a member, so the room is there.
#[derive(Clone, Copy, Debug)]
struct Seat {
    slot: RoomSlot,
    index: u32,
}

/// Where a client is.
#[derive(Clone, Copy, Debug)]
struct Place {
    room: RoomId,
    /// Its index among the members, so that leaving does not search.
    index: u32,
}

/// All clients, names and rooms.
#[derive(Debug)]
pub struct Chat {
    clients: Vec<Option<Client>>,
    names: Names,
    rooms: Rooms,
    crowds: crowd::Crowds,
    guests: u64,
    rules: Rules,
    motd: Vec<Text>,
}

/// The part of the configuration that the chat goes by.
#[derive(Clone, Copy, Debug)]
struct Rules {
    ask_names: bool,
    announce_max: usize,
    history_shown: usize,
}

impl Chat {
    /// An empty chat under the rules of `config`.
    ///
    /// The tables are as large as they can ever become. That costs address space, not memory, and later no pause for
    /// moving them.
    pub fn new(config: &Config) -> Chat {
        Chat {
            clients: Vec::with_capacity(config.most_slots()),
            names: Names::with_capacity(config.max_clients),
            rooms: Rooms::new(config),
            crowds: crowd::Crowds::default(),
            guests: 0,
            rules: Rules {
                ask_names: !config.guests,
                announce_max: config.announce_max,
                history_shown: config.history_shown,
            },
            motd: Vec::new(),
        }
    }

    /// Sets the lines that greet everyone who connects from now on.
    pub fn set_motd(&mut self, lines: Vec<Text>) {
        self.motd = lines;
    }

    /// A client has connected. It is greeted and asked for its name, or, where nobody is asked, it enters the lobby.
    pub fn connect(&mut self, id: ClientId, now: Now, effects: &mut Vec<Effect>) {
        self.guests += 1;
        let client = Client { name: Name::guest(self.guests), seat: None };
        let slot = id.0 as usize;
        if self.clients.len() <= slot {
            self.clients.resize_with(slot + 1, || None);
        }
        debug_assert!(self.clients[slot].is_none(), "client {slot} connected twice");
        self.clients[slot] = Some(client);
        effects.extend(self.motd.iter().map(|line| Effect::Reply(id, Event::Greeting(line.clone()))));
        match self.rules.ask_names {
            true => effects.push(Effect::Reply(id, Event::WhatName)),
            false => self.name_given(id, now, effects),
        }
    }

    /// A client is gone, or as good as gone. The room is told, with `reason` if there is one.
    ///
    /// Once is enough; a client that is not here is no error.
    pub fn leave(&mut self, id: ClientId, reason: Option<Text>, now: Now, effects: &mut Vec<Effect>) {
        self.step_out(id, reason, now, effects);
        if let Some(client) = self.clients.get_mut(id.0 as usize) {
            *client = None;
        }
        while self.clients.last().is_some_and(Option::is_none) {
            self.clients.pop();
        }
    }

    /// Takes a client out of its room, and its name out of use. The name stays known to [`Chat::name`], for the log,
    /// until [`Chat::leave`].
    fn step_out(&mut self, id: ClientId, reason: Option<Text>, now: Now, effects: &mut Vec<Effect>) {
        let Ok(place) = self.place(id) else {
            return;
        };
        let Some(Some(client)) = self.clients.get_mut(id.0 as usize) else {
            return;
        };
        client.seat = None;
        let name = client.name.clone();
        self.names.remove(id, name.as_str());
        self.depart(place, name, reason, now, effects);
    }

    /// A client wants something, or what it sent could not be read.
    pub fn handle(
        &mut self,
        id: ClientId,
        request: Result<Request, Problem>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(client) = self.client(id) else {
            return;
        };
        let unnamed = client.seat.is_none();
        if let Err(problem) = request.and_then(|request| self.carry_out(id, request, now, effects)) {
            effects.push(Effect::Reply(id, Event::Problem { problem, unnamed }));
        }
    }

    /// The members of a room, in an order that depends on nothing but what happened.
    pub fn members(&self, room: RoomId) -> &[ClientId] {
        self.rooms.get(room).map_or(&[], |room| &room.members)
    }

    /// The members of a room but one: those before it and those behind it.
    pub fn audience(&self, room: RoomId, except: Option<ClientId>) -> [&[ClientId]; 2] {
        let members = self.members(room);
        let place = except.and_then(|id| self.place(id).ok()).filter(|place| place.room == room);
        match place.and_then(|place| members.split_at_checked(place.index as usize)) {
            Some((before, [_, behind @ ..])) => [before, behind],
            _ => [members, &[]],
        }
    }

    /// A client's name; a guest name until it has given one.
    pub fn name(&self, id: ClientId) -> Option<&Name> {
        Some(&self.client(id)?.name)
    }

    /// When [`Chat::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.crowds.next_timeout()
    }

    /// Does what is due by now: summaries of large rooms.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(id) = self.crowds.due(now.moment) {
            if let Some(summary) = self.rooms.get_mut(id).and_then(Room::summary) {
                effects.push(Effect::Announce { room: id, except: None, event: summary });
            }
        }
    }

    /// How much there is of everything. All but the history is zero when everybody has left.
    pub fn census(&self) -> Census {
        Census {
            clients: self.clients.iter().flatten().count(),
            names: self.names.len(),
            rooms: self.rooms.len(),
            members: self.rooms.members(),
            summaries: self.crowds.len(),
            history_bytes: self.rooms.history_bytes(),
        }
    }

    fn carry_out(
        &mut self,
        id: ClientId,
        request: Request,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        match request {
            Request::Nick(name) => self.nick(id, name, now, effects)?,
            Request::StayGuest if self.place(id).is_err() => self.name_given(id, now, effects),
            Request::StayGuest => {}
            Request::Say(text) => self.say(id, Manner::Say, text, now, effects)?,
            Request::Me(text) => self.say(id, Manner::Act, text, now, effects)?,
            Request::Tell { to, text } => self.tell(id, &to, text, effects)?,
            Request::Who(room) => effects.push(Effect::Reply(id, self.who(id, room)?)),
            Request::Rooms => effects.push(Effect::Reply(id, self.list_rooms())),
            Request::Join(room) => self.join(id, room, now, effects)?,
            Request::Leave => self.join(id, RoomName::lobby(), now, effects)?,
            Request::History(count) => self.show_history(id, count, now, effects)?,
            Request::Help => effects.push(Effect::Reply(id, Event::Help)),
            Request::Ping => effects.push(Effect::Reply(id, Event::Pong)),
            Request::Quit(reason) => {
                self.step_out(id, reason, now, effects);
                effects.push(Effect::Quit(id));
            }
        }
        Ok(())
    }

    fn nick(&mut self, id: ClientId, name: Name, now: Now, effects: &mut Vec<Effect>) -> Result<(), Problem> {
        match self.names.find(name.as_str(), |id| name_of(&self.clients, id)) {
            Some(holder) if holder != id => return Err(Problem::NameTaken(name)),
            _ => {}
        }
        let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return Ok(());
        };
        let old = std::mem::replace(&mut client.name, name.clone());
        let Ok(place) = self.place(id) else {
            self.name_given(id, now, effects);
            return Ok(());
        };
        self.take_name(id, Some(old.as_str()));
        effects.push(Effect::Reply(id, Event::YouAre(name.clone())));
        if old != name && self.members(place.room).len() <= self.rules.announce_max {
            let event = Event::Renamed { from: old, to: name };
            effects.push(Effect::Announce { room: place.room, except: Some(id), event });
        }
        Ok(())
    }

    /// The client's name stands; it enters the lobby under it.
    fn name_given(&mut self, id: ClientId, now: Now, effects: &mut Vec<Effect>) {
        let Some(name) = self.name(id).cloned() else {
            return;
        };
        self.take_name(id, None);
        effects.push(Effect::NameGiven(id));
        self.arrive(id, name, Rooms::LOBBY, true, now, effects);
    }

    /// Enters the client's present name among those taken, in place of an `old` one.
    fn take_name(&mut self, id: ClientId, old: Option<&str>) {
        let clients = &self.clients;
        let name_of = |id| name_of(clients, id);
        if let Some(old) = old {
            self.names.remove(id, old);
        }
        self.names.insert(id, name_of);
    }

    fn join(
        &mut self,
        id: ClientId,
        room: RoomName,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let place = self.place(id)?;
        if self.rooms.get(place.room).is_some_and(|here| here.name == room) {
            return Err(Problem::AlreadyIn(room));
        }
        let there = self.rooms.open(room).ok_or(Problem::TooManyRooms)?;
        let Some(name) = self.name(id).cloned() else {
            return Ok(());
        };
        self.depart(place, name.clone(), None, now, effects);
        self.arrive(id, name, there, false, now, effects);
        Ok(())
    }

    fn arrive(
        &mut self,
        id: ClientId,
        name: Name,
        to: RoomId,
        first: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let (others, more) = self.some_names(self.members(to), NAMES_ON_ENTERING);
        let Some(room) = self.rooms.get_mut(to) else {
            return;
        };
        let entered = Event::Entered { name: name.clone(), first, room: room.name.clone(), others, more };
        let index = room.enter(id);
        if room.members.len() <= self.rules.announce_max {
            effects.push(Effect::Announce { room: to, except: Some(id), event: Event::Joined(name) });
        } else {
            self.crowds.note(to, room, |crowd| crowd.joined += 1, now.moment);
        }
        effects.push(Effect::Reply(id, entered));
        effects.extend(past(room, self.rules.history_shown, now).map(|event| Effect::Reply(id, event)));
        if let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) {
            client.seat = Some(Seat { slot: to.slot(), index });
        }
    }

    /// Takes the member at `place` out of its room.
    fn depart(
        &mut self,
        place: Place,
        name: Name,
        reason: Option<Text>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(room) = self.rooms.get_mut(place.room) else {
            return;
        };
        let announced = room.members.len() <= self.rules.announce_max;
        // The last member takes the place of the one who leaves.
        if let Some(moved) = room.exit(place.index)
            && let Some(Some(client)) = self.clients.get_mut(moved.0 as usize)
        {
            client.seat = Some(Seat { slot: place.room.slot(), index: place.index });
        }
        if announced {
            let event = Event::Left { name, reason };
            effects.push(Effect::Announce { room: place.room, except: None, event });
        } else {
            self.crowds.note(place.room, room, |crowd| crowd.left += 1, now.moment);
        }
        self.rooms.close_if_unused(place.room, now.moment);
    }

    fn say(
        &mut self,
        id: ClientId,
        manner: Manner,
        text: Text,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let place = self.place(id)?;
        let Some(from) = self.name(id).cloned() else {
            return Ok(());
        };
        let message = self.rooms.post(place.room, |seq| {
            Rc::new(Message { from, manner, text, seq, at_unix_millis: now.unix_millis })
        });
        let event = Event::Message(message);
        effects.push(Effect::Announce { room: place.room, except: Some(id), event });
        Ok(())
    }

    fn tell(
        &mut self,
        id: ClientId,
        to: &Text,
        text: Text,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        self.place(id)?;
        let found = self.names.find(to.as_str(), |id| name_of(&self.clients, id));
        let addressee = found.ok_or_else(|| Problem::NobodyCalled(to.clone()))?;
        if let Some(from) = self.name(id).cloned() {
            effects.push(Effect::Pass(addressee, Event::Private { from, text }));
        }
        Ok(())
    }

    fn who(&self, id: ClientId, room: Option<RoomName>) -> Result<Event, Problem> {
        let room = match room {
            Some(name) if name == RoomName::lobby() => Ok(Rooms::LOBBY),
            Some(name) => self.rooms.find(&name).filter(|id| !self.members(*id).is_empty()).ok_or(name),
            None => Ok(self.place(id).map_or(Rooms::LOBBY, |place| place.room)),
        };
        let room = room.map_err(Problem::NoSuchRoom)?;
        let (names, more) = self.some_names(self.members(room), LISTED);
        let room = self.rooms.get(room).map_or_else(RoomName::lobby, |room| room.name.clone());
        Ok(Event::Who { room, names, more })
    }

    fn list_rooms(&self) -> Event {
        let (rooms, more) = self.rooms.largest(LISTED);
        Event::Rooms { rooms, more }
    }

    fn show_history(
        &mut self,
        id: ClientId,
        count: Option<usize>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let place = self.place(id)?;
        let Some(room) = self.rooms.get(place.room) else {
            return Ok(());
        };
        // Who asks wants to see something, even where joining shows nothing.
        let count = count.unwrap_or(self.rules.history_shown).max(1);
        effects.extend(past(room, count, now).map(|event| Effect::Reply(id, event)));
        if room.last(1).next().is_none() {
            effects.push(Effect::Reply(id, Event::NoPast));
        }
        Ok(())
    }

    fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id.0 as usize)?.as_ref()
    }

    fn place(&self, id: ClientId) -> Result<Place, Problem> {
        let seat = self.client(id).and_then(|client| client.seat).ok_or(Problem::NameFirst)?;
        let room = self.rooms.at(seat.slot).ok_or(Problem::NameFirst)?;
        Ok(Place { room, index: seat.index })
    }

    /// The names of the first `most` clients, and how many more there are.
    fn some_names(&self, ids: &[ClientId], most: usize) -> (Vec<Name>, usize) {
        let names = ids.iter().take(most).filter_map(|id| self.name(*id).cloned()).collect();
        (names, ids.len().saturating_sub(most))
    }
}

/// How much there is of everything ([`Chat::census`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Clients, with and without a name.
    pub clients: usize,
    /// Names taken.
    pub names: usize,
    /// Rooms with members or a history.
    pub rooms: usize,
    /// Members of all rooms.
    pub members: usize,
    /// Rooms that owe a summary.
    pub summaries: usize,
    /// Memory of the history.
    pub history_bytes: usize,
}

/// The last `count` messages of a room, as told now.
fn past(room: &Room, count: usize, now: Now) -> impl Iterator<Item = Event> {
    room.last(count).map(move |message| Event::Past {
        message: message.clone(),
        age: Duration::from_millis(now.unix_millis.saturating_sub(message.at_unix_millis)),
    })
}

fn name_of(clients: &[Option<Client>], id: ClientId) -> &str {
    clients.get(id.0 as usize).and_then(Option::as_ref).map_or("", |client| client.name.as_str())
}
