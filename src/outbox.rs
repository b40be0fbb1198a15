//! What one connection is still to be sent: [`Outbox`], a queue of slices of arena.
//!
//! An idle outbox is 24 bytes and owns nothing. One slice, which is what a broadcast makes of any number of
//! messages that follow each other on the page, needs no more. Only a second slice that is not adjacent, or a peer
//! that does not read, allocates a `Backlog`, and it goes as soon as the outbox is empty.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use crate::arena::{Arena, Slice};
use crate::time::Moment;

/// Slices handed to one `sendmsg(2)`; more wait for the next call.
const SLICES_A_WRITE: usize = 16;

/// The longest that pings wait for a peer that takes some of what it is sent, but never all.
const PONG_DELAY: Duration = Duration::from_secs(1);

/// A queue of slices, each of which [`Arena`] counts as held once.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The oldest slice; the only one that may begin inside a frame. Empty only if the outbox is.
    front: Slice,
    /// Frames it was given, modulo 2^32. Here, since a connection has no other room for it.
    frames: u32,
    backlog: Option<Box<Backlog>>,
}

/// What only an outbox in trouble needs.
#[derive(Debug, Default)]
struct Backlog {
    /// Slices behind the front one.
    rest: VecDeque<Slice>,
    /// How long they are together.
    rest_bytes: usize,
    /// Bytes at the beginning of what waits that are answers to the peer, or before such an answer.
    answer_bytes: usize,
    /// Since when the peer has taken nothing, or when it last did.
    stalled_since: Option<Moment>,
    /// Since when more was queued than the soft limit allows.
    over_soft_since: Option<Moment>,
    /// How many messages of each source were left out since the peer last kept up.
    missed: Vec<(MessageSource, u64)>,
    /// The payload of the newest ping that was not answered, since the peer takes nothing.
    pong: Option<Box<[u8]>>,
    /// Since when no ping was answered.
    pong_since: Option<Moment>,
}

impl Backlog {
    /// Appends a slice, to the last one if it follows that.
    fn push(&mut self, slice: Slice) {
        self.rest_bytes += slice.len();
        if !self.rest.back_mut().is_some_and(|back| back.extend(slice)) {
            self.rest.push_back(slice);
        }
    }

    #[cold]
    fn has_postponed(&self) -> bool {
        !self.missed.is_empty() || self.pong.is_some()
    }

    fn pop(&mut self) -> Option<Slice> {
        let slice = self.rest.pop_front()?;
        self.rest_bytes -= slice.len();
        Some(slice)
    }
}

/// Where a message came from, as far as an outbox has to tell one from the other.
pub type MessageSource = Option<u64>;

/// What became of a slice that was to be appended in a few instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    /// It is all that waits.
    First,
    /// It is behind what waits already, which nobody has tried to write yet.
    Behind,
    /// Not at all.
    No,
}

/// Whether the peer keeps up with its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// No write has ended blocked since nothing was queued.
    KeepsUp,
    /// One has.
    Blocked,
    /// One has, with more queued than the soft limit allows.
    OverSoft,
}

/// How far a [`Outbox::flush`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// Everything is with the kernel.
    All,
    /// The kernel takes no more: `WouldBlock`.
    Blocked,
}

impl Outbox {
    /// Appends a slice in a few instructions, if nobody is slow and nothing is in the way: no more than
    /// `most_queued_bytes` wait already, there is no backlog, and the slice follows what waits. Otherwise does nothing.
    #[inline]
    pub fn append(&mut self, slice: Slice, most_queued_bytes: u32) -> Appended {
        debug_assert!(!slice.is_empty(), "an empty slice holds no out");
        if self.backlog.is_some() || self.front.len() > most_queued_bytes as usize {
            return Appended::No;
        }
        if self.front.is_empty() {
            self.front = slice;
            return Appended::First;
        }
        if self.front.extend(slice) { Appended::Behind } else { Appended::No }
    }

    /// Appends a slice, which the caller counts with [`Arena::hold`]. An empty one holds no page, and may not outlive the
    /// tick: it is left out.
    pub fn push(&mut self, slice: Slice) {
        if slice.is_empty() {
            return;
        }
        if self.front.is_empty() {
            self.front = slice;
            return;
        }
        let is_last = self.backlog.as_ref().is_none_or(|backlog| backlog.rest.is_empty());
        if !(is_last && self.front.extend(slice)) {
            self.backlog.get_or_insert_default().push(slice);
        }
    }

    /// Appends an answer to the peer, as [`Outbox::push`] does. If more than `most_bytes` wait then, the limits are about
    /// what comes behind it: the peer asked for the answer, and is not read again before it has taken most of it.
    pub fn push_answer(&mut self, slice: Slice, most_bytes: usize) {
        self.push(slice);
        if self.cost_bytes() > most_bytes {
            let queued_bytes = self.queued_bytes();
            self.backlog.get_or_insert_default().answer_bytes = queued_bytes;
        }
    }

    /// Counts frames that it was given.
    #[inline]
    pub fn count(&mut self, frames: usize) {
        self.frames = self.frames.wrapping_add(frames as u32);
    }

    /// Frames it was given, modulo 2^32.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.front.len() + self.backlog.as_ref().map_or(0, |backlog| backlog.rest_bytes)
    }

    /// The cost of the outbox without large answers. The limits are about this.
    pub fn charged_bytes(&self) -> usize {
        self.cost_bytes() - self.backlog.as_ref().map_or(0, |backlog| backlog.answer_bytes)
    }

    /// The cost of the outbox: the bytes that wait, and the slices that say where they are. Without the slices, a flood of
    /// tiny messages would cost many times its size.
    #[inline]
    pub fn cost_bytes(&self) -> usize {
        self.queued_bytes() + self.slice_bytes()
    }

    /// Memory of the slices alone.
    #[inline]
    pub fn slice_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.rest.len() * size_of::<Slice>())
    }

    /// Hands what waits to `write` until it is gone or the kernel takes no more.
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
                    self.sent(arena, written);
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
        let front = IoSlice::new(arena.bytes(self.front));
        let Some(backlog) = self.backlog.as_ref().filter(|backlog| !backlog.rest.is_empty()) else {
            return write(&[front]);
        };
        let mut slices = [IoSlice::new(&[]); SLICES_A_WRITE];
        slices[0] = front;
        let mut count = 1;
        for (place, slice) in slices[1..].iter_mut().zip(&backlog.rest) {
            *place = IoSlice::new(arena.bytes(*slice));
            count += 1;
        }
        write(&slices[..count])
    }

    /// Lets go of the first `bytes`.
    fn sent(&mut self, arena: &mut Arena, mut bytes: usize) {
        let Some(backlog) = &mut self.backlog else {
            // Nearly always there is one slice and nothing else, and this takes half as long.
            arena.release(self.front.take_front(bytes));
            if self.front.is_empty() {
                self.front = Slice::default();
            }
            return;
        };
        backlog.answer_bytes = backlog.answer_bytes.saturating_sub(bytes);
        while bytes > 0 {
            let sent = self.front.take_front(bytes);
            bytes -= sent.len();
            arena.release(sent);
            if self.front.is_empty() {
                self.front = self.next_slice();
            }
        }
        if self.is_empty() {
            self.drained();
        }
    }

    /// Nothing waits any more; only what was postponed is worth keeping.
    fn drained(&mut self) {
        let postponed = self.backlog.take().filter(|backlog| backlog.has_postponed());
        self.backlog = postponed.map(|backlog| {
            let Backlog { missed, pong, pong_since, .. } = *backlog;
            Box::new(Backlog { missed, pong, pong_since, ..Backlog::default() })
        });
    }

    fn next_slice(&mut self) -> Slice {
        self.backlog.as_mut().and_then(|backlog| backlog.pop()).unwrap_or_default()
    }

    /// Notes that the kernel takes no more for now, with or without having taken something.
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

    /// Since when the peer has taken nothing though something waits.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.backlog.as_ref().filter(|_| !self.is_empty()).and_then(|backlog| backlog.stalled_since)
    }

    /// Since when more waits than the soft limit.
    pub fn over_soft_since(&self) -> Option<Moment> {
        self.backlog.as_ref().filter(|_| !self.is_empty()).and_then(|backlog| backlog.over_soft_since)
    }

    /// Counts a message of that source that was left out.
    pub fn miss(&mut self, source: MessageSource) {
        let missed = &mut self.backlog.get_or_insert_default().missed;
        match missed.iter_mut().find(|(other, _)| *other == source) {
            Some((_, count)) => *count += 1,
            None => missed.push((source, 1)),
        }
    }

    /// Messages left out since [`Outbox::take_missed`].
    pub fn missed(&self) -> u64 {
        self.backlog.as_ref().map_or(0, |backlog| backlog.missed.iter().map(|(_, count)| count).sum())
    }

    /// How many messages of each source were left out, now that the peer is to be told.
    pub fn take_missed(&mut self) -> Vec<(MessageSource, u64)> {
        let missed =
            self.backlog.as_mut().map_or_else(Vec::new, |backlog| std::mem::take(&mut backlog.missed));
        if self.is_empty() && !self.has_postponed() {
            self.backlog = None;
        }
        missed
    }

    /// Whether there is something to say as soon as the peer keeps up: of missed messages, or to a ping.
    #[inline]
    pub fn has_postponed(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.has_postponed())
    }

    /// Keeps the payload of a ping for later. A newer ping makes the older ones void (RFC 6455, 5.5.3).
    pub fn postpone_pong(&mut self, payload: Box<[u8]>, now: Moment) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.pong = Some(payload);
        backlog.pong_since.get_or_insert(now);
    }

    /// Whether a ping has waited so long that it is to be answered behind all that waits.
    pub fn is_pong_due(&self, now: Moment) -> bool {
        let since = self.backlog.as_ref().and_then(|backlog| backlog.pong_since);
        since.is_some_and(|since| since + PONG_DELAY <= now)
    }

    /// The payload of the ping that was not answered.
    pub fn take_pong(&mut self) -> Option<Box<[u8]>> {
        let pong = self.backlog.as_mut()?.pong.take();
        if self.is_empty() && !self.has_postponed() {
            self.backlog = None;
        }
        pong
    }

    /// A ping was answered.
    pub fn record_pong(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            (backlog.pong, backlog.pong_since) = (None, None);
        }
    }

    /// Gives up all that waits but the rest of a frame that the peer already has the beginning of.
    pub fn give_up(&mut self, arena: &mut Arena) {
        let rest = match self.is_empty() {
            true => Slice::default(),
            false => arena.rest_of_frame(self.front),
        };
        let mut front = std::mem::replace(&mut self.front, rest);
        front.take_front(rest.len());
        let backlog = self.backlog.take();
        for slice in
            std::iter::once(front).chain(backlog.iter().flat_map(|backlog| backlog.rest.iter().copied()))
        {
            if !slice.is_empty() {
                arena.release(slice);
            }
        }
        if !self.is_empty() {
            let stalled_since = backlog.and_then(|backlog| backlog.stalled_since);
            self.backlog.get_or_insert_default().stalled_since = stalled_since;
        }
    }

    /// Gives up everything.
    pub fn clear(&mut self, arena: &mut Arena) {
        self.give_up(arena);
        if !self.is_empty() {
            arena.release(self.front);
        }
        *self = Outbox { frames: self.frames, ..Outbox::default() };
    }

    /// All slices it holds, for [`Arena::compact`].
    pub fn slices_mut(&mut self) -> impl Iterator<Item = &mut Slice> {
        let rest = self.backlog.iter_mut().flat_map(|backlog| backlog.rest.iter_mut());
        std::iter::once(&mut self.front).chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOFT: usize = 100;

    fn send(outbox: &mut Outbox, arena: &mut Arena, text: &str) {
        let slice = arena.frame(|out| out.extend_from_slice(text.as_bytes()));
        arena.hold(slice, 1);
        outbox.push(slice);
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
    fn an_idle_outbox_is_small() {
        assert_eq!(size_of::<Outbox>(), 24);
    }

    #[test]
    fn all_goes_out_in_order_whatever_the_pieces() {
        let (mut outbox, mut other, mut arena) = (Outbox::default(), Outbox::default(), Arena::default());
        send(&mut outbox, &mut arena, "one\n");
        send(&mut other, &mut arena, "not mine\n");
        send(&mut outbox, &mut arena, "two\n");
        assert_eq!(outbox.cost_bytes(), 8 + size_of::<Slice>());
        assert_eq!(flush(&mut outbox, &mut arena, 0, 6), ("one\ntw".into(), Flushed::Blocked));
        send(&mut outbox, &mut arena, "three\n");
        assert_eq!(flush(&mut outbox, &mut arena, 0, 99), ("o\nthree\n".into(), Flushed::All));
        assert!(outbox.is_empty() && outbox.backlog.is_none());
        assert_eq!(arena.held_bytes(), other.queued_bytes() as u64);
    }

    #[test]
    fn time_without_progress_is_kept() {
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
    fn giving_up_keeps_the_frame_that_was_begun() {
        let (mut outbox, mut arena) = (Outbox::default(), Arena::default());
        send(&mut outbox, &mut arena, "one\n");
        send(&mut outbox, &mut arena, "two\n");
        flush(&mut outbox, &mut arena, 0, 5);
        outbox.give_up(&mut arena);
        send(&mut outbox, &mut arena, "-- dropped\n");
        assert!(outbox.stalled_since().is_some(), "the stall goes on");
        assert_eq!(flush(&mut outbox, &mut arena, 0, 99).0, "wo\n-- dropped\n");
        send(&mut outbox, &mut arena, "three\n");
        outbox.give_up(&mut arena);
        assert!(outbox.is_empty(), "nothing of three was sent");
        send(&mut outbox, &mut arena, "four\n");
        flush(&mut outbox, &mut arena, 0, 1);
        outbox.count(5);
        outbox.clear(&mut arena);
        assert_eq!((outbox.queued_bytes(), arena.held_bytes(), outbox.frames()), (0, 0, 5));
    }

    #[test]
    fn what_was_missed_outlives_the_backlog() {
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
