//! Deadlines count from the latest change of a connection's state, not from an earlier one.

use std::time::Duration;

use crate::socket::{PING, Socket, TEXT};
use crate::stage::Stage;
use crate::web::{ask, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

const IDLE: &str = "-- you were idle for too long. connect again to go on";
const NO_NAME: &str = "-- you gave no name in time. connect again to try again";

#[test]
fn idle_time_counts_from_the_name_and_not_from_the_prompt() {
    let mut stage = Stage::new("--name-timeout 60s --idle-timeout 60s");
    let ann = stage.connect();
    stage.pass(59 * SECOND);
    stage.say(ann, "ann");
    stage.pass(59 * SECOND);
    assert!(!stage.text(ann).contains(IDLE));
    stage.pass(2 * SECOND);
    assert!(stage.text(ann).contains(IDLE));
    stage.end();
}

#[test]
fn time_for_the_name_counts_from_the_prompt_and_not_from_the_queue() {
    let mut stage = Stage::new("--name-timeout 60s --max-clients 1 --max-waiting 1");
    let ann = stage.join("ann");
    let bob = stage.connect();
    stage.pass(300 * SECOND);
    stage.say(ann, "/quit");
    stage.pass(59 * SECOND);
    assert!(!stage.text(bob).contains(NO_NAME));
    stage.pass(2 * SECOND);
    assert!(stage.text(bob).contains(NO_NAME));
    stage.end();
}

#[test]
fn idle_time_counts_from_the_last_line_handled_and_not_from_the_last_received() {
    let mut stage = Stage::new("--idle-timeout 10s --rate 1/s --burst 1");
    let ann = stage.join("ann");
    (0..20).for_each(|number| stage.say(ann, &format!("{number}")));
    // The last of them is handled after 20 s.
    stage.pass(29 * SECOND);
    assert!(!stage.text(ann).contains(IDLE));
    stage.pass(3 * SECOND);
    assert!(stage.text(ann).contains(IDLE));
    stage.end();
}

#[test]
fn request_has_its_whole_timeout_after_the_last_answer() {
    let mut stage = Stage::new("--http-timeout 10s");
    let wire = stage.connect_http();
    for _ in 0..5 {
        stage.pass(9 * SECOND);
        assert!(ask(&mut stage, wire, &get("/healthz")).starts_with("HTTP/1.1 200 "));
    }
    stage.pass(9 * SECOND);
    assert!(stage.world().token(wire).is_some());
    stage.pass(10 * SECOND);
    assert!(stage.world().is_over(wire));
    stage.end();
}

const TENTH: Duration = Duration::from_millis(100);

/// Requests in two parts, of which the second must follow within the timeout.
fn cut_requests() -> [(String, &'static str); 4] {
    let message = post("/rooms/a/messages", "", "hello");
    let chunks =
        "POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe";
    [
        (message.strip_suffix("lo").expect("a body").into(), "lo"),
        (message.strip_suffix("\r\nhello").expect("a body").into(), "\r\nhello"),
        (chunks.into(), "llo\r\n0\r\n\r\n"),
        ("\r\nG".into(), "ET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ]
}

#[test]
fn request_that_has_begun_in_time_has_its_whole_timeout() {
    for (first, rest) in cut_requests() {
        for is_kept in [false, true] {
            for (pause, is_in_time) in [(99 * TENTH, true), (101 * TENTH, false)] {
                let mut stage = Stage::new("--http-timeout 10s");
                let wire = stage.connect_http();
                if is_kept {
                    assert!(ask(&mut stage, wire, &get("/healthz")).starts_with("HTTP/1.1 200 "));
                }
                stage.pass(98 * TENTH);
                assert_eq!(ask(&mut stage, wire, &first), "");
                stage.pass(pause);
                stage.send(wire, rest.as_bytes());
                stage.run();
                let status = if is_in_time { "HTTP/1.1 20" } else { "HTTP/1.1 408 " };
                let shown = format!("{first:?} after {is_kept} {pause:?}");
                let text = stage.text(wire);
                assert_eq!(
                    text.matches(status).count(),
                    1 + usize::from(is_kept && is_in_time),
                    "{shown}: {text}"
                );
                stage.end();
            }
        }
    }
}

/// The second request begins in the segment that completes the first.
#[test]
fn pipelined_request_that_has_begun_has_its_whole_timeout() {
    for (first, rest) in cut_requests() {
        for (pause, is_in_time) in [(99 * TENTH, true), (101 * TENTH, false)] {
            let mut stage = Stage::new("--http-timeout 10s");
            let wire = stage.connect_http();
            assert_eq!(ask(&mut stage, wire, &first), "");
            stage.pass(98 * TENTH);
            let answer = ask(&mut stage, wire, &format!("{rest}{first}"));
            assert_eq!(answer.matches("HTTP/1.1 20").count(), 1, "{answer}");
            stage.pass(pause);
            let answer = ask(&mut stage, wire, rest);
            assert_eq!(answer.starts_with("HTTP/1.1 20"), is_in_time, "{first:?} {pause:?}: {answer}");
            stage.end();
        }
    }
}

/// RFC 9110, 9.3.2.
#[test]
fn head_request_that_takes_too_long_is_sent_408_without_a_body() {
    let start = "/healthz HTTP/1.1\r\nHost: localhost\r\n";
    for (request, has_body) in [
        (format!("HEAD {start}"), false),
        (format!("HEAD {start}Content-Length: 5\r\n\r\nhel"), false),
        (format!("HEAD {start}Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), false),
        (format!("GET {start}"), true),
        (format!("GET {start}Content-Length: 9\r\n\r\nHEAD "), true),
        ("HEADER ".into(), true),
    ] {
        for flags in ["--http-timeout 10s", "--http-timeout 1h --max-http 1"] {
            let mut stage = Stage::new(flags);
            let wire = stage.connect_http();
            assert_eq!(ask(&mut stage, wire, &request), "");
            stage.pass(2 * SECOND);
            // With the second flags it is evicted for this one.
            stage.connect_http();
            stage.pass(10 * SECOND);
            let text = stage.text(wire);
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with("HTTP/1.1 408 ") && body.is_empty() != has_body, "{request:?}: {text}");
            stage.end();
        }
    }
}

/// Sends a byte each half second on a connection that has had a response, until the connection is closed. Returns their number.
fn bytes_until_closed(request: &str) -> usize {
    let mut stage = Stage::new("--http-timeout 10s");
    let wire = stage.connect_http();
    ask(&mut stage, wire, &get("/healthz"));
    let mut sent = 0;
    for byte in request.bytes() {
        if stage.world().is_over(wire) {
            break;
        }
        stage.send(wire, &[byte]);
        stage.pass(5 * TENTH);
        sent += 1;
    }
    stage.end();
    sent
}

#[test]
fn blank_lines_extend_no_timeout() {
    assert_eq!(bytes_until_closed(&"\r\n".repeat(60)), 20);
}

#[test]
fn further_parts_of_a_request_extend_no_timeout() {
    let request = get("/healthz").replace("Host", &format!("X: {}\r\nHost", "x".repeat(60)));
    assert_eq!(bytes_until_closed(&request), 20);
}

#[test]
fn tab_is_pinged_a_whole_interval_after_it_last_sent() {
    let mut stage = Stage::new("--ping-interval 20s --ping-timeout 10s");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.texts(&mut stage);
    for _ in 0..5 {
        stage.pass(19 * SECOND);
        tab.say(&mut stage, r#"{"type":"who","room":"lobby"}"#);
        stage.run();
    }
    assert!(tab.frames(&stage).iter().all(|(opcode, _)| *opcode != PING));
    stage.pass(19 * SECOND);
    assert!(tab.frames(&stage).is_empty());
    stage.pass(2 * SECOND);
    assert_eq!(tab.frames(&stage)[0].0, PING);
    stage.end();
}

#[test]
fn tab_that_reads_again_after_a_stall_has_a_whole_interval_before_the_next_ping() {
    let flags =
        "--rate off --ping-interval 20s --ping-timeout 10s --write-buffer-soft off --stall-timeout off";
    let mut stage = Stage::new(flags);
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=lobby");
    stage.stall(tab.wire);
    // More than half of the write buffer, over which a client is not read.
    (0..40).for_each(|_| stage.say(ann, &"x".repeat(4_000)));
    stage.pass(60 * SECOND);
    stage.read_again(tab.wire);
    stage.run();
    assert_eq!(tab.frames(&stage).iter().filter(|(opcode, _)| *opcode == TEXT).count(), 42);
    stage.pass(19 * SECOND);
    assert!(tab.frames(&stage).is_empty(), "it could not answer a ping that it had not read");
    stage.pass(2 * SECOND);
    assert_eq!(tab.frames(&stage)[0].0, PING);
    stage.end();
}

/// A peer with a window of 4 KiB that has asked for some 100 kB and reads nothing by itself.
fn reader_of_a_long_answer(flags: &str) -> (Stage, Wire) {
    let mut stage = Stage::new(&format!("--rate off --write-buffer-soft off {flags}"));
    let publisher = stage.connect_http();
    (0..25).for_each(|_| {
        ask(&mut stage, publisher, &post("/rooms/big/messages", "", &"x".repeat(4_000)));
    });
    let reader = stage.connect_http();
    stage.run();
    stage.set_eager(reader, false);
    stage.world().set_window(reader, 4_096);
    stage.send(reader, get("/rooms/big/messages").as_bytes());
    (stage, reader)
}

#[test]
fn peer_that_does_not_read_its_answer_is_dropped_under_both_policies() {
    for policy in ["drop", "skip"] {
        let flags = format!("--slow-client {policy} --stall-timeout 3s --http-timeout 1s");
        let (mut stage, reader) = reader_of_a_long_answer(&flags);
        stage.pass(3 * SECOND - SECOND / 10);
        assert_eq!(stage.server.metrics().dropped_stalled, 0, "{policy}");
        stage.pass(SECOND);
        assert_eq!(stage.server.metrics().dropped_stalled, 1, "{policy}");
        stage.pass(4 * SECOND);
        assert!(stage.world().is_closed(reader) && stage.server.roster().is_empty(), "{policy}");
        stage.end();
    }
}

#[test]
fn answer_may_take_longer_than_the_timeout_of_a_request() {
    let (mut stage, reader) = reader_of_a_long_answer("--http-timeout 5s --stall-timeout 30s");
    for _ in 0..20 {
        stage.pass(SECOND);
        stage.receive(reader, 2_048);
    }
    stage.read_again(reader);
    stage.run();
    let text = stage.text(reader);
    assert!(text.ends_with("}\n") && text.len() > 60_000, "{} bytes: {text:.300}", text.len());
    // The time for the next request counts from there.
    stage.pass(4 * SECOND);
    assert!(ask(&mut stage, reader, &get("/healthz")).starts_with("HTTP/1.1 200 "));
    stage.pass(6 * SECOND);
    assert!(stage.world().is_over(reader));
    stage.end();
}
