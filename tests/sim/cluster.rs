//! Several servers that are one chat: [`Cluster`], a [`Stage`] for each process, and one virtual Redis between them.
//!
//! All have one clock. It stands still while anything can happen without it, and then jumps to the next deadline of any
//! process. In unkind weather, bytes between a process and Redis are delayed and cut into pieces.

use std::time::Duration;

use chinwag::metrics::{LinkCounts, LinkState};

use crate::redis::{Conn, Redis};
use crate::socket::{Socket, handshake};
use crate::stage::Stage;
use crate::world::{Dial, Weather, Wire, World};

/// The time at which all clocks begin.
const START_MILLIS: u64 = 1_000;

/// A client at one of the processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Guest {
    pub process: usize,
    pub wire: Wire,
}

/// The processes, and the virtual Redis that connects them.
pub struct Cluster {
    pub redis: Redis,
    processes: Vec<Process>,
    flags: String,
    seed: u64,
    weather: Weather,
    rng: fastrand::Rng,
    millis: u64,
    /// Redis is down: connections to its address are refused.
    down: bool,
}

struct Process {
    /// `None` once the process was killed.
    stage: Option<Stage>,
    /// The process is stopped, and bytes sent to it stay unread.
    frozen: bool,
    /// Nothing passes between the process and Redis.
    cut_off: bool,
    pipes: Vec<Pipe>,
}

/// A connection from a process to Redis.
struct Pipe {
    wire: Wire,
    /// `None` until the connection is established.
    conn: Option<Conn>,
    /// Bytes that Redis has sent and the process has not received.
    down: Vec<u8>,
    ended: bool,
    /// Nothing reaches Redis, even after the process has closed the connection.
    delayed: bool,
    /// All that Redis sends is lost.
    is_unheard: bool,
}

impl Cluster {
    pub fn new(count: usize, flags: &str) -> Cluster {
        Cluster::with_weather(count, flags, 1, Weather::default())
    }

    pub fn with_weather(count: usize, flags: &str, seed: u64, weather: Weather) -> Cluster {
        let mut cluster = Cluster {
            redis: Redis::new(),
            processes: Vec::new(),
            flags: flags.into(),
            seed,
            weather,
            rng: fastrand::Rng::with_seed(!seed),
            millis: START_MILLIS,
            down: false,
        };
        (0..count).for_each(|_| {
            cluster.start();
        });
        cluster.run();
        cluster
    }

    // Processes.

    /// Starts another process.
    pub fn start(&mut self) -> usize {
        self.start_with(&self.flags.clone())
    }

    /// Starts another process with flags of its own.
    pub fn start_with(&mut self, flags: &str) -> usize {
        let url = if flags.contains("--redis ") { "" } else { "--redis redis://redis " };
        let index = self.processes.len();
        let mut world = World::new(self.seed.wrapping_mul(1_000).wrapping_add(index as u64), self.weather);
        world.process_id = 1_000 * (index as u64 + 1);
        world.leap(Duration::from_millis(self.millis - START_MILLIS));
        let stage = Some(Stage::in_world(&format!("{url}{flags}"), world));
        self.processes.push(Process { stage, frozen: false, cut_off: false, pipes: Vec::new() });
        self.set_dial(index);
        index
    }

    pub fn count(&self) -> usize {
        self.processes.len()
    }

    pub fn is_alive(&self, index: usize) -> bool {
        self.processes[index].stage.is_some()
    }

    pub fn stage(&mut self, index: usize) -> &mut Stage {
        self.processes[index].stage.as_mut().expect("it was killed")
    }

    /// Returns the state of a process's link.
    pub fn link(&mut self, index: usize) -> LinkState {
        self.stage(index).server.backplane().expect("a link").state()
    }

    pub fn counts(&mut self, index: usize) -> LinkCounts {
        self.stage(index).server.backplane().expect("a link").counts()
    }

    /// Kills a process without a goodbye.
    pub fn kill(&mut self, index: usize) {
        self.processes[index].stage = None;
        for conn in self.processes[index].pipes.drain(..).filter_map(|pipe| pipe.conn) {
            self.redis.close(conn);
        }
    }

    /// Stops (`SIGSTOP`) or continues a process.
    pub fn set_frozen(&mut self, index: usize, frozen: bool) {
        let millis = self.millis;
        self.processes[index].frozen = frozen;
        let world = self.stage(index).world();
        let behind = millis.saturating_sub(world.millis());
        world.leap(Duration::from_millis(behind));
    }

    pub fn is_frozen(&self, index: usize) -> bool {
        self.processes[index].frozen
    }

    /// Cuts a process off from Redis, or reconnects it.
    pub fn set_cut_off(&mut self, index: usize, cut_off: bool) {
        self.processes[index].cut_off = cut_off;
        self.set_dial(index);
    }

    /// Delays what the process sends to Redis on its present connections, or lets it arrive.
    pub fn set_delayed(&mut self, index: usize, delayed: bool) {
        self.processes[index].pipes.iter_mut().for_each(|pipe| pipe.delayed = delayed);
    }

    /// Loses all that Redis sends to a process on its present connections.
    pub fn lose_replies(&mut self, index: usize) {
        self.processes[index].pipes.iter_mut().for_each(|pipe| pipe.is_unheard = true);
    }

    /// Resets one of the process's connections: that for subscriptions, or that for commands.
    pub fn reset(&mut self, index: usize, which: usize) {
        let wire = self.processes[index].pipes[which].wire;
        self.stage(index).world().reset(wire);
    }

    /// Sets the capacity of the socket buffers of a process's present connections.
    pub fn set_window(&mut self, index: usize, window: usize) {
        let wires: Vec<Wire> = self.processes[index].pipes.iter().map(|pipe| pipe.wire).collect();
        wires.into_iter().for_each(|wire| self.stage(index).world().set_window(wire, window));
    }

    /// Takes Redis down, or brings it back with all its data or none.
    pub fn set_redis_down(&mut self, down: bool, keep_data: bool) {
        self.redis.restart(keep_data);
        self.down = down;
        (0..self.count()).for_each(|index| self.set_dial(index));
    }

    pub fn is_redis_down(&self) -> bool {
        self.down
    }

    /// Ends all faults of Redis and of the processes that are alive.
    pub fn mend(&mut self) {
        self.redis.set_stalled(false, self.millis);
        self.redis.set_loading(false);
        if self.down {
            self.set_redis_down(false, true);
        }
        for index in 0..self.count() {
            if self.is_alive(index) {
                self.set_frozen(index, false);
                self.set_cut_off(index, false);
            }
        }
    }

    /// Returns the process's connections at Redis: for subscriptions, and for commands.
    pub fn conns(&self, index: usize) -> Vec<Conn> {
        self.processes[index].pipes.iter().filter(|pipe| !pipe.ended).filter_map(|pipe| pipe.conn).collect()
    }

    fn set_dial(&mut self, index: usize) {
        let dial = match (self.processes[index].cut_off, self.down) {
            (true, _) => Dial::Hangs,
            (false, true) => Dial::Refused,
            (false, false) => Dial::Answered,
        };
        if let Some(stage) = &mut self.processes[index].stage {
            stage.world().dial = dial;
        }
    }

    // Clients.

    /// Connects a client to a process, sends the name, and reads up to the greeting.
    #[track_caller]
    pub fn join(&mut self, process: usize, name: &str) -> Guest {
        let guest = self.connect(process, name);
        self.run();
        self.stage(process).expect_contains(guest.wire, &format!("-- hello {name}. "));
        self.unread(guest);
        guest
    }

    /// Connects a client to a process and sends the name.
    pub fn connect(&mut self, process: usize, name: &str) -> Guest {
        let wire = self.stage(process).connect();
        self.stage(process).say(wire, name);
        Guest { process, wire }
    }

    pub fn say(&mut self, guest: Guest, line: &str) {
        self.stage(guest.process).say(guest.wire, line);
    }

    /// Returns the whole lines that the client has read since the last call.
    pub fn unread(&mut self, guest: Guest) -> Vec<String> {
        self.stage(guest.process).unread(guest.wire)
    }

    /// Returns all bytes that the client has read so far.
    pub fn read(&self, guest: Guest) -> &[u8] {
        self.processes[guest.process].stage.as_ref().expect("it was killed").raw(guest.wire)
    }

    /// Runs, and compares the lines that the client has read since the last call.
    #[track_caller]
    pub fn expect(&mut self, guest: Guest, lines: &[&str]) {
        self.run();
        assert_eq!(self.unread(guest), lines);
    }

    /// Sends a line, and compares the answer.
    #[track_caller]
    pub fn ask(&mut self, guest: Guest, line: &str, answer: &[&str]) {
        self.run();
        assert_eq!(self.unread(guest), [""; 0], "before the question");
        self.say(guest, line);
        self.expect(guest, answer);
    }

    /// Returns the names in the client's room, sorted.
    #[track_caller]
    pub fn who(&mut self, guest: Guest) -> Vec<String> {
        self.run();
        self.unread(guest);
        self.say(guest, "/who");
        self.run();
        let answer = self.unread(guest);
        let [answer] = &answer[..] else {
            panic!("{answer:?}");
        };
        let (_, names) = answer.split_once(": ").expect("names");
        let mut names: Vec<String> = names.split(", ").map(String::from).collect();
        names.sort_unstable();
        names
    }

    /// Connects a WebSocket client to a process. Its frames are read by `texts`.
    #[track_caller]
    pub fn open(&mut self, process: usize, path: &str) -> Socket {
        let wire = self.stage(process).connect_http();
        self.stage(process).send(wire, handshake(path, "").as_bytes());
        self.run();
        Socket::upgraded(self.stage(process), wire)
    }

    /// Runs, and returns the texts that a WebSocket client has read since the last call.
    pub fn texts(&mut self, process: usize, socket: &mut Socket) -> Vec<String> {
        self.run();
        socket.texts(self.stage(process))
    }

    /// Sends an HTTP request on a connection of its own, and returns the answer.
    pub fn ask_http(&mut self, process: usize, request: &str) -> String {
        let wire = self.stage(process).connect_http();
        self.stage(process).send(wire, request.as_bytes());
        self.run();
        String::from_utf8_lossy(self.stage(process).raw(wire)).into_owned()
    }

    /// Returns the claims to names in Redis, which begin with the number of a process.
    pub fn claims(&self) -> Vec<String> {
        self.redis.hash("chinwag:@names", self.millis).into_values().collect()
    }

    // Time.

    pub fn millis(&self) -> u64 {
        self.millis
    }

    /// Runs until nothing more can happen without time passing.
    pub fn run(&mut self) {
        for rounds in 0.. {
            assert!(rounds < 1_000_000, "the servers spin");
            let mut order: Vec<usize> = (0..self.count()).collect();
            if self.is_rough() {
                self.rng.shuffle(&mut order);
            }
            // `any` would end early, and each process must have its turn.
            if order.into_iter().filter(|index| self.step(*index)).count() == 0 {
                return;
            }
        }
    }

    /// Lets time pass, and everything happen meanwhile.
    pub fn pass(&mut self, span: Duration) {
        let until = self.millis + span.as_millis() as u64;
        self.run();
        while self.millis < until {
            let running = self.processes.iter_mut().filter(|process| !process.frozen);
            let wakes = running.filter_map(|process| process.stage.as_mut()?.world().wakes_at_millis).min();
            self.millis = wakes.unwrap_or(until).clamp(self.millis + 1, until);
            self.run();
        }
    }

    /// Runs one tick of a process unless it is stopped. Returns whether anything happened.
    pub fn step(&mut self, index: usize) -> bool {
        let pumped = self.pump(index);
        let process = &mut self.processes[index];
        let Some(stage) = process.stage.as_mut().filter(|_| !process.frozen) else {
            return pumped;
        };
        stage.world().until_millis = self.millis;
        stage.tick();
        let read = stage.read_eagerly();
        pumped || read || !(stage.stopped || stage.world().idle)
    }

    fn is_rough(&self) -> bool {
        self.weather.short > 0
    }

    /// Moves bytes and closings between a process and Redis. Returns whether there were any.
    fn pump(&mut self, index: usize) -> bool {
        let rough = self.is_rough();
        let Process { stage, frozen, cut_off, pipes } = &mut self.processes[index];
        let Some(stage) = stage else {
            return false;
        };
        let world = stage.world();
        let made = world.outgoing().into_iter();
        pipes.extend(made.map(|(_, wire)| Pipe {
            wire,
            conn: None,
            down: Vec::new(),
            ended: false,
            delayed: false,
            is_unheard: false,
        }));
        let mut any = false;
        for pipe in pipes.iter_mut().filter(|_| !*frozen && !*cut_off) {
            any |= match rough && self.rng.u8(0..8) == 0 {
                // A delayed connection counts as moved while it holds anything back.
                true => pipe.holds_anything(&self.redis, world),
                false => pipe.pump(&mut self.redis, world, self.millis, rough.then_some(&mut self.rng)),
            };
        }
        pipes.retain(|pipe| {
            let over = world.is_closed(pipe.wire) && !*cut_off && !pipe.delayed;
            if over {
                pipe.conn.into_iter().for_each(|conn| self.redis.close(conn));
                world.retire(pipe.wire);
            }
            !over
        });
        any
    }

    /// Disconnects all clients, and checks that nothing is left.
    pub fn end(mut self) {
        for index in 0..self.count() {
            if self.is_alive(index) {
                assert!(!self.processes[index].frozen, "process {index} can't end");
                self.stage(index).send_all_home();
            }
        }
        self.weather = Weather::default();
        self.pass(Duration::from_secs(100));
        for index in 0..self.count() {
            if self.is_alive(index) {
                let LinkState { up, subscriptions, queue_bytes, .. } = self.link(index);
                assert_eq!((up, subscriptions, queue_bytes), (true, 0, 0), "process {index}");
                self.stage(index).assert_empty();
            }
        }
        if (0..self.count()).any(|index| self.is_alive(index)) {
            self.assert_nothing_is_registered();
        }
    }

    /// Checks that Redis has neither names nor members. Processes that live have removed those of the others.
    fn assert_nothing_is_registered(&self) {
        for key in (0..16).flat_map(|database| self.redis.keys_of(database, self.millis)) {
            let (_, kind) = key.split_once('@').expect("a kind of key");
            let kind = kind.split(':').next();
            let is_presence = matches!(kind, Some("names" | "members" | "rooms"));
            assert!(!is_presence, "{key} is left in Redis: {:?}", self.redis.hash(&key, self.millis));
        }
    }
}

impl Pipe {
    /// Whether [`Pipe::pump`] may move something.
    fn holds_anything(&self, redis: &Redis, world: &World) -> bool {
        self.conn.is_none_or(|conn| {
            let ends = !self.ended && redis.is_closed(conn);
            ends || !self.down.is_empty() || redis.has_output(conn) || world.has_sent(self.wire)
        })
    }

    /// Moves all bytes, or a piece of them. Returns whether there were any.
    fn pump(
        &mut self,
        redis: &mut Redis,
        world: &mut World,
        millis: u64,
        rng: Option<&mut fastrand::Rng>,
    ) -> bool {
        if self.conn.is_none() {
            match world.comes_to(self.wire) {
                Dial::Answered => self.conn = Some(redis.open()),
                Dial::Hangs if world.dial == Dial::Answered => {
                    world.settle_dial(self.wire, Dial::Answered);
                    self.conn = Some(redis.open());
                }
                _ => {}
            }
        }
        let Some(conn) = self.conn else {
            return false;
        };
        let most = rng.map_or(usize::MAX, |rng| rng.usize(1..2_000));
        let up = if self.delayed { Vec::new() } else { world.receive(self.wire, most) };
        if !up.is_empty() {
            redis.receive(conn, &up, millis);
        }
        if self.down.is_empty() {
            self.down = redis.take_output(conn);
        }
        if self.is_unheard {
            self.down.clear();
        }
        let rest = self.down.split_off(most.min(self.down.len()));
        let down = std::mem::replace(&mut self.down, rest);
        if !down.is_empty() {
            world.send(self.wire, &down);
        }
        let ends = !self.ended && self.down.is_empty() && redis.is_closed(conn);
        if ends {
            self.ended = true;
            world.end(self.wire);
        }
        ends || !up.is_empty() || !down.is_empty()
    }
}
