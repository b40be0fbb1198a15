//! Rooms: their subscribers and their history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use hashbrown::HashTable;
use slab::Slab;

use super::crowd::Crowd;
use super::eviction::EvictionQueue;
use super::ids::{ClientId, RoomId, RoomSlot};
use crate::access::RoomRules;
use crate::config::Config;
use crate::protocol::{Dialect, Epoch, Event, Message, UNIQUE_ID_MAX_BYTES};
use crate::text::{NAME_MAX_BYTES, Name, RoomName, Text};
use crate::time::Moment;

#[derive(Debug)]
pub struct Room {
    pub name: RoomName,
    /// Distinguishes the room from others that had or will have its slot.
    serial: u32,
    /// The clients that are sent the room's events, by dialect. The lists are dense for fast fan-out; each client has its
    /// index.
    subscribers: [Vec<ClientId>; Dialect::Redis as usize + 1],
    /// The number of changes of the subscribers, modulo 2^32.
    pub changes: u32,
    /// Joins and leaves that were not announced.
    pub crowd: Crowd,
    /// The number of SSE clients that are catching up and are not subscribers yet.
    pub catching_up: u32,
    /// The stored messages, oldest first.
    history: VecDeque<Rc<Message>>,
    /// The number of messages that were stored once and are not any more.
    evicted: u64,
    /// The sequence number of the last message or gap.
    seq: u64,
    /// The sequence number of the last gap; 0: there was none.
    gap_seq: u64,
    /// The time when the last subscriber left.
    unused_since: Moment,
    /// `None`: the rules of an open room.
    rules: Option<Rc<RoomRules>>,
    /// The topic that a client has set (`None`: it has removed it), and the client's name.
    topic: Option<(Option<Name>, Option<Text>)>,
}

impl Room {
    fn new(name: RoomName, serial: u32, rules: Option<Rc<RoomRules>>) -> Room {
        Room {
            name,
            serial,
            subscribers: Default::default(),
            changes: 0,
            crowd: Crowd::default(),
            catching_up: 0,
            history: VecDeque::new(),
            evicted: 0,
            seq: 0,
            gap_seq: 0,
            unused_since: Moment::default(),
            rules,
            topic: None,
        }
    }

    pub fn rules(&self) -> &RoomRules {
        self.rules.as_deref().unwrap_or(&RoomRules::OPEN)
    }

    /// Sets or removes the topic, until the room is closed.
    pub fn set_topic(&mut self, by: Option<Name>, text: Option<Text>) {
        self.topic = Some((by, text));
    }

    pub fn has_topic(&self) -> bool {
        match &self.topic {
            Some((_, text)) => text.is_some(),
            None => self.rules().topic.is_some(),
        }
    }

    /// The topic that a client has set, or else that of the configuration.
    pub fn topic_event(&self) -> Event {
        let of_rules = || (None, self.rules().topic.clone());
        let (by, text) = self.topic.clone().unwrap_or_else(of_rules);
        Event::Topic { room: self.name.clone(), by, text }
    }

    pub fn subscribers(&self, dialect: Dialect) -> &[ClientId] {
        debug_assert_ne!(dialect, Dialect::Http, "HTTP requests are in no room");
        self.subscribers.get(dialect as usize).map_or(&[], Vec::as_slice)
    }

    /// The members, remote ones last. SSE clients are subscribers and not members.
    pub fn members(&self) -> impl Iterator<Item = ClientId> {
        let [line, json, raw, _, remote] = &self.subscribers;
        [line, json, raw, remote].into_iter().flatten().copied()
    }

    /// The number of members.
    pub fn count(&self) -> usize {
        let [line, json, raw, _, remote] = &self.subscribers;
        line.len() + json.len() + raw.len() + remote.len()
    }

    /// The number of local clients that need the room's messages of other processes, including those catching up.
    pub fn local_subscribers(&self) -> usize {
        let subscribers: usize = self.subscribers[..Dialect::Redis as usize].iter().map(Vec::len).sum();
        subscribers + self.catching_up as usize
    }

    fn is_unused(&self) -> bool {
        self.catching_up == 0 && self.subscribers.iter().all(Vec::is_empty)
    }

    /// Adds a subscriber and returns its index.
    pub fn subscribe(&mut self, dialect: Dialect, id: ClientId) -> u32 {
        self.changes = self.changes.wrapping_add(1);
        let subscribers = &mut self.subscribers[dialect as usize];
        subscribers.push(id);
        subscribers.len() as u32 - 1
    }

    /// Removes the subscriber at `index`. The last subscriber gets that index and is returned, unless it was removed.
    pub fn unsubscribe(&mut self, dialect: Dialect, index: u32) -> Option<ClientId> {
        self.changes = self.changes.wrapping_add(1);
        let subscribers = &mut self.subscribers[dialect as usize];
        subscribers.swap_remove(index as usize);
        subscribers.get(index as usize).copied()
    }

    /// The epoch of the room's sequence numbers in that process.
    pub fn epoch(&self, process: u64) -> Epoch {
        Epoch { process, room: self.serial }
    }

    /// Records that messages of other processes are missing, or may be from now on. They take one sequence number
    /// together, so that a position before the gap differs from one after it.
    pub fn record_gap(&mut self) {
        self.seq += 1;
        self.gap_seq = self.seq;
    }

    /// The sequence number of the last gap: a client with a lower position may have missed messages. 0: there was none.
    pub fn gap_seq(&self) -> u64 {
        self.gap_seq
    }

    /// The sequence number of the last message or gap.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last `count` messages, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &Rc<Message>> {
        self.history.iter().skip(self.history.len().saturating_sub(count))
    }

    /// The offset of the first stored message. Offsets count all messages that the room has ever stored.
    pub fn start_offset(&self) -> u64 {
        self.evicted
    }

    /// The offset after the last message.
    pub fn end_offset(&self) -> u64 {
        self.evicted + self.history.len() as u64
    }

    /// The offset of the first stored message with a higher sequence number than `seq`.
    pub fn offset_after(&self, seq: u64) -> u64 {
        self.evicted + self.history.partition_point(|message| message.seq <= seq) as u64
    }

    /// The stored messages from `offset` on.
    pub fn messages_from(&self, offset: u64) -> impl Iterator<Item = &Rc<Message>> {
        let start = offset.saturating_sub(self.evicted) as usize;
        self.history.range(start.min(self.history.len())..)
    }

    /// The number of messages among the last `count` that fit into `max_bytes`.
    pub fn count_last_fitting(&self, count: usize, max_bytes: usize, dialect: Dialect) -> usize {
        count_fitting(self.history.iter().rev().take(count), max_bytes, dialect)
    }

    /// Takes the summary of joins and leaves; `None` if there were none, or if nobody is there to read it.
    pub fn take_summary(&mut self) -> Option<Event> {
        let crowd = std::mem::take(&mut self.crowd);
        let (room, count) = (self.name.clone(), self.count());
        let has_content = crowd.joined + crowd.left > 0 && !self.is_unused();
        has_content.then_some(Event::Crowd { room, joined: crowd.joined, left: crowd.left, count })
    }

    /// Whether the message with that sequence number is still stored.
    fn is_stored(&self, seq: u64) -> bool {
        self.history.front().is_some_and(|oldest| oldest.seq <= seq && seq <= self.seq)
    }
}

/// The number of messages that fit into `max_bytes` in `dialect`. The first one always counts, since an answer without a
/// message would mean that there is none.
pub fn count_fitting<'a>(
    messages: impl Iterator<Item = &'a Rc<Message>>,
    max_bytes: usize,
    dialect: Dialect,
) -> usize {
    let mut bytes = 0;
    let fits = |(index, message): &(usize, &Rc<Message>)| {
        bytes += encoded_bytes_max(message, dialect);
        *index == 0 || bytes <= max_bytes
    };
    messages.enumerate().take_while(fits).count()
}

/// An upper bound of the encoded size of a message in `dialect`.
pub fn encoded_bytes_max(message: &Message, dialect: Dialect) -> usize {
    // A line has a name, the kind and the age around the text. JSON has the keys and the id, and escapes of two bytes. A
    // server-sent event has a position and a room as well.
    const JSON: usize = 2 * NAME_MAX_BYTES + UNIQUE_ID_MAX_BYTES + 136;
    let (around, escaped) = match dialect {
        Dialect::Line => (NAME_MAX_BYTES + 40, 1),
        Dialect::Events => (JSON + NAME_MAX_BYTES + 88, 2),
        _ => (JSON, 2),
    };
    message.body.len() * escaped + around
}

#[derive(Debug)]
pub struct Rooms {
    rooms: Slab<Room>,
    /// The slots, by the names of the rooms in them.
    by_name: HashTable<RoomSlot>,
    state: RandomState,
    next_serial: u32,
    /// The rooms without subscribers that are open for their history, by the time when the last subscriber left. Some of
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
    pub fn new(config: &Config) -> Rooms {
        let mut rooms = Rooms {
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

    /// Whether a room has other rules than that everybody may enter and speak.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
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
        let slot = RoomSlot::from_key(self.rooms.insert(Room::new(name, serial, rules)));
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

    /// Gives a message the next sequence number and stores it within the limits. The memory limit may close a room
    /// without subscribers.
    pub fn append(&mut self, id: RoomId, message: impl FnOnce(u64) -> Message) -> Rc<Message> {
        let room = &mut self.rooms[id.slot.key()];
        let history_max = room.rules.as_ref().and_then(|rules| rules.history).unwrap_or(self.history_max);
        room.seq += 1;
        let message = Rc::new(message(room.seq));
        if history_max == 0 {
            return message;
        }
        room.history.push_back(message.clone());
        self.eviction.record_stored(id, &message);
        if room.history.len() > history_max {
            self.evict_oldest(id);
        }
        self.evict_excess();
        message
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
    pub fn largest(&self, max: usize, is_shown: impl Fn(&Room) -> bool) -> (Vec<(RoomName, usize)>, usize) {
        let shown = self.rooms.iter().filter(|(_, room)| is_shown(room));
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

    /// The number of rooms that have local subscribers.
    pub fn with_local_subscribers(&self) -> usize {
        self.rooms.iter().filter(|(_, room)| room.local_subscribers() > 0).count()
    }

    /// The memory of the stored messages.
    pub fn history_bytes(&self) -> usize {
        self.eviction.bytes()
    }
}
