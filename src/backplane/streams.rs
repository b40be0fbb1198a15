//! The sequence numbers of the stream processes in a room: [`PeerStreams`]. They reveal lost and duplicate messages.

use std::time::Duration;

use super::packet::{Ages, Offset};
use crate::time::Now;

/// A room has local subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    pub since: Now,
    /// Whether the session was interrupted since then, so that messages may be missing.
    pub interrupted: bool,
}

/// The classification of a received message by its sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    New {
        /// Number of messages before it that are known to be lost.
        lost: u64,
    },
    Duplicate,
}

/// The streams of the stream processes in a room, in the order of their latest messages.
#[derive(Debug, Default)]
pub struct PeerStreams(Vec<PeerStream>);

#[derive(Clone, Copy, Debug)]
struct PeerStream {
    process: u64,
    /// The offset of the last received message.
    last: Offset,
    /// Whether this process was subscribed without interruption since then.
    subscribed: bool,
    /// Missing messages that were either lost or sent before this process subscribed. The next watermark decides.
    undecided: u64,
}

impl PeerStreams {
    /// Records a received message.
    pub fn record_message(
        &mut self,
        process: u64,
        offset: Offset,
        subscription: Option<Subscription>,
    ) -> Received {
        let stream = self.get(process);
        if offset <= stream.last {
            return Received::Duplicate;
        }
        let before = stream.missing(Offset { n: offset.n.saturating_sub(1), ..offset });
        let (lost, undecided) = stream.classify(before, subscription);
        self.store(PeerStream { last: offset, undecided, ..stream }, subscription);
        Received::New { lost }
    }

    /// Records a watermark: the offset of the process's last message, and the ages of its messages. Returns the number of lost
    /// messages; `None` if it is unknown.
    pub fn record_watermark(
        &mut self,
        process: u64,
        offset: Offset,
        ages: Option<Ages>,
        subscription: Option<Subscription>,
        now: Now,
    ) -> Option<u64> {
        let stream = self.get(process);
        let missing = if offset > stream.last { stream.missing(offset) } else { 0 };
        let (lost, undecided) = stream.classify(missing, subscription);
        self.store(PeerStream { last: offset.max(stream.last), undecided: 0, ..stream }, subscription);
        if undecided == 0 {
            return Some(lost);
        }
        let subscribed_for = now.since(subscription?.since);
        let precedes_subscription = |age_millis: u64| Duration::from_millis(age_millis) > subscribed_for;
        match ages? {
            ages if precedes_subscription(ages.last_millis) => Some(lost),
            ages if !precedes_subscription(ages.first_millis) => Some(lost.saturating_add(undecided)),
            // Some were sent before this process subscribed, and some after it.
            _ => None,
        }
    }

    /// Removes the streams with the oldest messages, so that at most `max` remain.
    pub fn truncate(&mut self, max: usize) {
        let surplus = self.0.len().saturating_sub(max);
        self.0.drain(..surplus);
    }

    /// Marks all streams as interrupted.
    pub fn interrupt(&mut self) {
        self.0.iter_mut().for_each(|stream| (stream.subscribed, stream.undecided) = (false, 0));
    }

    /// The stream of a process; an empty one for an unknown process.
    fn get(&self, process: u64) -> PeerStream {
        let unknown = PeerStream { process, last: Offset::default(), subscribed: false, undecided: 0 };
        self.0.iter().find(|stream| stream.process == process).copied().unwrap_or(unknown)
    }

    fn store(&mut self, new: PeerStream, subscription: Option<Subscription>) {
        self.0.retain(|stream| stream.process != new.process);
        // A late message after unsubscribing does not mean that the following ones will arrive.
        self.0.push(PeerStream { subscribed: subscription.is_some(), ..new });
    }
}

impl PeerStream {
    /// Number of messages after the last received one, up to `up_to`.
    fn missing(&self, up_to: Offset) -> u64 {
        match self.last.epoch == up_to.epoch {
            true => up_to.n.saturating_sub(self.last.n),
            false => up_to.n,
        }
    }

    /// Splits missing messages into those that are lost and those that are undecided.
    fn classify(&self, missing: u64, subscription: Option<Subscription>) -> (u64, u64) {
        match subscription {
            _ if self.subscribed => (missing, self.undecided),
            Some(Subscription { interrupted: true, .. }) => (0, self.undecided.saturating_add(missing)),
            // A new subscription has missed nothing.
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    const NEW: Received = Received::New { lost: 0 };
    const PROCESS: u64 = 1;

    fn at(seconds: u64) -> Now {
        Now { moment: Moment::from_millis(seconds * 1000), unix_millis: seconds * 1000 }
    }

    fn offset(epoch: u32, n: u64) -> Offset {
        Offset { epoch, n }
    }

    /// The room has subscribers since second 10.
    fn subscription(interrupted: bool) -> Option<Subscription> {
        Some(Subscription { since: at(10), interrupted })
    }

    /// At second 20 the process publishes its watermark. `said`: the seconds of its first and its last message.
    fn mark(others: &mut PeerStreams, interrupted: bool, offset: Offset, said: [u64; 2]) -> Option<u64> {
        let [first_millis, last_millis] = said.map(|second| (20 - second) * 1000);
        others.record_watermark(
            PROCESS,
            offset,
            Some(Ages { first_millis, last_millis }),
            subscription(interrupted),
            at(20),
        )
    }

    #[test]
    fn duplicates_and_losses_are_detected() {
        let mut others = PeerStreams::default();
        let mut record = |process, offset| others.record_message(process, offset, subscription(false));
        assert_eq!(record(1, offset(1, 7)), NEW, "messages from before the subscription are not lost");
        assert_eq!([record(1, offset(1, 7)), record(1, offset(1, 6))], [Received::Duplicate; 2]);
        assert_eq!(record(2, offset(1, 1)), NEW, "each process has its own numbers");
        assert_eq!(record(1, offset(1, 10)), Received::New { lost: 2 });
        let mut mark = |n| others.record_watermark(1, offset(1, n), None, subscription(false), at(20));
        assert_eq!([mark(10), mark(12), mark(11)], [Some(0), Some(2), Some(0)]);
        let mut record = |process, offset| others.record_message(process, offset, subscription(false));
        assert_eq!(record(1, offset(2, 1)), NEW, "a new epoch");
        assert_eq!(record(1, offset(1, 13)), Received::Duplicate);
        assert_eq!(record(1, offset(3, 3)), Received::New { lost: 2 });
    }

    #[test]
    fn messages_of_an_unknown_process_are_lost_if_they_are_newer_than_the_subscription() {
        for (said, lost) in [([1, 9], Some(0)), ([10, 19], Some(5)), ([9, 10], None), ([9, 20], None)] {
            assert_eq!(mark(&mut PeerStreams::default(), true, offset(1, 5), said), lost, "{said:?}");
            assert_eq!(
                mark(&mut PeerStreams::default(), false, offset(1, 5), said),
                Some(0),
                "nothing was interrupted"
            );
        }
        let others = &mut PeerStreams::default();
        assert_eq!(
            others.record_watermark(PROCESS, offset(1, 5), None, subscription(true), at(20)),
            None,
            "no ages"
        );
        assert_eq!(others.record_watermark(PROCESS, offset(1, 0), None, subscription(true), at(20)), Some(0));
    }

    #[test]
    fn watermark_decides_about_messages_before_the_first_received_one() {
        for (first, lost) in [(10, Some(4)), (9, None)] {
            let mut others = PeerStreams::default();
            assert_eq!(others.record_message(PROCESS, offset(1, 5), subscription(true)), NEW);
            assert_eq!(others.record_message(PROCESS, offset(1, 6), subscription(true)), NEW);
            assert_eq!(mark(&mut others, true, offset(1, 6), [first, 20]), lost);
            assert_eq!(mark(&mut others, true, offset(1, 6), [first, 20]), Some(0), "once");
            assert_eq!(mark(&mut others, true, offset(1, 8), [first, 20]), Some(2), "it is subscribed now");
        }
    }

    #[test]
    fn only_the_latest_streams_are_kept() {
        let mut others = PeerStreams::default();
        for process in 1..=64 {
            others.record_message(process, offset(1, 5), subscription(false));
            assert_eq!(
                others.record_message(0, offset(1, 5 + process), subscription(false)),
                NEW,
                "an active stream is kept"
            );
            others.truncate(32);
        }
        assert_eq!(others.record_message(0, offset(1, 5), subscription(false)), Received::Duplicate);
        assert_eq!(others.0.len(), 32);
    }
}
