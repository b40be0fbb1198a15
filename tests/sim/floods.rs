//! Floods of cheap requests must not delay a bystander's line. Virtual time stands still while the server works, so
//! these tests count ticks and the work of each.

use std::time::Duration;

use crate::socket::{PING, Socket, TEXT, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{ask, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// Counts the ticks from a line of `ann` until `bob` has it, while `flood` sends more before each tick. Also returns
/// the most bytes written in one of these ticks.
fn ticks_of_a_line(
    stage: &mut Stage,
    [ann, bob]: [Wire; 2],
    mut flood: impl FnMut(&mut Stage),
) -> (usize, u64) {
    stage.unread(bob);
    stage.say(ann, "hello");
    let mut most_bytes = 0;
    for tick in 1..1_000 {
        flood(stage);
        let before = stage.server.metrics().bytes_out;
        stage.tick();
        most_bytes = most_bytes.max(stage.server.metrics().bytes_out - before);
        stage.read_eagerly();
        if !stage.unread(bob).is_empty() {
            return (tick, most_bytes);
        }
    }
    panic!("the line never came");
}

/// A server with a history of some 100 kB in room `big`, and two clients in the lobby.
fn stage_with_history(flags: &str) -> (Stage, [Wire; 2]) {
    let mut stage = Stage::new(&format!("--rate off {flags}"));
    let pair = [stage.join("ann"), stage.join("bob")];
    let publisher = stage.connect_http();
    for _ in 0..25 {
        ask(&mut stage, publisher, &post("/rooms/big/messages", "", &"x".repeat(4_000)));
    }
    stage.pass(2 * SECOND);
    (stage, pair)
}

#[test]
fn line_does_not_wait_for_pipelined_requests_for_a_long_history() {
    for (address, connections) in [(None, 60), (None, 300), (Some("10.0.0.1"), 60)] {
        let (mut stage, pair) = stage_with_history("--max-per-ip off");
        let flooders: Vec<Wire> = (0..connections)
            .map(|_| match address {
                None => stage.connect_http(),
                Some(address) => stage.connect_http_from(address, WIDE),
            })
            .collect();
        stage.run();
        let request = get("/rooms/big/messages").repeat(2);
        let flood = |stage: &mut Stage| {
            flooders.iter().for_each(|wire| stage.send(*wire, request.as_bytes()));
        };
        for round in 0..5 {
            let (ticks, bytes) = ticks_of_a_line(&mut stage, pair, flood);
            assert!(ticks <= 2, "{connections} connections, round {round}: {ticks} ticks");
            assert!(bytes < 256 * 1024, "{connections} connections, round {round}: {bytes} bytes in a tick");
        }
        let answered = stage.server.metrics().requests;
        for _ in 0..50 {
            stage.tick();
            stage.read_eagerly();
        }
        assert!(stage.server.metrics().requests > answered, "the flood is served all the same");
    }
}

#[test]
fn line_does_not_wait_for_a_flood_of_pings() {
    let (mut stage, pair) = stage_with_history("");
    let mut flooders: Vec<Socket> = (0..60).map(|_| Socket::open(&mut stage, "/ws?room=")).collect();
    let pings = frame(PING, b"are you there?").repeat(500);
    let mut sent = 0;
    for round in 0..20 {
        let before = stage.server.metrics().bytes_in;
        let (ticks, _) = ticks_of_a_line(&mut stage, pair, |stage| {
            sent += 500;
            flooders.iter().for_each(|socket| stage.send(socket.wire, &pings));
        });
        assert!(ticks <= 2, "round {round}: {ticks} ticks");
        let read = stage.server.metrics().bytes_in - before;
        // Each connection has a turn until its address counts as loaded.
        assert!(round < 3 || read < 128 * 1024 * ticks as u64, "round {round}: {read} bytes read");
    }
    stage.run();
    let answered = flooders.iter_mut().map(|socket| socket.frames(&stage).len());
    assert!(answered.into_iter().all(|answered| answered >= sent), "every ping is answered");
}

#[test]
fn line_does_not_wait_for_closing_connections_that_go_on_sending() {
    let (mut stage, pair) = stage_with_history("");
    let flooders: Vec<Wire> = (0..60)
        .map(|_| {
            let wire = stage.connect_http_from("10.0.0.1", WIDE);
            stage.send(wire, b"nonsense\r\n\r\n");
            wire
        })
        .collect();
    stage.run();
    let junk = vec![b'x'; 32 * 1024];
    for round in 0..5 {
        let before = stage.server.metrics().bytes_in;
        let (ticks, _) = ticks_of_a_line(&mut stage, pair, |stage| {
            flooders.iter().for_each(|wire| stage.send(*wire, &junk));
        });
        let read = stage.server.metrics().bytes_in - before;
        assert!(ticks <= 2, "round {round}: {ticks} ticks");
        assert!(read <= 128 * 1024 * ticks as u64, "round {round}: {read} bytes read");
    }
}

#[test]
fn loaded_address_is_served_after_others_on_new_connections_too() {
    let (mut stage, _) = stage_with_history("--max-per-ip off");
    let request = get("/rooms/big/messages");
    let loaded = stage.connect_http_from("10.0.0.1", WIDE);
    (0..3).for_each(|_| drop(ask(&mut stage, loaded, &request)));
    let (same, other) =
        (stage.connect_http_from("10.0.0.1", WIDE), stage.connect_http_from("10.0.0.2", WIDE));
    stage.run();
    [same, other].into_iter().for_each(|wire| stage.send(wire, request.as_bytes()));
    while stage.raw(other).is_empty() {
        assert!(stage.raw(same).is_empty(), "it came first, and is of a loaded address");
        stage.tick();
        stage.read_eagerly();
    }
    stage.run();
    assert!(!stage.raw(same).is_empty());
    stage.end();
}

#[test]
fn local_connection_does_not_count_the_load_of_other_local_ones() {
    let (mut stage, _) = stage_with_history("");
    let request = get("/rooms/big/messages");
    let loaded = stage.connect_http();
    (0..3).for_each(|_| drop(ask(&mut stage, loaded, &request)));
    let other = stage.connect_http();
    stage.run();
    [loaded, other].into_iter().for_each(|wire| stage.send(wire, request.as_bytes()));
    let before = stage.raw(loaded).len();
    while stage.raw(other).is_empty() {
        assert_eq!(stage.raw(loaded).len(), before);
        stage.tick();
        stage.read_eagerly();
    }
    stage.end();
}

#[test]
fn tab_that_floods_is_served_within_its_budget_and_loses_nothing() {
    let mut stage = Stage::new("--rate off");
    let bob = stage.join("bob");
    let wire = stage.connect_http();
    stage.send(wire, handshake("/ws?name=ann&room=lobby", "").as_bytes());
    stage.run();
    let text =
        frame(TEXT, format!(r#"{{"type":"say","room":"lobby","text":"{}"}}"#, "x".repeat(1_000)).as_bytes());
    for _ in 0..10 {
        stage.send(wire, &text.repeat(50));
        stage.run();
    }
    let received = stage.unread(bob).iter().filter(|line| line.starts_with("ann: ")).count();
    assert_eq!(received, 500);
    stage.end();
}

#[test]
fn line_is_not_delayed_by_answers_in_the_same_tick() {
    let (mut stage, pair) = stage_with_history("");
    let tabs: Vec<Socket> = (0..6).map(|_| Socket::open(&mut stage, "/ws?room=big&history=0")).collect();
    stage.pass(2 * SECOND);
    for tab in &tabs {
        stage.send(tab.wire, &frame(TEXT, br#"{"type":"history","room":"big","count":25}"#));
    }
    let (ticks, _) = ticks_of_a_line(&mut stage, pair, |_| {});
    assert_eq!(ticks, 1);
    stage.end();
}
