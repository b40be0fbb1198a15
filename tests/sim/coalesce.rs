//! Dear flushes are made in parts, and wait a little for what else is coming; others aren't, and don't.

use std::time::Duration;

use chinwag::arena::LONG_BYTES;
use chinwag::net::Signal;

use crate::cluster::Cluster;
use crate::stage::{Stage, WIDE};
use crate::world::{Weather, Wire};

/// Times they talk after which the averages have come to what it is like.
const LONG: usize = 300;

/// Listeners of the room in which `ann` and `bob` talk. What one of these says is for the others and them: 19 outboxes.
const LISTENERS: usize = 18;

/// What a write costs, in µs, where 19 of them are dear and yet one part.
const DEAR: u16 = 25;

/// Where two of them cost almost the least that a part may.
const DEARER: u16 = 200;

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

    /// So many times `ann` and `bob` speak, or `ann` alone, and everybody hears it.
    fn talk(&mut self, times: usize, both: bool) {
        self.talk_of("so", times, both);
    }

    fn talk_of(&mut self, text: &str, times: usize, both: bool) {
        for _ in 0..times {
            self.stage.say(self.ann, text);
            if both {
                self.stage.say(self.bob, text);
            }
            self.stage.run();
        }
        self.unread();
        self.stage.world().rests.clear();
    }

    /// `ann` speaks. How many writes the ticks make until all but those who take nothing have heard it.
    fn parts(&mut self, deaf: usize) -> Vec<u64> {
        self.stage.say(self.ann, "first");
        let mut parts = Vec::new();
        while parts.iter().sum::<u64>() < (LISTENERS + 1 - deaf) as u64 {
            let writes = self.stage.world().writes;
            self.stage.tick();
            parts.push(self.stage.world().writes - writes);
        }
        parts
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
    let mut room = Room::new("", DEAR);
    room.talk(LONG, true);
    let writes = room.stage.world().writes;
    let rests = room.speak_one_after_the_other();
    assert_eq!(rests.len(), 1);
    // Half of 19 outboxes at 25 µs, as far as the average has come.
    assert!((235..=237).contains(&rests[0].as_micros()), "{rests:?}");
    assert_eq!(room.unread(), ["ann: first", "bob: second"]);
    assert_eq!(room.stage.world().writes - writes, 20, "one write each, for the talkers too");
    room.stage.end();
}

#[test]
fn a_flush_waits_once() {
    let mut room = Room::new("", DEAR);
    room.talk(LONG, true);
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
    let mut room = Room::new("", DEAR);
    room.talk(50, false);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    assert_eq!(room.unread(), ["ann: first"]);
    room.stage.end();
}

#[test]
fn it_ends_when_lines_come_one_by_one_again() {
    let mut room = Room::new("", DEAR);
    room.talk(LONG, true);
    room.talk(60, false);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn a_cheap_flush_does_not_wait() {
    // Half of 19 writes: 104 µs are worth falling asleep for, 95 are not.
    for (write_micros, rests) in [(10, 0), (11, 1)] {
        let mut room = Room::new("", write_micros);
        room.talk(LONG, true);
        assert_eq!(room.speak_one_after_the_other().len(), rests, "{write_micros}");
        room.stage.end();
    }
}

#[test]
fn flushes_of_much_do_not_wait() {
    // A talker hears one line, the others two: 1.9 lines a write. 16 KiB cost by the byte.
    let around = "ann: \n".len();
    for (length, rests) in [(8_600, 1), (8_700, 0)] {
        let mut room = Room::new("", DEAR);
        room.talk_of(&"x".repeat(length - around), LONG, true);
        assert_eq!(room.speak_one_after_the_other().len(), rests, "{length}");
        room.stage.end();
    }
}

#[test]
fn coalesce_is_the_longest_wait() {
    for (flags, wait) in [("--coalesce 1ms", 1_000), ("--coalesce 2ms", 1_500), ("", 1_500)] {
        let mut room = Room::new(flags, 1_000);
        room.talk(LONG, true);
        let rests = room.speak_one_after_the_other();
        // Half of the first part, which is 3 outboxes at 1 ms.
        assert!((wait - 10..=wait).contains(&rests[0].as_micros()), "{flags}: {rests:?}");
        room.stage.end();
    }
    let mut room = Room::new("--coalesce off", 1_000);
    room.talk(LONG, true);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn the_end_waits_for_nothing() {
    let mut room = Room::new("", DEAR);
    room.talk(LONG, true);
    room.stage.say(room.ann, "first");
    room.stage.tick();
    room.stage.world().signal(Signal::Terminate);
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "-- the server is shutting down"], "said before, heard before");
    assert_eq!(room.stage.world().rests.len(), 1, "the one that was due already");
}

#[test]
fn what_one_client_is_told_alone_says_nothing_of_the_room() {
    let mut room = Room::new("", DEAR);
    room.talk(50, false);
    room.stage.say(room.bob, "/history 50");
    room.stage.run();
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn nobody_rests_while_there_is_something_to_hear() {
    let mut room = Room::new("", DEAR);
    room.talk(LONG, true);
    // More than one turn.
    let lines: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    room.stage.say(room.ann, &lines.join("\n"));
    let writes = room.stage.world().writes;
    room.stage.run();
    let heard: Vec<String> = lines.iter().map(|line| format!("ann: {line}")).collect();
    assert_eq!(room.unread(), heard);
    assert_eq!(room.stage.world().rests.len(), 0);
    assert_eq!(room.stage.world().writes - writes, 19, "but both turns go out together");
    room.stage.end();
}

#[test]
fn who_takes_something_again_in_time_is_not_dropped_for_the_wait() {
    let mut room = Room::new("--stall-timeout 5s", 1_000);
    room.talk(LONG, true);
    let listener = room.listeners[0];
    room.stage.set_eager(listener, false);
    room.stage.world().set_window(listener, 0);
    room.stage.say(room.ann, "so");
    room.stage.run();
    let stalled_at = room.stage.world().millis();
    room.stage.pass(Duration::from_millis(4_999));
    assert_eq!(room.stage.world().millis() - stalled_at, 4_999);
    room.stage.world().set_window(listener, WIDE);
    room.stage.set_eager(listener, true);
    room.stage.world().rests.clear();
    let rests = room.speak_one_after_the_other();
    assert!(rests[0] > Duration::from_millis(1), "{rests:?}");
    assert_eq!(room.unread(), ["ann: so", "ann: first", "bob: second"], "by all");
    room.stage.end();
}

#[test]
fn other_processes_are_told_when_the_first_of_our_own_clients_are() {
    let mut cluster = Cluster::new(2, "--rate off --announce-max 0");
    let far = cluster.join(1, "far");
    let ann = cluster.join(0, "ann");
    for number in 0..LISTENERS {
        cluster.join(0, &format!("l{number}"));
    }
    cluster.stage(0).world().weather = Weather { write_micros: DEAR, ..Weather::default() };
    for _ in 0..LONG {
        cluster.say(ann, "so\nso");
        cluster.run();
    }
    cluster.unread(far);
    cluster.say(ann, "first\nsecond");
    let writes = cluster.stage(0).world().writes;
    cluster.stage(0).tick();
    assert_eq!(cluster.stage(0).world().writes, writes, "the flush waits, and the link with it");
    cluster.stage(0).tick();
    assert_eq!(cluster.stage(0).world().writes - writes, LISTENERS as u64 + 1, "one of them to Redis");
    cluster.expect(far, &["ann: first", "ann: second"]);
    cluster.end();
}

#[test]
fn a_dear_flush_is_made_in_parts_and_who_has_waited_longest_comes_first() {
    let mut room = Room::new("", DEARER);
    room.talk(LONG, false);
    assert_eq!(room.parts(0), [3, 2, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(room.stage.world().rests.len(), 0, "one line a write");
    room.stage.end();
}

#[test]
fn who_takes_nothing_is_no_part_of_a_flush() {
    let mut room = Room::new("", DEARER);
    room.talk(LONG, false);
    // The first nine in each round, who would be four parts.
    for listener in &room.listeners[..9] {
        room.stage.set_eager(*listener, false);
        room.stage.world().set_window(*listener, 0);
    }
    room.stage.say(room.ann, "so");
    room.stage.run();
    assert_eq!(room.parts(9), [2, 2, 2, 2, 2]);
    // Nor do lines that nobody takes make a quiet room busy.
    for _ in 0..LONG {
        room.stage.say(room.ann, "so");
        room.stage.run();
    }
    assert_eq!(room.stage.world().rests.len(), 0, "one line a write");
    for listener in &room.listeners[..9] {
        room.stage.world().set_window(*listener, WIDE);
        room.stage.set_eager(*listener, true);
    }
    room.stage.run();
    let heard = room.unread();
    assert_eq!(heard.len(), 2 + LONG, "by all");
    room.stage.end();
}

#[test]
fn a_part_is_no_cheaper_than_half_a_millisecond() {
    for (write_micros, parts) in [(26, vec![19]), (27, vec![18, 1])] {
        let mut room = Room::new("", write_micros);
        room.talk(LONG, false);
        assert_eq!(room.parts(0), parts, "{write_micros}");
        room.stage.end();
    }
}

#[test]
fn what_is_said_during_a_round_goes_out_with_the_rest_of_it() {
    let mut room = Room::new("", DEARER);
    room.talk(LONG, false);
    let writes = room.stage.world().writes;
    room.stage.say(room.ann, "first");
    room.stage.tick();
    assert_eq!(room.stage.world().writes - writes, 3);
    room.stage.say(room.bob, "second");
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "bob: second"]);
    // The first three were `bob` and two listeners. Those two are written to again, and `ann` for the second.
    assert_eq!(room.stage.world().writes - writes, 19 + 2 + 1);
    room.stage.end();
}

#[test]
fn talk_without_an_end_reaches_everybody_within_a_round_and_leaves_nothing_behind() {
    let mut room = Room::new("--coalesce off", DEARER);
    room.talk(LONG, false);
    let text = "x".repeat(8_000);
    let (mut heard, mut longest) = ([0; LISTENERS], 0);
    for said in 1..500 {
        room.stage.say(room.ann, &text);
        room.stage.tick();
        room.stage.read_eagerly();
        for (heard, wire) in heard.iter_mut().zip(&room.listeners) {
            *heard += room.stage.unread(*wire).len();
            assert!(said - *heard <= 9, "{heard} of {said}");
        }
        let slices: usize = room.stage.server.roster().iter().map(|(_, c)| c.outbox.list_bytes()).sum();
        assert_eq!(slices, 0, "nobody holds more than one slice");
        let arena = room.stage.server.arena();
        longest = longest.max(arena.open_bytes());
        assert!(arena.memory_bytes() <= 512 * 1024, "{}", arena.memory_bytes());
    }
    // The line that makes it so long is gone when its tick is over.
    assert!(longest > LONG_BYTES - 2 * text.len(), "a round is ended early: {longest}");
    room.stage.run();
    assert_eq!(room.stage.server.arena().open_bytes(), 0);
    room.stage.end();
}

#[test]
fn the_last_words_are_not_said_in_parts() {
    let mut room = Room::new("--grace 0s", DEARER);
    room.talk(LONG, false);
    room.stage.say(room.ann, "first");
    room.stage.tick();
    room.stage.world().signal(Signal::Terminate);
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "-- the server is shutting down"]);
}
