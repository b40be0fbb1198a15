//! Comparison of the virtual Redis with a real one: both get the same requests, and must answer the same bytes.

pub mod scripts;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::redis::{Conn, Redis};
use crate::redis_itself::{BROKEN, BROKEN_BY_STRANGERS, DIALOGUE, request, text};

/// Longest wait for the real one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Words of random requests; a small letter stands for one of [`CHOICES`].
const TEMPLATES: [&str; 78] = [
    "PING",
    "PING v",
    "AUTH w",
    "AUTH u w",
    "SELECT d",
    "CLIENT SETNAME v",
    "CLIENT NAP",
    "NONE v v",
    "SUBSCRIBE c",
    "SUBSCRIBE c c",
    "UNSUBSCRIBE c c",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUBLISH c v",
    "PUBLISH c v",
    "PUBSUB NUMSUB c c",
    "DEL o",
    "EXISTS o o",
    "TYPE o",
    "PEXPIRE o n",
    "PTTL o",
    "SET k v",
    "SET t i",
    "SET t v PX n",
    "SET t v EX j NX",
    "SET t v XX GET",
    "SET t v NX GET",
    "SET t v KEEPTTL",
    "SETNX t i",
    "GET t",
    "INCRBY t i",
    "INCRBY t i",
    "HSET k f v",
    "HSET k f v f v",
    "HSETNX k f i",
    "HDEL k f",
    "HDEL k f f",
    "HGET k f",
    "HMGET k f f",
    "HGETALL k",
    "HINCRBY k f i",
    "HINCRBY k f i",
    "SADD m v",
    "SADD m v f f",
    "SREM m v f",
    "SMEMBERS m",
    "SCARD m",
    "SISMEMBER m v",
    "SRANDMEMBER m l",
    "ZADD z s f",
    "ZADD z s f s v",
    "ZINCRBY z s f",
    "ZREM z f",
    "ZREM z f v",
    "ZSCORE z f",
    "ZCARD z",
    "ZREVRANGE z i i",
    "ZREVRANGE z i i WITHSCORES",
    "ZREVRANGE z 0 -1 WITHSCORES",
    "XADD r e f v",
    "XADD r MAXLEN i e f v",
    "XADD r MAXLEN = i e f v",
    "XADD r e f v f v",
    "XLEN r",
    "XRANGE r b b",
    "XRANGE r - + COUNT i",
    "XREVRANGE r b b",
    "XREVRANGE r + - COUNT i",
    "SCRIPT LOAD p",
    "SCRIPT LOAD p",
    "SCRIPT EXISTS h h",
    "SCRIPT FLUSH",
    "SCRIPT NAP",
    "EVAL p i o v",
    "EVAL p 0",
    "EVALSHA h 0 v",
    "EVALSHA h 0",
    "EVALSHA h 1 o",
];

const CHANNELS: [&str; 2] = ["one", "two"];

/// Longer than any test takes, and with digits at its end that change nothing in its first ones.
const LONG_MILLIS: &str = "155555555555555";
const LONG_SECONDS: &str = "155555555555";
const LONG_START: &str = ":155555";

const CHOICES: [(&str, &[&str]); 21] = [
    ("b", &["-", "+", "1", "2-1", "(1-1", "(2", "3-5", "x"]),
    ("c", &CHANNELS),
    ("d", &["0", "0", "0", "0", "1", "16", "-1", "07"]),
    ("e", &["0-0", "1-1", "1-2", "2", "2-1", "3-1", "3-2", "4", "5-5", "x"]),
    ("f", &["x", "y", "z"]),
    (
        "h",
        &["e0e1f9fabfc9d4800c877a703b823ac0578ff8db", HASH, "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "x"],
    ),
    ("i", &["0", "1", "2", "-1", "-2", "x", "07", "9223372036854775807"]),
    ("j", &["0", "-1", LONG_SECONDS, LONG_SECONDS, "9223372036854775807", "x"]),
    ("k", &["a", "b", "c"]),
    ("l", &["100", "0", "x"]),
    ("m", &["set", "set", "set", "other", "a"]),
    ("n", &["0", "-1", LONG_MILLIS, LONG_MILLIS, "9223372036854775807", "07"]),
    ("o", &["a", "b", "c", "set", "other", "sorted", "stream", "stream", "text"]),
    ("p", &["return 1", "return {KEYS, ARGV}", "return redis.call(ARGV[1])", "return nothing", "return ("]),
    ("r", &["stream", "stream", "stream", "a"]),
    ("s", &["0", "1", "-1", "2", "0.1", "1e20", "inf", "-inf", "x"]),
    ("t", &["text", "text", "text", "a"]),
    ("u", &["default", "bob", "eve"]),
    ("v", &["1", "", "a b", "two\r\nlines", "é"]),
    ("w", &["secret", "wrong"]),
    ("z", &["sorted", "sorted", "sorted", "a"]),
];

/// The number of `return {KEYS, ARGV}`.
const HASH: &str = "25798f6e367278f6dedc9713a90c526c253106f3";

/// Returns random words, sometimes with one missing or too many.
fn random_words(rng: &mut fastrand::Rng) -> Vec<&'static str> {
    let template = rng.choice(TEMPLATES).expect("there are some");
    let mut words: Vec<_> = template.split(' ').collect();
    match rng.u8(0..16) {
        // A member without a count would be a random one.
        0 if template != "SRANDMEMBER m l" => drop(words.pop()),
        1 => words.extend_from_within(words.len() - 1..),
        _ => {}
    }
    for word in &mut words {
        if let Some((_, choices)) = CHOICES.iter().find(|(name, _)| name == word) {
            *word = rng.choice(*choices).expect("there are some");
        }
    }
    words
}

/// A `redis-server` process, killed on drop.
struct Real {
    child: Child,
    folder: tempfile::TempDir,
}

impl Real {
    fn start(flags: &str) -> Real {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "socket", "--dir"]);
        command.arg(folder.path()).args(flags.split_whitespace()).current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.expect("redis-server is not installed; tests/run installs what the tests need");
        Real { child, folder }
    }

    /// Connects, and waits for the server to start if necessary.
    fn open(&self) -> UnixStream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(self.folder.path().join("socket")) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return stream;
                }
                Err(error) => assert!(Instant::now() < deadline, "redis-server doesn't start: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A virtual and a real Redis that get the same requests and must send the same answers.
struct Twins {
    redis: Redis,
    real: Real,
    clients: Vec<(Conn, UnixStream)>,
    start: Instant,
}

impl Twins {
    fn new(redis: Redis, real: Real) -> Twins {
        let mut twins = Twins { redis, real, clients: Vec::new(), start: Instant::now() };
        twins.clients = (0..3).map(|_| twins.open()).collect();
        twins
    }

    fn open(&mut self) -> (Conn, UnixStream) {
        (self.redis.open(), self.real.open())
    }

    /// Sends requests of one client: to the real one at once, to the virtual one in pieces. Returns what each client gets.
    fn talk(&mut self, who: usize, requests: &[u8], piece: usize) -> Vec<Vec<u8>> {
        self.compare(who, requests, piece, false)
    }

    /// Sends a request whose answer has no certain order, as that of a set.
    fn talk_unordered(&mut self, who: usize, requests: &[u8]) -> Vec<Vec<u8>> {
        self.compare(who, requests, usize::MAX, true)
    }

    fn compare(&mut self, who: usize, requests: &[u8], piece: usize, unordered: bool) -> Vec<Vec<u8>> {
        let now_millis = 1_000 + self.start.elapsed().as_millis() as u64;
        for piece in requests.chunks(piece) {
            self.redis.receive(self.clients[who].0, piece, now_millis);
        }
        self.clients[who].1.write_all(requests).unwrap();
        let mut answers = Vec::new();
        for (conn, stream) in &mut self.clients {
            let answer = self.redis.take_output(*conn);
            let mut really = vec![0; answer.len()];
            let mut count = 0;
            while count < really.len() {
                match stream.read(&mut really[count..]) {
                    Ok(more) if more > 0 => count += more,
                    _ => break,
                }
            }
            let mut lines = [&answer, &really[..count]].map(without_millis);
            if unordered {
                lines.iter_mut().for_each(|lines| lines.sort());
            }
            let begin: String = text(requests).chars().take(500).collect();
            assert_eq!(lines[0], lines[1], "{begin:?}");
            answers.push(answer);
        }
        answers
    }

    /// Sends bytes for which both must close the client, and replaces it.
    fn blunder(&mut self, who: usize, bytes: &str) {
        self.talk(who, bytes.as_bytes(), usize::MAX);
        let (conn, stream) = &mut self.clients[who];
        assert!(self.redis.is_closed(*conn));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the real one closes it, too");
        self.clients[who] = self.open();
    }

    /// Sends one to four requests of a random client.
    fn random(&mut self, rng: &mut fastrand::Rng) {
        let who = rng.usize(0..self.clients.len());
        let mut requests = Vec::new();
        for _ in 0..rng.usize(1..5) {
            let words = random_words(rng);
            if words == ["UNSUBSCRIBE"] {
                // A real Redis confirms several in an unspecified order.
                requests.extend(request(["UNSUBSCRIBE", CHANNELS[0]]));
            }
            requests.extend(request(words));
        }
        let piece = rng.usize(1..requests.len() + 1);
        self.compare(who, &requests, piece, text(&requests).contains("MEMBER"));
    }
}

/// Splits an answer into lines, without the rest of a long time to live, which differs between the two.
fn without_millis(answer: &[u8]) -> Vec<String> {
    let answer = String::from_utf8_lossy(answer);
    let lines = answer.split("\r\n").map(|line| if line.starts_with(LONG_START) { LONG_START } else { line });
    lines.map(String::from).collect()
}

#[test]
#[ignore = "needs redis-server"]
fn virtual_redis_answers_the_same_as_a_real_one() {
    let modes = [
        (None, ""),
        (Some(None), "--requirepass secret"),
        (Some(Some("bob")), "--user default off --user bob on >secret ~* &* +@all"),
    ];
    for (seed, (user, flags)) in modes.into_iter().enumerate() {
        let mut redis = Redis::new();
        if let Some(user) = user {
            redis.require(user, "secret");
        }
        let mut twins = Twins::new(redis, Real::start(flags));
        let strangers = BROKEN_BY_STRANGERS.iter().filter(|_| user.is_some());
        for (bytes, _) in BROKEN.iter().chain(strangers) {
            twins.blunder(0, bytes);
        }
        if user.is_none() {
            for (words, _) in DIALOGUE {
                twins.talk(0, &request(words.split(' ')), usize::MAX);
            }
        }
        let mut rng = fastrand::Rng::with_seed(seed as u64);
        for _ in 0..12_000 {
            match rng.u8(0..100) {
                0 => twins.blunder(rng.usize(0..3), BROKEN[0].0),
                1 => {
                    twins.talk(0, &request(["PEXPIRE", "a", "1"]), usize::MAX);
                    thread::sleep(Duration::from_millis(5));
                }
                _ => twins.random(&mut rng),
            }
        }
        let commands = twins.redis.commands();
        assert!(commands.len() == 43 && commands.values().all(|count| *count > 30), "{commands:?}");
        // No output of earlier requests is left over.
        (0..3).for_each(|who| drop(twins.talk(who, &request(["PING"]), usize::MAX)));
    }
}
