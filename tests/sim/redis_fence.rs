//! Commands of an earlier session that Redis executes late: they must change nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{Cluster, Guest};
use crate::redis::{Conn, Redis};
use crate::redis_itself::{request, text};
use crate::redis_real::scripts::{CALLS, PROCESSES, random_args, reading_requests, sources};

const SECOND: Duration = Duration::from_secs(1);
const NOW_MILLIS: u64 = 1_000;
const PROCESS: &str = PROCESSES[0];
const ANN: &str = r#"1 "ann""#;
const HELLO: [&str; 4] = ["100000", "0", "e1", "1"];

/// A Redis with all scripts, and a client of it.
struct Scripts {
    redis: Redis,
    conn: Conn,
    hashes: BTreeMap<String, String>,
}

impl Scripts {
    fn new() -> Scripts {
        let mut redis = Redis::new();
        let conn = redis.open();
        let mut scripts = Scripts { redis, conn, hashes: BTreeMap::new() };
        for (name, source) in sources() {
            let reply = scripts.request(&["SCRIPT", "LOAD", &source]);
            scripts.hashes.insert(name, reply.lines().nth(1).expect("it is compiled").into());
        }
        scripts
    }

    fn request(&mut self, words: &[&str]) -> String {
        self.redis.receive(self.conn, &request(words.iter().copied()), NOW_MILLIS);
        text(&self.redis.take_output(self.conn))
    }

    fn call(&mut self, process: &str, session: &str, name: &str, args: &[&str]) -> String {
        let hash = self.hashes[name].clone();
        self.request(&[&["EVALSHA", &hash, "0", "k", "c", process, session], args].concat())
    }

    /// Returns all that the scripts have written.
    fn state(&mut self) -> Vec<String> {
        let requests = reading_requests();
        let words = requests.iter().map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
        words.map(|words| self.request(&words)).collect()
    }
}

/// The process sends a refused entry again, in the same part of the expiry.
#[test]
fn refused_entry_reaches_nobody_and_a_room_whose_first_entry_was_refused_expires_too() {
    for command in ["PUBLISH", "XADD"] {
        let mut scripts = Scripts::new();
        let reader = scripts.redis.open();
        scripts.redis.receive(reader, &request(["SUBSCRIBE", "ca"]), NOW_MILLIS);
        scripts.redis.take_output(reader);
        let args = ["a", "1", "0", "100", "1000", "7", "e1", "{}"];
        scripts.redis.refuse(command, Some("NOPERM no"));
        for _ in 0..3 {
            let refused = scripts.call(PROCESS, "1", "append", &args);
            assert!(refused.starts_with('-'), "{refused}");
        }
        assert_eq!(scripts.redis.take_output(reader), b"", "{command}");
        assert_eq!(scripts.request(&["XRANGE", "k@stream:a", "-", "+"]), "*0\n", "{command}");
        scripts.redis.refuse(command, None);
        assert_eq!(scripts.call(PROCESS, "1", "append", &args), ":1\n");
        for key in ["k@meta:a", "k@stream:a"] {
            assert_eq!(scripts.request(&["PTTL", key]), ":1000\n", "{key}");
        }
    }
}

/// Redis refuses a message and accepts the next one, such as at the end of loading. The process sends both again.
#[test]
fn message_after_a_refused_one_is_refused_too() {
    let append = |serial: &'static str, before: &'static str, id: &'static str| {
        ["a", serial, before, "100", "1000", "7", "e1", id]
    };
    let [one, two] = [append("4", "0", "one"), append("6", "4", "two")];
    for earlier in [None, Some(append("2", "0", "zero"))] {
        let mut scripts = Scripts::new();
        let first = usize::from(earlier.is_some()) + 1;
        if let Some(earlier) = earlier {
            scripts.call(PROCESS, "1", "append", &earlier);
        }
        let before = scripts.state();
        assert_eq!(scripts.call(PROCESS, "1", "append", &two), "-GAP an earlier command was refused\n");
        assert_eq!(scripts.state(), before);
        for (offset, args) in [(first, one), (first + 1, two), (0, one), (0, two)] {
            let expected = format!(":{offset}\n");
            assert_eq!(scripts.call(PROCESS, "1", "append", &args), expected, "{args:?}");
        }
        let entries = scripts.request(&["XRANGE", "k@stream:a", "-", "+"]);
        assert_eq!(entries.matches("one").count() + entries.matches("two").count(), 2, "{entries}");
    }
}

/// Changes of bans are in one order with messages.
#[test]
fn change_after_a_refused_one_is_refused_too_and_one_that_is_sent_again_changes_nothing() {
    let mut scripts = Scripts::new();
    let record = |scripts: &mut Scripts, process: &str, serial: &str, before: &str, value: &str| {
        scripts.call(process, "1", "record", &[serial, before, "1000", "ban eve", value])
    };
    assert_eq!(record(&mut scripts, PROCESS, "7", "5", "a"), "-GAP an earlier command was refused\n");
    assert_eq!(
        scripts.call(PROCESS, "1", "append", &["a", "5", "0", "100", "1000", "7", "e1", "{}"]),
        ":1\n"
    );
    assert_eq!(record(&mut scripts, PROCESS, "7", "5", "a"), ":1\n");
    assert_eq!(record(&mut scripts, PROCESSES[1], "3", "0", "b"), ":1\n");
    assert_eq!(record(&mut scripts, PROCESS, "7", "0", "a"), ":0\n");
    assert_eq!(scripts.request(&["HGET", "k@access", "ban eve"]), "$1\nb\n");
    assert_eq!(scripts.request(&["PTTL", &format!("k@serial:{PROCESS}")]), ":1000\n");
}

#[test]
fn script_of_an_earlier_session_changes_nothing_and_publishes_nothing() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut scripts = Scripts::new();
    let reader = scripts.redis.open();
    scripts.redis.receive(reader, &request(["SUBSCRIBE", "ca", "cb", "c@0123456789abcdef"]), NOW_MILLIS);
    assert_eq!(scripts.hashes.len(), CALLS.len());
    scripts.call(PROCESSES[1], "1", "hello", &HELLO);
    scripts.call(PROCESS, "2", "hello", &HELLO);
    scripts.call(PROCESS, "2", "enter", &["a", ANN, "9", "{}"]);
    scripts.call(PROCESSES[1], "1", "claim", &["1", "0", "0", "ann", "ann"]);
    scripts.redis.take_output(reader);
    let before = scripts.state();
    for _ in 0..30 {
        for (name, template) in CALLS {
            let args = random_args(&mut rng, template);
            let reply = scripts.call(PROCESS, "1", name, &args);
            assert_eq!(reply, "-STALE a later session of the process has begun\n", "{name}");
            assert_eq!(scripts.state(), before, "{name} {args:?}");
        }
    }
    assert!(scripts.redis.take_output(reader).is_empty());
}

#[test]
fn scripts_of_the_present_session_and_of_a_process_without_a_lease_are_executed() {
    for session in ["", "2", "3"] {
        let mut scripts = Scripts::new();
        if !session.is_empty() {
            scripts.call(PROCESS, "2", "hello", &HELLO);
        }
        for (name, template) in CALLS {
            let args = random_args(&mut fastrand::Rng::with_seed(3), template);
            let session = if session.is_empty() { "1" } else { session };
            let reply = scripts.call(PROCESS, session, name, &args);
            assert!(!reply.starts_with("-STALE"), "{name}: {reply}");
        }
    }
}

#[test]
fn late_member_of_a_dead_process_is_removed_by_the_next_heartbeat_of_another() {
    let mut scripts = Scripts::new();
    scripts.call(PROCESS, "1", "hello", &HELLO);
    scripts.redis.expire(&format!("k@lease:{PROCESS}"));
    scripts.call(PROCESSES[1], "1", "hello", &HELLO);
    scripts.call(PROCESSES[1], "1", "bury", &[PROCESS, "9", ""]);
    scripts.call(PROCESS, "1", "enter", &["a", ANN, "9", "{}"]);
    scripts.call(PROCESS, "1", "claim", &["1", "0", "0", "ann", "ann"]);
    assert_eq!(scripts.request(&["ZSCORE", "k@rooms", "a"]), "$1\n1\n");
    let heartbeat = scripts.call(PROCESSES[1], "1", "heartbeat", &["100000"]);
    assert!(heartbeat.contains(PROCESS), "{heartbeat}");
    scripts.call(PROCESSES[1], "1", "bury", &[PROCESS, "9", ""]);
    assert_eq!(scripts.request(&["EXISTS", "k@rooms", "k@names", &format!("k@members:{PROCESS}:a")]), ":0\n");
}

/// Begins a chat of two, on two processes.
fn begin() -> (Cluster, Guest, Guest) {
    let mut cluster = Cluster::new(2, "--redis-timeout 1s");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.run();
    (cluster, ann, bob)
}

/// Lets the session of the first process time out, and another one begin.
fn renew_session(cluster: &mut Cluster) {
    let before = cluster.counts(0).sessions;
    cluster.pass(10 * SECOND);
    assert_eq!((cluster.link(0).up, cluster.counts(0).sessions), (true, before + 1));
}

/// Lets the commands of the earlier session arrive.
fn end_delay(cluster: &mut Cluster, bob: Guest) {
    cluster.run();
    cluster.set_delayed(0, false);
    cluster.run();
    cluster.unread(bob);
}

#[test]
fn late_claim_of_an_earlier_session_gives_no_name() {
    let (mut cluster, ann, bob) = begin();
    cluster.set_delayed(0, true);
    cluster.say(ann, "/nick cy");
    renew_session(&mut cluster);
    cluster.say(ann, "/quit");
    end_delay(&mut cluster, bob);
    cluster.ask(bob, "/nick cy", &["-- you are now cy"]);
    cluster.end();
}

#[test]
fn late_join_of_an_earlier_session_adds_no_member() {
    let (mut cluster, ann, bob) = begin();
    // The process follows the room, so that a join is one question and then a change.
    let dan = cluster.join(0, "dan");
    cluster.say(dan, "/join dev");
    cluster.run();
    let calls = |cluster: &Cluster| cluster.redis.commands()["EVALSHA"];
    let before = calls(&cluster);
    cluster.say(ann, "/join dev");
    while calls(&cluster) == before {
        cluster.step(0);
    }
    cluster.set_delayed(0, true);
    renew_session(&mut cluster);
    cluster.say(ann, "/join lobby");
    end_delay(&mut cluster, bob);
    assert_eq!(cluster.who(bob), ["ann", "bob"]);
    assert_eq!(cluster.who(dan), ["dan"]);
    cluster.end();
}
