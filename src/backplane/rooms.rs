//! The rooms that this process follows: [`FollowedRooms`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::protocol::{MessageId, RoomPosition};
use crate::text::RoomName;
use crate::time::Moment;

/// The interval for checking rooms without subscribers. A room is followed until the first check after this time without
/// subscribers, so frequent changes cause no commands.
const UNFOLLOW_AFTER: Duration = Duration::from_secs(10);

/// The most rooms that may be without subscribers.
const IDLE_MAX: usize = 16 * 1024;

/// A room that this process follows.
#[derive(Debug, Default)]
pub struct FollowedRoom {
    pub has_subscribers: bool,
    pub state: Following,
    /// The last numbered entry that was delivered.
    pub position: Option<RoomPosition>,
    /// Own submissions that the members here saw before Redis numbered them.
    pub seen: BTreeSet<u64>,
    /// The serial number of the last numbered change of each other process. A process whose reply was lost sends its change again.
    /// If Redis has lost its data meanwhile, it appends the change twice, and this number shows that.
    last_serials: Vec<(u64, u64)>,
    /// Questions that wait until the room is live: the number of the request, and the most members of the answer.
    pub waiting: Vec<(u64, usize)>,
    /// Time of the last local subscriber or question.
    idle_since: Moment,
    is_check_queued: bool,
}

#[derive(Debug, Default)]
pub enum Following {
    /// The subscription is not confirmed in this session.
    #[default]
    Unsubscribed,
    /// The entries from the position on were requested. Payloads wait for them.
    Reading {
        held: Vec<Vec<u8>>,
        /// The number of payloads that were held at the last request. The entries read include the numbered ones.
        earlier: usize,
    },
    Live,
}

#[derive(Debug, Default)]
pub struct FollowedRooms {
    pub by_name: BTreeMap<RoomName, FollowedRoom>,
    /// Rooms that may be without subscribers, and when to check them.
    idle_checks: VecDeque<(Moment, RoomName)>,
    /// Memory of all payloads that wait.
    pub held_bytes: usize,
}

impl FollowedRoom {
    /// Whether this session has read the room.
    pub fn is_live(&self) -> bool {
        matches!(self.state, Following::Live)
    }

    /// Records a numbered change of another process. Returns whether it was delivered before.
    pub fn record_remote(&mut self, id: MessageId) -> bool {
        match self.last_serials.iter_mut().find(|(process, _)| *process == id.process) {
            Some((_, last)) if id.serial <= *last => return true,
            Some((_, last)) => *last = id.serial,
            None => self.last_serials.push((id.process, id.serial)),
        }
        false
    }
}

impl FollowedRooms {
    /// Begins to follow a room. Returns whether that is new.
    pub fn follow(&mut self, name: &RoomName, position: Option<RoomPosition>, now: Moment) -> bool {
        let is_new = !self.by_name.contains_key(name);
        if is_new {
            self.by_name.insert(name.clone(), FollowedRoom { position, ..FollowedRoom::default() });
        }
        self.record_idle(name, now);
        is_new
    }

    /// Queues a check for subscribers.
    pub fn record_idle(&mut self, name: &RoomName, now: Moment) {
        // Without the room there is nothing to check.
        if let Some(room) = self.by_name.get_mut(name) {
            room.idle_since = now;
            if !std::mem::replace(&mut room.is_check_queued, true) {
                self.idle_checks.push_back((now + UNFOLLOW_AFTER, name.clone()));
            }
        }
    }

    /// Keeps a payload until the room is read.
    pub fn hold(&mut self, name: &RoomName, raw: Vec<u8>) {
        if let Some(FollowedRoom { state: Following::Reading { held, .. }, .. }) = self.by_name.get_mut(name)
        {
            self.held_bytes += raw.len();
            held.push(raw);
        }
    }

    pub fn are_live(&self) -> bool {
        self.by_name.values().all(FollowedRoom::is_live)
    }

    /// The time to call [`FollowedRooms::expire`].
    pub fn next_timeout(&self) -> Option<Moment> {
        self.idle_checks.front().map(|(due, _)| *due)
    }

    /// Removes the next room that had neither subscribers nor questions for some time.
    pub fn expire(&mut self, now: Moment) -> Option<RoomName> {
        for _ in 0..self.idle_checks.len() {
            let is_surplus = self.idle_checks.len() > IDLE_MAX;
            self.idle_checks.front().filter(|(due, _)| is_surplus || *due <= now)?;
            let (_, name) = self.idle_checks.pop_front()?;
            // A room with a queued check is never removed.
            let room = self.by_name.get_mut(&name)?;
            room.is_check_queued = !room.has_subscribers;
            if room.has_subscribers {
                continue;
            }
            let is_idle = is_surplus || now.since(room.idle_since) >= UNFOLLOW_AFTER;
            if room.waiting.is_empty() && is_idle {
                self.by_name.remove(&name);
                return Some(name);
            }
            self.idle_checks.push_back((now + UNFOLLOW_AFTER, name));
        }
        None
    }
}
