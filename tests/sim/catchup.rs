//! Answers and catch-up larger than a write buffer are sent as the client reads. No client is dropped for its request.

use std::ops::Range;
use std::time::Duration;

use chinwag::server::Server;
use serde_json::Value;

use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::{ask, ask_once, get, post};
use crate::web_return::SseClient;
use crate::world::{Weather, Wire, World};

const SECOND: Duration = Duration::from_secs(1);

/// The last id of an `EventSource` that connected before any message.
const BEGINNING: &str = "000000000000c0de-0-0";

/// Both policies for slow clients.
const POLICIES: [&str; 2] = ["drop", "skip"];

/// A text of about `bytes` bytes that begins with its number.
fn text(number: usize, bytes: usize) -> String {
    format!("{number} {}", "x".repeat(bytes))
}

/// Publishes texts with these numbers in the lobby.
fn publish(stage: &mut Stage, numbers: Range<usize>, bytes: usize) {
    let wire = stage.connect_http();
    publish_by(stage, wire, numbers, bytes);
    stage.world().end(wire);
    stage.run();
}

/// Does the same on one connection, which keeps the order of the texts in any weather.
fn publish_by(stage: &mut Stage, wire: Wire, numbers: Range<usize>, bytes: usize) {
    for number in numbers {
        ask(stage, wire, &post("/rooms/lobby/messages", "", &text(number, bytes)));
    }
}

/// The number at the beginning of a text, or the count of missing messages.
#[derive(Debug, PartialEq)]
enum Received {
    Number(usize),
    Missed(Option<usize>),
}

fn numbers(client: &mut SseClient, stage: &Stage) -> Vec<Received> {
    let numbered = |text: String| match text.split_once(' ') {
        Some(("missed", count)) => Received::Missed(Some(count.parse().unwrap())),
        Some((number, _)) => Received::Number(number.parse().unwrap()),
        None => {
            assert_eq!(text, "missed");
            Received::Missed(None)
        }
    };
    client.received(stage).into_iter().map(numbered).collect()
}

fn all(range: Range<usize>) -> Vec<Received> {
    range.map(Received::Number).collect()
}

fn held_bytes(server: &Server<World>) -> u64 {
    server.arena().held_bytes()
}

#[test]
fn catch_up_that_is_larger_than_the_write_buffer_arrives_once_and_in_order() {
    for policy in POLICIES {
        let mut stage = Stage::new(&format!("--rate off --slow-client {policy}"));
        publish(&mut stage, 1..101, 60_000);
        let mut client = SseClient::connect(&mut stage, BEGINNING);
        stage.run();
        assert_eq!(numbers(&mut client, &stage), all(1..101));
        assert_eq!(client.last_event_id, "000000000000c0de-0-100");
        publish(&mut stage, 101..103, 10);
        assert_eq!(numbers(&mut client, &stage), all(101..103));
        assert_eq!((stage.server.metrics().dropped(), stage.server.metrics().missed), (0, 0));
        stage.end();
    }
}

#[test]
fn live_messages_never_overtake_the_catch_up_of_a_slow_reader() {
    for policy in POLICIES {
        let flags =
            format!("--rate off --write-buffer 64k --write-buffer-soft 16k:10s --slow-client {policy}");
        let mut stage = Stage::new(&flags);
        publish(&mut stage, 1..51, 10_000);
        let mut client = SseClient::connect(&mut stage, BEGINNING);
        stage.world().set_window(client.wire, 8_000);
        stage.set_eager(client.wire, false);
        let mut received = Vec::new();
        let mut said = 51;
        for _ in 0..400 {
            stage.pass(Duration::from_millis(100));
            stage.receive(client.wire, 4_000);
            if said < 100 {
                publish(&mut stage, said..said + 1, 10_000);
                said += 1;
            }
            assert!(held_bytes(&stage.server) < 32_000, "one piece at a time");
            received.extend(numbers(&mut client, &stage));
        }
        stage.set_eager(client.wire, true);
        stage.run();
        received.extend(numbers(&mut client, &stage));
        assert_eq!(received, all(1..said));
        assert_eq!((stage.server.metrics().dropped(), stage.server.metrics().missed), (0, 0));
        stage.end();
    }
}

#[test]
fn sse_clients_that_break_off_and_come_back_under_random_faults_get_each_message_once() {
    for seed in 0..20 {
        let weather = Weather { write_micros: 0, ..Weather::storm() };
        let policy = POLICIES[seed as usize % 2];
        let flags =
            format!("--rate off --write-buffer 16k --write-buffer-soft 4k:10s --slow-client {policy}");
        let mut stage = Stage::with_weather(&flags, seed, weather);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut said = 1;
        let mut received = Vec::new();
        let mut client = SseClient::connect(&mut stage, BEGINNING);
        let publisher = stage.connect_http();
        for _ in 0..30 {
            // The history holds at most a hundred messages, so later ones could not be sent again.
            if said < 90 && rng.bool() {
                let more = rng.usize(1..5);
                publish_by(&mut stage, publisher, said..said + more, rng.usize(10..8_000));
                said += more;
            }
            stage.set_eager(client.wire, rng.bool());
            stage.pass(Duration::from_millis(rng.u64(0..300)));
            if rng.u8(0..4) == 0 && stage.raw(client.wire).windows(4).any(|end| end == b"\r\n\r\n") {
                received.extend(numbers(&mut client, &stage));
                stage.world().reset(client.wire);
                client = client.again(&mut stage);
            }
        }
        stage.set_eager(client.wire, true);
        stage.world().weather = Weather::default();
        stage.run();
        received.extend(numbers(&mut client, &stage));
        assert_eq!(received, all(1..said), "seed {seed}");
        stage.end();
    }
}

#[test]
fn sse_client_that_falls_behind_the_history_is_told_how_much_is_missing() {
    for policy in POLICIES {
        let flags = format!(
            "--rate off --history 10 --write-buffer 16k --write-buffer-soft 4k:10s --slow-client {policy}"
        );
        let mut stage = Stage::new(&flags);
        publish(&mut stage, 1..11, 3_000);
        let mut client = SseClient::connect(&mut stage, BEGINNING);
        stage.world().set_window(client.wire, 1_000);
        stage.set_eager(client.wire, false);
        stage.run();
        publish(&mut stage, 11..31, 3_000);
        stage.set_eager(client.wire, true);
        stage.run();
        let received = numbers(&mut client, &stage);
        let sent = received.iter().take_while(|received| matches!(received, Received::Number(_))).count();
        assert!((1..10).contains(&sent), "{received:?}");
        let mut expected = all(1..sent + 1);
        expected.push(Received::Missed(Some(20 - sent)));
        expected.extend(all(21..31));
        assert_eq!(received, expected);
        stage.end();
    }
}

#[test]
fn sse_client_that_leaves_while_it_catches_up_leaves_nothing_behind() {
    for breaks in [true, false] {
        let mut stage = Stage::new("--rate off --write-buffer 16k --write-buffer-soft 4k:10s");
        publish(&mut stage, 1..50, 3_000);
        let client = SseClient::connect(&mut stage, BEGINNING);
        stage.world().set_window(client.wire, 1_000);
        stage.set_eager(client.wire, false);
        stage.run();
        assert_eq!(stage.server.chat().census().catching_up, 1);
        match breaks {
            true => stage.world().reset(client.wire),
            false => stage.world().end(client.wire),
        }
        stage.run();
        assert_eq!(stage.server.chat().census().catching_up, 0);
        stage.end();
    }
}

#[test]
fn sse_client_that_stops_reading_while_it_catches_up_is_dropped_and_leaves_nothing_behind() {
    let mut stage = Stage::new("--rate off --write-buffer 16k --write-buffer-soft 4k:10s --stall-timeout 3s");
    publish(&mut stage, 1..50, 3_000);
    let client = SseClient::connect(&mut stage, BEGINNING);
    stage.world().set_window(client.wire, 1_000);
    stage.set_eager(client.wire, false);
    stage.pass(4 * SECOND);
    assert_eq!((stage.server.metrics().dropped_stalled, stage.server.chat().census().catching_up), (1, 0));
    stage.end();
}

#[test]
fn room_stays_open_for_a_sse_client_that_catches_up() {
    let mut stage = Stage::new("--rate off --max-rooms 2 --write-buffer 16k --write-buffer-soft 4k:10s");
    publish(&mut stage, 1..20, 3_000);
    for number in 1..20 {
        ask_once(&mut stage, &post("/rooms/den/messages", "", &text(number, 3_000)));
    }
    let wire = stage.connect_http();
    stage.world().set_window(wire, 1_000);
    stage.set_eager(wire, false);
    let request =
        "GET /rooms/den/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 000000000000c0de-1-0\r\n\r\n";
    stage.send(wire, request.as_bytes());
    stage.run();
    let refused = ask_once(&mut stage, &post("/rooms/other/messages", "", "hi"));
    assert!(!refused.starts_with("HTTP/1.1 202 "), "the room was closed for another: {refused}");
    stage.set_eager(wire, true);
    stage.run();
    assert_eq!(String::from_utf8_lossy(stage.raw(wire)).matches("data: ").count(), 19);
    stage.world().end(wire);
    stage.run();
    let answer = ask_once(&mut stage, &post("/rooms/other/messages", "", "hi"));
    assert!(answer.starts_with("HTTP/1.1 202 "), "no client is there any more: {answer}");
    stage.end();
}

#[test]
fn many_sse_clients_that_catch_up_delay_a_line_by_a_few_ticks_only() {
    let mut stage = Stage::new("--rate off --history 200");
    publish(&mut stage, 1..101, 60_000);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    // The two clients were sent a long history themselves; after two seconds that no longer counts as load.
    stage.pass(2 * SECOND);
    stage.unread(ann);
    let clients: Vec<SseClient> = (0..40).map(|_| SseClient::connect(&mut stage, BEGINNING)).collect();
    for _ in 0..20 {
        stage.say(bob, "hi");
        (0..4).for_each(|_| {
            stage.tick();
            stage.read_eagerly();
        });
        assert_eq!(stage.unread(ann).last().map(String::as_str), Some("bob: hi"));
    }
    assert!(stage.server.chat().census().catching_up > 0, "the clients were done too early");
    assert!(stage.peak_memory < 4 << 20, "{} bytes of output at once", stage.peak_memory);
    stage.run();
    for mut client in clients {
        assert_eq!(client.received(&stage).len(), 120);
    }
    stage.end();
}

/// A client in `count` rooms that lists its rooms and their members.
#[test]
fn lists_of_a_thousand_arrive_whole_though_the_write_buffer_is_smaller() {
    for policy in POLICIES {
        let flags = "--rate off --write-buffer 32k --write-buffer-soft 16k:10s --max-rooms-per-client 1024";
        let mut stage = Stage::new(&format!("{flags} --history 0 --announce-max 0 --slow-client {policy}"));
        let mut tab = Socket::open(&mut stage, "/ws?name=tab");
        let crowd: Vec<Socket> = (1..1000)
            .map(|n| Socket::open(&mut stage, &format!("/ws?name=a-rather-long-name-{n:05}")))
            .collect();
        for n in 1..1000 {
            tab.say(&mut stage, &format!(r#"{{"type":"join","room":"a-rather-long-room-{n:05}"}}"#));
        }
        tab.texts(&mut stage);
        let talker = stage.join("ann");
        stage.world().set_window(tab.wire, 4_000);
        stage.set_eager(tab.wire, false);
        tab.say(&mut stage, r#"{"type":"rooms","id":1}"#);
        tab.say(&mut stage, r#"{"type":"who","room":"lobby","id":2}"#);
        stage.run();
        let mut said = 0;
        for _ in 0..60 {
            stage.say(talker, &format!("m{said}"));
            said += 1;
            stage.receive(tab.wire, 4_000);
            stage.pass(Duration::from_millis(100));
        }
        stage.set_eager(tab.wire, true);
        let texts = tab.texts(&mut stage);
        let events: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
        let (rooms, who) = (of("rooms")[0], of("who")[0]);
        assert_eq!((rooms["rooms"].as_array().unwrap().len(), rooms["count"].as_u64()), (1000, Some(1000)));
        assert_eq!((who["names"].as_array().unwrap().len(), who["count"].as_u64()), (1000, Some(1001)));
        let said_there: Vec<&str> =
            of("message").iter().map(|event| event["text"].as_str().unwrap()).collect();
        assert_eq!(said_there, (0..said).map(|n| format!("m{n}")).collect::<Vec<_>>());
        assert_eq!(stage.server.metrics().dropped(), 0);
        drop(crowd);
        stage.end();
    }
}

#[test]
fn answers_to_a_client_that_reads_nothing_are_bounded_and_it_is_dropped() {
    let flags = "--rate off --write-buffer 32k --write-buffer-soft 16k:10s --stall-timeout 5s";
    let mut stage = Stage::new(&format!("{flags} --max-rooms-per-client 1024"));
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    for n in 1..800 {
        tab.say(&mut stage, &format!(r#"{{"type":"join","room":"a-rather-long-room-{n:05}"}}"#));
    }
    tab.texts(&mut stage);
    stage.world().set_window(tab.wire, 4_000);
    stage.set_eager(tab.wire, false);
    (0..100).for_each(|_| tab.say(&mut stage, r#"{"type":"rooms"}"#));
    stage.run();
    assert!(held_bytes(&stage.server) < 100_000, "one answer, and what may wait before it");
    stage.pass(6 * SECOND);
    assert_eq!(stage.server.metrics().dropped_stalled, 1);
    stage.end();
}

#[test]
fn one_message_is_shown_though_it_is_larger_than_half_the_write_buffer() {
    let mut stage = Stage::new("--rate off --write-buffer 32k --write-buffer-soft 16k:10s");
    publish(&mut stage, 1..4, 15_000);
    let bob = stage.connect();
    stage.say(bob, "bob");
    stage.run();
    let shown = stage.unread(bob);
    assert!(shown.last().unwrap().contains("3 xxx"), "{shown:?}");
    stage.say(bob, "/history 2");
    stage.run();
    assert_eq!(stage.unread(bob).len(), 1);
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=lobby");
    let texts = tab.texts(&mut stage);
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with(r#"{"type":"history""#) && text.contains(r#""text":"3 xxx"#))
    );
    let answer = ask_once(&mut stage, &get("/rooms/lobby/messages"));
    assert_eq!(answer.matches(r#""text":"#).count(), 1);
    assert_eq!(stage.server.metrics().dropped(), 0);
    stage.end();
}

#[test]
fn answer_over_http_is_taken_slowly_and_arrives_whole() {
    let mut stage = Stage::new("--rate off --write-buffer 2m --history 10");
    publish(&mut stage, 1..11, 30_000);
    let wire = stage.connect_http();
    stage.world().set_window(wire, 10_000);
    stage.set_eager(wire, false);
    stage.send(wire, get("/rooms/lobby/messages").as_bytes());
    // 300 kB in 30 s: over the soft limit for longer than it allows.
    for _ in 0..120 {
        stage.pass(SECOND / 4);
        stage.receive(wire, 2_500);
    }
    stage.set_eager(wire, true);
    stage.run();
    let answer = String::from_utf8_lossy(stage.raw(wire)).into_owned();
    assert_eq!(answer.matches(r#""text":"#).count(), 10);
    stage.end();
}

/// Polls with the last number until nothing is left. Returns the messages of each answer and their numbers.
fn pages(mut ask_after: impl FnMut(u64) -> Value) -> Vec<(u64, usize)> {
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let history = ask_after(after);
        let messages = history["messages"].as_array().expect("messages").clone();
        for message in &messages {
            after = message["seq"].as_u64().expect("a number");
            let (number, _) = message["text"].as_str().unwrap().split_once(' ').unwrap();
            all.push((after, number.parse().unwrap()));
        }
        if messages.is_empty() {
            return all;
        }
    }
}

#[test]
fn programs_that_poll_with_the_last_number_get_each_message_once() {
    let mut stage = Stage::new("--rate off");
    publish(&mut stage, 1..101, 60_000);
    let expected: Vec<(u64, usize)> = (1..101).map(|n| (n as u64, n)).collect();
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&history=0");
    tab.texts(&mut stage);
    let over_json = pages(|after| {
        tab.say(&mut stage, &format!(r#"{{"type":"history","room":"lobby","after":{after},"id":{after}}}"#));
        let texts = tab.texts(&mut stage);
        assert!(texts.len() == 1 && texts[0].ends_with(&format!(r#""id":{after}}}"#)));
        serde_json::from_str(&texts[0]).expect("JSON")
    });
    assert_eq!(over_json, expected);
    let over_http = pages(|after| {
        let answer = ask_once(&mut stage, &get(&format!("/rooms/lobby/messages?after={after}")));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "));
        serde_json::from_str(body).expect("JSON")
    });
    assert_eq!(over_http, expected);
    let answer = ask_once(&mut stage, &get("/rooms/lobby/messages?after=18446744073709551615"));
    assert!(answer.contains(r#""messages":[]"#));
    let answer = ask_once(&mut stage, &get("/rooms/lobby/messages?after=97&limit=1"));
    assert!(answer.contains(r#""text":"98 "#) && answer.matches(r#""seq":"#).count() == 1);
    stage.end();
}
