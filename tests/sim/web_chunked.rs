//! Bodies in chunks at the HTTP listener. `tests/pure/chunked.rs` tests the codec; here are limits, timeouts and the
//! connection afterwards.

use std::time::Duration;

use crate::stage::Stage;
use crate::web::{ask, ask_once, chunked, get};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

fn unused_bytes(stage: &mut Stage, wire: Wire) -> usize {
    let token = stage.world().token(wire).unwrap();
    stage.server.inboxes().unused_bytes(token.slot)
}

#[test]
fn chunked_body_is_published_however_it_is_cut() {
    let request =
        chunked("chunked", "3;a=\"b\"\r\nthe\r\n6\r\n build\r\n0\r\nX: y\r\n\r\n") + &get("/healthz");
    for cut in (1..request.len()).step_by(7) {
        let mut stage = Stage::new("");
        let ann = stage.join("ann");
        let wire = stage.connect_http();
        let (one, other) = request.split_at(cut);
        let answers = ask(&mut stage, wire, one) + &ask(&mut stage, wire, other);
        assert!(answers.contains("{\"seq\":1,\"queued_for\":1}"), "{answers}");
        assert!(answers.ends_with("{\"status\":\"ok\"}\n"), "the next request follows: {answers}");
        stage.expect(ann, &["http: the build"]);
        stage.end();
    }
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    let wire = stage.connect_http();
    for byte in request.bytes() {
        stage.send(wire, &[byte]);
        stage.run();
    }
    stage.expect(ann, &["http: the build"]);
    assert_eq!(String::from_utf8_lossy(stage.raw(wire)).matches("HTTP/1.1 ").count(), 2);
    stage.end();
}

#[test]
fn client_that_expects_100_continue_sends_its_chunks_after_it() {
    let mut stage = Stage::new("");
    let wire = stage.connect_http();
    let head = chunked("chunked", "").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(ask(&mut stage, wire, &head), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(ask(&mut stage, wire, "2\r\nhi\r\n"), "");
    assert!(ask(&mut stage, wire, "0\r\n\r\n").starts_with("HTTP/1.1 202 "));
    stage.end();
}

#[test]
fn chunks_are_refused_at_the_first_over_the_limit() {
    let mut stage = Stage::new("--message-max 1000");
    let hundred = format!("64\r\n{}\r\n", "x".repeat(100));
    let most = chunked("chunked", &(hundred.repeat(10) + "0\r\n\r\n"));
    assert!(ask_once(&mut stage, &most).starts_with("HTTP/1.1 202 "));
    let wire = stage.connect_http();
    assert_eq!(ask(&mut stage, wire, &chunked("chunked", &hundred.repeat(10))), "");
    let answer = ask(&mut stage, wire, "1\r\n");
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close\r\n"), "{answer}");
    // The client keeps sending because it has not read the answer yet.
    assert_eq!(ask(&mut stage, wire, &hundred.repeat(10)), "", "nothing behind it is read");
    assert!(!stage.gave_up_on(wire));
    stage.end();
}

#[test]
fn slow_chunks_are_answered_with_a_timeout() {
    let mut stage = Stage::new("--http-timeout 10s");
    let wire = stage.connect_http();
    stage.send(wire, chunked("chunked", "").as_bytes());
    for _ in 0..9 {
        stage.pass(SECOND);
        stage.send(wire, b"1\r\nx\r\n");
    }
    stage.run();
    assert_eq!(stage.raw(wire), b"", "it has its time");
    stage.pass(2 * SECOND);
    let answer = String::from_utf8_lossy(stage.raw(wire)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close\r\n"), "{answer}");
    stage.end();
}

#[test]
fn overhead_of_chunks_holds_no_input() {
    let mut stage = Stage::new("--http-timeout 60s");
    let wire = stage.connect_http();
    stage.send(wire, chunked("chunked", "").as_bytes());
    let chunk = "0000000000000001\r\nx\r\n".repeat(1_000);
    for _ in 0..60 {
        stage.send(wire, chunk.as_bytes());
        stage.run();
        assert!(unused_bytes(&mut stage, wire) < 1_024);
    }
    assert!(ask(&mut stage, wire, "0\r\n\r\n").starts_with("HTTP/1.1 202 "));
    let wire = stage.connect_http();
    let extended = format!("1;{}\r\nx\r\n", "e".repeat(1_000)).repeat(9);
    let answer = ask(&mut stage, wire, &chunked("chunked", &extended));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let wire = stage.connect_http();
    let trailer = format!("0\r\nX: {}", "y".repeat(9_000));
    let answer = ask(&mut stage, wire, &chunked("chunked", &trailer));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    stage.end();
}

#[test]
fn chunked_messages_are_held_to_the_rate() {
    let mut stage = Stage::new("--rate 5/s --burst 2");
    let wire = stage.connect_http();
    let many = chunked("chunked", "1\r\nx\r\n0\r\n\r\n").repeat(4);
    assert_eq!(ask(&mut stage, wire, &many).matches("HTTP/1.1 202").count(), 2);
    stage.pass(SECOND);
    assert_eq!(String::from_utf8_lossy(stage.raw(wire)).matches("HTTP/1.1 202").count(), 4);
    stage.end();
}

#[test]
fn body_that_ends_early_is_not_published() {
    for chunks in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n"] {
        let mut stage = Stage::new("");
        let ann = stage.join("ann");
        let wire = stage.connect_http();
        stage.send(wire, chunked("chunked", chunks).as_bytes());
        stage.world().end(wire);
        stage.expect(ann, &[]);
        assert_eq!(stage.raw(wire), b"", "{chunks:?}");
        stage.end();
    }
}
