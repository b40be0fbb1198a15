//! What clients ask about: who is where, which rooms there are, what was said.

use std::time::Duration;

use super::ids::ClientId;
use super::rooms::{Room, Rooms};
use super::{Chat, Effect};
use crate::protocol::{Event, Problem};
use crate::text::{Name, RoomName};
use crate::time::Now;

/// Names or rooms listed on request; more are counted. All with the longest names fit into the write buffer of a client
/// that has no name yet.
const LISTED: usize = 50;

impl Chat {
    pub(super) fn who(&self, id: ClientId, room: Option<RoomName>) -> Result<Event, Problem> {
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

    pub(super) fn list_rooms(&self) -> Event {
        let (rooms, more) = self.rooms.largest(LISTED);
        Event::Rooms { rooms, more }
    }

    pub(super) fn show_history(
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
        effects
            .extend(past(room, count, self.rules.history_bytes, now).map(|event| Effect::Reply(id, event)));
        if room.last(1).next().is_none() {
            effects.push(Effect::Reply(id, Event::NoPast));
        }
        Ok(())
    }

    /// The names of the first `most` clients, and how many more there are.
    pub(super) fn some_names(&self, ids: &[ClientId], most: usize) -> (Vec<Name>, usize) {
        let names = ids.iter().take(most).filter_map(|id| self.name(*id).cloned()).collect();
        (names, ids.len().saturating_sub(most))
    }
}

/// The last `count` messages of a room, as told now; fewer if they would be more than `most_bytes` of output.
pub(super) fn past(room: &Room, count: usize, most_bytes: usize, now: Now) -> impl Iterator<Item = Event> {
    room.last(room.fitting(count, most_bytes)).map(move |message| Event::Past {
        message: message.clone(),
        age: Duration::from_millis(now.unix_millis.saturating_sub(message.at_unix_millis)),
    })
}
