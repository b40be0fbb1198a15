//! Rates by address hold for new connections at every listener. Other addresses have their own, and this machine has
//! none.

use std::time::Duration;

use crate::socket::{PING, PONG, Socket, TEXT, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);
const ADDRESS: &str = "10.0.0.1";
const OTHER: &str = "10.0.0.2";

/// Joins a client from `address` under `name`.
fn join_from(stage: &mut Stage, address: &str, name: &str) -> Wire {
    let wire = stage.connect_from(Some(address), WIDE);
    stage.say(wire, name);
    stage.run();
    wire
}

/// Counts the lines of `talker` that a client has read since the last call.
fn received(stage: &mut Stage, wire: Wire) -> usize {
    stage.unread(wire).iter().filter(|line| line.contains(": said")).count()
}

#[test]
fn new_connections_do_not_escape_the_rate_of_lines() {
    for (address, at_once) in [(Some(ADDRESS), 10), (None, 60)] {
        let mut stage = Stage::new("--guests --rate-per-ip 5/s --announce-max 0");
        let bob = stage.connect();
        stage.pass(SECOND);
        for _ in 0..20 {
            let talker = stage.connect_from(address, WIDE);
            (0..3).for_each(|_| stage.say(talker, "said"));
            stage.run();
        }
        assert_eq!(received(&mut stage, bob), at_once, "{address:?}");
        stage.pass(2 * SECOND);
        assert_eq!(received(&mut stage, bob), 10.min(60 - at_once), "{address:?}");
        stage.pass(20 * SECOND);
        assert_eq!(at_once + 10.min(60 - at_once) + received(&mut stage, bob), 60, "nothing is lost");
        stage.end();
    }
}

#[test]
fn other_addresses_are_not_delayed_and_those_of_one_network_share_a_rate() {
    let mut stage = Stage::new("--rate-per-ip 5/s");
    let bob = stage.join("bob");
    let addresses = ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1"];
    let talkers: Vec<Wire> = (0..3).map(|n| join_from(&mut stage, addresses[n], &format!("t{n}"))).collect();
    stage.pass(10 * SECOND);
    stage.unread(bob);
    for talker in &talkers {
        (0..10).for_each(|_| stage.say(*talker, "said"));
        stage.run();
    }
    assert_eq!(received(&mut stage, bob), 10 + 10);
    stage.end();
}

#[test]
fn new_connections_do_not_escape_the_rate_of_posts() {
    let mut stage = Stage::new("--rate-per-ip 5/s");
    let bob = stage.join("bob");
    let wires: Vec<Wire> = (0..30)
        .map(|_| {
            let wire = stage.connect_http_from(ADDRESS, WIDE);
            stage.send(wire, post("/rooms/lobby/messages", "", "said").as_bytes());
            wire
        })
        .collect();
    stage.run();
    assert_eq!(received(&mut stage, bob), 10);
    let answered = |stage: &Stage| wires.iter().filter(|wire| stage.text(**wire).contains(" 202 ")).count();
    assert_eq!(answered(&stage), 10);
    stage.pass(4 * SECOND);
    assert_eq!(
        (received(&mut stage, bob), answered(&stage)),
        (20, 30),
        "the others wait, and none is refused"
    );
    stage.end();
}

#[test]
fn tabs_and_lines_of_an_address_share_its_rate() {
    let mut stage = Stage::new("--rate-per-ip 5/s");
    let bob = stage.join("bob");
    let line = join_from(&mut stage, ADDRESS, "line");
    let tabs = ["/ws?name=tab", "/raw/lobby?name=raw"].map(|path| {
        let wire = stage.connect_http_from(ADDRESS, WIDE);
        stage.send(wire, handshake(path, "").as_bytes());
        wire
    });
    stage.pass(10 * SECOND);
    stage.unread(bob);
    for _ in 0..8 {
        stage.say(line, "said");
        stage.send(tabs[0], &frame(TEXT, br#"{"type":"say","room":"lobby","text":"said"}"#));
        stage.send(tabs[1], &frame(TEXT, b"said"));
    }
    stage.run();
    assert_eq!(received(&mut stage, bob), 10);
    stage.pass(10 * SECOND);
    assert_eq!(received(&mut stage, bob), 14);
    stage.end();
}

#[test]
fn bytes_of_an_address_are_limited_over_all_its_connections() {
    let mut stage = Stage::new("--rate-bytes-per-ip 64k/s --max-per-ip off");
    let bob = stage.join("bob");
    // 128 KiB at once, by forty connections of 4,000 bytes each.
    for number in 0..40 {
        let talker = join_from(&mut stage, ADDRESS, &format!("t{number}"));
        stage.say(talker, &format!("said {}", "x".repeat(3_995)));
        stage.run();
    }
    assert_eq!(received(&mut stage, bob), 32);
    stage.pass(SECOND);
    assert_eq!(received(&mut stage, bob), 8);
    stage.end();
}

#[test]
fn malformed_requests_use_up_the_requests_of_their_address() {
    let mut stage = Stage::new("--requests-per-ip 1/s --max-per-ip off");
    let wires = [(); 6].map(|()| {
        let wire = stage.connect_http_from(ADDRESS, WIDE);
        stage.send(wire, b"GET / x\r\n\r\n");
        wire
    });
    for answered in [2, 3, 4] {
        stage.run();
        assert_eq!(wires.iter().filter(|wire| stage.text(**wire).contains("HTTP/1.1 ")).count(), answered);
        stage.pass(SECOND);
    }
    stage.end();
}

#[test]
fn requests_of_an_address_are_delayed_and_all_answered() {
    let mut stage = Stage::new("--requests-per-ip 5/s");
    let wires: Vec<Wire> = (0..4)
        .map(|_| {
            let wire = stage.connect_http_from(ADDRESS, WIDE);
            stage.send(wire, get("/healthz").repeat(5).as_bytes());
            wire
        })
        .collect();
    let answers =
        |stage: &Stage| wires.iter().map(|wire| stage.text(*wire).matches(" 200 ").count()).sum::<usize>();
    stage.run();
    assert_eq!(answers(&stage), 10);
    let other = stage.connect_http_from(OTHER, WIDE);
    stage.send(other, get("/healthz").as_bytes());
    stage.run();
    assert!(stage.text(other).contains(" 200 "));
    stage.pass(SECOND);
    assert_eq!(answers(&stage), 15);
    stage.pass(SECOND);
    assert_eq!(answers(&stage), 20);
    stage.end();
}

#[test]
fn pings_of_an_address_are_delayed_and_all_answered() {
    let mut stage = Stage::new("--requests-per-ip 5/s");
    let mut sockets: Vec<Wire> = Vec::new();
    for _ in 0..2 {
        let wire = stage.connect_http_from(ADDRESS, WIDE);
        stage.send(wire, handshake("/ws?room=", "").as_bytes());
        sockets.push(wire);
    }
    stage.pass(10 * SECOND);
    let pongs = |stage: &Stage| {
        let pong = [0x80 | PONG, 4, b'h', b'e', b'r', b'e'];
        let count = |wire: &Wire| stage.raw(*wire).windows(6).filter(|bytes| *bytes == pong).count();
        sockets.iter().map(count).sum::<usize>()
    };
    for wire in &sockets {
        stage.send(*wire, &frame(PING, b"here").repeat(10));
    }
    stage.run();
    assert_eq!(pongs(&stage), 10);
    stage.pass(3 * SECOND);
    assert_eq!(pongs(&stage), 20);
    // Clients on this machine have no such limit.
    let mut local = Socket::open(&mut stage, "/ws?room=");
    stage.send(local.wire, &frame(PING, b"here").repeat(40));
    stage.run();
    let answered = local.frames(&stage).iter().filter(|(opcode, _)| *opcode == PONG).count();
    assert_eq!(answered, 40);
    stage.end();
}

#[test]
fn address_that_connects_too_fast_is_told_at_both_listeners_and_may_try_again() {
    let mut stage = Stage::new("--connects-per-ip 5/s");
    for _ in 0..10 {
        let wire = stage.connect_from(Some(ADDRESS), WIDE);
        stage.run();
        stage.expect_contains(wire, "-- welcome to chinwag");
        stage.world().end(wire);
    }
    let line = stage.connect_from(Some(ADDRESS), WIDE);
    stage.expect(line, &["-- too many new connections from your address. wait a moment and try again"]);
    let http = stage.connect_http_from(ADDRESS, WIDE);
    stage.run();
    let answer = stage.text(http);
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 2\r\n"), "{answer}");
    assert!(answer.contains(r#""code":"too-many-arrivals""#), "{answer}");
    assert_eq!(stage.server.metrics().refused, 2);
    let other = stage.connect_from(Some(OTHER), WIDE);
    stage.run();
    stage.expect_contains(other, "-- welcome to chinwag");
    for _ in 0..50 {
        let local = stage.connect();
        stage.run();
        stage.expect_contains(local, "-- welcome to chinwag");
        stage.world().end(local);
    }
    stage.pass(SECOND / 5);
    let again = stage.connect_from(Some(ADDRESS), WIDE);
    stage.run();
    stage.expect_contains(again, "-- welcome to chinwag");
    stage.end();
}

#[test]
fn rates_by_address_can_be_lifted() {
    let flags = "--rate off --requests-per-ip off --connects-per-ip off --max-per-ip off";
    let mut stage = Stage::new(&format!("{flags} --guests --announce-max 0"));
    let bob = stage.connect();
    stage.pass(SECOND);
    for _ in 0..300 {
        let talker = stage.connect_from(Some(ADDRESS), WIDE);
        stage.say(talker, "said");
        let http = stage.connect_http_from(ADDRESS, WIDE);
        stage.send(http, get("/healthz").as_bytes());
        stage.run();
        assert!(stage.text(http).contains(" 200 "));
        stage.world().end(talker);
        stage.world().end(http);
    }
    assert_eq!(received(&mut stage, bob), 300);
    assert!(stage.server.roster().address_rates().is_empty());
    stage.end();
}

#[test]
fn addresses_are_removed_once_their_allowance_is_full_again() {
    let mut stage = Stage::new("");
    for number in 0..50 {
        join_from(&mut stage, &format!("10.0.1.{number}"), &format!("t{number}"));
    }
    assert_eq!(stage.server.roster().address_rates().len(), 50);
    stage.pass(5 * SECOND);
    assert_eq!(stage.server.roster().address_rates().len(), 0);
    let polls = stage.world().polls;
    stage.pass(20 * SECOND);
    assert!(stage.world().polls - polls <= 1, "nothing wakes the server");
    stage.end();
}

#[test]
fn client_is_told_of_delayed_messages_and_not_of_delayed_pings() {
    for (flags, bytes, notices) in [
        ("--requests-per-ip 1/s", frame(PING, b"here"), 0),
        ("--rate-per-ip 1/s", frame(TEXT, br#"{"type":"say","room":"lobby","text":"said"}"#), 1),
    ] {
        let mut stage = Stage::new(flags);
        let wire = stage.connect_http_from(ADDRESS, WIDE);
        stage.send(wire, handshake("/ws?room=lobby", "").as_bytes());
        stage.pass(10 * SECOND);
        stage.send(wire, &bytes.repeat(6));
        stage.run();
        assert_eq!(stage.server.metrics().delays, 1, "{flags}");
        let mut tab = Socket::upgraded(&stage, wire);
        let texts = tab.texts(&mut stage);
        assert_eq!(texts.iter().filter(|text| text.contains("you send fast")).count(), notices, "{flags}");
        stage.end();
    }
}

#[test]
fn client_over_the_rate_of_its_address_is_told_once() {
    let mut stage = Stage::new("--rate off --rate-per-ip 1/s");
    let talker = join_from(&mut stage, ADDRESS, "talker");
    stage.pass(10 * SECOND);
    (0..10).for_each(|_| stage.say(talker, "said"));
    stage.pass(30 * SECOND);
    assert_eq!(stage.text(talker).matches("-- you send fast").count(), 1);
    (0..10).for_each(|_| stage.say(talker, "said"));
    stage.pass(30 * SECOND);
    assert_eq!(stage.text(talker).matches("-- you send fast").count(), 2, "its bucket was full in between");
    stage.end();
}

#[test]
fn burst_of_an_address_is_that_of_two_seconds_whatever_the_unit_of_the_rate() {
    for (rate, burst) in [("120/m", 4), ("7200/h", 4), ("2/s", 4), ("1/m", 1)] {
        let mut stage = Stage::new(&format!("--connects-per-ip {rate} --max-per-ip off"));
        let wires: Vec<Wire> = (0..8).map(|_| stage.connect_from(Some(ADDRESS), WIDE)).collect();
        stage.run();
        let admitted = wires.iter().filter(|wire| stage.text(**wire).contains("-- welcome")).count();
        assert_eq!(admitted, burst, "{rate}");
        stage.end();
    }
}

#[test]
fn pings_of_a_client_that_waits_for_its_rate_count_against_its_address() {
    let mut stage = Stage::new("--rate 1/m --burst 1 --requests-per-ip 5/s --ping-interval 1h");
    let wire = stage.connect_http_from(ADDRESS, WIDE);
    stage.send(wire, handshake("/ws?room=", "").as_bytes());
    stage.pass(60 * SECOND);
    let mut tab = Socket::upgraded(&stage, wire);
    let mut pongs = |stage: &Stage| tab.frames(stage).iter().filter(|(opcode, _)| *opcode == PONG).count();
    (0..2).for_each(|_| stage.send(wire, &frame(TEXT, br#"{"type":"rooms"}"#)));
    stage.send(wire, &frame(PING, b"here").repeat(20));
    stage.run();
    assert_eq!(pongs(&stage), 10, "the burst of the address");
    stage.pass(61 * SECOND);
    assert_eq!(pongs(&stage), 10, "the others were only delayed");
    stage.end();
}

#[test]
fn client_whose_pings_were_delayed_is_told_of_delayed_messages() {
    let mut stage = Stage::new("--rate 1/s --burst 2 --requests-per-ip 1/s");
    let wire = stage.connect_http_from(ADDRESS, WIDE);
    stage.send(wire, handshake("/ws?room=lobby", "").as_bytes());
    stage.pass(10 * SECOND);
    stage.send(wire, &frame(PING, b"here").repeat(6));
    stage.pass(5 * SECOND - SECOND / 2);
    assert!(stage.server.metrics().delays > 0);
    let delays = stage.server.metrics().delays;
    stage.send(wire, &frame(TEXT, br#"{"type":"say","room":"lobby","text":"said"}"#).repeat(6));
    stage.pass(10 * SECOND);
    assert!(stage.server.metrics().delays > delays);
    let mut tab = Socket::upgraded(&stage, wire);
    let texts = tab.texts(&mut stage);
    assert_eq!(texts.iter().filter(|text| text.contains("you send fast")).count(), 1, "{texts:?}");
    stage.end();
}
