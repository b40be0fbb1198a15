//! A server on a [`World`], and clients that a test moves: [`Stage`].
//!
//! Every tick is watched by three oracles: nothing is forgotten (the *stall* oracle), no connection and no server holds
//! more than it may (*bounds*), and, at the end of each test, an empty server holds nothing (*end*). The fourth, the
//! ledger of messages, is in `ledger.rs`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use chinwag::chat::Census;
use chinwag::config::Config;
use chinwag::connection::Readiness;
use chinwag::net::{ListenerId, ListenerKind};
use chinwag::pressure::HOLD_MAX;
use chinwag::protocol::Dialect;
use chinwag::server::{Control, Server};

use crate::world::{Weather, Wire, World};

/// More than any answer to one request: a full history of lines is many frames, each of at most this.
const FRAME_MAX_BYTES: usize = 16 * 1024;

/// What the open page may keep between bursts: its bytes, and the ends of its frames.
const KEPT_BYTES: usize = 2 * 256 * 1024;
/// More than any list of a thousand names or rooms, or one message in a history.
const ANSWER_MAX_BYTES: usize = 192 * 1024;

/// The second listener.
pub const HTTP: ListenerKind = ListenerKind { dialect: Dialect::Http, loopback: true };

/// A window that never closes.
pub const WIDE: usize = usize::MAX;

/// A server, its world, and what its clients have read.
pub struct Stage {
    pub server: Server<World>,
    config: Config,
    /// What each client has read.
    read: BTreeMap<Wire, Vec<u8>>,
    /// Clients that read whatever comes.
    eager: BTreeMap<Wire, bool>,
    /// How far a test has looked at what a client read.
    seen: BTreeMap<Wire, usize>,
    pub stopped: bool,
    pub peak_memory: usize,
    /// How much there was of everything before anybody came.
    holdings: Vec<(&'static str, usize)>,
}

impl Stage {
    pub fn new(flags: &str) -> Stage {
        Stage::with_weather(flags, 1, Weather::default())
    }

    pub fn with_weather(flags: &str, seed: u64, weather: Weather) -> Stage {
        Stage::in_world(flags, World::new(seed, weather))
    }

    pub fn in_world(flags: &str, world: World) -> Stage {
        Stage::with_listeners(flags, world, HTTP)
    }

    /// The HTTP listener is not on a loopback address.
    pub fn outside(flags: &str) -> Stage {
        let http = ListenerKind { loopback: false, ..HTTP };
        Stage::with_listeners(flags, World::new(1, Weather::default()), http)
    }

    fn with_listeners(flags: &str, world: World, http: ListenerKind) -> Stage {
        let config = Config::from_flags(flags);
        let server = Server::new(config.clone(), world, vec![ListenerKind::LINE, http]).unwrap();
        let holdings = server.holdings();
        Stage {
            holdings,
            server,
            config,
            read: BTreeMap::new(),
            eager: BTreeMap::new(),
            seen: BTreeMap::new(),
            stopped: false,
            peak_memory: 0,
        }
    }

    pub fn world(&mut self) -> &mut World {
        self.server.net_mut()
    }

    // Clients.

    /// Connects somebody from this machine who reads at once.
    pub fn connect(&mut self) -> Wire {
        self.connect_from(None, WIDE)
    }

    pub fn connect_from(&mut self, address: Option<&str>, window: usize) -> Wire {
        self.connect_at(0, address, window)
    }

    /// Connects somebody at the HTTP listener.
    pub fn connect_http(&mut self) -> Wire {
        self.connect_at(1, None, WIDE)
    }

    /// Connects somebody at the HTTP listener from an address of the network.
    pub fn connect_http_from(&mut self, address: &str, window: usize) -> Wire {
        self.connect_at(1, Some(address), window)
    }

    fn connect_at(&mut self, listener: ListenerId, address: Option<&str>, window: usize) -> Wire {
        let address = address.map(|address| address.parse::<IpAddr>().unwrap());
        let wire = self.world().connect(listener, address, window);
        self.read.insert(wire, Vec::new());
        self.eager.insert(wire, true);
        wire
    }

    /// Connects, gives the name, and reads up to the greeting.
    pub fn join(&mut self, name: &str) -> Wire {
        let wire = self.connect();
        self.say(wire, name);
        self.run();
        self.expect_contains(wire, &format!("-- hello {name}. "));
        self.unread(wire);
        wire
    }

    pub fn say(&mut self, wire: Wire, line: &str) {
        self.world().send(wire, format!("{line}\n").as_bytes());
    }

    pub fn send(&mut self, wire: Wire, bytes: &[u8]) {
        self.world().send(wire, bytes);
    }

    /// The client stops reading, or starts again.
    pub fn set_eager(&mut self, wire: Wire, eager: bool) {
        self.eager.insert(wire, eager);
    }

    // Time.

    /// Lets everything happen that can happen without time passing.
    pub fn run(&mut self) {
        self.pass(Duration::ZERO);
    }

    /// Runs for as long as readers that take nothing can hold up who talks to them.
    pub fn run_past_holds(&mut self) {
        self.pass(HOLD_MAX);
    }

    /// Lets time pass, and everything happen meanwhile.
    pub fn pass(&mut self, span: Duration) {
        let until = self.world().millis() + span.as_millis() as u64;
        self.world().until_millis = until;
        for ticks in 0.. {
            assert!(ticks < 2_000_000, "the server spins");
            self.tick();
            let read = self.read_eagerly();
            if self.stopped || (self.world().idle && !read && self.world().millis() >= until) {
                return;
            }
        }
    }

    /// One tick, under the eyes of the oracles.
    pub fn tick(&mut self) {
        if self.stopped {
            return;
        }
        self.assert_nothing_is_forgotten();
        self.stopped = self.server.tick().unwrap() == Control::Stop;
        self.assert_bounds();
        let metrics = self.server.metrics();
        let counted = (metrics.bytes_in, metrics.bytes_out);
        assert_eq!(counted, self.world().door_bytes, "bytes read and written are counted");
    }

    /// Eager clients read what is there. Whether there was anything.
    pub fn read_eagerly(&mut self) -> bool {
        let eager: Vec<Wire> =
            self.eager.iter().filter(|(_, eager)| **eager).map(|(wire, _)| *wire).collect();
        let mut any = false;
        for wire in eager {
            any |= self.receive(wire, usize::MAX) > 0;
        }
        any
    }

    /// A client reads at most `most` bytes.
    pub fn receive(&mut self, wire: Wire, most: usize) -> usize {
        let bytes = self.world().receive(wire, most);
        self.read.get_mut(&wire).unwrap().extend(&bytes);
        bytes.len()
    }

    // What clients have read.

    /// All a client has read so far.
    pub fn text(&self, wire: Wire) -> String {
        String::from_utf8(self.read[&wire].clone()).expect("whole characters only")
    }

    /// All a client has read so far, as it came.
    pub fn raw(&self, wire: Wire) -> &[u8] {
        &self.read[&wire]
    }

    /// Whether the server closed without having been able to say why: it waited for the client to read in vain.
    pub fn gave_up_on(&self, wire: Wire) -> bool {
        self.server.net().gave_up_on(wire)
    }

    /// The whole lines a client has read since this was last asked.
    pub fn unread(&mut self, wire: Wire) -> Vec<String> {
        let seen = self.seen.entry(wire).or_default();
        let new = &self.read[&wire][*seen..];
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        *seen += whole;
        String::from_utf8_lossy(&new[..whole]).lines().map(String::from).collect()
    }

    /// Runs, and compares what the client was told since the last time.
    #[track_caller]
    pub fn expect(&mut self, wire: Wire, lines: &[&str]) {
        self.run();
        assert_eq!(self.unread(wire), lines);
    }

    #[track_caller]
    pub fn expect_contains(&mut self, wire: Wire, part: &str) {
        let text = String::from_utf8_lossy(&self.read[&wire]).into_owned();
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }

    // Oracles.

    fn assert_nothing_is_forgotten(&mut self) {
        let known: BTreeMap<_, _> = self
            .server
            .roster()
            .iter()
            .map(|(token, c)| {
                (
                    token,
                    (
                        c.ready.contains(Readiness::READABLE),
                        c.ready.contains(Readiness::WRITABLE),
                        !c.outbox.is_empty(),
                    ),
                )
            })
            .collect();
        self.world().assert_nothing_is_forgotten(|token| known.get(&token).copied());
    }

    fn assert_bounds(&mut self) {
        let hard = self.config.write_buffer + FRAME_MAX_BYTES;
        let soft = self.config.write_buffer_soft.map_or(hard, |soft| soft.bytes);
        for (token, connection) in self.server.roster().iter() {
            let (cost, charged) = (connection.outbox.cost_bytes(), connection.outbox.charged_bytes());
            assert!(charged <= hard, "{token:?} holds {charged} bytes of output that is charged");
            let answers = cost - charged;
            let most = soft + hard.max(ANSWER_MAX_BYTES);
            assert!(answers <= most, "{token:?} holds {answers} bytes of answers");
            let inbox = self.server.inboxes().unused_bytes(token.slot);
            let most = match connection.dialect {
                Dialect::Line => self.config.line_max + 2,
                // A header and a control frame.
                Dialect::Json | Dialect::Raw => 14 + 125,
                _ => self.config.message_max + 14,
            };
            assert!(inbox <= most + 8 * 1024, "{token:?} holds {inbox} bytes of input");
            // One message that is not complete or many that wait, behind one that was read already.
            let messages = self.server.inboxes().message_bytes(token.slot);
            let most = (self.config.message_max.max(16 * 1024) + 5) * 5 / 4;
            assert!(messages <= most, "{token:?} holds {messages} bytes of messages");
        }
        let memory = self.server.arena().memory_bytes();
        self.peak_memory = self.peak_memory.max(memory);
        let most = self.config.memory + 4 * 1024 * 1024;
        assert!(memory <= most, "the pages hold {memory} bytes");
    }

    /// Everybody leaves, and nothing is left.
    pub fn end(mut self) {
        self.send_all_home();
        // Long enough for delayed lines, farewells and the next try of a failed accept.
        self.pass(Duration::from_secs(600));
        self.assert_empty();
    }

    /// Everybody reads what there is and sends no more, and the weather is kind.
    pub fn send_all_home(&mut self) {
        let wires: Vec<Wire> = self.read.keys().copied().collect();
        for wire in wires {
            self.set_eager(wire, true);
            self.world().set_window(wire, WIDE);
            self.world().end(wire);
        }
        self.world().weather = Weather::default();
    }

    pub fn assert_empty(&mut self) {
        self.run();
        assert_eq!(self.server.roster().len(), 0, "connections are left");
        assert_eq!(self.server.waiting(), 0, "somebody still waits");
        assert_eq!(self.server.arena().held_bytes(), 0, "output is left");
        assert_eq!(self.server.roster().armed_timers(), 0, "deadlines are left");
        assert!(self.server.roster().pressure().is_empty(), "somebody is taken for a slow reader");
        assert_eq!(self.server.holdings(), self.holdings, "not as at the start");
        let memory = self.server.arena().memory_bytes();
        assert!(memory <= KEPT_BYTES, "the open page keeps {memory} bytes");
        let census = self.server.chat().census();
        assert_eq!(Census { history_bytes: 0, rooms: 0, summaries: 0, ..census }, Census::default());
    }
}
