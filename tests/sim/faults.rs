//! Faults and abuse that the server must survive, by their numbers in `src/guide/faults.md`. Those that need a real
//! socket are in `tests/real`.

use std::time::Duration;

use chinwag::connection::Readiness;
use chinwag::net::{PollEvent, Signal, Token};

use crate::log_lines::{capture, end_capture, lines};
use crate::stage::{Stage, WIDE};
use crate::world::{Weather, Wire};

const SECOND: Duration = Duration::from_secs(1);

/// Numbered lines of a client.
fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
}

/// Returns the numbers of the lines from `name` that a client has read.
fn received(stage: &Stage, wire: Wire, name: &str) -> Vec<usize> {
    let text = stage.text(wire);
    let prefix = format!("{name}: line ");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
}

#[test]
fn fault_01_input_beyond_a_turn_is_read_without_another_event() {
    let mut stage = Stage::new("--rate off --write-buffer 16m");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    // Many turns' worth of bytes and of lines, in one event.
    stage.send(ann, &numbered(20_000));
    stage.run();
    assert_eq!(received(&stage, bob, "ann"), Vec::from_iter(0..20_000));
    stage.end();
}

#[test]
fn fault_02_flooding_client_delays_the_others_by_no_more_than_its_turn() {
    let mut stage = Stage::new("--rate off --write-buffer 16m");
    let (hose, ann, bob) = (stage.join("hose"), stage.join("ann"), stage.join("bob"));
    stage.send(hose, &numbered(50_000));
    for _ in 0..20 {
        stage.tick();
        stage.read_eagerly();
    }
    let before = received(&stage, bob, "hose").len();
    stage.say(ann, "line 7");
    while received(&stage, bob, "ann").is_empty() {
        stage.tick();
        stage.read_eagerly();
    }
    let meanwhile = received(&stage, bob, "hose").len() - before;
    assert!(meanwhile <= 2 * 64, "{meanwhile} lines of the hose went first");
    assert!(before < 50_000 - 1_000, "the hose was not running");
    stage.end();
}

#[test]
fn fault_02_endless_line_delays_the_others_by_no_more_than_its_turn() {
    let mut stage = Stage::new("--rate off");
    let (hose, ann, bob) = (stage.join("hose"), stage.join("ann"), stage.join("bob"));
    stage.send(hose, &[b'x'; 900 * 1024]);
    stage.tick();
    let reads = stage.world().reads;
    stage.say(ann, "line 7");
    stage.tick();
    stage.read_eagerly();
    assert_eq!(received(&stage, bob, "ann"), [7], "in the next tick");
    // Four reads of 8 KiB are a turn; one client's line takes two.
    assert!(stage.world().reads - reads <= 2 * 4 + 2);
    stage.end();
}

#[test]
fn fault_03_event_for_the_previous_owner_of_a_slot_does_nothing() {
    let mut stage = Stage::new("");
    let bob = stage.join("bob");
    let ann = stage.join("ann");
    let stale = stage.world().token(ann).unwrap();
    stage.world().reset(ann);
    stage.run();
    let cy = stage.join("cy");
    let fresh = stage.world().token(cy).unwrap();
    assert_eq!((stale.slot, stale.serial == fresh.serial), (fresh.slot, false), "the slot is used again");
    let latched =
        |stage: &Stage| stage.server.roster().get(fresh).unwrap().ready.contains(Readiness::READABLE);
    assert!(!latched(&stage));
    stage.world().injected.push(PollEvent::Connection { token: stale, readable: true, writable: true });
    let reads = stage.world().reads;
    stage.run();
    assert_eq!(stage.world().reads, reads, "cy was read for ann's event");
    stage.say(cy, "hi");
    stage.expect(bob, &["-- ann joined", "-- ann left", "-- cy joined", "cy: hi"]);
    stage.end();
}

#[test]
fn fault_03_later_events_of_a_batch_are_ignored_for_a_connection_that_the_batch_has_closed() {
    let mut stage = Stage::new("");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let token = stage.world().token(ann).unwrap();
    stage.world().reset(ann);
    let event = PollEvent::Connection { token, readable: true, writable: true };
    stage.world().injected.extend([event; 5]);
    let stranger = stage.connect();
    stage.say(stranger, "cy");
    stage.expect(bob, &["-- ann left", "-- cy joined"]);
    stage.end();
}

#[test]
fn fault_04_spurious_events_and_interrupted_calls_change_nothing() {
    let mut stage = Stage::new("");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.world().weather = Weather { interrupted: 500, spurious: 900, ..Weather::default() };
    for serial in 0..100 {
        let token = Token { slot: serial % 3, serial };
        stage.world().injected.push(PollEvent::Connection { token, readable: true, writable: true });
        stage.world().injected.push(PollEvent::Listener(serial as usize));
        stage.tick();
    }
    stage.say(ann, "hi");
    stage.expect(bob, &["ann: hi"]);
    stage.expect(ann, &["-- bob joined"]);
    stage.end();
}

#[test]
fn fault_05_server_without_descriptors_neither_spins_nor_hangs() {
    let mut stage = Stage::new("");
    stage.world().descriptors = 3;
    let first: Vec<Wire> = (0..3).map(|n| stage.join(&format!("c{n}"))).collect();
    let late = stage.connect();
    let polls = stage.world().polls;
    stage.pass(10 * SECOND);
    let polls = stage.world().polls - polls;
    assert!((50..400).contains(&polls), "{polls} polls in 10 s: it should try ten times a second");
    assert_eq!(stage.text(late), "");
    stage.say(first[0], "/quit");
    stage.world().end(first[0]);
    stage.expect(late, &["-- welcome to chinwag. what's your name?"]);
    stage.end();
}

#[test]
fn fault_05_warning_comes_once_a_try_however_many_listeners_have_connections() {
    let mut stage = Stage::new("");
    stage.world().descriptors = 0;
    capture();
    let waiting = [stage.connect(), stage.connect_http()];
    stage.pass(Duration::from_millis(950));
    assert_eq!(lines("accept failed").len(), 10);
    end_capture();
    stage.world().descriptors = 2;
    stage.pass(SECOND);
    assert!(waiting.into_iter().all(|wire| stage.world().token(wire).is_some()));
    stage.end();
}

#[test]
fn fault_05_accepting_resumes_by_itself_when_descriptors_are_free_again() {
    let mut stage = Stage::new("");
    for error in [24, 23, 105, 12] {
        stage.world().accept_errors.push_back(error);
    }
    let ann = stage.connect();
    stage.pass(SECOND);
    stage.expect(ann, &["-- welcome to chinwag. what's your name?"]);
    stage.end();
}

#[test]
fn fault_06_connection_that_fails_in_accept_delays_no_other() {
    let mut stage = Stage::new("");
    stage.world().accept_errors.extend([103, 71, 4, 113, 110]);
    let ann = stage.connect();
    // No time passes: the next connection is accepted in the same tick.
    stage.expect(ann, &["-- welcome to chinwag. what's your name?"]);
    stage.end();
}

#[test]
fn fault_07_connect_storm_does_not_delay_present_clients() {
    const CLIENTS: usize = 5_000;
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let storm: Vec<Wire> = (0..CLIENTS).map(|_| stage.connect()).collect();
    for (number, wire) in storm.iter().enumerate() {
        stage.say(*wire, &format!("c{number}"));
    }
    stage.tick();
    stage.say(ann, "still here?");
    let mut ticks = 0;
    while !stage.text(bob).contains("ann: still here?") {
        stage.tick();
        stage.read_eagerly();
        ticks += 1;
    }
    assert!(ticks <= 3, "an old client's message took {ticks} ticks");
    stage.run();
    for (number, wire) in storm.iter().enumerate() {
        stage.expect_contains(*wire, &format!("-- hello c{number}. "));
    }
    let frames = stage.server.metrics().deliveries;
    assert!(frames < 4 * CLIENTS as u64, "{frames} frames for {CLIENTS} clients");
    stage.pass(10 * SECOND);
    stage.expect_contains(bob, "joined, 0 left, 5002 here");
    stage.end();
}

#[test]
fn fault_07_connect_storm_is_accepted_in_portions() {
    let mut stage = Stage::new("");
    for _ in 0..1_000 {
        stage.connect();
    }
    stage.tick();
    assert_eq!(stage.server.roster().len(), 256);
    stage.run();
    assert_eq!(stage.server.roster().len(), 1_000);
    stage.end();
}

/// Runs a conversation with all kinds of commands. Returns what each client read.
fn conversation(weather: Weather) -> Vec<String> {
    let mut stage = Stage::with_weather("--rate off", 1, weather);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let script = [
        (ann, "hi bob"),
        (bob, "/me waves — mit Umlaut: ä, 你好, 🦀"),
        (ann, "/msg bob psst"),
        (bob, "/join dev"),
        (ann, "/join dev"),
        (bob, "/who"),
        (ann, "/nope"),
        (ann, "/nick anna"),
        (bob, "/history"),
        (ann, "/quit off to bed"),
    ];
    for (who, line) in script {
        stage.say(who, line);
        stage.run();
    }
    let texts = [ann, bob].map(|wire| stage.text(wire)).to_vec();
    stage.end();
    texts
}

#[test]
fn fault_08_single_bytes_in_and_out_make_no_difference() {
    let calm = conversation(Weather::default());
    assert_eq!(conversation(Weather { single: 1000, ..Weather::default() }), calm);
    assert_eq!(conversation(Weather { short: 1000, ..Weather::default() }), calm);
    assert!(calm[1].contains("-- anna left (off to bed)"), "{calm:?}");
}

#[test]
fn fault_09_a_million_connections_leave_nothing_behind() {
    const CONNECTIONS: usize = 1_000_000;
    const AT_ONCE: usize = 200;
    let mut stage = Stage::new("--rate off --announce-max 0 --history 0");
    for round in 0..CONNECTIONS / AT_ONCE {
        let world = stage.world();
        let wires: Vec<Wire> = (0..AT_ONCE).map(|_| world.connect(0, None, WIDE)).collect();
        for (number, wire) in wires.iter().enumerate() {
            world.send(*wire, format!("c{number}\n/join r{}\nhi\n", number % 7).as_bytes());
            match (round + number) % 3 {
                0 => world.reset(*wire),
                1 => world.end(*wire),
                _ => {
                    world.send(*wire, b"/quit\n");
                    world.end(*wire);
                }
            }
        }
        stage.run();
        wires.into_iter().for_each(|wire| stage.world().retire(wire));
    }
    assert_eq!(stage.server.metrics().accepted, CONNECTIONS as u64);
    stage.pass(20 * SECOND);
    stage.assert_empty();
    assert!(stage.server.arena().memory_bytes() < 512 * 1024, "the pages have grown");
}

#[test]
fn fault_10_input_before_a_half_close_is_delivered_and_answered() {
    let mut stage = Stage::new("");
    let bob = stage.join("bob");
    let ann = stage.connect();
    stage.send(ann, b"ann\nhi\n/who\nlast words");
    stage.world().end(ann);
    stage.expect(bob, &["-- ann joined", "ann: hi", "ann: last words", "-- ann left"]);
    stage.expect_contains(ann, "-- in #lobby: bob, ann\n");
    assert!(stage.world().is_over(ann) && !stage.world().is_reset(ann));
    stage.end();
}

#[test]
fn fault_10_throttled_lines_are_delivered_after_a_half_close() {
    let mut stage = Stage::new("--rate 5/s --burst 10");
    let bob = stage.join("bob");
    let ann = stage.connect();
    stage.send(ann, b"ann\n");
    stage.send(ann, &numbered(40));
    stage.world().end(ann);
    stage.pass(7 * SECOND);
    assert_eq!(received(&stage, bob, "ann"), Vec::from_iter(0..40));
    stage.expect_contains(bob, "-- ann left\n");
    stage.end();
}

#[test]
fn fault_10_slow_reader_has_time_to_read_everything_after_a_half_close() {
    let mut stage = Stage::new("--rate off --stall-timeout 2s");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.set_eager(bob, false);
    stage.world().set_window(bob, 100);
    stage.send(ann, &numbered(300));
    stage.run();
    stage.world().end(bob);
    for _ in 0..50 {
        stage.pass(SECOND);
        stage.receive(bob, 100);
    }
    stage.pass(5 * SECOND);
    stage.set_eager(bob, true);
    stage.run();
    assert_eq!(received(&stage, bob, "ann"), Vec::from_iter(0..300));
    assert_eq!(stage.server.metrics().dropped(), 0);
    stage.end();
}

#[test]
fn fault_10_client_that_stops_reading_after_a_half_close_is_dropped_and_counted() {
    let mut stage = Stage::new("--rate off --stall-timeout 2s");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    stage.say(ann, "hi");
    stage.run();
    stage.world().end(bob);
    stage.pass(3 * SECOND);
    assert!(stage.world().is_closed(bob));
    assert_eq!(stage.server.metrics().dropped_stalled, 1);
    stage.end();
}

#[test]
fn fault_11_farewell_arrives_though_input_was_unread() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    stage.say(ann, "/quit");
    // More than a turn's worth, which is discarded unread.
    stage.send(ann, &vec![b'x'; 300_000]);
    stage.set_eager(ann, false);
    stage.pass(Duration::from_millis(500));
    assert!(!stage.world().is_reset(ann), "closed with input unread");
    stage.world().end(ann);
    stage.run();
    assert!(stage.world().is_closed(ann) && !stage.world().is_reset(ann));
    stage.set_eager(ann, true);
    stage.expect(ann, &["-- bye"]);
    stage.end();
}

#[test]
fn fault_11_discarding_input_after_the_end_is_limited_to_a_turn() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    stage.say(ann, "/quit");
    stage.expect(ann, &["-- bye"]);
    stage.send(ann, &vec![b'x'; 900 * 1024]);
    let reads = stage.world().reads;
    stage.tick();
    // Four reads of 8 KiB are a turn.
    assert_eq!(stage.world().reads - reads, 4);
    stage.end();
}

#[test]
fn fault_11_client_that_had_stalled_has_the_whole_timeout_for_its_farewell() {
    let mut stage = Stage::new("--stall-timeout 10s");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    stage.stall(ann);
    stage.say(bob, "hi");
    stage.pass(9 * SECOND);
    stage.say(ann, "/quit");
    stage.pass(9 * SECOND);
    stage.read_again(ann);
    stage.expect(ann, &["bob: hi", "-- bye"]);
    stage.end();
}

#[test]
fn fault_11_client_that_reads_its_farewell_byte_by_byte_is_closed_after_a_minute() {
    let mut stage = Stage::new("--rate off --stall-timeout 10s");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.set_eager(ann, false);
    stage.world().set_window(ann, 1);
    stage.say(bob, &"x".repeat(1_000));
    stage.run();
    stage.say(ann, "/quit");
    for second in 0..70 {
        assert_eq!(stage.world().is_closed(ann), second >= 60, "after {second} s");
        stage.receive(ann, 1);
        stage.pass(SECOND);
    }
    stage.end();
}

#[test]
fn fault_11_peer_that_never_closes_is_closed_after_the_linger_time() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    stage.say(ann, "/quit");
    stage.expect(ann, &["-- bye"]);
    assert!(!stage.world().is_closed(ann));
    stage.pass(2 * SECOND);
    assert!(stage.world().is_closed(ann));
    stage.assert_empty();
}

#[test]
fn fault_12_reset_in_the_middle_of_a_write_ends_that_client_only() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let cy = stage.connect_from(None, 40);
    stage.say(cy, "cy");
    stage.run();
    stage.set_eager(cy, false);
    stage.say(ann, &"x".repeat(200));
    stage.run();
    let token = stage.world().token(cy).unwrap();
    assert!(!stage.server.roster().get(token).unwrap().outbox.is_empty(), "cy has part of it");
    stage.world().reset(cy);
    stage.say(ann, "still there?");
    stage.run();
    assert!(stage.server.roster().get(token).is_none());
    stage.expect_contains(bob, "ann: still there?\n-- cy left\n");
    stage.end();
}

#[test]
fn fault_13_vanished_peer_is_dropped_within_the_bound() {
    let mut stage = Stage::new("");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    stage.say(ann, "are you there?");
    stage.pass(9 * SECOND);
    stage.expect(ann, &["-- bob joined"]);
    stage.pass(2 * SECOND);
    stage.expect(ann, &["-- bob left (too slow)"]);
    stage.pass(10 * SECOND);
    assert!(stage.world().is_closed(bob), "the farewell is not waited for longer than the stall timeout");
    stage.end();
}

#[test]
fn fault_13_vanished_peer_without_queued_output_is_closed_when_the_kernel_reports_it() {
    // `src/net/bind.rs` tests that TCP keepalive makes the kernel report it within a minute.
    let mut stage = Stage::new("");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.world().reset(bob);
    stage.expect(ann, &["-- bob joined", "-- bob left"]);
    assert!(stage.world().is_closed(bob));
    stage.end();
}

/// A stage with `ann` and with `bob`, who reads nothing from now on.
fn with_a_stalled_reader(flags: &str) -> (Stage, Wire, Wire) {
    let mut stage = Stage::new(&format!("--rate off {flags}"));
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    stage.world().set_window(bob, 10);
    stage.set_eager(bob, false);
    (stage, ann, bob)
}

/// Checks that `bob` was just dropped: once he reads, he gets `why` after the rest of the unfinished line.
#[track_caller]
fn assert_dropped(mut stage: Stage, ann: Wire, bob: Wire, why: &str) {
    stage.expect(ann, &["-- bob left (too slow)"]);
    stage.read_again(bob);
    stage.run();
    let lines = stage.unread(bob);
    let first_line: String = "ann: ".chars().chain("x".repeat(100).chars()).collect();
    assert_eq!(lines, [first_line, format!("-- you were dropped: {why}")]);
    assert!(stage.world().is_over(bob));
    stage.end();
}

#[test]
fn fault_14_reader_with_a_zero_window_is_dropped_at_the_hard_limit() {
    let (mut stage, ann, bob) = with_a_stalled_reader("--write-buffer 8k --write-buffer-soft off");
    for _ in 0..77 {
        stage.say(ann, &"x".repeat(100));
    }
    stage.run_past_holds();
    stage.expect(ann, &[]);
    stage.say(ann, &"x".repeat(100));
    assert_dropped(stage, ann, bob, "too much was waiting for you to read it");
}

#[test]
fn fault_14_reader_with_a_zero_window_is_dropped_at_the_soft_limit() {
    let (mut stage, ann, bob) =
        with_a_stalled_reader("--write-buffer 64k --write-buffer-soft 2k:5s --stall-timeout off");
    for _ in 0..30 {
        stage.say(ann, &"x".repeat(100));
    }
    stage.pass(4 * SECOND);
    stage.expect(ann, &[]);
    stage.pass(2 * SECOND);
    assert_dropped(stage, ann, bob, "you were behind with reading for too long");
}

#[test]
fn fault_14_reader_with_a_zero_window_is_dropped_when_it_stalls() {
    let (mut stage, ann, bob) = with_a_stalled_reader("--stall-timeout 3s");
    for _ in 0..3 {
        stage.say(ann, &"x".repeat(100));
    }
    stage.pass(2 * SECOND);
    stage.expect(ann, &[]);
    stage.pass(2 * SECOND);
    assert_dropped(stage, ann, bob, "you stopped reading");
}

#[test]
fn fault_15_unnamed_client_that_never_reads_costs_four_kilobytes() {
    let mut stage = Stage::new("--rate off");
    let mute = stage.connect_from(None, 0);
    let mut most = 0;
    for _ in 0..4 {
        (0..50).for_each(|_| stage.say(mute, "/who nowhere"));
        for _ in 0..25 {
            stage.tick();
            most = most.max(stage.server.arena().held_bytes());
        }
    }
    assert!((3_000..=4_096).contains(&most), "{most} bytes");
    stage.pass(SECOND);
    assert!(stage.server.metrics().dropped_full == 1);
    stage.pass(20 * SECOND);
    stage.assert_empty();
}

#[test]
fn fault_16_drop_in_the_middle_of_a_broadcast_harms_nobody_else() {
    let mut stage = Stage::new("--rate off --write-buffer 8k --write-buffer-soft off");
    let names = ["ann", "bob", "cy", "dan", "eve"];
    let wires: Vec<Wire> = names.iter().map(|name| stage.join(name)).collect();
    stage.stall(wires[2]);
    stage.send(wires[0], &numbered(1_000));
    stage.run_past_holds();
    for index in [1, 3, 4] {
        assert_eq!(received(&stage, wires[index], "ann"), Vec::from_iter(0..1_000), "{}", names[index]);
        assert_eq!(stage.text(wires[index]).matches("-- cy left (too slow)").count(), 1);
    }
    assert_eq!(stage.server.metrics().dropped_full, 1);
    stage.end();
}

#[test]
fn fault_17_a_thousand_clients_overflow_in_the_same_tick() {
    let mut stage = Stage::new("--rate off --write-buffer 8k --write-buffer-soft off --announce-max 2000");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let slow: Vec<Wire> = (0..1_000).map(|n| stage.join(&format!("slow{n}"))).collect();
    for wire in &slow {
        stage.stall(*wire);
    }
    stage.send(ann, &numbered(600));
    stage.run_past_holds();
    assert_eq!(stage.server.metrics().dropped_full, 1_000);
    assert_eq!(received(&stage, bob, "ann"), Vec::from_iter(0..600));
    assert_eq!(stage.text(bob).matches("left (too slow)").count(), 1_000);
    stage.end();
}

#[test]
fn fault_18_every_client_is_told_of_the_shutdown_after_all_earlier_messages() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let unnamed = stage.connect();
    stage.run();
    stage.send(ann, &numbered(50));
    stage.tick();
    stage.world().signal(Signal::Terminate);
    stage.pass(3 * SECOND);
    assert!(stage.stopped);
    assert_eq!(received(&stage, bob, "ann"), Vec::from_iter(0..50));
    for wire in [ann, bob, unnamed] {
        assert!(stage.text(wire).ends_with("-- the server is shutting down\n"));
    }
}

#[test]
fn fault_18_shutdown_waits_for_slow_readers_until_the_grace_is_over() {
    let mut stage = Stage::new("--rate off --grace 2s");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    stage.say(ann, "hi");
    stage.run();
    stage.world().signal(Signal::Terminate);
    stage.pass(Duration::from_millis(1_900));
    assert!(!stage.stopped);
    stage.pass(Duration::from_millis(200));
    assert!(stage.stopped);
}

#[test]
fn fault_18_flooding_client_that_does_not_read_does_not_delay_the_shutdown() {
    let mut stage = Stage::new("--rate off --grace 1s --write-buffer 64k --write-buffer-soft 1k:60s");
    let flood = stage.join("flood");
    stage.stall(flood);
    stage.world().signal(Signal::Terminate);
    let began = stage.world().millis();
    // Every tick has more input to discard, which takes some of the time.
    for _ in 0..10_000 {
        if stage.stopped {
            break;
        }
        stage.send(flood, &[b'x'; 64 * 1024]);
        stage.world().leap(Duration::from_millis(1));
        stage.tick();
    }
    assert!(stage.stopped, "still there");
    assert!((900..1_100).contains(&(stage.world().millis() - began)), "{began}");
}

#[test]
fn fault_18_second_signal_ends_the_server_at_once() {
    let mut stage = Stage::new("--grace 60s");
    let ann = stage.join("ann");
    stage.stall(ann);
    stage.world().signal(Signal::Terminate);
    stage.pass(5 * SECOND);
    assert!(!stage.stopped);
    stage.world().signal(Signal::Terminate);
    stage.run();
    assert!(stage.stopped);
}

#[test]
fn fault_20_leap_of_the_clock_closes_no_connection() {
    let mut stage = Stage::new("--idle-timeout 60s --name-timeout 60s --rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let unnamed = stage.connect();
    stage.run();
    stage.world().leap(Duration::from_secs(3_600));
    stage.run();
    stage.say(ann, "back again");
    stage.expect(bob, &["ann: back again"]);
    stage.say(unnamed, "cy");
    stage.run();
    stage.expect_contains(unnamed, "-- hello cy.");
    stage.pass(61 * SECOND);
    assert!(
        stage.text(bob).ends_with("-- you were idle for too long. connect again to go on\n"),
        "deadlines go on"
    );
    stage.end();
}

#[test]
fn fault_21_over_long_line_causes_one_error_and_uses_no_memory() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    for _ in 0..255 {
        stage.send(ann, &[b'x'; 4096]);
        stage.run();
    }
    let token = stage.world().token(ann).unwrap();
    assert_eq!(stage.server.inboxes().unused_bytes(token.slot), 0);
    stage.send(ann, b"\nhi\n");
    stage.expect(ann, &["-- that line was not sent: it is over 4096 bytes"]);
    stage.expect(bob, &["ann: hi"]);
    stage.end();
}

#[test]
fn fault_21_line_that_does_not_end_closes_the_connection() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    for _ in 0..300 {
        stage.send(ann, &[b'x'; 4096]);
        stage.run();
    }
    stage.expect(
        ann,
        &["-- that line was not sent: it is over 4096 bytes", "-- your line does not end. good-bye"],
    );
    stage.expect(bob, &["-- ann left"]);
    stage.end();
}

#[test]
fn fault_22_utf_8_may_be_cut_at_every_byte_and_other_bytes_are_refused() {
    let line = "grüße an 你 und 🦀\n".as_bytes();
    for cut in 1..line.len() {
        let mut stage = Stage::new("--rate off");
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        stage.unread(ann);
        stage.send(ann, &line[..cut]);
        stage.expect(bob, &[]);
        stage.send(ann, &line[cut..]);
        stage.expect(bob, &["ann: grüße an 你 und 🦀"]);
        for bad in [&b"\xc3\n"[..], b"\xed\xa0\x80\n", b"\xf5\x80\x80\x80\n", b"\xc0\xaf\n", b"\x80\n"] {
            stage.send(ann, bad);
            stage.expect(ann, &["-- that line was not sent: it is not UTF-8"]);
        }
        stage.expect(bob, &[]);
        stage.end();
    }
}

#[test]
fn fault_23_carriage_returns_end_lines_and_zeros_and_empty_lines_are_ignored() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    stage.send(ann, b"crlf\r\nbare\rcr\nnul\0nul\n\n\r\n   \n\r\0\n\0\ntwo\r\r\n");
    stage.expect(bob, &["ann: crlf", "ann: bare", "ann: cr", "ann: nulnul", "ann: two"]);
    stage.expect(ann, &[]);
    stage.end();
}

#[test]
fn fault_24_control_sequences_reach_no_other_client() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let nasty = "\x1b[2J\x1b]0;owned\x07\x1bP1$q\x1b\\\u{9b}31m\u{90}\u{202e}\u{2066}\u{2069}\x7f\x08ok";
    for line in [
        nasty.to_string(),
        format!("/me {nasty}"),
        format!("/msg bob {nasty}"),
        format!("/nick {nasty}"),
        format!("/join {nasty}"),
        format!("/{nasty}"),
        format!("/who {nasty}"),
        format!("/quit {nasty}"),
    ] {
        stage.say(ann, &line);
    }
    stage.send(ann, b"\x9b31m\n");
    stage.run();
    for wire in [ann, bob] {
        let text = stage.text(wire);
        let harmful = |c: char| {
            (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(harmful), "{text:?}");
    }
    stage.expect_contains(bob, "ann: [2J]0;ownedP1$q\\31mok\n");
    stage.expect_contains(bob, "-- ann left ([2J");
    stage.end();
}

#[test]
fn fault_25_telnet_commands_are_ignored() {
    let mut stage = Stage::new("--rate off");
    let bob = stage.join("bob");
    let ann = stage.connect();
    // A telnet client sends these unasked, cut anywhere: WILL, DO, and a window size that contains a line feed.
    for piece in
        [&b"\xff"[..], b"\xfb\x18\xff\xfd", b"\x01\xff\xfa\x1f\x00", b"\n\x00\x18\xff", b"\xf0an", b"n\r\n"]
    {
        stage.send(ann, piece);
        stage.run();
    }
    stage.send(ann, b"one\xff\xf4\xff\xfd\x01 two\r\n");
    stage.expect(bob, &["-- ann joined", "ann: one two"]);
    stage.unread(ann);
    stage.send(ann, b"\xff\xfa\x18");
    for _ in 0..300 {
        stage.send(ann, &[b'x'; 4096]);
        stage.run();
    }
    stage.expect(
        ann,
        &["-- that line was not sent: it is over 4096 bytes", "-- your line does not end. good-bye"],
    );
    stage.end();
}

#[test]
fn fault_25_interrupted_telnet_client_is_sent_the_timing_mark_and_prints_again() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    // Ctrl-C sends an interrupt and a request for a timing mark, and no line end.
    stage.send(ann, b"\xff\xf4\xff\xfd\x06");
    stage.run();
    assert!(stage.raw(ann).ends_with(b"\xff\xfb\x06"), "no timing mark");
    stage.end();
}

#[test]
fn fault_26_refused_name_is_answered_with_the_reason_and_another_prompt() {
    let mut stage = Stage::new("--rate off");
    stage.join("Ann");
    let bob = stage.connect();
    stage.expect(bob, &["-- welcome to chinwag. what's your name?"]);
    let table = [
        ("Ann", "the name Ann is taken"),
        ("aNN", "the name aNN is taken"),
        ("--", "a name can't begin with -"),
        ("*bob", "a name can't begin with *"),
        ("\u{2014}bob", "a name can't begin with \u{2014}"),
        ("chinwag", "that name is kept for the server, or looks like one that is: choose another"),
        ("guest-1", "that name is kept for the server, or looks like one that is: choose another"),
        (&"x".repeat(33), "a name has at most 32 bytes"),
        ("bob lee", "a name has no space in it"),
        ("b\x1bob", "a name has no invisible characters in it: type it rather than paste it"),
        ("b:ob", "a name has no colon in it"),
    ];
    for (name, reason) in table {
        stage.say(bob, name);
        stage.pass(SECOND);
        stage.expect(bob, &[&format!("-- {reason}. what's your name?")]);
    }
    stage.say(bob, "");
    stage.expect(bob, &["-- hello guest-2. you are in #lobby with Ann. /help lists the commands"]);
    stage.say(bob, "/nick ANN");
    stage.expect(bob, &["-- the name ANN is taken"]);
    stage.end();
}

#[test]
fn fault_27_floods_of_commands_and_moves_are_throttled_like_messages() {
    let mut stage = Stage::new("--rate 5/s --burst 10");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.unread(ann);
    for _ in 0..50 {
        stage.say(ann, "/join dev");
        stage.say(ann, "/leave");
    }
    stage.run();
    // The name was one of the ten lines of the burst.
    assert_eq!(stage.unread(bob).len(), 9);
    stage.pass(10 * SECOND);
    assert_eq!(stage.unread(bob).len(), 50);
    stage.pass(10 * SECOND);
    assert_eq!(stage.unread(bob).len(), 41, "all hundred moves are made");
    let text = stage.text(ann);
    assert_eq!(text.matches("-- you send fast").count(), 1, "the notice comes once");
    stage.end();
}

#[test]
fn fault_07_connect_storm_at_both_listeners_is_accepted_in_portions() {
    let mut stage = Stage::new("");
    for _ in 0..200 {
        stage.connect();
        stage.connect_http();
    }
    stage.tick();
    // Two hundred, and one call that found no more; the rest of the portion is for the other listener.
    assert_eq!(stage.server.metrics().accepted, 255);
    stage.run();
    assert_eq!(stage.server.metrics().accepted, 400);
    stage.end();
}
