//! The loop: [`Server`] owns everything, and [`Server::tick`] is one pass of it.
//!
//! Each phase is a file of its own in `server/`: `turn` reads and decodes, `deliver` and `announce` queue what the chat
//! wants told, `flush` writes, `coalesce` says how much at once, and when it had better wait, `close` reaps, `linger` keeps
//! a closing socket until its peer has the last bytes, `accept` lets in (`places` and `addresses` are its quotas), `link`
//! hears and tells the other processes, and `end` is the end. All of it is generic over the network, so that a test runs
//! all of it.

mod accept;
mod catch_up;
mod close;
mod coalesce;
mod end;
mod fanout;
mod flush;
mod holdings;
mod http;
mod linger;
mod link;
mod naming;
mod order;
mod turn;

use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::arena::Arena;
use crate::backplane::Backplane;
use crate::chat::{Chat, ClientId};
use crate::codec::{Codecs, sse, websocket};
use crate::config::{self, Config};
use crate::connection::{Due, Readiness, State};
use crate::inbox::{Inboxes, Scratch};
use crate::limits::Limits;
use crate::load::Load;
use crate::metrics::Metrics;
use crate::net::{ListenerKind, Net, PollEvent, Signal, Token};
use crate::protocol::{CloseReason, Dialect};
use crate::quota::Quota;
use crate::roster::Roster;
use crate::sparse::Sparse;
use crate::time::{Now, SteadyClock};

use accept::Admission;
use coalesce::Coalescing;
use end::Ending;
use fanout::Fanout;
use linger::Untaken;
use link::RedisLink;

/// The whole server, on the network `N`.
pub struct Server<N: Net> {
    net: N,
    config: Config,
    limits: Limits,
    clock: SteadyClock,
    now: Now,
    /// What the last poll found; kept for its room.
    events: Vec<PollEvent>,
    roster: Roster<N::Stream>,
    admission: Admission,
    fanout: Fanout,
    /// The way to the other processes of the chat, if there are any.
    linked: Option<RedisLink<N::Stream>>,
    codecs: Codecs,
    /// Output that was still retained after the last pass for memory, in bytes.
    relieved_bytes: usize,
    coalescing: Coalescing,
    /// Whether a message was put off until everybody has been written to.
    round_is_full: bool,
    scratch: Scratch,
    inboxes: Inboxes,
    /// The clients and addresses that have caused much work lately.
    load: Load,
    /// Last bytes that closing connections have still to take.
    untaken: Sparse<Untaken>,
    /// The same for all clients of this process, and for no other's.
    process_id: u64,
    metrics: Metrics,
    /// Ticks begun.
    ticks: u64,
    /// Set once the end has begun.
    ending: Option<Ending>,
}

/// Whether there is another tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// There is.
    Continue,
    /// The server has ended.
    Stop,
}

impl<N: Net> Server<N> {
    /// A server with those open listeners on `net`.
    ///
    /// # Errors
    /// A file that `config` names can't be read; the message says which.
    pub fn new(config: Config, net: N, listeners: Vec<ListenerKind>) -> Result<Server<N>, String> {
        let limits = Limits::new(&config);
        let process_id = net.process_id();
        let mut chat = Chat::new(&config, process_id);
        chat.set_motd(config::read_motd(&config)?);
        let codecs = Codecs::new(&config);
        let mut server = Server {
            limits,
            clock: SteadyClock::default(),
            now: Now::default(),
            events: Vec::new(),
            roster: Roster::new(config.most_slots(), limits),
            admission: Admission::new(&config, listeners),
            fanout: Fanout::new(chat),
            linked: None,
            relieved_bytes: 0,
            coalescing: Coalescing::new(*config.coalesce),
            round_is_full: false,
            scratch: Scratch::new(codecs.unused_max_bytes()),
            inboxes: Inboxes::default(),
            load: Load::default(),
            untaken: Sparse::default(),
            codecs,
            process_id,
            metrics: Metrics::default(),
            ticks: 0,
            ending: None,
            net,
            config,
        };
        server.read_clock(None);
        server.link();
        Ok(server)
    }

    /// Makes the chat one of several, if it is to be.
    fn link(&mut self) {
        if let Some(url) = self.config.redis.clone() {
            self.call_chat(|chat, _, _| chat.set_shared());
            let backplane = Backplane::new(&self.config, url, self.process_id, self.now);
            self.linked = Some(RedisLink::new(backplane));
        }
    }

    /// Ticks until it is told to end; calls `ending` once the end begins.
    ///
    /// # Errors
    /// Why it can't go on: the network's error, or that no listener is left.
    pub fn run(&mut self, ending: impl FnOnce()) -> Result<(), String> {
        let mut ending = Some(ending);
        loop {
            let control = self.tick().map_err(|error| format!("the poll loop failed: {error}"))?;
            // The tick in which the end begins may be the last, if nobody is there.
            if self.ending.is_some()
                && let Some(ending) = ending.take()
            {
                ending();
            }
            if control == Control::Stop {
                self.log_what_is_lost();
                return match self.admission.is_broken() {
                    true => Err("no listener is left that can accept connections; see the log".into()),
                    false => Ok(()),
                };
            }
        }
    }

    /// One pass: poll, then the phases in their order.
    ///
    /// # Errors
    /// The network's, when it can't go on.
    pub fn tick(&mut self) -> io::Result<Control> {
        self.ticks += 1;
        self.poll()?;
        let begun_at = self.net.nanos();
        if self.latch() == Control::Stop {
            return Ok(Control::Stop);
        }
        let mut at = self.record_phase(0, begun_at);
        let phases = [
            Self::turns,
            Self::receive_link,
            Self::expire,
            Self::flush_dirty,
            Self::reap,
            Self::accept_all,
            Self::write_link,
        ];
        for (index, phase) in phases.into_iter().enumerate() {
            phase(self);
            self.deliver_batch();
            at = self.record_phase(index + 1, at);
        }
        self.metrics.ticks.record(at.saturating_sub(begun_at));
        if cfg!(debug_assertions) {
            self.assert_invariants();
        }
        Ok(self.control())
    }

    /// Counts a phase that began at `begun_at` and is over now, which is when the next begins.
    fn record_phase(&mut self, index: usize, begun_at: u64) -> u64 {
        let now = self.net.nanos();
        self.metrics.phase_nanos[index] += now.saturating_sub(begun_at);
        now
    }

    /// Sleeps until something happens, unless there is work already, or for as long as a part of a flush is to wait;
    /// then reads the clocks.
    fn poll(&mut self) -> io::Result<()> {
        let rest = self.coalescing.take_wait().filter(|_| !self.has_input()).unwrap_or_default();
        if !rest.is_zero() {
            self.net.sleep(rest);
            self.metrics.coalesced += 1;
        }
        let timeout = self.timeout();
        self.events.clear();
        match self.net.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.read_clock(timeout.map(|timeout| timeout + rest));
        Ok(())
    }

    fn read_clock(&mut self, slept: Option<Duration>) {
        let moment = self.clock.advance(self.net.now(), slept);
        self.now = Now { moment, unix_millis: self.net.unix_millis() };
    }

    /// How long the loop may sleep: not at all with work at hand, for ever without a deadline.
    fn timeout(&mut self) -> Option<Duration> {
        if self.roster.has_work() || self.has_input() {
            return Some(Duration::ZERO);
        }
        let linked = self.linked.as_ref();
        let deadlines = [
            self.roster.next_deadline(),
            self.fanout.chat().next_timeout(),
            self.next_accept(),
            self.admission.addresses().next_timeout(),
            self.load.next_timeout(),
            linked.and_then(RedisLink::next_timeout),
            self.ending.as_ref().map(Ending::next_timeout),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.since(self.now.moment))
    }

    /// Whether there is something to hear already: input that was not used, somebody at a listener, news of Redis.
    fn has_input(&self) -> bool {
        self.roster.has_runnable()
            || self.next_accept().is_some_and(|moment| moment <= self.now.moment)
            || self.linked.as_ref().is_some_and(RedisLink::has_work)
    }

    /// Notes what the poll found. Nothing is run, taken or freed before the whole batch is noted.
    fn latch(&mut self) -> Control {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match *event {
                PollEvent::Listener(listener) => self.admission.set_ready(listener),
                PollEvent::Resolved => self.linked.iter_mut().for_each(RedisLink::record_resolved),
                PollEvent::Connection { token, readable, writable } => {
                    self.record_readiness(token, readable, writable)
                }
                PollEvent::Signal(Signal::Reload) => self.reload(),
                PollEvent::Signal(Signal::Terminate) if self.ending.is_some() => return Control::Stop,
                PollEvent::Signal(Signal::Terminate) => self.begin_to_end(),
            }
        }
        self.events = events;
        Control::Continue
    }

    fn record_readiness(&mut self, token: Token, readable: bool, writable: bool) {
        let Some(connection) = self.roster.get_mut(token) else {
            let linked = self.linked.iter_mut();
            return linked.for_each(|linked| linked.record_readiness(token, readable, writable));
        };
        let ended = connection.ready.contains(Readiness::EOF);
        connection.ready |= Readiness::of(readable && !ended, writable);
        let awaits_writes = !connection.outbox.is_empty() || matches!(connection.state(), State::Draining(_));
        if writable && awaits_writes {
            self.roster.mark_dirty(token.into());
        }
        self.roster.wake(token);
    }

    /// Does what is due.
    fn expire(&mut self) {
        self.say_farewell();
        self.log_refusals();
        self.load.sweep(self.now.moment);
        while let Some(token) = self.roster.next_unthrottled(self.now.moment) {
            self.resume(token);
        }
        self.roster.sweep_full(self.now.moment);
        while let Some(token) = self.roster.next_due(self.now.moment) {
            let due = self.roster.get(token).and_then(|connection| connection.deadline(&self.limits));
            match due {
                Some((_, Due::Close(reason))) => {
                    if reason == CloseReason::RequestTimeout {
                        self.send_timeout_response(token);
                    }
                    self.roster.close(token, reason);
                }
                Some((_, Due::Abort)) => self.give_up(token),
                Some((_, Due::Ping)) => self.ping(token),
                Some((_, Due::Silence)) => self.end_silence(token),
                None => {}
            }
            self.roster.arm(token);
        }
        self.call_chat(|chat, now, effects| chat.handle_timeout(now, effects));
    }

    fn resume(&mut self, token: Token) {
        let now = self.now.moment;
        if let Some(connection) = self.roster.get_mut(token) {
            connection.resume(now);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Asks a client that is silent whether it is there. Who only listens can't answer: for it, the bytes alone must do.
    fn ping(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        match connection.dialect {
            Dialect::Events => {
                connection.input_at = self.now.moment.into();
                self.send_bytes(token, |out| out.extend_from_slice(sse::KEEP_ALIVE));
            }
            _ => {
                connection.pinged = true;
                self.send_bytes(token, websocket::ping);
            }
        }
    }

    fn reload(&mut self) {
        match config::read_motd(&self.config) {
            Ok(lines) => {
                log::info!("reload motd_lines={}", lines.len());
                self.call_chat(|chat, _, _| chat.set_motd(lines));
            }
            Err(error) => log::error!("reload failed, the old message of the day stays error={error:?}"),
        }
    }

    fn assert_invariants(&self) {
        self.roster.assert_invariants();
        self.fanout.arena().assert_invariants();
        self.assert_free_slots_are_forgotten();
        let queued: u64 =
            self.roster.iter().map(|(_, connection)| connection.outbox.queued_bytes() as u64).sum();
        assert_eq!(
            queued,
            self.fanout.arena().held_bytes(),
            "arena count other bytes than the outboxes hold"
        );
        for slot in self.inboxes.slots() {
            let token = self.roster.token(ClientId(slot));
            let state = token.and_then(|token| self.roster.get(token)).map(|connection| connection.state());
            let heard = !matches!(state, None | Some(State::Draining(_) | State::Lingering | State::Closed));
            assert!(heard, "an inbox is kept for nobody: {state:?}");
        }
        let mut taken = [0; Quota::ALL.len()];
        self.roster.iter().for_each(|(_, connection)| taken[connection.claim.quota() as usize] += 1);
        self.admission.assert_invariants(taken, self.roster.len());
        for slot in self.untaken.slots() {
            let token = self.roster.token(ClientId(slot));
            let state = token.and_then(|token| self.roster.get(token)).map(|connection| connection.state());
            let closes = matches!(state, Some(State::Draining(_) | State::Closed));
            assert!(closes, "bytes are counted as untaken for nobody: {state:?}");
        }
        for (token, connection) in self.roster.iter() {
            let catches_up = self.fanout.chat().is_catching_up(token.into());
            let noted = connection.ready.contains(Readiness::CATCHING_UP);
            assert!(noted || !catches_up, "{token:?} waits for the rest of what was said");
        }
        assert!(self.fanout.is_settled(), "a batch, an effect or a requester is left: {:?}", self.fanout);
    }

    /// The network, for the test that looks at it.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// The network, for the test that drives it.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    /// The connections, for tests and statistics.
    pub fn roster(&self) -> &Roster<N::Stream> {
        &self.roster
    }

    /// What came in and was not used, for tests.
    pub fn inboxes(&self) -> &Inboxes {
        &self.inboxes
    }

    /// The chat, for tests and statistics.
    pub fn chat(&self) -> &Chat {
        self.fanout.chat()
    }

    /// The arena, for tests and statistics.
    pub fn arena(&self) -> &Arena {
        self.fanout.arena()
    }

    /// What was done so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Clients that wait for a place.
    pub fn waiting(&self) -> usize {
        self.admission.waiting()
    }
}
