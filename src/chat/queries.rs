//! Queries: the members of a room, the list of rooms, the history of a room.

use std::cmp::Reverse;
use std::rc::Rc;
use std::time::Duration;

use super::ids::ClientId;
use super::rooms::{Room, count_fitting};
use super::{Chat, Ctx};
use crate::access::{Action, Identity};
use crate::protocol::{Dialect, Event, Facts, Message, Problem};
use crate::text::{Name, RoomName};
use crate::time::Now;

/// The most names or rooms in an answer to a line client. With the longest names they fit into the write buffer of a
/// client without a name.
const LISTED_MAX: usize = 50;

/// The most names or rooms in an answer to a program.
pub const LISTED_FOR_PROGRAMS_MAX: usize = 1000;

impl Chat {
    pub(super) fn who(&self, id: ClientId, room: Option<RoomName>, facts: &Facts) -> Result<Event, Problem> {
        let room = match room {
            Some(room) => room,
            None if self.is_unnamed(id) => RoomName::lobby(),
            None => {
                let found = self.rooms.existing(self.locate(id, None)?.room);
                found.map_or_else(RoomName::lobby, |room| room.name.clone())
            }
        };
        let found = self.rooms.find(&room).and_then(|id| self.rooms.existing(id));
        let (names, more) = self.some_names(found, self.listed_max(id), facts);
        match names.is_empty() && room != RoomName::lobby() {
            true => Err(Problem::NoSuchRoom(room)),
            false => Ok(Event::Who { room, names, more }),
        }
    }

    pub(super) fn list_rooms(&self, id: ClientId, facts: &Facts) -> Event {
        self.rooms_event(self.access.identity(id), self.listed_max(id), facts)
    }

    pub(super) fn listed_max(&self, id: ClientId) -> usize {
        match self.clients.dialect(id) {
            Some(Dialect::Line) | None => LISTED_MAX,
            Some(Dialect::Json | Dialect::Raw | Dialect::Events | Dialect::Http) => LISTED_FOR_PROGRAMS_MAX,
        }
    }

    /// The list of rooms for an HTTP request.
    pub fn rooms_for_programs(&self, identity: &Identity, facts: &Facts) -> Event {
        self.rooms_event(identity, LISTED_FOR_PROGRAMS_MAX, facts)
    }

    /// The largest rooms. A room that is not listed is shown to those that may enter it.
    fn rooms_event(&self, identity: &Identity, max: usize, facts: &Facts) -> Event {
        let may_enter = |room: &RoomName| self.check_right(identity, Action::Enter, Some(room)).is_ok();
        let is_shown = |room: &RoomName| self.rooms.rules_of(room).listed || may_enter(room);
        let (mut rooms, more) = match &facts.rooms {
            Some(rooms) => rooms.clone(),
            None => self.rooms.largest(max, is_shown),
        };
        rooms.retain(|(room, _)| is_shown(room));
        // Redis sorts rooms of equal size the other way round.
        rooms.sort_unstable_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
        Event::Rooms { rooms, more }
    }

    /// The last messages of a room for an HTTP request, or the first ones after sequence number `after`.
    ///
    /// # Errors
    /// The room does not exist.
    pub fn history_for_programs(
        &self,
        room: RoomName,
        count: Option<usize>,
        after: Option<u64>,
    ) -> Result<Event, Problem> {
        match self.rooms.find(&room).and_then(|id| self.rooms.existing(id)) {
            Some(found) => Ok(self.history_event(found, count.unwrap_or(usize::MAX), after)),
            None => Err(Problem::NoSuchRoom(room)),
        }
    }

    pub(super) fn send_history(
        &mut self,
        id: ClientId,
        room: Option<RoomName>,
        (count, after): (Option<usize>, Option<u64>),
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let location = self.locate(id, room)?;
        let Some(room) = self.rooms.existing(location.room) else {
            return Ok(());
        };
        // A client that asks for the history gets at least one message, even if a join shows none.
        let default = if after.is_some() { usize::MAX } else { self.rules.history_shown };
        let count = count.unwrap_or(default).max(1);
        if location.dialect != Dialect::Line {
            ctx.reply(id, self.without_ignored(id, self.history_event(room, count, after)));
            return Ok(());
        }
        self.history_entries_for(id, room, count, ctx.now).for_each(|event| ctx.reply(id, event));
        if room.last(1).next().is_none() {
            ctx.reply(id, Event::HistoryEmpty);
        }
        Ok(())
    }

    /// The names of at most `max` members, and the number of further ones.
    pub(super) fn some_names(&self, room: Option<&Room>, max: usize, facts: &Facts) -> (Vec<Name>, usize) {
        let (names, count): (Vec<Name>, usize) = match (&facts.members, room) {
            (Some(members), _) => (members.names.iter().take(max).cloned().collect(), members.count),
            (None, Some(room)) => {
                let names = room.members().take(max).filter_map(|id| self.existing_name(id));
                (names.collect(), room.count())
            }
            (None, None) => (Vec::new(), 0),
        };
        let more = count.saturating_sub(names.len());
        (names, more)
    }

    /// The last `count` messages of a room with their ages, as far as they fit into the output limit. Messages of clients that
    /// the receiver ignores are left out.
    pub(super) fn history_entries_for(
        &self,
        id: ClientId,
        room: &Room,
        count: usize,
        now: Now,
    ) -> impl Iterator<Item = Event> {
        let count = room.count_last_fitting(count, self.rules.history_bytes, Dialect::Line);
        let is_shown = move |message: &&Rc<Message>| !self.ignores.has(id, message.from.as_str());
        room.last(count).filter(is_shown).map(move |message| Event::HistoryEntry {
            message: message.clone(),
            age: Duration::from_millis(now.unix_millis.saturating_sub(message.at_unix_millis)),
        })
    }

    /// One event with the last `count` messages of a room, or the first ones after sequence number `after`. Messages over
    /// the output limit are left out.
    pub(super) fn history_event(&self, room: &Room, count: usize, after: Option<u64>) -> Event {
        let max_bytes = self.rules.history_bytes;
        let messages = match after {
            None => room.last(room.count_last_fitting(count, max_bytes, Dialect::Json)).cloned().collect(),
            Some(seq) => {
                let later = || room.messages_from(room.offset_after(seq)).take(count);
                later().take(count_fitting(later(), max_bytes, Dialect::Json)).cloned().collect()
            }
        };
        Event::History { room: room.name.clone(), epoch: room.epoch, messages }
    }
}
