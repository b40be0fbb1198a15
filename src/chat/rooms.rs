//! All rooms, by name and slot, and their limits.

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use hashbrown::HashTable;
use slab::Slab;

use super::eviction::EvictionQueue;
use super::ids::{ClientId, RoomId, RoomSlot};
use crate::access::{Allowed, RoomRules};
use crate::config::Config;
use crate::protocol::{Dialect, Epoch, Message, Order};
use crate::text::{Looks, Name, RoomName};
use crate::time::Moment;

pub use room::{Room, count_fitting, encoded_bytes_max};

#[derive(Debug)]
pub struct Rooms {
    /// The number of this process, for the epochs of the rooms that it numbers.
    process: u64,
    rooms: Slab<Room>,
    /// The slots, by the names of the rooms in them.
    by_name: HashTable<RoomSlot>,
    state: RandomState,
    next_serial: u32,
    /// The rooms without subscribers that are open for their history, by the time since when they are unused. Some of
    /// them are in use again.
    unused: BTreeSet<(Moment, RoomSlot)>,
    eviction: EvictionQueue,
    max_rooms: usize,
    /// The most messages stored per room, if its rules don't say another number.
    history_max: usize,
    /// The rules of the configuration file.
    rules: BTreeMap<RoomName, Rc<RoomRules>>,
}

impl Rooms {
    /// The room in which line clients start. It is never closed.
    pub const LOBBY: RoomId = RoomId { slot: RoomSlot::from_key(0), serial: 0 };

    /// Opens the lobby alone.
    pub fn new(config: &Config, process: u64) -> Rooms {
        let mut rooms = Rooms {
            process,
            rooms: Slab::new(),
            by_name: HashTable::new(),
            state: RandomState::new(),
            next_serial: 0,
            unused: BTreeSet::new(),
            eviction: EvictionQueue::new(config.history_memory),
            max_rooms: config.max_rooms,
            history_max: config.history,
            rules: BTreeMap::new(),
        };
        rooms.set_rules(&config.sections.rooms);
        let lobby = rooms.open(RoomName::lobby());
        debug_assert_eq!(lobby, Some(Rooms::LOBBY));
        rooms.rooms[Rooms::LOBBY.slot.key()].subscribers[Dialect::Line as usize].reserve(config.max_clients);
        rooms
    }

    /// Replaces the limits by those of `config`, and evicts messages over them.
    pub fn set_limits(&mut self, config: &Config) {
        (self.max_rooms, self.history_max) = (config.max_rooms, config.history);
        self.eviction.set_max(config.history_memory);
        let id = |(key, room): (usize, &Room)| RoomId { slot: RoomSlot::from_key(key), serial: room.serial };
        for id in self.rooms.iter().map(id).collect::<Vec<_>>() {
            let history_max = self.history_max_of(&self.rooms[id.slot.key()]);
            while self.rooms[id.slot.key()].history.len() > history_max {
                self.evict_oldest(id);
            }
            self.close_if_empty(id);
        }
        self.evict_excess();
    }

    fn history_max_of(&self, room: &Room) -> usize {
        room.rules().history.unwrap_or(self.history_max)
    }

    /// Replaces the rules of rooms. Returns whether they were others. [`Rooms::set_limits`] applies the sizes of histories.
    pub fn set_rules(&mut self, rules: &BTreeMap<RoomName, RoomRules>) -> bool {
        let new = rules.iter().map(|(name, rules)| (name.clone(), Rc::new(rules.clone()))).collect();
        let is_changed = self.rules != new;
        self.rules = new;
        for (_, room) in &mut self.rooms {
            room.rules = self.rules.get(&room.name).cloned();
        }
        is_changed
    }

    /// Whether the configuration has rules for any room.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether a list of the rules has that name, or one that looks like it.
    pub fn lists(&self, name: &Name) -> bool {
        let looks = Looks::of(name.as_str());
        let lists = |allowed: &Allowed| match allowed {
            Allowed::Accounts(names) => names.iter().any(|listed| Looks::of(listed.as_str()).alike(&looks)),
            Allowed::Role(_) => false,
        };
        self.rules.values().any(|rules| lists(&rules.enter) || lists(&rules.speak))
    }

    /// Whether the configuration has rules for that room.
    pub fn is_configured(&self, name: &RoomName) -> bool {
        self.rules.contains_key(name)
    }

    /// The rules of a room, which need not be open.
    pub fn rules_of(&self, name: &RoomName) -> &RoomRules {
        self.rules.get(name).map_or(&RoomRules::OPEN, Rc::as_ref)
    }

    /// Finds or creates the room with that name. At the limit, the room that was unused longest is closed; `None` if all
    /// rooms are in use.
    pub fn open(&mut self, name: RoomName) -> Option<RoomId> {
        if let Some(id) = self.find(&name) {
            return Some(id);
        }
        if self.rooms.len() >= self.max_rooms {
            self.close_longest_unused()?;
        }
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        let hash = self.state.hash_one(&name);
        let rules = self.rules.get(&name).cloned();
        let epoch = Epoch { process: self.process, room: serial };
        let slot = RoomSlot::from_key(self.rooms.insert(Room::new(name, serial, epoch, rules)));
        let (rooms, state) = (&self.rooms, &self.state);
        self.by_name.insert_unique(hash, slot, |slot| state.hash_one(&rooms[slot.key()].name));
        Some(RoomId { slot, serial })
    }

    /// Whether [`Rooms::open`] would find or create a room with that name.
    pub fn can_open(&self, name: &RoomName) -> bool {
        let unused = |(_, slot): &(Moment, RoomSlot)| self.rooms[slot.key()].is_unused();
        self.find(name).is_some() || self.rooms.len() < self.max_rooms || self.unused.iter().any(unused)
    }

    pub fn find(&self, name: &RoomName) -> Option<RoomId> {
        let has_name = |slot: &RoomSlot| self.rooms[slot.key()].name == *name;
        self.at(*self.by_name.find(self.state.hash_one(name), has_name)?)
    }

    /// The room in a slot that must be in use: `None` is a bug.
    pub fn at(&self, slot: RoomSlot) -> Option<RoomId> {
        let room = self.rooms.get(slot.key());
        debug_assert!(room.is_some(), "{slot:?} is not in use");
        Some(RoomId { slot, serial: room?.serial })
    }

    /// A room that may have been closed.
    pub fn get(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(id.slot.key()).filter(|room| room.serial == id.serial)
    }

    /// A room that may have been closed.
    pub fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.get_mut(id.slot.key()).filter(|room| room.serial == id.serial)
    }

    /// A room that must be open, since it has a subscriber or was just opened: `None` is a bug.
    pub fn existing(&self, id: RoomId) -> Option<&Room> {
        let room = self.get(id);
        debug_assert!(room.is_some(), "{id:?} was closed");
        room
    }

    /// A room that must be open, since it has a subscriber or was just opened: `None` is a bug.
    pub fn existing_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        let room = self.get_mut(id);
        debug_assert!(room.is_some(), "{id:?} was closed");
        room
    }

    /// Gives a change its sequence number in a room; `None` for one without a number.
    pub fn number(&mut self, id: RoomId, order: Order) -> Option<u64> {
        let room = &mut self.rooms[id.slot.key()];
        let seq = match order {
            Order::Next => room.seq + 1,
            Order::At(seq) | Order::Seen(seq) => seq,
            Order::Unnumbered => return None,
        };
        debug_assert!(seq > room.seq, "{seq} after {} in {}", room.seq, room.name);
        room.seq = seq;
        Some(seq)
    }

    /// Numbers a message and stores it within the limits. Returns whether clients that are catching up get it later. One without a
    /// number waits for it if it is of this process, and is not stored otherwise. The memory limit may close a room without
    /// subscribers.
    pub fn append(&mut self, id: RoomId, order: Order, mut message: Rc<Message>) -> (Rc<Message>, bool) {
        let own = message.id.filter(|id| id.process == self.process);
        let Some(seq) = self.number(id, order) else {
            if own.is_some() {
                self.rooms[id.slot.key()].unnumbered.push_back(message.clone());
            }
            return (message, own.is_some());
        };
        if let Some(own) = own {
            self.rooms[id.slot.key()].remove_unnumbered(own);
        }
        // Nobody else has it yet, so it is not cloned.
        Rc::make_mut(&mut message).seq = seq;
        let room = &mut self.rooms[id.slot.key()];
        let history_max = room.rules.as_ref().and_then(|rules| rules.history).unwrap_or(self.history_max);
        if history_max == 0 {
            return (message, false);
        }
        room.history.push_back(message.clone());
        self.eviction.record_stored(id, &message);
        if room.history.len() > history_max {
            self.evict_oldest(id);
        }
        self.evict_excess();
        (message, true)
    }

    /// Sets a room's epoch and its last number. Messages of another epoch can't be compared with it, so they go. Returns
    /// whether there was another one.
    pub fn begin_epoch(&mut self, id: RoomId, epoch: Epoch, seq: u64) -> bool {
        let room = &mut self.rooms[id.slot.key()];
        let is_new = room.epoch != epoch;
        if is_new {
            room.epoch = epoch;
            while !self.rooms[id.slot.key()].history.is_empty() {
                self.evict_oldest(id);
            }
        }
        self.rooms[id.slot.key()].seq = seq;
        is_new
    }

    /// Closes a room that has neither subscribers nor history. If it has a history, its unused time starts again.
    pub fn close_if_unused(&mut self, id: RoomId, now: Moment) {
        let Some(room) = self.get_mut(id).filter(|room| room.is_unused() && id != Rooms::LOBBY) else {
            return;
        };
        if room.history.is_empty() {
            return self.close(id);
        }
        let before = std::mem::replace(&mut room.unused_since, now);
        self.unused.remove(&(before, id.slot));
        self.unused.insert((now, id.slot));
    }

    fn close_longest_unused(&mut self) -> Option<()> {
        while let Some((_, slot)) = self.unused.pop_first() {
            let room = &self.rooms[slot.key()];
            if room.is_unused() {
                self.close(RoomId { slot, serial: room.serial });
                return Some(());
            }
        }
        None
    }

    fn close(&mut self, id: RoomId) {
        // The lobby stays open when its last message is evicted.
        if id == Rooms::LOBBY {
            return;
        }
        let room = self.rooms.remove(id.slot.key());
        self.unused.remove(&(room.unused_since, id.slot));
        let hash = self.state.hash_one(&room.name);
        let entry = self.by_name.find_entry(hash, |slot| *slot == id.slot);
        debug_assert!(entry.is_ok(), "{id:?} is not listed by its name");
        if let Ok(entry) = entry {
            entry.remove();
        }
        room.history.iter().for_each(|message| self.eviction.record_removed(message));
    }

    /// Evicts the oldest messages until the history is within its memory limit.
    fn evict_excess(&mut self) {
        while let Some((id, seq)) = self.eviction.pop_excess() {
            let oldest = self.get(id).and_then(|room| room.history.front());
            if oldest.is_none_or(|oldest| oldest.seq != seq) {
                continue;
            }
            self.evict_oldest(id);
            self.close_if_empty(id);
        }
        let rooms = &self.rooms;
        let room = |id: RoomId| rooms.get(id.slot.key()).filter(|room| room.serial == id.serial);
        self.eviction.sweep(|id, seq| room(id).is_some_and(|room| room.is_stored(seq)));
    }

    /// Closes a room that has no subscriber and has lost its history.
    fn close_if_empty(&mut self, id: RoomId) {
        let room = &self.rooms[id.slot.key()];
        if room.is_unused() && room.history.is_empty() {
            self.close(id);
        }
    }

    fn evict_oldest(&mut self, id: RoomId) {
        let room = &mut self.rooms[id.slot.key()];
        let Some(message) = room.history.pop_front() else {
            return debug_assert!(false, "{id:?} has no message to evict");
        };
        room.evicted += 1;
        self.eviction.record_removed(&message);
    }

    /// The `max` largest rooms with members, and the number of further ones. Rooms of equal size are sorted by name.
    /// Rooms for which `is_shown` is false are left out.
    pub fn largest(
        &self,
        max: usize,
        is_shown: impl Fn(&RoomName) -> bool,
    ) -> (Vec<(RoomName, usize)>, usize) {
        let shown = self.rooms.iter().filter(|(_, room)| is_shown(&room.name));
        let counts = shown.map(|(_, room)| (std::cmp::Reverse(room.count()), &room.name));
        let mut rooms: Vec<_> = counts.filter(|(count, _)| count.0 > 0).collect();
        let more = rooms.len().saturating_sub(max);
        if more > 0 {
            rooms.select_nth_unstable(max);
            rooms.truncate(max);
        }
        rooms.sort_unstable();
        (rooms.into_iter().map(|(count, name)| (name.clone(), count.0)).collect(), more)
    }

    /// The number of rooms. The lobby counts if it has subscribers or a history.
    pub fn len(&self) -> usize {
        let lobby_unused = self.rooms[0].is_unused() && self.rooms[0].history.is_empty();
        self.rooms.len() - usize::from(lobby_unused)
    }

    /// The subscribers of all rooms, in no order.
    pub fn subscribers(&self) -> impl Iterator<Item = ClientId> {
        self.rooms.iter().flat_map(|(_, room)| room.subscribers.iter().flatten().copied())
    }

    /// The number of rooms that have subscribers.
    pub fn with_subscribers(&self) -> usize {
        self.rooms.iter().filter(|(_, room)| !room.is_unused()).count()
    }

    /// The memory of the stored messages.
    pub fn history_bytes(&self) -> usize {
        self.eviction.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Body, MessageKind, Sender};
    use crate::text::Text;

    #[test]
    fn entries_of_removed_messages_are_swept() {
        let mut rooms = Rooms::new(&Config::from_flags("--history 3"), 1);
        for _ in 0..1_000 {
            let from = Name::of_http();
            let body = Body::Text(Text::clean("x").expect("a text"));
            let (sender, kind, at_unix_millis) = (Sender::Http, MessageKind::Say, 0);
            let message = Message { from, sender, kind, body, seq: 0, id: None, at_unix_millis };
            rooms.append(Rooms::LOBBY, Order::Next, Rc::new(message));
            assert!(rooms.eviction.len() <= 64, "{} entries", rooms.eviction.len());
        }
    }
}
