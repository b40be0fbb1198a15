//! Comparison of the server's scripts in the virtual Redis and in a real one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{LONG_MILLIS, Real, Twins};
use crate::redis::Redis;
use crate::redis_itself::{request, text};

/// The arguments of each script behind the prefixes, the process and its session. Words stand for one of [`POOLS`], those with `*` for none to three.
pub const CALLS: [(&str, &str); 17] = [
    ("append", "room serial before most expiry flag epoch entry"),
    ("bury", "process most reason"),
    ("claim", "serial flag2 flag name key key*"),
    ("enter", "room member most entry"),
    ("heartbeat", "lease"),
    ("hello", "lease flag epoch serial"),
    ("leave", "room member most entry"),
    ("members", "room most member*"),
    ("record", "serial before expiry key value"),
    ("release", "serial key*"),
    ("rename", "member member most entry room*"),
    ("rooms", "most"),
    ("sync", "room seen offset id epoch most bytes expiry"),
    ("table", "time key value key value"),
    ("relay", "room entry"),
    ("topic", "room serial before topic expiry epoch entry"),
    ("who", "room all"),
];

pub const PROCESSES: [&str; 3] = ["00000000000000aa", "0123456789abcdef", "ffffffffffffffff"];
const ROOMS: [&str; 2] = ["a", "b"];

const POOLS: [(&str, &[&str]); 23] = [
    ("all", &["0", "100"]),
    ("before", &["0", "0", "1", "4"]),
    ("bytes", &["1", "30", "1000"]),
    ("entry", &[r#"{"id":"1"}"#, r#"{"id":"2","text":"é"}"#, r#"{"id":"3","text":"two words"}"#]),
    ("epoch", &["e1", "e2", "e3"]),
    ("expiry", &[LONG_MILLIS, LONG_MILLIS, LONG_MILLIS, LONG_MILLIS, "0", "x"]),
    ("flag", &["0", "1"]),
    ("flag2", &["0", "1", "2"]),
    ("id", &["", "1", "2", "3"]),
    ("key", &["ann", "bob", "nn"]),
    ("lease", &[LONG_MILLIS, LONG_MILLIS, LONG_MILLIS, LONG_MILLIS, LONG_MILLIS, "0", "x"]),
    ("member", &[r#"1 "ann""#, r#"2 "bob""#, r#"2 "é b""#, r#"13 "ann""#]),
    ("most", &["0", "1", "2", "3", "100"]),
    ("name", &["ann", "Bob", "a b"]),
    ("offset", &["0", "1", "2", "3", "5", "8"]),
    ("process", &PROCESSES),
    ("reason", &["", r#""it ended""#]),
    ("room", &ROOMS),
    ("seen", &["", "e1", "e2", "e3"]),
    ("serial", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]),
    ("time", &["5", "50"]),
    ("topic", &["", "tea", "é é"]),
    (
        "value",
        &[
            "{}",
            r#"{"until_unix_millis":10}"#,
            r#"{"until_unix_millis":10,"a":1}"#,
            r#"{"a":1,"until_unix_millis":100}"#,
        ],
    ),
];

const SESSIONS: [&str; 2] = ["1", "2"];

/// Returns random arguments.
pub fn random_args(rng: &mut fastrand::Rng, template: &str) -> Vec<&'static str> {
    let mut args = Vec::new();
    for word in template.split(' ') {
        let pool = word.trim_end_matches('*');
        let (_, choices) = POOLS.iter().find(|(name, _)| *name == pool).expect("each word has a pool");
        let count = if word.ends_with('*') { rng.usize(0..4) } else { 1 };
        args.extend((0..count).map(|_| *rng.choice(*choices).expect("there are some")));
    }
    args
}

/// Returns the source of each script, by its name.
pub fn sources() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backplane/scripts");
    let read = |name: &str| fs::read_to_string(folder.join(format!("{name}.lua"))).unwrap();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let names = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string());
    let common = read("common");
    let names = names.filter(|name| name != "common");
    names.map(|name| (name.clone(), format!("{common}\n{}", read(&name)))).collect()
}

/// Returns requests that read what the scripts have written.
pub fn reading_requests() -> Vec<Vec<String>> {
    let mut requests = Vec::new();
    let mut add = |words: &str| requests.push(words.split(' ').map(String::from).collect());
    for room in ROOMS {
        add(&format!("HGETALL k@meta:{room}"));
        add(&format!("XRANGE k@stream:{room} - +"));
        add(&format!("PTTL k@stream:{room}"));
        for process in PROCESSES {
            add(&format!("SMEMBERS k@members:{process}:{room}"));
        }
    }
    for process in PROCESSES {
        add(&format!("SMEMBERS k@rooms:{process}"));
        add(&format!("SMEMBERS k@names:{process}"));
        add(&format!("PTTL k@lease:{process}"));
        add(&format!("GET k@lease:{process}"));
        add(&format!("PTTL k@serial:{process}"));
        add(&format!("GET k@serial:{process}"));
    }
    for words in [
        "ZREVRANGE k@rooms 0 -1 WITHSCORES",
        "HGETALL k@names",
        "HGETALL k@access",
        "SMEMBERS k@processes",
        "GET k@guests",
    ] {
        add(words);
    }
    requests
}

/// A random comparison in progress.
struct Comparison {
    twins: Twins,
    rng: fastrand::Rng,
    /// The number of each script.
    hashes: BTreeMap<String, String>,
    /// The number of times that each script has ended without an error.
    done: BTreeMap<&'static str, usize>,
    published: usize,
}

impl Comparison {
    fn new(seed: u64) -> Comparison {
        let mut twins = Twins::new(Redis::new(), Real::start(""));
        let mut hashes = BTreeMap::new();
        for (name, source) in sources() {
            let output = twins.talk(0, &request(["SCRIPT", "LOAD", &source]), usize::MAX);
            let hash = text(&output[0]).lines().nth(1).expect("it is compiled").to_string();
            hashes.insert(name, hash);
        }
        let mut channels: Vec<_> = PROCESSES.iter().map(|process| format!("c@{process}")).collect();
        channels.push("c@access".into());
        channels.extend(ROOMS.map(|room| format!("c{room}")));
        for who in [1, 2] {
            let words = ["SUBSCRIBE"].into_iter().chain(channels.iter().skip(who - 1).map(String::as_str));
            twins.talk(who, &request(words), usize::MAX);
        }
        let rng = fastrand::Rng::with_seed(seed);
        Comparison { twins, rng, hashes, done: BTreeMap::new(), published: 0 }
    }

    /// Calls a random script.
    fn call(&mut self) {
        let (name, template) = *self.rng.choice(&CALLS).expect("there are some");
        let args = random_args(&mut self.rng, template);
        let mut pick = |words: &[&'static str]| *self.rng.choice(words).expect("there are some");
        let (process, session) = (pick(&PROCESSES), pick(&SESSIONS));
        let begin = ["EVALSHA", &self.hashes[name], "0", "k", "c", process, session];
        let request = request(begin.into_iter().chain(args));
        let outputs = match name {
            "who" => self.twins.talk_unordered(0, &request),
            _ => self.twins.talk(0, &request, usize::MAX),
        };
        *self.done.entry(name).or_default() += usize::from(outputs[0][0] != b'-');
        self.published += outputs[1].len();
    }

    /// Ends a lease, or a room, or loses some entries of one as a Redis that failed over does.
    fn disturb(&mut self) {
        let mut pick = |words: &[&'static str]| *self.rng.choice(words).expect("there are some");
        let (process, room) = (pick(&PROCESSES), pick(&ROOMS));
        let requests = [
            format!("DEL k@lease:{process}"),
            format!("PEXPIRE k@lease:{process} 1"),
            format!("DEL k@serial:{process}"),
            format!("DEL k@stream:{room}"),
            format!("DEL k@stream:{room} k@meta:{room}"),
            format!("HINCRBY k@meta:{room} offset 3"),
            format!("HSET k@meta:{room} offset 0"),
        ];
        let words = self.rng.choice(&requests).expect("there are some");
        self.twins.talk(0, &request(words.split(' ')), usize::MAX);
        if words.starts_with("PEXPIRE") {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn scripts_do_the_same_in_a_virtual_redis_as_in_a_real_one() {
    let reading = reading_requests();
    for seed in 0..4 {
        let mut comparison = Comparison::new(seed);
        for _ in 0..3_000 {
            match comparison.rng.u8(0..40) {
                0 => comparison.disturb(),
                _ => comparison.call(),
            }
            let words = comparison.rng.choice(&reading).expect("there are some");
            comparison.twins.talk_unordered(0, &request(words.iter().map(String::as_str)));
        }
        let done = &comparison.done;
        assert_eq!(done.len(), CALLS.len(), "{done:?}");
        assert!(done.values().all(|count| *count > 20) && comparison.published > 10_000, "{done:?}");
        assert_eq!(comparison.hashes.keys().collect::<Vec<_>>(), done.keys().collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "needs redis-server"]
fn scripts_take_twenty_thousand_arguments() {
    let mut comparison = Comparison::new(0);
    let members: Vec<_> = (0..20_000).map(|serial| format!("{serial} \"ann\"")).collect();
    for (name, args) in [
        ("members", vec!["a", "0"]),
        ("claim", vec!["1", "0", "0", "ann"]),
        ("release", vec!["1"]),
        ("rename", vec!["0 \"ann\"", "0 \"bob\"", "0", "{}"]),
    ] {
        let begin = ["EVALSHA", &comparison.hashes[name], "0", "k", "c", PROCESSES[0], "1"];
        let words = begin.into_iter().chain(args);
        let request = request(words.chain(members.iter().map(String::as_str)));
        let outputs = comparison.twins.talk(0, &request, usize::MAX);
        assert_ne!(outputs[0][0], b'-', "{name}: {}", text(&outputs[0]));
    }
}

const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const NO_RIGHT: &str = "NOPERM it has no right";

#[test]
#[ignore = "needs redis-server"]
fn scripts_are_refused_as_a_real_redis_refuses_them() {
    let cases = [
        ("--maxmemory 1", "HSET SET", "", FULL),
        ("--user default on nopass ~* &* +@all -hset", "HSET", "", NO_RIGHT),
        ("--user default on nopass ~* &none +@all", "", "c", NO_RIGHT),
        ("--user default on nopass ~k &* +@all", "", "h", NO_RIGHT),
    ];
    for (flags, commands, names, error) in cases {
        let mut redis = Redis::new();
        commands.split_whitespace().for_each(|command| redis.refuse(command, Some(error)));
        names.split_whitespace().for_each(|name| redis.refuse_name(name, Some(error)));
        let mut twins = Twins::new(redis, Real::start(flags));
        for script in [
            "redis.call('GET', 'k') return redis.call('HSET', 'h', 'f', 1)",
            "redis.call('DEL', 'k')\nredis.call('PUBLISH', 'c', 'x')\nreturn redis.call('HSET', 'h', 'f', 1)",
            "local function publish()\nreturn redis.call('PUBLISH', 'c', 'x')\nend\nreturn publish()",
            "return redis.pcall('HGET', 'h', 'f')",
            "return redis.call('SET', 'k', 1)",
        ] {
            twins.talk(0, &request(["EVAL", script, "0"]), usize::MAX);
        }
    }
}
