//! Flushes: each outbox with something new, or with a socket that takes something again, is written once.

use super::Server;
use crate::connection::Life;
use crate::net::{Net, Token};
use crate::outbox::Flushed;
use crate::page::SEALED_AT_BYTES;
use crate::protocol::{CloseReason, Event};

/// Sparse pages are let be until they add up to this.
const SPARSE_MAX_BYTES: usize = 16 * SEALED_AT_BYTES;

impl<N: Net> Server<N> {
    /// Writes what the tick has queued, and then sees to what the kernel did not take.
    pub(super) fn flush_all(&mut self) {
        for token in self.roster.take_dirty() {
            if let Some(connection) = self.roster.get_mut(token) {
                connection.queued.dirty = false;
                self.flush(token);
            }
        }
        if self.pages.turn() {
            self.relieve();
        }
    }

    /// Writes one outbox, and sees to what that brings.
    pub(super) fn flush(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        if matches!(connection.life, Life::Doomed(_) | Life::Gone) {
            return;
        }
        match connection.flush(&mut self.net, &mut self.pages, &self.limits, self.now.moment) {
            // Nearly always, and then there is nothing else to do.
            Ok(Flushed::All) if connection.is_at_rest() => {}
            Ok(_) => self.see_to(token),
            Err(_) => self.lose(token),
        }
    }

    /// After a flush that left something to do, or that lets something go on.
    fn see_to(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        if connection.outbox.is_empty() && connection.life == Life::Draining {
            return self.finish(token);
        }
        let reads_again = connection.outbox.cost_bytes() <= self.limits.soft_bytes();
        if reads_again && connection.outbox.missed() > 0 {
            let missed = connection.outbox.take_missed();
            self.insist(token, &Event::Missed(missed));
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// The connection broke while it was written to.
    fn lose(&mut self, token: Token) {
        if let Some(connection) = self.roster.get_mut(token) {
            connection.outbox.clear(&mut self.pages);
        }
        self.roster.doom(token, CloseReason::Lost);
        self.roster.forget(token);
    }

    /// Everything was sent: nothing more follows, and the peer is given some time to close its side.
    fn finish(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let finished = self.net.finish(&mut connection.stream);
        connection.live(Life::Lingering, self.now.moment);
        if finished.is_err() || connection.ready.ended {
            return self.roster.forget(token);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// A page is full of what slow clients have not taken: time to see how much they cost.
    fn relieve(&mut self) {
        if self.pages.sparse_bytes() > SPARSE_MAX_BYTES {
            for (_, connection) in self.roster.iter_mut() {
                connection.outbox.copy_out(&mut self.pages);
            }
        }
        let slices: usize = self.roster.iter().map(|(_, connection)| connection.outbox.slice_bytes()).sum();
        let memory = self.pages.memory_bytes() + slices;
        if memory > self.config.memory {
            self.drop_heaviest(memory - self.config.memory);
        }
    }

    /// Drops those who hold most, until `excess` bytes are free.
    ///
    /// What several wait for is in memory once, so it may take more of them than their outboxes add up to.
    fn drop_heaviest(&mut self, excess: usize) {
        let before = self.pages.memory_bytes();
        let holders = self.roster.iter().filter(|(_, connection)| !connection.outbox.is_empty());
        let mut holders: Vec<(usize, Token)> =
            holders.map(|(token, connection)| (connection.outbox.cost_bytes(), token)).collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let mut slices_freed = 0;
        for (_, token) in holders {
            if before - self.pages.memory_bytes() + slices_freed >= excess {
                break;
            }
            if let Some(connection) = self.roster.get_mut(token) {
                slices_freed += connection.outbox.slice_bytes();
                connection.outbox.give_up(&mut self.pages);
            }
            self.roster.doom(token, CloseReason::ServerMemory);
        }
    }
}
