//! Summaries of joins and leaves for rooms too large to announce each one: [`Crowd`] counts, [`Crowds`] schedules.
//!
//! Announcing each of n joins to up to n members costs n² lines; a summary every [`SUMMARY_INTERVAL`] costs n.

use std::collections::VecDeque;
use std::time::Duration;

use super::ids::RoomId;
use crate::time::Moment;

/// The shortest time between two summaries of a room.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// The joins and leaves in a room since its last summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    pub joined: u32,
    pub left: u32,
    is_scheduled: bool,
}

/// The scheduled summaries, the earliest first. All have the same delay, so a queue keeps them in order.
#[derive(Debug, Default)]
pub struct Crowds {
    queue: VecDeque<(Moment, RoomId)>,
}

impl Crowds {
    /// Counts a join or leave in a room, and schedules the room's summary if it is not scheduled.
    pub fn record(&mut self, id: RoomId, crowd: &mut Crowd, count: impl FnOnce(&mut Crowd), now: Moment) {
        count(crowd);
        if !crowd.is_scheduled {
            crowd.is_scheduled = true;
            self.queue.push_back((now + SUMMARY_INTERVAL, id));
        }
    }

    /// Takes the next room whose summary is due. The room may have been closed.
    pub fn pop_due(&mut self, now: Moment) -> Option<RoomId> {
        self.queue.front().filter(|(due, _)| *due <= now)?;
        self.queue.pop_front().map(|(_, id)| id)
    }

    pub fn next_timeout(&self) -> Option<Moment> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// The number of scheduled summaries.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}
