//! A server on a [`World`], and clients that a test moves: [`Stage`].
//!
//! Four oracles check every tick and [`Stage::end`]. No event is lost (*stall*). Nothing is handled before the time
//! for which the server would sleep (*early*). No connection and no server exceeds its limits (*bounds*). An empty server
//! holds nothing (*end*). The fifth, the ledger of messages, is in `ledger.rs`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use chinwag::chat::Census;
use chinwag::config::Config;
use chinwag::connection::Readiness;
use chinwag::metrics::{Durations, Metrics};
use chinwag::net::{ListenerId, ListenerKind};
use chinwag::pressure::PAUSE_MAX;
use chinwag::protocol::Dialect;
use chinwag::server::{Control, Server};

use crate::world::{Weather, Wire, World};

/// Longer than any frame of an answer; a full history of lines is many of these.
const FRAME_MAX_BYTES: usize = 16 * 1024;

/// Bytes that the open block may keep between bursts: content and ends of frames.
const KEPT_BYTES: usize = 2 * 256 * 1024;
/// Longer than a list of a thousand names or rooms, or one message in a history.
const ANSWER_MAX_BYTES: usize = 192 * 1024;

/// The HTTP listener.
pub const HTTP: ListenerKind = ListenerKind { dialect: Dialect::Http, loopback: true };

/// A window that never closes.
pub const WIDE: usize = usize::MAX;

/// A server, its world, and what its clients have read.
pub struct Stage {
    pub server: Server<World>,
    config: Config,
    /// Bytes that each client has read.
    read: BTreeMap<Wire, Vec<u8>>,
    /// Whether each client reads its input at once.
    eager: BTreeMap<Wire, bool>,
    /// Position up to which a test has looked at a client's input.
    seen: BTreeMap<Wire, usize>,
    pub stopped: bool,
    pub peak_memory: usize,
    /// Sizes of all collections before the first client.
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

    /// Creates a stage whose HTTP listener is not on a loopback address.
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

    /// Connects a local client that reads at once.
    pub fn connect(&mut self) -> Wire {
        self.connect_from(None, WIDE)
    }

    pub fn connect_from(&mut self, address: Option<&str>, window: usize) -> Wire {
        self.connect_at(0, address, window)
    }

    /// Connects a client at the HTTP listener.
    pub fn connect_http(&mut self) -> Wire {
        self.connect_at(1, None, WIDE)
    }

    /// Connects a client at the HTTP listener from a remote address.
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

    /// Connects a client, sends the name, and reads up to the greeting.
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

    /// Makes the client stop reading, or start again.
    pub fn set_eager(&mut self, wire: Wire, eager: bool) {
        self.eager.insert(wire, eager);
    }

    /// Makes the client read nothing, with full socket buffers.
    pub fn stall(&mut self, wire: Wire) {
        self.set_eager(wire, false);
        self.world().set_window(wire, 0);
    }

    /// Ends a stall: the client reads its input at once again.
    pub fn read_again(&mut self, wire: Wire) {
        self.world().set_window(wire, WIDE);
        self.set_eager(wire, true);
    }

    /// Returns the queued output of a client, in bytes; 0 if it is gone.
    pub fn queued_bytes(&mut self, wire: Wire) -> usize {
        let token = self.world().token(wire).unwrap();
        self.server.roster().get(token).map_or(0, |connection| connection.outbox.queued_bytes())
    }

    // Time.

    /// Runs until nothing more can happen without time passing.
    pub fn run(&mut self) {
        self.pass(Duration::ZERO);
    }

    /// Runs for as long as a reader that lags can hold talkers.
    pub fn run_past_holds(&mut self) {
        self.pass(PAUSE_MAX);
    }

    /// Lets time pass, and everything due happen.
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

    /// Runs one tick and checks the oracles.
    pub fn tick(&mut self) {
        if self.stopped {
            return;
        }
        self.assert_nothing_is_forgotten();
        let before = self.world().may_sleep().then(|| self.effects());
        self.stopped = self.server.tick().unwrap() == Control::Stop;
        if let Some(before) = before.filter(|_| self.world().is_early) {
            // The tick came before the server's own timeout, so a deadline that it handles is missing there.
            assert_eq!(self.effects(), before, "handled without a timeout");
            assert!(!self.stopped, "stopped without a timeout");
        }
        self.assert_bounds();
        let metrics = self.server.metrics();
        let counted = (metrics.bytes_in, metrics.bytes_out);
        assert_eq!(counted, self.world().accepted_bytes, "bytes read and written are counted");
    }

    /// Has eager clients read their input. Returns whether there was any.
    pub fn read_eagerly(&mut self) -> bool {
        let eager: Vec<Wire> =
            self.eager.iter().filter(|(_, eager)| **eager).map(|(wire, _)| *wire).collect();
        let mut any = false;
        for wire in eager {
            any |= self.receive(wire, usize::MAX) > 0;
        }
        any
    }

    /// Has a client read at most `most` bytes.
    pub fn receive(&mut self, wire: Wire, most: usize) -> usize {
        let bytes = self.world().receive(wire, most);
        self.read.get_mut(&wire).unwrap().extend(&bytes);
        bytes.len()
    }

    // Client input.

    /// Returns all text that a client has read so far.
    pub fn text(&self, wire: Wire) -> String {
        String::from_utf8(self.read[&wire].clone()).expect("whole characters only")
    }

    /// Returns all bytes that a client has read so far.
    pub fn raw(&self, wire: Wire) -> &[u8] {
        &self.read[&wire]
    }

    /// Returns whether the server closed the socket because the client did not read the reason in time.
    pub fn gave_up_on(&self, wire: Wire) -> bool {
        self.server.net().gave_up_on(wire)
    }

    /// Returns the whole lines that a client has read since the last call.
    pub fn unread(&mut self, wire: Wire) -> Vec<String> {
        let seen = self.seen.entry(wire).or_default();
        let new = &self.read[&wire][*seen..];
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        *seen += whole;
        String::from_utf8_lossy(&new[..whole]).lines().map(String::from).collect()
    }

    /// Runs, and compares the lines that the client has read since the last call.
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

    /// Returns what a tick may change.
    fn effects(&mut self) -> impl PartialEq + Debug + use<> {
        let metrics = self.server.metrics().clone();
        let metrics = Metrics { ticks: Durations::default(), phase_nanos: Default::default(), ..metrics };
        let mut holdings = self.server.holdings();
        // Timers that are too early are removed before the sleep.
        holdings.retain(|(name, _)| *name != "deadlines");
        (metrics, holdings, self.world().calls_made())
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
            // One incomplete message or many queued ones, behind one that was handled already.
            let messages = self.server.inboxes().message_bytes(token.slot);
            let most = (self.config.message_max.max(16 * 1024) + 5) * 5 / 4;
            assert!(messages <= most, "{token:?} holds {messages} bytes of messages");
        }
        let memory = self.server.arena().memory_bytes();
        self.peak_memory = self.peak_memory.max(memory);
        let most = self.config.memory + 4 * 1024 * 1024;
        assert!(memory <= most, "the arena holds {memory} bytes");
    }

    /// Disconnects all clients, and checks that nothing is left.
    pub fn end(mut self) {
        self.send_all_home();
        // Long enough for delayed lines, farewells and the next try of a failed accept.
        self.pass(Duration::from_secs(600));
        self.assert_empty();
    }

    /// Has all clients read their input and send no more, in kind weather.
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
        assert_eq!(self.server.waiting(), 0, "a client still waits");
        assert_eq!(self.server.arena().held_bytes(), 0, "output is left");
        assert_eq!(self.server.roster().armed_timers(), 0, "deadlines are left");
        assert!(self.server.roster().pressure().is_empty(), "a client is counted as a slow reader");
        assert_eq!(self.server.holdings(), self.holdings, "not as at the start");
        let memory = self.server.arena().memory_bytes();
        assert!(memory <= KEPT_BYTES, "the open block keeps {memory} bytes");
        let census = self.server.chat().census();
        assert_eq!(Census { history_bytes: 0, rooms: 0, summaries: 0, ..census }, Census::default());
    }
}
