//! Tabs that reconnect and join with `epoch` and `since` get exactly the messages since then, or are told what is missing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::{ask, post};
use crate::web_return::{process, say_all};
use crate::world::{Weather, Wire};

const SECOND: Duration = Duration::from_secs(1);

/// A tab in the lobby, with its position as the protocol describes it.
struct Tab {
    socket: Socket,
    epoch: String,
    seq: u64,
    /// The ids of the messages that it has got without a number.
    unnumbered: Vec<Value>,
}

impl Tab {
    /// Connects to a single process for the first time.
    fn open(stage: &mut Stage) -> Tab {
        let mut tab = Tab::new(Socket::open(stage, "/ws?name=tab&room=lobby&history=0"));
        assert_eq!(tab.received(stage), ["joined"]);
        tab
    }

    /// The same at a process of a cluster.
    fn open_at(cluster: &mut Cluster, index: usize) -> Tab {
        let mut tab = Tab::new(cluster.open(index, "/ws?name=tab&room=lobby&history=0"));
        assert_eq!(tab.received_at(cluster, index), ["joined"]);
        tab
    }

    fn new(socket: Socket) -> Tab {
        Tab { socket, epoch: String::new(), seq: 0, unnumbered: Vec::new() }
    }

    fn path(&self) -> String {
        format!("/ws?name=tab&room=lobby&epoch={}&since={}", self.epoch, self.seq)
    }

    /// Reconnects to a single process.
    fn again(&mut self, stage: &mut Stage) {
        stage.world().end(self.socket.wire);
        stage.run();
        self.socket = Socket::open(stage, &self.path());
    }

    /// Reconnects from one process of a cluster to another.
    fn again_at(&mut self, cluster: &mut Cluster, (from, to): (usize, usize)) {
        if cluster.is_alive(from) {
            cluster.stage(from).world().end(self.socket.wire);
            cluster.run();
        }
        self.socket = cluster.open(to, &self.path());
    }

    fn received(&mut self, stage: &mut Stage) -> Vec<String> {
        let texts = self.socket.texts(stage);
        self.take_in(&texts)
    }

    fn received_at(&mut self, cluster: &mut Cluster, index: usize) -> Vec<String> {
        let texts = cluster.texts(index, &mut self.socket);
        self.take_in(&texts)
    }

    /// Follows the events of the lobby, and returns them in short. Joins and leaves of others are left out.
    fn take_in(&mut self, texts: &[String]) -> Vec<String> {
        let events = texts.iter().map(|text| serde_json::from_str(text).expect("JSON"));
        events.filter_map(|event: Value| self.take_in_one(&event)).collect()
    }

    fn take_in_one(&mut self, event: &Value) -> Option<String> {
        let seq = event["seq"].as_u64();
        match event["type"].as_str()? {
            "joined" => {
                let epoch = event["epoch"].as_str()?;
                match self.epoch == epoch {
                    true => assert!(self.seq <= seq?, "{event}"),
                    false if self.epoch.is_empty() => self.seq = seq?,
                    false => self.seq = 0,
                }
                self.epoch = epoch.into();
                Some("joined".into())
            }
            "position" => {
                (self.epoch, self.seq) = (event["epoch"].as_str()?.into(), seq?);
                Some("position".into())
            }
            "message" => {
                let text = event["text"].as_str()?.to_string();
                if seq? > 0 {
                    assert!(seq? > self.seq, "{event} after {}", self.seq);
                    self.seq = seq?;
                }
                match self.unnumbered.contains(&event["uid"]) {
                    true => return Some(format!("again {text}")),
                    false if seq? == 0 => self.unnumbered.push(event["uid"].clone()),
                    false => {}
                }
                Some(text)
            }
            "missed" => {
                Some(event["count"].as_u64().map_or("missed".into(), |count| format!("missed {count}")))
            }
            "pong" | "error" => Some(event["type"].as_str()?.into()),
            _ => None,
        }
    }
}

#[test]
fn tab_that_reconnects_gets_exactly_what_it_has_missed() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    say_all(&mut stage, ann, &["before"]);
    let mut tab = Tab::open(&mut stage);
    for _ in 0..3 {
        tab.again(&mut stage);
        assert_eq!(tab.received(&mut stage), ["joined", "position"], "nothing was said");
    }
    say_all(&mut stage, ann, &["one"]);
    assert_eq!(tab.received(&mut stage), ["one"]);
    stage.world().end(tab.socket.wire);
    say_all(&mut stage, ann, &["two", "three"]);
    tab.again(&mut stage);
    assert_eq!(tab.received(&mut stage), ["joined", "two", "three", "position"]);
    say_all(&mut stage, ann, &["four"]);
    assert_eq!(tab.received(&mut stage), ["four"]);
    assert_eq!((tab.epoch.as_str(), tab.seq), ("000000000000c0de-0", 5));
    stage.end();
}

#[test]
fn request_behind_a_join_is_handled_when_the_client_has_caught_up() {
    let mut stage = Stage::new("--rate off --write-buffer 16k --write-buffer-soft 4k:10s");
    let ann = stage.join("ann");
    let texts: Vec<String> = (1..40).map(|number| format!("{number} {}", "x".repeat(900))).collect();
    say_all(&mut stage, ann, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut tab = Tab::new(Socket::open(&mut stage, "/ws?name=tab&room="));
    tab.epoch = "000000000000c0de-0".into();
    let join =
        json!({"type": "join", "room": "lobby", "epoch": tab.epoch, "since": 0, "echo": true, "id": 1});
    for request in [join, json!({"type": "ping"}), json!({"type": "say", "room": "lobby", "text": "own"})] {
        tab.socket.say(&mut stage, &request.to_string());
    }
    let expected = ["joined".to_string()].into_iter().chain(texts);
    let expected = expected.chain(["position", "pong", "own"].map(String::from));
    assert_eq!(tab.received(&mut stage), expected.collect::<Vec<_>>());
    stage.end();
}

#[test]
fn answer_to_a_join_has_its_id_and_the_messages_have_none() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    say_all(&mut stage, ann, &["one"]);
    let mut socket = Socket::open(&mut stage, "/ws?name=tab&room=");
    let join = r#"{"type":"join","room":"lobby","epoch":"00c0ffee00c0ffee-0","since":7,"id":"j"}"#;
    socket.say(&mut stage, join);
    let events: Vec<Value> =
        socket.texts(&mut stage).iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let kinds: Vec<_> = events.iter().map(|event| (event["type"].as_str(), event["id"].as_str())).collect();
    let after = ["missed", "message", "position"].map(|kind| (Some(kind), None));
    assert_eq!(kinds[kinds.len() - 4], (Some("joined"), Some("j")), "{events:?}");
    assert_eq!(kinds[kinds.len() - 3..], after, "{events:?}");
    stage.end();
}

#[test]
fn tab_is_told_once_how_many_messages_are_gone_from_the_history() {
    let mut stage = Stage::new("--history 2");
    let ann = stage.join("ann");
    let mut tab = Tab::open(&mut stage);
    stage.world().end(tab.socket.wire);
    say_all(&mut stage, ann, &["one", "two", "three", "four", "five"]);
    tab.again(&mut stage);
    assert_eq!(tab.received(&mut stage), ["joined", "missed 3", "four", "five", "position"]);
    tab.again(&mut stage);
    assert_eq!(tab.received(&mut stage), ["joined", "position"]);
    stage.end();
}

#[test]
fn tab_that_reconnects_after_a_restart_gets_what_is_left() {
    let mut before = process(1, "");
    let ann = before.join("ann");
    let mut tab = Tab::open(&mut before);
    say_all(&mut before, ann, &["one", "two"]);
    assert_eq!(tab.received(&mut before), ["one", "two"]);

    let mut after = process(2, "");
    let bob = after.join("bob");
    say_all(&mut after, bob, &["three", "four"]);
    tab.socket = Socket::open(&mut after, &tab.path());
    assert_eq!(tab.received(&mut after), ["joined", "missed", "three", "four", "position"]);
    say_all(&mut after, bob, &["five"]);
    assert_eq!(tab.received(&mut after), ["five"]);
    stage_ends_tab(&mut after, &tab);
    say_all(&mut after, bob, &["six"]);
    tab.again(&mut after);
    assert_eq!(tab.received(&mut after), ["joined", "six", "position"]);
    before.end();
    after.end();
}

fn stage_ends_tab(stage: &mut Stage, tab: &Tab) {
    stage.world().end(tab.socket.wire);
    stage.run();
}

#[test]
fn slow_tab_gets_live_messages_behind_those_that_it_has_missed() {
    for policy in ["drop", "skip"] {
        let flags =
            format!("--rate off --write-buffer 64k --write-buffer-soft 16k:10s --slow-client {policy}");
        let mut stage = Stage::new(&flags);
        let publisher = stage.connect_http();
        let text = |number: usize| format!("{number} {}", "x".repeat(10_000));
        let publish = |stage: &mut Stage, number| {
            ask(stage, publisher, &post("/rooms/lobby/messages", "", &text(number)));
        };
        let mut tab = Tab::open(&mut stage);
        stage_ends_tab(&mut stage, &tab);
        (1..51).for_each(|number| publish(&mut stage, number));
        tab.again(&mut stage);
        let wire = tab.socket.wire;
        let mut received = tab.received(&mut stage);
        assert_eq!(received.len(), 52, "a tab that reads is not slow");

        tab.seq = 0;
        stage_ends_tab(&mut stage, &tab);
        assert_ne!(open_slowly(&mut stage, &mut tab), wire);
        received = Vec::new();
        for number in 51..100 {
            stage.pass(Duration::from_millis(100));
            stage.receive(tab.socket.wire, 4_000);
            publish(&mut stage, number);
            assert!(stage.server.arena().held_bytes() < 32_000, "one piece at a time");
            assert_eq!(stage.server.chat().census().catching_up, 1);
            received.extend(tab.received(&mut stage));
        }
        stage.set_eager(tab.socket.wire, true);
        received.extend(tab.received(&mut stage));
        let expected: Vec<String> =
            ["joined".into()].into_iter().chain((1..100).map(text)).chain(["position".into()]).collect();
        assert!(received == expected, "{policy}: {} events", received.len());
        publish(&mut stage, 100);
        assert_eq!(tab.received(&mut stage), [text(100)]);
        assert_eq!((stage.server.metrics().dropped(), stage.server.metrics().missed), (0, 0));
        stage.end();
    }
}

/// Reconnects a tab that hardly reads. Returns its wire.
fn open_slowly(stage: &mut Stage, tab: &mut Tab) -> Wire {
    let wire = stage.connect_http();
    stage.world().set_window(wire, 8_000);
    stage.send(wire, crate::socket::handshake(&tab.path(), "").as_bytes());
    stage.set_eager(wire, false);
    stage.run();
    stage.receive(wire, 400);
    tab.socket = Socket::upgraded(stage, wire);
    wire
}

#[test]
fn slow_tab_that_closes_while_it_catches_up_is_read_to_its_close() {
    let mut stage = Stage::new("--rate off --write-buffer 16k --write-buffer-soft 4k:10s");
    let ann = stage.join("ann");
    let texts: Vec<String> = (1..40).map(|number| format!("{number} {}", "x".repeat(900))).collect();
    say_all(&mut stage, ann, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut tab = Tab::new(Socket::open(&mut stage, "/ws?name=one&room="));
    (tab.epoch, tab.seq) = ("000000000000c0de-0".into(), 0);
    open_slowly(&mut stage, &mut tab);
    stage.unread(ann);
    tab.socket.say(&mut stage, r#"{"type":"say","room":"lobby","text":"bye"}"#);
    stage.run();
    stage.expect(ann, &[]);
    stage.send(tab.socket.wire, &crate::socket::frame(crate::socket::CLOSE, [3, 232]));
    stage.run();
    stage.expect(ann, &["tab: bye", "-- tab left"]);
    assert_eq!(stage.server.chat().census().catching_up, 0);
    stage.end();
}

#[test]
fn tabs_that_break_off_and_come_back_under_random_faults_get_each_message_once() {
    for seed in 0..20 {
        let weather = Weather { write_micros: 0, ..Weather::storm() };
        let flags = "--rate off --write-buffer 16k --write-buffer-soft 4k:10s";
        let mut stage = Stage::with_weather(flags, seed, Weather::default());
        let mut rng = fastrand::Rng::with_seed(seed);
        let publisher = stage.connect_http();
        let mut tab = Tab::open(&mut stage);
        let (mut said, mut received) = (0, Vec::new());
        for _ in 0..30 {
            stage.world().weather = weather;
            // The history holds at most a hundred messages, so later ones could not be sent again.
            for _ in 0..rng.usize(0..5).min(95 - said) {
                said += 1;
                let text = format!("{said} {}", "x".repeat(rng.usize(10..7_000)));
                ask(&mut stage, publisher, &post("/rooms/lobby/messages", "", &text));
            }
            stage.set_eager(tab.socket.wire, rng.bool());
            stage.pass(Duration::from_millis(rng.u64(0..300)));
            received.extend(tab.received(&mut stage));
            if rng.u8(0..4) == 0 {
                stage.world().reset(tab.socket.wire);
                stage.world().weather = Weather::default();
                stage.run();
                tab.socket = Socket::open(&mut stage, &tab.path());
            }
        }
        stage.world().weather = Weather::default();
        stage.set_eager(tab.socket.wire, true);
        stage.run_past_holds();
        received.extend(tab.received(&mut stage));
        let numbers: Vec<usize> =
            received.iter().filter_map(|text| text.split_once(' ')?.0.parse().ok()).collect();
        assert_eq!(numbers, (1..=said).collect::<Vec<_>>(), "seed {seed}");
        stage.end();
    }
}

#[test]
fn tab_that_reconnects_to_another_process_gets_exactly_what_it_has_missed() {
    let mut cluster = Cluster::new(2, "--rate off");
    let ann = cluster.join(0, "ann");
    cluster.say(ann, "zero");
    let mut tab = Tab::open_at(&mut cluster, 0);
    cluster.say(ann, "one");
    assert_eq!(tab.received_at(&mut cluster, 0), ["one"]);
    cluster.stage(0).world().end(tab.socket.wire);
    cluster.run();
    for text in ["two", "three"] {
        cluster.say(ann, text);
    }
    cluster.run();
    tab.again_at(&mut cluster, (0, 1));
    assert_eq!(tab.received_at(&mut cluster, 1), ["joined", "two", "three", "position"]);
    cluster.say(ann, "four");
    assert_eq!(tab.received_at(&mut cluster, 1), ["four"]);
    cluster.stage(1).world().end(tab.socket.wire);
    cluster.run();
    cluster.say(ann, "five");
    cluster.run();
    (0..2).for_each(|process| cluster.kill(process));
    let third = cluster.start();
    cluster.run();
    tab.again_at(&mut cluster, (1, third));
    assert_eq!(tab.received_at(&mut cluster, third), ["joined", "five", "position"]);
    cluster.pass(60 * SECOND);
    cluster.end();
}

#[test]
fn tab_recognises_a_message_that_it_got_without_a_number_by_its_uid() {
    let mut cluster = Cluster::new(2, "--rate off");
    let ann = cluster.join(0, "ann");
    let mut tab = Tab::open_at(&mut cluster, 0);
    cluster.say(ann, "one");
    assert_eq!(tab.received_at(&mut cluster, 0), ["one"]);
    cluster.set_redis_down(true, true);
    cluster.pass(10 * SECOND);
    cluster.say(ann, "two");
    assert_eq!(tab.received_at(&mut cluster, 0), ["two"]);
    assert_eq!((tab.seq, tab.unnumbered.len()), (1, 1));
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    cluster.say(ann, "three");
    assert_eq!(tab.received_at(&mut cluster, 0), ["three"], "the members have seen the second");
    tab.seq = 1;
    tab.again_at(&mut cluster, (0, 1));
    assert_eq!(tab.received_at(&mut cluster, 1), ["joined", "again two", "three", "position"]);
    cluster.end();
}

#[test]
fn tab_that_returns_while_redis_is_away_gets_what_was_shown_without_a_number() {
    // Each batch has a few of them, and the last is shown while the tab catches up.
    let mut cluster = Cluster::new(2, "--rate off --write-buffer 16k --write-buffer-soft 8k:10s");
    let (ann, cy) = (cluster.join(0, "ann"), cluster.join(1, "cy"));
    let mut tab = Tab::open_at(&mut cluster, 0);
    cluster.say(ann, "one");
    assert_eq!(tab.received_at(&mut cluster, 0), ["one"]);
    cluster.stage(0).world().end(tab.socket.wire);
    cluster.set_redis_down(true, true);
    cluster.pass(10 * SECOND);
    let long = |number: usize| format!("{number} {}", "x".repeat(2_000));
    (0..20).for_each(|number| cluster.say(ann, &long(number)));
    cluster.say(cy, "elsewhere");
    cluster.run();
    open_slowly(cluster.stage(0), &mut tab);
    cluster.say(ann, &long(20));
    cluster.run();
    assert_eq!(cluster.stage(0).server.chat().census().catching_up, 1);
    cluster.stage(0).set_eager(tab.socket.wire, true);
    let received = tab.received_at(&mut cluster, 0);
    let expected = ["joined".into()].into_iter().chain((0..21).map(long)).chain(["position".into()]);
    assert_eq!(received, expected.collect::<Vec<String>>());
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    assert_eq!(tab.received_at(&mut cluster, 0), ["elsewhere"]);
    // They have numbers now, and nobody waits for them any more.
    tab.unnumbered.clear();
    tab.seq = 1;
    tab.again_at(&mut cluster, (0, 0));
    assert_eq!(tab.received_at(&mut cluster, 0).len(), 1 + 22 + 1);
    cluster.set_redis_down(true, true);
    cluster.pass(10 * SECOND);
    tab.again_at(&mut cluster, (0, 0));
    assert_eq!(tab.received_at(&mut cluster, 0), ["joined", "position"]);
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    cluster.end();
}

#[test]
fn tab_that_returns_while_redis_is_away_gets_no_message_that_was_discarded() {
    let mut cluster = Cluster::new(2, "--rate off --redis-queue 64k --write-buffer 1m");
    let ann = cluster.join(0, "ann");
    let mut tab = Tab::open_at(&mut cluster, 0);
    cluster.set_redis_down(true, true);
    cluster.pass(10 * SECOND);
    let text = |number: usize| format!("{number} {}", "x".repeat(2_000));
    (0..100).for_each(|number| cluster.say(ann, &text(number)));
    assert_eq!(tab.received_at(&mut cluster, 0).len(), 100);
    let discarded = cluster.counts(0).shed as usize;
    assert!((1..100).contains(&discarded), "{discarded}");
    tab.unnumbered.clear();
    tab.again_at(&mut cluster, (0, 0));
    let received = tab.received_at(&mut cluster, 0);
    assert_eq!(received[1..received.len() - 1], (discarded..100).map(text).collect::<Vec<_>>());
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    assert_eq!(tab.received_at(&mut cluster, 0), [format!("missed {discarded}"), "position".into()]);
    cluster.end();
}

#[test]
fn tab_that_returns_while_redis_stalls_gets_a_message_older_than_those_that_were_discarded() {
    let mut cluster = Cluster::new(2, "--rate off --redis-queue 64k --write-buffer 1m --redis-timeout 1s");
    let ann = cluster.join(0, "ann");
    let mut tab = Tab::open_at(&mut cluster, 0);
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    // Redis may have this one, so it is not discarded.
    cluster.say(ann, "one");
    cluster.pass(10 * SECOND);
    assert_eq!(tab.received_at(&mut cluster, 0), ["one"]);
    let text = |number: usize| format!("{number} {}", "x".repeat(2_000));
    (0..100).for_each(|number| cluster.say(ann, &text(number)));
    assert_eq!(tab.received_at(&mut cluster, 0).len(), 100);
    let discarded = cluster.counts(0).shed as usize;
    assert!((1..100).contains(&discarded), "{discarded}");
    tab.unnumbered.clear();
    tab.again_at(&mut cluster, (0, 0));
    let received = tab.received_at(&mut cluster, 0);
    let kept = ["one".into()].into_iter().chain((discarded..100).map(text));
    assert_eq!(received[1..received.len() - 1], kept.collect::<Vec<String>>());
    let millis = cluster.millis();
    cluster.redis.set_stalled(false, millis);
    cluster.pass(10 * SECOND);
    assert_eq!(tab.received_at(&mut cluster, 0), [format!("missed {discarded}"), "position".into()]);
    cluster.end();
}

#[test]
fn tab_ahead_of_a_process_without_redis_keeps_its_position() {
    let mut cluster = Cluster::new(2, "--rate off");
    let ann = cluster.join(0, "ann");
    cluster.join(1, "cy");
    let mut tab = Tab::open_at(&mut cluster, 0);
    cluster.say(ann, "one");
    assert_eq!(tab.received_at(&mut cluster, 0), ["one"]);
    cluster.set_cut_off(1, true);
    cluster.pass(10 * SECOND);
    cluster.say(ann, "two");
    assert_eq!(tab.received_at(&mut cluster, 0), ["two"]);
    let known = (tab.epoch.clone(), 2);
    tab.again_at(&mut cluster, (0, 1));
    let texts = cluster.texts(1, &mut tab.socket);
    let kinds = texts.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON")["type"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["welcome", "notice", "joined"]);
    assert_eq!((tab.epoch.clone(), tab.seq), known);
    // It comes back once more before the process knows what it knows.
    tab.again_at(&mut cluster, (1, 0));
    cluster.say(ann, "three");
    assert_eq!(tab.received_at(&mut cluster, 0), ["joined", "position", "three"]);
    cluster.set_cut_off(1, false);
    cluster.pass(10 * SECOND);
    tab.again_at(&mut cluster, (0, 1));
    assert_eq!(tab.received_at(&mut cluster, 1), ["joined", "position"]);
    cluster.end();
}

#[test]
fn tab_follows_a_room_into_another_epoch() {
    let mut cluster = Cluster::new(2, "--rate off");
    let ann = cluster.join(0, "ann");
    let mut tab = Tab::open_at(&mut cluster, 0);
    cluster.say(ann, "one");
    assert_eq!(tab.received_at(&mut cluster, 0), ["one"]);
    let before = tab.epoch.clone();
    cluster.pass(30 * SECOND);
    cluster.set_redis_down(true, false);
    cluster.pass(SECOND / 2);
    cluster.set_redis_down(false, false);
    cluster.pass(10 * SECOND);
    let received = tab.received_at(&mut cluster, 0);
    assert_eq!(received, ["missed", "position"]);
    assert_ne!(tab.epoch, before);
    cluster.stage(0).world().end(tab.socket.wire);
    cluster.run();
    cluster.say(ann, "two");
    cluster.run();
    tab.again_at(&mut cluster, (0, 1));
    assert_eq!(tab.received_at(&mut cluster, 1), ["joined", "two", "position"]);
    cluster.end();
}

#[test]
fn position_that_is_no_position_is_refused() {
    let mut stage = Stage::new("");
    let rows = [
        ("/ws?room=lobby&since=3", "epoch and since belong together"),
        ("/ws?room=lobby&epoch=000000000000c0de-0", "epoch and since belong together"),
        ("/ws?room=lobby&epoch=000000000000c0de-0&since=-3", "since is a whole number from 0"),
        ("/ws?room=lobby&epoch=x&since=3", "an epoch is a text of the server, as in the answer to a join"),
        (
            "/raw/lobby?epoch=000000000000c0de-0&since=3",
            "a raw client can't catch up, since its messages are not kept",
        ),
    ];
    for (path, text) in rows {
        let wire = stage.connect_http();
        let answer = ask(&mut stage, wire, &crate::socket::handshake(path, ""));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(text), "{path}: {answer}");
        stage.world().end(wire);
    }
    let mut tab = Tab::open(&mut stage);
    tab.socket.say(&mut stage, r#"{"type":"join","room":"dev","since":3}"#);
    assert_eq!(tab.received(&mut stage), ["error"]);
    stage.end();
}
