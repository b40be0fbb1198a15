//! The HTTP listener on virtual sockets: requests, WebSocket clients and listeners among line clients. Faults are in
//! `web_faults.rs`, limits in `web_limits.rs`.

use std::time::Duration;

use crate::socket::{BINARY, CONTINUE, PING, PONG, Socket, TEXT, fragment, frame, handshake};
use crate::stage::Stage;
use crate::world::Wire;

/// Sends a request and returns all bytes that were read since.
pub fn ask(stage: &mut Stage, wire: Wire, request: &str) -> String {
    let before = stage.raw(wire).len();
    stage.send(wire, request.as_bytes());
    stage.run();
    String::from_utf8_lossy(&stage.raw(wire)[before..]).into_owned()
}

/// Sends a request on a connection of its own.
pub fn ask_once(stage: &mut Stage, request: &str) -> String {
    let wire = stage.connect_http();
    ask(stage, wire, request)
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub fn post(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// A message for the lobby with that transfer coding.
pub fn chunked(coding: &str, chunks: &str) -> String {
    let head = "POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\n";
    format!("{head}Transfer-Encoding: {coding}\r\n\r\n{chunks}")
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn line_client_tab_and_publisher_chat() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=lobby");
    stage.expect(ann, &["-- tab joined"]);
    let texts = tab.texts(&mut stage);
    assert_eq!(texts[0], r#"{"type":"welcome","id":"000000000000c0de-1","name":"tab"}"#);
    assert_eq!(
        texts[1],
        r#"{"type":"joined","room":"lobby","name":"tab","count":2,"by":"000000000000c0de-1","epoch":"000000000000c0de-0","seq":0}"#
    );
    stage.say(ann, "hi");
    tab.say(&mut stage, r#"{"type":"say","room":"lobby","text":"two\nlines","id":"x1"}"#);
    stage.expect(ann, &["tab: two lines"]);
    let texts = tab.texts(&mut stage);
    assert!(texts.iter().any(|text| text.contains(r#""from":"ann","text":"hi","seq":"#)), "{texts:?}");
    let own = texts.iter().find(|text| text.contains(r#""from":"tab""#)).expect("the receipt");
    assert!(own.contains(r#""text":"two\nlines""#) && own.ends_with(r#""id":"x1"}"#), "{own}");
    let answer = ask_once(&mut stage, &post("/rooms/lobby/messages?from=ci", "", "green"));
    assert!(
        answer.starts_with("HTTP/1.1 202 ") && answer.contains(r#"{"seq":3,"queued_for":2}"#),
        "{answer}"
    );
    stage.expect(ann, &["ci (http): green"]);
    assert!(tab.texts(&mut stage)[0].contains(r#""from":"ci","text":"green","seq":3"#));
    let answer = ask_once(&mut stage, &post("/rooms/lobby/messages", JSON, "{\"x\": [1.50, null]}"));
    assert!(answer.contains(r#""seq":4"#), "{answer}");
    stage.expect(ann, &[r#"http: {"x":[1.50,null]}"#]);
    assert!(tab.texts(&mut stage)[0].contains(r#""from":"http","data":{"x":[1.50,null]},"seq":4"#));
    stage.end();
}

#[test]
fn tab_joins_many_rooms_and_has_an_echo_where_it_asks_for_it() {
    let mut stage = Stage::new("");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=");
    let mut other = Socket::open(&mut stage, "/ws?room=a&echo=1");
    for request in [
        r#"{"type":"join","room":"a","echo":true}"#,
        r#"{"type":"join","room":"b"}"#,
        r#"{"type":"say","room":"a","text":"one"}"#,
        r#"{"type":"say","room":"b","text":"two"}"#,
        r#"{"type":"say","room":"c","text":"three","id":3}"#,
    ] {
        tab.say(&mut stage, request);
    }
    let texts = tab.texts(&mut stage);
    assert_eq!(texts.iter().filter(|text| text.contains(r#""type":"message""#)).count(), 1, "{texts:?}");
    assert!(
        texts.last().unwrap().contains(r#""code":"not_in_room""#)
            && texts.last().unwrap().contains(r#""id":3"#)
    );
    assert!(other.texts(&mut stage).iter().any(|text| text.contains(r#""text":"one""#)));
    stage.world().end(tab.wire);
    let texts = other.texts(&mut stage);
    assert!(
        texts.last().unwrap().starts_with(r#"{"type":"left","room":"a","name":"tab","count":1"#),
        "{texts:?}"
    );
    stage.end();
}

#[test]
fn programs_relay_any_bytes_and_people_see_the_texts() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    let mut one = Socket::open(&mut stage, "/raw/lobby?name=one&echo=1");
    let mut two = Socket::open(&mut stage, "/raw/lobby?name=two");
    stage.expect(ann, &["-- one joined", "-- two joined"]);
    stage.send(one.wire, &frame(BINARY, [0, 255, 10]));
    // A message in two fragments, with a ping between them.
    stage.send(one.wire, &fragment(TEXT, "sn".as_bytes()));
    stage.send(one.wire, &frame(PING, b"?"));
    stage.send(one.wire, &fragment(0x80 | CONTINUE, "ow \u{1b}\u{2603}".as_bytes()));
    stage.run();
    let relayed = [(BINARY, vec![0, 255, 10]), (TEXT, "snow \u{1b}\u{2603}".as_bytes().to_vec())];
    assert_eq!(two.frames(&stage), relayed);
    let mut own = one.frames(&stage);
    own.retain(|(opcode, payload)| (*opcode, &payload[..]) != (PONG, b"?"));
    assert_eq!(own, relayed);
    stage.expect(ann, &["one: snow \u{2603}"]);
    stage.say(ann, "programs don't see this");
    stage.run();
    assert_eq!(two.frames(&stage), []);
    stage.end();
}

#[test]
fn sse_client_receives_messages_and_those_since_its_last_id() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    let tail = stage.connect_http();
    let head = ask(&mut stage, tail, &get("/rooms/lobby/events"));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    stage.expect(ann, &[]);
    stage.say(ann, "one");
    stage.say(ann, "two");
    stage.run();
    stage.expect_contains(
        tail,
        "\n\nid: 000000000000c0de-0-1\ndata: {\"type\":\"message\",\"room\":\"lobby\",\"from\":\"ann\",\"text\":\"one\"",
    );
    let again = stage.connect_http();
    let since = "GET /rooms/lobby/events HTTP/1.1\r\nHost: localhost\r\n\
                 Last-Event-ID: 000000000000c0de-0-1\r\n\r\n";
    let received = ask(&mut stage, again, since);
    assert!(
        received.contains("\r\n\r\nid: 000000000000c0de-0-2\n") && !received.contains("-0-1\n"),
        "{received}"
    );
    let rooms = ask_once(&mut stage, &get("/rooms"));
    assert!(rooms.contains(r#"{"room":"lobby","count":1}"#), "who listens is no member: {rooms}");
    stage.pass(Duration::from_secs(26));
    stage.expect_contains(again, "\n\n:\n\n");
    stage.end();
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let mut stage = Stage::new("");
    let wire = stage.connect_http();
    let both =
        get("/healthz") + &get("/readyz") + "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + &get("/nowhere");
    let answers = ask(&mut stage, wire, &both);
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "200", "404"], "{answers}");
    assert!(answers.contains(r#"{"status":"ready"}"#) && !answers.contains("<html"), "{answers}");
    let last = ask(&mut stage, wire, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(last.contains("connection: close\r\n"), "{last}");
    let old = ask_once(&mut stage, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.contains("connection: close\r\n"), "{old}");
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.server.roster().len(), 0, "both are closed");
    stage.end();
}

#[test]
fn errors_of_a_path_name_its_methods_and_types() {
    let mut stage = Stage::new("");
    for (request, expected) in [
        (post("/healthz", "", ""), "HTTP/1.1 405 "),
        (post("/healthz", "", ""), "allow: HEAD, GET, OPTIONS\r\n"),
        (
            "DELETE /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            "allow: HEAD, GET, POST, OPTIONS\r\n",
        ),
        (get("/ws"), "HTTP/1.1 426 "),
        (get("/ws"), "sec-websocket-version: 13\r\n"),
        (get("/rooms/a%20b/messages"), "HTTP/1.1 400 "),
        (get("/rooms/never/messages"), "HTTP/1.1 404 "),
        (get("/rooms/lobby/messages?limit=x"), "HTTP/1.1 400 "),
        (post("/rooms/a/messages?from=a%20b", "", "x"), r#""code":"bad_name""#),
        (post("/rooms/a/messages", "Content-Type: image/png\r\n", "x"), "HTTP/1.1 415 "),
        (get("/main.js"), "content-type: text/javascript"),
        (get("/"), "content-security-policy: default-src 'none';"),
    ] {
        let answer = ask_once(&mut stage, &request);
        assert!(answer.contains(expected), "{request}\n{answer}");
    }
    stage.end();
}

#[test]
fn page_is_not_sent_again_until_it_changes() {
    let mut stage = Stage::new("");
    let page = ask_once(&mut stage, &get("/"));
    let tag = page.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let again = format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n");
    let answer = ask_once(&mut stage, &again);
    assert!(answer.starts_with("HTTP/1.1 304 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    stage.end();
}

#[test]
fn client_that_expects_100_continue_is_sent_it() {
    let mut stage = Stage::new("");
    let wire = stage.connect_http();
    let head = "POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                Content-Length: 2\r\n\r\n";
    assert_eq!(ask(&mut stage, wire, head), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(ask(&mut stage, wire, "hi").starts_with("HTTP/1.1 202 "));
    stage.end();
}

#[test]
fn name_in_use_can_be_neither_taken_nor_published_under() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    let answer = ask_once(&mut stage, &post("/rooms/lobby/messages?from=Ann", "", "x"));
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    let answer = ask_once(&mut stage, &handshake("/raw/lobby?name=ann", ""));
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    let mut tab = Socket::open(&mut stage, "/ws?name=ann");
    let texts = tab.texts(&mut stage);
    assert!(
        texts[0].contains(r#""code":"name_taken""#) && texts[1].contains(r#""name":"guest-2""#),
        "{texts:?}"
    );
    stage.expect(ann, &["-- guest-2 joined"]);
    stage.end();
}

#[test]
fn shutdown_is_announced_to_json_raw_and_sse_clients() {
    let mut stage = Stage::new("");
    let mut tab = Socket::open(&mut stage, "/ws");
    let mut program = Socket::open(&mut stage, "/raw/lobby");
    let tail = stage.connect_http();
    ask(&mut stage, tail, &get("/rooms/lobby/events"));
    stage.world().signal(chinwag::net::Signal::Terminate);
    stage.run();
    let texts: Vec<_> = stage.raw(tab.wire).windows(5).filter(|part| part == b"\"bye\"").collect();
    assert_eq!(texts.len(), 1);
    assert_eq!(tab.closed(&mut stage), (1001, "the server is shutting down".into()));
    assert_eq!(program.closed(&mut stage).0, 1001);
    stage.expect_contains(
        tail,
        "event: bye\ndata: {\"type\":\"bye\",\"reason\":\"the server is shutting down\"}\n\n",
    );
}
