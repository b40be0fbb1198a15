//! Listeners and tabs that reconnect, to the same process or to another, get the messages since then, or are told that
//! some may be missing.

use std::time::Duration;

use chinwag::net::Signal;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::world::{Weather, Wire, World};

const SECOND: Duration = Duration::from_secs(1);

/// A listener in the lobby, with the state that an `EventSource` keeps.
pub struct Listener {
    pub wire: Wire,
    /// Length of the input that the test has handled.
    seen: usize,
    pub last_event_id: String,
}

impl Listener {
    /// Connects with that last id.
    pub fn connect(stage: &mut Stage, last_event_id: &str) -> Listener {
        let wire = stage.connect_http();
        let known = match last_event_id {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let request = format!("GET /rooms/lobby/events HTTP/1.1\r\nHost: localhost\r\n{known}\r\n");
        stage.send(wire, request.as_bytes());
        Listener { wire, seen: 0, last_event_id: last_event_id.into() }
    }

    /// Reconnects with the last id.
    pub fn again(&self, stage: &mut Stage) -> Listener {
        Listener::connect(stage, &self.last_event_id)
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
fn process(number: u64, flags: &str) -> Stage {
    let mut world = World::new(1, Weather::default());
    world.process_id = number;
    Stage::in_world(flags, world)
}

fn say_all(stage: &mut Stage, wire: Wire, lines: &[&str]) {
    lines.iter().for_each(|line| stage.say(wire, line));
    stage.run();
}

#[test]
fn listener_that_reconnects_after_no_message_misses_nothing() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    say_all(&mut stage, ann, &["before"]);
    let mut listener = Listener::connect(&mut stage, "");
    stage.run();
    assert_eq!(listener.received(&stage), [""; 0]);
    assert_eq!(listener.last_event_id, "000000000000c0de-0-1");
    stage.world().end(listener.wire);
    stage.run();
    say_all(&mut stage, ann, &["one", "two"]);
    let mut again = listener.again(&mut stage);
    stage.run();
    assert_eq!(again.received(&stage), ["one", "two"]);
    stage.end();
}

#[test]
fn listener_is_told_once_how_many_messages_are_gone_from_the_history() {
    let mut stage = Stage::new("--history 2");
    let ann = stage.join("ann");
    let mut listener = Listener::connect(&mut stage, "");
    stage.run();
    say_all(&mut stage, ann, &["one"]);
    assert_eq!(listener.received(&stage), ["one"]);
    stage.world().end(listener.wire);
    stage.run();
    say_all(&mut stage, ann, &["two", "three", "four", "five"]);
    let mut again = listener.again(&mut stage);
    stage.run();
    assert_eq!(again.received(&stage), ["missed 2", "four", "five"]);
    let mut third = again.again(&mut stage);
    stage.run();
    assert_eq!(third.received(&stage), [""; 0]);
    stage.end();
}

#[test]
fn listener_that_reconnects_after_a_restart_is_told_that_it_may_have_missed_messages() {
    let mut before = process(1, "");
    let ann = before.join("ann");
    let mut listener = Listener::connect(&mut before, "");
    before.run();
    say_all(&mut before, ann, &["one", "two"]);
    assert_eq!(listener.received(&before), ["one", "two"]);
    before.world().signal(Signal::Terminate);
    before.run();
    assert_eq!(listener.received(&before), ["bye"]);

    let mut after = process(2, "");
    let bob = after.join("bob");
    // As many messages as the listener has received: by their numbers alone they would look old.
    say_all(&mut after, bob, &["three", "four"]);
    let mut again = listener.again(&mut after);
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
fn listener_that_reconnects_to_another_process_gets_the_history_of_that_one() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    // The other process has no member yet and does not receive this, so its numbers are lower.
    cluster.say(ann, "zero");
    let cy = cluster.join(1, "cy");
    let mut listener = Listener::connect(cluster.stage(0), "");
    cluster.run();
    cluster.say(ann, "one");
    cluster.run();
    assert_eq!(listener.received(cluster.stage(0)), ["one"]);
    cluster.stage(0).world().end(listener.wire);
    cluster.say(cy, "two");
    cluster.run();
    let mut there = listener.again(cluster.stage(1));
    cluster.run();
    assert_eq!(there.received(cluster.stage(1)), ["missed", "one", "two"]);
    cluster.say(ann, "three");
    cluster.run();
    assert_eq!(there.received(cluster.stage(1)), ["three"]);
    let mut again = there.again(cluster.stage(1));
    cluster.say(cy, "four");
    cluster.run();
    assert_eq!(again.received(cluster.stage(1)), ["four"], "it belongs there now");
    let mut back = listener.again(cluster.stage(0));
    cluster.run();
    assert_eq!(
        back.received(cluster.stage(0)),
        ["two", "three", "four"],
        "the id of this process is still valid"
    );
    cluster.end();
}

#[test]
fn listener_is_told_that_its_process_was_not_subscribed_meanwhile() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    let mut listener = Listener::connect(cluster.stage(1), "");
    cluster.run();
    cluster.say(ann, "one");
    cluster.run();
    assert_eq!(listener.received(cluster.stage(1)), ["one"]);
    cluster.stage(1).world().end(listener.wire);
    cluster.pass(5 * SECOND);
    cluster.say(ann, "two");
    cluster.run();
    let mut again = listener.again(cluster.stage(1));
    cluster.run();
    assert_eq!(again.received(cluster.stage(1)), ["two"], "it has listened on for a while");
    cluster.stage(1).world().end(again.wire);
    cluster.pass(30 * SECOND);
    assert_eq!(cluster.redis.numsub("chinwag:lobby"), 1, "the process has no member there");
    cluster.say(ann, "three");
    cluster.run();
    let mut again = again.again(cluster.stage(1));
    cluster.run();
    cluster.say(ann, "four");
    cluster.run();
    assert_eq!(again.received(cluster.stage(1)), ["missed", "four"]);
    cluster.end();
}

/// Returns the epoch, the last number, and the number of the last gap from the answer to a `join` of the lobby.
fn joined(stage: &mut Stage) -> (String, u64, u64) {
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
    (epoch.into(), joined["seq"].as_u64().expect("a number"), joined["since"].as_u64().expect("a number"))
}

#[test]
fn tab_is_sent_the_epoch_of_its_numbers() {
    let mut stage = process(7, "");
    let ann = stage.join("ann");
    assert_eq!(joined(&mut stage), ("0000000000000007-0".into(), 0, 0));
    say_all(&mut stage, ann, &["one"]);
    assert_eq!(joined(&mut stage), ("0000000000000007-0".into(), 1, 0));
    stage.end();
    let mut stage = process(8, "");
    assert_eq!(joined(&mut stage), ("0000000000000008-0".into(), 0, 0));
    stage.end();
}

#[test]
fn tab_is_sent_the_number_of_the_last_gap() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    assert_eq!(joined(cluster.stage(0)), ("00000000000003e8-0".into(), 0, 0));
    cluster.say(ann, "one");
    cluster.run();
    assert_eq!(joined(cluster.stage(0)), ("00000000000003e8-0".into(), 1, 0));
    for since in 0..2 {
        let numbers = joined(cluster.stage(1));
        assert_eq!(numbers, ("00000000000007d0-0".into(), since, since));
        assert_eq!(joined(cluster.stage(1)), numbers, "the process has listened on");
        cluster.pass(30 * SECOND);
    }
    cluster.end();
}
