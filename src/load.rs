//! Load: the work that each client has caused lately. The loop serves clients that cause much work after the others
//! (`server/turn.rs`), so a flood of cheap requests delays its sender, and no other client.
//!
//! The unit of work is a byte of input or output, and each piece of input counts [`INPUT_WORK`] more. A source may cause
//! 64 kB of work at once, and a kilobyte each millisecond in the long run. Above that it is *loaded*: it is served later, and
//! nothing of it is refused or lost.

use std::collections::HashMap;
use std::time::Duration;

use crate::host::Host;
use crate::time::Moment;

/// The work of one piece of input besides its bytes. It is about the time to decode and answer it, if a byte of output
/// takes 6 ns.
pub const INPUT_WORK: usize = 256;

/// Less work than this in one turn is not recorded, since most turns are one short line.
const LEAST_WORK: usize = 1024;

/// Work that a source may cause in a millisecond, in the long run.
const WORK_A_MILLI: usize = 1024;

/// The burst of a source, in milliseconds of that rate.
const BURST_MILLIS: u64 = 64;

/// After this time without work no source is loaded, however much work it has caused.
const MEMORY: Duration = Duration::from_secs(1);

/// The source of work: an address, or a connection on this machine, where all clients have the same address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// All connections of an address.
    Address(Host),
    /// The connection in a slot.
    Connection(u32),
}

impl Source {
    /// The source that a connection of `host` in `slot` belongs to.
    pub fn of(host: Host, slot: u32) -> Source {
        if host.is_exempt() { Source::Connection(slot) } else { Source::Address(host) }
    }
}

/// The sources that have caused work lately.
#[derive(Debug, Default)]
pub struct Load {
    /// The moment at which all recorded work would be done at the allowed rate.
    worked_off: HashMap<Source, Moment>,
    swept_at: Moment,
}

impl Load {
    pub fn record(&mut self, source: Source, work: usize, now: Moment) {
        if work < LEAST_WORK {
            return;
        }
        if self.worked_off.is_empty() {
            self.swept_at = now;
        }
        let worked_off = self.worked_off.entry(source).or_insert(now);
        let span = Duration::from_millis((work / WORK_A_MILLI) as u64);
        *worked_off = ((*worked_off).max(now) + span).min(now + MEMORY);
    }

    /// Whether a source has caused more work than it may at once.
    pub fn is_loaded(&self, source: Source, now: Moment) -> bool {
        let burst = Duration::from_millis(BURST_MILLIS);
        self.worked_off.get(&source).is_some_and(|worked_off| *worked_off > now + burst)
    }

    /// The slots of the connections among the sources.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.worked_off.keys().filter_map(|source| match source {
            Source::Connection(slot) => Some(*slot),
            Source::Address(_) => None,
        })
    }

    pub fn len(&self) -> usize {
        self.worked_off.len()
    }

    /// Whether no source has recorded work, so that none is loaded.
    pub fn is_empty(&self) -> bool {
        self.worked_off.is_empty()
    }

    /// Removes the work of the connection in `slot`.
    pub fn remove(&mut self, slot: u32) {
        if !self.worked_off.is_empty() {
            self.worked_off.remove(&Source::Connection(slot));
        }
    }

    /// The time of the next sweep.
    pub fn next_timeout(&self) -> Option<Moment> {
        (!self.worked_off.is_empty()).then(|| self.swept_at + MEMORY)
    }

    /// Drops the sources whose work is done, if it is time to.
    pub fn sweep(&mut self, now: Moment) {
        if self.next_timeout().is_some_and(|due| due <= now) {
            self.worked_off.retain(|_, worked_off| *worked_off > now);
            self.worked_off.shrink_to(0);
            self.swept_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source::Connection(7);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn source_is_loaded_past_its_burst_until_its_work_is_done() {
        let mut load = Load::default();
        load.record(SOURCE, 64 * 1024, at(10));
        assert!(!load.is_loaded(SOURCE, at(10)));
        load.record(SOURCE, 2 * 1024, at(10));
        assert!(load.is_loaded(SOURCE, at(11)) && !load.is_loaded(SOURCE, at(12)));
        assert!(!load.is_loaded(Source::Connection(8), at(11)));
    }

    #[test]
    fn short_turns_are_not_recorded() {
        let mut load = Load::default();
        (0..1_000).for_each(|_| load.record(SOURCE, LEAST_WORK - 1, at(1)));
        assert!(load.is_empty());
        load.record(SOURCE, LEAST_WORK, at(1));
        assert!(!load.is_empty());
    }

    #[test]
    fn source_is_dropped_after_a_second_whatever_its_work() {
        let mut load = Load::default();
        load.record(SOURCE, 100 << 20, at(0));
        assert!(load.is_loaded(SOURCE, at(900)) && !load.is_loaded(SOURCE, at(1_000)));
        assert_eq!(load.next_timeout(), Some(at(1_000)));
        load.sweep(at(1_000));
        assert_eq!((load.is_empty(), load.next_timeout()), (true, None));
    }

    #[test]
    fn address_is_one_source_and_each_local_connection_is_one() {
        let host = Host::v4([10, 0, 0, 1]);
        assert_eq!(Source::of(host, 1), Source::of(host, 2));
        assert_ne!(Source::of(Host::LOCAL, 1), Source::of(Host::LOCAL, 2));
        let mut load = Load::default();
        load.record(Source::of(Host::LOCAL, 1), 1 << 20, at(0));
        load.remove(1);
        assert!(
            !load.is_loaded(Source::of(Host::LOCAL, 1), at(1)),
            "the next connection in the slot starts without load"
        );
    }
}
