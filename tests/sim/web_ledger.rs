//! Random scenarios at both listeners under the ledger of `ledger.rs`. Tabs and line clients must have read, to the
//! line, what an idle line client has observed in the room, joins and leaves too. Programs must have read what programs
//! have sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::ledger::{self, Entry, Line, Stay};
use crate::seeds::seeds;
use crate::socket::{CLOSE, CONTINUE, PING, Socket, TEXT, fragment, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::post;
use crate::world::{Weather, Wire};

const SEEDS: u64 = 150;
const ROOMS: [&str; 2] = ["lobby", "dev"];

/// Protocol of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Line,
    Tab,
    Program,
}

/// The end of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Stays,
    /// Sent a malformed frame, behind all else.
    Spoiled,
    /// Sent a close frame, behind all else.
    Closed,
    Broke,
}

struct Actor {
    name: String,
    kind: Kind,
    wire: Wire,
    fate: Fate,
    sent: usize,
    /// Messages or lines that are not sent yet.
    unsent: Vec<u8>,
    /// Reads little, and only now and then.
    sluggish: bool,
}

struct Scenario {
    stage: Stage,
    rng: fastrand::Rng,
    observers: Vec<Wire>,
    actors: Vec<Actor>,
    /// Publishers with the number of their message, and clients that send half a request.
    publishers: Vec<Wire>,
    vandals: Vec<Wire>,
    flags: String,
}

fn flags(rng: &mut fastrand::Rng) -> String {
    let choices: [&[&str]; 5] = [
        &[
            "--write-buffer 4k --write-buffer-soft 1k:2s --line-max 1k",
            "--write-buffer 64k --write-buffer-soft off",
        ],
        &["--slow-client drop", "--slow-client skip"],
        &["--rate off", "--rate 100/s --burst 3", "--rate 5/s --burst 10"],
        &["--stall-timeout 1s", "--stall-timeout 10s", "--stall-timeout off"],
        &["--memory 64k", "--memory 1m"],
    ];
    let picked = choices.map(|some| some[rng.usize(0..some.len())]);
    format!("--announce-max 1000000 --ping-interval 100h --history 3 {}", picked.join(" "))
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let flags = flags(&mut rng);
        let mut stage = Stage::with_weather(&flags, seed, Weather::default());
        let observers: Vec<Wire> = ROOMS.iter().map(|room| stage.join(&format!("obs-{room}"))).collect();
        stage.say(observers[1], "/join dev");
        stage.run();
        if rng.bool() {
            stage.world().weather = Weather::storm();
        }
        let (actors, publishers, vandals) = Default::default();
        Scenario { stage, rng, observers, actors, publishers, vandals, flags }
    }

    fn play(&mut self) {
        for _ in 0..self.rng.usize(50..250) {
            if self.actors.is_empty() || (self.actors.len() < 10 && self.rng.u8(0..15) == 0) {
                self.enter();
            }
            let index = self.rng.usize(0..self.actors.len());
            self.act(index);
            self.read_slowly();
            for _ in 0..self.rng.u8(0..4) {
                self.stage.read_eagerly();
                self.stage.tick();
            }
            if self.rng.u8(0..10) == 0 {
                let millis = self.rng.u64(1..2_000);
                self.stage.pass(Duration::from_millis(millis));
            }
        }
        self.finish();
    }

    fn enter(&mut self) {
        let kind = [Kind::Line, Kind::Tab, Kind::Tab, Kind::Program][self.rng.usize(0..4)];
        let name = format!("{}{}", format!("{kind:?}").to_lowercase(), self.actors.len());
        let wire = if kind == Kind::Line { self.stage.connect() } else { self.stage.connect_http() };
        let window = [512, 4096, WIDE][self.rng.usize(0..3)];
        self.stage.world().set_window(wire, window);
        let sluggish = self.rng.u8(0..4) == 0;
        self.stage.set_eager(wire, !sluggish);
        let hello = match kind {
            Kind::Line => format!("{name}\n"),
            Kind::Tab => handshake(&format!("/ws?name={name}&history=0"), ""),
            Kind::Program => handshake(&format!("/raw/lobby?name={name}"), ""),
        };
        self.stage.send(wire, hello.as_bytes());
        let (fate, unsent) = (Fate::Stays, Vec::new());
        self.actors.push(Actor { name, kind, wire, fate, sent: 0, unsent, sluggish });
    }

    fn act(&mut self, index: usize) {
        if self.actors[index].fate == Fate::Stays {
            match self.rng.u8(0..100) {
                0..50 => (0..self.rng.usize(1..6)).for_each(|_| self.speak(index)),
                50..60 => self.wander(index),
                60..64 => self.publish(),
                64..68 => self.send_half(),
                68..70 => self.spoil(index),
                70..72 => self.break_off(index),
                72..74 => self.close(index),
                _ => {}
            }
            self.send_some(index);
        }
    }

    fn speak(&mut self, index: usize) {
        let padding = "x".repeat(self.rng.usize(0..100));
        let (acts, cut) = (self.rng.bool(), self.rng.bool());
        let actor = &mut self.actors[index];
        let text = format!("m{} {padding}.", actor.sent);
        actor.sent += 1;
        let message = match actor.kind {
            Kind::Line => {
                let kind = if acts { "/me " } else { "" };
                return actor.unsent.extend(format!("{kind}{text}\n").bytes());
            }
            Kind::Tab => {
                let kind = if acts { "me" } else { "say" };
                format!(r#"{{"type":"{kind}","room":"lobby","text":"{text}"}}"#)
            }
            Kind::Program => text,
        };
        let (start, end) = message.split_at(message.len() / 2);
        let frames = match cut {
            true => [
                fragment(TEXT, start.as_bytes()),
                frame(PING, b"?"),
                fragment(0x80 | CONTINUE, end.as_bytes()),
            ],
            false => [frame(TEXT, message.as_bytes()), Vec::new(), Vec::new()],
        };
        actor.unsent.extend(frames.concat());
    }

    /// Moves a tab in or out of the other room. Requests that are not possible are skipped.
    fn wander(&mut self, index: usize) {
        let what = if self.rng.bool() { "join" } else { "leave" };
        let actor = &mut self.actors[index];
        if actor.kind == Kind::Tab {
            let request = format!(r#"{{"type":"{what}","room":"dev","history":2}}"#);
            let nonsense = frame(TEXT, br#"{"type":"nonsense"#);
            actor.unsent.extend([frame(TEXT, request.as_bytes()), nonsense].concat());
        }
    }

    fn publish(&mut self) {
        let wire = self.stage.connect_http();
        let body = format!("m{}", self.publishers.len());
        self.stage.send(wire, post("/rooms/lobby/messages", "", &body).as_bytes());
        self.publishers.push(wire);
    }

    fn send_half(&mut self) {
        let wire = self.stage.connect_http();
        let request = post("/rooms/lobby/messages", "", "half");
        let length = self.rng.usize(0..request.len());
        self.stage.send(wire, &request.as_bytes()[..length]);
        let noise: Vec<u8> = (0..self.rng.usize(0..50)).map(|_| self.rng.u8(..)).collect();
        // Noise instead of a body's last bytes would be a body.
        let in_head = length < request.find("\r\n\r\n").unwrap_or_default();
        if in_head {
            self.stage.send(wire, &noise);
        }
        self.vandals.push(wire);
    }

    fn spoil(&mut self, index: usize) {
        let reserved = self.rng.bool();
        let actor = &mut self.actors[index];
        if actor.kind != Kind::Line {
            let broken = if reserved { fragment(0xc1, b"x") } else { vec![0x81, 1, b'x'] };
            actor.unsent.extend(broken);
            actor.fate = Fate::Spoiled;
        }
    }

    fn close(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        if actor.kind != Kind::Line {
            actor.unsent.extend([frame(PING, b"?"), frame(CLOSE, 3000_u16.to_be_bytes())].concat());
            actor.fate = Fate::Closed;
        }
    }

    fn break_off(&mut self, index: usize) {
        self.actors[index].fate = Fate::Broke;
        self.stage.world().reset(self.actors[index].wire);
    }

    /// Returns whether the client may send: nothing may follow an upgrade before its answer.
    fn may_send(&self, actor: &Actor) -> bool {
        actor.kind == Kind::Line || self.stage.raw(actor.wire).windows(4).any(|end| end == b"\r\n\r\n")
    }

    fn send_some(&mut self, index: usize) {
        if self.may_send(&self.actors[index]) {
            let all = self.actors[index].unsent.len();
            let count = if self.rng.bool() { all } else { self.rng.usize(0..=all) };
            let some: Vec<u8> = self.actors[index].unsent.drain(..count).collect();
            self.stage.send(self.actors[index].wire, &some);
        }
    }

    fn read_slowly(&mut self) {
        for actor in self.actors.iter().filter(|actor| actor.sluggish) {
            let most = self.rng.usize(0..200);
            self.stage.receive(actor.wire, most);
        }
    }

    /// Has every client read the rest and send the rest, then disconnects one after the other.
    fn finish(&mut self) {
        for index in 0..self.actors.len() {
            if self.actors[index].fate != Fate::Broke {
                self.stage.set_eager(self.actors[index].wire, true);
            }
        }
        self.stage.pass(Duration::from_secs(100));
        for index in 0..self.actors.len() {
            let unsent = std::mem::take(&mut self.actors[index].unsent);
            self.stage.send(self.actors[index].wire, &unsent);
        }
        self.stage.pass(Duration::from_secs(1_000));
        for index in 0..self.actors.len() {
            if self.actors[index].fate == Fate::Stays {
                self.stage.world().end(self.actors[index].wire);
                self.stage.pass(Duration::from_secs(100));
            }
        }
    }
}

// Readers of the clients' output.

/// Returns an event as the line that an observer reads; `None` if it is for the tab alone.
fn line_of(event: &Value) -> Option<String> {
    let word = |key: &str| event[key].as_str().unwrap_or_default();
    Some(match word("type") {
        "joined" => format!("-- {} joined", word("name")),
        "left" if event["reason"].is_string() => format!("-- {} left ({})", word("name"), word("reason")),
        "left" => format!("-- {} left", word("name")),
        "message" if event["me"] == true => format!("* {} {}", word("from"), word("text")),
        "message" => format!("{}: {}", word("from"), word("text")),
        _ => return None,
    })
}

/// Returns the stays of a tab in the order of its joins, and whether it has ended each itself.
fn stays_of_tab(name: &str, events: &[Value]) -> Vec<(Stay, bool)> {
    let mut stays: Vec<(Stay, bool)> = Vec::new();
    for event in events {
        let room = event["room"].as_str().unwrap_or_default();
        let own = event["name"] == *name;
        match event["type"].as_str().expect("a type") {
            "joined" if own => stays.push((Stay { room: room.into(), entries: Vec::new() }, false)),
            kind @ ("joined" | "left" | "message" | "missed") => {
                let of_room = stays.iter_mut().rev().find(|(stay, _)| stay.room == room);
                let (stay, ended) =
                    of_room.unwrap_or_else(|| panic!("{name} read {event} of a room it is not in"));
                match line_of(event) {
                    _ if own && kind == "left" => *ended = true,
                    Some(line) => stay.entries.push(ledger::read(&line)),
                    None => stay.entries.push(Entry::Missed(event["count"].as_u64().unwrap() as usize)),
                }
            }
            _ => {}
        }
    }
    stays
}

impl Scenario {
    fn judge(&self) {
        let observed: BTreeMap<&str, Vec<Line>> =
            ROOMS.into_iter().zip(self.observers.iter().map(|wire| self.observed(*wire))).collect();
        for actor in &self.actors {
            match actor.kind {
                Kind::Line => self.judge_line(actor, &observed),
                Kind::Tab => self.judge_tab(actor, &observed),
                Kind::Program => self.judge_program(actor, &observed["lobby"]),
            }
            self.judge_sent(actor, &observed["lobby"]);
        }
        let published = ledger::numbers(&observed["lobby"], "http");
        let accepted = |wire: &&Wire| self.stage.raw(**wire).starts_with(b"HTTP/1.1 202 ");
        assert_eq!(
            published.len(),
            self.publishers.iter().filter(accepted).count(),
            "published and not said, or twice"
        );
        let distinct: std::collections::BTreeSet<_> = published.iter().collect();
        assert_eq!(distinct.len(), published.len(), "published twice");
    }

    fn observed(&self, wire: Wire) -> Vec<Line> {
        let last = ledger::stays(&self.stage.text(wire)).into_iter().last().unwrap();
        let line = |entry| match entry {
            Entry::Room(line) => line,
            other => panic!("an observer read {other:?}"),
        };
        last.entries.into_iter().map(line).collect()
    }

    fn frames(&self, actor: &Actor) -> Vec<(u8, Vec<u8>)> {
        let frames = match self.stage.raw(actor.wire).windows(4).any(|end| end == b"\r\n\r\n") {
            true => Socket::upgraded(&self.stage, actor.wire).frames(&self.stage),
            false => Vec::new(),
        };
        let close = frames.iter().position(|(opcode, _)| *opcode == CLOSE);
        assert!(close.is_none_or(|at| at + 1 == frames.len()), "{}: something follows a close", actor.name);
        frames
    }

    fn judge_line(&self, actor: &Actor, observed: &BTreeMap<&str, Vec<Line>>) {
        let text = String::from_utf8_lossy(self.stage.raw(actor.wire)).into_owned();
        let whole_lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let stays = ledger::stays(whole_lines).into_iter().map(|stay| (stay, false)).collect();
        self.compare(actor, stays, observed);
    }

    fn judge_tab(&self, actor: &Actor, observed: &BTreeMap<&str, Vec<Line>>) {
        let texts = self.frames(actor).into_iter().filter(|(opcode, _)| *opcode == TEXT);
        let events: Vec<Value> =
            texts.map(|(_, text)| serde_json::from_slice(&text).expect("JSON")).collect();
        self.compare(actor, stays_of_tab(&actor.name, &events), observed);
    }

    fn compare(&self, actor: &Actor, stays: Vec<(Stay, bool)>, observed: &BTreeMap<&str, Vec<Line>>) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (stay, ended) in stays {
            let count = counts.entry(stay.room.clone()).or_default();
            let (expected, _) = ledger::expected(&observed[&*stay.room], &actor.name, *count);
            *count += 1;
            // Messages after its close frame are not sent to it.
            let all = ended || !(self.was_dropped(actor) || actor.fate == Fate::Closed);
            ledger::compare(&actor.name, &stay, &expected, all);
        }
    }

    /// Checks that a program has read all that programs sent while it was connected.
    fn judge_program(&self, actor: &Actor, observed: &[Line]) {
        let (expected, _) = ledger::expected(observed, &actor.name, 0);
        let of_programs = expected.iter().filter(|line| !line.text.starts_with("-- "));
        let said = of_programs.filter_map(|line| line.text.strip_prefix("program")?.split_once(": "));
        let said: Vec<&str> = said.map(|(_, text)| text).collect();
        let frames = self.frames(actor).into_iter().filter(|(opcode, _)| *opcode == TEXT);
        let received: Vec<String> = frames.map(|(_, text)| String::from_utf8(text).unwrap()).collect();
        let mut rest = said.iter();
        assert!(
            received.iter().all(|text| rest.any(|said| said == text)),
            "{}: {received:?} of {said:?}",
            actor.name
        );
        let all = !self.was_dropped(actor) && actor.fate != Fate::Closed;
        assert!(!all || received.len() == said.len(), "{}: {} of {}", actor.name, received.len(), said.len());
        assert!(said.starts_with(&received.iter().map(String::as_str).collect::<Vec<_>>()), "a gap");
    }

    /// Checks that the room has each message of the actor once and in order, and all unless the connection ended early.
    fn judge_sent(&self, actor: &Actor, observed: &[Line]) {
        let numbers = ledger::numbers(observed, &actor.name);
        let expected: Vec<usize> = (0..numbers.len()).collect();
        assert_eq!(numbers, expected, "{}: a message is missing or doubled", actor.name);
        let all = !self.was_dropped(actor);
        assert!(!all || numbers.len() == actor.sent, "{}: {} of {}", actor.name, numbers.len(), actor.sent);
    }

    /// Returns whether the client ended before its time. The server must have given the reason if the client could read
    /// it.
    fn was_dropped(&self, actor: &Actor) -> bool {
        let raw = self.stage.raw(actor.wire);
        let has_reason = raw.windows(16).any(|part| part == b"you were dropped");
        actor.fate == Fate::Broke
            || has_reason
            || (self.stage.gave_up_on(actor.wire) && self.stage.server.metrics().dropped() > 0)
    }
}

fn run(seed: u64) {
    let mut scenario = Scenario::new(seed);
    let flags = scenario.flags.clone();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scenario.play();
        scenario.judge();
    }));
    if let Err(panic) = outcome {
        eprintln!("SIM_SEED={seed} fails, with {flags}");
        std::panic::resume_unwind(panic);
    }
    scenario.stage.end();
}

#[test]
fn random_scenarios_at_both_listeners_keep_the_ledger() {
    seeds(SEEDS).for_each(run);
}

#[test]
#[should_panic(expected = "line 0 differs")]
fn ledger_notices_a_tab_with_other_messages() {
    let line = Line { by: "b".into(), text: "b: m0".into() };
    let events = [
        serde_json::json!({"type": "joined", "room": "lobby", "name": "a", "count": 2, "epoch": "x", "seq": 0}),
        serde_json::json!({"type": "message", "room": "lobby", "from": "b", "text": "m1"}),
    ];
    ledger::compare("a", &stays_of_tab("a", &events)[0].0, &[line], true);
}
