//! Queued output of one connection: [`Outbox`].
//!
//! An idle outbox is 24 bytes and has no allocation. Any number of messages that follow each other in the arena are one
//! [`Held`], for which it has a field. A second one that is not adjacent, or a peer that does not read, allocates a
//! `Backlog`, which is freed when the outbox is empty.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use crate::arena::{Arena, Copies, Held};
use crate::time::Moment;

/// Most buffers of one `sendmsg(2)`; more wait for the next call.
const BUFFERS_A_WRITE: usize = 16;

/// The longest delay of a pong, for a peer whose outbox is never empty.
const PONG_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Outbox {
    /// The oldest output. Only this may begin within a frame, and it is empty only if the outbox is.
    front: Held,
    /// Frames that were ever queued, modulo 2^32. The connection has no room for it.
    frames: u32,
    backlog: Option<Box<Backlog>>,
}

/// The state of an outbox whose peer is slow, or that has several [`Held`].
#[derive(Debug, Default)]
struct Backlog {
    /// Output behind the front.
    rest: VecDeque<Held>,
    rest_bytes: usize,
    /// Bytes at the beginning of the queue that are replies to the peer, or in front of such a reply.
    reply_bytes: usize,
    /// Time of the last progress, or of the first blocked write.
    stalled_since: Option<Moment>,
    /// Time since which more has been queued than the soft limit allows.
    over_soft_since: Option<Moment>,
    /// Messages of each source that were left out since the peer last kept up.
    missed: Vec<(MessageSource, u64)>,
    /// The payload of the newest ping that was not answered, since the peer does not read.
    pong: Option<Box<[u8]>>,
    /// The time of the first ping that was not answered.
    pong_since: Option<Moment>,
}

impl Backlog {
    /// Appends a copy, to the last output if it follows that.
    fn push(&mut self, copies: &mut Copies) {
        self.rest_bytes += copies.len();
        if !self.rest.back_mut().is_some_and(|back| copies.append_to(back)) {
            self.rest.push_back(copies.hold_in_list());
        }
    }

    #[cold]
    fn has_postponed(&self) -> bool {
        !self.missed.is_empty() || self.pong.is_some()
    }

    fn pop(&mut self) -> Option<Held> {
        let held = self.rest.pop_front()?;
        self.rest_bytes -= held.len();
        Some(held)
    }
}

/// The source of a message, for the count of missed messages: a room, or `None` for private messages.
pub type MessageSource = Option<u64>;

/// The outcome of [`Outbox::append`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    /// The copy is all that is queued.
    First,
    /// The copy is queued behind other output, and no write of that has been tried yet.
    Behind,
    /// No copy was made.
    No,
}

/// Whether the peer keeps up with its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// No write was blocked since the outbox was last empty.
    KeepsUp,
    /// A write was blocked.
    Blocked,
    /// A write was blocked, with more queued than the soft limit allows.
    OverSoft,
}

/// The outcome of [`Outbox::flush`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// The kernel has everything.
    All,
    /// The kernel takes no more: `WouldBlock`.
    Blocked,
}

impl Outbox {
    /// Queues a copy in a few instructions, or does nothing. It needs an outbox without a backlog, with at most
    /// `most_queued_bytes`, and a copy that follows the queued output in the arena.
    #[inline]
    pub fn append(&mut self, copies: &mut Copies, most_queued_bytes: u32) -> Appended {
        debug_assert!(!copies.is_empty(), "an empty copy holds no block");
        if self.backlog.is_some() {
            return Appended::No;
        }
        // An empty outbox takes any copy. The test for empty comes first: computing the length sets the zero flag, so it is free.
        if self.front.is_empty() {
            self.front = copies.hold();
            return Appended::First;
        }
        if self.front.len() > most_queued_bytes as usize {
            return Appended::No;
        }
        if copies.append_to(&mut self.front) { Appended::Behind } else { Appended::No }
    }

    /// Queues a copy. An empty one is left out, since nothing would keep its block.
    pub fn push(&mut self, copies: &mut Copies) {
        if copies.is_empty() {
            return;
        }
        if self.front.is_empty() {
            self.front = copies.hold();
            return;
        }
        let is_last = self.backlog.as_ref().is_none_or(|backlog| backlog.rest.is_empty());
        if !(is_last && copies.append_to(&mut self.front)) {
            self.backlog.get_or_insert_default().push(copies);
        }
    }

    /// Queues a copy of a reply. If more than `most_bytes` are queued then, the limits apply only to the output behind it.
    /// The peer asked for the reply, and is not read again before it has read most of it.
    pub fn push_reply(&mut self, copies: &mut Copies, most_bytes: usize) {
        self.push(copies);
        if self.cost_bytes() > most_bytes {
            let queued_bytes = self.queued_bytes();
            self.backlog.get_or_insert_default().reply_bytes = queued_bytes;
        }
    }

    /// Counts queued frames.
    #[inline]
    pub fn count(&mut self, frames: usize) {
        self.frames = self.frames.wrapping_add(frames as u32);
    }

    /// Frames that were ever queued, modulo 2^32.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.front.len() + self.backlog.as_ref().map_or(0, |backlog| backlog.rest_bytes)
    }

    /// The cost of the outbox without large replies. The limits are about this.
    pub fn charged_bytes(&self) -> usize {
        self.cost_bytes() - self.backlog.as_ref().map_or(0, |backlog| backlog.reply_bytes)
    }

    /// The cost of the outbox: the queued bytes, and the memory of the list of them. Without the list, a flood of tiny
    /// messages would cost many times its size.
    #[inline]
    pub fn cost_bytes(&self) -> usize {
        self.queued_bytes() + self.list_bytes()
    }

    /// Memory of the list of queued output.
    #[inline]
    pub fn list_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.rest.len() * size_of::<Held>())
    }

    /// Passes queued output to `write` until it is all written or the kernel takes no more.
    ///
    /// `soft_bytes` is the charge over which [`Outbox::over_soft_since`] begins to count.
    ///
    /// # Errors
    /// Those of `write`, except `WouldBlock` (answered by [`Flushed::Blocked`]) and `Interrupted` (tried again).
    pub fn flush(
        &mut self,
        arena: &mut Arena,
        now: Moment,
        soft_bytes: usize,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        let mut progress = false;
        while !self.is_empty() {
            match self.write_once(arena, &mut write) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.release_sent(arena, written);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.record_blocked(now, progress, soft_bytes);
                    return Ok(Flushed::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::All)
    }

    fn write_once(
        &self,
        arena: &Arena,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let front = IoSlice::new(arena.bytes(&self.front));
        let Some(backlog) = self.backlog.as_ref().filter(|backlog| !backlog.rest.is_empty()) else {
            return write(&[front]);
        };
        let mut buffers = [IoSlice::new(&[]); BUFFERS_A_WRITE];
        buffers[0] = front;
        let mut count = 1;
        for (buffer, held) in buffers[1..].iter_mut().zip(&backlog.rest) {
            *buffer = IoSlice::new(arena.bytes(held));
            count += 1;
        }
        write(&buffers[..count])
    }

    /// Releases the first `bytes`, which were sent.
    #[inline]
    fn release_sent(&mut self, arena: &mut Arena, bytes: usize) {
        // Nearly always there is only the front, and this is twice as fast.
        if self.backlog.is_none() {
            arena.release(self.front.split_front(bytes));
            if self.front.is_empty() {
                self.front = Held::default();
            }
            return;
        }
        self.release_sent_of_backlog(arena, bytes);
    }

    fn release_sent_of_backlog(&mut self, arena: &mut Arena, mut bytes: usize) {
        let Some(backlog) = &mut self.backlog else {
            debug_assert!(false, "an outbox without a backlog has only its front");
            return;
        };
        backlog.reply_bytes = backlog.reply_bytes.saturating_sub(bytes);
        while bytes > 0 {
            let sent = self.front.split_front(bytes);
            bytes -= sent.len();
            arena.release(sent);
            if self.front.is_empty() {
                self.front = self.next_held();
            }
        }
        if self.is_empty() {
            self.free_backlog();
        }
    }

    /// Drops the backlog of an empty queue, except for postponed output.
    fn free_backlog(&mut self) {
        let postponed = self.backlog.take().filter(|backlog| backlog.has_postponed());
        self.backlog = postponed.map(|backlog| {
            let Backlog { missed, pong, pong_since, .. } = *backlog;
            Box::new(Backlog { missed, pong, pong_since, ..Backlog::default() })
        });
    }

    fn next_held(&mut self) -> Held {
        self.backlog.as_mut().and_then(|backlog| backlog.pop()).unwrap_or_default()
    }

    /// Records a write that ended blocked, with or without progress.
    pub fn record_blocked(&mut self, now: Moment, progress: bool, soft_bytes: usize) {
        if self.is_empty() {
            return;
        }
        let over_soft = self.charged_bytes() > soft_bytes;
        let backlog = self.backlog.get_or_insert_default();
        if progress || backlog.stalled_since.is_none() {
            backlog.stalled_since = Some(now);
        }
        backlog.over_soft_since = over_soft.then(|| backlog.over_soft_since.unwrap_or(now));
    }

    /// Whether the peer keeps up.
    #[inline]
    pub fn progress(&self) -> Progress {
        match &self.backlog {
            None => Progress::KeepsUp,
            Some(backlog) if backlog.over_soft_since.is_some() => Progress::OverSoft,
            Some(backlog) if backlog.stalled_since.is_some() => Progress::Blocked,
            Some(_) => Progress::KeepsUp,
        }
    }

    /// The time of the last progress, or of the first blocked write; `None` if the peer keeps up.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.backlog.as_ref().filter(|_| !self.is_empty()).and_then(|backlog| backlog.stalled_since)
    }

    /// The time since which more has been queued than the soft limit allows.
    pub fn over_soft_since(&self) -> Option<Moment> {
        self.backlog.as_ref().filter(|_| !self.is_empty()).and_then(|backlog| backlog.over_soft_since)
    }

    /// Counts a message that was left out.
    pub fn miss(&mut self, source: MessageSource) {
        let missed = &mut self.backlog.get_or_insert_default().missed;
        match missed.iter_mut().find(|(other, _)| *other == source) {
            Some((_, count)) => *count += 1,
            None => missed.push((source, 1)),
        }
    }

    /// Messages that were left out since [`Outbox::take_missed`].
    pub fn missed(&self) -> u64 {
        self.backlog.as_ref().map_or(0, |backlog| backlog.missed.iter().map(|(_, count)| count).sum())
    }

    /// Takes the numbers of messages that were left out, by source, to be sent to the peer.
    pub fn take_missed(&mut self) -> Vec<(MessageSource, u64)> {
        let missed =
            self.backlog.as_mut().map_or_else(Vec::new, |backlog| std::mem::take(&mut backlog.missed));
        if self.is_empty() && !self.has_postponed() {
            self.backlog = None;
        }
        missed
    }

    /// Whether a count of missed messages or a pong is to be sent when the peer keeps up.
    #[inline]
    pub fn has_postponed(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.has_postponed())
    }

    /// Keeps the payload of a ping for later. A newer ping replaces the older ones (RFC 6455, 5.5.3).
    pub fn postpone_pong(&mut self, payload: Box<[u8]>, now: Moment) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.pong = Some(payload);
        backlog.pong_since.get_or_insert(now);
    }

    /// Whether a ping has waited so long that it is answered behind all queued output.
    pub fn is_pong_due(&self, now: Moment) -> bool {
        let since = self.backlog.as_ref().and_then(|backlog| backlog.pong_since);
        since.is_some_and(|since| since + PONG_DELAY <= now)
    }

    /// Takes the payload of the ping that was not answered.
    pub fn take_pong(&mut self) -> Option<Box<[u8]>> {
        let pong = self.backlog.as_mut()?.pong.take();
        if self.is_empty() && !self.has_postponed() {
            self.backlog = None;
        }
        pong
    }

    /// Records that the newest ping was answered.
    pub fn record_pong(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            (backlog.pong, backlog.pong_since) = (None, None);
        }
    }

    /// Releases all output except for the rest of a frame that the peer has received in part.
    pub fn drop_unsent(&mut self, arena: &mut Arena) {
        let rest_bytes = if self.is_empty() { 0 } else { arena.rest_of_frame(&self.front) };
        let begun = self.front.split_front(rest_bytes);
        let front = std::mem::replace(&mut self.front, begun);
        let backlog = self.backlog.take().map_or_else(Backlog::default, |backlog| *backlog);
        for held in std::iter::once(front).chain(backlog.rest).filter(|held| !held.is_empty()) {
            arena.release(held);
        }
        match self.is_empty() {
            true => self.front = Held::default(),
            false => self.backlog.get_or_insert_default().stalled_since = backlog.stalled_since,
        }
    }

    /// Releases all output.
    pub fn clear(&mut self, arena: &mut Arena) {
        self.drop_unsent(arena);
        let front = std::mem::take(&mut self.front);
        if !front.is_empty() {
            arena.release(front);
        }
        self.backlog = None;
    }

    /// All queued output, for [`Arena::compact`].
    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        let rest = self.backlog.iter_mut().flat_map(|backlog| backlog.rest.iter_mut());
        std::iter::once(&mut self.front).chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOFT: usize = 100;

    fn send(outbox: &mut Outbox, arena: &mut Arena, text: &str) {
        let frame = arena.frame(|out| out.extend_from_slice(text.as_bytes()));
        arena.share(frame, 1, |copies| outbox.push(copies));
    }

    /// Flushes to a peer that takes `room` bytes at most.
    fn flush(outbox: &mut Outbox, arena: &mut Arena, now: u64, mut room: usize) -> (String, Flushed) {
        let mut taken = Vec::new();
        let flushed = outbox.flush(arena, Moment::from_millis(now), SOFT, |slices| {
            if room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let some = &all[..all.len().min(room)];
            room -= some.len();
            taken.extend_from_slice(some);
            Ok(some.len())
        });
        (String::from_utf8(taken).unwrap(), flushed.unwrap())
    }

    #[test]
    fn idle_outbox_is_small() {
        assert_eq!(size_of::<Outbox>(), 24);
    }

    #[test]
    fn output_is_sent_in_order_in_any_pieces() {
        let (mut outbox, mut other, mut arena) = (Outbox::default(), Outbox::default(), Arena::default());
        send(&mut outbox, &mut arena, "one\n");
        send(&mut other, &mut arena, "not mine\n");
        send(&mut outbox, &mut arena, "two\n");
        assert_eq!(outbox.cost_bytes(), 8 + size_of::<Held>());
        assert_eq!(flush(&mut outbox, &mut arena, 0, 6), ("one\ntw".into(), Flushed::Blocked));
        send(&mut outbox, &mut arena, "three\n");
        assert_eq!(flush(&mut outbox, &mut arena, 0, 99), ("o\nthree\n".into(), Flushed::All));
        assert!(outbox.is_empty() && outbox.backlog.is_none());
        assert_eq!(arena.held_bytes(), other.queued_bytes() as u64);
    }

    #[test]
    fn time_without_progress_is_recorded() {
        let (mut outbox, mut arena) = (Outbox::default(), Arena::default());
        let at = Moment::from_millis;
        send(&mut outbox, &mut arena, "0123456789\n");
        flush(&mut outbox, &mut arena, 10, 0);
        flush(&mut outbox, &mut arena, 20, 0);
        assert_eq!(outbox.stalled_since(), Some(at(10)));
        flush(&mut outbox, &mut arena, 30, 1);
        assert_eq!((outbox.stalled_since(), outbox.over_soft_since()), (Some(at(30)), None));
        send(&mut outbox, &mut arena, &"x".repeat(SOFT));
        flush(&mut outbox, &mut arena, 40, 0);
        flush(&mut outbox, &mut arena, 50, 1);
        assert_eq!((outbox.stalled_since(), outbox.over_soft_since()), (Some(at(50)), Some(at(40))));
        flush(&mut outbox, &mut arena, 60, 50);
        assert_eq!(outbox.over_soft_since(), None);
    }

    #[test]
    fn frame_that_was_sent_in_part_is_not_dropped() {
        let (mut outbox, mut arena) = (Outbox::default(), Arena::default());
        send(&mut outbox, &mut arena, "one\n");
        send(&mut outbox, &mut arena, "two\n");
        flush(&mut outbox, &mut arena, 0, 5);
        outbox.drop_unsent(&mut arena);
        send(&mut outbox, &mut arena, "-- dropped\n");
        assert!(outbox.stalled_since().is_some(), "the stall goes on");
        assert_eq!(flush(&mut outbox, &mut arena, 0, 99).0, "wo\n-- dropped\n");
        send(&mut outbox, &mut arena, "three\n");
        outbox.drop_unsent(&mut arena);
        assert!(outbox.is_empty(), "no byte of three was sent");
        send(&mut outbox, &mut arena, "four\n");
        flush(&mut outbox, &mut arena, 0, 1);
        outbox.count(5);
        outbox.clear(&mut arena);
        assert_eq!((outbox.queued_bytes(), arena.held_bytes(), outbox.frames()), (0, 0, 5));
    }

    #[test]
    fn count_of_missed_messages_outlives_the_queue() {
        let (mut outbox, mut arena) = (Outbox::default(), Arena::default());
        send(&mut outbox, &mut arena, "one\n");
        outbox.miss(Some(7));
        outbox.miss(None);
        outbox.miss(Some(7));
        flush(&mut outbox, &mut arena, 0, 99);
        assert_eq!(outbox.missed(), 3);
        assert_eq!(outbox.take_missed(), [(Some(7), 2), (None, 1)]);
        assert_eq!(outbox.missed(), 0);
        assert!(outbox.backlog.is_none());
    }
}
