//! A throttled client is not read, so its silence must not count against it.

use std::time::Duration;

use crate::socket::{PING, PONG, Socket, TEXT, frame};
use crate::stage::Stage;
use crate::web::{ask, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// Answers all pings, and returns the number of answers from the server.
fn answers(stage: &mut Stage, tab: &mut Socket) -> usize {
    let frames = tab.frames(stage);
    for (opcode, payload) in &frames {
        if *opcode == PING {
            stage.send(tab.wire, &frame(PONG, payload));
        }
    }
    frames.iter().filter(|(opcode, text)| *opcode == TEXT && text.starts_with(b"{\"type\":\"pong\"")).count()
}

fn published(stage: &Stage, wire: Wire) -> usize {
    String::from_utf8_lossy(stage.raw(wire)).matches("HTTP/1.1 202 ").count()
}

#[test]
fn throttled_client_that_answers_pings_is_not_closed() {
    let mut stage = Stage::new("--rate 5/s --burst 1 --ping-interval 25s --ping-timeout 10s");
    let mut tab = Socket::open(&mut stage, "/ws?room=");
    for number in 0..250 {
        tab.say(&mut stage, &format!(r#"{{"type":"ping","id":{number}}}"#));
    }
    let mut received = 0;
    for _ in 0..60 {
        stage.pass(SECOND);
        received += answers(&mut stage, &mut tab);
    }
    assert_eq!(received, 250, "none is lost, it just takes longer");
    stage.end();
}

#[test]
fn delay_of_a_message_may_exceed_ping_timeout_and_idle_timeout() {
    let mut stage = Stage::new("--rate 1/m --burst 1 --idle-timeout 30s");
    let mut tab = Socket::open(&mut stage, "/ws?room=");
    for _ in 0..3 {
        tab.say(&mut stage, r#"{"type":"ping"}"#);
    }
    stage.run();
    for wait in [0, 60, 60] {
        stage.pass(wait * SECOND);
        assert_eq!(answers(&mut stage, &mut tab), 1, "after {wait} s");
    }
    stage.end();
}

#[test]
fn dead_client_is_closed_after_it_was_throttled() {
    let mut stage = Stage::new("--rate 5/s --burst 1 --ping-interval 25s --ping-timeout 10s");
    let tab = Socket::open(&mut stage, "/ws?room=");
    for _ in 0..50 {
        tab.say(&mut stage, r#"{"type":"ping"}"#);
    }
    stage.pass(44 * SECOND);
    assert_eq!(stage.server.roster().len(), 1, "35 s after its last input");
    stage.pass(5 * SECOND);
    assert_eq!(stage.server.roster().len(), 0);
    stage.end();
}

#[test]
fn throttled_publisher_does_not_run_into_the_http_timeout() {
    let mut stage = Stage::new("--rate 2/m --burst 1 --http-timeout 10s");
    let wire = stage.connect_http();
    ask(&mut stage, wire, &post("/rooms/a/messages", "", "x").repeat(3));
    assert_eq!(published(&stage, wire), 1);
    stage.pass(29 * SECOND);
    assert_eq!(published(&stage, wire), 1);
    stage.pass(2 * SECOND);
    assert_eq!(published(&stage, wire), 2);
    stage.pass(30 * SECOND);
    assert_eq!(published(&stage, wire), 3);
    stage.pass(12 * SECOND);
    assert_eq!(stage.server.roster().len(), 0, "once it is served, its time counts again");
    stage.end();
}

#[test]
fn slow_reader_is_not_closed_though_its_pongs_are_not_read() {
    let flags = "--slow-client skip --write-buffer-soft 4k:10s --line-max 1k --rate off --history 0";
    let mut stage = Stage::new(flags);
    let ann = stage.join("ann");
    let tab = Socket::open(&mut stage, "/ws?name=tab");
    stage.stall(tab.wire);
    for _ in 0..20 {
        stage.say(ann, &"x".repeat(900));
    }
    // More than the soft limit is queued, so the server does not read from it. It reads some of its output now and
    // then.
    for _ in 0..70 {
        stage.pass(SECOND);
        stage.send(tab.wire, &frame(PONG, b""));
        stage.world().set_window(tab.wire, 200);
        stage.run();
        stage.receive(tab.wire, 200);
    }
    assert_eq!(stage.server.chat().census().clients, 2, "it is held to no answer that was not read");
    stage.end();
}
