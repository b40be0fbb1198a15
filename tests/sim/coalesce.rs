//! Expensive flushes are made in parts and wait a little for more output; cheap ones are not and do not.

use std::time::Duration;

use chinwag::arena::LONG_BYTES;
use chinwag::net::Signal;

use crate::cluster::Cluster;
use crate::stage::Stage;
use crate::web::get;
use crate::world::{Weather, Wire};

/// Rounds of talk after which the moving averages are stable.
const LONG: usize = 300;

/// Listeners of the room in which `ann` and `bob` talk. A line goes to the other talker and to them: 19 outboxes.
const LISTENERS: usize = 18;

/// Cost of a write in µs at which a flush of 19 outboxes is expensive and still fits one part.
const ONE_PART_MICROS: u16 = 25;

/// Cost of a write in µs at which two writes cost almost the least that a part may.
const MANY_PARTS_MICROS: u16 = 200;

/// Two talkers and some listeners, who have read everything so far. Each write takes `write_micros`.
struct Room {
    stage: Stage,
    ann: Wire,
    bob: Wire,
    listeners: Vec<Wire>,
}

impl Room {
    fn new(flags: &str, write_micros: u16) -> Room {
        Room::with(&format!("--line-max 64k {flags}"), write_micros)
    }

    fn with(flags: &str, write_micros: u16) -> Room {
        let mut stage = Stage::new(&format!("--rate off --announce-max 0 {flags}"));
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        let listeners = (0..LISTENERS).map(|number| stage.join(&format!("l{number}"))).collect();
        stage.world().weather = Weather { write_micros, ..Weather::default() };
        let mut room = Room { stage, ann, bob, listeners };
        room.unread();
        room
    }

    /// Returns what each listener has read since the last call; it must be the same for all.
    #[track_caller]
    fn unread(&mut self) -> Vec<String> {
        let received: Vec<_> = self.listeners.iter().map(|wire| self.stage.unread(*wire)).collect();
        assert!(received.iter().all(|lines| *lines == received[0]), "{received:?}");
        received[0].clone()
    }

    /// Has `ann` and `bob`, or `ann` alone, send a line `times` times, and everybody read it.
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
        self.stage.world().sleeps.clear();
    }

    /// Has `ann` send a line. Returns the writes of each tick until all readers but `stalled` have it.
    fn parts(&mut self, stalled: usize) -> Vec<u64> {
        self.stage.say(self.ann, "first");
        let mut parts = Vec::new();
        while parts.iter().sum::<u64>() < (LISTENERS + 1 - stalled) as u64 {
            let writes = self.tick_writes();
            parts.push(writes);
        }
        parts
    }

    /// Runs a tick, and returns its writes.
    fn tick_writes(&mut self) -> u64 {
        let writes = self.stage.world().writes;
        self.stage.tick();
        self.stage.world().writes - writes
    }

    /// Has `ann` send a line, and `bob` another while the server sleeps, if it does. Returns how long it slept.
    fn speak_one_after_the_other(&mut self) -> Vec<Duration> {
        self.stage.say(self.ann, "first");
        self.stage.world().sent_while_asleep = vec![(self.bob, b"second\n".to_vec())];
        self.stage.run();
        std::mem::take(&mut self.stage.world().sleeps)
    }
}

#[test]
fn lines_that_come_while_an_expensive_flush_waits_go_out_with_it() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(LONG, true);
    let writes = room.stage.world().writes;
    let sleeps = room.speak_one_after_the_other();
    assert_eq!(sleeps.len(), 1);
    // Half of 19 outboxes at 25 µs, as far as the average has come.
    assert!((235..=237).contains(&sleeps[0].as_micros()), "{sleeps:?}");
    assert_eq!(room.unread(), ["ann: first", "bob: second"]);
    assert_eq!(room.stage.world().writes - writes, 20, "one write each, for the talkers too");
    room.stage.end();
}

#[test]
fn a_flush_waits_once() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(LONG, true);
    room.stage.say(room.ann, "first");
    room.stage.world().sent_while_asleep = vec![(room.bob, b"second\n".to_vec())];
    for _ in 0..2 {
        room.stage.tick();
        room.stage.read_eagerly();
    }
    assert_eq!(room.unread(), ["ann: first", "bob: second"], "the second tick has flushed");
    assert_eq!(room.stage.world().sleeps.len(), 1);
    room.stage.end();
}

#[test]
fn flushes_of_one_line_each_do_not_wait() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(50, false);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    assert_eq!(room.unread(), ["ann: first"]);
    room.stage.end();
}

#[test]
fn batching_delay_ends_when_lines_come_one_by_one_again() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(LONG, true);
    room.talk(60, false);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn a_cheap_flush_does_not_wait() {
    // Half of 19 writes: a sleep of 104 µs is worth it, one of 95 µs is not.
    for (write_micros, sleeps) in [(10, 0), (11, 1)] {
        let mut room = Room::new("", write_micros);
        room.talk(LONG, true);
        assert_eq!(room.speak_one_after_the_other().len(), sleeps, "{write_micros}");
        room.stage.end();
    }
}

#[test]
fn flushes_of_many_bytes_do_not_wait() {
    // A talker reads one line, the others two: 1.9 lines a write. From 16 KiB on, a write costs by the byte.
    let around = "ann: \n".len();
    for (length, sleeps) in [(8_600, 1), (8_700, 0)] {
        let mut room = Room::new("", ONE_PART_MICROS);
        room.talk_of(&"x".repeat(length - around), LONG, true);
        assert_eq!(room.speak_one_after_the_other().len(), sleeps, "{length}");
        room.stage.end();
    }
}

#[test]
fn coalesce_bounds_the_batching_delay() {
    for (flags, wait) in [("--coalesce 1ms", 1_000), ("--coalesce 2ms", 1_500), ("", 1_500)] {
        let mut room = Room::new(flags, 1_000);
        room.talk(LONG, true);
        let sleeps = room.speak_one_after_the_other();
        // Half of the first part, which is 3 outboxes at 1 ms.
        assert!((wait - 10..=wait).contains(&sleeps[0].as_micros()), "{flags}: {sleeps:?}");
        room.stage.end();
    }
    let mut room = Room::new("--coalesce off", 1_000);
    room.talk(LONG, true);
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn shutdown_does_not_wait_for_a_batch() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(LONG, true);
    room.stage.say(room.ann, "first");
    room.stage.tick();
    room.stage.world().signal(Signal::Terminate);
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "-- the server is shutting down"], "the line comes first");
    assert_eq!(room.stage.world().sleeps.len(), 1, "the one that was due already");
}

#[test]
fn answer_to_one_client_does_not_count_as_talk_in_the_room() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(50, false);
    room.stage.say(room.bob, "/history 50");
    room.stage.run();
    assert_eq!(room.speak_one_after_the_other().len(), 0);
    room.stage.end();
}

#[test]
fn server_does_not_sleep_while_input_is_left() {
    let mut room = Room::new("", ONE_PART_MICROS);
    room.talk(LONG, true);
    // More lines than one turn handles.
    let lines: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    room.stage.say(room.ann, &lines.join("\n"));
    let writes = room.stage.world().writes;
    room.stage.run();
    let received: Vec<String> = lines.iter().map(|line| format!("ann: {line}")).collect();
    assert_eq!(room.unread(), received);
    assert_eq!(room.stage.world().sleeps.len(), 0);
    assert_eq!(room.stage.world().writes - writes, 19, "but both turns go out together");
    room.stage.end();
}

#[test]
fn client_that_reads_again_in_time_is_not_dropped_because_of_the_batching_delay() {
    let mut room = Room::new("--stall-timeout 5s", 1_000);
    room.talk(LONG, true);
    let listener = room.listeners[0];
    room.stage.stall(listener);
    room.stage.say(room.ann, "so");
    room.stage.run();
    let stalled_at = room.stage.world().millis();
    room.stage.pass(Duration::from_millis(4_999));
    assert_eq!(room.stage.world().millis() - stalled_at, 4_999);
    room.stage.read_again(listener);
    room.stage.world().sleeps.clear();
    let sleeps = room.speak_one_after_the_other();
    assert!(sleeps[0] > Duration::from_millis(1), "{sleeps:?}");
    assert_eq!(room.unread(), ["ann: so", "ann: first", "bob: second"], "by all");
    room.stage.end();
}

#[test]
fn line_goes_to_redis_at_once_and_reaches_all_clients_when_it_has_come_back() {
    let mut cluster = Cluster::new(2, "--rate off --announce-max 0");
    let far = cluster.join(1, "far");
    let ann = cluster.join(0, "ann");
    for number in 0..LISTENERS {
        cluster.join(0, &format!("l{number}"));
    }
    cluster.stage(0).world().weather = Weather { write_micros: ONE_PART_MICROS, ..Weather::default() };
    for _ in 0..LONG {
        cluster.say(ann, "so\nso");
        cluster.run();
    }
    cluster.unread(far);
    cluster.say(ann, "first\nsecond");
    let writes = cluster.stage(0).world().writes;
    cluster.stage(0).tick();
    assert_eq!(cluster.stage(0).world().writes - writes, 1, "to Redis, and no flush waits");
    cluster.expect(far, &["ann: first", "ann: second"]);
    assert_eq!(cluster.stage(0).world().writes - writes, 1 + LISTENERS as u64, "both lines at once");
    cluster.end();
}

#[test]
fn expensive_flush_is_made_in_parts() {
    let mut room = Room::new("", MANY_PARTS_MICROS);
    room.talk(LONG, false);
    assert_eq!(room.parts(0), [3, 2, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(room.stage.world().sleeps.len(), 0, "one line a write");
    room.stage.end();
}

#[test]
fn clients_whose_socket_is_full_are_not_part_of_a_flush() {
    let mut room = Room::new("", MANY_PARTS_MICROS);
    room.talk(LONG, false);
    // The first nine in each round would make four parts.
    for listener in &room.listeners[..9] {
        room.stage.stall(*listener);
    }
    room.stage.say(room.ann, "so");
    room.stage.run();
    assert_eq!(room.parts(9), [2, 2, 2, 2, 2]);
    // Lines that clients do not read do not make a quiet room busy either.
    for _ in 0..LONG {
        room.stage.say(room.ann, "so");
        room.stage.run();
    }
    assert_eq!(room.stage.world().sleeps.len(), 0, "one line a write");
    for listener in &room.listeners[..9] {
        room.stage.read_again(*listener);
    }
    room.stage.run();
    let received = room.unread();
    assert_eq!(received.len(), 2 + LONG, "by all");
    room.stage.end();
}

#[test]
fn part_of_a_flush_takes_half_a_millisecond_at_least() {
    for (write_micros, parts) in [(26, vec![19]), (27, vec![18, 1])] {
        let mut room = Room::new("", write_micros);
        room.talk(LONG, false);
        assert_eq!(room.parts(0), parts, "{write_micros}");
        room.stage.end();
    }
}

#[test]
fn line_sent_during_a_round_goes_out_with_the_rest_of_it() {
    let mut room = Room::new("", MANY_PARTS_MICROS);
    room.talk(LONG, false);
    let writes = room.stage.world().writes;
    room.stage.say(room.ann, "first");
    room.stage.tick();
    assert_eq!(room.stage.world().writes - writes, 3);
    room.stage.say(room.bob, "second");
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "bob: second"]);
    // The first part went to `bob` and two listeners. Those two are written to again, and `ann` for the second line.
    assert_eq!(room.stage.world().writes - writes, 19 + 2 + 1);
    room.stage.end();
}

#[test]
fn endless_talk_reaches_everybody_within_a_round_and_leaves_nothing_behind() {
    let mut room = Room::new("--coalesce off", MANY_PARTS_MICROS);
    room.talk(LONG, false);
    let text = "x".repeat(8_000);
    let (mut received, mut longest) = ([0; LISTENERS], 0);
    for said in 1..500 {
        room.stage.say(room.ann, &text);
        room.stage.tick();
        room.stage.read_eagerly();
        for (received, wire) in received.iter_mut().zip(&room.listeners) {
            *received += room.stage.unread(*wire).len();
            assert!(said - *received <= 9, "{received} of {said}");
        }
        let slices: usize = room.stage.server.roster().iter().map(|(_, c)| c.outbox.list_bytes()).sum();
        assert_eq!(slices, 0, "no client holds more than one slice");
        let arena = room.stage.server.arena();
        longest = longest.max(arena.open_bytes());
        assert!(arena.memory_bytes() <= 512 * 1024, "{}", arena.memory_bytes());
    }
    // The line that makes the block that long is freed at the end of its tick.
    assert!(longest > LONG_BYTES - 2 * text.len(), "a round is ended early: {longest}");
    room.stage.run();
    assert_eq!(room.stage.server.arena().open_bytes(), 0);
    room.stage.end();
}

#[test]
fn shutdown_notice_is_not_sent_in_parts() {
    let mut room = Room::new("--grace 0s", MANY_PARTS_MICROS);
    room.talk(LONG, false);
    room.stage.say(room.ann, "first");
    room.stage.tick();
    room.stage.world().signal(Signal::Terminate);
    room.stage.run();
    assert_eq!(room.unread(), ["ann: first", "-- the server is shutting down"]);
}

#[test]
fn round_without_room_for_the_next_line_is_ended_at_once() {
    // A round takes 64 KiB, and a line counts twice before it is encoded.
    let flags = "--write-buffer 128k --line-max 24k --message-max 24k";
    let mut room = Room::with(flags, MANY_PARTS_MICROS);
    room.talk(LONG, false);
    let text = "x".repeat(20_000);
    let mut writes = Vec::new();
    for _ in 0..4 {
        room.stage.say(room.ann, &text);
        writes.push(room.tick_writes());
        assert!(room.stage.server.arena().open_bytes() < LONG_BYTES);
    }
    assert_eq!(writes, [3, 3, 16, 3], "the third line waits for the end of the round");
    room.stage.run();
    assert_eq!(room.unread().len(), 4);
    room.stage.end();
}

#[test]
fn round_with_long_answers_is_ended_when_the_open_block_is_long() {
    let mut room = Room::new("--coalesce off --history 40", MANY_PARTS_MICROS);
    room.talk(LONG, false);
    room.talk_of(&"x".repeat(4_000), 40, false);
    let mut longest = 0;
    for _ in 0..100 {
        room.stage.say(room.ann, "so");
        room.stage.say(room.bob, "/history 8");
        room.stage.tick();
        room.stage.read_eagerly();
        longest = longest.max(room.stage.server.arena().open_bytes());
    }
    // The answer that makes the block that long is freed at the end of its tick.
    assert!((LONG_BYTES / 2..LONG_BYTES).contains(&longest), "{longest}");
    room.stage.run();
    room.stage.end();
}

#[test]
fn answers_do_not_count_against_the_round() {
    let flags = "--coalesce off --write-buffer 64k --write-buffer-soft off --line-max 1k --message-max 1k --history 60";
    for is_http in [false, true] {
        // A round takes 32 KiB.
        let mut room = Room::with(flags, MANY_PARTS_MICROS);
        room.talk(LONG, false);
        room.talk_of(&"x".repeat(900), 60, false);
        let programs = [(); 2].map(|()| room.stage.connect_http());
        room.stage.run();
        let lines = ["a", "b"].map(|letter| letter.repeat(1_000));
        room.stage.say(room.ann, &lines[0]);
        for program in programs {
            match is_http {
                true => room.stage.send(program, get("/rooms/lobby/messages?limit=60").as_bytes()),
                false => room.stage.say(room.bob, "/history 60"),
            }
        }
        let first = room.tick_writes();
        let answer_bytes = room.stage.server.arena().open_bytes();
        assert!((28_000..LONG_BYTES).contains(&answer_bytes), "{is_http}: {answer_bytes}");
        room.stage.say(room.ann, &lines[1]);
        assert_eq!((first, room.tick_writes()), (3, 3), "{is_http}: the round goes on");
        room.stage.run();
        assert_eq!(room.unread(), lines.map(|line| format!("ann: {line}")));
        room.stage.end();
    }
}
