//! The other side of the bounds in `web_limits.rs` and `web_faults.rs`: memory held meanwhile, input that is still
//! allowed, and close codes.

use std::time::Duration;

use crate::socket::{BINARY, CLOSE, CONTINUE, PING, PONG, Socket, TEXT, fragment, frame, handshake};
use crate::stage::Stage;
use crate::web::{ask, ask_once, get};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

fn inbox_bytes(stage: &mut Stage, wire: Wire) -> usize {
    let token = stage.world().token(wire).unwrap();
    stage.server.inboxes().unused_bytes(token.slot)
}

fn outbox_bytes(stage: &mut Stage, wire: Wire) -> usize {
    let token = stage.world().token(wire).unwrap();
    stage.server.roster().get(token).map_or(0, |connection| connection.outbox.cost_bytes())
}

/// A line client, and a tab in its room that reads nothing.
fn ann_and_a_stalled_tab(flags: &str) -> (Stage, Wire, Socket) {
    let mut stage = Stage::new(flags);
    let ann = stage.join("ann");
    let tab = Socket::open(&mut stage, "/ws?name=tab");
    stage.stall(tab.wire);
    (stage, ann, tab)
}

/// Has the tab read the rest, and returns its close frame.
fn end_of(stage: &mut Stage, tab: &mut Socket) -> (u16, String) {
    stage.read_again(tab.wire);
    tab.closed(stage)
}

#[test]
fn fault_29_message_cut_at_every_byte_is_the_same_message() {
    let text = "a€\u{10348}z";
    for cut in 0..=text.len() {
        let (start, end) = text.as_bytes().split_at(cut);
        let mut stage = Stage::new("");
        let mut program = Socket::open(&mut stage, "/raw/lobby?echo=1");
        let message = [fragment(TEXT, start), frame(PING, b""), fragment(0x80 | CONTINUE, end)].concat();
        for byte in message {
            stage.send(program.wire, &[byte]);
            stage.run();
        }
        let mut frames = program.frames(&stage);
        frames.retain(|(opcode, _)| *opcode != PONG);
        assert_eq!(frames, [(TEXT, text.as_bytes().to_vec())], "cut at {cut}");
        stage.end();
    }
}

#[test]
fn fault_30_refused_message_uses_no_memory() {
    let mut stage = Stage::new("");
    let mut tab = Socket::open(&mut stage, "/raw/lobby");
    let head = [&[0x82, 0xff][..], &(1_u64 << 63).to_be_bytes()].concat();
    stage.send(tab.wire, &head);
    stage.run();
    assert!(inbox_bytes(&mut stage, tab.wire) <= head.len(), "a head without its mask may be kept, no more");
    stage.send(tab.wire, &vec![7; 1_000_000]);
    assert_eq!(tab.closed(&mut stage).0, 1009);
    assert!(
        inbox_bytes(&mut stage, tab.wire) <= head.len() + 8 * 1024,
        "one read, however long the header says"
    );
    stage.end();
}

#[test]
fn fault_31_pongs_of_a_flood_stay_within_the_write_buffer() {
    let (mut stage, _, mut tab) =
        ann_and_a_stalled_tab("--write-buffer 8k --write-buffer-soft off --line-max 1k");
    for _ in 0..200 {
        stage.send(tab.wire, &frame(PING, [7; 125]).repeat(1_000));
        stage.run();
        assert!(outbox_bytes(&mut stage, tab.wire) <= 8 * 1024);
    }
    stage.read_again(tab.wire);
    stage.run();
    assert!(tab.frames(&stage).iter().any(|(opcode, _)| *opcode == PONG));
    stage.end();
}

#[test]
fn fault_32_client_that_does_not_read_the_close_is_freed_after_the_stall_timeout() {
    let (mut stage, _, tab) = ann_and_a_stalled_tab("--stall-timeout 10s");
    stage.send(tab.wire, &frame(CLOSE, 1000_u16.to_be_bytes()));
    stage.pass(9 * SECOND);
    assert_eq!(stage.server.roster().len(), 2);
    stage.pass(2 * SECOND);
    assert_eq!(stage.server.roster().len(), 1);
    stage.end();
}

#[test]
fn fault_33_page_of_another_origin_is_refused_at_the_raw_path() {
    for (flags, status) in [("", "403"), ("--origin http://evil.example", "101")] {
        let mut stage = Stage::new(flags);
        let answer = ask_once(&mut stage, &handshake("/raw/lobby", "Origin: http://evil.example\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{flags} {answer}");
        stage.end();
    }
}

#[test]
fn fault_34_body_of_one_byte_a_second_is_cut_off() {
    let mut stage = Stage::new("--http-timeout 10s");
    let wire = stage.connect_http();
    let head = "POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\n";
    stage.send(wire, head.as_bytes());
    for _ in 0..9 {
        stage.pass(SECOND);
        stage.send(wire, b"x");
    }
    assert_eq!(stage.raw(wire), b"");
    stage.pass(SECOND);
    stage.expect_contains(wire, "HTTP/1.1 408 ");
    stage.end();
}

#[test]
fn dropped_tab_is_told_why_with_code_1013() {
    let flags = "--write-buffer 64k --write-buffer-soft 8k:10s --stall-timeout off --rate off --history 0";
    let (mut stage, ann, mut tab) = ann_and_a_stalled_tab(flags);
    (0..20).for_each(|_| stage.say(ann, &"x".repeat(900)));
    stage.pass(9 * SECOND);
    assert_eq!(stage.server.chat().census().clients, 2);
    stage.pass(2 * SECOND);
    let (code, reason) = end_of(&mut stage, &mut tab);
    assert_eq!((code, reason.contains("behind with reading")), (1013, true), "{reason}");
    stage.end();
    let (mut stage, ann, mut tab) = ann_and_a_stalled_tab(flags);
    (0..90).for_each(|_| stage.say(ann, &"x".repeat(900)));
    stage.run_past_holds();
    let (code, reason) = end_of(&mut stage, &mut tab);
    assert_eq!((code, reason.contains("too much was waiting")), (1013, true), "{reason}");
    stage.end();
    let (mut stage, ann, mut tab) = ann_and_a_stalled_tab("--stall-timeout 10s");
    stage.say(ann, "hello?");
    stage.pass(11 * SECOND);
    let (code, reason) = end_of(&mut stage, &mut tab);
    assert_eq!((code, reason.contains("stopped reading")), (1013, true), "{reason}");
    stage.end();
}

#[test]
fn waiting_tabs_are_told_their_positions_and_are_pinged() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 8");
    let ann = stage.join("ann");
    let mut tabs: Vec<Socket> = (0..4).map(|_| Socket::open(&mut stage, "/ws?room=")).collect();
    let notices: Vec<String> = tabs.iter_mut().map(|tab| tab.texts(&mut stage).concat()).collect();
    assert!(notices[0].contains("you are next") && notices[3].contains('4'), "{notices:?}");
    stage.pass(26 * SECOND);
    for tab in &mut tabs[1..] {
        assert_eq!(tab.frames(&stage), [(PING, vec![])]);
        stage.send(tab.wire, &frame(PONG, b""));
    }
    stage.pass(10 * SECOND);
    assert_eq!(tabs[0].closed(&mut stage).0, 1013, "the first was not there");
    assert_eq!(stage.server.waiting(), 3);
    assert!(tabs[1].texts(&mut stage).concat().contains("you are next"));
    stage.say(ann, "/quit");
    assert!(tabs[1].texts(&mut stage).concat().contains(r#""type":"welcome""#));
    stage.end();
}

#[test]
fn throttled_message_of_a_waiting_tab_is_handled_once_the_tab_is_in() {
    let mut stage = Stage::new("--max-clients 1 --rate 1/s --burst 1");
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?room=&name=bob");
    let two = [r#"{"type":"say","text":"one"}"#, r#"{"type":"say","text":"two","id":"x2"}"#];
    stage.send(tab.wire, &two.map(|message| frame(TEXT, message.as_bytes())).concat());
    stage.run();
    let texts = tab.texts(&mut stage).concat();
    assert!(texts.contains("wait") && texts.contains("error"), "the first came too early: {texts}");
    stage.world().reset(ann);
    let welcome = tab.texts(&mut stage).concat();
    assert!(welcome.contains(r#""type":"welcome""#) && !welcome.contains("x2"), "{welcome}");
    stage.pass(SECOND);
    assert!(tab.texts(&mut stage).concat().contains(r#""id":"x2""#), "the second is not forgotten");
    stage.end();
}

#[test]
fn largest_message_by_default_is_64_kib() {
    let mut stage = Stage::new("");
    let mut program = Socket::open(&mut stage, "/raw/lobby?echo=1");
    stage.send(program.wire, &frame(BINARY, [7; 65_536]));
    stage.run();
    assert_eq!(program.frames(&stage), [(BINARY, vec![7; 65_536])]);
    stage.send(program.wire, &frame(BINARY, [7; 65_537]));
    assert_eq!(program.closed(&mut stage).0, 1009);
    stage.end();
}

#[test]
fn client_of_http_1_0_may_keep_its_connection() {
    let mut stage = Stage::new("");
    let wire = stage.connect_http();
    let request = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        let answer = ask(&mut stage, wire, request);
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("connection: close"), "{answer}");
        // Without this field a client of HTTP/1.0 waits for the end of the connection (RFC 9112, 9.3).
        assert!(answer.contains("connection: keep-alive\r\n"), "{answer}");
    }
    stage.end();
}

#[test]
fn answer_to_head_has_the_fields_of_get() {
    let mut stage = Stage::new("");
    for path in ["/", "/healthz", "/rooms", "/nowhere"] {
        let whole = ask_once(&mut stage, &get(path));
        let head = ask_once(&mut stage, &get(path).replace("GET", "HEAD"));
        assert_eq!(whole.split_once("\r\n\r\n").unwrap().0, head.trim_end_matches("\r\n"), "{path}");
    }
    stage.end();
}
