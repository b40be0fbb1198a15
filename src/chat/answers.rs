//! What clients ask about: who is where, which rooms there are, what was said.

use std::time::Duration;

use super::clients::Client;
use super::ids::ClientId;
use super::rooms::{Room, Rooms, fitting};
use super::{Chat, Ctx};
use crate::protocol::{Dialect, Event, Problem};
use crate::text::{Name, RoomName};
use crate::time::Now;

/// Names or rooms listed on request; more are counted. All with the longest names fit into the write buffer of a line
/// client that has no name yet.
const LISTED: usize = 50;

/// The same for programs, which can make something of long lists.
const LISTED_FOR_PROGRAMS: usize = 1000;

impl Chat {
    pub(super) fn who(&self, id: ClientId, room: Option<RoomName>) -> Result<Event, Problem> {
        let room = match room {
            Some(name) if name == RoomName::lobby() => Ok(Rooms::LOBBY),
            Some(name) => {
                let used = |id: &_| self.rooms.get(*id).is_some_and(|room| room.count() > 0);
                self.rooms.find(&name).filter(used).ok_or(Problem::NoSuchRoom(name))
            }
            None if self.client(id).is_some_and(Client::is_unnamed) => Ok(Rooms::LOBBY),
            None => self.place_in(id, None).map(|place| place.room),
        }?;
        let Some(room) = self.rooms.present(room) else {
            return Err(Problem::NoSuchRoom(RoomName::lobby()));
        };
        let (names, more) = self.some_names(room, self.listed(id));
        Ok(Event::Who { room: room.name.clone(), names, more })
    }

    pub(super) fn list_rooms(&self, id: ClientId) -> Event {
        let (rooms, more) = self.rooms.largest(self.listed(id));
        Event::Rooms { rooms, more }
    }

    fn listed(&self, id: ClientId) -> usize {
        match self.clients.dialect(id) {
            Some(Dialect::Line) | None => LISTED,
            Some(_) => LISTED_FOR_PROGRAMS,
        }
    }

    /// All rooms, for a program that is not a client.
    pub fn rooms_for_programs(&self) -> Event {
        let (rooms, more) = self.rooms.largest(LISTED_FOR_PROGRAMS);
        Event::Rooms { rooms, more }
    }

    /// The last messages of a room, or the first behind number `after`, for a program that is not a client.
    ///
    /// # Errors
    /// There is no such room.
    pub fn history_for_programs(
        &self,
        room: RoomName,
        count: Option<usize>,
        after: Option<u64>,
    ) -> Result<Event, Problem> {
        match self.rooms.find(&room).and_then(|id| self.rooms.get(id)) {
            Some(found) => Ok(self.history_of(found, count.unwrap_or(usize::MAX), after)),
            None => Err(Problem::NoSuchRoom(room)),
        }
    }

    pub(super) fn show_history(
        &mut self,
        id: ClientId,
        room: Option<RoomName>,
        (count, after): (Option<usize>, Option<u64>),
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let place = self.place_in(id, room)?;
        let Some(room) = self.rooms.present(place.room) else {
            return Ok(());
        };
        // Who asks wants to see something, even where joining shows nothing.
        let shown = if after.is_some() { usize::MAX } else { self.rules.history_shown };
        let count = count.unwrap_or(shown).max(1);
        if place.dialect != Dialect::Line {
            ctx.reply(id, self.history_of(room, count, after));
            return Ok(());
        }
        self.past(room, count, ctx.now).for_each(|event| ctx.reply(id, event));
        if room.last(1).next().is_none() {
            ctx.reply(id, Event::HistoryEmpty);
        }
        Ok(())
    }

    /// The names of the first `most` members, and how many more there are.
    pub(super) fn some_names(&self, room: &Room, most: usize) -> (Vec<Name>, usize) {
        let names = room.members().take(most).filter_map(|id| self.present_name(id)).collect();
        (names, room.count().saturating_sub(most))
    }

    /// The last `count` messages of a room, as told now, one by one; fewer if they would be too much output.
    pub(super) fn past(&self, room: &Room, count: usize, now: Now) -> impl Iterator<Item = Event> {
        let count = room.fitting(count, self.rules.history_bytes, Dialect::Line);
        room.last(count).map(move |message| Event::HistoryEntry {
            message: message.clone(),
            age: Duration::from_millis(now.unix_millis.saturating_sub(message.at_unix_millis)),
        })
    }

    /// The last `count` messages of a room in one piece, or the first behind number `after`; fewer if they would be too
    /// much output.
    pub(super) fn history_of(&self, room: &Room, count: usize, after: Option<u64>) -> Event {
        let most_bytes = self.rules.history_bytes;
        let messages = match after {
            None => room.last(room.fitting(count, most_bytes, Dialect::Json)).cloned().collect(),
            Some(seq) => {
                let behind = || room.from(room.place_behind(seq)).take(count);
                behind().take(fitting(behind(), most_bytes, Dialect::Json)).cloned().collect()
            }
        };
        Event::History { room: room.name.clone(), epoch: self.epoch(room), messages }
    }
}
