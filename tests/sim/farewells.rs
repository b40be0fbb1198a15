//! The reason for a close reaches a client that keeps sending: the socket stays open as long as the client reads.

use std::time::Duration;

use crate::socket::{CLOSE, Socket};
use crate::stage::Stage;
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

const DROPPED: &str = "you were dropped: too much was waiting for you to read it";

/// Lets time pass while the client sends these bytes ten times a second, and reads up to `read` bytes each time.
fn type_on(stage: &mut Stage, wire: Wire, span: Duration, typed: &[u8], read: usize) {
    for _ in 0..span.as_millis() / 100 {
        if !stage.world().is_closed(wire) {
            stage.send(wire, typed);
        }
        stage.receive(wire, read);
        stage.pass(SECOND / 10);
    }
}

fn flood(stage: &mut Stage, talker: Wire) {
    (0..100).for_each(|n| stage.say(talker, &format!("{n:0500}")));
    // The talker is held for a second because the reader lags.
    stage.pass(2 * SECOND);
}

const FLAGS: &str = "--rate off --write-buffer 16k --write-buffer-soft off --history 0";

#[test]
fn line_client_that_goes_on_typing_is_told_why_it_was_dropped() {
    let mut stage = Stage::new(FLAGS);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.world().set_window(bob, 10_000);
    stage.set_eager(bob, false);
    flood(&mut stage, ann);
    assert_eq!(stage.server.metrics().dropped_full, 1);
    type_on(&mut stage, bob, 5 * SECOND, b"are you there?\n", 0);
    type_on(&mut stage, bob, 20 * SECOND, b"are you there?\n", 100);
    stage.expect_contains(bob, DROPPED);
    assert!(stage.world().is_over(bob) && stage.world().is_closed(bob));
    stage.end();
}

#[test]
fn tab_that_goes_on_typing_is_told_why_it_was_dropped() {
    let mut stage = Stage::new(FLAGS);
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=lobby");
    tab.texts(&mut stage);
    stage.world().set_window(tab.wire, 10_000);
    stage.set_eager(tab.wire, false);
    flood(&mut stage, ann);
    let typed = crate::socket::frame(crate::socket::TEXT, br#"{"type":"ping"}"#);
    type_on(&mut stage, tab.wire, 5 * SECOND, &typed, 0);
    type_on(&mut stage, tab.wire, 20 * SECOND, &typed, 100);
    let (opcode, payload) = tab.frames(&stage).pop().expect("frames");
    assert_eq!((opcode, &payload[..2]), (CLOSE, &1013u16.to_be_bytes()[..]));
    assert!(String::from_utf8_lossy(&payload[2..]).contains(DROPPED));
    stage.end();
}

#[test]
fn http_client_that_goes_on_sending_a_body_reads_why_it_was_refused() {
    let mut stage = Stage::new("");
    let wire = stage.connect_http();
    stage.world().set_window(wire, 10_000);
    stage.set_eager(wire, false);
    stage.send(
        wire,
        b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
    );
    stage.run();
    type_on(&mut stage, wire, 5 * SECOND, &[b'x'; 1_000], 0);
    type_on(&mut stage, wire, 5 * SECOND, &[b'x'; 1_000], 50);
    assert!(String::from_utf8_lossy(stage.raw(wire)).starts_with("HTTP/1.1 413 "));
    assert!(stage.world().is_over(wire));
    stage.end();
}

#[test]
fn client_that_quits_and_keeps_typing_reads_the_answer_to_its_last_line() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    stage.set_eager(ann, false);
    stage.say(ann, "/quit");
    type_on(&mut stage, ann, 5 * SECOND, b"x\n", 0);
    stage.set_eager(ann, true);
    stage.expect(ann, &["-- bye"]);
    stage.pass(2 * SECOND);
    assert!(stage.world().is_closed(ann));
    stage.end();
}

#[test]
fn peer_that_stops_reading_is_closed_after_the_stall_timeout() {
    for (flags, least, most) in [("--stall-timeout 3s", 2, 4), ("--stall-timeout off", 9, 11)] {
        let mut stage = Stage::new(flags);
        let ann = stage.join("ann");
        stage.set_eager(ann, false);
        stage.say(ann, "/quit");
        type_on(&mut stage, ann, least * SECOND, b"x\n", 0);
        assert!(!stage.world().is_closed(ann));
        type_on(&mut stage, ann, (most - least) * SECOND, b"x\n", 0);
        assert!(stage.world().is_closed(ann));
        stage.end();
    }
}

#[test]
fn peer_that_reads_a_byte_now_and_then_is_closed_after_about_a_minute() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    stage.set_eager(ann, false);
    (0..20).for_each(|_| stage.say(ann, "/help"));
    stage.say(ann, "/quit");
    stage.run();
    type_on(&mut stage, ann, 59 * SECOND, b"x\n", 1);
    assert!(!stage.world().is_closed(ann));
    type_on(&mut stage, ann, 12 * SECOND, b"x\n", 1);
    assert!(stage.world().is_closed(ann));
    stage.end();
}
