//! Clients enter the chat, join rooms and leave them.

use super::clients::{Client, Echo, Membership, MultiRoom};
use super::ids::{ClientId, RoomId};
use super::rooms::Room;
use super::{Chat, Ctx, Effect, Location};
use crate::access::{Action, Login};
use crate::protocol::{
    Arrival, Change, CloseReason, Dialect, Event, Facts, LocalEvent, Position, PositionError, Problem,
    Request,
};
use crate::text::{RoomName, Text};
use crate::time::Now;

/// The most names in the event that a client gets when it joins a room.
pub const NAMES_ON_JOINING: usize = 10;

/// Options of a join.
#[derive(Clone, Copy, Debug)]
pub struct JoinOptions {
    /// Whether it is the first room of a line client.
    pub first: bool,
    /// The number of messages to send from the history.
    pub history: usize,
    /// The position after which messages are sent instead of the history.
    pub since: Option<Position>,
    pub echo: Echo,
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
        (now, facts): (Now, &Facts),
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut Ctx::new(now, facts, effects);
        let Arrival { dialect, name, room, history, echo, last_position, login, mut problems } = arrival;
        // The client may have waited since its login.
        let accounts = self.access.accounts();
        let renew = |login| accounts.renew(login, now.unix_seconds()).ok_or(Problem::LoginFailed);
        let login = login.map(|login| login.and_then(renew));
        if dialect == Dialect::Events {
            return self.enter_sse(id, serial, (room, last_position), login, ctx);
        }
        // A client that must log in first has nothing but a guest name, by which nobody can reach it.
        let name = name.filter(|_| login.is_some() || !self.access.login_required);
        let refused = name.as_ref().and_then(|name| {
            let filtered = self.filter_name(name, ctx).err();
            filtered.or_else(|| self.refused_name(None, name, ctx.now, ctx.facts))
        });
        let name = name.filter(|_| refused.is_none()).unwrap_or_else(|| self.next_guest_name(ctx));
        problems.extend(refused);
        let client = MultiRoom { name: Some(name.clone()), dialect, memberships: Default::default() };
        self.clients.insert(id, serial, Client::MultiRoom(Box::new(client)));
        self.take_name(id, None, ctx);
        ctx.activate(id);
        problems.into_iter().for_each(|problem| ctx.reply_problem(id, problem));
        ctx.reply(id, Event::Welcome { id: self.unique_id(id), name });
        if !self.start_arrival_session(id, login, ctx) {
            return;
        }
        self.greet(id, ctx);
        self.reply_if_disconnected(id, ctx);
        let since = last_position.and_then(Result::ok);
        let join = |room| Request::Join { room, history, echo, since };
        if let Some(Err(problem)) = room.map(|room| self.perform(id, join(room), ctx)) {
            ctx.reply_problem(id, problem);
        }
    }

    /// Adds an SSE client, which is sent the messages of a room after its last `position`.
    fn enter_sse(
        &mut self,
        id: ClientId,
        serial: u32,
        (room, position): (Option<RoomName>, Option<Result<Position, PositionError>>),
        login: Option<Result<Login, Problem>>,
        ctx: &mut Ctx<'_>,
    ) {
        let client = MultiRoom { name: None, dialect: Dialect::Events, memberships: Default::default() };
        self.clients.insert(id, serial, Client::MultiRoom(Box::new(client)));
        ctx.activate(id);
        let Some(room) = room else {
            debug_assert!(false, "the route of SSE clients has a room");
            return ctx.close(id, CloseReason::NotAllowed);
        };
        if let Err(reason) = self.start_sse_session(id, login, &room, ctx) {
            return ctx.close(id, reason);
        }
        if self.filter_room(&room, ctx).is_err() {
            return ctx.close(id, CloseReason::NotAllowed);
        }
        match self.rooms.open(room) {
            Some(room) => {
                self.subscribe(id, room, Echo(false), ctx);
                self.start_catch_up(id, room, position);
                self.send_batch(id, ctx);
            }
            // Other clients may have opened the last free rooms since the request was accepted.
            None => ctx.close(id, CloseReason::ServerFull),
        }
    }

    /// Joins a room. A line client leaves its old room for it; other clients may be in several rooms.
    pub(super) fn join(
        &mut self,
        id: ClientId,
        room: RoomName,
        (history, since): (Option<usize>, Option<Position>),
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
            self.remove_from_room(id, from, None, ctx);
        }
        let history = history.unwrap_or(self.rules.history_shown);
        self.enter_room(id, to, JoinOptions { first: false, history, since, echo }, ctx);
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
            return self.join(id, home, (None, None), Echo(false), ctx);
        }
        let left = self.rooms.existing(location.room).zip(self.existing_name(id));
        let event = left.map(|(room, name)| Event::YouLeft {
            by: self.unique_id(id),
            name,
            room: room.name.clone(),
            // Redis may have lost its data, and so the client's membership.
            count: ctx.facts.members.as_ref().map_or(room.count(), |members| members.count).saturating_sub(1),
        });
        self.remove_from_room(id, location, None, ctx);
        if let Some(event) = event {
            ctx.reply(id, event);
        }
        Ok(())
    }

    /// Adds a local client to a room, and sends it the other members and the history, or lets it catch up.
    pub(super) fn enter_room(&mut self, id: ClientId, to: RoomId, options: JoinOptions, ctx: &mut Ctx<'_>) {
        let Some((name, room)) = self.existing_name(id).zip(self.rooms.existing(to)) else {
            return;
        };
        let (others, more) = self.some_names(Some(room), NAMES_ON_JOINING, ctx.facts);
        self.subscribe(id, to, options.echo, ctx);
        self.submit_join(id, to, ctx);
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
                epoch: room.epoch,
                seq: room.seq(),
            },
        );
        if room.has_topic() {
            ctx.reply(id, room.topic_event());
        }
        self.reply_if_silent(id, to, ctx);
        if self.clients.dialect(id) == Some(Dialect::Line) {
            self.history_entries_for(id, room, options.history, ctx.now)
                .for_each(|event| ctx.reply(id, event));
        } else if let Some(position) = options.since {
            self.start_catch_up(id, to, Some(Ok(position)));
        } else if options.history > 0 && room.last(1).next().is_some() {
            ctx.reply(id, self.without_ignored(id, self.history_event(room, options.history, None)));
        }
    }

    /// Adds a client to the subscribers of a room.
    pub(super) fn subscribe(&mut self, id: ClientId, to: RoomId, echo: Echo, ctx: &mut Ctx<'_>) {
        let Some((dialect, room)) = self.clients.dialect(id).zip(self.rooms.existing_mut(to)) else {
            return debug_assert!(false, "{id:?} has left, or {to:?} was closed");
        };
        let was_unused = room.is_unused();
        let index = room.subscribe(dialect, id);
        share_subscription(room, was_unused, ctx);
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
        ctx: &mut Ctx<'_>,
    ) {
        let Some(dialect) = self.clients.dialect(id) else {
            return debug_assert!(false, "{id:?} has left");
        };
        for Membership { slot, index } in memberships.iter().copied() {
            if let Some(room) = self.rooms.at(slot) {
                self.remove_from_room(id, Location { room, dialect, index }, reason.clone(), ctx);
            }
        }
    }

    /// Removes a client from a room, and closes the room if it is not used any more.
    fn remove_from_room(
        &mut self,
        id: ClientId,
        location: Location,
        reason: Option<Text>,
        ctx: &mut Ctx<'_>,
    ) {
        self.stop_catch_up_in(id, location.room);
        let Some(room) = self.rooms.existing_mut(location.room) else {
            return;
        };
        let moved = room.unsubscribe(location.dialect, location.index);
        let (count, room_name) = (room.count(), room.name.clone());
        share_subscription(room, false, ctx);
        let name = self.clients.existing_mut(id).and_then(|client| {
            client.remove_membership(location.room.slot());
            client.name().cloned()
        });
        // An SSE client has no name, and its leave is not announced.
        if let Some(name) = name {
            let change = Change::Left { by: self.unique_id(id), name, reason, count };
            ctx.submit((location.room, &room_name), Some(id), change);
        }
        if let Some(moved) = moved.and_then(|moved| self.clients.existing_mut(moved)) {
            moved.set_index(location.room.slot(), location.index);
        }
        self.rooms.close_if_unused(location.room, ctx.now.moment);
    }

    /// Announces a member to the others of a room.
    fn submit_join(&mut self, id: ClientId, to: RoomId, ctx: &mut Ctx<'_>) {
        if let Some((name, room)) = self.existing_name(id).zip(self.rooms.existing(to)) {
            let change = Change::Joined { by: self.unique_id(id), name, count: room.count() };
            ctx.submit((to, &room.name), Some(id), change);
        }
    }
}

/// Reports to the link that a room has got its first subscriber here or lost its last, if so.
fn share_subscription(room: &Room, was_unused: bool, ctx: &mut Ctx<'_>) {
    let has_subscribers = !room.is_unused();
    if has_subscribers == was_unused {
        ctx.share(LocalEvent::Subscribed { room: room.name.clone(), has_subscribers });
    }
}
