//! Announcements: what a room is told is written to the page once for each dialect, and handed round once for each *run*.
//!
//! Where many talk, a tick brings many messages to the same members, and to hand each to each would take a step a
//! delivery. But messages that follow each other on the page are one slice: it is enough to see how far it reaches, and
//! to hand it round when the run is over, which is before anybody is told something else, before anybody may come or
//! go, and at the end of the phase. So where lines are spoken, a tick takes a step a message and one a member, not their
//! product; only the talkers are gone through message by message, since they are not told their own.
//!
//! (In a room of two dialects the frames of both alternate on the page, and each is a run of its own.)

use super::Server;
use crate::arena::Slice;
use crate::chat::{ClientId, RoomId};
use crate::codec;
use crate::connection::{Priority, Pushed};
use crate::net::Net;
use crate::protocol::{Dialect, Event};

/// A run is over when it is so long: much longer, and it would not fit into an outbox that has room for most of it.
const RUN_BYTES: usize = 16 * 1024;

/// Messages to those of one room who speak one dialect, one behind the other on the page.
#[derive(Debug)]
pub struct Batch {
    room: RoomId,
    dialect: Dialect,
    /// All frames together.
    slice: Slice,
    frames: Vec<BatchedFrame>,
}

#[derive(Clone, Copy, Debug)]
struct BatchedFrame {
    slice: Slice,
    /// Who is not told it: mostly the talker.
    except: Option<ClientId>,
}

impl<N: Net> Server<N> {
    /// Tells a room something: one frame for each dialect that is spoken there.
    pub(super) fn announce(&mut self, room: RoomId, except: Option<ClientId>, event: &Event) {
        for dialect in Dialect::IN_ROOMS {
            if self.chat.audience(room, dialect, except.as_slice()).is_empty() {
                continue;
            }
            let frame = self.arena.frame(|out| codec::encode(dialect, event, None, out));
            if !frame.is_empty() {
                self.extend_batch(room, dialect, BatchedFrame { slice: frame, except });
            }
        }
    }

    fn extend_batch(&mut self, room: RoomId, dialect: Dialect, frame: BatchedFrame) {
        let most_bytes = RUN_BYTES.min(self.limits.hard_bytes as usize);
        if let Some(run) = &mut self.batch
            && (run.room, run.dialect) == (room, dialect)
            && run.slice.len() + frame.slice.len() <= most_bytes
            && run.slice.extend(frame.slice)
        {
            return run.frames.push(frame);
        }
        self.deliver_batch();
        self.batch = Some(Batch { room, dialect, slice: frame.slice, frames: vec![frame] });
    }

    /// Hands the run round, if there is one. Who is in the room has not changed since it began, and does not meanwhile,
    /// whatever happens to some of them.
    pub(super) fn deliver_batch(&mut self) {
        let Some(run) = self.batch.take() else {
            return;
        };
        let mut talkers: Vec<ClientId> = run.frames.iter().filter_map(|frame| frame.except).collect();
        talkers.sort_unstable();
        talkers.dedup();
        let audience = self.chat.audience(run.room, run.dialect, &talkers);
        let frames = run.frames.len();
        let mut full = Vec::new();
        let hand = |ids: &&[ClientId]| self.roster.broadcast(ids, run.slice, frames, &mut full);
        let queued = audience.iter().map(hand).sum();
        self.count(run.slice, frames, queued);
        for id in talkers {
            if self.roster.client_mut(id).is_some_and(|connection| connection.dialect == run.dialect) {
                self.deliver_to_all_but(id, &run);
            }
        }
        full.into_iter().for_each(|id| self.deliver_to_each(id, run.room, &run.frames));
    }

    /// For a talker, who is told what is between its own messages.
    fn deliver_to_all_but(&mut self, id: ClientId, run: &Batch) {
        let is_own = |frame: &BatchedFrame| frame.except == Some(id);
        for stretch in run.frames.chunk_by(|a, b| is_own(a) == is_own(b)) {
            if is_own(&stretch[0]) {
                continue;
            }
            let mut slice = Slice::default();
            stretch.iter().for_each(|frame| slice = slice.through(frame.slice));
            match self.roster.push(id, slice, stretch.len(), Priority::Droppable) {
                Pushed::Queued => self.count(slice, stretch.len(), 1),
                Pushed::Full => self.deliver_to_each(id, run.room, stretch),
                Pushed::Closing => {}
            }
        }
    }

    /// For who may have no room for all of them.
    fn deliver_to_each(&mut self, id: ClientId, room: RoomId, frames: &[BatchedFrame]) {
        for frame in frames {
            self.queue(id, frame.slice, Priority::Droppable, Some(room));
        }
    }
}
