//! Clients of other protocols at the line listener, and connections that send nothing, are invisible to everybody else.

use std::time::Duration;

use crate::stage::{Stage, WIDE};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// A request that a web page can make a browser send.
const FORGED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n\n/nick boss\nhello\n";

/// First bytes of other protocols, and a part of the answer to each.
const OTHERS: [(&[u8], &str); 8] = [
    (FORGED, "400 Bad Request"),
    (b"get /%0ahello HTTP/1.0\r\n\r\nhello\n", "400 Bad Request"),
    (b"x-any http://a/ HTTP/1.1\r\n\r\nhello\n", "400 Bad Request"),
    (b"GET /\r\nhello\n", "400 Bad Request"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "400 Bad Request"),
    (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "that is another protocol"),
    (b"OPTIONS rtsp://a/ RTSP/1.0\r\n\r\nhello\n", "that is another protocol"),
    (b"*1\r\n$4\r\nPING\r\n", "that is another protocol"),
];

/// A server with bob in its lobby, who reads everything.
fn with_bob(flags: &str) -> (Stage, Wire) {
    let mut stage = Stage::new(&format!("--rate off {flags}"));
    let bob = stage.connect();
    stage.say(bob, if flags.contains("--guests") { "/nick bob" } else { "bob" });
    stage.run();
    stage.unread(bob);
    (stage, bob)
}

/// Checks that the client got this answer and was closed, and that bob has read nothing.
#[track_caller]
fn assert_sent_away(stage: &mut Stage, wire: Wire, bob: Wire, answer: &str) {
    stage.run();
    stage.expect_contains(wire, answer);
    assert!(!stage.text(wire).contains("hello guest"), "{}", stage.text(wire));
    assert!(stage.world().is_over(wire), "still open");
    stage.pass(2 * SECOND);
    stage.expect(bob, &[]);
    let census = stage.server.chat().census();
    assert_eq!((census.clients, census.names), (1, 1));
}

#[test]
fn other_protocols_never_become_guests_however_they_are_cut() {
    for flags in ["", "--guests"] {
        for (input, answer) in OTHERS {
            for cut in 0..input.len() {
                let (mut stage, bob) = with_bob(flags);
                let wire = stage.connect();
                stage.send(wire, &input[..cut]);
                stage.run();
                stage.send(wire, &input[cut..]);
                assert_sent_away(&mut stage, wire, bob, answer);
            }
        }
    }
}

#[test]
fn http_request_gets_an_http_answer_if_nothing_was_sent_before() {
    let (mut stage, _) = with_bob("--guests --line-max 128");
    for request in [FORGED.to_vec(), format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(500)).into_bytes()] {
        let wire = stage.connect();
        stage.send(wire, &request);
        stage.run();
        let text = stage.text(wire);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("use the HTTP listener"), "{body}");
    }
    stage.end();
}

#[test]
fn other_protocols_do_not_wait_in_the_queue() {
    for flags in ["--max-clients 1", "--max-clients 1 --guests"] {
        for (input, answer) in OTHERS {
            for cut in 0..input.len() {
                let (mut stage, bob) = with_bob(flags);
                let wire = stage.connect();
                stage.send(wire, &input[..cut]);
                stage.run();
                assert_eq!(stage.server.waiting(), usize::from(!stage.world().is_over(wire)));
                stage.send(wire, &input[cut..]);
                assert_sent_away(&mut stage, wire, bob, answer);
                assert_eq!(stage.server.waiting(), 0);
                stage.end();
            }
        }
    }
}

#[test]
fn request_line_longer_than_the_inbox_does_not_wait_in_the_queue() {
    for flags in ["--max-clients 1", "--max-clients 1 --line-max 64k", "--max-clients 1 --line-max 128"] {
        let (mut stage, bob) = with_bob(flags);
        let wire = stage.connect();
        stage.send(wire, format!("GET /{} HTTP/1.1\r\n\r\nhello\n", "x".repeat(100_000)).as_bytes());
        assert_sent_away(&mut stage, wire, bob, "400 Bad Request");
    }
}

#[test]
fn request_behind_an_empty_line_closes_the_guest() {
    let (mut stage, bob) = with_bob("");
    let wire = stage.connect();
    stage.send(wire, b"\r\n");
    stage.run();
    stage.send(wire, FORGED);
    stage.expect(bob, &["-- guest-2 joined", "-- guest-2 left"]);
    stage.expect_contains(wire, "400 Bad Request");
    // An empty line and a request in one segment are recognised together.
    let wire = stage.connect();
    stage.send(wire, &[b"\r\n\r\n", FORGED].concat());
    assert_sent_away(&mut stage, wire, bob, "400 Bad Request");
    stage.end();
}

#[test]
fn person_may_be_called_get_and_write_about_requests() {
    let (mut stage, bob) = with_bob("");
    let get = stage.join("GET");
    stage.say(get, "GET / HTTP/1.1");
    stage.expect(bob, &["-- GET joined", "GET: GET / HTTP/1.1"]);
    let other = stage.connect();
    stage.say(other, "GET well soon");
    stage.pass(SECOND);
    stage.expect_contains(other, "-- a name has no space in it. what's your name?");
    stage.end();
}

#[test]
fn connection_that_sends_nothing_is_invisible() {
    for flags in ["", "--guests", "--guests --max-clients 1"] {
        let (mut stage, bob) = with_bob(flags);
        for how in 0..4 {
            let wire = stage.connect_from(None, WIDE);
            match how {
                0 => stage.world().end(wire),
                1 => stage.world().reset(wire),
                // A telnet client that sends its options and closes.
                2 => {
                    stage.send(wire, b"\xff\xfb\x18\xff\xfd\x03");
                    stage.run();
                    stage.world().end(wire);
                }
                _ => {
                    stage.pass(SECOND / 10);
                    stage.world().end(wire);
                }
            }
            stage.pass(2 * SECOND);
            stage.expect(bob, &[]);
            assert!(!stage.text(wire).contains("-- hello"), "{}", stage.text(wire));
        }
        // These connections have used up no guest numbers either.
        stage.say(bob, "/quit");
        stage.run();
        let next = stage.connect();
        stage.say(next, "");
        stage.pass(SECOND);
        let number = if flags.contains("--guests") { 2 } else { 6 };
        stage.expect_contains(next, &format!("-- hello guest-{number}. "));
        stage.end();
    }
}

#[test]
fn guest_that_sends_nothing_joins_after_a_moment() {
    let (mut stage, bob) = with_bob("--guests");
    let listener = stage.connect();
    stage.pass(SECOND / 5);
    stage.expect(bob, &[]);
    stage.say(bob, "early");
    stage.pass(SECOND);
    stage.expect(bob, &["-- guest-2 joined"]);
    stage.say(bob, "late");
    let hello = "-- hello guest-2. you are in #lobby with bob. /help lists the commands";
    stage.expect(listener, &[hello, "-- 0 s ago bob: early", "bob: late"]);
    stage.end();
}
