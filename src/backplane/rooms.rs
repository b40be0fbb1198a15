//! The state of each room at the link: its subscription, our own watermark, and the streams of the other processes.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::Duration;

use super::packet::{Ages, Offset};
use super::streams::{PeerStreams, Received, Subscription};
use crate::text::RoomName;
use crate::time::{Moment, Now};

/// The interval for checking rooms without subscribers. A subscription ends at the first check after this time without subscribers,
/// so frequent changes cause no commands.
const UNSUBSCRIBE_AFTER: Duration = Duration::from_secs(10);

/// A room's numbers are removed after this time. A process that was disconnected for longer can't detect its losses.
const REMOVE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The most rooms without subscribers.
const IDLE_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
struct RoomLink {
    /// Whether it has local subscribers.
    has_subscribers: bool,
    subscribed: bool,
    /// Set while it has local subscribers, and while it is still subscribed after that.
    subscription: Option<Subscription>,
    /// Time of the last local subscriber or message.
    idle_since: Moment,
    /// Whether it is in [`RoomLinks::idle_checks`].
    is_check_queued: bool,
    own: Offset,
    /// Times of the first and the last message of our epoch.
    own_from: Now,
    own_to: Now,
    streams: PeerStreams,
}

/// The state of all rooms.
#[derive(Debug)]
pub struct RoomLinks {
    /// The most streams per room.
    processes_max: usize,
    /// Boxed, since a table has up to twice the capacity it needs.
    rooms: HashMap<RoomName, Box<RoomLink>>,
    /// Epochs begun.
    epochs: u32,
    /// Rooms that may be without subscribers, and when to check them.
    idle_checks: VecDeque<(Moment, RoomName)>,
    subscriptions: usize,
    /// Rooms that are no longer subscribed, since the last [`RoomLinks::take_unsubscribed`].
    unsubscribed: Vec<RoomName>,
}

impl RoomLinks {
    pub fn new(processes_max: usize) -> RoomLinks {
        RoomLinks {
            processes_max,
            rooms: HashMap::new(),
            epochs: 0,
            idle_checks: VecDeque::new(),
            subscriptions: 0,
            unsubscribed: Vec::new(),
        }
    }

    /// Records whether a room has local subscribers. Returns whether to subscribe now. Without a connection (`open`) the next
    /// session subscribes.
    pub fn set_has_subscribers(
        &mut self,
        name: &RoomName,
        has_subscribers: bool,
        open: bool,
        now: Now,
    ) -> bool {
        let room = self.rooms.entry(name.clone()).or_default();
        room.has_subscribers = has_subscribers;
        if !has_subscribers {
            if !room.subscribed {
                room.end_subscription();
                self.unsubscribed.push(name.clone());
            }
            self.record_idle(name, now.moment);
            return false;
        }
        room.subscription.get_or_insert(Subscription { since: now, interrupted: !open });
        let new = open && !room.subscribed;
        room.subscribed |= new;
        self.subscriptions += usize::from(new);
        new
    }

    /// Assigns the offset of our next message.
    pub fn next_offset(&mut self, name: &RoomName, now: Now) -> Offset {
        let room = self.rooms.entry(name.clone()).or_default();
        if room.own.epoch == 0 {
            self.epochs += 1;
            (room.own.epoch, room.own_from) = (self.epochs, now);
        }
        room.own.n += 1;
        room.own_to = now;
        let (offset, has_subscribers) = (room.own, room.has_subscribers);
        if !has_subscribers {
            self.record_idle(name, now.moment);
        }
        offset
    }

    /// The offset of our last message.
    pub fn last_offset(&self, name: &RoomName) -> Offset {
        self.rooms.get(name).map(|room| room.own).unwrap_or_default()
    }

    /// The ages of our first and our last message; `None` without messages.
    pub fn ages(&self, name: &RoomName, now: Now) -> Option<Ages> {
        let room = self.rooms.get(name).filter(|room| room.own.n > 0)?;
        let millis = |at: Now| now.since(at).as_millis() as u64;
        Some(Ages { first_millis: millis(room.own_from), last_millis: millis(room.own_to) })
    }

    /// Records a message of another process.
    pub fn record_message(&mut self, name: &RoomName, process: u64, offset: Offset) -> Received {
        // A late message of a room that was removed.
        let Some(room) = self.rooms.get_mut(name) else {
            return Received::New { lost: 0 };
        };
        let received = room.streams.record_message(process, offset, room.subscription);
        room.streams.truncate(self.processes_max);
        received
    }

    /// Records a watermark of another process. Returns the number of lost messages; `None` if it is unknown.
    pub fn record_watermark(
        &mut self,
        name: &RoomName,
        process: u64,
        offset: Offset,
        ages: Option<Ages>,
        now: Now,
    ) -> Option<u64> {
        // A late watermark of a room that was removed.
        let Some(room) = self.rooms.get_mut(name) else {
            return Some(0);
        };
        let lost = room.streams.record_watermark(process, offset, ages, room.subscription, now);
        room.streams.truncate(self.processes_max);
        lost
    }

    /// Ends the session or the attempt.
    pub fn end_session(&mut self) {
        let first = self.unsubscribed.len();
        for (name, room) in self.rooms.iter_mut().filter(|(_, room)| room.subscribed) {
            room.subscribed = false;
            match room.subscription.as_mut().filter(|_| room.has_subscribers) {
                Some(subscription) => subscription.interrupted = true,
                None => {
                    room.end_subscription();
                    self.unsubscribed.push(name.clone());
                }
            }
        }
        self.unsubscribed[first..].sort_unstable();
        self.subscriptions = 0;
    }

    /// The rooms whose subscription has ended since the last call.
    pub fn take_unsubscribed(&mut self) -> Vec<RoomName> {
        mem::take(&mut self.unsubscribed)
    }

    /// Begins a session. Returns the rooms to subscribe to.
    pub fn begin_session(&mut self) -> Vec<RoomName> {
        let has_subscribers = self.rooms.iter_mut().filter(|(_, room)| room.has_subscribers);
        let mut names: Vec<RoomName> = has_subscribers
            .map(|(name, room)| {
                room.subscribed = true;
                name.clone()
            })
            .collect();
        self.subscriptions = names.len();
        names.sort_unstable();
        names
    }

    /// Unsubscribed rooms with messages of ours. We can't receive requests for their watermarks.
    pub fn unsubscribed_with_messages(&self) -> impl Iterator<Item = RoomName> {
        let spoken = self.rooms.iter().filter(|(_, room)| !room.subscribed && room.own.n > 0);
        spoken.map(|(name, _)| name.clone())
    }

    /// Number of subscribed rooms.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// The time to call [`RoomLinks::expire`].
    pub fn next_timeout(&self) -> Option<Moment> {
        self.idle_checks.front().map(|(due, _)| *due)
    }

    /// The next room to unsubscribe from, because it had no subscribers for some time.
    pub fn expire(&mut self, now: Moment) -> Option<RoomName> {
        loop {
            let surplus = self.idle_checks.len() > IDLE_MAX;
            self.idle_checks.front().filter(|(due, _)| surplus || *due <= now)?;
            let (_, name) = self.idle_checks.pop_front()?;
            let Some(room) = self.rooms.get_mut(&name) else {
                debug_assert!(false, "a room with a queued check is never removed");
                continue;
            };
            room.is_check_queued = false;
            if room.has_subscribers {
                continue;
            }
            let idle = now.since(room.idle_since);
            let unsubscribes = room.subscribed && (surplus || idle >= UNSUBSCRIBE_AFTER);
            if unsubscribes {
                room.subscribed = false;
                room.end_subscription();
                self.unsubscribed.push(name.clone());
                self.subscriptions -= 1;
            }
            if surplus || idle >= REMOVE_AFTER {
                self.rooms.remove(&name);
            } else {
                room.is_check_queued = true;
                self.idle_checks.push_back((now + UNSUBSCRIBE_AFTER, name.clone()));
            }
            if unsubscribes {
                return Some(name);
            }
        }
    }

    fn record_idle(&mut self, name: &RoomName, now: Moment) {
        let Some(room) = self.rooms.get_mut(name) else {
            debug_assert!(false, "the callers have added the room");
            return;
        };
        room.idle_since = now;
        if !room.is_check_queued {
            room.is_check_queued = true;
            self.idle_checks.push_back((now + UNSUBSCRIBE_AFTER, name.clone()));
        }
    }
}

impl RoomLink {
    /// Ends the subscription. The next subscriber has missed nothing of the messages until then.
    fn end_subscription(&mut self) {
        self.subscription = None;
        self.streams.interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSES: usize = 32;
    const NEW: Received = Received::New { lost: 0 };

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn now(seconds: u64) -> Now {
        Now { moment: at(seconds), unix_millis: seconds * 1000 }
    }

    fn room() -> RoomName {
        RoomName::parse("kitchen").unwrap()
    }

    fn offset(epoch: u32, n: u64) -> Offset {
        Offset { epoch, n }
    }

    /// A room with subscribers since that second.
    fn subscribed_since(second: u64) -> (RoomLinks, RoomName) {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        assert!(rooms.set_has_subscribers(&room, true, true, now(second)));
        (rooms, room)
    }

    fn ages(first_seconds: u64, last_seconds: u64) -> Option<Ages> {
        Some(Ages { first_millis: first_seconds * 1000, last_millis: last_seconds * 1000 })
    }

    #[test]
    fn messages_of_an_interruption_are_lost() {
        let (mut rooms, room) = subscribed_since(5);
        rooms.end_session();
        assert_eq!(rooms.begin_session(), std::slice::from_ref(&room));
        assert_eq!(rooms.record_watermark(&room, 1, offset(1, 3), ages(4, 2), now(9)), Some(3));
        assert_eq!(
            rooms.record_watermark(&room, 2, offset(1, 3), ages(7, 5), now(9)),
            Some(0),
            "sent before the room had subscribers"
        );
        assert_eq!(rooms.record_watermark(&room, 3, offset(1, 3), ages(5, 2), now(9)), None);
        assert_eq!(rooms.record_watermark(&room, 4, offset(1, 0), None, now(9)), Some(0));
    }

    #[test]
    fn messages_since_a_join_without_redis_are_lost() {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        rooms.set_has_subscribers(&room, true, false, now(5));
        rooms.begin_session();
        assert_eq!(rooms.record_watermark(&room, 1, offset(1, 3), ages(3, 2), now(8)), Some(3));
        assert_eq!(
            rooms.record_watermark(&room, 2, offset(1, 3), ages(7, 4), now(8)),
            Some(0),
            "sent before the join"
        );
    }

    #[test]
    fn messages_of_a_time_without_subscribers_are_not_lost() {
        let (mut rooms, room) = subscribed_since(0);
        for cut in [false, true] {
            rooms.record_message(&room, 1, offset(1, 1 + u64::from(cut) * 10));
            rooms.set_has_subscribers(&room, false, true, now(0));
            match cut {
                true => rooms.end_session(),
                false => assert_eq!(rooms.expire(at(10)), Some(room.clone())),
            }
            assert_eq!(rooms.take_unsubscribed(), std::slice::from_ref(&room));
            assert!(rooms.set_has_subscribers(&room, true, true, now(20)));
            assert_eq!(rooms.record_message(&room, 1, offset(1, 1)), Received::Duplicate);
            let from = 5 + u64::from(cut) * 10;
            let mark = |rooms: &mut RoomLinks, n| {
                rooms.record_watermark(&room, 1, offset(1, n), ages(9, 9), now(21))
            };
            assert_eq!(
                [mark(&mut rooms, from), mark(&mut rooms, from + 2)],
                [Some(0), Some(2)],
                "cut: {cut}"
            );
        }
    }

    #[test]
    fn late_message_after_a_subscription_does_not_count_as_subscribed() {
        let (mut rooms, room) = subscribed_since(0);
        rooms.set_has_subscribers(&room, false, true, now(0));
        assert_eq!(rooms.expire(at(10)), Some(room.clone()));
        rooms.record_message(&room, 1, offset(1, 2));
        rooms.set_has_subscribers(&room, true, true, now(20));
        assert_eq!(rooms.record_message(&room, 1, offset(1, 99)), NEW);
    }

    #[test]
    fn number_of_streams_is_bounded() {
        let (mut rooms, room) = subscribed_since(0);
        (0..=PROCESSES as u64)
            .for_each(|process| assert_eq!(rooms.record_message(&room, process, offset(1, 5)), NEW));
        assert_eq!(rooms.record_message(&room, 1, offset(1, 5)), Received::Duplicate);
        assert_eq!(rooms.record_message(&room, 0, offset(1, 5)), NEW);
    }

    #[test]
    fn frequent_changes_are_one_subscription() {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        assert!(rooms.set_has_subscribers(&room, true, true, now(0)));
        for second in 0..30 {
            rooms.set_has_subscribers(&room, false, true, now(second));
            assert!(!rooms.set_has_subscribers(&room, true, true, now(second)));
            assert_eq!(rooms.expire(at(second)), None);
        }
        assert_eq!((rooms.subscriptions(), rooms.idle_checks.len()), (1, 1));
        rooms.set_has_subscribers(&room, false, true, now(30));
        assert_eq!(rooms.expire(at(39)), None);
        let ended = (40..=50).find_map(|second| rooms.expire(at(second)));
        assert_eq!((ended, rooms.subscriptions()), (Some(room), 0));
        (51..=REMOVE_AFTER.as_secs() + 50).for_each(|second| assert_eq!(rooms.expire(at(second)), None));
        assert_eq!((rooms.rooms.len(), rooms.next_timeout()), (0, None));
    }

    #[test]
    fn numbers_continue_until_the_room_is_removed() {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        assert_eq!(rooms.next_offset(&room, now(0)), offset(1, 1));
        assert_eq!(rooms.next_offset(&room, now(15)), offset(1, 2));
        assert!(rooms.unsubscribed_with_messages().eq([room.clone()]));
        assert_eq!(rooms.subscriptions(), 0, "a room without subscribers needs no subscription");
        assert_eq!(rooms.ages(&room, now(20)), ages(20, 5));
        let hour = REMOVE_AFTER.as_secs();
        (0..=hour).for_each(|second| assert_eq!(rooms.expire(at(second)), None));
        assert_eq!(rooms.next_offset(&room, now(hour)), offset(1, 3));
        (hour..=2 * hour + 10).for_each(|second| assert_eq!(rooms.expire(at(second)), None));
        let anew = rooms.next_offset(&room, now(2 * hour + 10));
        assert_eq!(anew, offset(2, 1), "a new epoch after the removal");
    }

    #[test]
    fn rooms_without_subscribers_are_bounded() {
        let mut rooms = RoomLinks::new(PROCESSES);
        for index in 0..IDLE_MAX + 10 {
            rooms.next_offset(&RoomName::parse(&format!("room-{index}")).unwrap(), now(0));
            rooms.expire(at(0));
        }
        assert_eq!(rooms.rooms.len(), IDLE_MAX);
    }
}
