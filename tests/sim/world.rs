//! A virtual network: [`World`] implements [`Net`] on queues of bytes and a clock that only tests move.
//!
//! It behaves as a harsher `epoll`. An edge comes only after a call has returned `WouldBlock`. Pending edges are
//! coalesced, shuffled and spread over several polls, between events for unknown and closed connections. Reads and
//! writes are short, interrupted, or both. All of it follows from one seed, and a hash of all calls makes two runs
//! comparable.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use chinwag::net::{ConnectTarget, ListenerId, Net, Peer, PollEvent, Signal, Token};
use chinwag::time::Moment;

/// Faults of the network; each number but the last is a chance in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// A read or write moves less than it could.
    pub short: u16,
    /// A read or write moves a single byte.
    pub single: u16,
    /// A call is interrupted.
    pub interrupted: u16,
    /// A pending event waits for a later poll.
    pub late: u16,
    /// A poll reports an event that did not happen.
    pub spurious: u16,
    /// An accept fails.
    pub accept_fails: u16,
    /// Duration of a write, in microseconds.
    pub write_micros: u16,
}

impl Weather {
    /// All faults at once.
    pub fn storm() -> Weather {
        Weather {
            short: 300,
            single: 100,
            interrupted: 50,
            late: 200,
            spurious: 100,
            accept_fails: 100,
            write_micros: 200,
        }
    }
}

/// Outcome of a connection that the server makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dial {
    /// It is established from the next poll on.
    Answered,
    /// The call itself fails.
    Refused,
    /// It fails with the next poll.
    RefusedLater,
    /// Nothing happens until the test decides.
    Hangs,
}

/// `ECONNREFUSED`.
pub const REFUSED: i32 = 111;

/// The remote end of a connection, by its number in the world: that of a client, or that which the server has connected
/// to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Wire(pub usize);

/// The server's end of a connection. Dropping it closes it, as with a real socket.
#[derive(Debug)]
pub struct Stream {
    wire: usize,
    open: Rc<Cell<bool>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.set(false);
    }
}

/// Both directions of one connection.
#[derive(Debug)]
struct Cable {
    peer: Peer,
    /// Made by the server.
    outgoing: bool,
    token: Option<Token>,
    open: Rc<Cell<bool>>,
    closed: bool,
    /// Bytes that the client sent and the server has not read.
    up: VecDeque<u8>,
    /// The client has closed its side.
    up_ended: bool,
    /// Bytes that the server sent and the client has not read, at most `window`.
    down: VecDeque<u8>,
    window: usize,
    /// The server has closed its side.
    down_ended: bool,
    /// Reset by the client, or by the server closing with input unread.
    reset: bool,
    readable: Edge,
    writable: Edge,
    /// Outcome of the connect, until it is settled.
    dial: Option<Dial>,
    /// The connect has failed.
    refused: bool,
    /// Error of the socket, until the server has read it.
    error: Option<i32>,
}

impl Cable {
    fn new(peer: Peer, window: usize) -> Cable {
        Cable {
            peer,
            outgoing: false,
            token: None,
            open: Rc::new(Cell::new(true)),
            closed: false,
            up: VecDeque::new(),
            up_ended: false,
            down: VecDeque::new(),
            window,
            down_ended: false,
            reset: false,
            readable: Edge::Armed,
            writable: Edge::Pending,
            dial: None,
            refused: false,
            error: None,
        }
    }

    /// Settles the connect of a connection that the server makes.
    fn settle_dial(&mut self) {
        match self.dial {
            Some(Dial::Answered) => {}
            // A failed connect reads as the end of input, and nothing can be written.
            Some(Dial::RefusedLater) => {
                (self.refused, self.error, self.up_ended) = (true, Some(REFUSED), true)
            }
            _ => return,
        }
        self.dial = None;
        raise(&mut self.writable);
        if !self.up.is_empty() || self.up_ended {
            raise(&mut self.readable);
        }
    }
}

/// State of one edge-triggered event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Edge {
    /// Reported, and the server has not come to `WouldBlock` since.
    Reported,
    /// The next readiness is to be reported.
    Armed,
    /// The next poll may report it.
    Pending,
}

/// All past and present connections, and the time.
pub struct World {
    pub rng: fastrand::Rng,
    pub weather: Weather,
    millis: u64,
    /// Time that calls have taken so far.
    spent_nanos: u64,
    /// Time that each call takes.
    pub call_nanos: CallNanos,
    /// Times for which the server slept, and bytes that clients send during the next sleep.
    pub sleeps: Vec<Duration>,
    pub sent_while_asleep: Vec<(Wire, Vec<u8>)>,
    /// Time up to which a poll may sleep.
    pub until_millis: u64,
    /// Whether the last poll had nothing to report up to that time. The server would still sleep.
    pub idle: bool,
    /// Whether the clock has leapt since the last poll, so that a deadline may have passed meanwhile.
    has_leapt: bool,
    /// Whether the tick of the last poll has nothing to do: it is idle, and began at the time that the server had expected.
    pub is_early: bool,
    /// Time at which that poll would have timed out, if it had a timeout.
    pub wakes_at_millis: Option<u64>,
    /// The unique number of the process, which it takes once at its start.
    pub process_id: u64,
    cables: Slab<Cable>,
    /// Connections that wait at the line listener and at the HTTP listener.
    backlogs: [VecDeque<usize>; 2],
    listeners: [Edge; 2],
    listeners_open: bool,
    /// Wall clock at the time 0 of the monotonic clock.
    pub epoch_millis: u64,
    pub closed_listeners: BTreeSet<ListenerId>,
    /// Errors that the next accepts return.
    pub accept_errors: VecDeque<i32>,
    /// The number of accepted connections, from the next on, that can't be watched.
    pub register_errors: usize,
    /// Descriptors left; accepting without one is `EMFILE`.
    pub descriptors: usize,
    signals: VecDeque<Signal>,
    /// Outcome of the connections that the server makes from now on.
    pub dial: Dial,
    /// Connections that it has made and no test has taken.
    outgoing: Vec<(ConnectTarget, Wire)>,
    /// Addresses of every name, or the error of the look-up.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// Holds back the answer of every look-up.
    pub hold_addresses: bool,
    /// Names that it has looked up, with their ports.
    pub asked: Vec<(String, u16)>,
    /// Whether the last of these is not answered yet.
    resolving: bool,
    answer: Option<io::Result<Vec<SocketAddr>>>,
    /// Events that the next poll reports in any case.
    pub injected: Vec<PollEvent>,
    pub hash: u64,
    pub polls: u64,
    pub accepts: u64,
    pub reads: u64,
    pub writes: u64,
    /// Bytes that the server has read from accepted connections, and written to them.
    pub accepted_bytes: (u64, u64),
    pub calls: Vec<(Token, SocketCall)>,
    pub record_calls: bool,
}

/// Time that a call of each kind takes, in nanoseconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct CallNanos {
    pub accept: u64,
    pub read: u64,
    pub write: u64,
}

/// A call on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketCall {
    Read,
    Write,
}

impl World {
    pub fn new(seed: u64, weather: Weather) -> World {
        World {
            rng: fastrand::Rng::with_seed(seed),
            weather,
            millis: 1_000,
            spent_nanos: 0,
            call_nanos: CallNanos::default(),
            sleeps: Vec::new(),
            sent_while_asleep: Vec::new(),
            until_millis: 1_000,
            idle: false,
            has_leapt: false,
            is_early: false,
            wakes_at_millis: None,
            process_id: 0xc0de,
            cables: Slab::new(),
            backlogs: Default::default(),
            listeners: [Edge::Armed; 2],
            listeners_open: true,
            accept_errors: VecDeque::new(),
            register_errors: 0,
            epoch_millis: 1_600_000_000_000,
            closed_listeners: BTreeSet::new(),
            descriptors: usize::MAX,
            signals: VecDeque::new(),
            dial: Dial::Answered,
            outgoing: Vec::new(),
            addresses: Ok(vec![IpAddr::from([127, 0, 0, 1])]),
            hold_addresses: false,
            asked: Vec::new(),
            resolving: false,
            answer: None,
            injected: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            polls: 0,
            accepts: 0,
            reads: 0,
            writes: 0,
            accepted_bytes: (0, 0),
            calls: Vec::new(),
            record_calls: false,
        }
    }

    /// Returns the numbers of writes and outgoing connections so far.
    pub fn calls_made(&self) -> (u64, usize) {
        (self.writes, self.asked.len() + self.outgoing.len())
    }

    fn chance(&mut self, in_a_thousand: u16) -> bool {
        in_a_thousand > 0 && self.rng.u16(0..1000) < in_a_thousand
    }

    /// Mixes a call into the trace hash.
    fn record(&mut self, what: &[u64]) {
        mix(&mut self.hash, what);
    }

    pub fn millis(&self) -> u64 {
        self.millis
    }

    /// Makes the clock leap, as after a suspend.
    pub fn leap(&mut self, span: Duration) {
        self.has_leapt = true;
        self.millis += span.as_millis() as u64;
        self.until_millis = self.until_millis.max(self.millis);
    }

    pub fn signal(&mut self, signal: Signal) {
        self.signals.push_back(signal);
    }

    // Calls of clients.

    pub fn connect(&mut self, listener: ListenerId, address: Option<IpAddr>, window: usize) -> Wire {
        let peer = address.map_or(Peer::Local, Peer::Ip);
        let wire = self.cables.insert(Cable::new(peer, window));
        self.backlogs[listener].push_back(wire);
        raise(&mut self.listeners[listener]);
        Wire(wire)
    }

    pub fn send(&mut self, wire: Wire, bytes: &[u8]) {
        let cable = &mut self.cables[wire.0];
        if !cable.reset && !cable.closed {
            cable.up.extend(bytes);
            raise(&mut cable.readable);
        }
    }

    /// Closes the client's side.
    pub fn end(&mut self, wire: Wire) {
        let cable = &mut self.cables[wire.0];
        cable.up_ended = true;
        raise(&mut cable.readable);
    }

    /// Resets the connection.
    pub fn reset(&mut self, wire: Wire) {
        let cable = &mut self.cables[wire.0];
        cable.reset = true;
        (cable.readable, cable.writable) = (Edge::Pending, Edge::Pending);
    }

    /// Has the client read at most `most` bytes.
    pub fn receive(&mut self, wire: Wire, most: usize) -> Vec<u8> {
        let cable = &mut self.cables[wire.0];
        let count = most.min(cable.down.len());
        let bytes = cable.down.drain(..count).collect();
        if count > 0 {
            raise(&mut cable.writable);
        }
        bytes
    }

    /// Returns whether the server has sent bytes that were not received.
    pub fn has_sent(&self, wire: Wire) -> bool {
        !self.cables[wire.0].down.is_empty()
    }

    pub fn set_window(&mut self, wire: Wire, window: usize) {
        let cable = &mut self.cables[wire.0];
        cable.window = window;
        raise(&mut cable.writable);
    }

    /// Frees a connection that is closed on both sides; its number is used again.
    pub fn retire(&mut self, wire: Wire) {
        self.settle();
        assert!(self.cables[wire.0].closed, "the server still has it");
        self.cables.remove(wire.0);
    }

    /// Returns whether the client has read all that will ever come.
    pub fn is_over(&self, wire: Wire) -> bool {
        let cable = &self.cables[wire.0];
        cable.reset || (cable.down.is_empty() && (cable.down_ended || cable.closed))
    }

    /// Returns whether either side has reset the connection.
    pub fn is_reset(&self, wire: Wire) -> bool {
        self.cables[wire.0].reset
    }

    /// Returns whether the server has closed the socket without closing its side first.
    pub fn gave_up_on(&self, wire: Wire) -> bool {
        let cable = &self.cables[wire.0];
        cable.closed && !cable.down_ended
    }

    /// Returns whether the server has closed its socket.
    pub fn is_closed(&self, wire: Wire) -> bool {
        self.cables[wire.0].closed
    }

    pub fn token(&self, wire: Wire) -> Option<Token> {
        self.cables[wire.0].token
    }

    // Calls of those that the server connects to. Once connected, they send and receive as clients do.

    /// Returns the connections that the server has made since the last call, and their targets.
    pub fn outgoing(&mut self) -> Vec<(ConnectTarget, Wire)> {
        std::mem::take(&mut self.outgoing)
    }

    /// Returns the outcome of a connection.
    pub fn comes_to(&self, wire: Wire) -> Dial {
        let cable = &self.cables[wire.0];
        cable.dial.unwrap_or(if cable.refused { Dial::RefusedLater } else { Dial::Answered })
    }

    /// Sets the outcome of a hanging connection.
    pub fn settle_dial(&mut self, wire: Wire, dial: Dial) {
        assert_eq!(self.cables[wire.0].dial.replace(dial), Some(Dial::Hangs), "it does not hang");
    }

    // The kernel.

    /// Handles sockets that the server has dropped. With unread input that is a reset, which also destroys output that
    /// the client has not read.
    fn settle(&mut self) {
        for (index, cable) in &mut self.cables {
            if cable.open.get() || cable.closed {
                continue;
            }
            cable.closed = true;
            self.descriptors = self.descriptors.saturating_add(1);
            if !cable.up.is_empty() {
                cable.reset = true;
                cable.down.clear();
            }
            mix(&mut self.hash, &[1, index as u64]);
        }
    }

    /// The stall oracle. `known` returns what the server has latched for a token: readable, writable, queued output.
    ///
    /// All readiness of sockets must be announced or latched already. A server with output that can't be sent must
    /// get an event.
    pub fn assert_nothing_is_forgotten(&mut self, known: impl Fn(Token) -> Option<(bool, bool, bool)>) {
        self.settle();
        for (index, cable) in &self.cables {
            let Some((readable, writable, output)) = cable.token.filter(|_| !cable.closed).and_then(&known)
            else {
                continue;
            };
            let has_input = !cable.up.is_empty() || cable.reset;
            assert!(
                !has_input || readable || cable.readable != Edge::Reported,
                "wire {index}: input is forgotten"
            );
            assert!(
                !output || writable || cable.writable != Edge::Reported,
                "wire {index}: output is forgotten"
            );
        }
        for (backlog, listener) in self.backlogs.iter().zip(self.listeners) {
            let anyone = !backlog.is_empty() && listener == Edge::Armed && self.listeners_open;
            assert!(!anyone, "a connection waits at a listener without an event");
        }
    }

    fn collect(&mut self, events: &mut Vec<PollEvent>) {
        events.append(&mut self.injected);
        while let Some(signal) = self.signals.pop_front() {
            events.push(PollEvent::Signal(signal));
        }
        if self.answers() && !self.chance(self.weather.late) {
            let port = self.asked.last().map_or(0, |(_, port)| *port);
            let addresses = self.addresses.clone().map_err(io::Error::other);
            self.answer = Some(addresses.map(|all| all.into_iter().map(|ip| (ip, port).into()).collect()));
            self.resolving = false;
            events.push(PollEvent::Resolved);
        }
        for listener in 0..self.listeners.len() {
            if self.listeners[listener] == Edge::Pending
                && self.listeners_open
                && !self.chance(self.weather.late)
            {
                self.listeners[listener] = Edge::Reported;
                events.push(PollEvent::Listener(listener));
            }
        }
        for (_, cable) in &mut self.cables {
            let late = self.weather.late > 0 && self.rng.u16(0..1000) < self.weather.late;
            let Some(token) = cable.token.filter(|_| !cable.closed && !late) else {
                continue;
            };
            let (readable, writable) = (take(&mut cable.readable), take(&mut cable.writable));
            if readable || writable {
                events.push(PollEvent::Connection { token, readable, writable });
            }
        }
        self.mislead(events);
        self.rng.shuffle(events);
    }

    /// Adds false events, and events for unknown or closed connections.
    fn mislead(&mut self, events: &mut Vec<PollEvent>) {
        while self.chance(self.weather.spurious) {
            let (readable, writable) = (self.rng.bool(), self.rng.bool());
            let any = self.rng.usize(0..=self.cables.len());
            let token = self.cables.get(any).and_then(|cable| cable.token);
            let nobody = Token { slot: self.rng.u32(0..64), serial: self.rng.u32(..) };
            events.push(PollEvent::Connection { token: token.unwrap_or(nobody), readable, writable });
            if self.rng.bool() {
                events.push(PollEvent::Listener(self.rng.usize(0..3)));
            }
            if !self.asked.is_empty() && self.rng.bool() {
                events.push(PollEvent::Resolved);
            }
        }
    }

    /// Returns whether the answer of a look-up is due.
    fn answers(&self) -> bool {
        self.resolving && !self.hold_addresses
    }

    /// Returns whether time may pass in the next poll.
    pub fn may_sleep(&self) -> bool {
        self.millis < self.until_millis && !self.any_pending()
    }

    fn any_pending(&self) -> bool {
        let of_cable = |cable: &Cable| {
            !cable.closed
                && cable.token.is_some()
                && [cable.readable, cable.writable].contains(&Edge::Pending)
        };
        !self.signals.is_empty()
            || (self.listeners.contains(&Edge::Pending) && self.listeners_open)
            || !self.injected.is_empty()
            || self.answers()
            || self.cables.iter().any(|(_, cable)| of_cable(cable))
    }

    /// Returns how many of `most` bytes move this time.
    fn portion(&mut self, most: usize) -> usize {
        match most {
            0 | 1 => most,
            _ if self.chance(self.weather.single) => 1,
            _ if self.chance(self.weather.short) => self.rng.usize(1..=most),
            _ => most,
        }
    }

    fn interrupt(&mut self) -> io::Result<()> {
        match self.chance(self.weather.interrupted) {
            true => Err(ErrorKind::Interrupted.into()),
            false => Ok(()),
        }
    }
}

/// FNV-1a, by words.
fn mix(hash: &mut u64, what: &[u64]) {
    for word in what {
        *hash = (*hash ^ word).wrapping_mul(0x100_0000_01b3);
    }
}

fn raise(edge: &mut Edge) {
    if *edge == Edge::Armed {
        *edge = Edge::Pending;
    }
}

fn take(edge: &mut Edge) -> bool {
    let pending = *edge == Edge::Pending;
    if pending {
        *edge = Edge::Reported;
    }
    pending
}

impl Net for World {
    type Stream = Stream;

    fn poll(&mut self, events: &mut Vec<PollEvent>, timeout: Option<Duration>) -> io::Result<()> {
        self.polls += 1;
        self.idle = false;
        let has_leapt = std::mem::take(&mut self.has_leapt);
        self.is_early = false;
        self.settle();
        self.interrupt()?;
        self.cables.iter_mut().for_each(|(_, cable)| cable.settle_dial());
        let sleeps = timeout != Some(Duration::ZERO);
        if !self.any_pending() && sleeps {
            let due = timeout.map(|timeout| self.millis + timeout.as_millis() as u64);
            self.idle = due.is_none_or(|due| due > self.until_millis);
            self.is_early = self.idle && !has_leapt;
            self.wakes_at_millis = due;
            self.millis = due.unwrap_or(u64::MAX).min(self.until_millis).max(self.millis);
        }
        self.collect(events);
        self.is_early &= events.is_empty();
        let (count, millis) = (events.len() as u64, self.millis);
        self.record(&[2, count, millis]);
        Ok(())
    }

    fn sleep(&mut self, span: Duration) {
        self.sleeps.push(span);
        self.leap(span);
        self.spent_nanos += u64::from(span.subsec_nanos()) % 1_000_000;
        for (wire, bytes) in std::mem::take(&mut self.sent_while_asleep) {
            self.send(wire, &bytes);
        }
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.millis)
    }

    fn unix_millis(&self) -> u64 {
        self.epoch_millis.saturating_add(self.millis)
    }

    fn nanos(&self) -> u64 {
        self.millis * 1_000_000 + self.spent_nanos
    }

    fn process_id(&self) -> u64 {
        self.process_id
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<(Stream, Peer)> {
        self.accepts += 1;
        self.spent_nanos += self.call_nanos.accept;
        self.settle();
        if listener >= self.listeners.len()
            || !self.listeners_open
            || self.closed_listeners.contains(&listener)
        {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(error) = self.accept_errors.pop_front() {
            return Err(io::Error::from_raw_os_error(error));
        }
        if self.chance(self.weather.accept_fails) {
            let errors = [103, 71, 24, 23, 4, 105];
            let error = errors[self.rng.usize(0..errors.len())];
            return Err(io::Error::from_raw_os_error(error));
        }
        if !self.backlogs[listener].is_empty() && self.descriptors == 0 {
            return Err(io::Error::from_raw_os_error(24));
        }
        let Some(wire) = self.backlogs[listener].pop_front() else {
            self.listeners[listener] = Edge::Armed;
            return Err(ErrorKind::WouldBlock.into());
        };
        self.descriptors -= 1;
        self.record(&[3, wire as u64]);
        let cable = &self.cables[wire];
        Ok((Stream { wire, open: cable.open.clone() }, cable.peer))
    }

    fn connect(&mut self, target: &ConnectTarget) -> io::Result<Stream> {
        self.settle();
        if self.descriptors == 0 {
            return Err(io::Error::from_raw_os_error(24));
        }
        if self.dial == Dial::Refused {
            return Err(io::Error::from_raw_os_error(REFUSED));
        }
        self.descriptors -= 1;
        let mut cable = Cable::new(Peer::Local, usize::MAX);
        (cable.outgoing, cable.dial, cable.writable) = (true, Some(self.dial), Edge::Armed);
        let open = cable.open.clone();
        let wire = self.cables.insert(cable);
        self.outgoing.push((target.clone(), Wire(wire)));
        self.record(&[7, wire as u64]);
        Ok(Stream { wire, open })
    }

    fn resolve(&mut self, host: &str, port: u16) {
        self.asked.push((host.into(), port));
        (self.resolving, self.answer) = (true, None);
        self.record(&[8]);
    }

    fn resolved(&mut self) -> Option<io::Result<Vec<SocketAddr>>> {
        self.answer.take()
    }

    fn register(&mut self, stream: &mut Stream, token: Token) -> io::Result<()> {
        let cable = &mut self.cables[stream.wire];
        if !cable.outgoing && self.register_errors > 0 {
            self.register_errors -= 1;
            // ENOSPC, as over `fs.epoll.max_user_watches`.
            return Err(io::Error::from_raw_os_error(28));
        }
        cable.token = Some(token);
        if !cable.up.is_empty() || cable.up_ended || cable.reset {
            cable.readable = Edge::Pending;
        }
        self.record(&[4, u64::from(token.slot), u64::from(token.serial)]);
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        self.spent_nanos += self.call_nanos.read;
        self.interrupt()?;
        let most = self.cables[stream.wire].up.len().min(buffer.len());
        let count = self.portion(most);
        if self.record_calls {
            self.calls.extend(self.cables[stream.wire].token.map(|token| (token, SocketCall::Read)));
        }
        self.record(&[5, stream.wire as u64, count as u64]);
        let cable = &mut self.cables[stream.wire];
        if let Some(error) = cable.error.take() {
            return Err(io::Error::from_raw_os_error(error));
        }
        if cable.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if cable.dial.is_some() {
            cable.readable = Edge::Armed;
            return Err(ErrorKind::WouldBlock.into());
        }
        if count == 0 {
            return match cable.up_ended {
                true => Ok(0),
                false => {
                    cable.readable = Edge::Armed;
                    Err(ErrorKind::WouldBlock.into())
                }
            };
        }
        for (place, byte) in buffer.iter_mut().zip(cable.up.drain(..count)) {
            *place = byte;
        }
        self.accepted_bytes.0 += if cable.outgoing { 0 } else { count as u64 };
        Ok(count)
    }

    fn write(&mut self, stream: &mut Stream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes += 1;
        self.spent_nanos += u64::from(self.weather.write_micros) * 1_000 + self.call_nanos.write;
        self.interrupt()?;
        let cable = &mut self.cables[stream.wire];
        if let Some(error) = cable.error.take() {
            return Err(io::Error::from_raw_os_error(error));
        }
        if cable.reset || cable.refused {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if cable.dial.is_some() {
            cable.writable = Edge::Armed;
            return Err(ErrorKind::WouldBlock.into());
        }
        assert!(!cable.down_ended, "written after the end");
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(!bytes.is_empty(), "a write of nothing");
        let room = cable.window.saturating_sub(cable.down.len());
        let count = self.portion(room.min(bytes.len()));
        if self.record_calls {
            self.calls.extend(self.cables[stream.wire].token.map(|token| (token, SocketCall::Write)));
        }
        self.record(&[6, stream.wire as u64, count as u64]);
        let cable = &mut self.cables[stream.wire];
        if count == 0 {
            cable.writable = Edge::Armed;
            return Err(ErrorKind::WouldBlock.into());
        }
        cable.down.extend(&bytes[..count]);
        self.accepted_bytes.1 += if cable.outgoing { 0 } else { count as u64 };
        Ok(count)
    }

    fn unsent_bytes(&mut self, stream: &mut Stream) -> u32 {
        let cable = &mut self.cables[stream.wire];
        if cable.reset || cable.down.is_empty() {
            return 0;
        }
        cable.writable = Edge::Armed;
        cable.down.len() as u32
    }

    fn shutdown_write(&mut self, stream: &mut Stream) -> io::Result<()> {
        let cable = &mut self.cables[stream.wire];
        cable.down_ended = true;
        match cable.reset {
            true => Err(ErrorKind::NotConnected.into()),
            false => Ok(()),
        }
    }

    fn close_listener(&mut self, listener: ListenerId) {
        self.closed_listeners.insert(listener);
    }

    fn close_listeners(&mut self) {
        self.listeners_open = false;
        while let Some(wire) = self.backlogs.iter_mut().find_map(VecDeque::pop_front) {
            self.cables[wire].reset = true;
            self.cables[wire].closed = true;
        }
    }
}
