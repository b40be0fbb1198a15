//! Single calls of the scripts in the virtual Redis: what each changes, and what it leaves.

use std::collections::BTreeMap;

use crate::redis::{Conn, Redis};
use crate::redis_itself::{request, text};
use crate::redis_real::scripts::{PROCESSES, sources};

const NOW_MILLIS: u64 = 1_000;
const LEASE_MILLIS: &str = "1000";

const ONE: &str = PROCESSES[0];
const OTHER: &str = PROCESSES[1];

/// A virtual Redis with the prefix `k` of all keys and `c` of all channels, and a client that calls scripts.
struct Scripts {
    redis: Redis,
    caller: Conn,
    subscriber: Conn,
    sources: BTreeMap<String, String>,
}

impl Scripts {
    /// The room `r` and the channel of each process are subscribed to.
    fn new() -> Scripts {
        let mut redis = Redis::new();
        let (caller, subscriber) = (redis.open(), redis.open());
        let mut scripts = Scripts { redis, caller, subscriber, sources: sources() };
        let channels = PROCESSES.map(|process| format!("c@{process}"));
        let words = ["SUBSCRIBE", "cr"].into_iter().chain(channels.iter().map(String::as_str));
        scripts.redis.receive(subscriber, &request(words), NOW_MILLIS);
        scripts.published();
        scripts
    }

    /// Sends a command, and returns the reply.
    fn send<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) -> String {
        self.redis.receive(self.caller, &request(words), NOW_MILLIS);
        text(&self.redis.take_output(self.caller))
    }

    /// Has a process call a script in its first session, and returns the reply.
    fn call(&mut self, process: &str, name: &str, args: &[&str]) -> String {
        let source = self.sources[name].clone();
        let head = ["EVAL", &source, "0", "k", "c", process, "1"];
        self.send(head.into_iter().chain(args.iter().copied()))
    }

    /// Gives a process a lease.
    fn lease(&mut self, process: &str) {
        self.send(["SET", &format!("k@lease:{process}"), "1", "PX", LEASE_MILLIS]);
    }

    /// Returns the payloads that were published since the last call.
    fn published(&mut self) -> Vec<String> {
        let output = text(&self.redis.take_output(self.subscriber));
        output.lines().filter(|line| line.starts_with("chinwag ")).map(String::from).collect()
    }

    fn claims(&self) -> Vec<(String, String)> {
        self.redis.hash("k@names", NOW_MILLIS).into_iter().collect()
    }

    fn set(&self, key: &str) -> Vec<String> {
        self.redis.set(key, NOW_MILLIS).into_iter().collect()
    }
}

fn claim(key: &str, process: &str, rest: &str) -> (String, String) {
    (key.into(), format!("{process} {rest}"))
}

/// The reply with this text.
fn reply(words: &str) -> String {
    format!("${}\n{words}\n", words.len())
}

#[test]
fn claim_of_a_process_without_a_lease_does_not_count() {
    for (alive, answer) in [(true, reply(&format!("{OTHER} 7 0 ann"))), (false, reply(""))] {
        let mut scripts = Scripts::new();
        assert_eq!(scripts.call(OTHER, "claim", &["7", "0", "0", "ann", "ann"]), reply(""));
        scripts.lease(ONE);
        if alive {
            scripts.lease(OTHER);
        }
        assert_eq!(scripts.call(ONE, "claim", &["3", "0", "0", "ann", "ann"]), answer);
        let holder = if alive { claim("ann", OTHER, "7 0 ann") } else { claim("ann", ONE, "3 0 ann") };
        assert_eq!(scripts.claims(), [holder]);
        let names_of = |process| scripts.set(&format!("k@names:{process}"));
        assert_eq!((names_of(ONE).len(), names_of(OTHER).len()), if alive { (0, 1) } else { (1, 0) });
        assert_eq!(scripts.published(), [""; 0], "nobody loses a name");
    }
}

#[test]
fn claim_counts_against_other_clients_of_its_own_process_too() {
    let mut scripts = Scripts::new();
    [ONE, OTHER].into_iter().for_each(|process| scripts.lease(process));
    scripts.call(ONE, "claim", &["3", "0", "0", "ann", "ann"]);
    let taken = reply(&format!("{ONE} 3 0 ann"));
    assert_eq!(scripts.call(ONE, "claim", &["4", "0", "0", "Ann", "ann"]), taken);
    assert_eq!(scripts.call(OTHER, "claim", &["3", "0", "0", "Ann", "ann"]), taken, "the number alone");
    assert_eq!(scripts.call(ONE, "claim", &["3", "0", "0", "Ann", "ann"]), reply(""), "the client itself");
    assert_eq!(scripts.claims(), [claim("ann", ONE, "3 0 Ann")]);
    // The process itself tells its client that it loses its name.
    assert_eq!(scripts.call(ONE, "claim", &["4", "2", "1", "ann", "ann"]), reply(""));
    assert_eq!(scripts.published(), [""; 0]);
    assert_eq!(scripts.call(OTHER, "claim", &["5", "2", "1", "ann", "ann"]), reply(""));
    assert_eq!(scripts.published(), ["chinwag taken 4 1 ann"]);
}

#[test]
fn process_that_has_lost_a_name_registers_its_clients_again_unless_it_has_released_the_name() {
    let hello = ["1000", "0", "d", "9"];
    for (is_alive, releases, must) in [(true, false, true), (true, true, false), (false, false, true)] {
        let mut scripts = Scripts::new();
        if is_alive {
            scripts.lease(ONE);
        }
        scripts.call(ONE, "claim", &["3", "0", "0", "ann", "ann", "nn"]);
        scripts.call(ONE, "claim", &["4", "0", "0", "bob", "bob"]);
        scripts.call(OTHER, "claim", &["5", "1", "1", "ann", "ann", "nn"]);
        let lost = scripts.set(&format!("k@lost:{ONE}"));
        assert_eq!(lost, if is_alive { vec!["ann", "nn"] } else { vec![] }, "without a lease it registers");
        if releases {
            scripts.call(ONE, "release", &["3", "ann", "nn"]);
        }
        let registers = |reply: &str| reply.starts_with("*3\n:1\n");
        assert_eq!(registers(&scripts.call(ONE, "hello", &hello)), must, "{is_alive} {releases}");
        let keeps = scripts.claims().contains(&claim("bob", ONE, "4 0 bob"));
        assert_eq!(keeps, is_alive, "nobody else gets the other names of a process that lives");
        assert!(!registers(&scripts.call(ONE, "hello", &hello)), "only once");
        assert_eq!(scripts.set(&format!("k@lost:{ONE}")), [""; 0]);
    }
}

#[test]
fn process_whose_commands_come_after_its_burial_is_listed_again() {
    for (script, args) in [
        ("claim", &["1", "0", "0", "ann", "ann"][..]),
        ("enter", &["r", r#"1 "ann""#, "9", "{}"]),
        ("members", &["r", "9", r#"1 "ann""#]),
    ] {
        let mut scripts = Scripts::new();
        scripts.call(ONE, "bury", &[ONE, "9", ""]);
        scripts.call(ONE, script, args);
        assert_eq!(scripts.set("k@processes"), [ONE], "{script}");
        scripts.call(OTHER, "bury", &[ONE, "9", ""]);
        assert_eq!((scripts.claims().len(), scripts.set("k@processes").len()), (0, 0), "{script}");
        assert_eq!(scripts.redis.keys(NOW_MILLIS), [""; 0], "{script}: nothing is left");
    }
}

#[test]
fn names_of_a_dead_process_are_freed_and_not_those_that_others_were_given_since() {
    for name in ["ann".to_string(), format!("a {ONE} b")] {
        let mut scripts = Scripts::new();
        scripts.call(ONE, "claim", &["1", "0", "0", "old", "ann", "old"]);
        // Its list has the name of another process's client, too.
        scripts.call(OTHER, "claim", &["2", "0", "0", &name, "ann"]);
        scripts.send(["SADD", &format!("k@names:{ONE}"), "ann"]);
        scripts.call(OTHER, "bury", &[ONE, "9", ""]);
        assert_eq!(scripts.claims(), [claim("ann", OTHER, &format!("2 0 {name}"))]);
        assert_eq!(scripts.set(&format!("k@names:{ONE}")), [""; 0]);
    }
}

#[test]
fn client_does_not_release_the_name_of_one_whose_number_begins_with_its_own() {
    let mut scripts = Scripts::new();
    for (process, serial, name) in [(ONE, "1", "ann"), (ONE, "12", "bob"), (OTHER, "1", "cy")] {
        scripts.call(process, "claim", &[serial, "0", "0", name, name]);
    }
    scripts.call(ONE, "release", &["1", "bob", "cy"]);
    assert_eq!(scripts.claims().len(), 3);
    scripts.call(ONE, "release", &["1", "ann", "bob", "cy"]);
    assert_eq!(scripts.claims(), [claim("bob", ONE, "12 0 bob"), claim("cy", OTHER, "1 0 cy")]);
    assert_eq!(scripts.set(&format!("k@names:{ONE}")), ["bob"]);
}

#[test]
fn list_of_rooms_has_as_many_of_the_largest_as_were_asked_for() {
    let mut scripts = Scripts::new();
    for (room, members) in [("a", 1), ("b", 3), ("c", 2)] {
        for serial in 0..members {
            scripts.call(ONE, "enter", &[room, &format!("{serial} \"ann\""), "0", "{}"]);
        }
    }
    let room = |name: &str, members: u8| format!("{}{}", reply(name), reply(&members.to_string()));
    for (most, listed) in [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("9", 3)] {
        let rooms = [room("b", 3), room("c", 2), room("a", 1)][..listed].concat();
        let answer = format!("*{}\n:3\n{rooms}", 1 + 2 * listed);
        assert_eq!(scripts.call(ONE, "rooms", &[most]), answer, "{most}");
    }
}

#[test]
fn replaced_members_are_announced_in_a_room_of_exactly_the_limit() {
    for (most, announced) in [("3", 2), ("2", 1), ("1", 0)] {
        let mut scripts = Scripts::new();
        // Another process has one of the members.
        scripts.call(OTHER, "enter", &["r", r#"5 "eve""#, "0", "{}"]);
        scripts.call(ONE, "members", &["r", "0", r#"1 "ann""#, r#"2 "bob""#]);
        assert_eq!(scripts.published(), [""; 0]);
        scripts.call(ONE, "members", &["r", most]);
        let [ann, bob] = [("1", "ann", 2), ("2", "bob", 1)].map(|(serial, name, left)| {
            format!("chinwag - - {left} {{\"left\":{{\"by\":\"{ONE}-{serial}\",\"name\":\"{name}\"}}}}")
        });
        assert_eq!(scripts.published(), [ann, bob][2 - announced..], "{most}");
        assert_eq!(scripts.set(&format!("k@rooms:{ONE}")), [""; 0], "it has no members there");
    }
}

/// A call that changes members of the room `r`, and its arguments before the limit and the entry.
type Change = (&'static str, Vec<String>);

/// Changes that three clients make one after the other, and the members after each.
fn random_changes(rng: &mut fastrand::Rng) -> Vec<(Change, BTreeMap<u8, &'static str>)> {
    let mut members = BTreeMap::new();
    let mut changes = Vec::new();
    for _ in 0..rng.usize(1..12) {
        let (serial, name) = (rng.u8(0..3), ["ann", "bob", "cy"][rng.usize(0..3)]);
        let member = |name: &str| format!("{serial} \"{name}\"");
        let change: Change = match members.get(&serial).copied() {
            None => ("enter", vec!["r".into(), member(name)]),
            Some(old) if rng.bool() => ("leave", vec!["r".into(), member(old)]),
            Some(old) => ("rename", vec![member(old), member(name)]),
        };
        match change.0 {
            "leave" => drop(members.remove(&serial)),
            _ => drop(members.insert(serial, name)),
        }
        changes.push((change, members.clone()));
    }
    changes
}

#[test]
fn members_and_their_number_are_right_after_commands_without_replies_are_repeated() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut scripts = Scripts::new();
        let changes = random_changes(&mut rng);
        // Redis has executed some, and the process has the replies to some of these.
        let executed = rng.usize(0..=changes.len());
        let replied = rng.usize(0..=executed);
        for ((script, args), _) in changes[..executed].iter().chain(&changes[replied..]) {
            let rooms: &[&str] = if *script == "rename" { &["r"] } else { &[] };
            let args = args.iter().map(String::as_str).chain(["9", "{}"]).chain(rooms.iter().copied());
            scripts.call(ONE, script, &args.collect::<Vec<_>>());
        }
        let (_, members) = changes.last().expect("a change");
        let texts: Vec<String> =
            members.iter().map(|(serial, name)| format!("{serial} \"{name}\"")).collect();
        assert_eq!(scripts.set(&format!("k@members:{ONE}:r")), texts, "seed {seed}: {changes:?}");
        let count = scripts.send(["ZSCORE", "k@rooms", "r"]);
        let expected = if texts.is_empty() { "$-1\n".into() } else { reply(&texts.len().to_string()) };
        assert_eq!(count, expected, "seed {seed}: {changes:?}");
    }
}

#[test]
fn rename_to_a_name_that_the_member_has_already_counts_it_once() {
    let mut scripts = Scripts::new();
    for member in [r#"1 "ann""#, r#"1 "bob""#, r#"2 "eve""#] {
        scripts.call(ONE, "enter", &["r", member, "0", "{}"]);
    }
    scripts.published();
    assert_eq!(scripts.call(ONE, "rename", &[r#"1 "ann""#, r#"1 "bob""#, "2", "{}", "r"]), ":1\n");
    assert_eq!(scripts.published(), ["chinwag - - 2 {}"], "announced, since two are left");
    assert_eq!(scripts.set(&format!("k@members:{ONE}:r")), [r#"1 "bob""#, r#"2 "eve""#]);
}

#[test]
fn clients_of_a_dead_process_leave_a_room_over_the_limit_in_one_message() {
    let mut scripts = Scripts::new();
    for member in [r#"1 "ann""#, r#"2 "bob""#] {
        scripts.call(ONE, "enter", &["r", member, "0", "{}"]);
    }
    assert_eq!(scripts.published(), [""; 0]);
    scripts.call(OTHER, "bury", &[ONE, "1", ""]);
    assert_eq!(scripts.published(), [r#"chinwag - - 0 {"crowd":{"joined":0,"left":2}}"#]);
}
