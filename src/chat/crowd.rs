//! Rooms too large to announce each join and leave: [`Crowd`] counts, [`Crowds`] knows whose summary is due.
//!
//! Announcing each of n joins to up to n members costs n² lines; a summary every [`EVERY`] costs n.

use std::collections::VecDeque;
use std::time::Duration;

use super::ids::RoomId;
use crate::time::Moment;

/// The least time between two summaries of a room.
const EVERY: Duration = Duration::from_secs(10);

/// What happened in a room since its last summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    /// Who came.
    pub joined: u32,
    /// Who left.
    pub left: u32,
    /// Whether a summary is under way.
    waiting: bool,
}

/// The summaries that are under way, the earliest first: all wait equally long.
#[derive(Debug, Default)]
pub struct Crowds {
    queue: VecDeque<(Moment, RoomId)>,
}

impl Crowds {
    /// Something happened in the room that `count` counts.
    pub fn note(&mut self, id: RoomId, crowd: &mut Crowd, count: impl FnOnce(&mut Crowd), now: Moment) {
        count(crowd);
        if !crowd.waiting {
            crowd.waiting = true;
            self.queue.push_back((now + EVERY, id));
        }
    }

    /// The next room whose summary is due; possibly one that is gone.
    pub fn due(&mut self, now: Moment) -> Option<RoomId> {
        self.queue.front().filter(|(due, _)| *due <= now)?;
        self.queue.pop_front().map(|(_, id)| id)
    }

    /// When the next is due.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}
