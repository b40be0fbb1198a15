//! SSE clients and tabs that reconnect to the same process or to another get the messages since then. If some may be
//! missing, they are told.

use std::time::Duration;

use chinwag::net::Signal;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::world::{Weather, Wire, World};

const SECOND: Duration = Duration::from_secs(1);

/// A client in the lobby, with the state that an `EventSource` keeps.
pub struct SseClient {
    pub wire: Wire,
    /// Length of the input that the test has handled.
    seen: usize,
    pub last_event_id: String,
}

impl SseClient {
    /// Connects with that last id.
    pub fn connect(stage: &mut Stage, last_event_id: &str) -> SseClient {
        let wire = stage.connect_http();
        let known = match last_event_id {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let request = format!("GET /rooms/lobby/events HTTP/1.1\r\nHost: localhost\r\n{known}\r\n");
        stage.send(wire, request.as_bytes());
        SseClient { wire, seen: 0, last_event_id: last_event_id.into() }
    }

    /// Reconnects with the last id.
    pub fn again(&self, stage: &mut Stage) -> SseClient {
        SseClient::connect(stage, &self.last_event_id)
    }

    /// Returns what it has received since the last call: the texts of messages, `missed N`, and `missed` without a
    /// number.
    pub fn received(&mut self, stage: &Stage) -> Vec<String> {
        let all = String::from_utf8(stage.raw(self.wire).to_vec()).expect("UTF-8");
        let (head, stream) = all.split_once("\r\n\r\n").expect("the head of the answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let whole = stream.rfind("\n\n").map_or(0, |end| end + 2);
        let events: Vec<&str> = stream[self.seen..whole].split_terminator("\n\n").collect();
        self.seen = whole;
        events.into_iter().filter_map(|event| self.take_in(event)).collect()
    }

    /// Parses an event as in HTML, 9.2.6.
    fn take_in(&mut self, event: &str) -> Option<String> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let Some(id) = field("id") {
            self.last_event_id = id.into();
        }
        let data: Value = serde_json::from_str(field("data")?).expect("JSON");
        let kind = field("event");
        assert!(data["room"] == "lobby" || kind == Some("bye"), "{event}");
        Some(match kind {
            None => data["text"].as_str().expect("a text").into(),
            Some("missed") if data["count"].is_u64() => format!("missed {}", data["count"]),
            Some(kind) => kind.into(),
        })
    }
}

/// Starts a process with that number, in a chat of its own.
pub fn process(number: u64, flags: &str) -> Stage {
    let mut world = World::new(1, Weather::default());
    world.process_id = number;
    Stage::in_world(flags, world)
}

pub fn say_all(stage: &mut Stage, wire: Wire, lines: &[&str]) {
    lines.iter().for_each(|line| stage.say(wire, line));
    stage.run();
}

#[test]
fn sse_client_that_reconnects_after_no_message_misses_nothing() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    say_all(&mut stage, ann, &["before"]);
    let mut client = SseClient::connect(&mut stage, "");
    stage.run();
    assert_eq!(client.received(&stage), [""; 0]);
    assert_eq!(client.last_event_id, "000000000000c0de-0-1");
    stage.world().end(client.wire);
    stage.run();
    say_all(&mut stage, ann, &["one", "two"]);
    let mut again = client.again(&mut stage);
    stage.run();
    assert_eq!(again.received(&stage), ["one", "two"]);
    stage.end();
}

#[test]
fn sse_client_is_told_once_how_many_messages_are_gone_from_the_history() {
    let mut stage = Stage::new("--history 2");
    let ann = stage.join("ann");
    let mut client = SseClient::connect(&mut stage, "");
    stage.run();
    say_all(&mut stage, ann, &["one"]);
    assert_eq!(client.received(&stage), ["one"]);
    stage.world().end(client.wire);
    stage.run();
    say_all(&mut stage, ann, &["two", "three", "four", "five"]);
    let mut again = client.again(&mut stage);
    stage.run();
    assert_eq!(again.received(&stage), ["missed 2", "four", "five"]);
    let mut third = again.again(&mut stage);
    stage.run();
    assert_eq!(third.received(&stage), [""; 0]);
    stage.end();
}

#[test]
fn sse_client_that_reconnects_after_a_restart_is_told_that_it_may_have_missed_messages() {
    let mut before = process(1, "");
    let ann = before.join("ann");
    let mut client = SseClient::connect(&mut before, "");
    before.run();
    say_all(&mut before, ann, &["one", "two"]);
    assert_eq!(client.received(&before), ["one", "two"]);
    before.world().signal(Signal::Terminate);
    before.run();
    assert_eq!(client.received(&before), ["bye"]);

    let mut after = process(2, "");
    let bob = after.join("bob");
    // As many messages as the client has received: by their numbers alone they would look old.
    say_all(&mut after, bob, &["three", "four"]);
    let mut again = client.again(&mut after);
    after.run();
    assert_eq!(again.received(&after), ["missed", "three", "four"]);
    say_all(&mut after, bob, &["five"]);
    assert_eq!(again.received(&after), ["five"]);
    let mut third = again.again(&mut after);
    say_all(&mut after, bob, &["six"]);
    assert_eq!(third.received(&after), ["six"], "it belongs here now");
    after.end();
}

#[test]
fn sse_client_that_reconnects_to_another_process_gets_exactly_what_it_has_missed() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    cluster.say(ann, "zero");
    let cy = cluster.join(1, "cy");
    let mut client = SseClient::connect(cluster.stage(0), "");
    cluster.run();
    cluster.say(ann, "one");
    cluster.run();
    assert_eq!(client.received(cluster.stage(0)), ["one"]);
    cluster.stage(0).world().end(client.wire);
    cluster.say(cy, "two");
    cluster.run();
    let mut there = client.again(cluster.stage(1));
    cluster.run();
    assert_eq!(there.received(cluster.stage(1)), ["two"]);
    cluster.say(ann, "three");
    cluster.run();
    assert_eq!(there.received(cluster.stage(1)), ["three"]);
    let mut again = there.again(cluster.stage(1));
    cluster.say(cy, "four");
    cluster.run();
    assert_eq!(again.received(cluster.stage(1)), ["four"]);
    for process in 0..2 {
        let mut back = client.again(cluster.stage(process));
        cluster.run();
        assert_eq!(back.received(cluster.stage(process)), ["two", "three", "four"]);
    }
    cluster.end();
}

#[test]
fn sse_client_gets_what_was_said_while_its_process_did_not_follow_the_room() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    let mut client = SseClient::connect(cluster.stage(1), "");
    cluster.run();
    cluster.say(ann, "one");
    cluster.run();
    assert_eq!(client.received(cluster.stage(1)), ["one"]);
    cluster.stage(1).world().end(client.wire);
    cluster.pass(30 * SECOND);
    assert_eq!(cluster.redis.numsub("chinwag:lobby"), 1, "the process has no member there");
    for text in ["two", "three"] {
        cluster.say(ann, text);
        cluster.run();
    }
    let mut again = client.again(cluster.stage(1));
    cluster.run();
    cluster.say(ann, "four");
    cluster.run();
    assert_eq!(again.received(cluster.stage(1)), ["two", "three", "four"]);
    cluster.end();
}

#[test]
fn sse_client_is_told_the_exact_number_of_messages_that_redis_has_trimmed() {
    let mut cluster = Cluster::new(2, "--history 2 --rate off");
    let ann = cluster.join(0, "ann");
    let mut client = SseClient::connect(cluster.stage(0), "");
    cluster.run();
    cluster.say(ann, "m0");
    cluster.run();
    assert_eq!(client.received(cluster.stage(0)), ["m0"]);
    cluster.stage(0).world().end(client.wire);
    // Redis keeps 100 messages even with a shorter history, and the processes keep two.
    for number in 1..=150 {
        cluster.say(ann, &format!("m{number}"));
    }
    cluster.run();
    assert_eq!(cluster.redis.stream("chinwag:@stream:lobby", cluster.millis()).len(), 100);
    let mut there = client.again(cluster.stage(1));
    cluster.run();
    assert_eq!(there.received(cluster.stage(1)), ["missed 148", "m149", "m150"]);
    let mut third = there.again(cluster.stage(0));
    cluster.run();
    assert_eq!(third.received(cluster.stage(0)), [""; 0]);
    cluster.end();
}

#[test]
fn sse_client_that_reconnects_after_a_restart_of_all_processes_misses_nothing() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    let mut client = SseClient::connect(cluster.stage(1), "");
    cluster.run();
    cluster.say(ann, "one");
    cluster.run();
    assert_eq!(client.received(cluster.stage(1)), ["one"]);
    cluster.stage(1).world().end(client.wire);
    cluster.say(bob, "two");
    cluster.run();
    (0..2).for_each(|process| cluster.kill(process));
    let after = cluster.start();
    cluster.run();
    let mut again = client.again(cluster.stage(after));
    cluster.run();
    assert_eq!(again.received(cluster.stage(after)), ["two"]);
    let cy = cluster.join(after, "cy");
    cluster.say(cy, "three");
    cluster.run();
    assert_eq!(again.received(cluster.stage(after)), ["three"]);
    cluster.pass(60 * SECOND);
    cluster.end();
}

/// Returns the epoch and the last number from the answer to a `join` of the lobby.
fn joined(stage: &mut Stage) -> (String, u64) {
    let mut tab = Socket::open(stage, "/ws?room=lobby&history=9");
    let texts = tab.texts(stage);
    let events: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let joined = events.iter().find(|event| event["type"] == "joined").expect("an answer");
    let epoch = joined["epoch"].as_str().expect("an epoch");
    for history in events.iter().filter(|event| event["type"] == "history") {
        assert_eq!(history["epoch"], epoch);
    }
    stage.world().end(tab.wire);
    stage.run();
    (epoch.into(), joined["seq"].as_u64().expect("a number"))
}

#[test]
fn tab_is_sent_the_epoch_of_its_numbers() {
    let mut stage = process(7, "");
    let ann = stage.join("ann");
    assert_eq!(joined(&mut stage), ("0000000000000007-0".into(), 0));
    say_all(&mut stage, ann, &["one"]);
    assert_eq!(joined(&mut stage), ("0000000000000007-0".into(), 1));
    stage.end();
    let mut stage = process(8, "");
    assert_eq!(joined(&mut stage), ("0000000000000008-0".into(), 0));
    stage.end();
}

/// Returns the epoch and the last number of an answer to a `join`, and the texts and numbers of its history.
fn entered(texts: &[String]) -> (Value, u64) {
    let events = texts.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    let joined = events.into_iter().find(|event| event["type"] == "joined").expect("an answer");
    (joined["epoch"].clone(), joined["seq"].as_u64().expect("a number"))
}

#[test]
fn tab_that_reconnects_to_another_process_asks_for_what_it_has_missed() {
    let mut cluster = Cluster::new(2, "--rate off");
    let ann = cluster.join(0, "ann");
    for text in ["one", "two"] {
        cluster.say(ann, text);
        cluster.run();
    }
    let mut tab = cluster.open(0, "/ws?name=tab&room=lobby");
    let (epoch, seq) = entered(&cluster.texts(0, &mut tab));
    assert_eq!(seq, 2);
    cluster.stage(0).world().end(tab.wire);
    for number in 3..=20 {
        cluster.say(ann, &format!("m{number}"));
    }
    cluster.run();
    let mut again = cluster.open(1, "/ws?name=tab&room=lobby&history=0");
    assert_eq!(entered(&cluster.texts(1, &mut again)), (epoch.clone(), 20));
    again.say(cluster.stage(1), &format!(r#"{{"type":"history","room":"lobby","after":{seq}}}"#));
    let texts = cluster.texts(1, &mut again);
    let history: Value = serde_json::from_str(&texts[0]).expect("JSON");
    assert_eq!((&history["type"], &history["epoch"]), (&"history".into(), &epoch));
    let numbers: Vec<u64> =
        history["messages"].as_array().expect("a list").iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(numbers, (3..=20).collect::<Vec<_>>());
    cluster.say(ann, "live");
    let texts = cluster.texts(1, &mut again);
    assert!(texts.len() == 1 && texts[0].contains(r#""text":"live","seq":21"#), "{texts:?}");
    cluster.end();
}

#[test]
fn epoch_and_numbers_of_a_room_are_the_same_at_all_processes() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    for seq in 0..3 {
        let positions = [0, 1].map(|process| {
            let mut tab = cluster.open(process, "/ws?room=lobby&history=9");
            let position = entered(&cluster.texts(process, &mut tab));
            cluster.stage(process).world().end(tab.wire);
            cluster.run();
            position
        });
        assert_eq!(positions[0], positions[1]);
        assert_eq!(positions[0].1, seq);
        cluster.say(ann, "more");
        cluster.run();
        // The second process does not follow the room any more.
        cluster.pass(30 * SECOND);
    }
    cluster.end();
}
