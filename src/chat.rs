//! The chat itself: who is where, under which name, and who is told what.
//!
//! Pure: a [`Request`] goes in, [`Effect`]s come out, and nothing else happens. The chat never sees a byte, a socket
//! or a clock, so its tests read as scripts.

mod answers;
mod crowd;
mod history;
mod ids;
mod moves;
mod names;
mod rooms;

use std::rc::Rc;

use crate::config::Config;
use crate::protocol::{Event, Manner, Message, Problem, Request};
use crate::text::{Name, RoomName, Text};
use crate::time::{Moment, Now};

use ids::RoomSlot;
pub use ids::{ClientId, RoomId};
use names::Names;
use rooms::{Room, Rooms};

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
    /// The most history shown at once, in bytes of text: it must fit into the write buffer of who sees it.
    history_bytes: usize,
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
                history_bytes: config.write_buffer / 2,
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

    fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id.0 as usize)?.as_ref()
    }

    fn place(&self, id: ClientId) -> Result<Place, Problem> {
        let seat = self.client(id).and_then(|client| client.seat).ok_or(Problem::NameFirst)?;
        let room = self.rooms.at(seat.slot).ok_or(Problem::NameFirst)?;
        Ok(Place { room, index: seat.index })
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

fn name_of(clients: &[Option<Client>], id: ClientId) -> &str {
    clients.get(id.0 as usize).and_then(Option::as_ref).map_or("", |client| client.name.as_str())
}
