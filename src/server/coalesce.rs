//! Coalescing: where a flush is dear, and the last ones carried several frames a write, the next waits a little for what
//! else is coming, so that it goes out with the same write.
//!
//! A write costs the kernel about the same whatever is in it, so with a thousand clients a flush takes 5 ms, be it of one
//! line or of sixty. Those who speak during a flush are heard after it, together; but those who speak just after it has
//! ended, since they have heard what they waited for, come one by one, and the first of them would have a flush of its own
//! and all others behind it. Such talkers fall into two groups that take turns, and each flush carries half of what it
//! could. A wait of an eighth of a flush lets them in together, and halves the writes; where lines come at random it saves
//! about an eighth of them. Databases do the same with commits, network cards with interrupts.
//!
//! Nobody waits for a flush that is cheap, nor where each carries one frame, as in a quiet room, nor while there is
//! something to hear already.

use std::time::Duration;

/// The share of a flush's cost that it may wait.
const SHARE: u32 = 8;

/// Less than this is not worth falling asleep for; the kernel's timers are not finer (`PR_SET_TIMERSLACK`: 50 µs).
const LEAST: Duration = Duration::from_micros(50);

/// So many frames in the average write show that lines share their way.
const FRAMES: f64 = 1.5;

/// A write of more bytes than that costs by the byte already.
const MOST_BYTES: u64 = 16 * 1024;

/// About so many writes are remembered in the averages. A flush counts by its writes: what one client is told alone says
/// nothing of a room.
const REMEMBERED: f64 = 1000.0;

/// Whether flushes wait, and for how long.
#[derive(Debug)]
pub struct Coalescing {
    /// The longest wait there may be; none at all if there is none.
    longest: Option<Duration>,
    /// What a write costs, and how many frames it carries: averages over the last writes.
    write_nanos: f64,
    write_frames: f64,
    /// What had been queued ever, when the last flush was over.
    queued: Tally,
    wait: Wait,
}

/// Frames and their bytes, each counted for each outbox it was queued in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// How many.
    pub frames: u64,
    /// How long, all together.
    pub bytes: u64,
}

/// Where the next flush stands.
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
            queued: Tally::default(),
            wait: Wait::NotYet,
        }
    }

    /// Whether the flush of so many outboxes is to wait: then [`Coalescing::take_wait`] tells for how long. `queued` is what
    /// has been queued ever.
    pub fn begin(&mut self, outboxes: usize, queued: Tally) -> bool {
        let long = queued.bytes - self.queued.bytes > MOST_BYTES * outboxes as u64;
        if self.wait == Wait::Over || self.write_frames < FRAMES || long {
            return false;
        }
        let cost = Duration::from_nanos((outboxes as f64 * self.write_nanos) as u64);
        let wait = self.longest.map(|longest| longest.min(cost / SHARE)).filter(|wait| *wait >= LEAST);
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
        let new = queued.frames - std::mem::replace(&mut self.queued, queued).frames;
        if outboxes == 0 {
            return;
        }
        let writes = outboxes as f64;
        let average = |old: &mut f64, sum: u64| *old += (sum as f64 - writes * *old) / (writes + REMEMBERED);
        average(&mut self.write_nanos, nanos);
        average(&mut self.write_frames, new);
    }
}
