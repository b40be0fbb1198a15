//! Random scenarios at both listeners: lines, tabs, programs, publishers, and clients that send nonsense, in any
//! weather.
//!
//! The room numbers its messages, and a tab with `echo` reads all of them, its own too. So the ledger here is a simple
//! one. A tab has read consecutive numbers from its join on, and under each number all have read the same text. A line
//! client has read the same texts in the same order, and none twice. A client that was closed has read a prefix.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::seeds::seeds;
use crate::socket::{BINARY, CLOSE, CONTINUE, PING, Socket, TEXT, fragment, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{get, post};
use crate::world::{Weather, Wire};

const SEEDS: u64 = 200;
const STEPS: usize = 150;

struct Scenario {
    rng: fastrand::Rng,
    stage: Stage,
    lines: Vec<Wire>,
    tabs: Vec<Wire>,
    others: Vec<Wire>,
    said: usize,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let small = if rng.bool() { "--write-buffer 8k --write-buffer-soft off --line-max 512" } else { "" };
        let full = if rng.bool() { "--max-clients 8 --max-waiting 3" } else { "" };
        let flags = format!("--announce-max 3 --rate 50/s --burst 20 {small} {full}");
        let mut stage = Stage::with_weather(&flags, seed, Weather::default());
        if rng.bool() {
            stage.world().weather = Weather::storm();
        }
        Scenario { rng, stage, lines: Vec::new(), tabs: Vec::new(), others: Vec::new(), said: 0 }
    }

    fn play(&mut self) {
        for _ in 0..STEPS {
            match self.rng.u8(0..20) {
                0..2 => self.come(),
                2..10 => self.speak(),
                10..12 => self.publish(),
                12..14 => self.send_nonsense(),
                14 => self.break_off(),
                15..17 => self.read_or_not(),
                _ => {
                    let span = Duration::from_millis(self.rng.u64(0..3_000));
                    self.stage.pass(span);
                }
            }
            if self.rng.bool() {
                self.stage.tick();
                self.stage.read_eagerly();
            }
        }
        for wire in [&self.lines[..], &self.tabs, &self.others].concat() {
            self.stage.read_again(wire);
        }
        self.stage.world().weather = Weather::default();
        self.stage.pass(Duration::from_secs(20));
    }

    fn come(&mut self) {
        if self.lines.len() + self.tabs.len() > 12 {
            return;
        }
        if self.rng.bool() {
            let wire = self.stage.connect();
            self.stage.say(wire, "");
            return self.lines.push(wire);
        }
        let wire = self.stage.connect_http();
        self.stage.send(wire, handshake("/ws?echo=1&history=0", "").as_bytes());
        self.tabs.push(wire);
    }

    fn words(&mut self) -> String {
        self.said += 1;
        format!("m{} {}", self.said, "x".repeat(self.rng.usize(0..300)))
    }

    fn speak(&mut self) {
        let words = self.words();
        let all = [&self.lines[..], &self.tabs].concat();
        let Some(wire) = self.rng.choice(all) else {
            return;
        };
        if self.lines.contains(&wire) {
            return self.stage.say(wire, &words);
        }
        let json = format!(r#"{{"type":"say","room":"lobby","text":"{words}"}}"#);
        let cut = self.rng.usize(0..json.len());
        let (start, end) = json.as_bytes().split_at(cut);
        let bytes = match self.rng.u8(0..3) {
            0 => [fragment(TEXT, start), frame(PING, b"?"), fragment(0x80 | CONTINUE, end)].concat(),
            _ => frame(TEXT, json.as_bytes()),
        };
        self.stage.send(wire, &bytes);
    }

    fn publish(&mut self) {
        let words = self.words();
        let wire = self.stage.connect_http();
        self.stage.send(wire, post("/rooms/lobby/messages", "", &words).as_bytes());
        self.others.push(wire);
    }

    /// Sends bytes that no client should send, or half of a request.
    fn send_nonsense(&mut self) {
        let noise: Vec<u8> = (0..self.rng.usize(0..200)).map(|_| self.rng.u8(..)).collect();
        let wire = self.stage.connect_http();
        let upgraded = [handshake("/ws?room=", "").into_bytes(), handshake("/raw/x", "").into_bytes()];
        let half = get("/rooms").into_bytes();
        let begin = self.rng.choice([&upgraded[0][..], &upgraded[1], &half[..half.len() - 1], b""]).unwrap();
        let end = match self.rng.u8(0..4) {
            0 => fragment(self.rng.u8(..), &noise),
            1 => frame(BINARY, &noise),
            2 => frame(CLOSE, &noise),
            _ => noise,
        };
        self.stage.send(wire, begin);
        self.stage.run();
        self.stage.send(wire, &end);
        self.others.push(wire);
    }

    fn break_off(&mut self) {
        let all = [&self.lines[..], &self.tabs, &self.others].concat();
        let Some(wire) = self.rng.choice(all) else {
            return;
        };
        match self.rng.bool() {
            true => self.stage.world().end(wire),
            false => self.stage.world().reset(wire),
        }
        for list in [&mut self.lines, &mut self.tabs] {
            list.retain(|other| *other != wire);
        }
    }

    fn read_or_not(&mut self) {
        let all = [&self.lines[..], &self.tabs].concat();
        if let Some(wire) = self.rng.choice(all) {
            let eager = self.rng.bool();
            self.stage.set_eager(wire, eager);
            self.stage.world().set_window(wire, if eager { WIDE } else { self.rng.usize(0..2_000) });
        }
    }

    /// Compares what all clients have read.
    fn judge(&mut self) {
        let mut words: BTreeMap<u64, String> = BTreeMap::new();
        for wire in self.tabs.clone() {
            let Some((first, received)) = self.received_by_tab(wire) else {
                continue;
            };
            for (place, (seq, text)) in received.into_iter().enumerate() {
                assert_eq!(seq, first + 1 + place as u64, "a tab misses a message or receives it twice");
                let known = words.entry(seq).or_insert_with(|| text.clone());
                assert_eq!(*known, text, "two tabs have read different texts as number {seq}");
            }
        }
        let order: BTreeMap<&str, u64> = words.iter().map(|(seq, text)| (text.as_str(), *seq)).collect();
        for wire in &self.lines {
            let text = self.stage.text(*wire);
            let lines = text.lines().filter(|line| !line.starts_with("-- "));
            let said = lines.filter_map(|line| line.split_once(": ").map(|(_, said)| said));
            let known: Vec<u64> = said.filter_map(|said| order.get(said.trim_end()).copied()).collect();
            assert!(known.is_sorted_by(|a, b| a < b), "a line client reads another order: {known:?}");
        }
    }

    /// Returns the number of the last message before a tab joined, and the messages it has read since.
    fn received_by_tab(&self, wire: Wire) -> Option<(u64, Vec<(u64, String)>)> {
        let raw = self.stage.raw(wire);
        // A client that never read was closed in the middle of the answer.
        if !raw.starts_with(b"HTTP/1.1 101") || !raw.windows(4).any(|end| end == b"\r\n\r\n") {
            return None;
        }
        let frames = Socket::upgraded(&self.stage, wire).frames(&self.stage);
        let texts = frames.iter().filter(|(opcode, _)| *opcode == TEXT);
        let events = texts.map(|(_, text)| serde_json::from_slice::<Value>(text).expect("JSON"));
        let (mut first, mut received) = (None, Vec::new());
        for event in events {
            match event["type"].as_str() {
                Some("joined") if event["seq"].is_u64() => first = event["seq"].as_u64(),
                Some("message") => {
                    let text = event["text"].as_str().expect("a text").trim_end().to_string();
                    received.push((event["seq"].as_u64().expect("a number"), text));
                }
                _ => {}
            }
        }
        first.map(|first| (first, received))
    }
}

#[test]
fn random_scenarios_at_both_listeners_keep_the_numbers() {
    for seed in seeds(SEEDS) {
        let run = std::panic::catch_unwind(|| {
            let mut scenario = Scenario::new(seed);
            scenario.play();
            scenario.judge();
            scenario.stage.end();
        });
        assert!(run.is_ok(), "SIM_SEED={seed} replays it");
    }
}
