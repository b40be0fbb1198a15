//! Back-pressure: [`Pressure`], which clients read more slowly than others talk to them, and which talkers wait for them.
//!
//! A client *lags* while more output than the mark (`--write-buffer-soft`) is queued for it and its socket is full. While a
//! lagging client takes its output, it *holds* its rooms: a message to one of them waits, and so does a private message to
//! the client. That ends with the flush that brings the client below the mark.
//!
//! To hold costs others time, so it must be earned. A client may hold for [`HOLD_MAX`], and again after each
//! [`FLOOR_BYTES`] that it took meanwhile. A client that takes less is slower than the floor: it holds nothing until it has
//! taken everything, and the limits on slow clients apply. So a client that stalls costs its rooms one second.
//!
//! Only flushes that end blocked and messages come by here. Where nobody lags, the tables are empty.

use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::chat::{ClientId, RoomId};
use crate::net::Token;
use crate::sparse::Sparse;
use crate::time::Moment;
use crate::timers::Timers;

/// The longest that a client may hold without having taken [`FLOOR_BYTES`] meanwhile.
pub const HOLD_MAX: Duration = Duration::from_secs(1);

/// Bytes that a client must take while it holds, in [`HOLD_MAX`]: half of what the slowest steady reader takes (1 Mbit/s), since
/// kernels pass the output on in coarse parts.
pub const FLOOR_BYTES: usize = 62_500;

/// The rooms of one client: mostly one.
pub type RoomIds = SmallVec<[RoomId; 1]>;

/// The receiver of a message, which it may have to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audience {
    /// The members of a room.
    Room(RoomId),
    /// One client.
    Client(ClientId),
}

/// A client that lags, or has lagged and still has output queued.
#[derive(Debug, Default)]
struct Laggard {
    /// Since when it holds.
    holds_since: Option<Moment>,
    /// The rooms that it holds.
    rooms: RoomIds,
    /// Time that it has held before, since it last took [`FLOOR_BYTES`].
    held: Duration,
    /// Bytes that it took while it held, since then.
    taken_bytes: usize,
    /// It took too little in [`HOLD_MAX`].
    too_slow: bool,
}

/// The clients that lag, and the talkers that wait for them.
#[derive(Debug, Default)]
pub struct Pressure {
    laggards: Sparse<Laggard>,
    /// The number of laggards that hold each room.
    rooms: HashMap<RoomId, usize>,
    /// When each of those that hold must have taken [`FLOOR_BYTES`].
    deadlines: Timers,
    /// The talkers that wait for each target, in the order in which they came.
    waiting: HashMap<Audience, Vec<Token>>,
    /// The talkers that wait no longer.
    released: Vec<Token>,
}

impl Pressure {
    /// Whether no message has to wait.
    pub fn is_off(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// Whether a message to the target has to wait.
    pub fn is_on(&self, target: Audience) -> bool {
        match target {
            Audience::Room(room) => self.rooms.contains_key(&room),
            Audience::Client(id) => self.deadlines.get(id.0).is_some(),
        }
    }

    /// Has a talker wait for the target.
    pub fn wait(&mut self, talker: Token, target: Audience) {
        debug_assert!(self.is_on(target), "{target:?} is not held: nothing would end the wait");
        self.waiting.entry(target).or_default().push(talker);
    }

    /// Takes the talkers that wait no longer, in the order in which they came.
    pub fn take_released(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.released)
    }

    /// Whether a talker waits no longer, and has not been taken.
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Whether a client has lagged since it last had nothing queued.
    pub fn has(&self, id: ClientId) -> bool {
        self.laggards.get(id.0).is_some()
    }

    /// Notes a flush that left something queued: whether that is over the mark, what was taken, and in which rooms the
    /// client is.
    pub fn note(&mut self, id: ClientId, over: bool, taken_bytes: usize, rooms: RoomIds, now: Moment) {
        let laggard = self.laggards.get_or_default(id.0);
        if let Some(since) = &mut laggard.holds_since {
            laggard.taken_bytes += taken_bytes;
            if laggard.taken_bytes >= FLOOR_BYTES {
                (laggard.taken_bytes, laggard.held, *since) = (0, Duration::ZERO, now);
            }
        }
        let holds = over && !laggard.too_slow;
        let moved = laggard.rooms != rooms;
        if laggard.holds_since.is_some() && (!holds || moved) {
            self.end_hold(id, now);
        }
        let laggard = self.laggards.get_or_default(id.0);
        if !holds {
            return;
        }
        let since = *laggard.holds_since.get_or_insert(now);
        self.deadlines.set(id.0, since + HOLD_MAX.saturating_sub(laggard.held));
        if moved {
            laggard.rooms = rooms;
            laggard.rooms.iter().for_each(|room| *self.rooms.entry(*room).or_default() += 1);
        }
    }

    /// A client has nothing queued any more, or is no client any more.
    pub fn forget(&mut self, id: ClientId, now: Moment) {
        if self.has(id) {
            self.end_hold(id, now);
            self.laggards.take(id.0);
        }
    }

    /// Ends the holds of clients that took too little.
    pub fn expire(&mut self, now: Moment) {
        while let Some((_, slot)) = self.deadlines.first().filter(|(moment, _)| *moment <= now) {
            self.laggards.get_or_default(slot).too_slow = true;
            self.end_hold(ClientId(slot), now);
        }
    }

    /// When [`Pressure::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(moment, _)| moment)
    }

    fn end_hold(&mut self, id: ClientId, now: Moment) {
        let laggard = self.laggards.get_or_default(id.0);
        if let Some(since) = laggard.holds_since.take() {
            laggard.held += now.since(since);
        }
        self.deadlines.remove(id.0);
        self.release(Audience::Client(id));
        let rooms = std::mem::take(&mut self.laggards.get_or_default(id.0).rooms);
        for room in rooms {
            let Some(holders) = self.rooms.get_mut(&room) else {
                debug_assert!(false, "{room:?} is held by {id:?}, and not counted");
                continue;
            };
            *holders -= 1;
            if *holders == 0 {
                self.rooms.remove(&room);
                self.release(Audience::Room(room));
            }
        }
        if self.rooms.is_empty() {
            self.rooms = HashMap::new();
        }
    }

    fn release(&mut self, target: Audience) {
        // Mostly nobody waits; this spares them the hash.
        if self.waiting.is_empty() {
            return;
        }
        self.released.extend(self.waiting.remove(&target).unwrap_or_default());
        if self.waiting.is_empty() {
            self.waiting = HashMap::new();
        }
    }

    /// Whether a talker waits for something, or is about to go on.
    pub fn waits(&self, talker: Token) -> bool {
        self.waiting.values().flatten().chain(&self.released).any(|other| *other == talker)
    }

    /// The tables here that have the slots of connections as their keys.
    pub fn tables(&self) -> [(&'static str, Vec<u32>); 3] {
        let targets = self.waiting.keys().filter_map(|target| match target {
            Audience::Client(id) => Some(id.0),
            Audience::Room(_) => None,
        });
        [
            ("laggards", self.laggards.slots().collect()),
            ("clients that hold talkers", self.deadlines.slots().collect()),
            ("clients that talkers wait for", targets.collect()),
        ]
    }

    /// Whether nothing is kept of anybody.
    pub fn is_empty(&self) -> bool {
        self.laggards.is_empty()
            && self.rooms.is_empty()
            && self.deadlines.is_empty()
            && self.waiting.is_empty()
            && self.released.is_empty()
    }
}
