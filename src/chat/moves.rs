//! Who comes, goes and changes its name.

use super::clients::{Client, Echo, Membership, MultiRoom};
use super::ids::{ClientId, RoomId};
use super::rooms::Rooms;
use super::{Chat, Ctx, Effect, Location};
use crate::protocol::{Arrival, Dialect, Event, LocalEvent, Position, PositionError, Problem};
use crate::text::{Looks, Name, RoomName, Text};
use crate::time::Now;

/// Names listed where somebody enters a room; more are counted.
const NAMES_ON_ENTERING: usize = 10;

/// How somebody enters a room.
#[derive(Clone, Copy, Debug)]
pub struct JoinOptions {
    /// Whether it is the first room of a line client.
    pub first: bool,
    /// How much history to show.
    pub history: usize,
    /// Whether its own messages come back to it.
    pub echo: Echo,
}

/// Whether a room is told who comes and goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// It is.
    Announced,
    /// It is not: it only came to light who is there.
    Silent,
}

impl Chat {
    /// Somebody enters by a listener where all it wants is said at once.
    ///
    /// Its connection has that serial number. A name that can't be had is a [`Problem`] told to it, and it is a guest. Who only listens has none, and is no member.
    pub fn enter(
        &mut self,
        id: ClientId,
        serial: u32,
        arrival: Arrival,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut self.context(now, effects);
        let Arrival { dialect, name, room, history, echo, heard, mut problems } = arrival;
        if dialect == Dialect::Events {
            return self.listen(id, serial, room, heard, ctx);
        }
        let wanted = name.filter(|name| match self.name_taken(name) {
            Some(problem) => {
                self.doubt_holder(name.as_str(), None, ctx);
                problems.push(problem);
                false
            }
            None => true,
        });
        let name = wanted.unwrap_or_else(|| self.next_guest());
        let social = MultiRoom { name: Some(name.clone()), dialect, memberships: Default::default() };
        self.clients.insert(id, serial, Client::MultiRoom(Box::new(social)));
        self.take_name(id, None);
        self.admit(id, ctx.now);
        ctx.activate(id);
        problems.into_iter().for_each(|problem| ctx.reply_problem(id, problem));
        ctx.reply(id, Event::Welcome { id: self.unique(id), name: name.clone() });
        self.greet(id, ctx);
        self.tell_if_apart(id, ctx);
        match room.map(|room| self.join(id, room, history, Echo(echo), ctx)) {
            Some(Ok(())) => {}
            Some(Err(problem)) => {
                ctx.reply_problem(id, problem);
                self.share_presence(id, ctx);
            }
            None => self.share_presence(id, ctx),
        }
    }

    /// Somebody listens to a room, and is told what was said since it has `heard` it, and how much is missing.
    fn listen(
        &mut self,
        id: ClientId,
        serial: u32,
        room: Option<RoomName>,
        heard: Option<Result<Position, PositionError>>,
        ctx: &mut Ctx<'_>,
    ) {
        let social = MultiRoom { name: None, dialect: Dialect::Events, memberships: Default::default() };
        self.clients.insert(id, serial, Client::MultiRoom(Box::new(social)));
        ctx.activate(id);
        debug_assert!(room.is_some(), "a listener names its room");
        // Others may have opened the last rooms since its request was accepted.
        let Some(to) = room.and_then(|room| self.rooms.open(room)) else {
            return ctx.reply_problem(id, Problem::TooManyRooms);
        };
        self.begin_to_catch_up(id, to, heard, ctx);
    }

    pub(super) fn nick(&mut self, id: ClientId, name: Name, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        if let Some(problem) = self.taken_from(Some(id), &name) {
            self.doubt_holder(name.as_str(), None, ctx);
            return Err(problem);
        }
        if self.client(id).is_some_and(Client::is_unnamed) {
            self.set_name(id, name);
            self.record_name(id, ctx);
        } else {
            self.rename(id, name, ctx);
        }
        Ok(())
    }

    /// Somebody of ours who has a name has that one from now on.
    pub(super) fn rename(&mut self, id: ClientId, name: Name, ctx: &mut Ctx<'_>) {
        let Some(old) = self.set_name(id, name.clone()) else {
            return;
        };
        self.take_name(id, Some(old.as_str()));
        let by = self.unique(id);
        ctx.reply(id, Event::YouAre { by, from: old.clone(), to: name.clone() });
        if old == name {
            return;
        }
        // A name that the old one kept from the others is no new claim.
        if !Looks::of(old.as_str()).cover(&Looks::of(name.as_str()))
            && let Some(shared) = &mut self.shared
        {
            shared.claim(id, ctx.now);
        }
        self.announce_rename(id, &old, &name, ctx);
        self.name_is_free(old.as_str(), ctx);
        self.share_presence(id, ctx);
    }

    pub(super) fn announce_rename(&self, id: ClientId, old: &Name, name: &Name, ctx: &mut Ctx<'_>) {
        for seat in self.clients.present(id).into_iter().flat_map(Client::memberships) {
            if let Some(to) = self.rooms.at(seat.slot)
                && let Some(room) =
                    self.rooms.present(to).filter(|room| room.count() <= self.rules.announce_max)
            {
                let (room, by) = (room.name.clone(), self.unique(id));
                let event = Event::Renamed { room, by, from: old.clone(), to: name.clone() };
                ctx.announce(to, Some(id), event);
            }
        }
    }

    /// The line client's name stands; it enters the lobby under it.
    pub(super) fn record_name(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        if self.present_name(id).is_some_and(|name| self.is_taken(&name)) {
            // Another process has given the same number to a guest of its own.
            let guest = self.next_guest();
            self.set_name(id, guest);
        }
        self.take_name(id, None);
        self.admit(id, ctx.now);
        ctx.activate(id);
        let entry = JoinOptions { first: true, history: self.rules.history_shown, echo: Echo(false) };
        self.arrive(id, Rooms::LOBBY, entry, ctx);
        self.tell_if_apart(id, ctx);
        self.share_presence(id, ctx);
    }

    fn admit(&mut self, id: ClientId, now: Now) {
        if let Some(shared) = &mut self.shared {
            shared.claim(id, now);
        }
    }

    /// Enters the client's present name among those taken, in place of an `old` one.
    pub(super) fn take_name(&mut self, id: ClientId, old: Option<&str>) {
        let clients = &self.clients;
        let name_of = |id| clients.name_of(id);
        if let Some(old) = old {
            self.names.remove(id, old);
        }
        self.names.insert(id, name_of);
    }

    /// A line client moves to the room; any other is in one room more.
    pub(super) fn join(
        &mut self,
        id: ClientId,
        room: RoomName,
        history: Option<usize>,
        echo: Echo,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let Some(client) = self.client(id).filter(|client| !client.is_unnamed()) else {
            return Err(Problem::NameFirst);
        };
        if self.rooms.find(&room).is_some_and(|there| client.membership_in(there.slot()).is_some()) {
            return Err(Problem::AlreadyIn(room));
        }
        let moves = self.clients.dialect(id) == Some(Dialect::Line);
        let memberships = client.memberships().count();
        if !moves && memberships >= self.rules.rooms_per_client {
            return Err(Problem::TooManyJoined { max: self.rules.rooms_per_client });
        }
        let there = self.rooms.open(room).ok_or(Problem::TooManyRooms)?;
        if moves {
            let place = self.place_in(id, None)?;
            self.depart(id, place, None, Notice::Announced, ctx);
        }
        let history = history.unwrap_or(self.rules.history_shown);
        self.arrive(id, there, JoinOptions { first: false, history, echo }, ctx);
        self.share_presence(id, ctx);
        Ok(())
    }

    /// A line client goes back to the lobby; any other is in one room less.
    pub(super) fn leave_room(
        &mut self,
        id: ClientId,
        room: Option<RoomName>,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let place = self.place_in(id, room)?;
        if place.dialect == Dialect::Line {
            return self.join(id, RoomName::lobby(), None, Echo(false), ctx);
        }
        let told = self.rooms.present(place.room).zip(self.present_name(id)).map(|(room, name)| {
            Event::YouLeft { by: self.unique(id), name, room: room.name.clone(), count: room.count() - 1 }
        });
        self.depart(id, place, None, Notice::Announced, ctx);
        told.into_iter().for_each(|event| ctx.reply(id, event));
        self.share_presence(id, ctx);
        Ok(())
    }

    fn arrive(&mut self, id: ClientId, to: RoomId, entry: JoinOptions, ctx: &mut Ctx<'_>) {
        let Some((name, room)) = self.present_name(id).zip(self.rooms.present(to)) else {
            return;
        };
        let (others, more) = self.some_names(room, NAMES_ON_ENTERING);
        self.take_membership(id, to, entry.echo, Notice::Announced, ctx);
        let Some(room) = self.rooms.present(to) else {
            return;
        };
        let (label, first) = (room.name.clone(), entry.first);
        let (epoch, seq, since) = (self.epoch(room), room.seq(), room.since());
        let by = self.unique(id);
        let entered = Event::YouJoined { by, name, first, room: label, others, more, epoch, seq, since };
        ctx.reply(id, entered);
        if self.clients.dialect(id) == Some(Dialect::Line) {
            self.past(room, entry.history, ctx.now).for_each(|event| ctx.reply(id, event));
        } else if entry.history > 0 && room.last(1).next().is_some() {
            ctx.reply(id, self.history_of(room, entry.history, None));
        }
    }

    /// Seats a member, and tells the others.
    pub(super) fn take_membership(
        &mut self,
        id: ClientId,
        to: RoomId,
        echo: Echo,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        self.put_in(id, to, echo, ctx);
        if notice == Notice::Announced {
            self.announce_join(id, to, ctx);
        }
    }

    /// Tells all rooms of a client that it has come, if they are to be told.
    pub(super) fn announce_join_everywhere(&mut self, id: ClientId, notice: Notice, ctx: &mut Ctx<'_>) {
        if notice == Notice::Announced {
            self.rooms_of(id).into_iter().for_each(|room| self.announce_join(id, room, ctx));
        }
    }

    /// Tells a room that somebody has come who is in it.
    fn announce_join(&mut self, id: ClientId, to: RoomId, ctx: &mut Ctx<'_>) {
        let by = self.unique(id);
        let Some((name, room)) = self.present_name(id).zip(self.rooms.present_mut(to)) else {
            return;
        };
        let count = room.count();
        if count <= self.rules.announce_max {
            let event = Event::Joined { by, name, room: room.name.clone(), count };
            ctx.announce(to, Some(id), event);
        } else {
            self.crowds.note(to, &mut room.crowd, |crowd| crowd.joined += 1, ctx.now.moment);
        }
    }

    /// Adds a client to those who hear what is said in a room.
    pub(super) fn put_in(&mut self, id: ClientId, to: RoomId, echo: Echo, ctx: &mut Ctx<'_>) {
        let Some((dialect, room)) = self.clients.dialect(id).zip(self.rooms.present_mut(to)) else {
            return;
        };
        let index = room.enter(dialect, id);
        if dialect != Dialect::Redis && room.local_subscribers() == 1 {
            ctx.publish(|| LocalEvent::Subscribed { room: room.name.clone(), any: true });
        }
        self.add_membership(id, Membership { slot: to.slot(), index }, echo);
    }

    /// Takes a client out of all the rooms it has those memberships in.
    pub(super) fn leave_memberships(
        &mut self,
        id: ClientId,
        memberships: &[Membership],
        reason: Option<Text>,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(dialect) = self.clients.dialect(id) else {
            return;
        };
        for Membership { slot, index } in memberships.iter().copied() {
            if let Some(room) = self.rooms.at(slot) {
                let place = Location { room, dialect, index };
                self.depart(id, place, reason.clone(), notice, ctx);
            }
        }
    }

    /// Takes the client out of the room it has that place in.
    pub(super) fn depart(
        &mut self,
        id: ClientId,
        place: Location,
        reason: Option<Text>,
        notice: Notice,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(room) = self.rooms.present_mut(place.room) else {
            return;
        };
        let announced = room.count() <= self.rules.announce_max;
        let by = self.clients.unique(id);
        // The last one takes the place of the one who leaves.
        let moved = room.exit(place.dialect, place.index);
        if place.dialect != Dialect::Redis && room.local_subscribers() == 0 {
            ctx.publish(|| LocalEvent::Subscribed { room: room.name.clone(), any: false });
        }
        let name = self.clients.present_mut(id).and_then(|client| {
            client.remove_membership(place.room.slot());
            client.name().cloned()
        });
        if let Some(name) = name.filter(|_| notice == Notice::Announced) {
            if announced {
                let (room, count) = (room.name.clone(), room.count());
                let event = Event::Left { by, name, room, reason, count };
                ctx.announce(place.room, None, event);
            } else {
                self.crowds.note(place.room, &mut room.crowd, |crowd| crowd.left += 1, ctx.now.moment);
            }
        }
        if let Some(moved) = moved.and_then(|moved| self.clients.present_mut(moved)) {
            moved.shift(place.room.slot(), place.index);
        }
        self.rooms.close_if_unused(place.room, ctx.now.moment);
    }
}
