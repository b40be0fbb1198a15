//! Every limit at the HTTP listener, on both sides of its bound: those that it shares with the line listener, and its
//! own.

use std::time::Duration;

use crate::socket::{PING, PONG, Socket, TEXT, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{ask, ask_once, get, post};

const SECOND: Duration = Duration::from_secs(1);

fn say(number: usize) -> String {
    format!(r#"{{"type":"say","room":"lobby","text":"m{number}","id":{number}}}"#)
}

#[test]
fn messages_over_rate_and_burst_are_delayed() {
    let mut stage = Stage::new("--rate 5/s --burst 3");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.texts(&mut stage);
    for number in 0..6 {
        tab.say(&mut stage, &say(number));
    }
    let texts = tab.texts(&mut stage);
    let (received, notices): (Vec<_>, Vec<_>) =
        texts.iter().partition(|text| text.contains(r#""type":"message""#));
    assert_eq!((received.len(), notices.len()), (3, 1), "{texts:?}");
    assert!(notices[0].contains("none is lost"), "{notices:?}");
    assert!(!notices[0].contains("\"id\""), "it answers nothing: {notices:?}");
    stage.pass(SECOND);
    let texts = tab.texts(&mut stage);
    assert_eq!(texts.len(), 3, "none is lost, and the notice comes once: {texts:?}");
    assert!(texts[2].ends_with(r#""id":5}"#));
    stage.end();
}

#[test]
fn publishing_is_throttled_and_reading_is_not() {
    let mut stage = Stage::new("--rate 5/s --burst 2");
    let wire = stage.connect_http();
    let many = post("/rooms/a/messages", "", "x").repeat(4);
    let answers = ask(&mut stage, wire, &many);
    assert_eq!(answers.matches("HTTP/1.1 202").count(), 2);
    stage.pass(SECOND);
    assert_eq!(String::from_utf8_lossy(stage.raw(wire)).matches("HTTP/1.1 202").count(), 4);
    let other = stage.connect_http();
    assert_eq!(ask(&mut stage, other, &get("/rooms").repeat(20)).matches("HTTP/1.1 200").count(), 20);
    stage.end();
}

#[test]
fn message_max_bounds_messages_and_bodies() {
    let mut stage = Stage::new("--message-max 1000");
    let mut tab = Socket::open(&mut stage, "/ws?room=");
    tab.texts(&mut stage);
    let padded = |length: usize| format!("{:length$}", r#"{"type":"ping"}"#);
    tab.say(&mut stage, &padded(1000));
    assert_eq!(tab.texts(&mut stage), [r#"{"type":"pong"}"#]);
    tab.say(&mut stage, &padded(1001));
    assert_eq!(tab.closed(&mut stage), (1009, "your message is too large".into()));
    for (length, status) in [(1000, "202"), (1001, "413")] {
        let answer = ask_once(&mut stage, &post("/rooms/a/messages", "", &"x".repeat(length)));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length} {answer}");
    }
    stage.end();
}

/// A body is not copied from turn to turn, and the memory for it is at most its length.
#[test]
fn body_in_many_segments_is_no_unused_input() {
    let mut stage = Stage::new("--message-max 64k --http-timeout 60s");
    let wire = stage.connect_http();
    let request = post("/rooms/lobby/messages", "", &"x".repeat(60_000));
    let (head, body) = request.split_at(request.len() - 60_000);
    assert_eq!(ask(&mut stage, wire, head), "");
    let token = stage.world().token(wire).expect("it is open");
    let segments: Vec<&[u8]> = body.as_bytes().chunks(1_000).collect();
    let (last, others) = segments.split_last().expect("segments");
    for (number, segment) in others.iter().enumerate() {
        stage.send(wire, segment);
        stage.run();
        let inboxes = stage.server.inboxes();
        assert_eq!(inboxes.unused_bytes(token.slot), 0, "segment {number}");
        let held_bytes = inboxes.message_bytes(token.slot);
        assert!((1_000 * (number + 1)..=60_000).contains(&held_bytes), "{held_bytes} bytes");
    }
    let answer = ask(&mut stage, wire, std::str::from_utf8(last).expect("text"));
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    stage.end();
}

#[test]
fn escaped_message_never_exceeds_the_write_buffer_of_a_receiver() {
    let mut stage = Stage::new("--message-max 64k --write-buffer 16k --write-buffer-soft off --line-max 1k");
    let mut tab = Socket::open(&mut stage, "/ws");
    let quotes = |length: usize| post("/rooms/lobby/messages", "", &"\"".repeat(length));
    let most = (16 * 1024 - 512) / 2;
    assert!(ask_once(&mut stage, &quotes(most)).starts_with("HTTP/1.1 202 "));
    assert!(tab.texts(&mut stage).last().unwrap().contains(r#"\"\"\""#));
    assert!(ask_once(&mut stage, &quotes(most + 1)).starts_with("HTTP/1.1 413 "));
    stage.end();
}

#[test]
fn silent_client_is_pinged_and_closed_without_a_pong() {
    let mut stage = Stage::new("--ping-interval 25s --ping-timeout 10s");
    let mut silent = Socket::open(&mut stage, "/ws?room=");
    let mut alive = Socket::open(&mut stage, "/raw/a");
    silent.frames(&stage);
    stage.pass(24 * SECOND);
    assert_eq!(silent.frames(&stage), []);
    stage.pass(SECOND + SECOND / 10);
    assert_eq!([silent.frames(&stage), alive.frames(&stage)], [[(PING, vec![])], [(PING, vec![])]]);
    stage.send(alive.wire, &frame(PONG, b""));
    stage.pass(9 * SECOND);
    assert_eq!(stage.server.roster().len(), 2);
    stage.pass(SECOND);
    assert_eq!(silent.closed(&mut stage), (1013, "you did not answer a ping".into()));
    stage.pass(14 * SECOND);
    assert_eq!(alive.frames(&stage), []);
    stage.pass(2 * SECOND);
    assert_eq!(alive.frames(&stage), [(PING, vec![])], "again, so long after the answer");
    stage.end();
}

#[test]
fn pongs_do_not_extend_the_idle_timeout() {
    let mut stage = Stage::new("--idle-timeout 60s");
    let mut idle = Socket::open(&mut stage, "/ws?room=");
    let mut busy = Socket::open(&mut stage, "/ws?room=");
    for _ in 0..5 {
        stage.pass(11 * SECOND);
        stage.send(idle.wire, &frame(PONG, b""));
        busy.say(&mut stage, r#"{"type":"ping"}"#);
    }
    stage.pass(5 * SECOND);
    assert_eq!(idle.closed(&mut stage).0, 1008);
    assert!(busy.texts(&mut stage).iter().all(|text| !text.contains("bye")));
    stage.end();
}

#[test]
fn tab_is_dropped_over_write_buffer_and_after_stall_timeout() {
    let flags = "--write-buffer 16k --write-buffer-soft off --line-max 1k --history 0 --rate off";
    for (rounds, dropped) in [(12, false), (20, true)] {
        let mut stage = Stage::new(flags);
        let ann = stage.join("ann");
        let mut tab = Socket::open(&mut stage, "/ws?name=tab");
        stage.stall(tab.wire);
        stage.run();
        for _ in 0..rounds {
            stage.say(ann, &"x".repeat(950));
            stage.run();
        }
        stage.run_past_holds();
        stage.read_again(tab.wire);
        stage.run();
        let texts = tab.texts(&mut stage);
        let has_reason = texts.iter().any(|text| text.contains("too much was waiting"));
        assert_eq!(has_reason, dropped, "{rounds}");
        stage.end();
    }
    let mut stage = Stage::new("--stall-timeout 10s");
    let ann = stage.join("ann");
    let tab = Socket::open(&mut stage, "/ws?name=tab");
    stage.stall(tab.wire);
    stage.say(ann, "hello?");
    stage.pass(9 * SECOND);
    assert_eq!(stage.server.chat().census().clients, 2);
    stage.pass(2 * SECOND);
    assert_eq!(stage.server.chat().census().clients, 1);
    stage.end();
}

#[test]
fn skipped_tab_is_told_the_room_of_each_gap() {
    let flags =
        "--slow-client skip --write-buffer 8k --write-buffer-soft off --line-max 1k --rate off --history 0";
    let mut stage = Stage::new(flags);
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    stage.say(bob, "/join dev");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.say(&mut stage, r#"{"type":"join","room":"dev"}"#);
    stage.run();
    stage.stall(tab.wire);
    for _ in 0..10 {
        stage.say(ann, &"x".repeat(900));
        stage.say(bob, &"x".repeat(900));
    }
    stage.run_past_holds();
    stage.read_again(tab.wire);
    let texts = tab.texts(&mut stage);
    let received = |room: &str| {
        let of_room = |text: &&String| text.contains(&format!(r#""message","room":"{room}""#));
        texts.iter().filter(of_room).count()
    };
    for room in ["lobby", "dev"] {
        let missed = format!(r#"{{"type":"missed","count":{},"room":"{room}"}}"#, 10 - received(room));
        assert!(texts.contains(&missed), "{missed} {texts:?}");
    }
    stage.end();
}

#[test]
fn clients_over_max_clients_wait_and_those_over_max_waiting_get_503() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 1");
    let ann = stage.join("ann");
    let mut waits = Socket::open(&mut stage, "/ws?name=tab");
    let texts = waits.texts(&mut stage);
    assert_eq!(texts, [r#"{"type":"notice","text":"the server is full. you are next, please wait"}"#]);
    stage.send(waits.wire, &frame(PING, b"there?"));
    waits.say(&mut stage, r#"{"type":"rooms","id":1}"#);
    stage.run();
    let frames = waits.frames(&stage);
    assert!(frames.contains(&(PONG, b"there?".to_vec())), "{frames:?}");
    let error = frames.iter().find(|(opcode, _)| *opcode == TEXT).expect("an error");
    assert!(String::from_utf8_lossy(&error.1).contains(r#""code":"waiting""#));
    for path in ["/ws", "/raw/a"] {
        let answer = ask_once(&mut stage, &handshake(path, ""));
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: "), "{answer}");
    }
    assert!(ask_once(&mut stage, &get("/rooms/a/events")).starts_with("HTTP/1.1 503 "));
    assert!(ask_once(&mut stage, &get("/readyz")).contains(r#""code":"full""#));
    assert!(ask_once(&mut stage, &get("/healthz")).starts_with("HTTP/1.1 200 "));
    stage.say(ann, "/quit");
    let texts = waits.texts(&mut stage);
    assert!(texts[0].contains(r#""type":"welcome""#) && texts[1].contains(r#""type":"joined""#), "{texts:?}");
    stage.end();
}

#[test]
fn connections_over_max_http_wait_to_be_accepted() {
    let mut stage = Stage::new("--max-http 2");
    let [first, second, third] = [0; 3].map(|_| stage.connect_http());
    for wire in [first, second, third] {
        stage.send(wire, get("/healthz").as_bytes());
    }
    stage.run();
    let answered = [first, second, third].map(|wire| !stage.raw(wire).is_empty());
    assert_eq!(answered, [true, true, false], "the third waits to be accepted");
    stage.send(first, handshake("/ws", "").as_bytes());
    stage.run();
    assert!(!stage.raw(third).is_empty(), "a client of the chat is none of them");
    stage.join("ann");
    stage.end();
}

#[test]
fn http_timeout_counts_from_the_last_answer() {
    let mut stage = Stage::new("--http-timeout 5s");
    let wire = stage.connect_http();
    for _ in 0..3 {
        assert!(ask(&mut stage, wire, &get("/healthz")).starts_with("HTTP/1.1 200 "));
        stage.pass(4 * SECOND);
    }
    assert_eq!(stage.server.roster().len(), 1);
    stage.pass(3 * SECOND);
    assert_eq!(stage.server.roster().len(), 0);
    stage.end();
}

#[test]
fn an_update_a_second_to_a_hundred_tabs_for_an_hour_leaves_nothing_behind() {
    let mut stage = Stage::new("");
    let mut tabs: Vec<Socket> = (0..100).map(|_| Socket::open(&mut stage, "/ws?room=radio")).collect();
    let publisher = stage.connect_http();
    let json = "Content-Type: application/json\r\n";
    let mut settled = None;
    for second in 0..3_600 {
        let update = post("/rooms/radio/messages?from=player", json, &format!(r#"{{"at":1{second:04}}}"#));
        let answer = ask(&mut stage, publisher, &update);
        assert!(answer.contains(r#""queued_for":100"#), "{second}: {answer}");
        for tab in &mut tabs {
            let frames = tab.frames(&stage);
            let updates =
                frames.iter().filter(|(_, text)| String::from_utf8_lossy(text).contains(r#""data""#));
            assert_eq!(updates.count(), 1, "{second}");
            if frames.iter().any(|(opcode, _)| *opcode == PING) {
                stage.send(tab.wire, &frame(PONG, b""));
            }
        }
        stage.pass(SECOND);
        let history_bytes = stage.server.chat().census().history_bytes;
        let held = (stage.server.arena().memory_bytes(), history_bytes, stage.server.roster().armed_timers());
        // By then the history is full, and the arena has reached its size.
        if second == 200 {
            settled = Some(held);
        }
    }
    let history_bytes = stage.server.chat().census().history_bytes;
    let (held, history, timers) = settled.unwrap();
    assert!(stage.server.arena().memory_bytes() <= held && history_bytes == history);
    assert!(stage.server.roster().armed_timers() <= timers + 1);
    stage.end();
}

#[test]
fn sse_and_raw_clients_over_max_rooms_get_503() {
    let mut stage = Stage::new("--max-rooms 2");
    let ann = stage.join("ann");
    stage.say(ann, "/join a");
    stage.run();
    for (request, status) in [
        (get("/rooms/b/events"), 503),
        (handshake("/raw/b", ""), 503),
        (post("/rooms/b/messages", "", "hi"), 503),
        (get("/rooms/a/events"), 200),
        (handshake("/raw/a", ""), 101),
    ] {
        let answer = ask_once(&mut stage, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(answer.contains("too_many_rooms"), status == 503, "{answer}");
    }
    // A page can't read such an answer, so it is sent the error as an event.
    let mut tab = Socket::open(&mut stage, "/ws?room=b");
    let texts = tab.texts(&mut stage).concat();
    assert!(texts.contains(r#""code":"too_many_rooms""#), "{texts}");
    stage.end();
}

#[test]
fn tab_in_the_queue_has_a_write_buffer_of_4_kib() {
    for (requests, dropped) in [(20, 0), (60, 1)] {
        let mut stage = Stage::new("--rate off --max-clients 1 --max-waiting 1");
        stage.join("ann");
        let waits = Socket::open(&mut stage, "/ws?name=tab");
        stage.stall(waits.wire);
        (0..requests).for_each(|_| waits.say(&mut stage, r#"{"type":"rooms"}"#));
        stage.run();
        assert_eq!(stage.server.metrics().dropped_full, dropped, "{requests} requests");
        stage.end();
    }
}

#[test]
fn refused_newcomer_evicts_no_idle_http_connection() {
    for flags in [
        "--max-per-ip 1",
        "--connects-per-ip 1/m",
        // There are four slots, and refused connections take them from each other.
        "--max-per-ip 1 --max-clients 1 --max-waiting 1 --max-closing 1",
    ] {
        let mut stage = Stage::new(&format!("--max-http 1 {flags}"));
        stage.connect_from(Some("10.0.0.1"), WIDE);
        let idle = stage.connect_http();
        stage.pass(2 * SECOND);
        for number in 0..20 {
            stage.connect_http_from("10.0.0.1", WIDE);
            stage.run();
            assert_eq!(stage.server.metrics().refused, number + 1, "{flags}");
        }
        if flags.contains("--max-closing") {
            assert_eq!(stage.server.roster().len(), 4);
        }
        assert!(ask(&mut stage, idle, &get("/healthz")).starts_with("HTTP/1.1 200 "), "{flags}");
        stage.pass(2 * SECOND);
        assert!(!stage.world().is_over(idle), "{flags}");
        stage.connect_http_from("10.0.0.2", WIDE);
        stage.run();
        assert!(stage.world().is_over(idle), "{flags}");
        stage.end();
    }
}

#[test]
fn whois_shows_the_time_since_the_last_request_and_not_since_the_last_pong() {
    for (path, request) in
        [("/ws?name=tab&room=lobby", r#"{"type":"ping"}"#), ("/raw/lobby?name=tab", "hello")]
    {
        let mut stage = Stage::new("--ping-interval 10s --ping-timeout 5s");
        let ann = stage.join("ann");
        let mut tab = Socket::open(&mut stage, path);
        for _ in 0..11 {
            stage.pass(5 * SECOND);
            for (_, payload) in tab.frames(&stage).iter().filter(|(opcode, _)| *opcode == PING) {
                stage.send(tab.wire, &frame(PONG, payload));
            }
        }
        stage.say(ann, "/whois tab");
        stage.run();
        stage.expect_contains(ann, "-- tab came 55 s ago, and sent something 55 s ago");
        tab.say(&mut stage, request);
        stage.pass(3 * SECOND);
        stage.say(ann, "/whois tab");
        stage.run();
        stage.expect_contains(ann, "-- tab came 58 s ago, and sent something 3 s ago");
        stage.end();
    }
}
