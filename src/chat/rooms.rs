//! Rooms: their members and what was said in them.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use hashbrown::HashTable;
use slab::Slab;

use super::crowd::Crowd;
use super::history::Ledger;
use super::ids::{ClientId, RoomId, RoomSlot};
use crate::config::Config;
use crate::protocol::{Dialect, Epoch, Event, Message, UNIQUE_ID_MAX_BYTES};
use crate::text::{NAME_MAX_BYTES, RoomName};
use crate::time::Moment;

/// Members and messages of one room.
#[derive(Debug)]
pub struct Room {
    /// What it is called.
    pub name: RoomName,
    /// Distinguishes it from others that had or will have its slot.
    serial: u32,
    /// Who is here, by dialect. Dense, for whoever walks through one with a message; each client knows its index.
    subscribers: [Vec<ClientId>; Dialect::Redis as usize + 1],
    /// Number of changes of the subscribers, modulo 2^32.
    pub changes: u32,
    /// Joins and leaves that were not announced.
    pub crowd: Crowd,
    /// Listeners that catch up with what was said, and are not among the subscribers yet.
    pub returning: u32,
    past: VecDeque<Rc<Message>>,
    /// The number of messages that were remembered, and are not any more.
    forgotten: u64,
    /// The number of the last message, or of the last gap.
    seq: u64,
    /// The number of the last gap.
    since: u64,
    /// When the last member left.
    unused_since: Moment,
}

impl Room {
    fn new(name: RoomName, serial: u32) -> Room {
        Room {
            name,
            serial,
            subscribers: Default::default(),
            changes: 0,
            crowd: Crowd::default(),
            returning: 0,
            past: VecDeque::new(),
            forgotten: 0,
            seq: 0,
            since: 0,
            unused_since: Moment::default(),
        }
    }

    /// Those who speak `dialect`.
    pub fn subscribers(&self, dialect: Dialect) -> &[ClientId] {
        debug_assert_ne!(dialect, Dialect::Http, "HTTP requests are in no room");
        self.subscribers.get(dialect as usize).map_or(&[], Vec::as_slice)
    }

    /// The members, those of other processes last: all but those who only listen.
    pub fn members(&self) -> impl Iterator<Item = ClientId> {
        let [line, json, raw, _, far] = &self.subscribers;
        [line, json, raw, far].into_iter().flatten().copied()
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        let [line, json, raw, _, far] = &self.subscribers;
        line.len() + json.len() + raw.len() + far.len()
    }

    /// The number of clients of this process that are sent its messages, or will be once they have caught up.
    pub fn local_subscribers(&self) -> usize {
        let subscribers: usize = self.subscribers[..Dialect::Redis as usize].iter().map(Vec::len).sum();
        subscribers + self.returning as usize
    }

    /// Whether nobody is here, not even to listen.
    fn is_unused(&self) -> bool {
        self.returning == 0 && self.subscribers.iter().all(Vec::is_empty)
    }

    /// Adds a client, and tells its index.
    pub fn enter(&mut self, dialect: Dialect, id: ClientId) -> u32 {
        self.changes = self.changes.wrapping_add(1);
        let subscribers = &mut self.subscribers[dialect as usize];
        subscribers.push(id);
        subscribers.len() as u32 - 1
    }

    /// Removes the client at `index`. The one who was last has that index now, and is returned.
    pub fn exit(&mut self, dialect: Dialect, index: u32) -> Option<ClientId> {
        self.changes = self.changes.wrapping_add(1);
        let subscribers = &mut self.subscribers[dialect as usize];
        subscribers.swap_remove(index as usize);
        subscribers.get(index as usize).copied()
    }

    /// What the numbers of its messages belong to, in that process.
    pub fn epoch(&self, process: u64) -> Epoch {
        Epoch { process, room: self.serial }
    }

    /// Messages did not come here, or may not from now on. They take one number together, so that who has heard the room up
    /// to then can be told from who was here since.
    pub fn record_gap(&mut self) {
        self.seq += 1;
        self.since = self.seq;
    }

    /// The number of the last gap: who has heard the room up to a lower one may have missed something. 0: there was none.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The number of the last message, or of the last gap.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last `count` messages, the oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &Rc<Message>> {
        self.past.iter().skip(self.past.len().saturating_sub(count))
    }

    /// The number of messages it has forgotten. Its messages have places in the order they came; the first that is remembered
    /// has this one.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The place behind the last message.
    pub fn end(&self) -> u64 {
        self.forgotten + self.past.len() as u64
    }

    /// The place of the first message behind number `seq` that is remembered.
    pub fn place_behind(&self, seq: u64) -> u64 {
        self.forgotten + self.past.partition_point(|message| message.seq <= seq) as u64
    }

    /// The messages from that place on, as far as they are remembered.
    pub fn from(&self, place: u64) -> impl Iterator<Item = &Rc<Message>> {
        let start = place.saturating_sub(self.forgotten) as usize;
        self.past.range(start.min(self.past.len())..)
    }

    /// The number of the last `count` messages that fit into so many bytes.
    pub fn fitting(&self, count: usize, most_bytes: usize, dialect: Dialect) -> usize {
        fitting(self.past.iter().rev().take(count), most_bytes, dialect)
    }

    /// What the members are told of the joins and leaves since the last time; nothing if there were none.
    pub fn summary(&mut self) -> Option<Event> {
        let crowd = std::mem::take(&mut self.crowd);
        let (room, count) = (self.name.clone(), self.count());
        let news = crowd.joined + crowd.left > 0 && !self.is_unused();
        news.then_some(Event::Crowd { room, joined: crowd.joined, left: crowd.left, count })
    }

    /// Whether the message with that number is still remembered.
    fn remembers(&self, seq: u64) -> bool {
        self.past.front().is_some_and(|oldest| oldest.seq <= seq && seq <= self.seq)
    }
}

/// The number of messages that take no more than `most_bytes` in `dialect`. One always does, since an answer
/// without any would say that nothing was said.
pub fn fitting<'a>(
    messages: impl Iterator<Item = &'a Rc<Message>>,
    most_bytes: usize,
    dialect: Dialect,
) -> usize {
    let mut bytes = 0;
    let fits = |(index, message): &(usize, &Rc<Message>)| {
        bytes += shown_bytes(message, dialect);
        *index == 0 || bytes <= most_bytes
    };
    messages.enumerate().take_while(fits).count()
}

/// An upper bound of the bytes of a message in `dialect`.
pub fn shown_bytes(message: &Message, dialect: Dialect) -> usize {
    // The most that is put around a text: a name, how it came and how long ago it was said, or in JSON the keys and the
    // id; and there a quotation mark, a backslash or an end of line are two bytes. An event has a position and a room too.
    const JSON: usize = 2 * NAME_MAX_BYTES + UNIQUE_ID_MAX_BYTES + 136;
    let (around, escaped) = match dialect {
        Dialect::Line => (NAME_MAX_BYTES + 40, 1),
        Dialect::Events => (JSON + NAME_MAX_BYTES + 88, 2),
        _ => (JSON, 2),
    };
    message.body.len() * escaped + around
}

/// All rooms.
#[derive(Debug)]
pub struct Rooms {
    rooms: Slab<Room>,
    /// The slots, by the names of the rooms in them.
    by_name: HashTable<RoomSlot>,
    state: RandomState,
    next_serial: u32,
    /// Those that are open for their history only, by the time when their last member left; and some that are in use again.
    unused: BTreeSet<(Moment, RoomSlot)>,
    ledger: Ledger,
    max_rooms: usize,
    history: usize,
}

impl Rooms {
    /// Where everybody starts; always open.
    pub const LOBBY: RoomId = RoomId { slot: RoomSlot::from_key(0), serial: 0 };

    /// The lobby alone.
    pub fn new(config: &Config) -> Rooms {
        let mut rooms = Rooms {
            rooms: Slab::new(),
            by_name: HashTable::new(),
            state: RandomState::new(),
            next_serial: 0,
            unused: BTreeSet::new(),
            ledger: Ledger::new(config.history_memory),
            max_rooms: config.max_rooms,
            history: config.history,
        };
        let lobby = rooms.open(RoomName::lobby());
        debug_assert_eq!(lobby, Some(Rooms::LOBBY));
        rooms.rooms[Rooms::LOBBY.slot.key()].subscribers[Dialect::Line as usize].reserve(config.max_clients);
        rooms
    }

    /// The room of that name, made if need be. `None`: there are as many as there may be.
    ///
    /// A room without members that is still there for its history makes way for a new one.
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
        let slot = RoomSlot::from_key(self.rooms.insert(Room::new(name, serial)));
        let (rooms, state) = (&self.rooms, &self.state);
        self.by_name.insert_unique(hash, slot, |slot| state.hash_one(&rooms[slot.key()].name));
        Some(RoomId { slot, serial })
    }

    /// Whether [`Rooms::open`] would find or make a room of that name.
    pub fn can_open(&self, name: &RoomName) -> bool {
        let unused = |(_, slot): &(Moment, RoomSlot)| self.rooms[slot.key()].is_unused();
        self.find(name).is_some() || self.rooms.len() < self.max_rooms || self.unused.iter().any(unused)
    }

    /// The room of that name, if there is one.
    pub fn find(&self, name: &RoomName) -> Option<RoomId> {
        let is_that = |slot: &RoomSlot| self.rooms[slot.key()].name == *name;
        self.at(*self.by_name.find(self.state.hash_one(name), is_that)?)
    }

    /// The room in the slot, which is in use.
    pub fn at(&self, slot: RoomSlot) -> Option<RoomId> {
        let room = self.rooms.get(slot.key());
        debug_assert!(room.is_some(), "a room was closed with somebody in it");
        Some(RoomId { slot, serial: room?.serial })
    }

    /// A room that is open: somebody is in it, or enters.
    pub fn present(&self, id: RoomId) -> Option<&Room> {
        let room = self.get(id);
        debug_assert!(room.is_some(), "{id:?} was closed with somebody in it");
        room
    }

    /// A room that is open: somebody is in it, or enters.
    pub fn present_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        let room = self.get_mut(id);
        debug_assert!(room.is_some(), "{id:?} was closed with somebody in it");
        room
    }

    /// A room that may be gone.
    pub fn get(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(id.slot.key()).filter(|room| room.serial == id.serial)
    }

    /// A room that may be gone.
    pub fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.get_mut(id.slot.key()).filter(|room| room.serial == id.serial)
    }

    /// Numbers a message, and remembers it as far as the limits allow.
    pub fn post(&mut self, id: RoomId, message: impl FnOnce(u64) -> Rc<Message>) -> Rc<Message> {
        let room = &mut self.rooms[id.slot.key()];
        room.seq += 1;
        let message = message(room.seq);
        if self.history == 0 {
            return message;
        }
        room.past.push_back(message.clone());
        self.ledger.stored(id, &message);
        if room.past.len() > self.history {
            self.forget_oldest(id);
        }
        self.forget_excess();
        message
    }

    /// Closes a room that has neither members nor messages; notes when the last member left one that has messages.
    pub fn close_if_unused(&mut self, id: RoomId, now: Moment) {
        let Some(room) = self.get_mut(id).filter(|room| room.is_unused() && id != Rooms::LOBBY) else {
            return;
        };
        if room.past.is_empty() {
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
        // The lobby stays open when the memory limit takes its last message.
        if id == Rooms::LOBBY {
            return;
        }
        let room = self.rooms.remove(id.slot.key());
        self.unused.remove(&(room.unused_since, id.slot));
        let hash = self.state.hash_one(&room.name);
        let entry = self.by_name.find_entry(hash, |slot| *slot == id.slot);
        debug_assert!(entry.is_ok(), "an open room has no entry");
        if let Ok(entry) = entry {
            entry.remove();
        }
        room.past.iter().for_each(|message| self.ledger.dropped(message));
    }

    fn forget_excess(&mut self) {
        while let Some((id, seq)) = self.ledger.excess() {
            let oldest = self.get(id).and_then(|room| room.past.front());
            if oldest.is_none_or(|oldest| oldest.seq != seq) {
                continue;
            }
            self.forget_oldest(id);
            if self.rooms[id.slot.key()].is_unused() && self.rooms[id.slot.key()].past.is_empty() {
                self.close(id);
            }
        }
        let rooms = &self.rooms;
        let room = |id: RoomId| rooms.get(id.slot.key()).filter(|room| room.serial == id.serial);
        self.ledger.sweep(|id, seq| room(id).is_some_and(|room| room.remembers(seq)));
    }

    fn forget_oldest(&mut self, id: RoomId) {
        let room = &mut self.rooms[id.slot.key()];
        let Some(message) = room.past.pop_front() else {
            return debug_assert!(false, "no message to drop");
        };
        room.forgotten += 1;
        self.ledger.dropped(&message);
    }

    /// The `most` largest rooms with members, and how many more there are. Equal ones by name.
    pub fn largest(&self, most: usize) -> (Vec<(RoomName, usize)>, usize) {
        let counts = self.rooms.iter().map(|(_, room)| (std::cmp::Reverse(room.count()), &room.name));
        let mut rooms: Vec<_> = counts.filter(|(count, _)| count.0 > 0).collect();
        let more = rooms.len().saturating_sub(most);
        if more > 0 {
            rooms.select_nth_unstable(most);
            rooms.truncate(most);
        }
        rooms.sort_unstable();
        (rooms.into_iter().map(|(count, name)| (name.clone(), count.0)).collect(), more)
    }

    /// Rooms, without the lobby when it is empty.
    pub fn len(&self) -> usize {
        let lobby_unused = self.rooms[0].is_unused() && self.rooms[0].past.is_empty();
        self.rooms.len() - usize::from(lobby_unused)
    }

    /// Members of all rooms, and listeners, in no order.
    pub fn everybody(&self) -> impl Iterator<Item = ClientId> {
        self.rooms.iter().flat_map(|(_, room)| room.subscribers.iter().flatten().copied())
    }

    /// The number of memberships.
    pub fn memberships(&self) -> usize {
        self.rooms.iter().map(|(_, room)| room.subscribers.iter().map(Vec::len).sum::<usize>()).sum()
    }

    /// Rooms in which somebody of this process hears what is said.
    pub fn with_local_subscribers(&self) -> usize {
        self.rooms.iter().filter(|(_, room)| room.local_subscribers() > 0).count()
    }

    /// Memory of what is remembered.
    pub fn history_bytes(&self) -> usize {
        self.ledger.bytes()
    }
}
