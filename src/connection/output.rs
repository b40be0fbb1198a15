//! Output of a connection: it is queued in the outbox within the limits, and written to the socket.

use std::io;

use super::{Connection, Priority, Pushed, Readiness, State};
use crate::arena::{Arena, Copies};
use crate::config::UNNAMED_BUFFER_BYTES;
use crate::limits::Limits;
use crate::net::Net;
use crate::outbox::{Appended, Flushed};
use crate::time::Moment;

impl<S> Connection<S> {
    /// Queues a copy in a few instructions, if the client is active and not slow. Otherwise does nothing, and
    /// [`Connection::push`] decides.
    #[inline]
    pub fn append(&mut self, copies: &mut Copies, most_queued_bytes: u32) -> Appended {
        if self.state != State::Active {
            return Appended::No;
        }
        let appended = self.outbox.append(copies, most_queued_bytes);
        if appended != Appended::No {
            self.outbox.count(copies.frames());
        }
        appended
    }

    /// Queues a copy if it fits. After a missed message no further droppable one fits until the client was sent their number.
    #[cold]
    pub fn push(&mut self, copies: &mut Copies, priority: Priority, limits: &Limits) -> Pushed {
        if !self.receives() {
            return Pushed::Closing;
        }
        let is_behind_a_gap = priority == Priority::Droppable && self.outbox.missed() > 0;
        if is_behind_a_gap || self.overflows(copies.len(), priority, limits) {
            return Pushed::Full;
        }
        self.outbox.count(copies.frames());
        match priority {
            Priority::Reply => self.outbox.push_reply(copies, limits.small_reply_bytes()),
            Priority::Droppable | Priority::Required => self.outbox.push(copies),
        }
        Pushed::Queued
    }

    pub(super) fn overflows(&self, bytes: usize, priority: Priority, limits: &Limits) -> bool {
        let limit = match self.state {
            State::Queued | State::Naming(_) => UNNAMED_BUFFER_BYTES,
            _ if priority == Priority::Reply => return false,
            _ => limits.hard_bytes as usize,
        };
        self.outbox.charged_bytes() + bytes > limit
    }

    /// Writes as much of the outbox as the socket takes.
    ///
    /// # Errors
    /// Those of `send(2)` that mean the connection is broken.
    pub fn flush<N: Net<Stream = S>>(
        &mut self,
        net: &mut N,
        arena: &mut Arena,
        limits: &Limits,
        now: Moment,
    ) -> io::Result<Flushed> {
        if !self.ready.contains(Readiness::WRITABLE) {
            self.outbox.record_blocked(now, false, limits.soft_bytes());
            return Ok(Flushed::Blocked);
        }
        let stream = &mut self.stream;
        let flushed =
            self.outbox.flush(arena, now, limits.soft_bytes(), |slices| net.write(stream, slices))?;
        if flushed == Flushed::Blocked {
            self.ready.remove(Readiness::WRITABLE);
        }
        Ok(flushed)
    }
}
