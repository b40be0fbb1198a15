//! The loop: [`Server`] owns all state, and [`Server::tick`] is one pass of the loop.
//!
//! Polling, latching and timers are here, and each other phase has a file in `server/`:
//!
//! - `turn` reads and decodes input in the `order` of its sources. `naming` finds the names in it, and `echo` hides tokens
//!   that are typed.
//! - `http` answers requests, `authorize` checks their rights, and `proxied` finds the address behind a proxy.
//! - `submit` gives changes of rooms their place, with and without Redis. `questions` lets a request wait for the answers of
//!   other processes, and `link` is the link to Redis.
//! - `moderation` carries out actions of moderators on connections, and saves the state file.
//! - `fanout` queues the output of the chat, and `catch_up` the messages that a client has missed.
//! - `flush` writes, and `coalesce` decides how many outboxes at a time.
//! - `close` closes connections, and `linger` keeps their sockets until the kernel has sent the last bytes.
//! - `accept` admits connections, `refuse` turns others away, `reload` reads the configuration again, and `end` stops the server.
//! - `holdings` lists all tables for the tests.
//!
//! All of it is generic over the network, so that tests run it on a virtual one.

mod accept;
mod authorize;
mod catch_up;
mod close;
mod coalesce;
mod echo;
mod end;
mod fanout;
mod flush;
mod holdings;
mod http;
mod linger;
mod link;
mod moderation;
mod naming;
mod order;
mod proxied;
mod questions;
mod refuse;
mod reload;
mod submit;
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
use crate::state::{OsDisk, StateFile};
use crate::time::{Now, SteadyClock};

use accept::Admission;
use coalesce::Coalescing;
use echo::TerminalEcho;
use end::Ending;
use fanout::Fanout;
use linger::Unsent;
use link::RedisLink;

/// The server, on the network `N`.
pub struct Server<N: Net> {
    net: N,
    config: Config,
    limits: Limits,
    clock: SteadyClock,
    now: Now,
    /// The events of the last poll. The buffer is used again.
    events: Vec<PollEvent>,
    roster: Roster<N::Stream>,
    admission: Admission,
    fanout: Fanout,
    /// The link to the other processes of the chat, if it is shared.
    link: Option<RedisLink<N::Stream>>,
    codecs: Codecs,
    /// Output that was still retained after the last pass for memory, in bytes.
    relieved_bytes: usize,
    coalescing: Coalescing,
    /// Whether a message waits for the next round, since this one has no room for it.
    is_round_full: bool,
    scratch: Scratch,
    inboxes: Inboxes,
    load: Load,
    /// Last bytes that the kernel has not sent to the peers of closing connections.
    unsent: Sparse<Unsent>,
    /// The echoes of telnet clients that are asked for a token.
    echoes: Sparse<TerminalEcho>,
    /// A random number that distinguishes this process from the others.
    process_id: u64,
    metrics: Metrics,
    /// The number of ticks that have begun.
    ticks: u64,
    /// The file of `--state`.
    state_file: Option<StateFile>,
    /// The error of the last save, until the client whose request needed it gets it.
    save_error: Option<String>,
    /// The shutdown, once it has begun.
    ending: Option<Ending>,
}

/// Opens the file of `--state`, and gives the chat what is in it.
///
/// # Errors
/// The file is damaged or can't be used.
fn open_state(config: &Config, chat: &mut Chat) -> Result<Option<StateFile>, String> {
    let Some(path) = &config.state else {
        return Ok(None);
    };
    let (file, saved) = StateFile::open(path, OsDisk)?;
    chat.restore(saved);
    Ok(Some(file))
}

/// Whether the loop goes on after a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Continue,
    Stop,
}

impl<N: Net> Server<N> {
    /// A server with these open listeners on `net`.
    ///
    /// # Errors
    /// A file that `config` names can't be read. The message has its name.
    pub fn new(config: Config, net: N, listeners: Vec<ListenerKind>) -> Result<Server<N>, String> {
        let limits = Limits::new(&config);
        let process_id = net.process_id();
        let mut chat = Chat::new(&config, process_id);
        chat.set_motd(config::read_motd(&config)?);
        chat.set_jwt_key(config::read_jwt_key(&config)?);
        let state_file = open_state(&config, &mut chat)?;
        let codecs = Codecs::new(&config);
        let mut server = Server {
            limits,
            clock: SteadyClock::default(),
            now: Now::default(),
            events: Vec::new(),
            roster: Roster::new(config.most_slots(), limits),
            admission: Admission::new(&config, listeners),
            fanout: Fanout::new(chat),
            link: None,
            relieved_bytes: 0,
            coalescing: Coalescing::new(*config.coalesce),
            is_round_full: false,
            scratch: Scratch::new(codecs.unused_max_bytes()),
            inboxes: Inboxes::default(),
            load: Load::default(),
            unsent: Sparse::default(),
            echoes: Sparse::default(),
            codecs,
            process_id,
            metrics: Metrics::default(),
            ticks: 0,
            state_file,
            save_error: None,
            ending: None,
            net,
            config,
        };
        server.read_clock(None);
        server.link();
        Ok(server)
    }

    /// Shares the chat with other processes, if there is a Redis for it (`--redis`).
    fn link(&mut self) {
        if let Some(url) = self.config.redis.clone() {
            let backplane = Backplane::new(&self.config, url, self.process_id, self.now);
            self.link = Some(RedisLink::new(backplane));
        }
    }

    /// Ticks until the server has ended. Calls `ending` when the shutdown begins.
    ///
    /// # Errors
    /// The poll failed, or no listener is left.
    pub fn run(&mut self, ending: impl FnOnce()) -> Result<(), String> {
        let mut ending = Some(ending);
        loop {
            let control = self.tick().map_err(|error| format!("the poll loop failed: {error}"))?;
            // Without connections the tick in which the shutdown begins is the last.
            if self.ending.is_some()
                && let Some(ending) = ending.take()
            {
                ending();
            }
            if control == Control::Stop {
                self.log_unconfirmed();
                return match self.admission.is_broken() {
                    true => Err("no listener is left that can accept connections; see the log".into()),
                    false => Ok(()),
                };
            }
        }
    }

    /// One pass of the loop: a poll, and then the phases in their order.
    ///
    /// # Errors
    /// The poll failed.
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

    /// Counts the time of a phase that began at `begun_at`. Returns its end, which is the beginning of the next.
    fn record_phase(&mut self, index: usize, begun_at: u64) -> u64 {
        let now = self.net.nanos();
        self.metrics.phase_nanos[index] += now.saturating_sub(begun_at);
        now
    }

    /// Sleeps until an event or deadline, but not while there is work. Before the poll it sleeps for the batching delay, if one
    /// is due. Afterwards it reads the clocks.
    fn poll(&mut self) -> io::Result<()> {
        let delay = self.coalescing.take_delay().filter(|_| !self.has_input()).unwrap_or_default();
        if !delay.is_zero() {
            self.net.sleep(delay);
            self.metrics.coalesced += 1;
        }
        let timeout = self.timeout();
        self.events.clear();
        match self.net.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.read_clock(timeout.map(|timeout| timeout + delay));
        Ok(())
    }

    fn read_clock(&mut self, slept: Option<Duration>) {
        let moment = self.clock.advance(self.net.now(), slept);
        self.now = Now { moment, unix_millis: self.net.unix_millis() };
    }

    /// The longest sleep of the loop: zero while there is work, and `None` (no limit) without a deadline.
    fn timeout(&mut self) -> Option<Duration> {
        if self.roster.has_work() || self.has_input() {
            return Some(Duration::ZERO);
        }
        let link = self.link.as_ref();
        let deadlines = [
            self.roster.next_deadline(),
            self.fanout.chat().next_timeout(),
            self.next_accept(),
            self.admission.addresses().next_timeout(),
            self.load.next_timeout(),
            link.and_then(|link| link.backplane.next_timeout()),
            self.ending.as_ref().map(Ending::next_timeout),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.since(self.now.moment))
    }

    /// Whether there is input already: of a connection, at a listener, or of Redis.
    fn has_input(&self) -> bool {
        self.roster.has_runnable()
            || self.next_accept().is_some_and(|moment| moment <= self.now.moment)
            || self.link.as_ref().is_some_and(RedisLink::has_work)
    }

    /// Records the events of the poll. No connection has a turn or is freed before all events are recorded.
    fn latch(&mut self) -> Control {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match *event {
                PollEvent::Listener(listener) => self.admission.set_ready(listener),
                PollEvent::Resolved => self.link.iter_mut().for_each(RedisLink::record_resolved),
                PollEvent::Connection { token, readable, writable } => {
                    self.record_readiness(token, readable, writable)
                }
                PollEvent::Signal(Signal::Reload) => self.reload(),
                PollEvent::Signal(Signal::Terminate) if self.ending.is_some() => return Control::Stop,
                PollEvent::Signal(Signal::Terminate) => self.begin_shutdown(),
            }
        }
        self.events = events;
        Control::Continue
    }

    fn record_readiness(&mut self, token: Token, readable: bool, writable: bool) {
        let Some(connection) = self.roster.get_mut(token) else {
            // It is a socket of the link, or the connection was freed after the event.
            let link = self.link.iter_mut();
            return link.for_each(|link| link.record_readiness(token, readable, writable));
        };
        let ended = connection.ready.contains(Readiness::EOF);
        connection.ready |= Readiness::of(readable && !ended, writable);
        let has_output = !connection.outbox.is_empty() || matches!(connection.state(), State::Draining(_));
        if writable && has_output {
            self.roster.mark_dirty(token.into());
        }
        self.roster.wake(token);
    }

    /// Handles deadlines and timeouts that are due.
    fn expire(&mut self) {
        self.close_staying();
        self.log_refusals();
        self.load.sweep(self.now.moment);
        while let Some(token) = self.roster.next_unthrottled(self.now.moment) {
            self.resume(token);
        }
        self.roster.sweep_full(self.now.moment);
        while let Some((token, due)) = self.roster.next_due(self.now.moment) {
            match due {
                Due::Close(reason) => {
                    if reason == CloseReason::RequestTimeout {
                        self.send_timeout_response(token);
                    }
                    if reason == CloseReason::NoProxyHeader
                        && let Some(proxy) = self.admission.proxy_of(token)
                    {
                        self.log_bad_header(token, proxy, "timeout");
                    }
                    self.roster.close(token, reason);
                }
                Due::Abort => self.end_drain(token),
                Due::Ping => self.ping(token),
                Due::Silence => self.end_silence(token),
            }
            self.roster.arm(token);
        }
        self.call_chat(|chat, now, effects| chat.handle_timeout(now, effects));
    }

    /// Ends the wait of a throttled client.
    fn resume(&mut self, token: Token) {
        let now = self.now.moment;
        if let Some(connection) = self.roster.live_mut(token) {
            connection.resume(now);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Sends a ping to a silent client. A client of an event stream can't answer, so it is sent a comment, and a write error
    /// shows that it is gone.
    fn ping(&mut self, token: Token) {
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        match connection.dialect {
            Dialect::Events => {
                connection.input_at = self.now.moment.into();
                self.send_bytes(token, |out| out.extend_from_slice(sse::KEEP_ALIVE));
            }
            Dialect::Json | Dialect::Raw => {
                connection.pinged = true;
                self.send_bytes(token, websocket::ping);
            }
            Dialect::Line | Dialect::Http => debug_assert!(false, "these dialects have no ping"),
        }
    }

    fn assert_invariants(&self) {
        self.roster.assert_invariants();
        self.fanout.arena().assert_invariants();
        self.assert_tables_have_no_free_slot();
        let queued: u64 =
            self.roster.iter().map(|(_, connection)| connection.outbox.queued_bytes() as u64).sum();
        assert_eq!(queued, self.fanout.arena().held_bytes(), "counts of the arena and outboxes differ");
        let state_in = |slot| {
            let token = self.roster.token(ClientId(slot));
            token.and_then(|token| self.roster.get(token)).map(|connection| connection.state())
        };
        for slot in self.inboxes.slots() {
            let state = state_in(slot);
            let is_read =
                !matches!(state, None | Some(State::Draining(_) | State::Lingering | State::Closed));
            assert!(is_read, "the inbox in slot {slot} is not used: {state:?}");
        }
        let mut taken = [0; Quota::ALL.len()];
        self.roster.iter().for_each(|(_, connection)| taken[connection.claim.quota() as usize] += 1);
        self.admission.assert_invariants(taken, self.roster.len());
        for slot in self.unsent.slots() {
            let state = state_in(slot);
            let is_closing = matches!(state, Some(State::Draining(_) | State::Closed));
            assert!(is_closing, "slot {slot} has unsent last bytes and is {state:?}");
        }
        for (token, connection) in self.roster.iter() {
            let catches_up = self.fanout.chat().is_catching_up(token.into());
            let is_recorded = connection.ready.contains(Readiness::CATCHING_UP);
            assert!(is_recorded || !catches_up, "{token:?} catches up with messages and has no turn");
        }
        assert!(self.fanout.is_settled(), "a batch, an effect or a requester is left: {:?}", self.fanout);
    }

    /// The network, for tests.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// The network, for tests.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    /// The connections, for tests and statistics.
    pub fn roster(&self) -> &Roster<N::Stream> {
        &self.roster
    }

    /// Unused input, for tests.
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

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The number of clients in the queue.
    pub fn waiting(&self) -> usize {
        self.admission.waiting()
    }
}
