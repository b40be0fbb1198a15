//! Redis orders and keeps: all clients read one order, the history is everybody's, and what was accepted is kept.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, Guest};
use crate::socket::Socket;
use crate::web::{get, post};
use crate::world::Weather;

const SECOND: Duration = Duration::from_secs(1);
const STREAM: &str = "chinwag:@stream:lobby";

/// Returns all names and rooms that a client in the lobby can list.
fn seen(cluster: &mut Cluster, guest: Guest) -> (Vec<String>, BTreeSet<String>) {
    let who = cluster.who(guest);
    cluster.say(guest, "/rooms");
    cluster.run();
    let lines = cluster.unread(guest);
    let rooms = lines[0].strip_prefix("-- rooms: ").expect("rooms").split(", ").map(String::from);
    (who, rooms.collect())
}

/// Returns the numbers and texts of the messages among these events.
fn numbered(texts: &[String]) -> Vec<(u64, String)> {
    let events = texts.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    let messages = events.filter(|event| event["type"] == "message");
    messages.map(|it| (it["seq"].as_u64().unwrap_or(0), it["text"].as_str().unwrap_or("").into())).collect()
}

/// Returns the body of the lobby's history as a process has it.
fn history(cluster: &mut Cluster, process: usize) -> String {
    let answer = cluster.ask_http(process, &get("/rooms/lobby/messages"));
    answer.split_once("\r\n\r\n").expect("a body").1.to_string()
}

fn set_stalled(cluster: &mut Cluster, stalled: bool) {
    cluster.run();
    let millis = cluster.millis();
    cluster.redis.set_stalled(stalled, millis);
    cluster.run();
}

#[test]
fn interleaved_speakers_are_read_in_one_order_at_all_processes() {
    for seed in 0..30 {
        let weather = Weather { accept_fails: 0, ..Weather::storm() };
        let mut cluster = Cluster::with_weather(3, "--rate off", seed, weather);
        let mut rng = fastrand::Rng::with_seed(seed);
        let readers = [0, 1, 2].map(|process| cluster.connect(process, &format!("r{process}")));
        cluster.pass(2 * SECOND);
        let mut tabs: Vec<Socket> = Vec::new();
        for process in 0..3 {
            tabs.push(cluster.open(process, &format!("/ws?name=t{process}&room=lobby&echo=1")));
        }
        readers.into_iter().for_each(|guest| drop(cluster.unread(guest)));
        for number in 0..40 {
            let process = rng.usize(0..3);
            let say = format!(r#"{{"type":"say","room":"lobby","text":"m{number}"}}"#);
            tabs[process].say(cluster.stage(process), &say);
            for _ in 0..rng.usize(0..4) {
                let process = rng.usize(0..3);
                cluster.step(process);
            }
        }
        cluster.run();
        let read = readers.map(|guest| {
            let lines = cluster.unread(guest).into_iter();
            let said = lines.filter(|line| !line.starts_with("-- "));
            said.map(|line| line.split_once(": ").expect("a text").1.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(read[0].len(), 40, "seed {seed}: {:?}", read[0]);
        let expected: Vec<(u64, String)> = (1..).zip(read[0].clone()).collect();
        for process in 0..3 {
            assert_eq!(read[process], read[0], "seed {seed}: process {process}");
            let texts = cluster.texts(process, &mut tabs[process]);
            assert_eq!(numbered(&texts), expected, "seed {seed}: process {process}");
        }
        let kept = cluster.redis.stream(STREAM, cluster.millis());
        assert_eq!(kept.len(), 40);
        for ((_, entry), (_, text)) in kept.iter().zip(&expected) {
            assert!(entry.contains(&format!(r#""text":"{text}""#)), "seed {seed}: {entry}");
        }
        cluster.end();
    }
}

#[test]
fn history_is_the_same_at_all_processes_and_after_a_restart_of_all() {
    let mut cluster = Cluster::new(3, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    for number in 0..10 {
        cluster.say(if number % 3 == 0 { ann } else { bob }, &format!("m{number}"));
        cluster.run();
    }
    cluster.ask_http(2, &post("/rooms/lobby/messages?from=ci", "", "green"));
    let first = history(&mut cluster, 0);
    assert_eq!(first.matches(r#""text":"#).count(), 11, "{first}");
    assert!(first.contains(r#""text":"green""#), "{first}");
    // The third process has no member in the room.
    assert_eq!([history(&mut cluster, 1), history(&mut cluster, 2)], [first.clone(), first.clone()]);
    (0..3).for_each(|process| cluster.kill(process));
    cluster.pass(60 * SECOND);
    let after = cluster.start();
    cluster.run();
    assert_eq!(history(&mut cluster, after), first);
    let cy = cluster.join(after, "cy");
    cluster.say(cy, "/history 2");
    cluster.run();
    let lines = cluster.unread(cy);
    assert!(lines.len() == 2 && lines[1].ends_with("ci (http): green"), "{lines:?}");
    cluster.say(cy, "again");
    cluster.run();
    assert!(history(&mut cluster, after).contains(r#""text":"again","seq":12"#));
    cluster.pass(60 * SECOND);
    cluster.end();
}

#[test]
fn topic_is_the_same_at_all_processes_and_after_a_restart_of_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    let digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    std::fs::write(&file, format!("[accounts.ann]\nrole = \"admin\"\ntoken = \"sha256:{digest}\"\n"))
        .expect("a file");
    let mut cluster = Cluster::new(2, &format!("--config {}", file.display()));
    let (ann, bob) = (cluster.join(0, "eve"), cluster.join(1, "bob"));
    cluster.say(ann, "/login ann a");
    cluster.run();
    cluster.unread(bob);
    cluster.say(ann, "/topic tea");
    cluster.run();
    let told = cluster.unread(bob);
    assert!(told.len() == 1 && told[0].contains("tea"), "{told:?}");
    (0..2).for_each(|process| cluster.kill(process));
    let after = cluster.start();
    cluster.run();
    let cy = cluster.connect(after, "cy");
    cluster.run();
    let lines = cluster.unread(cy);
    assert!(lines.iter().any(|line| line.contains("tea")), "{lines:?}");
    cluster.pass(60 * SECOND);
    cluster.end();
}

#[test]
fn receipt_comes_when_redis_has_numbered_the_message() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    let mut tab = cluster.open(0, "/ws?name=tab&room=lobby");
    cluster.texts(0, &mut tab);
    [ann, bob].into_iter().for_each(|guest| drop(cluster.unread(guest)));
    set_stalled(&mut cluster, true);
    tab.say(cluster.stage(0), r#"{"type":"say","room":"lobby","text":"hi","id":"a"}"#);
    cluster.pass(SECOND);
    assert_eq!(cluster.texts(0, &mut tab), [""; 0]);
    [ann, bob].into_iter().for_each(|guest| cluster.expect(guest, &[]));
    set_stalled(&mut cluster, false);
    let texts = cluster.texts(0, &mut tab);
    assert!(texts.len() == 1 && texts[0].contains(r#""id":"a""#), "{texts:?}");
    assert_eq!(numbered(&texts), [(1, "hi".to_string())], "{texts:?}");
    [ann, bob].into_iter().for_each(|guest| cluster.expect(guest, &["tab: hi"]));
    cluster.end();
}

#[test]
fn http_answer_has_the_number_of_redis_and_waits_for_it() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    for (process, seq) in [(0, 1), (1, 2), (0, 3)] {
        let answer = cluster.ask_http(process, &post("/rooms/lobby/messages?from=ci", "", "green"));
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        assert!(answer.contains(&format!(r#"{{"seq":{seq},"#)), "{answer}");
        cluster.expect(ann, &["ci (http): green"]);
    }
    set_stalled(&mut cluster, true);
    let wire = cluster.stage(1).connect_http();
    let request = post("/rooms/lobby/messages?from=ci", "", "late");
    cluster.stage(1).send(wire, request.as_bytes());
    cluster.pass(SECOND);
    assert_eq!(cluster.stage(1).raw(wire), b"");
    set_stalled(&mut cluster, false);
    let answer = String::from_utf8_lossy(cluster.stage(1).raw(wire)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains(r#"{"seq":4,"#), "{answer}");
    cluster.expect(ann, &["ci (http): late"]);
    cluster.end();
}

#[test]
fn http_message_that_is_not_kept_is_refused_and_shown_to_nobody() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.set_redis_down(true, true);
    // The first ones wait for a second, and the other is refused at once.
    let early = ["/rooms/lobby/messages?from=ci", "/rooms/lobby/messages"].map(|path| {
        let wire = cluster.stage(0).connect_http();
        cluster.stage(0).send(wire, post(path, "", "early").as_bytes());
        wire
    });
    cluster.pass(SECOND / 2);
    assert!(early.into_iter().all(|wire| cluster.stage(0).raw(wire).is_empty()));
    cluster.pass(2 * SECOND);
    let early = early.map(|wire| String::from_utf8_lossy(cluster.stage(0).raw(wire)).into_owned());
    let late = cluster.ask_http(0, &post("/rooms/lobby/messages?from=ci", "", "late"));
    for answer in early.into_iter().chain([late]) {
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""not_kept""#), "{answer}");
    }
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    for guest in [ann, bob] {
        let lines = cluster.unread(guest);
        assert!(!lines.iter().any(|line| line.contains("early") || line.contains("late")), "{lines:?}");
    }
    assert_eq!(cluster.redis.stream(STREAM, cluster.millis()), []);
    cluster.end();
}

#[test]
fn http_message_that_is_discarded_is_answered_at_once() {
    let mut cluster = Cluster::new(1, "--redis-queue 64k");
    cluster.set_redis_down(true, true);
    let body = "a".repeat(10 * 1024);
    let wires: Vec<_> = (0..10).map(|_| cluster.stage(0).connect_http()).collect();
    for wire in &wires {
        cluster.stage(0).send(*wire, post("/rooms/lobby/messages", "", &body).as_bytes());
        cluster.run();
    }
    let answers: Vec<String> =
        wires.iter().map(|wire| String::from_utf8_lossy(cluster.stage(0).raw(*wire)).into_owned()).collect();
    let answered: Vec<bool> = answers.iter().map(|answer| !answer.is_empty()).collect();
    assert_eq!(answered, [true, true, true, true, false, false, false, false, false, false]);
    for answer in &answers[..4] {
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""not_kept""#), "{answer}");
    }
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    cluster.end();
}

#[test]
fn pipelined_request_behind_a_message_waits_for_its_answer() {
    let mut cluster = Cluster::new(1, "");
    set_stalled(&mut cluster, true);
    let wire = cluster.stage(0).connect_http();
    let requests = post("/rooms/lobby/messages", "", "x") + &get("/healthz");
    cluster.stage(0).send(wire, requests.as_bytes());
    cluster.run();
    assert_eq!(cluster.stage(0).raw(wire), b"");
    set_stalled(&mut cluster, false);
    let answers = String::from_utf8_lossy(cluster.stage(0).raw(wire)).into_owned();
    let statuses: Vec<&str> = answers.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
    assert_eq!(statuses, ["HTTP/1.1 202 Accepted", "HTTP/1.1 200 OK"], "{answers}");
    cluster.end();
}

#[test]
fn http_message_that_redis_may_have_is_answered_as_not_confirmed_and_is_kept_once() {
    for has_arrived in [true, false] {
        let mut cluster = Cluster::new(2, "");
        let guests = [cluster.join(0, "ann"), cluster.join(1, "bob")];
        match has_arrived {
            true => cluster.lose_replies(0),
            false => cluster.set_delayed(0, true),
        }
        let wire = cluster.stage(0).connect_http();
        cluster.stage(0).send(wire, post("/rooms/lobby/messages", "", "green").as_bytes());
        cluster.run();
        let mut times = [0; 2];
        let mut count = |cluster: &mut Cluster| {
            for (guest, times) in guests.into_iter().zip(&mut times) {
                *times += cluster.unread(guest).iter().filter(|line| *line == "http: green").count();
            }
            times
        };
        assert_eq!(count(&mut cluster), [0, usize::from(has_arrived)]);
        cluster.set_redis_down(true, true);
        cluster.pass(3 * SECOND);
        let answer = String::from_utf8_lossy(cluster.stage(0).raw(wire)).into_owned();
        assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains(r#""not_confirmed""#), "{answer}");
        assert_eq!(count(&mut cluster), [1, usize::from(has_arrived)]);
        cluster.set_redis_down(false, true);
        cluster.pass(10 * SECOND);
        assert_eq!(count(&mut cluster), [1, 1]);
        assert_eq!(cluster.redis.stream(STREAM, cluster.millis()).len(), 1, "{has_arrived}");
        cluster.end();
    }
}

#[test]
fn processes_with_different_databases_are_two_chats() {
    let mut cluster = Cluster::new(1, "");
    let second = cluster.start_with("--redis redis://redis/1");
    let third = cluster.start_with("--redis redis://redis/1");
    cluster.run();
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(second, "bob"));
    let again = cluster.join(third, "ann");
    cluster.expect(bob, &["-- ann joined"]);
    cluster.say(again, "hi");
    cluster.expect(bob, &["ann: hi"]);
    cluster.expect(ann, &[]);
    cluster.ask(ann, "/who", &["-- in #lobby: ann"]);
    cluster.ask(ann, "/rooms", &["-- rooms: #lobby (1)"]);
    cluster.ask(bob, "/who", &["-- in #lobby: bob, ann"]);
    cluster.ask(ann, "/msg bob psst", &["-- nobody is called bob. /who lists the names"]);
    cluster.ask(bob, "/msg ann psst", &[]);
    cluster.expect(again, &["[bob] psst"]);
    cluster.expect(ann, &[]);
    let millis = cluster.millis();
    assert_eq!(cluster.redis.stream(STREAM, millis), []);
    assert!(cluster.redis.keys_of(1, millis).contains(&STREAM.to_string()));
    assert_eq!([cluster.redis.numsub("chinwag:lobby"), cluster.redis.numsub("chinwag:@1:lobby")], [1, 2]);
    cluster.redis.publish("chinwag:@1:lobby", b"hello");
    cluster.expect(bob, &["redis: hello"]);
    cluster.expect(ann, &[]);
    cluster.end();
}

#[test]
fn changes_of_one_tick_leave_the_same_state_everywhere() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut cluster = Cluster::new(2, "--rate off");
        let watcher = cluster.join(1, "watcher");
        let mut there: Vec<Guest> = (0..6).map(|number| cluster.join(0, &format!("n{number}"))).collect();
        let mut joined = there.len();
        for _ in 0..4 {
            // Nothing runs between these, so the process reads all of them in one tick.
            for _ in 0..rng.usize(1..12) {
                match rng.u8(0..5) {
                    0 => {
                        there.push(cluster.connect(0, &format!("n{}", rng.usize(0..joined + 2))));
                        joined += 1;
                    }
                    1 if !there.is_empty() => {
                        let gone = there.swap_remove(rng.usize(0..there.len()));
                        cluster.say(gone, "/quit");
                    }
                    2 if !there.is_empty() => {
                        let guest = there[rng.usize(0..there.len())];
                        cluster.say(guest, &format!("/nick n{}", rng.usize(0..joined + 2)));
                    }
                    3 if !there.is_empty() => {
                        let gone = there.swap_remove(rng.usize(0..there.len()));
                        cluster.stage(0).world().reset(gone.wire);
                    }
                    _ if !there.is_empty() => {
                        let guest = there[rng.usize(0..there.len())];
                        cluster.say(guest, ["/join dev", "/leave"][rng.usize(0..2)]);
                    }
                    _ => {}
                }
            }
            cluster.run();
        }
        // Clients that have asked for a taken name, and got none, were closed by then.
        cluster.pass(61 * SECOND);
        let own = cluster.join(0, "own");
        let late = cluster.start();
        cluster.run();
        let newcomer = cluster.join(late, "newcomer");
        cluster.run();
        let [own, watcher, newcomer] = [own, watcher, newcomer].map(|guest| seen(&mut cluster, guest));
        assert_eq!((&own, &own), (&watcher, &newcomer), "seed {seed}");
        let names: BTreeSet<&String> = own.0.iter().collect();
        assert_eq!(names.len(), own.0.len(), "seed {seed}: a name given twice: {own:?}");
        // Redis has the name of each client, and none of clients that are gone.
        let presences: Vec<_> =
            (0..3).flat_map(|process| cluster.stage(process).server.chat().presences()).collect();
        let names: BTreeSet<String> =
            presences.iter().map(|presence| presence.name.as_str().to_string()).collect();
        let claimed: BTreeSet<String> = cluster
            .claims()
            .iter()
            .filter_map(|claim| Some(claim.splitn(4, ' ').nth(3)?.to_string()))
            .collect();
        assert_eq!(claimed, names, "seed {seed}");
        cluster.end();
    }
}

#[test]
fn stall_shorter_than_redis_timeout_keeps_the_session_and_a_longer_one_ends_it() {
    for (stall, down) in [(11, false), (30, true)] {
        let mut cluster = Cluster::new(2, "--redis-timeout 12s");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.expect(ann, &["-- bob joined"]);
        cluster.pass(10 * SECOND);
        let millis = cluster.millis();
        cluster.redis.set_stalled(true, millis);
        cluster.say(ann, "during");
        cluster.pass(stall * SECOND);
        assert_eq!(cluster.link(0).up, !down, "{stall} s");
        let millis = cluster.millis();
        cluster.redis.set_stalled(false, millis);
        cluster.pass(30 * SECOND);
        let sessions = cluster.counts(0).sessions;
        assert_eq!(sessions > 1, down, "{stall} s");
        let lines = cluster.unread(bob);
        assert_eq!(lines.iter().filter(|line| *line == "ann: during").count(), 1, "{lines:?}");
        assert_eq!(lines.len(), if down { 3 } else { 1 }, "{lines:?}");
        // Afterwards the state is the same as before.
        for guest in [ann, bob] {
            assert_eq!(cluster.who(guest), ["ann", "bob"]);
        }
        assert_eq!((cluster.link(0).queue_bytes, cluster.link(0).peers), (0, 1));
        cluster.end();
    }
}

/// A pipelined command may be refused and the next ones not, such as at the end of loading.
#[test]
fn messages_behind_a_refused_one_keep_their_order_and_none_is_lost() {
    let errors = ["LOADING Redis is loading the dataset in memory", "OOM command not allowed"];
    for (command, error) in
        ["EVALSHA", "HSET", "XADD"].into_iter().flat_map(|it| errors.map(|error| (it, error)))
    {
        let mut cluster = Cluster::new(3, "--rate off");
        let guests = [(0, "ann"), (1, "bob"), (2, "cy")].map(|(process, name)| cluster.join(process, name));
        cluster.run();
        cluster.say(guests[0], "zero");
        cluster.pass(10 * SECOND);
        guests[1..].iter().for_each(|guest| drop(cluster.unread(*guest)));
        cluster.redis.refuse_once(command, error);
        for word in ["one", "two", "three"] {
            cluster.say(guests[0], word);
        }
        cluster.pass(10 * SECOND);
        for guest in &guests[1..] {
            cluster.expect(*guest, &["ann: one", "ann: two", "ann: three"]);
        }
        cluster.end();
    }
}
