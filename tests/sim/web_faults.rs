//! Faults at the HTTP listener, by their numbers in `src/guide/faults.md`.

use std::time::Duration;

use crate::socket::{BINARY, CLOSE, CONTINUE, PING, PONG, Socket, TEXT, fragment, frame, handshake};
use crate::stage::Stage;
use crate::web::{ask, ask_once, chunked, get, post};
use crate::world::Weather;

/// Returns the close code for those bytes, sent in one piece and a byte at a time.
#[track_caller]
fn code_after(bytes: &[u8]) -> u16 {
    let codes = [bytes.len(), 1].map(|piece| {
        let mut stage = Stage::new("");
        let mut tab = Socket::open(&mut stage, "/ws?room=");
        for part in bytes.chunks(piece) {
            stage.send(tab.wire, part);
            stage.run();
        }
        let code = tab.closed(&mut stage).0;
        stage.end();
        code
    });
    assert_eq!(codes[0], codes[1], "it depends on the pieces");
    codes[0]
}

#[test]
fn fault_28_malformed_frame_is_closed_with_1002() {
    let unmasked = [0x81, 2, b'h', b'i'];
    let long_ping = fragment(0x80 | PING, [0; 126]);
    // A length of 5 in two bytes, and in eight.
    let long_length = [&[0x81, 0xfe, 0, 5, 0, 0, 0, 0][..], b"hello"].concat();
    let longer_length = [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0][..], b"hello"].concat();
    let nested = [fragment(TEXT, b"a"), frame(TEXT, b"b")].concat();
    let rows: [(&str, &[u8]); 14] = [
        ("unmasked", &unmasked),
        ("RSV1", &fragment(0xc1, b"x")),
        ("RSV2", &fragment(0xa1, b"x")),
        ("RSV3", &fragment(0x91, b"x")),
        ("opcode 3", &fragment(0x83, b"x")),
        ("opcode 11", &fragment(0x8b, b"x")),
        ("a fragmented ping", &fragment(PING, b"x")),
        ("a long ping", &long_ping),
        ("a length in two bytes", &long_length),
        ("a length in eight bytes", &longer_length),
        ("a continuation of nothing", &fragment(0x80 | CONTINUE, b"x")),
        ("a message within a message", &nested),
        ("a close with one byte", &frame(CLOSE, [3])),
        ("a close with a code that is none", &frame(CLOSE, 1005_u16.to_be_bytes())),
    ];
    for (what, bytes) in rows {
        assert_eq!(code_after(bytes), 1002, "{what}");
    }
}

#[test]
fn fault_29_invalid_utf8_is_closed_with_1007() {
    let euro = "€".as_bytes();
    let cut = [fragment(TEXT, &euro[..2]), frame_end(&euro[2..])].concat();
    let mut stage = Stage::new("");
    let mut program = Socket::open(&mut stage, "/raw/lobby?echo=1");
    stage.send(program.wire, &cut);
    stage.run();
    assert_eq!(program.frames(&stage), [(TEXT, euro.to_vec())], "a character may be cut by a frame's end");
    stage.end();
    assert_eq!(code_after(&frame(TEXT, b"\xff")), 1007);
    assert_eq!(code_after(&frame(TEXT, &euro[..2])), 1007);
    assert_eq!(code_after(&[fragment(TEXT, &euro[..2]), frame_end(b"x")].concat()), 1007);
    assert_eq!(code_after(&fragment(TEXT, b"\xc0\xaf")), 1007, "refused before the message ends");
    assert_eq!(code_after(&frame(CLOSE, b"\x03\xe8\xff")), 1007);
}

fn frame_end(payload: &[u8]) -> Vec<u8> {
    fragment(0x80 | CONTINUE, payload)
}

#[test]
fn fault_30_length_over_the_limit_is_refused_by_its_header() {
    for length in [1 << 63, u64::MAX, 65_537] {
        let head = [&[0x82, 0xff][..], &u64::to_be_bytes(length), &[1, 2, 3, 4]].concat();
        assert_eq!(code_after(&head), 1009, "{length}");
    }
    let mut stage = Stage::new("");
    let mut tab = Socket::open(&mut stage, "/raw/lobby");
    stage.send(tab.wire, &fragment(BINARY, [7; 40_000]));
    stage.send(tab.wire, &fragment(CONTINUE, [7; 25_537]));
    assert_eq!(tab.closed(&mut stage).0, 1009, "the sum of the fragments counts");
    let mut tab = Socket::open(&mut stage, "/raw/lobby");
    stage.send(tab.wire, &fragment(BINARY, []));
    for _ in 0..1_023 + 65_536 / 8 {
        stage.send(tab.wire, &fragment(CONTINUE, []));
    }
    stage.run();
    assert_eq!(tab.frames(&stage), [], "1,024 and one for every 8 bytes of the limit are taken");
    stage.send(tab.wire, &fragment(CONTINUE, []));
    let texts = "your message is in too many frames: send longer ones";
    assert_eq!(tab.closed(&mut stage), (1009, texts.into()), "their number counts too");
    stage.end();
}

#[test]
fn fault_31_each_ping_of_a_flood_is_answered_as_long_as_the_client_reads() {
    let mut stage = Stage::new("");
    let mut tab = Socket::open(&mut stage, "/ws?room=");
    tab.texts(&mut stage);
    for number in 0..1_000_u32 {
        stage.send(tab.wire, &frame(PING, number.to_be_bytes()));
    }
    stage.run();
    let pongs: Vec<_> = (0..1_000_u32).map(|number| (PONG, number.to_be_bytes().to_vec())).collect();
    assert!(tab.frames(&stage) == pongs, "each with its own payload, in their order");
    stage.set_eager(tab.wire, false);
    for _ in 0..50_000 {
        stage.send(tab.wire, &frame(PING, [1; 100]));
    }
    stage.run();
    stage.end();
}

#[test]
fn fault_32_close_is_answered_once_and_ends_the_input() {
    let close = frame(CLOSE, [&3000_u16.to_be_bytes()[..], b"done"].concat());
    let say = frame(TEXT, br#"{"type":"say","room":"lobby","text":"too late"}"#);
    // The order of turns in a tick differs by seed.
    for seed in 0..10 {
        let mut stage = Stage::with_weather("", seed, Weather::default());
        let ann = stage.join("ann");
        let bob = stage.join("bob");
        let mut tab = Socket::open(&mut stage, "/ws?name=tab");
        stage.expect(ann, &["-- bob joined", "-- tab joined"]);
        stage.send(tab.wire, &[close.clone(), say.clone(), close.clone()].concat());
        stage.say(bob, "to whom?");
        stage.expect(ann, &["bob: to whom?", "-- tab left"]);
        assert_eq!(tab.closed(&mut stage).0, 3000, "the code comes back");
        stage.end();
    }
}

#[test]
fn fault_32_unanswered_close_ends_the_connection() {
    let say = frame(TEXT, br#"{"type":"say","room":"lobby","text":"too late"}"#);
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    for answer in [vec![], say.repeat(10)] {
        let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=");
        stage.send(tab.wire, &fragment(0x83, b""));
        assert_eq!(tab.closed(&mut stage).0, 1002);
        stage.send(tab.wire, &answer);
        stage.pass(Duration::from_secs(2));
        assert_eq!(stage.server.roster().len(), 1, "ann is alone");
    }
    stage.expect(ann, &[]);
    stage.end();
}

#[test]
fn broken_frames_of_one_client_do_not_affect_others() {
    let mut stage = Stage::new("");
    let mut two = Socket::open(&mut stage, "/raw/lobby?echo=1");
    stage.send(two.wire, &fragment(TEXT, b"one "));
    for nonsense in [frame(CLOSE, [3, 232]), frame(TEXT, b"\xff"), fragment(TEXT, b"x"), frame(CLOSE, b"")] {
        let one = Socket::open(&mut stage, "/raw/other");
        stage.send(one.wire, &nonsense);
        stage.run();
        stage.world().end(one.wire);
        stage.send(two.wire, &fragment(CONTINUE, b"and "));
        stage.run();
        let mut three = Socket::open(&mut stage, "/raw/third?echo=1");
        stage.send(three.wire, &frame(TEXT, b"whole"));
        stage.run();
        assert_eq!(three.frames(&stage), [(TEXT, b"whole".to_vec())]);
    }
    stage.send(two.wire, &frame_end(b"two"));
    stage.run();
    assert_eq!(two.frames(&stage), [(TEXT, b"one and and and and two".to_vec())]);
    stage.end();
}

#[test]
fn pipelined_requests_of_a_client_that_does_not_read_cost_one_answer() {
    let mut stage = Stage::new("");
    let wire = stage.connect_http();
    stage.stall(wire);
    stage.send(wire, get("/main.js").repeat(60).as_bytes());
    stage.run();
    let one = ask_once(&mut stage, &get("/main.js")).len();
    let held = stage.server.arena().held_bytes() as usize;
    assert!((1..one + 100).contains(&held), "{held} bytes wait, an answer is {one}");
    stage.read_again(wire);
    stage.run();
    assert_eq!(String::from_utf8_lossy(stage.raw(wire)).matches("HTTP/1.1 200").count(), 60);
    stage.end();
}

#[test]
fn fault_33_foreign_origins_and_hosts_are_refused() {
    let rows = [
        ("", "Origin: http://localhost:7712\r\n", "101"),
        ("", "", "101"),
        ("", "Origin: https://LOCALHOST:7712\r\n", "101"),
        ("", "Origin: http://localhost\r\n", "403"),
        ("", "Origin: http://evil.example\r\n", "403"),
        ("", "Origin: null\r\n", "403"),
        ("", "Origin: http://localhost:7712.evil.example\r\n", "403"),
        ("--origin https://good.example", "Origin: https://good.example\r\n", "101"),
        ("--origin https://good.example", "Origin: https://good.example.evil\r\n", "403"),
        ("--origin *", "Origin: http://evil.example\r\n", "101"),
    ];
    for (flags, field, status) in rows {
        let mut stage = Stage::new(flags);
        let answer = ask_once(&mut stage, &handshake("/ws", field));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{flags} {field} {answer}");
        let publish =
            post("/rooms/a/messages", field, "x").replace("Host: localhost\r\n", "Host: localhost:7712\r\n");
        let published = ask_once(&mut stage, &publish);
        let expected = if status == "101" { "202" } else { "403" };
        assert!(published.starts_with(&format!("HTTP/1.1 {expected} ")), "{flags} {field} {published}");
        let kick = publish.replacen("/rooms/a/messages", "/admin/kick", 1).replace("\r\n\r\nx", "\r\n\r\n[");
        let kicked = ask_once(&mut stage, &kick);
        assert_eq!(kicked.contains("\"code\":\"forbidden_origin\""), status == "403", "{field} {kicked}");
        stage.end();
    }
    for (flags, host, status) in [
        ("", "localhost", 200),
        ("", "127.0.0.1:7712", 200),
        ("", "[::1]:7712", 200),
        ("", "evil.example", 403),
        ("", "127.0.0.1.evil.example", 403),
        ("", "localhost.evil.example:7712", 403),
        ("--host chat.example", "chat.example", 200),
        ("--host chat.example", "evil.example", 403),
        ("--host *", "evil.example", 200),
    ] {
        let mut stage = Stage::new(flags);
        let answer = ask_once(&mut stage, &format!("GET /rooms HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{flags} {host} {answer}");
        stage.end();
    }
}

#[test]
fn fault_34_slow_head_is_cut_off() {
    let mut stage = Stage::new("");
    let slow = stage.connect_http();
    let head = get("/healthz");
    for byte in head.as_bytes().iter().take(9) {
        stage.send(slow, &[*byte]);
        stage.pass(Duration::from_secs(1));
    }
    assert_eq!(stage.server.roster().len(), 1);
    stage.pass(Duration::from_secs(1));
    stage.expect_contains(slow, "HTTP/1.1 408 ");
    let body = stage.connect_http();
    ask(
        &mut stage,
        body,
        "POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nslo",
    );
    stage.pass(Duration::from_secs(10));
    stage.expect_contains(body, "HTTP/1.1 408 ");
    let silent = stage.connect_http();
    stage.pass(Duration::from_secs(12));
    assert_eq!((stage.raw(silent).len(), stage.server.roster().len()), (0, 0));
    stage.end();
}

#[test]
fn fault_35_ambiguous_request_is_refused_and_closed() {
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "X: a\r\n b\r\n",
        "Content-Length : 5\r\n",
        "X: a\nContent-Length: 5\r\n",
        "X: a\rb\r\n",
        "X: a\0b\r\n",
        "Host: localhost\r\n",
    ];
    for head in heads {
        let mut stage = Stage::new("");
        let wire = stage.connect_http();
        let request = format!("POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\n{head}\r\nhello");
        let answer = ask(&mut stage, wire, &(request + &get("/healthz")));
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close"),
            "{head:?} {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: nothing behind it is a request");
        stage.end();
    }
    let mut stage = Stage::new("");
    for (request, status) in [
        (handshake("/ws", "") + "\u{1}", 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\nHost: localhost\n\n".into(), 400),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".into(), 505),
        (chunked("gzip, chunked", "0\r\n\r\n"), 501),
        (chunked("chunked, gzip", "0\r\n\r\n"), 400),
        (chunked("chunked", "5\nhello\r\n0\r\n\r\n"), 400),
        (chunked("chunked", "5;\nhello\r\n0\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(8_192)), 431),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: x\r\n".repeat(64)), 431),
    ] {
        let answer = ask_once(&mut stage, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?} {answer}");
    }
    stage.end();
}

#[test]
fn fault_36_invalid_message_to_publish_is_refused() {
    let json = "Content-Type: application/json\r\n";
    let deep = "[".repeat(65) + &"]".repeat(65);
    let long = "x".repeat(65_537);
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    for (request, status) in [
        (post("/rooms/lobby/messages", json, "{"), 400),
        (post("/rooms/lobby/messages", json, "1 2"), 400),
        (post("/rooms/lobby/messages", json, &deep), 400),
        (post("/rooms/lobby/messages", "", ""), 400),
        (post("/rooms/lobby/messages", "", "\u{1b}\r\n"), 400),
        (post("/rooms/lobby/messages", "", &long), 413),
        (post("/rooms/a%0d%0ab/messages", "", "x"), 400),
        (post("/rooms/lobby/messages?from=a%0d%0ab", "", "x"), 400),
        (post("/rooms/lobby/messages?from=-", "", "x"), 400),
        (post("/rooms/lobby/messages?from=chinwag", "", "x"), 400),
        (post("/rooms/lobby/messages", json, &deep[1..130]), 400),
        (post("/rooms/lobby/messages", json, &deep[1..129]), 202),
        (post("/rooms/lobby/messages", "", &long[1..]), 202),
    ] {
        let answer = ask_once(&mut stage, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{:.90} {answer}", request);
    }
    stage.run();
    assert_eq!(stage.unread(ann).len(), 2);
    stage.end();
}

#[test]
fn fault_37_metrics_contain_no_input_of_clients() {
    let mut stage = Stage::new("");
    let ann = stage.join("qqq");
    stage.say(ann, "/join rrr");
    stage.say(ann, "sss");
    let _tab = Socket::open(&mut stage, "/ws?name=ttt");
    let metrics = ask_once(&mut stage, &get("/metrics"));
    assert!(metrics.contains("\nchinwag_clients{door=\"json\"} 1\n"), "{metrics}");
    for word in ["qqq", "rrr", "sss", "ttt"] {
        assert!(!metrics.contains(word), "{word}");
    }
    stage.end();
}
