//! Coalescing: where flushing is dear, it is done in parts, and between parts the loop waits a little for what else is
//! coming, so that it goes out with the same writes.
//!
//! A write costs the kernel about the same whatever is in it, so to tell a thousand clients something takes 5 ms, be it one
//! line or sixty. What comes in meanwhile should neither wait for all of that, nor cost as much again.
//!
//! So a part is an eighth of those who have something to flush, and who has waited longest comes first. (Who does not read
//! is no part of it: there is nothing to write, and nothing to wait for.) After it the loop looks at its input: what was
//! said reaches the other seven eighths with the writes that they are due anyway, and nobody hears it later than after
//! one round. And where the last writes carried several lines each, the loop rests for half of what the part will cost
//! before it goes on. Lines come at their own times, so a round that takes half as long again takes half as many more
//! along: a third fewer writes. Databases do the same with commits, network cards with interrupts.
//!
//! Nobody waits for what is cheap, nor where each write carries one frame, as in a quiet room, nor while there is
//! something to hear already.

use std::time::Duration;

/// A part is this share of those who have something to flush. (Measured in a room of 1,000: with a quarter the latency's
/// p99 is a tenth higher, with a sixteenth no lower.)
const PARTS: usize = 8;

/// But a part costs no less than this, so that looking at the input in between costs little against it: about 4 µs.
const PART_LEAST: Duration = Duration::from_micros(500);

/// The share of a part's cost that it may wait. (Measured at 400 lines a second in a room of 1,000: an eighth 2.1 µs a
/// delivery, half 1.7, all of it 1.3, but with a p99 half as high again.)
const SHARE: u32 = 2;

/// Less than this is not worth falling asleep for; the kernel's timers are not finer than half of it
/// (`PR_SET_TIMERSLACK`).
const WAIT_LEAST: Duration = Duration::from_micros(100);

/// So many frames in the average write show that lines share their way.
const FRAMES: f64 = 1.5;

/// A write of more bytes than that costs by the byte already.
const MOST_BYTES: f64 = 16.0 * 1024.0;

/// About so many writes are remembered in the averages, and no less than so many rounds. A flush counts by its writes: what
/// one client is told alone says nothing of a room. And of a large room one round says nothing: when a line comes while
/// another is on its way, the writes that are due anyway carry two, and that is all.
const REMEMBERED_WRITES: usize = 1000;
const REMEMBERED_ROUNDS: usize = 2;

/// No write costs as much; it was the process that was stopped.
const WRITE_MOST: Duration = Duration::from_millis(1);

/// How much is flushed at once, and whether it waits, and for how long.
#[derive(Debug)]
pub struct Coalescing {
    /// The longest wait there may be; none at all if there is none.
    longest: Option<Duration>,
    /// What a write costs, and how many frames and bytes it carries: averages over the last writes.
    write_nanos: f64,
    write_frames: f64,
    write_bytes: f64,
    /// What had been queued ever, when the last part was over.
    queued: Tally,
    wait: Wait,
}

/// What was queued ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Frames, each counted for each outbox it was queued in.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The writes they take: how often an outbox with nothing to flush got something.
    pub writes: u64,
}

/// Where the next part stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// It has not waited.
    NotYet,
    /// It is to wait for so long.
    Due(Duration),
    /// It has waited, and may not again.
    Over,
}

impl Coalescing {
    /// Waits of no more than `longest`.
    pub fn new(longest: Option<Duration>) -> Coalescing {
        Coalescing {
            longest,
            write_nanos: 0.0,
            write_frames: 1.0,
            write_bytes: 0.0,
            queued: Tally::default(),
            wait: Wait::NotYet,
        }
    }

    /// How many outboxes are flushed next, of so many that have something to flush.
    pub fn part(&self, outboxes: usize) -> usize {
        // As many as there are, if nothing is known of their cost: a division by nothing is infinite.
        let least = (PART_LEAST.as_nanos() as f64 / self.write_nanos) as usize;
        outboxes.min(outboxes.div_ceil(PARTS).max(least))
    }

    /// Whether the flush of so many outboxes is to wait: then [`Coalescing::take_wait`] tells for how long.
    pub fn begin(&mut self, outboxes: usize) -> bool {
        if self.wait == Wait::Over || self.write_frames < FRAMES || self.write_bytes > MOST_BYTES {
            return false;
        }
        let cost = Duration::from_nanos((outboxes as f64 * self.write_nanos) as u64);
        let wait = self.longest.map(|longest| longest.min(cost / SHARE)).filter(|wait| *wait >= WAIT_LEAST);
        self.wait = wait.map_or(Wait::NotYet, Wait::Due);
        wait.is_some()
    }

    /// Whether a flush was put off, and what is said is not on its way yet.
    pub fn is_waiting(&self) -> bool {
        matches!(self.wait, Wait::Due(_))
    }

    /// The wait that is due, once.
    pub fn take_wait(&mut self) -> Option<Duration> {
        let Wait::Due(wait) = self.wait else {
            return None;
        };
        self.wait = Wait::Over;
        Some(wait)
    }

    /// Notes what a flush of so many outboxes took, and what had been queued ever when it was over.
    pub fn note(&mut self, outboxes: usize, nanos: u64, queued: Tally) {
        self.wait = Wait::NotYet;
        if outboxes == 0 {
            return;
        }
        let before = std::mem::replace(&mut self.queued, queued);
        let remembered = REMEMBERED_WRITES.max(REMEMBERED_ROUNDS * PARTS * outboxes) as f64;
        // There may be no more writes, and yet a sum: for writes that were counted before.
        let average = |old: &mut f64, sum: u64, writes: u64| {
            let writes = writes as f64;
            *old += (sum as f64 - writes * *old) / (writes + remembered);
        };
        let outboxes = outboxes as u64;
        average(&mut self.write_nanos, nanos.min(outboxes * WRITE_MOST.as_nanos() as u64), outboxes);
        let writes = queued.writes - before.writes;
        average(&mut self.write_frames, queued.frames - before.frames, writes);
        average(&mut self.write_bytes, queued.bytes - before.bytes, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE_NANOS: u64 = 5_000;

    /// A room of so many, in which lines have come one by one for a while.
    struct SimulatedRoom {
        coalescing: Coalescing,
        members: usize,
        dirty: usize,
        queued: Tally,
    }

    impl SimulatedRoom {
        fn quiet(members: usize) -> SimulatedRoom {
            let coalescing = Coalescing::new(Some(Duration::from_secs(1)));
            let mut room = SimulatedRoom { coalescing, members, dirty: 0, queued: Tally::default() };
            for _ in 0..50 {
                room.say();
                while room.dirty > 0 {
                    room.flush();
                }
            }
            room
        }

        fn say(&mut self) {
            self.queued.frames += self.members as u64;
            self.queued.bytes += 64 * self.members as u64;
            self.queued.writes += (self.members - self.dirty) as u64;
            self.dirty = self.members;
        }

        /// Flushes a part. Whether it was to wait.
        fn flush(&mut self) -> bool {
            let part = self.coalescing.part(self.dirty);
            let waits = self.coalescing.begin(part);
            self.dirty -= part;
            self.coalescing.note(part, part as u64 * WRITE_NANOS, self.queued);
            waits
        }
    }

    #[test]
    fn a_room_of_any_size_is_quiet_where_lines_come_one_by_one() {
        for members in [10, 100, 1_000, 10_000] {
            let mut room = SimulatedRoom::quiet(members);
            room.say();
            while room.dirty > 0 {
                assert!(!room.flush(), "{members}, {} left", room.dirty);
                let frames = room.coalescing.write_frames;
                assert!((frames - 1.0).abs() < 1e-9, "{frames} a write, {} of {members} left", room.dirty);
            }
        }
    }

    #[test]
    fn two_lines_that_meet_by_chance_do_not_make_it_busy_and_talk_does() {
        for members in [1_000, 10_000] {
            let mut room = SimulatedRoom::quiet(members);
            room.say();
            room.flush();
            room.say();
            while room.dirty > 0 {
                assert!(!room.flush(), "{members}, {} left", room.dirty);
            }
            let mut waits = 0;
            for _ in 0..30 {
                room.say();
                waits += usize::from(room.flush());
            }
            assert!(waits > 20, "{members}: {waits}");
        }
    }

    #[test]
    fn a_tick_without_a_flush_says_nothing_of_what_a_write_costs() {
        let mut room = SimulatedRoom::quiet(1_000);
        let part = room.coalescing.part(1_000);
        assert_eq!(part, 125);
        for _ in 0..1_000_000 {
            room.coalescing.note(0, 50, room.queued);
        }
        assert_eq!(room.coalescing.part(200), 100, "which cost half a millisecond");
    }

    #[test]
    fn a_stopped_process_does_not_make_writes_dear_for_long() {
        let mut room = SimulatedRoom::quiet(20);
        room.coalescing.note(20, 10_000_000_000, room.queued);
        assert_eq!(room.coalescing.part(20), 20);
    }
}
