//! Comparison of the virtual Redis with a real one: both get the same requests, and must answer the same bytes.

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
const TEMPLATES: [&str; 27] = [
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
    "DEL k",
    "EXISTS k k",
    "SET k v",
    "HSET k f v",
    "HSET k f v f v",
    "HDEL k f",
    "HDEL k f f",
    "HGET k f",
    "HGETALL k",
    "PEXPIRE k n",
    "PTTL k",
];

const CHANNELS: [&str; 2] = ["one", "two"];

/// Longer than any test takes, and with digits at its end that change nothing in its first ones.
const LONG_MILLIS: &str = "155555555555555";
const LONG_START: &str = ":155555";

const CHOICES: [(&str, &[&str]); 8] = [
    ("c", &CHANNELS),
    ("d", &["0", "16", "-1", "07"]),
    ("f", &["x", "y", "z"]),
    ("k", &["a", "b", "c"]),
    ("n", &["0", "-1", LONG_MILLIS, LONG_MILLIS, "9223372036854775807", "07"]),
    ("u", &["default", "bob", "eve"]),
    ("v", &["1", "", "a b", "two\r\nlines", "é"]),
    ("w", &["secret", "wrong"]),
];

/// Returns random words, sometimes with one missing or too many.
fn random_words(rng: &mut fastrand::Rng) -> Vec<&'static str> {
    let template = rng.choice(TEMPLATES).expect("there are some");
    let mut words: Vec<_> = template.split(' ').collect();
    match rng.u8(0..16) {
        0 => drop(words.pop()),
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

    /// Sends requests of one client: to the real one at once, to the virtual one in pieces.
    fn talk(&mut self, who: usize, requests: &[u8], piece: usize) {
        let now_millis = 1_000 + self.start.elapsed().as_millis() as u64;
        for piece in requests.chunks(piece) {
            self.redis.receive(self.clients[who].0, piece, now_millis);
        }
        self.clients[who].1.write_all(requests).unwrap();
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
            let (answer, really) = (without_millis(&answer), without_millis(&really[..count]));
            assert_eq!(answer, really, "{:?}", text(requests));
        }
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
        self.talk(who, &requests, rng.usize(1..requests.len() + 1));
    }
}

/// Removes the rest of a long time to live, which differs between the two.
fn without_millis(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let lines = answer.split("\r\n").map(|line| if line.starts_with(LONG_START) { LONG_START } else { line });
    lines.collect::<Vec<_>>().join("\r\n")
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
        for _ in 0..3_000 {
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
        assert!(commands.len() == 17 && commands.values().all(|count| *count > 30), "{commands:?}");
        // No output of earlier requests is left over.
        (0..3).for_each(|who| twins.talk(who, &request(["PING"]), usize::MAX));
    }
}
