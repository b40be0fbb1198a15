//! Flushes: each outbox with new output, or whose socket is writable again, is written once. If there are many, a tick writes
//! a part of them.

use super::Server;
use super::coalesce::QueuedTotals;
use crate::arena::{Compaction, LONG_BYTES, SEALED_AT_BYTES};
use crate::connection::{Connection, Schedule, State};
use crate::net::{Net, Token};
use crate::outbox::{Flushed, Progress};
use crate::protocol::CloseReason;

/// Over `--memory`, clients are dropped until this share of it is free. A pass copies all retained output, so after a pass
/// that has freed little, the next waits until this share more is retained.
const RELIEF_SHARE: usize = 16;

/// Sparse blocks are compacted when they add up to this.
const SPARSE_MAX_BYTES: usize = 16 * SEALED_AT_BYTES;

impl<N: Net> Server<N> {
    /// Writes the outboxes that have waited longest, unless the batching delay is to come first. A round ends when all were
    /// written.
    pub(super) fn flush_dirty(&mut self) {
        let dirty = self.roster.dirty();
        // Under steady load a round of parts would not end, and the open block would grow. A shutdown does not delay output.
        let is_long = self.fanout.arena().open_bytes() >= LONG_BYTES;
        let is_full = std::mem::take(&mut self.is_round_full);
        let is_whole = self.ending.is_some() || is_long || is_full;
        let part = if is_whole { dirty } else { self.coalescing.part(dirty) };
        if !is_whole && self.coalescing.delays(part) {
            return;
        }
        let begun_at = self.net.nanos();
        let tokens = self.roster.take_dirty(part);
        self.flush_each(tokens);
        self.coalescing.record(part, self.net.nanos().saturating_sub(begun_at), self.queued_totals());
        if part == dirty {
            self.end_round();
        }
    }

    /// Ends a round: handles connections with full sockets, and frees memory if a block was sealed or the lists of output have grown.
    fn end_round(&mut self) {
        let tokens = self.roster.take_blocked();
        self.flush_each(tokens);
        let step = self.relief_step_bytes();
        let arena = self.fanout.arena_mut();
        let is_sealed = arena.end_round();
        if arena.take_list_growth(step) || is_sealed {
            self.relieve();
        }
    }

    /// The limit is checked when the lists of output have grown by this. After a pass that has freed little, it is checked again
    /// when all retained output has.
    fn relief_step_bytes(&self) -> usize {
        (self.config.memory / RELIEF_SHARE).max(SEALED_AT_BYTES)
    }

    /// Writes the outboxes of connections whose flush is due. Some may have been freed since.
    fn flush_each(&mut self, tokens: Vec<Token>) {
        tokens.into_iter().for_each(|token| self.flush(token, Schedule::DIRTY));
    }

    fn queued_totals(&self) -> QueuedTotals {
        QueuedTotals {
            frames: self.metrics.deliveries,
            bytes: self.metrics.bytes_queued,
            writes: self.roster.marked_dirty(),
        }
    }

    /// Writes one outbox, and handles the result. The flags in `done` are cleared first.
    pub(super) fn flush(&mut self, token: Token, done: Schedule) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.schedule.remove(done);
        if matches!(connection.state(), State::Closing(_) | State::Closed) {
            return;
        }
        let queued_bytes = connection.outbox.queued_bytes();
        let before = connection.outbox.progress();
        let was_stalled = connection.is_stalled(&self.limits);
        let flushed = connection.flush(&mut self.net, self.fanout.arena_mut(), &self.limits, self.now.moment);
        let taken_bytes = match flushed {
            Ok(Flushed::All) => queued_bytes,
            Ok(Flushed::Blocked) | Err(_) => queued_bytes - connection.outbox.queued_bytes(),
        };
        self.metrics.bytes_out += taken_bytes as u64;
        match flushed {
            // Nearly always the client is idle, and needs nothing else.
            Ok(Flushed::All) if connection.is_idle() && before == Progress::KeepsUp => {}
            Ok(flushed) => self.record_progress(token, was_stalled, flushed, taken_bytes),
            Err(_) => self.handle_broken(token),
        }
    }

    /// Records how a client keeps up with its output, for its deadlines and for back-pressure, and continues its work. It is not
    /// inlined, so that the flush of an idle client stays small.
    #[inline(never)]
    fn record_progress(&mut self, token: Token, was_stalled: bool, flushed: Flushed, taken_bytes: usize) {
        let now = self.now.moment;
        if let Some(connection) = self.roster.live_mut(token)
            && was_stalled
            && !connection.is_stalled(&self.limits)
        {
            connection.record_alive(now);
        }
        match flushed {
            Flushed::All => self.roster.record_unblocked(token, now),
            Flushed::Blocked => {
                self.roster.record_blocked(
                    token,
                    taken_bytes,
                    |id| self.fanout.chat().live_rooms_of(id),
                    now,
                );
            }
        }
        self.after_flush(token);
    }

    /// Continues the work of a client after a flush: its end, or output that was postponed.
    fn after_flush(&mut self, token: Token) {
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        let (state, is_empty) = (connection.state(), connection.outbox.is_empty());
        if is_empty && matches!(state, State::Draining(_)) {
            return self.finish(token);
        }
        let owes_missed =
            connection.outbox.cost_bytes() <= self.limits.soft_bytes() && connection.outbox.missed() > 0;
        let pong = connection.outbox.take_pong();
        if is_empty && state == State::PeerClosed {
            // The close frame was sent, so the peer need not wait until its messages are handled. An error means that the
            // peer is gone.
            let _ = self.net.shutdown_write(&mut connection.stream);
        }
        if is_empty && matches!(state, State::Http { .. }) {
            // The time for the next request counts from the end of the answer, which the peer may have read slowly.
            connection.touch(self.now.moment);
            self.roster.record_idle(token, Some(self.now.moment));
        }
        if owes_missed {
            self.send_missed(token);
        }
        if let Some(payload) = pong {
            self.answer_ping(token, payload);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Closes a connection after a failed write. If the peer has sent a close frame, its messages before that are handled first.
    fn handle_broken(&mut self, token: Token) {
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        connection.outbox.clear(self.fanout.arena_mut());
        if connection.state() == State::PeerClosed {
            return self.roster.wake(token);
        }
        self.roster.close(token, CloseReason::ConnectionLost);
        self.roster.abort(token);
    }

    /// Frees memory of unsent output, if it is over its limits.
    fn relieve(&mut self) {
        if self.fanout.arena().sparse_bytes() > SPARSE_MAX_BYTES {
            self.compact(Compaction::Sparse);
        }
        let most = self.config.memory;
        let step = self.relief_step_bytes();
        let retained = self.retained_bytes();
        let unchanged = self.relieved_bytes..self.relieved_bytes + step;
        if retained <= most || unchanged.contains(&retained) {
            return;
        }
        // The memory counts against clients only after bytes that no outbox holds are freed.
        self.compact(Compaction::All);
        self.relieved_bytes = self.retained_bytes();
        if self.relieved_bytes > most {
            self.drop_heaviest(self.relieved_bytes - most.saturating_sub(step));
        }
    }

    fn compact(&mut self, which: Compaction) {
        self.metrics.compactions += 1;
        let held = self.roster.iter_mut().flat_map(|(_, connection)| connection.outbox.held_mut());
        self.fanout.arena_mut().compact(which, held);
    }

    /// Memory of all queued output, and of the outboxes' lists of it.
    fn retained_bytes(&self) -> usize {
        let lists: usize = self.roster.iter().map(|(_, connection)| connection.outbox.list_bytes()).sum();
        self.fanout.arena().memory_bytes() + lists
    }

    /// Evicts the closing connections with most queued output, and then drops the clients with most, until their costs add up
    /// to `excess` bytes.
    ///
    /// Output that several outboxes share is in memory once, so this may free less. Then more clients are dropped later, which
    /// is better than dropping all clients of a room for one slow reader.
    fn drop_heaviest(&mut self, excess: usize) {
        let has_output = |connection: &Connection<N::Stream>| {
            !connection.outbox.is_empty() && !matches!(connection.state(), State::Closing(_) | State::Closed)
        };
        let owners = self.roster.iter().filter(|(_, connection)| has_output(connection));
        let mut owners: Vec<(bool, usize, Token)> = owners
            .map(|(token, connection)| (connection.is_closing(), connection.outbox.cost_bytes(), token))
            .collect();
        owners.sort_unstable_by(|a, b| b.cmp(a));
        let mut covered_bytes = 0;
        for (is_closing, cost_bytes, token) in owners {
            if covered_bytes >= excess {
                break;
            }
            covered_bytes += cost_bytes;
            match is_closing {
                true => self.evict(token),
                false => self.roster.close(token, CloseReason::ServerMemory),
            }
        }
    }
}
