//! Clients enter the chat, join rooms and leave them.

use super::clients::{Client, Echo, Membership, MultiRoom};
use super::ids::{ClientId, RoomId};
use super::shared::publish_subscription;
use super::{Chat, Ctx, Effect, Location};
use crate::access::Action;
use crate::protocol::{Arrival, CloseReason, Dialect, Event, Position, PositionError, Problem, Request};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// The most names in the event that a client gets when it joins a room.
const NAMES_ON_JOINING: usize = 10;

/// How a client joins a room.
#[derive(Clone, Copy, Debug)]
pub struct JoinOptions {
    /// Whether it is the first room of a line client.
    pub first: bool,
    /// The number of messages to send from the history.
    pub history: usize,
    pub echo: Echo,
}

/// Whether a room is sent a join or leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    Announced,
    /// The client joined or left earlier, and this process has only now found out.
    Silent,
}

impl Chat {
    /// Adds a client whose request already has its name and its room; its connection has that serial number.
    ///
    /// If the name is taken, the client gets a [`Problem`] and a guest name. An SSE client has no name and is not a member.
    pub fn enter(
        &mut self,
        id: ClientId,
        serial: u32,
        arrival: Arrival,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut self.context(now, effects);
        let Arrival { dialect, name, room, history, echo, last_position: heard, login, mut problems } =
            arrival;
        let login = login.map(|login| login.ok().and_then(|login| self.access.accounts.renew(login)));
        if dialect == Dialect::Events {
            self.enter_sse(id, serial, room, heard, ctx);
            return self.start_sse_session(id, login.flatten(), ctx);
        }
        // A client that must log in first has nothing but a guest name, by which nobody can reach it.
        let name = name.filter(|_| login.is_some() || !self.access.login_required);
        let name = name.filter(|name| match self.refused_arrival(name, ctx) {
            Some(problem) => {
                self.check_holders(name.as_str(), None, ctx);
                problems.push(problem);
                false
            }
            None => true,
        });
        let name = name.unwrap_or_else(|| self.next_guest_name());
        let client = MultiRoom { name: Some(name.clone()), dialect, memberships: Default::default() };
        self.clients.insert(id, serial, Client::MultiRoom(Box::new(client)));
        self.take_name(id, None);
        self.record_claim(id, ctx.now);
        ctx.activate(id);
        problems.into_iter().for_each(|problem| ctx.reply_problem(id, problem));
        ctx.reply(id, Event::Welcome { id: self.unique_id(id), name });
        if !self.start_arrival_session(id, login, ctx) {
            return;
        }
        self.greet(id, ctx);
        self.reply_if_disconnected(id, ctx);
        let join = |room| Request::Join { room, history, echo };
        match room.map(|room| self.perform(id, join(room), ctx)) {
            Some(Ok(())) => {}
            Some(Err(problem)) => {
                ctx.reply_problem(id, problem);
                self.publish_presence(id, ctx);
            }
            None => self.publish_presence(id, ctx),
        }
    }

    /// Adds an SSE client, which is sent the messages of a room after its last `position`.
    fn enter_sse(
        &mut self,
        id: ClientId,
        serial: u32,
        room: Option<RoomName>,
        position: Option<Result<Position, PositionError>>,
        ctx: &mut Ctx<'_>,
    ) {
        let client = MultiRoom { name: None, dialect: Dialect::Events, memberships: Default::default() };
        self.clients.insert(id, serial, Client::MultiRoom(Box::new(client)));
        ctx.activate(id);
        debug_assert!(room.is_some(), "the route of SSE clients has a room");
        // Other clients may have opened the last free rooms since the request was accepted.
        if room.as_ref().is_some_and(|room| self.filter_room(room, ctx).is_err()) {
            return ctx.close(id, CloseReason::NotAllowed);
        }
        match room.and_then(|room| self.rooms.open(room)) {
            Some(room) => self.start_catch_up(id, room, position, ctx),
            None => ctx.reply_problem(id, Problem::TooManyRooms),
        }
    }

    /// Joins a room. A line client leaves its old room for it; other clients may be in several rooms.
    pub(super) fn join(
        &mut self,
        id: ClientId,
        room: RoomName,
        history: Option<usize>,
        echo: Echo,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let Some(client) = self.client(id).filter(|client| !client.is_unnamed()) else {
            return Err(Problem::NameRequired);
        };
        if self.rooms.find(&room).is_some_and(|room| client.membership_in(room.slot()).is_some()) {
            return Err(Problem::AlreadyIn(room));
        }
        let moves = client.dialect() == Dialect::Line;
        if !moves && client.memberships().count() >= self.rules.rooms_per_client {
            return Err(Problem::TooManyJoined { max: self.rules.rooms_per_client });
        }
        self.filter_room(&room, ctx)?;
        let to = self.rooms.open(room).ok_or(Problem::TooManyRooms)?;
        if moves {
            let from = self.locate(id, None)?;
            self.remove_from_room(id, from, None, Notice::Announced, ctx);
        }
        let history = history.unwrap_or(self.rules.history_shown);
        self.enter_room(id, to, JoinOptions { first: false, history, echo }, ctx);
        self.publish_presence(id, ctx);
        Ok(())
    }

    /// Leaves a room. A line client joins the lobby instead.
    pub(super) fn leave_room(
        &mut self,
        id: ClientId,
        room: Option<RoomName>,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let location = self.locate(id, room)?;
        if location.dialect == Dialect::Line {
            let refused = || Problem::NotAllowed { action: Action::Enter, room: Some(RoomName::lobby()) };
            let home = self.home(self.access.identity(id)).ok_or_else(refused)?;
            return self.join(id, home, None, Echo(false), ctx);
        }
        let left = self.rooms.existing(location.room).zip(self.existing_name(id));
        let event = left.map(|(room, name)| Event::YouLeft {
            by: self.unique_id(id),
            name,
            room: room.name.clone(),
            count: room.count() - 1,
        });
        self.remove_from_room(id, location, None, Notice::Announced, ctx);
        if let Some(event) = event {
            ctx.reply(id, event);
        }
        self.publish_presence(id, ctx);
        Ok(())
    }

    /// Adds a local client to a room, and sends it the other members and the history.
    pub(super) fn enter_room(&mut self, id: ClientId, to: RoomId, options: JoinOptions, ctx: &mut Ctx<'_>) {
        let Some((name, room)) = self.existing_name(id).zip(self.rooms.existing(to)) else {
            return;
        };
        let (others, more) = self.some_names(room, NAMES_ON_JOINING);
        self.add_to_room(id, to, options.echo, Notice::Announced, ctx);
        let Some(room) = self.rooms.existing(to) else {
            return;
        };
        ctx.reply(
            id,
            Event::YouJoined {
                by: self.unique_id(id),
                name,
                first: options.first,
                room: room.name.clone(),
                others,
                more,
                epoch: self.epoch(room),
                seq: room.seq(),
                since: room.gap_seq(),
            },
        );
        if room.has_topic() {
            ctx.reply(id, room.topic_event());
        }
        self.reply_if_silent(id, to, ctx);
        if self.clients.dialect(id) == Some(Dialect::Line) {
            self.history_entries_for(id, room, options.history, ctx.now)
                .for_each(|event| ctx.reply(id, event));
        } else if options.history > 0 && room.last(1).next().is_some() {
            ctx.reply(id, self.without_ignored(id, self.history_event(room, options.history, None)));
        }
    }

    /// Adds a member to a room.
    pub(super) fn add_to_room(
        &mut self,
        id: ClientId,
        to: RoomId,
        echo: Echo,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        self.subscribe(id, to, echo, ctx);
        if notice == Notice::Announced {
            self.announce_join(id, to, ctx);
        }
    }

    /// Adds a client to the subscribers of a room.
    pub(super) fn subscribe(&mut self, id: ClientId, to: RoomId, echo: Echo, ctx: &mut Ctx<'_>) {
        let Some((dialect, room)) = self.clients.dialect(id).zip(self.rooms.existing_mut(to)) else {
            return debug_assert!(false, "{id:?} has left, or {to:?} was closed");
        };
        let before = room.local_subscribers();
        let index = room.subscribe(dialect, id);
        publish_subscription(room, before, ctx);
        if let Some(client) = self.clients.existing_mut(id) {
            client.add_membership(Membership { slot: to.slot(), index }, echo);
        }
    }

    /// Ends these memberships of a client.
    pub(super) fn leave_rooms(
        &mut self,
        id: ClientId,
        memberships: &[Membership],
        reason: Option<Text>,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(dialect) = self.clients.dialect(id) else {
            return debug_assert!(false, "{id:?} has left");
        };
        for Membership { slot, index } in memberships.iter().copied() {
            if let Some(room) = self.rooms.at(slot) {
                self.remove_from_room(id, Location { room, dialect, index }, reason.clone(), notice, ctx);
            }
        }
    }

    /// Removes a client from a room, and closes the room if it is not used any more.
    fn remove_from_room(
        &mut self,
        id: ClientId,
        location: Location,
        reason: Option<Text>,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(room) = self.rooms.existing_mut(location.room) else {
            return;
        };
        let (members, subscribers) = (room.count(), room.local_subscribers());
        let moved = room.unsubscribe(location.dialect, location.index);
        publish_subscription(room, subscribers, ctx);
        let name = self.clients.existing_mut(id).and_then(|client| {
            client.remove_membership(location.room.slot());
            client.name().cloned()
        });
        // An SSE client has no name, and its leave is not announced.
        if let Some(name) = name.filter(|_| notice == Notice::Announced) {
            self.announce_leave(id, location.room, members, name, reason, ctx);
        }
        if let Some(moved) = moved.and_then(|moved| self.clients.existing_mut(moved)) {
            moved.set_index(location.room.slot(), location.index);
        }
        self.rooms.close_if_unused(location.room, ctx.now.moment);
    }

    /// Announces a client's join in all its rooms, unless `notice` is silent.
    pub(super) fn announce_join_everywhere(&mut self, id: ClientId, notice: Notice, ctx: &mut Ctx<'_>) {
        if notice == Notice::Announced {
            self.rooms_of(id).into_iter().for_each(|room| self.announce_join(id, room, ctx));
        }
    }

    /// Announces a join to the other members of a room, or counts it for the summary if the room is too large.
    fn announce_join(&mut self, id: ClientId, to: RoomId, ctx: &mut Ctx<'_>) {
        let by = self.unique_id(id);
        let Some((name, room)) = self.existing_name(id).zip(self.rooms.existing_mut(to)) else {
            return;
        };
        let count = room.count();
        if !room.rules().announce {
            return;
        }
        if count <= self.rules.announce_max {
            let event = Event::Joined { by, name, room: room.name.clone(), count };
            ctx.announce(to, Some(id), event);
        } else {
            self.crowds.record(to, &mut room.crowd, |crowd| crowd.joined += 1, ctx.now.moment);
        }
    }

    /// Announces a leave to a room that had so many `members` before, or counts it for the summary if they are too many.
    pub(super) fn announce_leave(
        &mut self,
        id: ClientId,
        from: RoomId,
        members: usize,
        name: Name,
        reason: Option<Text>,
        ctx: &mut Ctx<'_>,
    ) {
        let by = self.unique_id(id);
        let Some(room) = self.rooms.existing_mut(from) else {
            return;
        };
        if !room.rules().announce {
            return;
        }
        if members <= self.rules.announce_max {
            let (room, count) = (room.name.clone(), room.count());
            ctx.announce(from, None, Event::Left { by, name, room, reason, count });
        } else {
            self.crowds.record(from, &mut room.crowd, |crowd| crowd.left += 1, ctx.now.moment);
        }
    }
}
