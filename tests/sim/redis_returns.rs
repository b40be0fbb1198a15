//! Random scenarios with listeners and tabs that come back to any process, while Redis, the network and the processes fail.
//! Each reader gets what it has missed, once and in order, and each message that was accepted is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, Guest};
use crate::seeds::{is_replay, seeds};
use crate::socket::{PING, PONG, TEXT, frame, handshake};
use crate::web::post;
use crate::world::{Weather, Wire};
use crate::{frames, web};

/// Number of seeds by default.
const SEEDS: u64 = 200;
const READERS: usize = 4;
const SECOND: Duration = Duration::from_secs(1);
const STREAM: &str = "chinwag:@stream:lobby";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Listener,
    Tab,
}

/// A reader of the lobby, with the position that the protocol has it keep.
struct Reader {
    kind: Kind,
    name: String,
    process: usize,
    wire: Wire,
    /// Length of the input that was parsed.
    seen: usize,
    epoch: String,
    seq: u64,
    /// The position at which it came for the first time.
    began_at: Option<u64>,
    numbered: Vec<(u64, String)>,
    /// The messages without a number, by their ids.
    unnumbered: BTreeMap<String, String>,
    /// The ids of those that it has got since it came to its present process.
    unnumbered_here: BTreeSet<String>,
    /// It was told that it may have missed messages.
    may_have_missed: bool,
    /// The link of its present process was down at some time, so that the process may know less than the reader.
    may_be_ahead: bool,
    /// The number of sessions with Redis when it came to its present process.
    sessions: u64,
    /// All that it has got, for debugging.
    log: Vec<String>,
}

impl Reader {
    fn new(cluster: &mut Cluster, kind: Kind, number: usize, process: usize) -> Reader {
        let (name, wire) = (format!("tab{number}"), cluster.stage(process).connect_http());
        let mut reader = Reader {
            kind,
            name,
            process,
            wire,
            seen: 0,
            epoch: String::new(),
            seq: 0,
            began_at: None,
            numbered: Vec::new(),
            unnumbered: BTreeMap::new(),
            unnumbered_here: BTreeSet::new(),
            may_have_missed: false,
            may_be_ahead: false,
            sessions: cluster.counts(process).sessions,
            log: Vec::new(),
        };
        reader.request(cluster);
        reader
    }

    fn request(&mut self, cluster: &mut Cluster) {
        let request = match (self.kind, self.began_at) {
            (Kind::Listener, None) => web::get("/rooms/lobby/events"),
            (Kind::Listener, Some(_)) => format!(
                "GET /rooms/lobby/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {}-{}\r\n\r\n",
                self.epoch, self.seq
            ),
            (Kind::Tab, None) => handshake(&format!("/ws?name={}&room=lobby&history=0", self.name), ""),
            (Kind::Tab, Some(_)) => {
                let position = format!("epoch={}&since={}", self.epoch, self.seq);
                handshake(&format!("/ws?name={}&room=lobby&{position}", self.name), "")
            }
        };
        cluster.stage(self.process).send(self.wire, request.as_bytes());
    }

    /// Reads all input, and connects to a process, which may be the same.
    fn move_to(&mut self, cluster: &mut Cluster, process: usize) {
        if cluster.is_alive(self.process) {
            self.read(cluster);
            cluster.stage(self.process).world().end(self.wire);
        }
        (self.process, self.seen) = (process, 0);
        (self.may_be_ahead, self.sessions) = (!cluster.link(process).up, cluster.counts(process).sessions);
        self.log.push(format!(
            "at {}: it comes to {process} with {}-{}",
            cluster.millis(),
            self.epoch,
            self.seq
        ));
        self.unnumbered_here.clear();
        self.wire = cluster.stage(process).connect_http();
        self.request(cluster);
    }

    /// Follows its input, as far as it has arrived.
    fn read(&mut self, cluster: &mut Cluster) {
        let sessions = cluster.counts(self.process).sessions;
        self.may_be_ahead |= sessions != self.sessions || !cluster.link(self.process).up;
        let raw = cluster.stage(self.process).raw(self.wire).to_vec();
        if self.seen == 0 {
            let Some(end) = raw.windows(4).position(|end| end == b"\r\n\r\n") else {
                return;
            };
            let status = if self.kind == Kind::Tab { "HTTP/1.1 101 " } else { "HTTP/1.1 200 " };
            assert!(raw.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&raw));
            self.seen = end + 4;
        }
        match self.kind {
            Kind::Listener => self.read_events(&raw),
            Kind::Tab => self.read_frames(cluster, &raw),
        }
    }

    fn read_events(&mut self, raw: &[u8]) {
        let text = str::from_utf8(&raw[self.seen..]).expect("UTF-8");
        let whole = text.rfind("\n\n").map_or(0, |end| end + 2);
        self.seen += whole;
        for event in text[..whole].split_terminator("\n\n") {
            let field =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let id = field("id").map(|id| id.rsplit_once('-').expect("an epoch and a number"));
            if let Some(data) = field("data") {
                let data: Value = serde_json::from_str(data).expect("JSON");
                let is_numbered = id.is_some();
                self.take_in(field("event").unwrap_or("message"), &data, is_numbered);
            }
            if let Some((epoch, seq)) = id {
                self.set_position(epoch, seq.parse().expect("a number"));
            }
        }
    }

    fn read_frames(&mut self, cluster: &mut Cluster, raw: &[u8]) {
        let (frames, length) = frames::parse(&raw[self.seen..]);
        self.seen += length;
        for (opcode, payload) in frames {
            if opcode == PING {
                cluster.stage(self.process).send(self.wire, &frame(PONG, &payload));
            }
            if opcode == TEXT {
                let event: Value = serde_json::from_slice(&payload).expect("JSON");
                let kind = event["type"].as_str().expect("a type").to_string();
                let seq = event["seq"].as_u64();
                self.take_in(&kind, &event, seq.is_some_and(|seq| seq > 0));
                match (kind.as_str(), event["epoch"].as_str(), seq) {
                    ("message", _, Some(seq)) => self.seq = self.seq.max(seq),
                    ("position", Some(epoch), Some(seq)) => self.set_position(epoch, seq),
                    ("joined", Some(epoch), Some(seq)) if self.began_at.is_none() => {
                        self.set_position(epoch, seq)
                    }
                    _ => {}
                }
            }
        }
    }

    fn set_position(&mut self, epoch: &str, seq: u64) {
        (self.epoch, self.seq) = (epoch.into(), seq);
        self.began_at.get_or_insert(seq);
    }

    fn take_in(&mut self, kind: &str, event: &Value, is_numbered: bool) {
        self.log.push(format!("at {}-{}: {kind} {event}", self.epoch, self.seq));
        match kind {
            "message" => {
                let text = event["text"].as_str().expect("a text").to_string();
                let uid = event["uid"].as_str().expect("an id").to_string();
                if is_numbered {
                    let numbered = (event["seq"].as_u64().expect("a number"), text);
                    let is_new = numbered.0 > self.seq && !self.numbered.contains(&numbered);
                    assert!(
                        is_new || self.may_be_ahead || self.may_have_missed,
                        "{} at {} got {event}",
                        self.name,
                        self.seq
                    );
                    self.numbered.push(numbered);
                } else {
                    assert!(self.unnumbered_here.insert(uid.clone()), "{} got {event} again", self.name);
                    self.unnumbered.insert(uid, text);
                }
            }
            "missed" => {
                assert!(event["count"].is_null(), "no message was discarded: {event}");
                self.may_have_missed = true;
            }
            _ => {}
        }
    }
}

/// A message published over HTTP.
struct Post {
    process: usize,
    wire: Wire,
    text: String,
}

struct Scenario {
    cluster: Cluster,
    rng: fastrand::Rng,
    readers: Vec<Reader>,
    posts: Vec<Post>,
    /// Texts of those that were accepted by a process that is gone.
    accepted: BTreeSet<String>,
    /// Line clients, and what they have said.
    guests: Vec<(Guest, Vec<String>)>,
    said: usize,
    story: Vec<String>,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let weather = if rng.bool() { Weather::storm() } else { Weather::default() };
        let timeout = ["1s", "5s"][rng.usize(0..2)];
        let processes = rng.usize(2..=3);
        let flags = format!("--rate off --history 1000 --redis-timeout {timeout}");
        let mut cluster = Cluster::with_weather(processes, &flags, seed, weather);
        let guests =
            (0..processes).map(|process| (cluster.connect(process, &format!("guest{process}")), Vec::new()));
        let guests = guests.collect();
        cluster.pass(5 * SECOND);
        let mut scenario = Scenario {
            cluster,
            rng,
            readers: Vec::new(),
            posts: Vec::new(),
            accepted: BTreeSet::new(),
            guests,
            said: 0,
            story: vec![format!("{processes} processes {flags}")],
        };
        for number in 0..READERS {
            let process = scenario.rng.usize(0..processes);
            let kind = [Kind::Listener, Kind::Tab][number % 2];
            scenario.readers.push(Reader::new(&mut scenario.cluster, kind, number, process));
        }
        scenario.cluster.pass(10 * SECOND);
        scenario.read_all();
        scenario
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.cluster.count()).filter(|process| self.cluster.is_alive(*process)).collect()
    }

    fn read_all(&mut self) {
        let Scenario { cluster, readers, .. } = self;
        for reader in readers.iter_mut() {
            if cluster.is_alive(reader.process) {
                reader.read(cluster);
            }
        }
        assert!(self.readers.iter().all(|reader| reader.began_at.is_some()), "each has a position");
    }

    fn step(&mut self) {
        for _ in 0..self.rng.u8(0..4) {
            self.publish();
        }
        if self.rng.u8(0..3) == 0 {
            let index = self.rng.usize(0..self.readers.len());
            self.move_reader(index);
        }
        match self.rng.u8(0..60) {
            0..10 => self.fail(),
            10..14 => self.mend(),
            _ => {}
        }
        let millis = match self.rng.u8(0..40) {
            0 => 20_000,
            1..4 => 4_000,
            4..20 => 300,
            _ => 0,
        };
        let millis = self.rng.u64(millis / 2..=millis);
        self.story.push(format!("at {}: {millis} ms pass", self.cluster.millis()));
        match millis {
            0 => (0..self.cluster.count()).for_each(|process| {
                self.cluster.step(process);
            }),
            millis => self.cluster.pass(Duration::from_millis(millis)),
        }
        self.read_all();
    }

    fn publish(&mut self) {
        let process = self.rng.choice(self.alive()).expect("one is alive");
        let text = format!("m{}", self.said);
        self.said += 1;
        self.story.push(format!("{text} at {process}"));
        let guest = self.guests.iter_mut().find(|(guest, _)| guest.process == process);
        match guest.filter(|_| self.rng.u8(0..3) == 0) {
            Some((guest, texts)) => {
                self.cluster.say(*guest, &text);
                texts.push(text);
            }
            None => {
                let wire = self.cluster.stage(process).connect_http();
                self.cluster.stage(process).send(wire, post("/rooms/lobby/messages", "", &text).as_bytes());
                self.posts.push(Post { process, wire, text });
            }
        }
    }

    fn move_reader(&mut self, index: usize) {
        let process = self.rng.choice(self.alive()).expect("one is alive");
        let reader = &mut self.readers[index];
        reader.move_to(&mut self.cluster, process);
        self.story.push(format!(
            "{} {:?} at {}-{} to {process}",
            reader.name, reader.kind, reader.epoch, reader.seq
        ));
    }

    fn fail(&mut self) {
        let alive = self.alive();
        let process = self.rng.choice(&alive).copied().expect("one is alive");
        let millis = self.cluster.millis();
        let fault = self.rng.u8(0..12);
        match fault {
            0 | 1 => {
                let is_stalled = self.cluster.redis.is_stalled();
                self.cluster.redis.set_stalled(!is_stalled, millis);
            }
            2 => {
                self.cluster.set_redis_down(self.rng.bool(), true);
            }
            3 | 4 => {
                let conns = self.cluster.conns(process);
                self.rng.choice(conns).into_iter().for_each(|conn| self.cluster.redis.kill(conn));
            }
            5 => self.cluster.redis.kill_pubsub(),
            6 => self.cluster.set_cut_off(process, self.rng.bool()),
            7 | 8 => {
                let is_frozen = self.cluster.is_frozen(process);
                self.cluster.set_frozen(process, !is_frozen);
            }
            9 if alive.len() > 1 && self.rng.u8(0..3) == 0 => self.kill(process),
            10 if self.cluster.count() < 5 => drop(self.cluster.start()),
            _ => self.cluster.redis.set_loading(self.rng.u8(0..3) == 0),
        }
        self.story.push(format!("at {millis}: fault {fault} at {process}"));
    }

    fn kill(&mut self, process: usize) {
        self.read_all();
        self.collect_accepted(process);
        self.cluster.kill(process);
        self.posts.retain(|post| post.process != process);
        self.guests.retain(|(guest, _)| guest.process != process);
        let lost = (0..self.readers.len()).filter(|index| self.readers[*index].process == process);
        lost.collect::<Vec<_>>().into_iter().for_each(|index| self.move_reader(index));
    }

    /// Ends all faults.
    fn mend(&mut self) {
        let millis = self.cluster.millis();
        self.cluster.mend();
        self.story.push(format!("at {millis}: all is well"));
    }

    /// Collects the messages that a process has accepted.
    fn collect_accepted(&mut self, process: usize) {
        for Post { wire, text, .. } in self.posts.iter().filter(|post| post.process == process) {
            let answer = String::from_utf8_lossy(self.cluster.stage(process).raw(*wire)).into_owned();
            if answer.starts_with("HTTP/1.1 202 ") {
                self.accepted.insert(text.clone());
            }
        }
    }

    fn play(&mut self) {
        for _ in 0..self.rng.usize(30..100) {
            self.step();
        }
        self.mend();
        self.cluster.pass(90 * SECOND);
        self.read_all();
        (0..self.readers.len()).for_each(|index| self.move_reader(index));
        self.cluster.pass(30 * SECOND);
        self.read_all();
    }

    /// Checks all promises. Returns the number of readers that were not told that they may have missed messages.
    fn judge(&mut self) -> usize {
        self.alive().into_iter().for_each(|process| self.collect_accepted(process));
        let entries = self.cluster.redis.stream(STREAM, self.cluster.millis());
        let text = |entry: &str| {
            let entry: Value = serde_json::from_str(entry).expect("JSON");
            entry["say"]["text"].as_str().expect("a message").to_string()
        };
        let kept: Vec<(u64, String)> = entries
            .iter()
            .map(|(id, entry)| {
                (id.split('-').next().and_then(|seq| seq.parse().ok()).expect("a number"), text(entry))
            })
            .collect();
        let texts: BTreeSet<&String> = kept.iter().map(|(_, text)| text).collect();
        assert_eq!(texts.len(), kept.len(), "a message is kept twice");
        let said = self.guests.iter().flat_map(|(_, texts)| texts);
        for text in said.chain(&self.accepted) {
            assert!(texts.contains(text), "{text} was accepted and is not kept");
        }
        self.readers.iter().for_each(|reader| judge_reader(reader, &kept));
        self.readers.iter().filter(|reader| !reader.may_have_missed).count()
    }
}

fn judge_reader(reader: &Reader, kept: &[(u64, String)]) {
    let Reader { name, numbered, unnumbered, .. } = reader;
    for one in numbered {
        assert!(kept.contains(one), "{name} got {one:?}, which Redis has not kept so");
    }
    let began_at = reader.began_at.expect("a position");
    let got: BTreeSet<&String> = numbered.iter().map(|(_, text)| text).chain(unnumbered.values()).collect();
    let after = kept.iter().filter(|(seq, _)| *seq > began_at);
    let missed: Vec<_> = after.filter(|(_, text)| !got.contains(text)).collect();
    assert!(reader.may_have_missed || missed.is_empty(), "{name} has missed {missed:?}");
}

fn run(seed: u64) -> usize {
    let mut scenario = Scenario::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scenario.play();
        scenario.judge()
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("SIM_SEED={seed} fails");
        if is_replay() {
            eprintln!("{}", scenario.story.join("\n"));
            for reader in &scenario.readers {
                eprintln!("--- {} {:?}\n{}", reader.name, reader.kind, reader.log.join("\n"));
            }
        }
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn random_scenarios_of_readers_that_come_back_keep_the_ledger() {
    let seeds = seeds(SEEDS);
    let all = seeds.end - seeds.start;
    let outcomes: Vec<_> = seeds.map(|seed| (seed, std::panic::catch_unwind(|| run(seed)))).collect();
    let failed: Vec<u64> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
    let checked: usize = outcomes.into_iter().filter_map(|(_, outcome)| outcome.ok()).sum();
    // The others were told that they may have missed messages, and so they are checked less.
    assert!(checked * 5 >= all as usize * READERS * 4, "{checked} of {all} scenarios");
}
