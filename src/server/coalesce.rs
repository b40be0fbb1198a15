//! Coalescing: expensive flushes are done in parts, and a batching delay before a part lets more output join its writes.
//!
//! The cost of a write depends little on its length. A message to a thousand clients takes 4 to 5 ms of writes, and sixty
//! messages take about the same. New input should not wait for the whole flush, nor cause another one.
//!
//! With hundreds of clients a tick flushes an eighth of them, those that have waited longest first, and then polls again.
//! Clients whose socket is full are not part of a flush. New messages reach the other seven eighths by the writes that they
//! are due anyway, and all clients within one round.
//!
//! If the last writes carried several lines each, the loop also sleeps before a part, for half of the part's cost. A round then
//! takes half as long again and carries half as many lines more, so there are a third fewer writes. Databases delay commits
//! for the same reason, and network cards interrupts.
//!
//! There is no delay for cheap flushes, nor while writes carry one frame each, as in a quiet room, nor while there is input.

use std::time::Duration;

/// The number of parts of a large flush. (Measured in a room of 1,000: with 4 the p99 of the latency is a tenth higher, with
/// 16 it is no lower.)
const PARTS: usize = 8;

/// The least cost of a part. The poll between two parts takes about 4 µs, which is little against it.
const PART_LEAST: Duration = Duration::from_micros(500);

/// The delay before a part is its cost divided by this. (Measured at 400 lines a second in a room of 1,000: with 8 a delivery
/// takes 2.1 µs, with 2 it takes 1.7 µs. With 1 it takes 1.3 µs, but the p99 of the latency is half as high again.)
const COST_DIVISOR: u32 = 2;

/// Shorter delays are left out. The resolution of the kernel's timers is half of this (`PR_SET_TIMERSLACK`).
const DELAY_LEAST: Duration = Duration::from_micros(100);

/// The average number of frames in a write from which on there is a delay.
const FRAMES_LEAST: f64 = 1.5;

/// The average length of a write up to which there is a delay. The cost of longer writes depends on their length.
const MOST_BYTES: f64 = 16.0 * 1024.0;

/// The averages are over about so many writes, and at least over so many rounds. Each flush counts by its number of writes,
/// so a reply to one client changes little. One round of a large room changes little too: two lines may meet by chance.
const REMEMBERED_WRITES: usize = 1000;
const REMEMBERED_ROUNDS: usize = 2;

/// The most that counts as the cost of a write. If one took longer, the process was stopped meanwhile.
const WRITE_MOST: Duration = Duration::from_millis(1);

/// The size of the parts, and the delays before them.
#[derive(Debug)]
pub struct Coalescing {
    /// The longest delay, or `None` if there are no delays.
    longest: Option<Duration>,
    /// Averages over the last writes.
    write_nanos: f64,
    write_frames: f64,
    write_bytes: f64,
    /// The totals at the end of the last part.
    queued: QueuedTotals,
    delay: Delay,
}

/// Totals of all output that was ever queued.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueuedTotals {
    /// Frames, counted once for each outbox.
    pub frames: u64,
    /// Bytes, counted once for each outbox.
    pub bytes: u64,
    /// The number of flushes that were ever queued.
    pub writes: u64,
}

/// The state of the delay before the next part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Delay {
    /// There was none yet.
    None,
    /// The next poll sleeps for this time first.
    Due(Duration),
    /// It is over, and is not repeated for the same part.
    Over,
}

impl Coalescing {
    pub fn new(longest: Option<Duration>) -> Coalescing {
        Coalescing {
            longest,
            write_nanos: 0.0,
            write_frames: 1.0,
            write_bytes: 0.0,
            queued: QueuedTotals::default(),
            delay: Delay::None,
        }
    }

    /// The number of outboxes in the next part, out of all that are due.
    pub fn part(&self, outboxes: usize) -> usize {
        // Before the first write this divides by zero, so the part has all outboxes.
        let least = (PART_LEAST.as_nanos() as f64 / self.write_nanos) as usize;
        outboxes.min(outboxes.div_ceil(PARTS).max(least))
    }

    /// Whether there is a delay before a part of so many outboxes. If so, [`Coalescing::take_delay`] returns it.
    pub fn delays(&mut self, outboxes: usize) -> bool {
        if self.delay == Delay::Over || self.write_frames < FRAMES_LEAST || self.write_bytes > MOST_BYTES {
            return false;
        }
        let cost = Duration::from_nanos((outboxes as f64 * self.write_nanos) as u64);
        let delay = self.longest.map(|longest| longest.min(cost / COST_DIVISOR));
        let delay = delay.filter(|delay| *delay >= DELAY_LEAST);
        self.delay = delay.map_or(Delay::None, Delay::Due);
        delay.is_some()
    }

    /// Whether a flush is delayed, so that clients have not received the messages of this tick.
    pub fn is_waiting(&self) -> bool {
        matches!(self.delay, Delay::Due(_))
    }

    /// Takes the delay that is due, if there is one.
    pub fn take_delay(&mut self) -> Option<Duration> {
        let Delay::Due(delay) = self.delay else {
            return None;
        };
        self.delay = Delay::Over;
        Some(delay)
    }

    /// Records the duration of a flush of so many outboxes, and the totals at its end.
    pub fn record(&mut self, outboxes: usize, nanos: u64, queued: QueuedTotals) {
        self.delay = Delay::None;
        if outboxes == 0 {
            return;
        }
        let before = std::mem::replace(&mut self.queued, queued);
        let remembered = REMEMBERED_WRITES.max(REMEMBERED_ROUNDS * PARTS * outboxes) as f64;
        // A sum may come without new writes, if it belongs to writes that were counted before.
        let average = |average: &mut f64, sum: u64, writes: u64| {
            let writes = writes as f64;
            *average += (sum as f64 - writes * *average) / (writes + remembered);
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

    /// A room in which lines have come one by one for a while.
    struct SimulatedRoom {
        coalescing: Coalescing,
        members: usize,
        dirty: usize,
        queued: QueuedTotals,
    }

    impl SimulatedRoom {
        fn quiet(members: usize) -> SimulatedRoom {
            let coalescing = Coalescing::new(Some(Duration::from_secs(1)));
            let mut room = SimulatedRoom { coalescing, members, dirty: 0, queued: QueuedTotals::default() };
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

        /// Flushes a part. Returns whether there was a delay before it.
        fn flush(&mut self) -> bool {
            let part = self.coalescing.part(self.dirty);
            let delays = self.coalescing.delays(part);
            self.dirty -= part;
            self.coalescing.record(part, part as u64 * WRITE_NANOS, self.queued);
            delays
        }
    }

    #[test]
    fn lines_one_by_one_are_not_delayed_in_a_room_of_any_size() {
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
    fn two_lines_that_meet_by_chance_cause_no_delay_and_talk_does() {
        for members in [1_000, 10_000] {
            let mut room = SimulatedRoom::quiet(members);
            room.say();
            room.flush();
            room.say();
            while room.dirty > 0 {
                assert!(!room.flush(), "{members}, {} left", room.dirty);
            }
            let mut delays = 0;
            for _ in 0..30 {
                room.say();
                delays += usize::from(room.flush());
            }
            assert!(delays > 20, "{members}: {delays}");
        }
    }

    #[test]
    fn tick_without_a_flush_does_not_change_the_cost_of_a_write() {
        let mut room = SimulatedRoom::quiet(1_000);
        let part = room.coalescing.part(1_000);
        assert_eq!(part, 125);
        for _ in 0..1_000_000 {
            room.coalescing.record(0, 50, room.queued);
        }
        assert_eq!(room.coalescing.part(200), 100, "100 outboxes take half a millisecond");
    }

    #[test]
    fn stopped_process_does_not_make_writes_expensive_for_long() {
        let mut room = SimulatedRoom::quiet(20);
        room.coalescing.record(20, 10_000_000_000, room.queued);
        assert_eq!(room.coalescing.part(20), 20);
    }
}
