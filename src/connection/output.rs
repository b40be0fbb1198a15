//! Output of a connection: frames go into its outbox, as far as its limits allow, and from there to the socket.

use std::io;

use super::{Connection, Priority, Pushed, Readiness, State};
use crate::arena::{Arena, Slice};
use crate::config::UNNAMED_BUFFER_BYTES;
use crate::limits::Limits;
use crate::net::Net;
use crate::outbox::{Appended, Flushed};
use crate::time::Moment;

impl<S> Connection<S> {
    /// Puts some frames into the outbox in a few instructions, if everything is as it mostly is: the client chats, and is not
    /// slow. Otherwise does nothing, and [`Connection::push`] is to be asked.
    #[inline]
    pub fn append(&mut self, slice: Slice, frames: usize, most_queued_bytes: u32) -> Appended {
        if self.state != State::Active {
            return Appended::No;
        }
        let appended = self.outbox.append(slice, most_queued_bytes);
        if appended != Appended::No {
            self.outbox.count(frames);
        }
        appended
    }

    /// Puts some frames into the outbox if they fit. Behind a gap no message fits until the client was told of the gap.
    #[cold]
    pub fn push(&mut self, slice: Slice, frames: usize, kind: Priority, limits: &Limits) -> Pushed {
        if !self.hears() {
            return Pushed::Closing;
        }
        let behind_a_gap = kind == Priority::Droppable && self.outbox.missed() > 0;
        if behind_a_gap || self.overflows(slice.len(), kind, limits) {
            return Pushed::Full;
        }
        self.outbox.count(frames);
        match kind {
            Priority::Reply => self.outbox.push_answer(slice, limits.small_answers_bytes()),
            Priority::Droppable | Priority::Required => self.outbox.push(slice),
        }
        Pushed::Queued
    }

    pub(super) fn overflows(&self, bytes: usize, kind: Priority, limits: &Limits) -> bool {
        let limit = match self.state {
            State::Queued | State::Naming(_) => UNNAMED_BUFFER_BYTES,
            _ if kind == Priority::Reply => return false,
            _ => limits.hard_bytes as usize,
        };
        self.outbox.charged_bytes() + bytes > limit
    }

    /// Writes as much of the outbox as the socket takes.
    ///
    /// # Errors
    /// `send(2)`'s that mean the connection is broken.
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
