//! What is known of each room at the link: whether we are subscribed to it, the number of our last message there, and how
//! far the others were heard.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::Duration;

use super::others::{Heard, Listening, Others};
use super::packet::{Ages, Offset};
use crate::text::RoomName;
use crate::time::{Moment, Now};

/// A room without anybody is looked at this often, and its subscription ends at the first look that finds it so for at
/// least as long: who comes and goes all the time costs nothing.
const LINGER: Duration = Duration::from_secs(10);

/// Then its numbers are forgotten too. Who was cut off for longer does not learn what it has missed there.
const FORGET: Duration = Duration::from_secs(60 * 60);

/// More rooms without anybody are not remembered.
const IDLE_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
struct RoomLink {
    /// Whether somebody of ours listens to it.
    wanted: bool,
    subscribed: bool,
    /// Set as long as somebody of ours listens, and while we are still subscribed after that.
    listening: Option<Listening>,
    /// Since when nobody of ours has listened or said anything.
    idle_since: Moment,
    /// Whether it is in the list of those that are looked at.
    watched: bool,
    own: Offset,
    /// When the first message of that numbering was said, and the last.
    own_from: Now,
    own_to: Now,
    others: Others,
}

/// All rooms that anything is known of.
#[derive(Debug)]
pub struct RoomLinks {
    /// Processes whose numbers are remembered for each: those that spoke last.
    processes_max: usize,
    /// Boxed, since a table is up to twice as large as what is in it.
    rooms: HashMap<RoomName, Box<RoomLink>>,
    /// Numberings begun.
    epochs: u32,
    /// RoomLinks that may be without anybody, and when to look at them.
    watched: VecDeque<(Moment, RoomName)>,
    subscriptions: usize,
    /// RoomLinks that are not listened to any more, until somebody asks.
    unheard: Vec<RoomName>,
}

impl RoomLinks {
    /// None so far, in each of which so many processes are remembered.
    pub fn new(processes_max: usize) -> RoomLinks {
        RoomLinks {
            processes_max,
            rooms: HashMap::new(),
            epochs: 0,
            watched: VecDeque::new(),
            subscriptions: 0,
            unheard: Vec::new(),
        }
    }

    /// Somebody of ours listens to a room now, or nobody does any more. Whether it must be subscribed to, if that can be
    /// done at the moment: else it will be when a session begins.
    pub fn set_subscribed(&mut self, name: &RoomName, wanted: bool, open: bool, now: Now) -> bool {
        let room = self.rooms.entry(name.clone()).or_default();
        room.wanted = wanted;
        if !wanted {
            if !room.subscribed {
                room.unfollow();
                self.unheard.push(name.clone());
            }
            self.record_idle(name, now.moment);
            return false;
        }
        room.listening.get_or_insert(Listening { since: now, cut: !open });
        let new = open && !room.subscribed;
        room.subscribed |= new;
        self.subscriptions += usize::from(new);
        new
    }

    /// The number of the next message of ours.
    pub fn next_place(&mut self, name: &RoomName, now: Now) -> Offset {
        let room = self.rooms.entry(name.clone()).or_default();
        if room.own.epoch == 0 {
            self.epochs += 1;
            (room.own.epoch, room.own_from) = (self.epochs, now);
        }
        room.own.n += 1;
        room.own_to = now;
        let (place, wanted) = (room.own, room.wanted);
        if !wanted {
            self.record_idle(name, now.moment);
        }
        place
    }

    /// The number of our last message.
    pub fn place(&self, name: &RoomName) -> Offset {
        self.rooms.get(name).map(|room| room.own).unwrap_or_default()
    }

    /// How long ago the first message of ours was said, and the last; `None` if there was none.
    pub fn ages(&self, name: &RoomName, now: Now) -> Option<Ages> {
        let room = self.rooms.get(name).filter(|room| room.own.n > 0)?;
        let millis = |at: Now| now.since(at).as_millis() as u64;
        Some(Ages { first_millis: millis(room.own_from), last_millis: millis(room.own_to) })
    }

    /// A message of another process has come.
    pub fn hear(&mut self, name: &RoomName, process: u64, place: Offset) -> Heard {
        let Some(room) = self.rooms.get_mut(name) else {
            return Heard::New { lost: 0 };
        };
        let heard = room.others.hear(process, place, room.listening);
        room.others.keep(self.processes_max);
        heard
    }

    /// Another process has told the number of its last message, and how old its messages are. How many were lost; `None` if
    /// some may be and nobody can know.
    pub fn hear_mark(
        &mut self,
        name: &RoomName,
        process: u64,
        place: Offset,
        ages: Option<Ages>,
        now: Now,
    ) -> Option<u64> {
        let Some(room) = self.rooms.get_mut(name) else {
            return Some(0);
        };
        let lost = room.others.hear_mark(process, place, ages, room.listening, now);
        room.others.keep(self.processes_max);
        lost
    }

    /// The session is over, or did not come about: then nobody was heard in it.
    pub fn cut(&mut self) {
        let first_unheard = self.unheard.len();
        for (name, room) in self.rooms.iter_mut().filter(|(_, room)| room.subscribed) {
            room.subscribed = false;
            match room.listening.as_mut().filter(|_| room.wanted) {
                Some(listening) => listening.cut = true,
                None => {
                    room.unfollow();
                    self.unheard.push(name.clone());
                }
            }
        }
        self.unheard[first_unheard..].sort_unstable();
        self.subscriptions = 0;
    }

    /// The rooms of which nothing has come since this was last asked, since nobody listens to them.
    pub fn take_unheard(&mut self) -> Vec<RoomName> {
        mem::take(&mut self.unheard)
    }

    /// A session begins: the rooms to subscribe to.
    pub fn resume(&mut self) -> Vec<RoomName> {
        let wanted = self.rooms.iter_mut().filter(|(_, room)| room.wanted);
        let mut names: Vec<RoomName> = wanted
            .map(|(name, room)| {
                room.subscribed = true;
                name.clone()
            })
            .collect();
        self.subscriptions = names.len();
        names.sort_unstable();
        names
    }

    /// RoomLinks where something was said here and nobody listens: others may ask for our numbers there, and we would not hear
    /// them ask.
    pub fn deaf(&self) -> impl Iterator<Item = RoomName> {
        let spoken = self.rooms.iter().filter(|(_, room)| !room.subscribed && room.own.n > 0);
        spoken.map(|(name, _)| name.clone())
    }

    /// RoomLinks that we are subscribed to.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// When [`RoomLinks::expire`] wants to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.watched.front().map(|(due, _)| *due)
    }

    /// The next room that nobody has listened to for some time, to unsubscribe from.
    pub fn expire(&mut self, now: Moment) -> Option<RoomName> {
        loop {
            let surplus = self.watched.len() > IDLE_MAX;
            self.watched.front().filter(|(due, _)| surplus || *due <= now)?;
            let (_, name) = self.watched.pop_front()?;
            let Some(room) = self.rooms.get_mut(&name) else {
                continue;
            };
            room.watched = false;
            if room.wanted {
                continue;
            }
            let idle = now.since(room.idle_since);
            let unsubscribes = room.subscribed && (surplus || idle >= LINGER);
            if unsubscribes {
                room.subscribed = false;
                room.unfollow();
                self.unheard.push(name.clone());
                self.subscriptions -= 1;
            }
            if surplus || idle >= FORGET {
                self.rooms.remove(&name);
            } else {
                room.watched = true;
                self.watched.push_back((now + LINGER, name.clone()));
            }
            if unsubscribes {
                return Some(name);
            }
        }
    }

    fn record_idle(&mut self, name: &RoomName, now: Moment) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        room.idle_since = now;
        if !room.watched {
            room.watched = true;
            self.watched.push_back((now + LINGER, name.clone()));
        }
    }
}

impl RoomLink {
    /// Nobody listens to it any more: whoever comes next has missed nothing of what is said until then.
    fn unfollow(&mut self) {
        self.listening = None;
        self.others.unfollow();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSES: usize = 32;
    const NEW: Heard = Heard::New { lost: 0 };

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn now(seconds: u64) -> Now {
        Now { moment: at(seconds), unix_millis: seconds * 1000 }
    }

    fn room() -> RoomName {
        RoomName::parse("kitchen").unwrap()
    }

    fn place(epoch: u32, n: u64) -> Offset {
        Offset { epoch, n }
    }

    /// A room that somebody of ours listens to since then.
    fn heard_since(second: u64) -> (RoomLinks, RoomName) {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        assert!(rooms.set_subscribed(&room, true, true, now(second)));
        (rooms, room)
    }

    fn ages(first_seconds: u64, last_seconds: u64) -> Option<Ages> {
        Some(Ages { first_millis: first_seconds * 1000, last_millis: last_seconds * 1000 })
    }

    #[test]
    fn who_was_away_has_missed_what_was_said_meanwhile() {
        let (mut rooms, room) = heard_since(5);
        rooms.cut();
        assert_eq!(rooms.resume(), std::slice::from_ref(&room));
        assert_eq!(rooms.hear_mark(&room, 1, place(1, 3), ages(4, 2), now(9)), Some(3));
        assert_eq!(
            rooms.hear_mark(&room, 2, place(1, 3), ages(7, 5), now(9)),
            Some(0),
            "it had not come yet"
        );
        assert_eq!(rooms.hear_mark(&room, 3, place(1, 3), ages(5, 2), now(9)), None);
        assert_eq!(rooms.hear_mark(&room, 4, place(1, 0), None, now(9)), Some(0));
    }

    #[test]
    fn who_came_while_redis_was_away_has_missed_what_was_said_since() {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        rooms.set_subscribed(&room, true, false, now(5));
        rooms.resume();
        assert_eq!(rooms.hear_mark(&room, 1, place(1, 3), ages(3, 2), now(8)), Some(3));
        assert_eq!(rooms.hear_mark(&room, 2, place(1, 3), ages(7, 4), now(8)), Some(0), "it was said before");
    }

    #[test]
    fn what_was_said_while_nobody_listened_is_not_missed() {
        let (mut rooms, room) = heard_since(0);
        for cut in [false, true] {
            rooms.hear(&room, 1, place(1, 1 + u64::from(cut) * 10));
            rooms.set_subscribed(&room, false, true, now(0));
            match cut {
                true => rooms.cut(),
                false => assert_eq!(rooms.expire(at(10)), Some(room.clone())),
            }
            assert_eq!(rooms.take_unheard(), std::slice::from_ref(&room));
            assert!(rooms.set_subscribed(&room, true, true, now(20)));
            assert_eq!(rooms.hear(&room, 1, place(1, 1)), Heard::Again);
            let from = 5 + u64::from(cut) * 10;
            let mark = |rooms: &mut RoomLinks, n| rooms.hear_mark(&room, 1, place(1, n), ages(9, 9), now(21));
            assert_eq!(
                [mark(&mut rooms, from), mark(&mut rooms, from + 2)],
                [Some(0), Some(2)],
                "cut: {cut}"
            );
        }
    }

    #[test]
    fn what_was_on_its_way_at_the_end_of_a_subscription_does_not_bring_more_to_miss() {
        let (mut rooms, room) = heard_since(0);
        rooms.set_subscribed(&room, false, true, now(0));
        assert_eq!(rooms.expire(at(10)), Some(room.clone()));
        rooms.hear(&room, 1, place(1, 2));
        rooms.set_subscribed(&room, true, true, now(20));
        assert_eq!(rooms.hear(&room, 1, place(1, 99)), NEW);
    }

    #[test]
    fn so_many_processes_are_remembered() {
        let (mut rooms, room) = heard_since(0);
        (0..=PROCESSES as u64).for_each(|process| assert_eq!(rooms.hear(&room, process, place(1, 5)), NEW));
        assert_eq!(rooms.hear(&room, 1, place(1, 5)), Heard::Again);
        assert_eq!(rooms.hear(&room, 0, place(1, 5)), NEW);
    }

    #[test]
    fn coming_and_going_is_one_subscription() {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        assert!(rooms.set_subscribed(&room, true, true, now(0)));
        for second in 0..30 {
            rooms.set_subscribed(&room, false, true, now(second));
            assert!(!rooms.set_subscribed(&room, true, true, now(second)));
            assert_eq!(rooms.expire(at(second)), None);
        }
        assert_eq!((rooms.subscriptions(), rooms.watched.len()), (1, 1));
        rooms.set_subscribed(&room, false, true, now(30));
        assert_eq!(rooms.expire(at(39)), None);
        let ended = (40..=50).find_map(|second| rooms.expire(at(second)));
        assert_eq!((ended, rooms.subscriptions()), (Some(room), 0));
        (51..=FORGET.as_secs() + 50).for_each(|second| assert_eq!(rooms.expire(at(second)), None));
        assert_eq!((rooms.rooms.len(), rooms.next_timeout()), (0, None));
    }

    #[test]
    fn numbers_go_on_while_the_room_is_remembered() {
        let (mut rooms, room) = (RoomLinks::new(PROCESSES), room());
        assert_eq!(rooms.next_place(&room, now(0)), place(1, 1));
        assert_eq!(rooms.next_place(&room, now(15)), place(1, 2));
        assert!(rooms.deaf().eq([room.clone()]));
        assert_eq!(rooms.subscriptions(), 0, "who only speaks needs no subscription");
        assert_eq!(rooms.ages(&room, now(20)), ages(20, 5));
        let hour = FORGET.as_secs();
        (0..=hour).for_each(|second| assert_eq!(rooms.expire(at(second)), None));
        assert_eq!(rooms.next_place(&room, now(hour)), place(1, 3));
        (hour..=2 * hour + 10).for_each(|second| assert_eq!(rooms.expire(at(second)), None));
        let anew = rooms.next_place(&room, now(2 * hour + 10));
        assert_eq!(anew, place(2, 1), "it was forgotten, and the others can tell");
    }

    #[test]
    fn rooms_without_anybody_are_bounded() {
        let mut rooms = RoomLinks::new(PROCESSES);
        for index in 0..IDLE_MAX + 10 {
            rooms.next_place(&RoomName::parse(&format!("room-{index}")).unwrap(), now(0));
            rooms.expire(at(0));
        }
        assert_eq!(rooms.rooms.len(), IDLE_MAX);
    }
}
