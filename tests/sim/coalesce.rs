//! Dear flushes wait a little for what else is coming, and others don't.

use std::time::Duration;

use chinwag::net::Signal;

use crate::stage::Stage;
use crate::world::{Weather, Wire};

/// Listeners of the room in which `ann` and `bob` talk.
const LISTENERS: usize = 18;

/// Two talkers and some listeners, each write taking `write_micros`, who have read what they were told.
struct Room {
    stage: Stage,
    ann: Wire,
    bob: Wire,
    listeners: Vec<Wire>,
}

impl Room {
    fn new(flags: &str, write_micros: u16) -> Room {
        let mut stage = Stage::new(&format!("--rate off --line-max 64k --announce-max 0 {flags}"));
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        let listeners = (0..LISTENERS).map(|number| stage.join(&format!("l{number}"))).collect();
        stage.world().weather = Weather { write_micros, ..Weather::default() };
        let mut room = Room { stage, ann, bob, listeners };
        room.unread();
        room
    }

    /// What each listener has read since the last time; it must be the same for all.
    #[track_caller]
    fn unread(&mut self) -> Vec<String> {
        let heard: Vec<_> = self.listeners.iter().map(|wire| self.stage.unread(*wire)).collect();
        assert!(heard.iter().all(|lines| *lines == heard[0]), "{heard:?}");
        heard[0].clone()
    }

    /// So many ticks in which `ann` and `bob` speak, or `ann` alone.
    fn talk(&mut self, rounds: usize, both: bool) {
        for _ in 0..rounds {
            self.stage.say(self.ann, "so");
            if both {
                self.stage.say(self.bob, "so");
            }
            self.stage.run();
        }
        self.unread();
        self.stage.world().rests.clear();
    }

    /// `ann` speaks, and `bob` while the server rests, if it does. How long it rests.
    fn speak_one_after_the_other(&mut self) -> Vec<Duration> {
        self.stage.say(self.ann, "first");
        self.stage.world().sent_meanwhile = vec![(self.bob, b"second\n".to_vec())];
        self.stage.run();
        std::mem::take(&mut self.stage.world().rests)
    }
}

#[test]
fn lines_that_come_while_a_dear_flush_waits_go_out_with_it() {
    let mut room = Room::new("", 200);
    room.talk(8, true);
    let writes = room.stage.world().writes;
    let rests = room.speak_one_after_the_other();
    assert_eq!(rests.len(), 1);
    // An eighth of 19 outboxes at 200 µs, as far as the average has come.
    assert!((400..=475).contains(&rests[0].as_micros()), "{rests:?}");
    assert_eq!(room.unread(), ["ann: first", "bob: second"]);
    assert_eq!(room.stage.world().writes - writes, 20, "one write each, for the talkers too");
    room.stage.end();
}

#[test]
fn a_flush_waits_once() {
    let mut room = Room::new("", 200);
    room.talk(8, true);
    room.stage.say(room.ann, "first");
    room.stage.world().sent_meanwhile = vec![(room.bob, b"second\n".to_vec())];
    for _ in 0..2 {
        room.stage.tick();
        room.stage.read_eagerly();
    }
    assert_eq!(room.unread(), ["ann: first", "bob: second"], "the second tick has flushed");
    assert_eq!(room.stage.world().rests.len(), 1);
    room.stage.end();
}

#[test]
fn where_each_flush_carries_one_line_none_waits() {
    let mut room = Room::new("", 200);
    room.talk(50, false);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    assert_eq!(room.unread(), ["ann: first"]);
    room.stage.end();
}

#[test]
fn it_ends_when_lines_come_one_by_one_again() {
    let mut room = Room::new("", 200);
    room.talk(8, true);
    room.talk(8, false);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn a_cheap_flush_does_not_wait() {
    // An eighth of 20 writes: 50 µs are worth falling asleep for, 47 are not.
    for (write_micros, rests) in [(19, 0), (22, 1)] {
        let mut room = Room::new("", write_micros);
        room.talk(30, true);
        assert_eq!(room.speak_one_after_the_other().len(), rests, "{write_micros}");
        room.stage.end();
    }
}

#[test]
fn a_flush_of_much_does_not_wait() {
    for (length, rests) in [(16 * 1024 - 64, 1), (16 * 1024, 0)] {
        let mut room = Room::new("", 200);
        room.talk(8, true);
        room.stage.say(room.ann, &"x".repeat(length));
        room.stage.run();
        assert_eq!(room.stage.world().rests.len(), rests, "{length}");
        room.stage.end();
    }
}

#[test]
fn coalesce_is_the_longest_wait() {
    for (flags, wait) in [("--coalesce 2ms", 2_000), ("--coalesce 30ms", 2_500), ("", 2_500)] {
        let mut room = Room::new(flags, 1_000);
        room.talk(30, true);
        let rests = room.speak_one_after_the_other();
        assert!((wait - 150..=wait).contains(&rests[0].as_micros()), "{flags}: {rests:?}");
        room.stage.end();
    }
    let mut room = Room::new("--coalesce off", 1_000);
    room.talk(30, true);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn the_end_waits_for_nothing() {
    let mut room = Room::new("", 200);
    room.talk(8, true);
    room.stage.say(room.ann, "first");
    room.stage.tick();
    room.stage.world().signal(Signal::Terminate);
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "-- the server is shutting down"], "said before, heard before");
    assert_eq!(room.stage.world().rests.len(), 1, "the one that was due already");
}
