//! Who comes, goes and changes its name.

use super::answers::past;
use super::ids::{ClientId, RoomId};
use super::rooms::Rooms;
use super::{Chat, Effect, Place, Seat, name_of};
use crate::protocol::{Event, Problem};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

/// Names listed where somebody enters a room; more are counted.
const NAMES_ON_ENTERING: usize = 10;

impl Chat {
    pub(super) fn nick(
        &mut self,
        id: ClientId,
        name: Name,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
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
    pub(super) fn name_given(&mut self, id: ClientId, now: Now, effects: &mut Vec<Effect>) {
        let Some(name) = self.name(id).cloned() else {
            return;
        };
        self.take_name(id, None);
        effects.push(Effect::NameGiven(id));
        self.arrive(id, name, Rooms::LOBBY, true, now, effects);
    }

    /// Enters the client's present name among those taken, in place of an `old` one.
    pub(super) fn take_name(&mut self, id: ClientId, old: Option<&str>) {
        let clients = &self.clients;
        let name_of = |id| name_of(clients, id);
        if let Some(old) = old {
            self.names.remove(id, old);
        }
        self.names.insert(id, name_of);
    }

    pub(super) fn join(
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

    pub(super) fn arrive(
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
            self.crowds.note(to, &mut room.crowd, |crowd| crowd.joined += 1, now.moment);
        }
        effects.push(Effect::Reply(id, entered));
        effects.extend(
            past(room, self.rules.history_shown, self.rules.history_bytes, now)
                .map(|event| Effect::Reply(id, event)),
        );
        if let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) {
            client.seat = Some(Seat { slot: to.slot(), index });
        }
    }

    /// Takes the member at `place` out of its room.
    pub(super) fn depart(
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
            self.crowds.note(place.room, &mut room.crowd, |crowd| crowd.left += 1, now.moment);
        }
        self.rooms.close_if_unused(place.room, now.moment);
    }
}
