//! Random scenarios on several processes. Clients chat, move, take each other's names and leave, while Redis, the
//! network and the processes fail, in any weather.
//!
//! On each process an *observer* sits in each room from before the first message to the end. It reads exactly what its
//! process delivers in the room. All other clients there must have read the same for as long as they were members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use crate::cluster::{Cluster, Guest};
use crate::ledger::{self, Entry};
use crate::seeds::{is_replay, seeds};
use crate::world::Weather;

/// Number of seeds by default.
const SEEDS: u64 = 3_000;
/// Threads that run seeds.
const WORKERS: usize = 2;
const ROOMS: [&str; 2] = ["lobby", "dev"];
/// Names that several clients ask for.
const NAMES: [&str; 3] = ["ann", "bob", "Cy"];

struct Actor {
    guest: Guest,
    /// Messages sent so far, in rooms and to single clients; they are numbered.
    sent: usize,
    here: bool,
}

struct Scenario {
    cluster: Cluster,
    rng: fastrand::Rng,
    /// Observers by process and room.
    observers: BTreeMap<(usize, &'static str), Guest>,
    /// An observer in each room on each process that was started later.
    late: Vec<(&'static str, Guest)>,
    actors: Vec<Actor>,
    /// Processes that were killed at some time: their unsent messages are unknown.
    killed: BTreeSet<usize>,
    /// Redis has lost its data at some time, and its order with it.
    lost_data: bool,
    /// A log of all actions, for debugging.
    story: Vec<String>,
}

/// A line that an observer or another member has read.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Received {
    /// The message `number` of an actor.
    Message { actor: usize, number: usize },
    /// This number of messages was lost.
    Lost(usize),
    /// An unknown number was lost.
    MaybeLost,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let processes = rng.usize(2..=4);
        let weather = if rng.bool() { Weather::storm() } else { Weather::default() };
        let queue = ["64k", "4m"][rng.usize(0..2)];
        let timeout = ["1s", "5s"][rng.usize(0..2)];
        let limits = format!("--redis-queue {queue} --redis-timeout {timeout}");
        // The checks after each tick read whole tables, and those of few clients are small.
        let flags = format!("--rate off --announce-max 1000 --max-clients 100 {limits}");
        let cluster = Cluster::with_weather(processes, &flags, seed, weather);
        let mut scenario = Scenario {
            cluster,
            rng,
            observers: BTreeMap::new(),
            late: Vec::new(),
            actors: Vec::new(),
            killed: BTreeSet::new(),
            lost_data: false,
            story: vec![format!("{processes} processes {flags}")],
        };
        for (process, room) in (0..processes).flat_map(|process| ROOMS.map(|room| (process, room))) {
            let guest = scenario.cluster.connect(process, &format!("obs{process}-{room}"));
            scenario.cluster.say(guest, &format!("/join {room}"));
            scenario.observers.insert((process, room), guest);
        }
        // Time until all have joined, and every process has all of them.
        scenario.pass(10_000);
        scenario
    }

    fn play(&mut self) {
        for _ in 0..self.rng.usize(30..120) {
            self.step();
        }
        self.mend();
        self.cluster.pass(Duration::from_secs(90));
    }

    fn step(&mut self) {
        if self.actors.len() < 8 && self.rng.u8(0..5) == 0 {
            self.enter();
        }
        for _ in 0..self.rng.u8(0..4) {
            self.act();
        }
        match self.rng.u8(0..60) {
            0..10 => self.fail(),
            10..14 => self.mend(),
            _ => {}
        }
        match self.rng.u8(0..40) {
            0 => self.pass(30_000),
            1..4 => self.pass(5_000),
            4..20 => self.pass(300),
            _ => (0..self.cluster.count()).for_each(|process| {
                self.cluster.step(process);
            }),
        }
    }

    fn pass(&mut self, most_millis: u64) {
        let millis = self.rng.u64(most_millis / 2..=most_millis);
        self.story.push(format!("at {}: {millis} ms pass", self.cluster.millis()));
        self.cluster.pass(Duration::from_millis(millis));
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.cluster.count()).filter(|process| self.cluster.is_alive(*process)).collect()
    }

    fn enter(&mut self) {
        let process = self.rng.choice(self.alive()).unwrap();
        let guest = self.cluster.connect(process, &format!("c{}", self.actors.len()));
        self.story.push(format!("c{} comes to {process}", self.actors.len()));
        self.actors.push(Actor { guest, sent: 0, here: true });
    }

    fn act(&mut self) {
        let here: Vec<usize> = (0..self.actors.len()).filter(|index| self.actors[*index].here).collect();
        let Some(index) = self.rng.choice(here) else {
            return;
        };
        let number = self.actors[index].sent;
        let word = format!("m{index}-{number}");
        let line = match self.rng.u8(0..100) {
            0..60 => format!("{word} {}", "x".repeat(self.rng.usize(0..400))),
            60..65 => format!("/me {word}"),
            65..72 => format!("/join {}", ROOMS[self.rng.usize(0..2)]),
            72..80 => format!("/nick {}", NAMES[self.rng.usize(0..3)]),
            80..94 => format!("/msg c{} {word}", self.rng.usize(0..self.actors.len())),
            94..96 => "/quit".to_string(),
            _ => format!("/nick c{index}"),
        };
        let actor = &mut self.actors[index];
        actor.sent += usize::from(line.contains(&word));
        actor.here = line != "/quit";
        self.story.push(format!("c{index}: {:.20}", line));
        self.cluster.say(self.actors[index].guest, &line);
    }

    fn fail(&mut self) {
        let alive = self.alive();
        let process = self.rng.choice(&alive).copied().unwrap();
        let millis = self.cluster.millis();
        let what = self.rng.u8(0..14);
        match what {
            0 | 1 => {
                let is_stalled = self.cluster.redis.is_stalled();
                self.cluster.redis.set_stalled(!is_stalled, millis);
            }
            2 => {
                let (down, keep) = (self.rng.bool(), self.rng.bool());
                self.lost_data |= !keep;
                self.cluster.set_redis_down(down, keep);
            }
            3 | 4 => {
                let conns = self.cluster.conns(process);
                self.rng.choice(conns).into_iter().for_each(|conn| self.cluster.redis.kill(conn));
            }
            5 => self.cluster.redis.kill_pubsub(),
            6 => {
                self.lost_data = true;
                self.cluster.redis.flush_all();
            }
            7 | 8 => {
                let cut_off = self.rng.bool();
                self.cluster.set_cut_off(process, cut_off);
            }
            9 | 10 => {
                let is_frozen = self.cluster.is_frozen(process);
                self.cluster.set_frozen(process, !is_frozen);
            }
            11 if alive.len() > 2 && self.rng.u8(0..4) == 0 => self.kill(process),
            12 if self.cluster.count() < 5 => self.start(),
            _ => {
                let loading = self.rng.u8(0..3) == 0;
                self.cluster.redis.set_loading(loading);
            }
        }
        self.story.push(format!("at {millis}: fault {what} at {process}"));
    }

    fn kill(&mut self, process: usize) {
        self.cluster.kill(process);
        self.killed.insert(process);
        self.actors
            .iter_mut()
            .filter(|actor| actor.guest.process == process)
            .for_each(|actor| actor.here = false);
        self.observers.retain(|(other, _), _| *other != process);
        self.late.retain(|(_, guest)| guest.process != process);
    }

    fn start(&mut self) {
        let process = self.cluster.start();
        for room in ROOMS {
            let guest = self.cluster.connect(process, &format!("late{process}-{room}"));
            self.cluster.say(guest, &format!("/join {room}"));
            self.late.push((room, guest));
        }
    }

    /// Ends all faults.
    fn mend(&mut self) {
        let millis = self.cluster.millis();
        self.cluster.mend();
        self.story.push(format!("at {millis}: all is well"));
    }

    fn judge(&mut self) {
        let observed: BTreeMap<(usize, &str), Vec<Received>> = self
            .observers
            .clone()
            .into_iter()
            .map(|(place, guest)| (place, self.stays(guest).pop().expect("a room").1))
            .collect();
        for ((process, room), received) in &observed {
            judge_order(*process, room, received, self.lost_data);
        }
        for room in ROOMS {
            self.judge_room(room, &observed);
            if !self.lost_data {
                self.judge_one_order(room, &observed);
            }
        }
        for actor in self.actors.iter().filter(|actor| self.cluster.is_alive(actor.guest.process)) {
            self.judge_stays(actor, &observed);
        }
        self.judge_private();
        self.judge_names();
    }

    fn text(&self, guest: Guest) -> String {
        let raw = self.cluster.read(guest);
        assert!(!String::from_utf8_lossy(raw).contains("dropped"), "a client was dropped");
        String::from_utf8_lossy(raw).into_owned()
    }

    /// Returns the stays of a client: the room, and what it read there.
    fn stays(&self, guest: Guest) -> Vec<(String, Vec<Received>)> {
        let mut stays: Vec<(String, Vec<Received>)> = Vec::new();
        for line in self.text(guest).lines() {
            match (ledger::read(line), stays.last_mut()) {
                (Entry::Entered(room), _) => stays.push((room, Vec::new())),
                (_, Some((_, received))) => received.extend(read(line)),
                (_, None) => {}
            }
        }
        stays
    }

    /// Checks that each message of a live process arrived on all others, or that they were told how many they have
    /// missed.
    fn judge_room(&self, room: &str, observed: &BTreeMap<(usize, &str), Vec<Received>>) {
        let here = observed.iter().filter(|((_, other), _)| *other == room);
        let here: Vec<(usize, &Vec<Received>)> =
            here.map(|((process, _), received)| (*process, received)).collect();
        for (process, received) in &here {
            let others = here.iter().filter(|(other, _)| other != process);
            let missing: Vec<&Received> = others
                .flat_map(|(other, all)| all.iter().filter(|one| self.is_of(one, *other)))
                .filter(|one| !received.contains(one))
                .collect();
            let reported: usize =
                received.iter().map(|one| if let Received::Lost(count) = one { *count } else { 0 }).sum();
            // The messages of processes that came later or are gone are unknown.
            let fits = match self.killed.is_empty() && self.late.is_empty() {
                _ if received.contains(&Received::MaybeLost) => true,
                true => missing.len() == reported,
                false => missing.len() <= reported,
            };
            assert!(fits, "process {process} in {room}: reported {reported} of {missing:?}");
        }
    }

    /// Checks that two processes saw the messages of all other processes in the same order. Their own they may have seen earlier,
    /// while Redis was away.
    fn judge_one_order(&self, room: &str, observed: &BTreeMap<(usize, &str), Vec<Received>>) {
        let here: Vec<_> = observed.iter().filter(|((_, other), _)| *other == room).collect();
        for ((one, _), received) in &here {
            for ((other, _), others) in here.iter().filter(|((other, _), _)| other > one) {
                let is_far = |it: &&Received| {
                    matches!(it, Received::Message { .. }) && !self.is_of(it, *one) && !self.is_of(it, *other)
                };
                let common = |all: &[Received], with: &[Received]| -> Vec<Received> {
                    all.iter().filter(is_far).filter(|it| with.contains(it)).cloned().collect()
                };
                assert_eq!(common(received, others), common(others, received), "{one} and {other} in {room}");
            }
        }
    }

    fn is_of(&self, received: &Received, process: usize) -> bool {
        matches!(received, Received::Message { actor, .. } if self.actors[*actor].guest.process == process)
    }

    /// Checks that what a client read in a room is a part of what the observer read, without a gap.
    fn judge_stays(&self, actor: &Actor, observed: &BTreeMap<(usize, &str), Vec<Received>>) {
        let index = self.actors.iter().position(|other| std::ptr::eq(other, actor)).unwrap();
        let own =
            |received: &Received| matches!(received, Received::Message { actor, .. } if *actor == index);
        let stays = self.stays(actor.guest);
        for (place, (room, received)) in stays.iter().enumerate() {
            let Some(all) = observed.get(&(actor.guest.process, room.as_str())) else {
                continue;
            };
            let all: Vec<&Received> = all.iter().filter(|received| !own(received)).collect();
            let received: Vec<&Received> = received.iter().collect();
            let fits = match place + 1 == stays.len() && actor.here {
                true => all.ends_with(&received),
                false => received.is_empty() || all.windows(received.len()).any(|window| window == received),
            };
            assert!(fits, "c{index} received {received:?} in {room}, of {all:?}");
        }
    }

    /// Checks that each private message arrived once at most.
    fn judge_private(&self) {
        let mut received = BTreeSet::new();
        for (index, actor) in self.actors.iter().enumerate() {
            if self.cluster.is_alive(actor.guest.process) {
                for line in self.text(actor.guest).lines().filter(|line| line.starts_with('[')) {
                    let (_, text) = line.split_once("] ").unwrap();
                    assert!(received.insert(text.to_string()), "c{index} received {line} again");
                }
            }
        }
    }

    /// Checks that all processes list the same clients in a room, each name once, and only clients that are there.
    fn judge_names(&mut self) {
        let mut views: BTreeMap<&str, BTreeSet<Vec<String>>> = BTreeMap::new();
        let places = self.observers.iter().map(|((_, room), guest)| (*room, *guest));
        let places: Vec<(&str, Guest)> = places.chain(self.late.iter().copied()).collect();
        for (room, guest) in places {
            let names = self.cluster.who(guest);
            let folded: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(folded.len(), names.len(), "a name is held twice: {names:?}");
            views.entry(room).or_default().insert(names);
        }
        let seen: usize = views.values().map(|views| views.first().unwrap().len()).sum();
        for (room, views) in &views {
            assert_eq!(views.len(), 1, "in {room} they differ: {views:?}");
        }
        let here = self.actors.iter().filter(|actor| actor.here).count();
        assert_eq!(
            seen,
            here + self.observers.len() + self.late.len(),
            "a client is missing, or listed after its end: {views:?}"
        );
    }
}

/// Parses a line about a message, if it is one.
fn read(line: &str) -> Option<Received> {
    if let Some(notice) = line.strip_prefix("-- ") {
        let (count, rest) = notice.split_once(' ')?;
        return match rest.ends_with("may have been lost") {
            true => Some(Received::MaybeLost),
            false => rest.ends_with("lost").then(|| Received::Lost(count.parse().unwrap())),
        };
    }
    let spoken = match line.strip_prefix("* ") {
        Some(act) => act.split_once(' ')?.1,
        None => line.split_once(": ")?.1,
    };
    let (actor, number) = spoken.split(' ').next()?.strip_prefix('m')?.split_once('-')?;
    Some(Received::Message { actor: actor.parse().ok()?, number: number.parse().ok()? })
}

/// Checks that each message came once, and those of one sender in order, unless Redis has lost the order with its data.
fn judge_order(process: usize, room: &str, received: &[Received], lost_data: bool) {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for one in received {
        if let Received::Message { actor, number } = one {
            assert!(all.insert((*actor, *number)), "process {process} in {room}: m{actor}-{number} again");
            let before = last.insert(*actor, *number);
            assert!(
                lost_data || before.is_none_or(|before| before < *number),
                "process {process} in {room}: m{actor}-{number} after m{actor}-{before:?}"
            );
        }
    }
}

/// Runs a scenario and checks it. Returns the trace hashes of the processes that are left.
fn run(seed: u64) -> Vec<u64> {
    let mut scenario = Scenario::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scenario.play();
        scenario.judge();
    }));
    if let Err(panic) = outcome {
        eprintln!("SIM_SEED={seed} fails");
        if is_replay() {
            eprintln!("{}", scenario.story.join("\n"));
            let observers = scenario.observers.iter().map(|(place, guest)| (format!("{place:?}"), *guest));
            let actors =
                scenario.actors.iter().enumerate().map(|(index, actor)| (format!("c{index}"), actor.guest));
            for (name, guest) in observers.chain(actors) {
                if scenario.cluster.is_alive(guest.process) {
                    let text = String::from_utf8_lossy(scenario.cluster.read(guest));
                    let lines: Vec<String> = text.lines().map(|line| format!("{line:.70}")).collect();
                    eprintln!("--- {name} at {}\n{}", guest.process, lines.join("\n"));
                }
            }
        }
        std::panic::resume_unwind(panic);
    }
    let alive = scenario.alive().into_iter();
    let hashes = alive.map(|process| scenario.cluster.stage(process).world().hash).collect();
    let cluster = scenario.cluster;
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cluster.end())).unwrap_or_else(|panic| {
        eprintln!("SIM_SEED={seed} does not end\n{}", scenario.story.join("\n"));
        std::panic::resume_unwind(panic)
    });
    hashes
}

#[test]
fn random_scenarios_on_several_processes_keep_the_ledger() {
    let seeds = &Mutex::new(seeds(SEEDS));
    // Each worker takes the next seed. After a failure the others are still run.
    let work = || {
        let next = || seeds.lock().expect("no worker panics").next();
        std::iter::from_fn(next).filter(|seed| std::panic::catch_unwind(|| run(*seed)).is_err()).collect()
    };
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let failed = workers.into_iter().flat_map(|worker| -> Vec<u64> { worker.join().expect("it ends") });
        failed.collect()
    });
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}

#[test]
fn the_same_random_seed_gives_the_same_trace_on_all_processes() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
