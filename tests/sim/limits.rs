//! Every limit on a client or the server is tested on both sides of its bound. `tests/pure` has the limits of the chat
//! alone (rooms, history, lists), `src/config.rs` those of the flags.

use std::time::Duration;

use chinwag::net::Signal;

use crate::stage::{Stage, WIDE};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// Two clients who have read their greetings.
fn pair(flags: &str) -> (Stage, Wire, Wire) {
    let mut stage = Stage::new(flags);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    (stage, ann, bob)
}

/// A pair of which `bob` reads nothing from now on.
fn pair_with_a_stalled_reader(flags: &str) -> (Stage, Wire, Wire) {
    let (mut stage, ann, bob) = pair(&format!("--rate off {flags}"));
    stage.stall(bob);
    (stage, ann, bob)
}

#[test]
fn line_max_bounds_a_line_without_its_end() {
    let (mut stage, ann, bob) = pair("--rate off --line-max 128");
    let (longest, over) = ("x".repeat(128), "x".repeat(129));
    stage.say(ann, &longest);
    stage.say(ann, &format!("{longest}\r"));
    stage.expect(bob, &[&format!("ann: {longest}"), &format!("ann: {longest}")]);
    stage.say(ann, &over);
    stage.say(ann, "and on");
    stage.expect(ann, &["-- that line was not sent: it is over 128 bytes"]);
    stage.expect(bob, &["ann: and on"]);
    stage.end();
}

#[test]
fn the_rest_of_an_over_long_line_is_discarded_up_to_a_mebibyte() {
    for (rest, closed) in [(1024 * 1024, false), (1024 * 1024 + 1, true)] {
        let (mut stage, ann, bob) = pair("--rate off --line-max 128");
        stage.send(ann, &vec![b'x'; 128 + rest]);
        stage.send(ann, b"\nstill here\n");
        stage.run();
        let received = stage.unread(bob);
        assert_eq!(received, [if closed { "-- ann left" } else { "ann: still here" }]);
        stage.end();
    }
}

#[test]
fn client_over_write_buffer_is_dropped() {
    let (mut stage, ann, bob) = pair_with_a_stalled_reader("--write-buffer 8k --write-buffer-soft off");
    // Each line is 512 bytes with `ann: ` and its end; sixteen are the whole buffer.
    let line = "x".repeat(512 - 6);
    (0..16).for_each(|_| stage.say(ann, &line));
    stage.run_past_holds();
    stage.expect(ann, &[]);
    assert_eq!(stage.queued_bytes(bob), 8 * 1024);
    stage.say(ann, "");
    stage.say(ann, "x");
    stage.expect(ann, &["-- bob left (too slow)"]);
    stage.end();
}

#[test]
fn busy_tick_does_not_drop_a_client_that_reads() {
    let (mut stage, ann, bob) = pair("--rate off --write-buffer 8k --write-buffer-soft off");
    let line = "x".repeat(506);
    (0..64).for_each(|_| stage.say(ann, &line));
    stage.run();
    assert_eq!(stage.unread(bob).len(), 64, "32 KiB in one tick, for a buffer of 8 KiB");
    stage.end();
}

#[test]
fn client_over_write_buffer_soft_for_too_long_is_dropped() {
    for (lines, dropped) in [(4, false), (5, true)] {
        let flags = "--write-buffer 64k --write-buffer-soft 2k:5s --stall-timeout off";
        let (mut stage, ann, _bob) = pair_with_a_stalled_reader(flags);
        (0..lines).for_each(|_| stage.say(ann, &"x".repeat(506)));
        stage.pass(4 * SECOND);
        stage.expect(ann, &[]);
        stage.pass(2 * SECOND);
        let expected: &[&str] = if dropped { &["-- bob left (too slow)"] } else { &[] };
        stage.expect(ann, expected);
        stage.end();
    }
}

#[test]
fn reader_that_catches_up_in_time_is_not_dropped() {
    let flags = "--write-buffer 64k --write-buffer-soft 2k:5s --stall-timeout off";
    let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
    for _ in 0..5 {
        (0..8).for_each(|_| stage.say(ann, &"x".repeat(506)));
        stage.pass(4 * SECOND);
        stage.world().set_window(bob, WIDE);
        stage.receive(bob, usize::MAX);
        stage.run();
        stage.world().set_window(bob, 0);
        stage.receive(bob, usize::MAX);
    }
    stage.pass(60 * SECOND);
    stage.expect(ann, &[]);
    assert_eq!(stage.unread(bob).len(), 40);
    stage.end();
}

#[test]
fn client_without_a_name_has_a_write_buffer_of_4_kib() {
    let mut stage = Stage::new("--rate off");
    let mute = stage.connect_from(None, 0);
    stage.run();
    let greeting = stage.queued_bytes(mute);
    let answer = "-- nobody is in #lobby\n".len();
    let fit = (4 * 1024 - greeting) / answer;
    (0..fit).for_each(|_| stage.say(mute, "/who"));
    stage.run();
    assert_eq!(stage.queued_bytes(mute), greeting + fit * answer);
    assert_eq!(stage.server.metrics().dropped_full, 0);
    stage.say(mute, "/who");
    stage.run();
    assert_eq!(stage.server.metrics().dropped_full, 1);
    stage.end();
}

#[test]
fn stalled_client_is_dropped_after_stall_timeout() {
    for (wait, dropped) in [(2_990, false), (3_010, true)] {
        let (mut stage, ann, bob) = pair_with_a_stalled_reader("--stall-timeout 3s");
        stage.say(ann, "hello?");
        stage.pass(2 * SECOND);
        // A single byte is progress, and restarts the timeout.
        stage.world().set_window(bob, 1);
        stage.run();
        stage.world().set_window(bob, 0);
        stage.pass(Duration::from_millis(wait));
        let expected: &[&str] = if dropped { &["-- bob left (too slow)"] } else { &[] };
        stage.expect(ann, expected);
        stage.end();
    }
}

#[test]
fn stalled_client_is_kept_with_stall_timeout_off() {
    let (mut stage, ann, _bob) = pair_with_a_stalled_reader("--stall-timeout off");
    stage.say(ann, "hello?");
    stage.pass(3_600 * SECOND);
    stage.expect(ann, &[]);
    stage.end();
}

#[test]
fn client_that_holds_most_is_dropped_over_memory() {
    // Each of the slow clients is alone in its room with the talker, so no output is shared.
    let flags = "--rate off --memory 1m --write-buffer 256k --write-buffer-soft off --stall-timeout off";
    let mut stage = Stage::new(flags);
    let talker = stage.join("talker");
    let slow: Vec<Wire> = (0..8).map(|n| stage.join(&format!("slow{n}"))).collect();
    for (number, wire) in slow.iter().enumerate() {
        stage.say(*wire, &format!("/join r{number}"));
        stage.run();
        stage.stall(*wire);
    }
    let line = "x".repeat(4_000);
    let fill = |stage: &mut Stage, room: usize, lines: usize| {
        stage.say(talker, &format!("/join r{room}"));
        (0..lines).for_each(|_| stage.say(talker, &line));
        stage.run_past_holds();
    };
    (0..4).for_each(|room| fill(&mut stage, room, 50));
    assert_eq!(stage.server.metrics().dropped(), 0, "800 KiB of 1 MiB");
    // The client that holds most is dropped first.
    fill(&mut stage, 4, 64);
    fill(&mut stage, 5, 50);
    assert_eq!(stage.server.metrics().dropped_memory, 1);
    let gone = |stage: &mut Stage, wire| stage.queued_bytes(wire) < 1_000;
    assert!(gone(&mut stage, slow[4]) && !gone(&mut stage, slow[0]));
    (6..8).for_each(|room| fill(&mut stage, room, 50));
    assert!(stage.server.metrics().dropped_memory >= 2);
    assert!(stage.server.arena().memory_bytes() <= 1024 * 1024 + 64 * 1024);
    stage.end();
}

#[test]
fn client_that_holds_much_is_dropped_and_not_those_that_share_its_blocks() {
    let flags = "--rate off --memory 512k --write-buffer 512k --write-buffer-soft off --stall-timeout off";
    let mut stage = Stage::new(flags);
    let (talker, hog) = (stage.join("talker"), stage.join("hog"));
    let others: Vec<Wire> = (0..20).map(|n| stage.join(&format!("slow{n}"))).collect();
    stage.say(hog, "/join hogs");
    stage.run();
    for wire in others.iter().chain([&hog]) {
        stage.stall(*wire);
    }
    // Their output lies side by side in the arena: much for the hog, little for each of the others.
    for _ in 0..40 {
        for (room, bytes) in [("hogs", 4_000), ("hogs", 4_000), ("hogs", 4_000), ("lobby", 400)] {
            stage.say(talker, &format!("/join {room}"));
            stage.say(talker, &"x".repeat(bytes));
        }
        stage.run_past_holds();
    }
    assert_eq!(stage.server.metrics().dropped_memory, 1);
    assert!(stage.queued_bytes(hog) < 1_000);
    stage.end();
}

#[test]
fn lists_of_queued_output_count_against_memory() {
    let flags = "--rate off --memory 1m --write-buffer-soft off --stall-timeout off --announce-max 0";
    // A block of the arena is full after 600 long lines. All one-letter lines fill none, but their lists would have 3.6 MB.
    for line in ["x".repeat(100), "x".to_owned()] {
        let mut stage = Stage::new(&format!("{flags} --history 0"));
        let talkers = ["a", "b"].map(|room| {
            let talker = stage.join(&format!("talker-{room}"));
            stage.say(talker, &format!("/join {room}"));
            for number in 0..100 {
                let slow = stage.join(&format!("slow-{room}{number}"));
                stage.say(slow, &format!("/join {room}"));
                stage.run();
                stage.stall(slow);
            }
            talker
        });
        // Lines for two rooms in turn are not adjacent, so each of them is an entry in the lists of a hundred clients.
        for _ in 0..1_500 {
            talkers.iter().for_each(|talker| stage.say(*talker, &line));
            stage.run();
            let clients = stage.server.roster().iter();
            let lists: usize = clients.map(|(_, client)| client.outbox.list_bytes()).sum();
            let all = stage.server.arena().memory_bytes() + lists;
            // Clients share the lines, so dropping one frees less than it costs, and a pass may have to follow.
            assert!(all < 5 << 19, "{all} bytes, {lists} of them in lists");
        }
        assert!(stage.server.metrics().dropped_memory > 0);
        stage.end();
    }
}

#[test]
fn leftover_does_not_pin_a_block_for_long() {
    let flags = "--rate off --write-buffer 1m --write-buffer-soft off --stall-timeout off --announce-max 0";
    let mut stage = Stage::new(flags);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.set_eager(bob, false);
    // Each of forty stalled clients is sent one private word. Then a block is filled for bob, who reads all of it.
    for number in 0..40 {
        let slow = stage.join(&format!("slow{number}"));
        stage.say(slow, "/join elsewhere");
        stage.run();
        stage.stall(slow);
        stage.world().set_window(bob, 0);
        stage.say(ann, &format!("/msg slow{number} psst"));
        (0..20).for_each(|_| stage.say(ann, &"x".repeat(4_000)));
        stage.run();
        stage.world().set_window(bob, WIDE);
        stage.receive(bob, usize::MAX);
        stage.run();
    }
    let memory = stage.server.arena().memory_bytes();
    assert!(memory < 20 * 64 * 1024, "{memory} bytes for forty words");
    stage.end();
}

#[test]
fn output_queued_for_many_is_in_memory_once() {
    let flags = "--rate off --write-buffer 256k --write-buffer-soft off --stall-timeout off --announce-max 0";
    let mut stage = Stage::new(flags);
    let ann = stage.join("ann");
    for number in 0..100 {
        let slow = stage.join(&format!("slow{number}"));
        stage.stall(slow);
    }
    for _ in 0..50 {
        stage.say(ann, &"x".repeat(4_000));
        stage.run_past_holds();
    }
    assert_eq!(stage.server.metrics().dropped(), 0);
    assert!(stage.server.arena().held_bytes() > 100 * 200_000);
    let memory = stage.peak_memory;
    assert!(memory < 512 * 1024, "{memory} bytes for 200 KB that a hundred wait for");
    stage.end();
}

#[test]
fn lines_over_rate_and_burst_are_delayed() {
    let (mut stage, ann, bob) = pair("--rate 5/s --burst 3");
    stage.pass(SECOND);
    (0..8).for_each(|number| stage.say(ann, &format!("{number}")));
    stage.expect(bob, &["ann: 0", "ann: 1", "ann: 2"]);
    stage.expect(ann, &["-- you send fast: your lines are slowed down, none is lost"]);
    stage.pass(Duration::from_millis(199));
    stage.expect(bob, &[]);
    stage.pass(Duration::from_millis(1));
    stage.expect(bob, &["ann: 3"]);
    stage.pass(SECOND);
    stage.expect(bob, &["ann: 4", "ann: 5", "ann: 6", "ann: 7"]);
    stage.expect(ann, &[]);
    // After a second it may send its burst again, and is told again when it sends more.
    stage.pass(SECOND);
    (0..4).for_each(|number| stage.say(ann, &format!("{number}")));
    stage.expect(bob, &["ann: 0", "ann: 1", "ann: 2"]);
    stage.expect(ann, &["-- you send fast: your lines are slowed down, none is lost"]);
    stage.end();
}

#[test]
fn newcomer_in_the_slot_of_a_throttled_client_is_not_throttled() {
    let (mut stage, ann, bob) = pair("--rate 1/m --burst 3");
    let slot = stage.world().token(ann).unwrap().slot;
    stage.world().reset(bob);
    (0..3).for_each(|number| stage.say(ann, &format!("{number}")));
    stage.expect(ann, &["-- you send fast: your lines are slowed down, none is lost", "-- bob left"]);
    stage.world().reset(ann);
    // A throttled client is not read, so the reset is noticed when something is sent to her.
    stage.join("dan");
    let cy = stage.connect();
    stage.run();
    assert_eq!(stage.world().token(cy).unwrap().slot, slot, "the slot is used again");
    ["cy", "one", "two"].into_iter().for_each(|line| stage.say(cy, line));
    assert!(!stage.text(cy).contains("slowed down"), "{}", stage.text(cy));
    // Once all buckets are full, no deadline wakes the server.
    stage.pass(6 * 60 * SECOND);
    let polls = stage.world().polls;
    stage.pass(3_600 * SECOND);
    assert!(stage.world().polls - polls <= 2, "woken for nothing");
    stage.end();
}

#[test]
fn paste_takes_longer_and_loses_nothing() {
    let (mut stage, ann, bob) = pair("");
    stage.pass(2 * SECOND);
    (0..1_000).for_each(|number| stage.say(ann, &format!("{number} {}", "x".repeat(90))));
    stage.pass(199 * SECOND);
    let lines = stage.unread(bob);
    assert_eq!(lines.len(), 1_000);
    assert!(lines.iter().enumerate().all(|(number, line)| line.starts_with(&format!("ann: {number} "))));
    stage.end();
}

#[test]
fn client_that_lags_is_not_read_until_it_has_caught_up() {
    let flags = "--write-buffer 64k --write-buffer-soft 1k:60s --stall-timeout off";
    let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
    (0..100).for_each(|_| stage.say(bob, "/help"));
    stage.say(bob, "done");
    stage.run();
    assert!(stage.queued_bytes(bob) < 2 * 1024, "answers pile up");
    stage.expect(ann, &[]);
    stage.read_again(bob);
    stage.expect(ann, &["bob: done"]);
    stage.end();
}

#[test]
fn clients_over_max_clients_wait_and_those_over_max_waiting_are_refused() {
    let mut stage = Stage::new("--max-clients 2 --max-waiting 3");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let waiting: Vec<Wire> = (0..3).map(|_| stage.connect()).collect();
    let refused = stage.connect();
    stage.expect(waiting[0], &["-- the server is full. you are next, please wait"]);
    stage.expect(waiting[1], &["-- the server is full. you are number 2 in the queue, please wait"]);
    stage.expect(waiting[2], &["-- the server is full. you are number 3 in the queue, please wait"]);
    stage.expect(refused, &["-- the server is full. try again later"]);
    assert!(stage.world().is_over(refused));
    stage.world().end(refused);
    // Lines sent while waiting are handled when the client's turn comes.
    stage.send(waiting[0], b"cy\nhi\n");
    stage.run();
    assert_eq!(stage.server.waiting(), 3);
    stage.say(ann, "/quit");
    stage.expect(bob, &["-- ann left", "-- cy joined", "cy: hi"]);
    stage.expect(waiting[1], &["-- the server is full. you are next, please wait"]);
    stage.expect(waiting[2], &[]);
    assert_eq!(stage.server.waiting(), 2);
    stage.end();
}

#[test]
fn waiting_client_has_four_kilobytes_read_ahead_and_loses_no_line() {
    for bytes in [4_095, 4_096, 4_097, 20_000] {
        let mut stage = Stage::new("--max-clients 2 --rate off");
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        let pipe = stage.connect();
        let lines = "a line\n".repeat((bytes - 10) / 7);
        let said = format!("cy\n{lines}{}\n", "x".repeat(bytes - 4 - lines.len()));
        assert_eq!(said.len(), bytes);
        stage.send(pipe, said.as_bytes());
        stage.world().end(pipe);
        stage.run();
        let slot = stage.world().token(pipe).unwrap().slot;
        assert_eq!(stage.server.inboxes().unused_bytes(slot), bytes.min(4_096));
        let names = "ann\nbob\n".len();
        assert_eq!(stage.server.metrics().bytes_in as usize, names + bytes.min(4_096), "all that was read");
        stage.say(ann, "/quit");
        stage.run();
        let received = stage.unread(bob).iter().filter(|line| line.starts_with("cy: ")).count();
        assert_eq!(received, said.lines().skip(1).filter(|line| !line.is_empty()).count(), "{bytes} bytes");
        stage.end();
    }
}

#[test]
fn position_in_a_long_queue_is_sent_again_when_it_has_halved() {
    let mut stage = Stage::new("--max-clients 1 --rate off");
    let ann = stage.join("ann");
    let queue: Vec<Wire> = (0..100).map(|_| stage.connect()).collect();
    stage.run();
    queue[..99].iter().for_each(|wire| stage.world().end(*wire));
    stage.run();
    let last = stage.text(queue[99]);
    let numbers: Vec<&str> =
        last.lines().map(|line| line.trim_start_matches("-- the server is full. ")).collect();
    assert_eq!(numbers, ["you are number 100 in the queue, please wait", "you are next, please wait"]);
    stage.say(ann, "/quit");
    stage.run();
    stage.expect_contains(queue[99], "-- welcome to chinwag");
    stage.end();
}

#[test]
fn client_that_leaves_the_queue_frees_its_number_and_one_that_half_closes_is_served() {
    let mut stage = Stage::new("--max-clients 1 --rate off");
    let ann = stage.join("ann");
    let (gone, reset, pipe) = (stage.connect(), stage.connect(), stage.connect());
    stage.run();
    stage.send(pipe, b"pipe\n/who\n");
    for wire in [gone, pipe] {
        stage.world().end(wire);
    }
    stage.world().reset(reset);
    stage.run();
    assert_eq!(stage.server.waiting(), 1);
    stage.say(ann, "/quit");
    stage.run();
    stage.expect_contains(pipe, "-- in #lobby: pipe\n");
    stage.end();
}

#[test]
fn more_connections_than_slots_wait_in_the_kernel() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 0 --rate off");
    stage.join("ann");
    // Each is refused, and closed only after it was told; the kernel keeps the rest meanwhile.
    let crowd: Vec<Wire> = (0..500).map(|_| stage.connect()).collect();
    stage.run();
    assert!(stage.server.roster().len() <= 65);
    for _ in 0..20 {
        stage.pass(SECOND);
    }
    assert!(crowd.iter().all(|wire| stage.text(*wire) == "-- the server is full. try again later\n"));
    stage.end();
}

#[test]
fn connections_over_max_per_ip_are_refused() {
    let mut stage = Stage::new("--max-per-ip 2 --rate off");
    let from = |stage: &mut Stage, address: &str| stage.connect_from(Some(address), WIDE);
    let welcome = "-- welcome to chinwag. what's your name?";
    let (first, second) = (from(&mut stage, "10.0.0.1"), from(&mut stage, "10.0.0.1"));
    let third = from(&mut stage, "10.0.0.1");
    let mapped = from(&mut stage, "::ffff:10.0.0.1");
    let other = from(&mut stage, "10.0.0.2");
    for wire in [first, second, other] {
        stage.expect(wire, &[welcome]);
    }
    for wire in [third, mapped] {
        stage.expect(wire, &["-- too many connections from your address. close one of them first"]);
        stage.world().end(wire);
    }
    for address in ["127.0.0.1", "::1"] {
        for _ in 0..10 {
            let local = from(&mut stage, address);
            stage.expect(local, &[welcome]);
        }
    }
    // Refused connections do not count, however many there are.
    for _ in 0..5 {
        from(&mut stage, "10.0.0.1");
    }
    stage.run();
    stage.world().end(first);
    stage.run();
    let again = from(&mut stage, "10.0.0.1");
    stage.expect(again, &[welcome]);
    stage.end();
}

#[test]
fn client_without_a_name_is_closed_after_name_timeout() {
    let mut stage = Stage::new("--name-timeout 5s");
    let (mute, quick) = (stage.connect(), stage.connect());
    stage.pass(Duration::from_millis(4_900));
    stage.say(quick, "quick");
    stage.pass(Duration::from_millis(200));
    stage.expect_contains(mute, "-- you gave no name in time");
    stage.pass(60 * SECOND);
    stage.say(quick, "/who");
    stage.run();
    stage.expect_contains(quick, "-- in #lobby: quick\n");
    stage.end();
}

#[test]
fn client_that_trickles_bytes_is_closed_after_name_timeout() {
    let mut stage = Stage::new("--name-timeout 5s");
    let mute = stage.connect();
    for _ in 0..6 {
        stage.send(mute, b"x");
        stage.pass(SECOND);
    }
    stage.expect_contains(mute, "-- you gave no name in time");
    stage.end();
}

#[test]
fn throttled_client_is_not_idle() {
    let (mut stage, ann, bob) = pair("--idle-timeout 10s --rate 1/s --burst 1");
    (0..30).for_each(|number| stage.say(ann, &format!("{number}")));
    stage.say(bob, "/help");
    stage.pass(9 * SECOND);
    stage.say(bob, "/help");
    stage.pass(9 * SECOND);
    stage.say(bob, "/help");
    stage.pass(9 * SECOND);
    assert!(stage.text(bob).contains("ann: 25"));
    assert!(!stage.text(ann).contains("idle"));
    stage.end();
}

#[test]
fn idle_client_is_closed_after_idle_timeout() {
    let (mut stage, ann, bob) = pair("--idle-timeout 10s");
    stage.pass(9 * SECOND);
    stage.say(ann, "awake");
    stage.pass(2 * SECOND);
    stage.expect(bob, &["ann: awake", "-- you were idle for too long. connect again to go on"]);
    stage.expect(ann, &["-- bob left (idle)"]);
    stage.pass(9 * SECOND);
    stage.expect(ann, &["-- you were idle for too long. connect again to go on"]);
    stage.end();
}

#[test]
fn quiet_server_sleeps() {
    let mut stage = Stage::new("");
    for number in 0..100 {
        stage.join(&format!("c{number}"));
    }
    stage.pass(15 * SECOND);
    let polls = stage.world().polls;
    stage.pass(3_600 * SECOND);
    assert!(stage.world().polls - polls <= 2, "woken for nothing");
    assert_eq!(stage.server.roster().armed_timers(), 0);
    stage.end();
}

#[test]
fn slow_clients_may_be_skipped_and_are_told_what_they_missed() {
    let flags = "--slow-client skip --write-buffer 8k --write-buffer-soft 4k:1s --stall-timeout 1s";
    let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
    let line = "x".repeat(506);
    (0..20).for_each(|_| stage.say(ann, &line));
    stage.pass(30 * SECOND);
    stage.expect(ann, &[]);
    stage.read_again(bob);
    stage.run();
    let lines = stage.unread(bob);
    assert_eq!(lines.len(), 17);
    assert_eq!(lines[16], "-- you missed 4 messages: you read too slowly");
    stage.say(ann, "and on");
    stage.expect(bob, &["ann: and on"]);
    assert_eq!(stage.server.metrics().missed, 4);
    stage.end();
}

#[test]
fn skipped_client_is_told_so_before_the_shutdown() {
    let flags = "--slow-client skip --write-buffer 8k --write-buffer-soft off --grace 60s";
    let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
    (0..20).for_each(|_| stage.say(ann, &"x".repeat(506)));
    stage.run_past_holds();
    stage.world().signal(Signal::Terminate);
    stage.run();
    stage.read_again(bob);
    stage.run();
    let lines = stage.unread(bob);
    let last = ["-- you missed 4 messages: you read too slowly", "-- the server is shutting down"];
    assert_eq!(lines[16..], last);
}

#[test]
fn answers_to_its_own_commands_are_not_skipped() {
    let flags = "--slow-client skip --write-buffer 8k --write-buffer-soft off --stall-timeout 1s";
    let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
    // Messages exceed the buffer, and yet less is queued than stops reading from the client.
    stage.world().set_window(bob, 6 * 1024);
    let line = "x".repeat(506);
    (0..30).for_each(|_| stage.say(ann, &line));
    stage.run_past_holds();
    stage.receive(bob, 6 * 1024);
    stage.run();
    stage.say(bob, "/who");
    stage.run();
    stage.read_again(bob);
    stage.run();
    stage.expect_contains(bob, "-- in #lobby: ann, bob\n");
    let missed = stage.unread(bob).iter().filter(|line| line.starts_with("-- you missed")).count();
    assert_eq!(missed, 1);
    stage.end();
}

#[test]
fn joins_and_leaves_over_announce_max_are_summed_up() {
    let mut stage = Stage::new("--announce-max 3 --rate off");
    let (ann, bob, cy) = (stage.join("ann"), stage.join("bob"), stage.join("cy"));
    let dan = stage.join("dan");
    stage.expect(ann, &["-- bob joined", "-- cy joined"]);
    for wire in [dan, cy] {
        stage.say(wire, "/quit");
        stage.run();
    }
    stage.expect(ann, &["-- cy left"]);
    stage.pass(11 * SECOND);
    stage.expect(ann, &["-- 1 joined, 1 left, 2 here"]);
    stage.expect(bob, &["-- cy joined", "-- cy left", "-- 1 joined, 1 left, 2 here"]);
    stage.end();
}

#[test]
fn history_is_sent_as_far_as_it_fits_into_half_the_write_buffer() {
    let (mut stage, ann, bob) = pair("--rate off --write-buffer 8k --write-buffer-soft off");
    (0..20).for_each(|number| stage.say(ann, &format!("{number:0500}")));
    stage.run();
    stage.unread(bob);
    stage.say(bob, "/history 100");
    stage.run();
    let lines = stage.unread(bob);
    assert_eq!(lines.len(), 7);
    assert!(lines[6].ends_with("019") && stage.server.metrics().dropped() == 0);
    stage.end();
}

#[test]
fn guests_join_at_once() {
    let mut stage = Stage::new("--guests");
    let ann = stage.connect();
    stage.say(ann, "hello?");
    let bob = stage.connect();
    stage.expect(ann, &["-- hello guest-1. you are alone in #lobby. /help lists the commands"]);
    stage.expect(bob, &[]);
    stage.pass(SECOND);
    stage.expect(ann, &["-- guest-2 joined"]);
    let hello = "-- hello guest-2. you are in #lobby with guest-1. /help lists the commands";
    stage.expect(bob, &[hello, "-- 0 s ago guest-1: hello?"]);
    stage.say(bob, "/nick bob");
    stage.say(bob, "hi");
    stage.expect(ann, &["-- guest-2 is now bob", "bob: hi"]);
    stage.end();
}

#[test]
fn closing_client_gives_up_its_memory_before_clients_that_hold_more() {
    let flags = "--rate off --memory 1m --write-buffer 1m --write-buffer-soft off --stall-timeout 30s";
    let mut stage = Stage::new(flags);
    let talker = stage.join("talker");
    let slow: Vec<Wire> = (0..4).map(|n| stage.join(&format!("slow{n}"))).collect();
    for (number, wire) in slow.iter().enumerate() {
        stage.say(*wire, &format!("/join r{number}"));
        stage.run();
        stage.stall(*wire);
    }
    for (room, lines) in [(0, 50), (1, 80), (2, 80), (3, 80)] {
        stage.say(talker, &format!("/join r{room}"));
        (0..lines).for_each(|_| stage.say(talker, &"x".repeat(4_000)));
        stage.run_past_holds();
        if room == 0 {
            stage.say(slow[0], "/quit");
            stage.run();
        }
    }
    let metrics = stage.server.metrics();
    assert_eq!((metrics.evicted, metrics.dropped_memory), (1, 0));
    assert!(stage.world().is_closed(slow[0]) && stage.queued_bytes(slow[1]) > 200_000);
    stage.end();
}

#[test]
fn reply_over_a_quarter_of_the_write_buffer_leaves_the_whole_buffer_to_messages() {
    // Each of the lines is 512 bytes with `ann: ` and its end, and longer in the history.
    let line = "x".repeat(506);
    for (entries, is_charged) in [(20, true), (46, false)] {
        let flags = "--write-buffer 64k --write-buffer-soft off --stall-timeout off --history 200";
        let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
        stage.read_again(bob);
        (0..entries).for_each(|_| stage.say(ann, &line));
        stage.run();
        stage.stall(bob);
        stage.say(bob, &format!("/history {entries}"));
        stage.run();
        let reply = stage.queued_bytes(bob);
        assert_eq!(reply > 16 * 1024, !is_charged, "{reply} bytes");
        // The reply and these are more than the write buffer.
        (0..120).for_each(|_| stage.say(ann, &line));
        stage.run_past_holds();
        assert_eq!(stage.server.metrics().dropped_full, u64::from(is_charged), "{entries} entries");
        (0..16).for_each(|_| stage.say(ann, &line));
        stage.run_past_holds();
        assert_eq!(stage.server.metrics().dropped_full, 1, "{entries} entries");
        stage.end();
    }
}

#[test]
fn line_client_is_told_one_number_of_all_that_it_has_missed() {
    let flags =
        "--slow-client skip --write-buffer 8k --write-buffer-soft off --stall-timeout off --announce-max 0";
    let (mut stage, ann, bob) = pair_with_a_stalled_reader(flags);
    let line = "x".repeat(506);
    (0..20).for_each(|_| stage.say(ann, &line));
    (0..3).for_each(|_| stage.say(ann, "/msg bob psst"));
    stage.run_past_holds();
    assert_eq!(stage.server.metrics().missed, 4 + 3);
    stage.read_again(bob);
    stage.run();
    let lines = stage.unread(bob);
    assert_eq!((lines.len(), &lines[16][..]), (17, "-- you missed 7 messages: you read too slowly"));
    stage.say(ann, "again");
    stage.expect(bob, &["ann: again"]);
    stage.end();
}

#[test]
fn fast_reader_is_written_to_within_a_tick_that_overfills_its_buffer() {
    for policy in ["drop", "skip"] {
        let flags = "--rate off --line-max 1k --write-buffer 4k --write-buffer-soft off";
        let mut stage = Stage::new(&format!("{flags} --slow-client {policy}"));
        let [ann, bob] = ["ann", "bob"].map(|name| stage.join(name));
        let text = "x".repeat(900);
        let lines: String = (0..20).map(|number| format!("{number} {text}\n")).collect();
        stage.unread(ann);
        stage.send(bob, lines.as_bytes());
        stage.run();
        let received = stage.unread(ann);
        let expected: Vec<String> = (0..20).map(|number| format!("bob: {number} {text}")).collect();
        assert_eq!(received, expected, "{policy}");
        stage.end();
    }
}

#[test]
fn least_memory_drops_clients_and_the_server_goes_on() {
    // A pass for memory frees at least 64 KiB, which is more than all of it.
    let flags = "--rate off --history 0 --memory 32k --write-buffer 32k --write-buffer-soft off --stall-timeout off \
        --line-max 1k --message-max 1k";
    let mut stage = Stage::new(flags);
    let talker = stage.join("talker");
    let slow: Vec<Wire> = (0..6).map(|n| stage.join(&format!("slow{n}"))).collect();
    for (number, wire) in slow.iter().enumerate() {
        stage.say(*wire, &format!("/join r{number}"));
        stage.run();
        stage.stall(*wire);
    }
    for room in 0..6 {
        stage.say(talker, &format!("/join r{room}"));
        (0..25).for_each(|_| stage.say(talker, &"x".repeat(1_000)));
        stage.run_past_holds();
    }
    assert!(stage.server.metrics().dropped_memory > 0);
    stage.run();
    stage.unread(talker);
    stage.say(talker, "/join r9");
    stage.run();
    stage.expect_contains(talker, "you are alone in #r9");
    stage.end();
}
