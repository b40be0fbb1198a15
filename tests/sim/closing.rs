//! Closing connections count against their address, their slot and the memory until their descriptor is closed. They
//! are the first to be cut off when any of these is short. Idle HTTP connections are evicted for newcomers, too.

use std::time::Duration;

use crate::socket::{CLOSE, Socket, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{ask, ask_once, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);
const ADDRESS: &str = "10.0.0.1";
const WELCOME: &str = "-- welcome to chinwag. what's your name?";
const TOO_MANY: &str = "-- too many connections from your address. close one of them first";

/// A server whose room `big` has a history of some 100 kB.
fn stage_with_history(flags: &str) -> Stage {
    let mut stage = Stage::new(&format!("--rate off --write-buffer-soft off {flags}"));
    let publisher = stage.connect_http();
    for _ in 0..25 {
        ask(&mut stage, publisher, &post("/rooms/big/messages", "", &"x".repeat(4_000)));
    }
    stage.world().end(publisher);
    stage.run();
    assert_eq!(stage.server.roster().len(), 0);
    stage
}

fn get_and_close(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// A connection whose last answer is the history, of which the client reads only 2 kB.
fn closing_request(stage: &mut Stage, address: &str) -> Wire {
    let wire = stage.connect_http_from(address, 2_048);
    stage.set_eager(wire, false);
    stage.send(wire, get_and_close("/rooms/big/messages").as_bytes());
    stage.run();
    wire
}

/// A WebSocket client that has asked for the history, closed, and reads nothing more.
fn closing_tab(stage: &mut Stage, address: &str) -> Wire {
    let wire = stage.connect_http_from(address, WIDE);
    stage.send(wire, handshake("/ws?room=big", "").as_bytes());
    stage.run();
    stage.stall(wire);
    stage.send(wire, &frame(1, br#"{"type":"history","room":"big","count":100}"#));
    stage.send(wire, &frame(CLOSE, 1000_u16.to_be_bytes()));
    stage.run();
    wire
}

/// A line client that has asked for the history, quit, and reads nothing more.
fn closing_line(stage: &mut Stage, address: &str) -> Wire {
    let wire = stage.connect_from(Some(address), WIDE);
    stage.send(wire, b"\n/join big\n");
    stage.run();
    stage.stall(wire);
    stage.send(wire, b"/history 100\n/quit\n");
    stage.run();
    wire
}

/// A listener that is dropped and reads nothing more.
fn dropped_listener(stage: &mut Stage, address: &str) -> Wire {
    let wire = stage.connect_http_from(address, WIDE);
    stage.send(wire, get("/rooms/big/events").as_bytes());
    stage.run();
    stage.stall(wire);
    let publisher = stage.connect_http();
    for _ in 0..70 {
        ask(stage, publisher, &post("/rooms/big/messages", "", &"x".repeat(4_000)));
    }
    stage.world().end(publisher);
    stage.run_past_holds();
    wire
}

/// The kinds of connections that close without being read.
const KINDS: [fn(&mut Stage, &str) -> Wire; 4] =
    [closing_request, closing_tab, closing_line, dropped_listener];

#[test]
fn closing_connection_counts_against_its_address_until_its_descriptor_is_closed() {
    for (kind, closing) in KINDS.into_iter().enumerate() {
        let mut stage = stage_with_history("--max-per-ip 2 --http-timeout 1h");
        let (first, second) = (closing(&mut stage, ADDRESS), closing(&mut stage, ADDRESS));
        assert!(!stage.world().is_closed(first) && !stage.world().is_closed(second), "{kind}");
        let refused = [(); 2].map(|()| stage.connect_from(Some(ADDRESS), WIDE));
        refused.iter().for_each(|wire| stage.expect(*wire, &[TOO_MANY]));
        let other = stage.connect_from(Some("10.0.0.2"), WIDE);
        stage.expect(other, &[WELCOME]);
        // A peer that does not read is cut off in the end, and only then may its address have another connection.
        stage.pass(30 * SECOND);
        assert!(stage.world().is_closed(first), "{kind}");
        let admitted = stage.connect_from(Some(ADDRESS), WIDE);
        stage.expect(admitted, &[WELCOME]);
        stage.end();
    }
}

#[test]
fn refused_connections_are_sent_the_reason_at_both_listeners_every_time() {
    let mut stage = Stage::new("--max-per-ip 2");
    let inside = [(); 2].map(|()| stage.connect_from(Some(ADDRESS), WIDE));
    inside.iter().for_each(|wire| stage.expect(*wire, &[WELCOME]));
    for _ in 0..5 {
        let refused = stage.connect_from(Some(ADDRESS), WIDE);
        stage.expect(refused, &[TOO_MANY]);
        let refused = stage.connect_http_from(ADDRESS, WIDE);
        stage.run();
        let answer = stage.text(refused);
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("connection: close\r\n") && answer.contains("close one of them"), "{answer}");
        assert!(stage.world().is_over(refused));
    }
    assert_eq!(stage.server.metrics().refused, 10);
    stage.end();
}

#[test]
fn address_holds_few_refused_connections_and_the_next_are_closed_without_a_word() {
    let mut stage = Stage::new("--max-per-ip 2");
    let crowd: Vec<Wire> = (0..100).map(|_| stage.connect_from(Some(ADDRESS), WIDE)).collect();
    stage.run();
    assert_eq!(stage.server.roster().len(), 2 + 16);
    let texts: Vec<String> = crowd.iter().map(|wire| stage.text(*wire)).collect();
    assert_eq!(texts.iter().filter(|text| text.contains("welcome")).count(), 2);
    assert_eq!(texts.iter().filter(|text| text.contains("too many")).count(), 16);
    assert_eq!(texts.iter().filter(|text| text.is_empty()).count(), 82);
    assert_eq!((stage.server.metrics().refused, stage.server.metrics().accepted), (98, 100));
    stage.end();
}

#[test]
fn closing_connections_never_keep_a_newcomer_out_of_a_free_slot() {
    // Each kind fills all slots at once. The fourth is left out, since dropping a listener takes longer.
    for (kind, closing) in KINDS.into_iter().take(3).enumerate() {
        let quotas = "--max-clients 3 --max-waiting 1 --max-http 4 --max-closing 2";
        let mut stage =
            stage_with_history(&format!("{quotas} --http-timeout 1h --max-per-ip 1 --stall-timeout 30s"));
        for number in 0..20 {
            closing(&mut stage, &format!("10.0.1.{number}"));
            assert!(stage.server.roster().len() <= 3 + 1 + 4 + 2, "{kind}");
            stage.pass(SECOND / 4);
        }
        let newcomer = stage.connect();
        stage.pass(SECOND);
        stage.expect(newcomer, &[WELCOME]);
        assert!(ask_once(&mut stage, &get("/healthz")).starts_with("HTTP/1.1 200 "), "{kind}");
        assert!(stage.server.metrics().evicted > 0, "{kind}");
        stage.end();
    }
}

#[test]
fn newcomer_waits_a_second_for_a_closing_connection_and_then_takes_its_slot() {
    let mut stage = stage_with_history("--max-clients 1 --max-waiting 0 --max-http 1 --max-closing 1");
    let closing: Vec<Wire> = (0..3).map(|_| closing_request(&mut stage, ADDRESS)).collect();
    assert_eq!(stage.server.roster().len(), 3, "unused slots are lent");
    let newcomer = stage.connect();
    stage.pass(SECOND - Duration::from_millis(100));
    stage.expect(newcomer, &[]);
    stage.pass(Duration::from_millis(200));
    stage.expect(newcomer, &[WELCOME]);
    let closed = closing.iter().map(|wire| stage.world().is_closed(*wire));
    assert_eq!(closed.collect::<Vec<_>>(), [true, false, false], "the oldest goes first");
    assert_eq!(stage.server.metrics().evicted, 1);
    stage.end();
}

#[test]
fn closing_connections_are_cut_off_for_memory_before_any_client_is_dropped() {
    for (kind, closing) in KINDS.into_iter().enumerate() {
        let flags = "--memory 1m --stall-timeout off --max-per-ip off";
        let mut stage = stage_with_history(flags);
        // A client that has stopped reading for a moment, and holds less than any closing connection.
        let slow = stage.join("slow");
        stage.say(slow, "/join slow");
        stage.run();
        stage.unread(slow);
        stage.stall(slow);
        let talker = stage.join("talker");
        stage.say(talker, "/join slow");
        (0..10).for_each(|_| stage.say(talker, &"x".repeat(4_000)));
        stage.run();
        for number in 0..30 {
            closing(&mut stage, &format!("10.0.1.{number}"));
        }
        stage.say(talker, "still there?");
        stage.run();
        let memory = stage.server.arena().memory_bytes();
        assert!(memory <= 1024 * 1024 + 512 * 1024, "{kind}: {memory}");
        assert_eq!(stage.server.metrics().dropped_memory, 0, "{kind}");
        stage.read_again(slow);
        stage.run();
        stage.expect_contains(slow, "talker: still there?");
        stage.end();
    }
}

#[test]
fn pass_for_memory_that_frees_nothing_is_not_repeated_for_every_block() {
    let flags =
        "--rate off --history 0 --memory 8m --write-buffer 8m --write-buffer-soft off --stall-timeout off";
    let mut stage = Stage::new(flags);
    let talker = stage.join("talker");
    // Ten clients in each of three rooms share their queued output, so dropping one of them frees nothing.
    for room in 0..3 {
        for number in 0..10 {
            let slow = stage.join(&format!("slow-{room}-{number}"));
            stage.say(slow, &format!("/join room-{room}"));
            stage.run();
            stage.stall(slow);
        }
    }
    // A dozen kilobytes.
    let talk = |stage: &mut Stage| {
        for room in 0..3 {
            stage.say(talker, &format!("/join room-{room}"));
            stage.say(talker, &"x".repeat(4_000));
            stage.run();
        }
    };
    while stage.server.arena().memory_bytes() < 8 * 1024 * 1024 {
        talk(&mut stage);
    }
    let before = stage.server.metrics().compactions;
    // Sixty sealed blocks of the arena, over the limit.
    (0..320).for_each(|_| talk(&mut stage));
    let passes = stage.server.metrics().compactions - before;
    assert!((5..=8).contains(&passes), "{passes} passes for sixty pages");
    assert!(stage.server.metrics().dropped_memory > 0);
    stage.end();
}

#[test]
fn idle_http_connections_are_evicted_for_newcomers_the_longest_idle_first() {
    let mut stage = Stage::new("--max-http 3 --http-timeout 1h");
    let idle = [(); 3].map(|()| stage.connect_http());
    for wire in idle {
        assert!(ask(&mut stage, wire, &get("/healthz")).starts_with("HTTP/1.1 200 "));
        stage.pass(SECOND);
    }
    // The first is used again, so the second has been idle for longest.
    ask(&mut stage, idle[0], &get("/healthz"));
    let newcomer = stage.connect_http();
    let answer = ask(&mut stage, newcomer, &get("/healthz"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(idle.map(|wire| stage.world().is_closed(wire)), [false, true, false]);
    assert!(!stage.text(idle[1]).contains(" 408 "), "it was in the middle of no request");
    stage.end();
}

#[test]
fn connection_without_a_request_is_evicted_and_one_within_a_request_is_sent_408() {
    let mut stage = Stage::new("--max-http 2 --http-timeout 1h");
    let (mute, slow) = (stage.connect_http(), stage.connect_http());
    stage.send(slow, b"GET /healthz HTTP/1.1\r\n");
    stage.pass(2 * SECOND);
    for _ in 0..2 {
        let newcomer = stage.connect_http();
        assert!(ask(&mut stage, newcomer, &get("/healthz")).starts_with("HTTP/1.1 200 "));
    }
    assert!(stage.world().is_closed(mute) && stage.text(mute).is_empty());
    assert!(stage.text(slow).starts_with("HTTP/1.1 408 "), "{}", stage.text(slow));
    stage.end();
}

#[test]
fn http_connection_with_a_pending_answer_or_message_is_not_evicted() {
    let mut stage = stage_with_history("--max-http 2 --http-timeout 1h --stall-timeout 1h");
    let reading = stage.connect_http_from(ADDRESS, 2_048);
    stage.set_eager(reading, false);
    stage.send(reading, get("/rooms/big/messages").as_bytes());
    let other = stage.connect_http_from(ADDRESS, 2_048);
    stage.set_eager(other, false);
    stage.send(other, get("/rooms/big/messages").as_bytes());
    stage.pass(5 * SECOND);
    let newcomer = stage.connect_http();
    assert_eq!(ask(&mut stage, newcomer, &get("/healthz")), "");
    for wire in [reading, other] {
        assert!(!stage.world().is_closed(wire));
        stage.read_again(wire);
    }
    stage.pass(2 * SECOND);
    assert!(stage.text(newcomer).starts_with("HTTP/1.1 200 "), "now that they are idle");
    stage.end();

    let mut stage = Stage::new("--max-http 1 --rate 1/m --burst 1 --http-timeout 1h");
    let publisher = stage.connect_http();
    let message = post("/rooms/a/messages", "", "hi");
    ask(&mut stage, publisher, &format!("{message}{message}"));
    stage.pass(2 * SECOND);
    let newcomer = stage.connect_http();
    assert_eq!(ask(&mut stage, newcomer, &get("/healthz")), "");
    stage.pass(60 * SECOND);
    assert_eq!(stage.text(publisher).matches("HTTP/1.1 202 ").count(), 2, "no message is lost");
    assert!(stage.text(newcomer).starts_with("HTTP/1.1 200 "));
    stage.end();
}

#[test]
fn server_without_newcomers_keeps_idle_connections_and_sleeps() {
    let mut stage = Stage::new("--max-http 2 --http-timeout 1h");
    let idle = [(); 2].map(|()| stage.connect_http());
    stage.pass(SECOND);
    let polls = stage.world().polls;
    stage.pass(1_800 * SECOND);
    assert!(stage.world().polls - polls <= 2);
    assert!(idle.iter().all(|wire| !stage.world().is_closed(*wire)));
    stage.end();
}

#[test]
fn metrics_show_closing_connections_and_those_cut_off() {
    let mut stage = stage_with_history("--max-http 8");
    closing_request(&mut stage, ADDRESS);
    closing_request(&mut stage, ADDRESS);
    let page = ask_once(&mut stage, &get("/metrics"));
    assert!(page.contains("\nchinwag_connections_closing 2\n"), "{page}");
    assert!(page.contains("\nchinwag_connections_evicted_total 0\n"), "{page}");
    stage.pass(100 * SECOND);
    let page = ask_once(&mut stage, &get("/metrics"));
    assert!(page.contains("\nchinwag_connections_closing 0\n"), "{page}");
    stage.end();
}

#[test]
fn websocket_and_sse_clients_that_find_the_server_full_are_counted_as_refused() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 0");
    stage.join("ann");
    let requests = [handshake("/ws", ""), handshake("/raw/a", ""), get("/rooms/a/events")];
    for (number, request) in requests.iter().enumerate() {
        let answer = ask_once(&mut stage, request);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(stage.server.metrics().refused, number as u64 + 1);
    }
    let mut tab = None;
    stage.send_all_home();
    stage.pass(20 * SECOND);
    let mut late = Stage::new("--max-clients 1 --max-waiting 1");
    late.join("ann");
    tab.get_or_insert(Socket::open(&mut late, "/ws"));
    assert_eq!(late.server.metrics().refused, 0, "it waits");
    late.end();
}

#[test]
fn evicted_request_is_answered_only_while_the_quota_of_closing_connections_has_room() {
    for (max_closing, is_answered) in [(1, false), (2, true)] {
        let mut stage =
            stage_with_history(&format!("--max-http 1 --max-closing {max_closing} --http-timeout 1h"));
        closing_line(&mut stage, ADDRESS);
        let slow = stage.connect_http();
        stage.send(slow, b"GET /he");
        stage.pass(2 * SECOND);
        let answer = ask_once(&mut stage, &get("/healthz"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{max_closing}: {answer}");
        assert_eq!(stage.text(slow).starts_with("HTTP/1.1 408 "), is_answered, "{max_closing}");
        assert!(stage.world().is_over(slow));
        assert_eq!(stage.server.metrics().evicted, 1);
        stage.end();
    }
}
