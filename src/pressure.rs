//! Back-pressure: [`Pressure`] records which clients read more slowly than others talk to them, and which talkers wait for
//! them.
//!
//! A client *lags* while more output than the watermark (`--write-buffer-soft`) is queued for it and its socket is full. While
//! a lagging client reads, its rooms are *paused*: a message to one of them waits, and so does a private message to the
//! client. The pause ends with the flush that brings the client below the watermark.
//!
//! A pause delays other clients, so a client must keep reading to cause one. It may pause its rooms for [`PAUSE_MAX`], and
//! again after each [`FLOOR_BYTES`] that it read meanwhile. A client that reads less is too slow: it pauses nothing until its
//! outbox is empty, and the limits on slow clients apply. So a client that stalls costs its rooms one second.
//!
//! Only flushes that end blocked, and messages, use this module. While no client lags, its tables are empty.

use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::chat::{ClientId, RoomId};
use crate::net::Token;
use crate::sparse::Sparse;
use crate::time::Moment;
use crate::timers::Timers;

/// The longest pause for a client that does not read [`FLOOR_BYTES`] meanwhile.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bytes that a lagging client must read in [`PAUSE_MAX`]. It is half of what the slowest steady reader reads (1 Mbit/s), since
/// kernels accept output in large pieces.
pub const FLOOR_BYTES: usize = 62_500;

/// The rooms of one client: mostly one.
pub type RoomIds = SmallVec<[RoomId; 1]>;

/// The receiver of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audience {
    Room(RoomId),
    Client(ClientId),
}

/// A client that lags, or has lagged and still has output queued.
#[derive(Debug, Default)]
struct LaggingClient {
    /// The beginning of the pause, if there is one.
    paused_since: Option<Moment>,
    /// The rooms that are paused for the client.
    rooms: RoomIds,
    /// The length of earlier pauses since the client last had read [`FLOOR_BYTES`].
    paused: Duration,
    /// Bytes that the client has read during pauses since then.
    taken_bytes: usize,
    /// The client has read less than [`FLOOR_BYTES`] in [`PAUSE_MAX`].
    is_too_slow: bool,
}

/// The clients that lag, and the talkers that wait for them.
#[derive(Debug, Default)]
pub struct Pressure {
    lagging: Sparse<LaggingClient>,
    /// The number of clients that each room is paused for.
    rooms: HashMap<RoomId, usize>,
    /// The time by which each client with a pause must have read [`FLOOR_BYTES`].
    deadlines: Timers,
    /// The talkers that wait for each target, in the order in which they came.
    waiting: HashMap<Audience, Vec<Token>>,
    /// The talkers whose wait is over.
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

    /// Adds a talker that waits for the target.
    pub fn wait(&mut self, talker: Token, target: Audience) {
        debug_assert!(self.is_on(target), "{target:?} is not paused, so nothing would end the wait");
        self.waiting.entry(target).or_default().push(talker);
    }

    /// Takes the talkers whose wait is over, in the order in which they came.
    pub fn take_released(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.released)
    }

    /// Whether [`Pressure::take_released`] returns any.
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Whether a client has lagged since its outbox was last empty.
    pub fn has(&self, id: ClientId) -> bool {
        self.lagging.get(id.0).is_some()
    }

    /// Records a flush that left output queued. `lags` tells whether that is over the watermark, and `rooms` are the rooms of
    /// the client.
    pub fn record_flush(
        &mut self,
        id: ClientId,
        lags: bool,
        taken_bytes: usize,
        rooms: RoomIds,
        now: Moment,
    ) {
        let client = self.lagging.get_or_default(id.0);
        if let Some(since) = &mut client.paused_since {
            client.taken_bytes += taken_bytes;
            if client.taken_bytes >= FLOOR_BYTES {
                (client.taken_bytes, client.paused, *since) = (0, Duration::ZERO, now);
            }
        }
        let pauses = lags && !client.is_too_slow;
        let moved = client.rooms != rooms;
        if client.paused_since.is_some() && (!pauses || moved) {
            self.end_pause(id, now);
        }
        let client = self.lagging.get_or_default(id.0);
        if !pauses {
            return;
        }
        let since = *client.paused_since.get_or_insert(now);
        self.deadlines.set(id.0, since + PAUSE_MAX.saturating_sub(client.paused));
        if moved {
            client.rooms = rooms;
            client.rooms.iter().for_each(|room| *self.rooms.entry(*room).or_default() += 1);
        }
    }

    /// Removes a client whose outbox is empty, or that has left the chat.
    pub fn remove(&mut self, id: ClientId, now: Moment) {
        if self.has(id) {
            self.end_pause(id, now);
            self.lagging.take(id.0);
        }
    }

    /// Ends the pauses for clients that have read too little.
    pub fn expire(&mut self, now: Moment) {
        while let Some((_, slot)) = self.deadlines.first().filter(|(moment, _)| *moment <= now) {
            self.lagging.get_or_default(slot).is_too_slow = true;
            self.end_pause(ClientId(slot), now);
        }
    }

    /// The time of the next [`Pressure::expire`].
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(moment, _)| moment)
    }

    fn end_pause(&mut self, id: ClientId, now: Moment) {
        let client = self.lagging.get_or_default(id.0);
        if let Some(since) = client.paused_since.take() {
            client.paused += now.since(since);
        }
        self.deadlines.remove(id.0);
        self.release(Audience::Client(id));
        let rooms = std::mem::take(&mut self.lagging.get_or_default(id.0).rooms);
        for room in rooms {
            let Some(clients) = self.rooms.get_mut(&room) else {
                debug_assert!(false, "{room:?} is paused for {id:?}, and not counted");
                continue;
            };
            *clients -= 1;
            if *clients == 0 {
                self.rooms.remove(&room);
                self.release(Audience::Room(room));
            }
        }
        if self.rooms.is_empty() {
            self.rooms = HashMap::new();
        }
    }

    fn release(&mut self, target: Audience) {
        // Mostly no talker waits, and this avoids the hash.
        if self.waiting.is_empty() {
            return;
        }
        self.released.extend(self.waiting.remove(&target).unwrap_or_default());
        if self.waiting.is_empty() {
            self.waiting = HashMap::new();
        }
    }

    /// Whether a talker waits, or its wait is over and it was not taken yet.
    pub fn is_waiting(&self, talker: Token) -> bool {
        self.waiting.values().flatten().chain(&self.released).any(|other| *other == talker)
    }

    /// The tables whose keys are the slots of connections.
    pub fn tables(&self) -> [(&'static str, Vec<u32>); 3] {
        let targets = self.waiting.keys().filter_map(|target| match target {
            Audience::Client(id) => Some(id.0),
            Audience::Room(_) => None,
        });
        [
            ("lagging clients", self.lagging.slots().collect()),
            ("clients that rooms are paused for", self.deadlines.slots().collect()),
            ("clients that talkers wait for", targets.collect()),
        ]
    }

    /// Whether all tables are empty.
    pub fn is_empty(&self) -> bool {
        self.lagging.is_empty()
            && self.rooms.is_empty()
            && self.deadlines.is_empty()
            && self.waiting.is_empty()
            && self.released.is_empty()
    }
}
