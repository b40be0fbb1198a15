//! Sequences over a limit: in, in, refused, refused again, then one place free, and refused again. Each refusal has its
//! reason, and none changes a count.

use std::net::IpAddr;

use crate::socket::Socket;
use crate::stage::{Stage, WIDE};
use crate::web::{ask_once, get, post};
use crate::world::Wire;

const WELCOME: &str = "-- welcome to chinwag. what's your name?";
const TOO_MANY: &str = "-- too many connections from your address. close one of them first";
const FULL: &str = "-- the server is full. try again later";

/// Connects one client after the other. Returns those that were let in; the others must have read the refusal.
fn let_in(stage: &mut Stage, address: Option<&str>, attempts: usize, refusal: &str) -> Vec<Wire> {
    let mut inside = Vec::new();
    for attempt in 0..attempts {
        let wire = stage.connect_from(address, WIDE);
        stage.run();
        match stage.unread(wire).as_slice() {
            [line] if line == WELCOME => inside.push(wire),
            [line] if line == refusal => {
                stage.world().end(wire);
                stage.run();
            }
            other => panic!("attempt {attempt}: {other:?}"),
        }
    }
    inside
}

#[test]
fn address_never_exceeds_its_connections_however_often_it_is_refused() {
    for max in [1, 2, 5] {
        let mut stage = Stage::new(&format!("--max-per-ip {max} --rate off"));
        // IPv4, IPv4 mapped into IPv6, and IPv6.
        for address in ["10.0.0.1", "::ffff:10.0.0.2", "2001:db8::1"] {
            assert!(address.parse::<IpAddr>().is_ok());
            let mut inside = let_in(&mut stage, Some(address), max + 7, TOO_MANY);
            assert_eq!(inside.len(), max, "{address}");
            for _ in 0..4 {
                let leaves = inside.remove(0);
                stage.world().end(leaves);
                stage.run();
                inside.extend(let_in(&mut stage, Some(address), 4, TOO_MANY));
                assert_eq!(inside.len(), max, "{address}");
            }
            // All leave, and as many may connect again.
            inside.into_iter().for_each(|wire| stage.world().end(wire));
            stage.run();
            assert_eq!(let_in(&mut stage, Some(address), max + 3, TOO_MANY).len(), max, "{address}");
        }
        stage.end();
    }
}

#[test]
fn a_full_server_stays_full_however_many_it_refuses() {
    let mut stage = Stage::new("--max-clients 3 --max-waiting 0 --rate off");
    let mut inside = let_in(&mut stage, None, 10, FULL);
    assert_eq!(inside.len(), 3);
    for _ in 0..4 {
        let leaves = inside.remove(0);
        stage.world().end(leaves);
        stage.run();
        inside.extend(let_in(&mut stage, None, 5, FULL));
        assert_eq!(inside.len(), 3);
    }
    stage.end();
}

#[test]
fn a_full_queue_stays_full_however_many_it_refuses() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 2 --rate off");
    let mut ann = stage.join("ann");
    let next = "-- the server is full. you are next, please wait";
    let second = "-- the server is full. you are number 2 in the queue, please wait";
    for round in 0..4 {
        let waiting = [stage.connect(), stage.connect()];
        stage.run();
        assert_eq!([stage.unread(waiting[0]), stage.unread(waiting[1])], [[next], [second]]);
        for _ in 0..5 {
            let refused = stage.connect();
            stage.expect(refused, &[FULL]);
            stage.world().end(refused);
        }
        assert_eq!(stage.server.waiting(), 2);
        stage.world().end(ann);
        stage.run();
        assert_eq!(stage.unread(waiting[0]), [WELCOME], "round {round}");
        assert_eq!(stage.unread(waiting[1]), [next], "round {round}");
        stage.world().end(waiting[1]);
        stage.run();
        ann = waiting[0];
    }
    stage.end();
}

#[test]
fn client_is_never_in_more_rooms_than_allowed() {
    let mut stage = Stage::new("--max-rooms-per-client 3 --rate off");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=");
    let mut joins = |stage: &mut Stage, tab: &mut Socket, room: String| -> bool {
        tab.texts(stage);
        tab.say(stage, &format!(r#"{{"type":"join","room":"{room}"}}"#));
        let texts = tab.texts(stage);
        let refused = texts.iter().any(|text| text.contains(r#""code":"too_many_joined""#));
        assert_ne!(refused, texts.iter().any(|text| text.contains(r#""type":"joined""#)), "{texts:?}");
        !refused
    };
    let joined = |stage: &mut Stage,
                  tab: &mut Socket,
                  from: usize,
                  joins: &mut dyn FnMut(&mut Stage, &mut Socket, String) -> bool| {
        (from..from + 6).filter(|number| joins(stage, tab, format!("room-{number}"))).collect::<Vec<_>>()
    };
    let mut inside = joined(&mut stage, &mut tab, 0, &mut joins);
    assert_eq!(inside, [0, 1, 2]);
    for round in 1..4 {
        let leaves = inside.remove(0);
        tab.say(&mut stage, &format!(r#"{{"type":"leave","room":"room-{leaves}"}}"#));
        stage.run();
        inside.extend(joined(&mut stage, &mut tab, 10 * round, &mut joins));
        assert_eq!(inside.len(), 3, "{inside:?}");
    }
    stage.end();
}

#[test]
fn server_never_has_more_rooms_than_allowed() {
    let mut stage = Stage::new("--max-rooms 3 --history 0 --rate off");
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=");
    for round in 0..3 {
        for (number, fits) in [(0, true), (1, true), (2, false), (3, false), (4, false)] {
            tab.texts(&mut stage);
            tab.say(&mut stage, &format!(r#"{{"type":"join","room":"room-{round}{number}"}}"#));
            let refused =
                tab.texts(&mut stage).iter().any(|text| text.contains(r#""code":"too_many_rooms""#));
            assert_eq!(!refused, fits, "{round} {number}");
            let answer =
                ask_once(&mut stage, &post(&format!("/rooms/new-{round}{number}/messages"), "", "x"));
            assert_eq!(answer.starts_with("HTTP/1.1 503 "), number > 0, "{round} {number}: {answer}");
            assert_eq!(stage.server.chat().census().rooms.min(3), stage.server.chat().census().rooms);
        }
        for number in 0..2 {
            tab.say(&mut stage, &format!(r#"{{"type":"leave","room":"room-{round}{number}"}}"#));
        }
        stage.run();
    }
    stage.say(ann, "/join dev");
    stage.expect_contains(ann, "");
    assert!(ask_once(&mut stage, &get("/healthz")).starts_with("HTTP/1.1 200 "));
    stage.end();
}
