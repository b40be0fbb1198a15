//! Flushes: each outbox with something new, or with a socket that takes something again, is written once, a part of them
//! a tick if they are many.

use super::Server;
use super::coalesce::Tally;
use crate::arena::{Compaction, LONG_BYTES, SEALED_AT_BYTES};
use crate::connection::{Connection, Schedule, State};
use crate::net::{Net, Token};
use crate::outbox::{Flushed, Progress};
use crate::protocol::CloseReason;

/// Past `--memory`, clients are dropped until this share of it is free. A pass copies all that is retained, so after one
/// that left as much as it found the next waits until this share more has come.
const RELIEF_SHARE: usize = 16;

/// Sparse pages are let be until they add up to this.
const SPARSE_MAX_BYTES: usize = 16 * SEALED_AT_BYTES;

impl<N: Net> Server<N> {
    /// Writes what is queued, or those parts of it that have waited longest, and then sees to what the kernel did not take;
    /// or lets it wait for what else is coming.
    pub(super) fn flush_dirty(&mut self) {
        let dirty = self.roster.dirty();
        // Where talk never ends no round would, and the page would grow for ever. And the end waits for nothing.
        let is_long = self.fanout.arena().open_bytes() >= LONG_BYTES;
        let is_full = std::mem::take(&mut self.round_is_full);
        let whole = self.ending.is_some() || is_long || is_full;
        let part = if whole { dirty } else { self.coalescing.part(dirty) };
        if !whole && self.coalescing.begin(part) {
            return;
        }
        let begun_at = self.net.nanos();
        let tokens = self.roster.take_dirty(part);
        self.flush_each(tokens);
        self.coalescing.note(part, self.net.nanos().saturating_sub(begun_at), self.queued());
        if part == dirty {
            self.end_round();
        }
    }

    /// Everybody has been written to: time for those who can't be, and for the page.
    fn end_round(&mut self) {
        let tokens = self.roster.take_blocked();
        self.flush_each(tokens);
        if self.fanout.arena_mut().end_round() {
            self.relieve();
        }
    }

    fn flush_each(&mut self, tokens: Vec<Token>) {
        for token in tokens {
            if let Some(connection) = self.roster.get_mut(token) {
                connection.schedule.remove(Schedule::DIRTY);
                self.flush(token);
            }
        }
    }

    fn queued(&self) -> Tally {
        Tally {
            frames: self.metrics.deliveries,
            bytes: self.metrics.bytes_queued,
            writes: self.roster.marked_dirty(),
        }
    }

    /// Writes one outbox, and sees to what that brings.
    pub(super) fn flush(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        if matches!(connection.state(), State::Closing(_) | State::Closed) {
            return;
        }
        let queued_bytes = connection.outbox.queued_bytes();
        let before = connection.outbox.progress();
        let was_held_up = connection.is_stalled(&self.limits);
        let flushed = connection.flush(&mut self.net, self.fanout.arena_mut(), &self.limits, self.now.moment);
        let taken_bytes = queued_bytes - connection.outbox.queued_bytes();
        self.metrics.bytes_out += taken_bytes as u64;
        match flushed {
            // Nearly always, and then there is nothing else to do.
            Ok(Flushed::All) if connection.is_idle() && before == Progress::KeepsUp => {}
            Ok(flushed) => self.record_progress(token, was_held_up, flushed, taken_bytes),
            Err(_) => self.lose(token),
        }
    }

    /// Notes how a client has kept up, for itself and for those who talk to it, and goes on from there. It is not inlined,
    /// so that a flush that leaves nothing to do pays nothing for it.
    #[inline(never)]
    fn record_progress(&mut self, token: Token, was_held_up: bool, flushed: Flushed, taken_bytes: usize) {
        let now = self.now.moment;
        if let Some(connection) = self.roster.get_mut(token)
            && was_held_up
            && !connection.is_stalled(&self.limits)
        {
            connection.record_alive(now);
        }
        match flushed {
            Flushed::All => self.roster.record_unblocked(token, now),
            Flushed::Blocked => {
                self.roster.record_blocked(token, taken_bytes, |id| self.fanout.chat().rooms_of(id), now);
            }
        }
        self.after_flush(token);
    }

    /// After a flush that left something to do, or that lets something go on.
    fn after_flush(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        if connection.outbox.is_empty() && matches!(connection.state(), State::Draining(_)) {
            return self.finish(token);
        }
        if connection.outbox.is_empty() && matches!(connection.state(), State::Http { .. }) {
            self.roster.record_idle(token, Some(self.now.moment));
        }
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let reads_again = connection.outbox.cost_bytes() <= self.limits.soft_bytes();
        let pong = connection.outbox.take_pong();
        if connection.state() == State::PeerClosed && connection.outbox.is_empty() {
            self.close_our_side(token);
        }
        if reads_again && self.roster.get(token).is_some_and(|connection| connection.outbox.missed() > 0) {
            self.send_missed(token);
        }
        if let Some(payload) = pong {
            self.answer_ping(token, payload);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// The connection broke while it was written to. What a client said before it closed is dealt with all the same.
    fn lose(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.outbox.clear(self.fanout.arena_mut());
        if connection.state() == State::PeerClosed {
            return self.roster.wake(token);
        }
        self.roster.close(token, CloseReason::ConnectionLost);
        self.roster.abort(token);
    }

    /// The close frame was sent, so the peer need not wait until what it said before is dealt with.
    fn close_our_side(&mut self, token: Token) {
        if let Some(connection) = self.roster.get_mut(token) {
            // A peer that is gone already has no use for it.
            let _ = self.net.shutdown_write(&mut connection.stream);
        }
    }

    /// A page of unsent output was sealed: time to see how much is retained.
    fn relieve(&mut self) {
        if self.fanout.arena().sparse_bytes() > SPARSE_MAX_BYTES {
            self.compact(Compaction::Sparse);
        }
        let most = self.config.memory;
        let step = (most / RELIEF_SHARE).max(SEALED_AT_BYTES);
        let retained = self.retained_bytes();
        let unchanged = self.relieved_bytes..self.relieved_bytes + step;
        if retained <= most || unchanged.contains(&retained) {
            return;
        }
        // Only what outboxes still hold is kept; the rest is no reason to drop a client.
        self.compact(Compaction::All);
        self.relieved_bytes = self.retained_bytes();
        if self.relieved_bytes > most {
            self.drop_heaviest(self.relieved_bytes - (most - step));
        }
    }

    fn compact(&mut self, which: Compaction) {
        self.metrics.compactions += 1;
        let slices = self.roster.iter_mut().flat_map(|(_, connection)| connection.outbox.held_mut());
        self.fanout.arena_mut().compact(which, slices);
    }

    /// Memory of all output that waits, and of the outboxes' lists of it.
    fn retained_bytes(&self) -> usize {
        let slices: usize = self.roster.iter().map(|(_, connection)| connection.outbox.list_bytes()).sum();
        self.fanout.arena().memory_bytes() + slices
    }

    /// Cuts off the closing connections that hold most, and then drops the clients that do, until `excess` bytes are covered.
    ///
    /// Several may wait for the same output, which is in memory once, so this may free less. Then more are dropped later:
    /// better a little over the limit for a while than a room of clients dropped for one of them.
    fn drop_heaviest(&mut self, excess: usize) {
        let holds = |connection: &Connection<N::Stream>| {
            !connection.outbox.is_empty() && !matches!(connection.state(), State::Closing(_) | State::Closed)
        };
        let holders = self.roster.iter().filter(|(_, connection)| holds(connection));
        let mut holders: Vec<(bool, usize, Token)> = holders
            .map(|(token, connection)| (connection.is_closing(), connection.outbox.cost_bytes(), token))
            .collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let mut freed_bytes = 0;
        for (is_closing, cost_bytes, token) in holders {
            if freed_bytes >= excess {
                break;
            }
            freed_bytes += cost_bytes;
            match is_closing {
                true => self.evict(token),
                false => self.roster.close(token, CloseReason::ServerMemory),
            }
        }
    }
}
