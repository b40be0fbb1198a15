//! Random scenarios: clients chat, move, stall, break and leave in any weather, and the ledger checks each run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::{self, Line};
use crate::seeds::{is_replay, seeds};
use crate::stage::{Stage, WIDE};
use crate::world::{Weather, Wire};

/// Number of seeds by default.
const SEEDS: u64 = 400;
const ROOMS: [&str; 2] = ["lobby", "dev"];

/// The end of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Stays to the end, then closes its side.
    Stays,
    /// Said `/quit`.
    Quit,
    /// Closed its side, and keeps reading.
    Ended,
    /// Broke the connection.
    Broke,
}

/// A client of the scenario.
struct Actor {
    name: String,
    wire: Wire,
    fate: Fate,
    /// Messages sent so far; they are numbered.
    sent: usize,
    /// Bytes of lines that are not sent to the end.
    unsent: Vec<u8>,
    /// Reads only now and then, and little.
    sluggish: bool,
    /// Does not read at all for now.
    stalled: bool,
}

/// A running scenario.
struct Scenario {
    stage: Stage,
    rng: fastrand::Rng,
    observers: Vec<Wire>,
    actors: Vec<Actor>,
    flags: String,
}

fn flags(rng: &mut fastrand::Rng) -> String {
    let pick = |rng: &mut fastrand::Rng, some: &[&str]| some[rng.usize(0..some.len())].to_string();
    let choices: [&[&str]; 8] = [
        &["--line-max 128", "--line-max 1k"],
        &[
            "--write-buffer 4k --write-buffer-soft 1k:2s",
            "--write-buffer 4k --write-buffer-soft off",
            "--write-buffer 64k",
        ],
        &["--slow-client drop", "--slow-client skip"],
        &["--rate off", "--rate 100/s --burst 3", "--rate 5/s --burst 10"],
        &["--stall-timeout 1s", "--stall-timeout 10s", "--stall-timeout off"],
        &["--max-clients 5", "--max-clients 1000"],
        &["--history 3", "--history 0", "--history 100 --history-memory 1k"],
        &["--memory 64k", "--memory 1m"],
    ];
    let picked = choices.map(|some| pick(rng, some));
    format!("--announce-max 1000000 {}", picked.join(" "))
        .replace("--write-buffer 64k", "--write-buffer 64k --write-buffer-soft 32k:3s")
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let flags = flags(&mut rng);
        let mut stage = Stage::with_weather(&flags, seed, Weather::default());
        // Observers read everything at once. The weather is kind while they join, so they join first.
        let observers: Vec<Wire> = ROOMS.iter().map(|room| stage.join(&format!("obs-{room}"))).collect();
        stage.say(observers[1], "/join dev");
        stage.run();
        if rng.bool() {
            stage.world().weather = Weather::storm();
        }
        Scenario { stage, rng, observers, actors: Vec::new(), flags }
    }

    fn play(&mut self) {
        for _ in 0..self.rng.usize(50..400) {
            self.step();
        }
        self.finish();
    }

    /// Makes one thing happen, and some of its consequences.
    fn step(&mut self) {
        if self.actors.is_empty() || (self.actors.len() < 12 && self.rng.u8(0..20) == 0) {
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
            self.pass(millis);
        }
    }

    fn enter(&mut self) {
        let window = [64, 512, 4096, WIDE][self.rng.usize(0..4)];
        let wire = self.stage.connect_from(None, window);
        let name = format!("c{}", self.actors.len());
        let sluggish = self.rng.u8(0..4) == 0;
        self.stage.set_eager(wire, !sluggish);
        let unsent = format!("{name}\n").into_bytes();
        self.actors.push(Actor { name, wire, fate: Fate::Stays, sent: 0, unsent, sluggish, stalled: false });
    }

    fn act(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        if actor.fate != Fate::Stays {
            return;
        }
        match self.rng.u8(0..100) {
            0..50 => {
                for _ in 0..self.rng.usize(1..6) {
                    let padding = "x".repeat(self.rng.usize(0..100));
                    let kind = if self.rng.bool() { "" } else { "/me " };
                    actor.unsent.extend(format!("{kind}m{} {padding}\n", actor.sent).bytes());
                    actor.sent += 1;
                }
            }
            50..58 => actor.unsent.extend(format!("/join {}\n", ROOMS[self.rng.usize(0..2)]).bytes()),
            58..62 => actor.unsent.extend(b"/who\n/rooms\n/history 5\n"),
            62..64 => actor.unsent.extend(b"/msg obs-lobby psst\n/nope\n\xff\n\r\n"),
            64..72 => {
                actor.stalled = !actor.stalled;
                let eager = !actor.stalled && !actor.sluggish;
                self.stage.set_eager(actor.wire, eager);
            }
            72..74 => self.leave(index),
            _ => {}
        }
        self.send_some(index);
    }

    fn leave(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        let unsent = std::mem::take(&mut actor.unsent);
        actor.fate = [Fate::Quit, Fate::Ended, Fate::Broke][self.rng.usize(0..3)];
        self.stage.send(actor.wire, &unsent);
        match actor.fate {
            Fate::Quit => self.stage.send(actor.wire, b"/quit good bye\n"),
            Fate::Ended => self.stage.world().end(actor.wire),
            _ => self.stage.world().reset(actor.wire),
        }
    }

    /// Sends a part of the unsent bytes, cut anywhere.
    fn send_some(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        let count = match self.rng.bool() {
            true => actor.unsent.len(),
            false => self.rng.usize(0..=actor.unsent.len()),
        };
        let some: Vec<u8> = actor.unsent.drain(..count).collect();
        self.stage.send(actor.wire, &some);
    }

    fn read_slowly(&mut self) {
        for actor in self.actors.iter().filter(|actor| actor.sluggish && !actor.stalled) {
            let most = self.rng.usize(0..200);
            self.stage.receive(actor.wire, most);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.stage.pass(Duration::from_millis(millis));
    }

    /// Has every client send the rest and read the rest.
    fn finish(&mut self) {
        for index in 0..self.actors.len() {
            let actor = &mut self.actors[index];
            let unsent = std::mem::take(&mut actor.unsent);
            self.stage.send(actor.wire, &unsent);
            if actor.fate != Fate::Broke {
                self.stage.set_eager(actor.wire, true);
            }
        }
        // At five lines a second the rest takes a while, and queued clients come in only as others leave.
        self.pass(400_000);
        for index in 0..self.actors.len() {
            if self.actors[index].fate == Fate::Stays {
                self.stage.world().end(self.actors[index].wire);
                self.pass(400_000);
            }
        }
        self.pass(400_000);
    }

    fn judge(&self) {
        let observed: BTreeMap<&str, Vec<Line>> =
            ROOMS.into_iter().zip(self.observers.iter().map(|wire| self.observed(*wire))).collect();
        for actor in &self.actors {
            self.judge_stays(actor, &observed);
            self.judge_messages(actor, &observed);
        }
    }

    /// Returns all lines that an observer read in its room.
    fn observed(&self, wire: Wire) -> Vec<Line> {
        let stays = ledger::stays(&self.stage.text(wire));
        let last = stays.into_iter().last().unwrap();
        let line = |entry| match entry {
            ledger::Entry::Room(line) => line,
            other => panic!("an observer read {other:?}"),
        };
        last.entries.into_iter().map(line).collect()
    }

    fn judge_stays(&self, actor: &Actor, observed: &BTreeMap<&str, Vec<Line>>) {
        let text = String::from_utf8_lossy(self.stage.raw(actor.wire)).into_owned();
        let (whole_lines, cut) =
            text.rsplit_once('\n').map_or(("", text.as_str()), |(lines, cut)| (lines, cut));
        let dropped = self.was_dropped(actor, whole_lines);
        assert!(cut.is_empty() || dropped, "{} was cut off after {cut:?}", actor.name);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let stays = ledger::stays(whole_lines);
        let last = stays.len().saturating_sub(1);
        for (index, stay) in stays.iter().enumerate() {
            let count = counts.entry(stay.room.clone()).or_default();
            let (expected, _) = ledger::expected(&observed[stay.room.as_str()], &actor.name, *count);
            *count += 1;
            ledger::compare(&actor.name, stay, &expected, index < last || !dropped);
        }
    }

    /// Checks that the rooms have each message of the actor once and in order, and all unless the connection ended
    /// early.
    fn judge_messages(&self, actor: &Actor, observed: &BTreeMap<&str, Vec<Line>>) {
        let mut numbers = Vec::new();
        for lines in observed.values() {
            let in_room = ledger::numbers(lines, &actor.name);
            assert!(in_room.is_sorted(), "{}: out of order in one room", actor.name);
            numbers.extend(in_room);
        }
        numbers.sort_unstable();
        let text = String::from_utf8_lossy(self.stage.raw(actor.wire)).into_owned();
        let expected: Vec<usize> = (0..numbers.len()).collect();
        assert_eq!(numbers, expected, "{}: a message is missing or doubled", actor.name);
        let all = !self.was_dropped(actor, &text);
        assert!(!all || numbers.len() == actor.sent, "{}: {} of {}", actor.name, numbers.len(), actor.sent);
    }

    /// Prints all that clients have read.
    fn print(&self) {
        let actors = self
            .actors
            .iter()
            .map(|actor| (format!("{} {:?} sent {}", actor.name, actor.fate, actor.sent), actor.wire));
        for (who, wire) in self.observers.iter().map(|wire| ("observer".into(), *wire)).chain(actors) {
            eprintln!("--- {who}\n{}", String::from_utf8_lossy(self.stage.raw(wire)));
        }
    }

    /// Returns whether the client ended before its time, by its own doing or the server's. The server must have given
    /// the reason if the client could read it.
    fn was_dropped(&self, actor: &Actor, text: &str) -> bool {
        actor.fate == Fate::Broke
            || text.contains("-- you were dropped")
            || text.contains("-- you gave no name in time")
            || (self.stage.gave_up_on(actor.wire) && self.stage.server.metrics().dropped() > 0)
    }
}

fn run(seed: u64) -> u64 {
    let mut scenario = Scenario::new(seed);
    let flags = scenario.flags.clone();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scenario.play();
        scenario.judge();
    }));
    if let Err(panic) = outcome {
        eprintln!("SIM_SEED={seed} fails, with {flags}");
        if is_replay() {
            scenario.print();
        }
        std::panic::resume_unwind(panic);
    }
    let hash = scenario.stage.world().hash;
    scenario.stage.end();
    hash
}

#[test]
fn random_scenarios_keep_the_ledger() {
    for seed in seeds(SEEDS) {
        run(seed);
    }
}

#[test]
fn the_same_random_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
