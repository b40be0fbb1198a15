//! The virtual Redis alone: its answers, and the faults that tests cause.

mod dialogue;

pub use dialogue::DIALOGUE;

use crate::redis::resp::{array, bulk};
use crate::redis::{Conn, Redis};

/// Encodes words as a request, as clients send it.
pub fn request<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let words: Vec<_> = words.into_iter().map(bulk).collect();
    [array(words.len()), words.concat()].concat()
}

/// Decodes bytes as text with mere line feeds.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

/// A virtual Redis and its clients, named by their number.
struct Bench {
    redis: Redis,
    conns: Vec<Conn>,
    now_millis: u64,
}

impl Bench {
    fn new(clients: usize) -> Bench {
        let mut redis = Redis::new();
        let conns = (0..clients).map(|_| redis.open()).collect();
        Bench { redis, conns, now_millis: 1_000 }
    }

    fn open(&mut self) -> usize {
        self.conns.push(self.redis.open());
        self.conns.len() - 1
    }

    fn send(&mut self, who: usize, words: &str) {
        self.redis.receive(self.conns[who], &request(words.split(' ')), self.now_millis);
    }

    fn output(&mut self, who: usize) -> String {
        text(&self.redis.take_output(self.conns[who]))
    }

    #[track_caller]
    fn ask(&mut self, who: usize, words: &str, reply: &str) {
        self.send(who, words);
        assert_eq!(self.output(who), format!("{reply}\n"), "{words}");
    }

    fn is_lost(&mut self, who: usize) -> bool {
        self.redis.is_closed(self.conns[who]) && self.output(who).is_empty()
    }
}

fn message(channel: &str, payload: &str) -> String {
    format!("*3\n$7\nmessage\n${}\n{channel}\n${}\n{payload}\n", channel.len(), payload.len())
}

/// Invalid requests, with the error.
pub const BROKEN: [(&str, &str); 5] = [
    ("*1\r\n+PING\r\n", "expected '$', got '+'"),
    ("*x\r\n", "invalid multibulk length"),
    ("*01\r\n", "invalid multibulk length"),
    ("*1\r\n$-1\r\n", "invalid bulk length"),
    ("*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
];

/// Requests that are invalid only before authentication.
pub const BROKEN_BY_STRANGERS: [(&str, &str); 2] =
    [("*11\r\n", "unauthenticated multibulk length"), ("*1\r\n$16385\r\n", "unauthenticated bulk length")];

#[test]
fn requests_are_answered_however_they_are_cut() {
    let mut bench = Bench::new(1);
    for (words, reply) in DIALOGUE {
        bench.ask(0, words, reply);
    }
    let all: Vec<u8> = DIALOGUE.iter().flat_map(|(words, _)| request(words.split(' '))).collect();
    let whole: String = DIALOGUE.iter().map(|(_, reply)| format!("{reply}\n")).collect();
    let mut play = |pieces: &[&[u8]]| {
        let who = bench.open();
        pieces.iter().for_each(|piece| bench.redis.receive(bench.conns[who], piece, 1_000));
        assert_eq!(bench.output(who), whole);
    };
    for at in (0..all.len()).step_by(7) {
        play(&[&all[..at], &all[at..]]);
    }
    play(&all.chunks(1).collect::<Vec<_>>());
}

#[test]
fn invalid_request_closes_the_connection() {
    for (bytes, text) in BROKEN.into_iter().chain([("PING\r\n", "expected '*', got 'P'")]) {
        let mut bench = Bench::new(1);
        let input = [&request(["PING"]), bytes.as_bytes(), &request(["PING"])].concat();
        bench.redis.receive(bench.conns[0], &input, 0);
        assert_eq!(bench.output(0), format!("+PONG\n-ERR Protocol error: {text}\n"));
        assert!(bench.is_lost(0) && bench.redis.connections().is_empty());
    }
    let mut bench = Bench::new(1);
    bench.redis.receive(bench.conns[0], &[b"*0\r\n*-1\r\n", &request(["PING"])[..]].concat(), 0);
    assert_eq!(bench.output(0), "+PONG\n", "arrays of nothing are no requests");
}

#[test]
fn subscribers_get_what_is_published_in_order() {
    let mut bench = Bench::new(4);
    bench.send(0, "SUBSCRIBE one two");
    bench.send(1, "SUBSCRIBE two");
    assert!(bench.output(0).ends_with(":2\n") && bench.output(1).ends_with(":1\n"));
    bench.ask(2, "PUBLISH one a", ":1");
    bench.ask(3, "PUBLISH two b", ":2");
    bench.ask(2, "PUBLISH none c", ":0");
    bench.ask(2, "PUBSUB NUMSUB two none", "*4\n$3\ntwo\n:2\n$4\nnone\n:0");
    assert_eq!(bench.redis.publish("one", b"d"), 1);
    assert_eq!(bench.output(0), message("one", "a") + &message("two", "b") + &message("one", "d"));
    assert_eq!(bench.output(1), message("two", "b"));
    assert_eq!(
        bench.redis.channels().into_iter().collect::<Vec<_>>(),
        [("one".into(), 1), ("two".into(), 2)]
    );
    assert_eq!(bench.redis.subscribers("two"), bench.conns[..2]);
    bench.send(0, "UNSUBSCRIBE two");
    bench.redis.close(bench.conns[1]);
    assert_eq!((bench.redis.numsub("one"), bench.redis.numsub("two")), (1, 0));
    assert_eq!(bench.redis.connections().len(), 3);
    let counts: Vec<_> = bench.redis.commands().iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("PUBLISH", 3), ("PUBSUB", 1), ("SUBSCRIBE", 2), ("UNSUBSCRIBE", 1)]);
}

#[test]
fn keys_expire_by_the_time_that_is_passed_in() {
    let mut bench = Bench::new(1);
    bench.ask(0, "HSET a f 1 g 2", ":2");
    bench.ask(0, "HSET b f 1", ":1");
    bench.ask(0, "PEXPIRE a 500", ":1");
    bench.now_millis += 200;
    bench.ask(0, "HSET a f 3", ":0");
    bench.ask(0, "PTTL a", ":300");
    assert_eq!(["a", "b", "c"].map(|key| bench.redis.ttl_millis(key, 1_300)), [Some(200), None, None]);
    let fields: Vec<_> = bench.redis.hash("a", 1_500).into_iter().collect();
    assert_eq!(fields, [("f".into(), "3".into()), ("g".into(), "2".into())]);
    assert_eq!(bench.redis.keys(1_500), ["a", "b"]);
    assert_eq!(bench.redis.keys(1_501), ["b"]);
    assert!(bench.redis.hash("a", 1_501).is_empty() && bench.redis.ttl_millis("a", 1_501).is_none());
    bench.now_millis += 300;
    bench.ask(0, "PTTL a", ":0");
    bench.now_millis += 1;
    bench.ask(0, "EXISTS a b", ":1");
    bench.ask(0, "HSET a f 1", ":1");
    bench.ask(0, "PTTL a", ":-1");
    bench.redis.flush_all();
    assert!(bench.redis.keys(0).is_empty());
}

#[test]
fn strangers_are_refused_until_they_authenticate() {
    const NO_AUTH: &str = "-NOAUTH Authentication required.";
    const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
    let mut bench = Bench::new(1);
    bench.redis.require(None, "secret");
    bench.ask(0, "PING", "+PONG");
    let stranger = bench.open();
    bench.ask(stranger, "PING a b", NO_AUTH);
    bench.ask(stranger, "SELECT", "-ERR wrong number of arguments for 'select' command");
    bench.ask(stranger, "AUTH wrong", WRONG);
    bench.ask(stranger, "AUTH nobody secret", WRONG);
    bench.ask(stranger, "AUTH secret", "+OK");
    bench.ask(stranger, "PING", "+PONG");
    for (bytes, text) in BROKEN_BY_STRANGERS {
        let stranger = bench.open();
        bench.redis.receive(bench.conns[stranger], bytes.as_bytes(), 0);
        assert_eq!(bench.output(stranger), format!("-ERR Protocol error: {text}\n"));
    }
    bench.redis.require(Some("bob"), "secret");
    let stranger = bench.open();
    bench.ask(stranger, "AUTH secret", WRONG);
    bench.ask(stranger, "AUTH default secret", WRONG);
    bench.ask(stranger, "AUTH bob secret", "+OK");
    bench.ask(stranger, "PING", "+PONG");
}

#[test]
fn some_commands_work_while_redis_loads_or_refuses() {
    const LOADING: &str = "-LOADING Redis is loading the dataset in memory";
    const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    let mut bench = Bench::new(1);
    bench.redis.set_loading(true);
    for refused in ["PING", "HSET h a 1", "DEL h", "HGETALL h", "PEXPIRE h 1", "EXISTS h"] {
        bench.ask(0, refused, LOADING);
    }
    for done in ["SELECT 1", "CLIENT SETNAME x", "AUTH default x"] {
        bench.ask(0, done, "+OK");
    }
    bench.ask(0, "PUBLISH a b", ":0");
    bench.ask(0, "SUBSCRIBE a", "*3\n$9\nsubscribe\n$1\na\n:1");
    bench.redis.set_loading(false);
    bench.ask(0, "UNSUBSCRIBE a", "*3\n$11\nunsubscribe\n$1\na\n:0");
    bench.redis.refuse("HSET", Some(FULL));
    bench.ask(0, "hset h a 1", &format!("-{FULL}"));
    bench.ask(0, "HDEL h a", ":0");
    bench.redis.refuse("HSET", None);
    bench.ask(0, "HSET h a 1", ":1");
    assert_eq!((bench.redis.commands().get("HSET"), bench.redis.commands().get("PING")), (Some(&1), None));
}

#[test]
fn stall_keeps_the_order_and_restart_loses_the_requests() {
    let mut bench = Bench::new(4);
    bench.send(0, "SUBSCRIBE c");
    bench.output(0);
    bench.redis.set_stalled(true, 1_000);
    bench.send(1, "PUBLISH c first");
    bench.send(2, "PUBLISH c second");
    bench.send(1, "PUBLISH c third");
    bench.redis.close(bench.conns[1]);
    bench.send(1, "PUBLISH c never");
    bench.send(2, "HSET h a 1");
    bench.send(2, "PEXPIRE h 5");
    assert_eq!(
        (bench.output(0), bench.output(2), bench.redis.connections().len()),
        ("".into(), "".into(), 4)
    );
    bench.redis.set_stalled(false, 9_000);
    let messages = ["first", "second", "third"].map(|payload| message("c", payload)).concat();
    assert_eq!((bench.output(0), bench.output(2)), (messages, ":1\n:1\n:1\n".into()));
    assert_eq!((bench.redis.ttl_millis("h", 9_000), bench.redis.connections().len()), (Some(5), 3));
    bench.now_millis = 9_000;
    for keep_data in [true, false] {
        let late = bench.open();
        bench.send(late, "PING");
        bench.redis.set_stalled(true, 9_000);
        bench.send(late, "DEL h");
        bench.redis.restart(keep_data);
        assert!((0..=late).all(|who| bench.is_lost(who)) && bench.redis.channels().is_empty());
        let next = bench.open();
        bench.ask(next, "EXISTS h", if keep_data { ":1" } else { ":0" });
    }
}

#[test]
fn connections_are_killed_garbled_and_closed_for_being_slow() {
    let mut bench = Bench::new(5);
    for who in 0..3 {
        bench.ask(who, "SUBSCRIBE c", "*3\n$9\nsubscribe\n$1\nc\n:1");
    }
    bench.redis.kill(bench.conns[0]);
    bench.send(0, "SUBSCRIBE c");
    assert!(bench.is_lost(0) && bench.redis.numsub("c") == 2);
    bench.redis.set_output_max(2 * message("c", "x").replace('\n', "\r\n").len());
    assert_eq!((bench.redis.publish("c", b"x"), bench.redis.publish("c", b"x")), (2, 2));
    assert_eq!(bench.output(1), message("c", "x").repeat(2));
    bench.ask(3, "PUBLISH c x", ":2");
    assert!(bench.is_lost(2) && !bench.redis.is_closed(bench.conns[1]));
    bench.send(3, &format!("PING {}", "x".repeat(10_000)));
    assert!(bench.output(3).len() > 10_000, "only subscribers are limited");
    bench.redis.kill_pubsub();
    assert!(bench.is_lost(1) && bench.redis.connections() == bench.conns[3..]);
    bench.redis.garble(bench.conns[3], b"\xff?");
    bench.send(3, "PING");
    assert_eq!(bench.redis.take_output(bench.conns[3]), b"\xff?+PONG\r\n");
}

#[test]
fn databases_have_keys_of_their_own_and_share_channels() {
    let mut bench = Bench::new(2);
    bench.ask(1, "SELECT 3", "+OK");
    bench.ask(0, "SET a 1", "+OK");
    bench.ask(1, "EXISTS a", ":0");
    bench.ask(1, "SET b 1", "+OK");
    assert_eq!(
        (bench.redis.keys(1_000), bench.redis.keys_of(3, 1_000)),
        (vec!["a".into()], vec!["b".into()])
    );
    bench.send(1, "SUBSCRIBE c");
    bench.output(1);
    bench.ask(0, "PUBLISH c x", ":1");
    assert_eq!(bench.output(1), message("c", "x"));
    bench.redis.flush_all();
    assert!(bench.redis.keys(1_000).is_empty() && bench.redis.keys_of(3, 1_000).is_empty());
}

#[test]
fn tests_see_sets_and_streams_and_end_keys() {
    let mut bench = Bench::new(1);
    bench.ask(0, "SADD set b a", ":2");
    bench.ask(0, "XADD stream 1-1 e one", "$3\n1-1");
    bench.ask(0, "XADD stream 2-1 e two", "$3\n2-1");
    assert_eq!(bench.redis.set("set", 1_000).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    let entries = [("1-1".into(), "one".into()), ("2-1".into(), "two".into())];
    assert_eq!(bench.redis.stream("stream", 1_000), entries);
    assert!(bench.redis.set("stream", 1_000).is_empty() && bench.redis.stream("set", 1_000).is_empty());
    bench.redis.expire("set");
    bench.ask(0, "EXISTS set stream", ":1");
}

/// Publishes, writes, publishes again, and ends with a status.
const SCRIPT: &str = "redis.call('PUBLISH','c','a')redis.call('HSET','h','f',1)redis.call('SADD','s','m')\
                      redis.call('PUBLISH','c','b')return{ok='done'}";

#[test]
fn publications_of_a_script_are_delivered_in_order_to_those_who_subscribed() {
    let mut bench = Bench::new(3);
    bench.send(0, "SUBSCRIBE c");
    bench.output(0);
    bench.ask(1, &format!("EVAL {SCRIPT} 0"), "+done");
    assert_eq!(bench.output(0), message("c", "a") + &message("c", "b"));
    assert_eq!(bench.redis.commands()["PUBLISH"], 2);
    bench.redis.set_stalled(true, 1_000);
    bench.send(1, &format!("EVAL {SCRIPT} 0"));
    bench.send(2, "PUBLISH c x");
    bench.redis.set_stalled(false, 1_000);
    assert_eq!(bench.output(0), ["a", "b", "x"].map(|payload| message("c", payload)).concat());
}

#[test]
fn script_is_refused_at_its_first_write_or_for_a_missing_right() {
    const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    const NO_RIGHT: &str = "NOPERM this user has no permissions to run the 'sadd' command";
    const MAY_NOT: &str = "ERR The user executing the script can't run this command or subcommand";
    const MAY_NOT_PUBLISH: &str =
        "ERR The user executing the script can't publish to the channel mentioned in the command";
    let mut bench = Bench::new(1);
    bench.ask(0, "EVAL return(1) 0", ":1");
    let ask = |bench: &mut Bench, error: &str| {
        bench.send(0, &format!("EVAL {SCRIPT} 0"));
        let output = bench.output(0);
        let begin = format!("-{error} script: ");
        assert!(output.starts_with(&begin) && output.ends_with(", on @user_script:1.\n"), "{output}");
    };
    bench.redis.refuse("HSET", Some(FULL));
    ask(&mut bench, FULL);
    assert!(bench.redis.keys(1_000).is_empty());
    bench.redis.refuse("HSET", None);
    bench.redis.refuse("SADD", Some(FULL));
    bench.ask(0, &format!("EVAL {SCRIPT} 0"), "+done");
    bench.redis.flush_all();
    bench.redis.refuse("SADD", Some(NO_RIGHT));
    ask(&mut bench, MAY_NOT);
    assert_eq!(bench.redis.keys(1_000), ["h"], "it had written before");
    bench.redis.refuse("SADD", None);
    bench.redis.refuse_name("c", Some("NOPERM no permissions to access a channel"));
    ask(&mut bench, MAY_NOT_PUBLISH);
    bench.redis.refuse_name("c", None);
    bench.redis.refuse("EVAL", Some(FULL));
    bench.ask(0, &format!("EVAL {SCRIPT} 0"), &format!("-{FULL}"));
}

#[test]
fn scripts_are_lost_in_a_restart() {
    const LOST: &str = "-NOSCRIPT No matching script. Please use EVAL.";
    let mut bench = Bench::new(1);
    bench.send(0, "SCRIPT LOAD return(1)");
    let output = bench.output(0);
    let call = format!("EVALSHA {} 0", output.lines().nth(1).unwrap());
    bench.ask(0, &call, ":1");
    bench.redis.restart(true);
    let client = bench.open();
    bench.ask(client, &call, LOST);
    bench.ask(client, "EVAL return(1) 0", ":1");
    bench.ask(client, &call, ":1");
    bench.ask(client, "SCRIPT FLUSH", "+OK");
    bench.ask(client, &call, LOST);
}
