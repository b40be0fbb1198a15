//! The rules of the chat: clients, names, rooms, and the events that each client is sent.
//!
//! The chat is pure: a [`Request`] goes in and [`Effect`]s come out. It uses no bytes, sockets or clocks, so its tests read
//! like conversations.

mod access;
mod catch_up;
mod census;
mod changes;
mod clients;
mod context;
mod courtesies;
mod crowd;
mod enforce;
mod eviction;
mod filtering;
mod guests;
mod ids;
mod ignores;
mod membership;
mod messages;
mod moderation;
mod names;
mod naming;
mod queries;
mod questions;
mod remote;
mod rooms;
mod sessions;
mod topics;

use std::rc::Rc;

use smallvec::SmallVec;

use crate::access::{AccessChange, Ban, JwtKey, Network, Role};
use crate::config::Config;
use crate::protocol::{
    Change, CloseReason, Dialect, Event, Facts, LocalEvent, Moderation, Problem, Removal, Request, UniqueId,
    Whois,
};
use crate::sparse::Sparse;
use crate::state::SavedState;
use crate::text::{Name, RoomName, Text};
use crate::time::{Moment, Now};

use access::Access;
use catch_up::CatchUp;
pub use census::Census;
pub use changes::Placed;
use clients::{Client, Clients, Echo, Membership};
use context::{Ctx, NO_FACTS};
pub use courtesies::Asker;
use courtesies::Courtesy;
use filtering::WordFilter;
use guests::GuestNumbers;
pub use ids::{ClientId, RoomId};
use ignores::Ignores;
use messages::NewMessage;
pub use messages::Publication;
use names::Names;
use rooms::Rooms;

/// An action for the server. It must deliver all announcements to a room before the room's subscribers change again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a client an event that must not be dropped.
    Reply(ClientId, Event),
    /// Send a client a private message or a flagged text. It may be dropped if the client reads too slowly.
    Deliver(ClientId, Event),
    /// Send an event to all subscribers of a room.
    Announce {
        room: RoomId,
        /// The subscribers that are left out.
        except: Except,
        event: Event,
    },
    /// The client is in the chat: its input is requests from now on.
    Activated(ClientId),
    /// Close the connection of a client.
    Close(ClientId, CloseReason),
    /// A client has logged in.
    LoggedIn(ClientId),
    /// A login has failed, which counts against the client's address.
    LoginFailed(ClientId),
    /// Log the action of a moderator.
    LogModeration { by: Name, moderation: Moderation },
    /// Share a change that was made here, write the state file, and then send the answer.
    Save { change: Option<AccessChange>, answer: Option<(ClientId, Box<Event>)> },
    /// Ban the address of a client too. The effect `Save` follows.
    BanAddress { of: ClientId, ban: Box<Ban>, removal: Removal, rank: Role },
    /// Disconnect the clients of a network whose role is below `rank`.
    Disconnect { network: Network, removal: Removal, rank: Role },
    /// Send `to` what the server has about the client `of`.
    Whois { to: Asker, of: ClientId, whois: Box<Whois>, with_address: bool },
    /// Send an event to all clients in the chat.
    SendToAll(Event),
    /// Give a change its place in the order of its room, and then pass it to [`Chat::commit`].
    Submit { room: RoomId, name: RoomName, author: Option<ClientId>, change: Change, receipt: bool },
    /// Tell the other processes of an event, if there are any.
    Report(LocalEvent),
}

/// The subscribers of a room that an announcement leaves out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Except {
    /// The cause of the announcement, mostly.
    pub cause: Option<ClientId>,
    /// Sorted clients that ignore its author, or that get it by their catch-up.
    pub further: Option<Rc<[ClientId]>>,
}

impl Except {
    pub fn ids(&self) -> impl Iterator<Item = ClientId> {
        self.cause.into_iter().chain(self.further.iter().flat_map(|further| further.iter().copied()))
    }
}

impl From<Option<ClientId>> for Except {
    fn from(cause: Option<ClientId>) -> Except {
        Except { cause, further: None }
    }
}

/// A client's entry in the table of subscribers of one room.
#[derive(Clone, Copy, Debug)]
struct Location {
    room: RoomId,
    dialect: Dialect,
    /// The index among the subscribers of that dialect, so that leaving needs no search.
    index: u32,
}

/// All clients, names and rooms.
#[derive(Debug)]
pub struct Chat {
    /// The number of this process, which no other process has.
    process: u64,
    clients: Clients,
    names: Names,
    rooms: Rooms,
    crowds: crowd::Crowds,
    access: Access,
    ignores: Ignores,
    courtesies: Sparse<Courtesy>,
    filter: Option<WordFilter>,
    /// The progress of the clients that are catching up.
    catch_ups: Sparse<CatchUp>,
    guests: GuestNumbers,
    /// Whether other processes are out of reach.
    is_disconnected: bool,
    rules: Rules,
    motd: Vec<Text>,
}

/// The part of the configuration that the chat needs.
#[derive(Clone, Copy, Debug)]
struct Rules {
    ask_names: bool,
    announce_max: usize,
    rooms_per_client: usize,
    history_shown: usize,
    /// The most bytes of history sent at once, so that they fit into the client's write buffer.
    history_bytes: usize,
    /// The size at which a catch-up batch ends. A longer message is a batch of its own.
    batch_bytes: usize,
}

impl Rules {
    fn new(config: &Config) -> Rules {
        Rules {
            ask_names: config.asks_names(),
            announce_max: config.announce_max,
            rooms_per_client: config.max_rooms_per_client,
            history_shown: config.history_shown,
            history_bytes: config.write_buffer / 2,
            batch_bytes: config.write_buffer / 8,
        }
    }
}

impl Chat {
    /// Creates an empty chat in the process with that number.
    ///
    /// The tables are allocated at their largest size. This reserves address space rather than memory, and avoids pauses
    /// for growing them.
    pub fn new(config: &Config, process: u64) -> Chat {
        Chat {
            process,
            clients: Clients::new(process, config.most_slots()),
            names: Names::with_capacity(config.max_clients),
            rooms: Rooms::new(config, process),
            crowds: crowd::Crowds::default(),
            access: Access::new(config),
            ignores: Ignores::default(),
            courtesies: Sparse::default(),
            filter: WordFilter::of(config.sections.filter.as_ref(), None),
            catch_ups: Sparse::default(),
            guests: GuestNumbers::default(),
            is_disconnected: false,
            rules: Rules::new(config),
            motd: Vec::new(),
        }
    }

    /// Replaces the rules by those of `config`. Clients that are over a new limit stay where they are. [`Chat::set_access`]
    /// replaces the limits of rooms.
    pub fn set_rules(&mut self, config: &Config) {
        self.rules = Rules::new(config);
    }

    /// Sets the key of JSON Web Tokens.
    pub fn set_jwt_key(&mut self, key: Option<JwtKey>) {
        self.access.set_jwt_key(key);
    }

    /// Sets the message of the day, for clients that connect from now on.
    pub fn set_motd(&mut self, lines: Vec<Text>) {
        self.motd = lines;
    }

    /// Adds a line client, whose connection has that serial number. It is asked for its name, or enters the lobby as a guest
    /// if names are not asked for.
    pub fn connect(
        &mut self,
        id: ClientId,
        serial: u32,
        (now, facts): (Now, &Facts),
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut Ctx::new(now, facts, effects);
        let name = self.next_guest_name(ctx);
        self.clients.insert(id, serial, Client::SingleRoom { name, membership: None });
        self.greet(id, ctx);
        match self.rules.ask_names || self.home(self.access.identity(id)).is_none() {
            true => ctx.reply(id, Event::AskName),
            false => self.enter_home(id, ctx),
        }
    }

    /// Sends a client the message of the day.
    fn greet(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        self.motd.iter().for_each(|line| ctx.reply(id, Event::Greeting(line.clone())));
    }

    /// Removes a client, and announces its leave with `reason`. Does nothing if the client is not in the chat.
    pub fn leave(&mut self, id: ClientId, reason: Option<Text>, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut Ctx::new(now, &NO_FACTS, effects);
        self.sign_off(id, reason, ctx);
        self.access.remove_client(id);
        self.ignores.remove_client(id);
        self.courtesies.take(id.0);
        self.clients.remove(id);
    }

    /// Frees a client's name and ends its memberships. [`Chat::name`] still returns its name for the log, until
    /// [`Chat::leave`].
    fn sign_off(&mut self, id: ClientId, reason: Option<Text>, ctx: &mut Ctx<'_>) {
        // A connection may end before it becomes a client, or before the client has a name.
        let Some(client) = self.client(id).filter(|client| !client.is_unnamed()) else {
            return;
        };
        let name = client.name().cloned();
        let memberships: SmallVec<[Membership; 1]> = client.memberships().collect();
        self.leave_rooms(id, &memberships, reason, ctx);
        // A client that has quit has freed its name before.
        if let Some(name) = name.filter(|name| self.find_client(name.as_str()) == Some(id)) {
            self.names.remove(id, name.as_str());
            ctx.share(LocalEvent::Gone { client: self.unique_id(id).serial, name });
        }
    }

    /// Handles a request, or reports the problem if its bytes were not one.
    pub fn handle(
        &mut self,
        id: ClientId,
        request: Result<Request, Problem>,
        (now, facts): (Now, &Facts),
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut Ctx::new(now, facts, effects);
        // The client may have left since its request was read.
        let Some(client) = self.client(id) else {
            return;
        };
        let unnamed = client.is_unnamed();
        if let Err(problem) = request.and_then(|request| self.perform(id, request, ctx)) {
            let unnamed = unnamed && self.is_unnamed(id);
            ctx.reply(id, Event::Problem { problem, unnamed });
        }
    }

    fn handle_request(&mut self, id: ClientId, request: Request, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        match request {
            Request::Nick(name) => self.nick(id, name, ctx)?,
            Request::StayGuest if self.client(id).is_some_and(Client::is_unnamed) => {
                self.access.stop_asking(id);
                self.enter_home(id, ctx);
            }
            Request::StayGuest => {}
            Request::Say { room, kind, body, receipt } => {
                let location = self.locate(id, room)?;
                self.say(id, location, NewMessage { kind, body, receipt }, ctx);
            }
            Request::Relay(payload) => self.relay(id, payload, ctx)?,
            Request::Private { to, text, receipt } => self.send_private(id, &to, text, receipt, ctx)?,
            Request::Who(room) => ctx.reply(id, self.who(id, room, ctx.facts)?),
            Request::Rooms => ctx.reply(id, self.list_rooms(id, ctx.facts)),
            Request::Join { room, history, echo, since } => {
                self.join(id, room, (history, since), Echo(echo), ctx)?
            }
            Request::Leave(room) => self.leave_room(id, room, ctx)?,
            Request::History { room, count, after } => self.send_history(id, room, (count, after), ctx)?,
            Request::Login { name, token } => self.log_in(id, name, &token, ctx)?,
            Request::Register => self.register(id, ctx)?,
            Request::Topic { room, text } => self.topic(id, room, text, ctx)?,
            Request::Moderate(moderation) => self.moderate_for(id, &moderation, ctx)?,
            Request::Whois(name) => self.whois(Asker::Client(id), &name, self.may_moderate(id), ctx)?,
            Request::Answer(text) => self.answer(id, text, ctx)?,
            Request::Away(text) => self.set_away(id, text, ctx),
            Request::Ignore(name) => self.ignore(id, name.as_ref(), ctx)?,
            Request::Unignore(name) => self.unignore(id, &name, ctx),
            Request::Help => ctx.reply(id, Event::Help),
            Request::Ping => ctx.reply(id, Event::Pong),
            Request::Quit(reason) => {
                self.sign_off(id, reason, ctx);
                ctx.close(id, CloseReason::Quit);
            }
        }
        Ok(())
    }

    /// The subscribers of a room in `dialect` without those in `except`, as slices between them. The order depends only on
    /// the earlier calls, so that a simulation can be repeated.
    pub fn audience(&self, room: RoomId, dialect: Dialect, except: &[ClientId]) -> Vec<&[ClientId]> {
        // A room may be closed before an announcement to it is delivered, and a client may leave before.
        let mut rest = self.rooms.get(room).map_or(&[][..], |room| room.subscribers(dialect));
        let except = except.iter().filter(|id| self.clients.dialect(**id) == Some(dialect));
        let indices =
            except.filter_map(|id| Some(self.client(*id)?.membership_in(room.slot())?.index as usize));
        let mut indices: SmallVec<[usize; 1]> = indices.collect();
        indices.sort_unstable();
        indices.dedup();
        let mut slices = Vec::new();
        let mut start = 0;
        for index in indices {
            let split = rest.split_at_checked(index - start);
            debug_assert!(split.is_some_and(|(_, after)| !after.is_empty()), "no {index} in {room:?}");
            if let Some((before, [_, after @ ..])) = split {
                slices.extend(Some(before).filter(|before| !before.is_empty()));
                (rest, start) = (after, index + 1);
            }
        }
        slices.extend(Some(rest).filter(|rest| !rest.is_empty()));
        slices
    }

    /// The number of changes of a room's subscribers, modulo 2^32; 0 if the room was closed.
    pub fn member_changes(&self, room: RoomId) -> u32 {
        self.rooms.get(room).map_or(0, |room| room.changes)
    }

    /// The rooms that a client is in.
    pub fn rooms_of(&self, id: ClientId) -> SmallVec<[RoomId; 1]> {
        let memberships = self.client(id).into_iter().flat_map(Client::memberships);
        memberships.filter_map(|membership| self.rooms.at(membership.slot)).collect()
    }

    pub fn find_room(&self, name: &RoomName) -> Option<RoomId> {
        self.rooms.find(name)
    }

    /// The rooms in which a request would be announced. The request waits for slow readers in them. A client that quits does not
    /// wait.
    pub fn affected_rooms(&self, id: ClientId, request: &Request) -> SmallVec<[RoomId; 1]> {
        let located = |room| self.locate(id, room).map(|location| location.room).into_iter().collect();
        match request {
            Request::Say { room, .. } => located(room.clone()),
            Request::Relay(_) => located(None),
            Request::Nick(_) | Request::Leave(_) => self.rooms_of(id),
            Request::Topic { room, text: Some(_) } => located(room.clone()),
            Request::Join { room, .. } => self.rooms_of(id).into_iter().chain(self.find_room(room)).collect(),
            Request::StayGuest
            | Request::Private { .. }
            | Request::Who(_)
            | Request::Rooms
            | Request::History { .. }
            | Request::Login { .. }
            | Request::Register
            | Request::Topic { text: None, .. }
            | Request::Moderate(_)
            | Request::Whois(_)
            | Request::Answer(_)
            | Request::Away(_)
            | Request::Ignore(_)
            | Request::Unignore(_)
            | Request::Quit(_)
            | Request::Help
            | Request::Ping => SmallVec::new(),
        }
    }

    /// The client that would be sent a private message by a request.
    pub fn affected_client(&self, id: ClientId, request: &Request) -> Option<ClientId> {
        match request {
            Request::Answer(_) => self.find_client(self.last_sender(id)?.name.as_str()),
            Request::Private { to, .. } => self.find_client(to.as_str()),
            Request::Say { .. }
            | Request::Relay(_)
            | Request::Nick(_)
            | Request::StayGuest
            | Request::Who(_)
            | Request::Rooms
            | Request::Join { .. }
            | Request::Leave(_)
            | Request::History { .. }
            | Request::Login { .. }
            | Request::Register
            | Request::Topic { .. }
            | Request::Moderate(_)
            | Request::Whois(_)
            | Request::Away(_)
            | Request::Ignore(_)
            | Request::Unignore(_)
            | Request::Quit(_)
            | Request::Help
            | Request::Ping => None,
        }
    }

    /// The name of a room; `None` if it was closed.
    pub fn room_name(&self, room: RoomId) -> Option<&RoomName> {
        Some(&self.rooms.get(room)?.name)
    }

    /// Whether a room with that name exists or can be opened.
    pub fn can_open(&self, room: &RoomName) -> bool {
        self.rooms.can_open(room)
    }

    /// The id of a client that is unique among all processes and is never used again.
    fn unique_id(&self, id: ClientId) -> UniqueId {
        self.clients.unique_id(id)
    }

    /// The accounts, sessions, mutes and bans.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Takes over what an earlier process has kept.
    pub fn restore(&mut self, saved: SavedState) {
        self.access.restore(saved);
    }

    fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id)
    }

    /// Locates a local client in `room`, or in its only room.
    fn locate(&self, id: ClientId, room: Option<RoomName>) -> Result<Location, Problem> {
        let client = self.client(id).filter(|client| !client.is_unnamed()).ok_or(Problem::NameRequired)?;
        let membership = match room {
            Some(room) => {
                let id = self.rooms.find(&room);
                id.and_then(|id| client.membership_in(id.slot())).ok_or(Problem::NotIn(room))
            }
            None => {
                let mut memberships = client.memberships();
                memberships.next().filter(|_| memberships.next().is_none()).ok_or(Problem::RoomRequired)
            }
        }?;
        let room = self.rooms.at(membership.slot).ok_or(Problem::RoomRequired)?;
        Ok(Location { room, dialect: client.dialect(), index: membership.index })
    }

    /// The time at which [`Chat::handle_timeout`] must be called next.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.crowds.next_timeout().into_iter().chain(self.access.next_timeout()).min()
    }

    /// Sends the summaries of large rooms that are due, and ends sessions.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut Ctx::new(now, &NO_FACTS, effects);
        self.expire_sessions(ctx);
        while let Some(id) = self.crowds.pop_due(now.moment) {
            // The room may have been closed since.
            if let Some(room) = self.rooms.get_mut(id)
                && let Some(summary) = room.take_summary()
            {
                ctx.submit((id, &room.name), None, summary);
            }
        }
    }
}
