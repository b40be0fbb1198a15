//! One connection: its socket, its outbox, and its state.
//!
//! Most of ten thousand connections are idle, so one takes 64 bytes, which `tests/tidy.rs` checks. Data that an idle
//! connection does not need is in tables: unused input ([`crate::inbox`]), and token buckets ([`crate::rate`]).

mod deadlines;
mod output;
mod state;

use std::io::{self, ErrorKind};

use bitflags::bitflags;

use crate::codec::websocket::CONTROL_FRAME_MAX_BYTES;
use crate::config::SlowClient;
use crate::host::Host;
use crate::inbox::{READ_BYTES, Scratch};
use crate::limits::Limits;
use crate::net::{ListenerKind, Net};
use crate::outbox::{Outbox, Progress};
use crate::protocol::Dialect;
use crate::quota::{Claim, Quota};
use crate::time::{Coarse, Moment};

pub use deadlines::Due;
pub use state::{InputUse, Naming, Silence, State, StateRules, Timeout};

bitflags! {
    /// I/O readiness (edge-triggered), and the state of input. Poll events only add [`READABLE`](Readiness::READABLE) and
    /// [`WRITABLE`](Readiness::WRITABLE). Only the result of a call, `WouldBlock` or the end of input, removes them.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Readiness: u8 {
        /// A read may find input.
        const READABLE = 1;
        /// A write may send output.
        const WRITABLE = 1 << 1;
        /// A read has found the end of input.
        const EOF = 1 << 2;
        /// Input that was read may contain a whole line. For a line client in the queue, whose input is not decoded, the
        /// inbox is full.
        const BUFFERED = 1 << 3;
        /// Input was decoded that is handled later, since the client must wait.
        const DECODED = 1 << 4;
        /// Waiting input has reached its limit, so no more is read.
        const INPUT_FULL = 1 << 5;
        /// A close frame was sent to the client, and nothing may follow it.
        const CLOSE_SENT = 1 << 6;
        /// The chat has more to send to the client once its outbox is empty.
        const CATCHING_UP = 1 << 7;
    }

    /// The queues of the roster that a connection is in, each at most once, and why it waits.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Schedule: u8 {
        /// A turn is due.
        const RUNNABLE = 1;
        /// A flush is due.
        const DIRTY = 1 << 1;
        /// A message of the client waits for slow readers ([`crate::pressure`]).
        const PAUSED = 1 << 2;
        /// The client waits for its rate.
        const THROTTLED = 1 << 3;
        /// The client was throttled lately, and was sent a notice of it.
        const NOTIFIED = 1 << 4;
        /// A request of the client waits for an answer of Redis.
        const AWAITS_REDIS = 1 << 5;
    }
}

impl Readiness {
    /// The readiness of a poll event.
    pub fn of(readable: bool, writable: bool) -> Readiness {
        let mut ready = Readiness::empty();
        ready.set(Readiness::READABLE, readable);
        ready.set(Readiness::WRITABLE, writable);
        ready
    }
}

/// The decision on a request, by its client's rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charge {
    /// It may be handled.
    Allowed,
    /// It must wait.
    Throttled {
        /// Whether the client is to be sent a notice, since it was sent none lately.
        is_new: bool,
    },
}

/// The use of a connection's input at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intake {
    /// No input is handled.
    Nothing,
    /// Control frames of a WebSocket client are answered, and its messages wait.
    Control,
    All,
}

/// Whether a frame may be left out for a client that reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// It may, since it is a message of another client.
    Droppable,
    /// It may not, since it is about the client or its connection.
    Required,
    /// It may not, and a large one is not counted as backlog. It answers a request of this client, which is not read while
    /// its backlog is too large, so there are never many replies.
    Reply,
}

/// The outcome of queueing a frame for one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    Queued,
    /// The client's write buffer has no room for it.
    Full,
    /// The client is closing and receives nothing more.
    Closing,
}

/// One connection. `S` is its socket.
#[derive(Debug)]
pub struct Connection<S> {
    pub stream: S,
    /// Distinguishes the connection from earlier and later ones in its slot.
    pub serial: u32,
    state: State,
    pub ready: Readiness,
    pub schedule: Schedule,
    /// The counts that the connection is part of; only `server/accept.rs` changes it.
    pub claim: Claim,
    pub outbox: Outbox,
    pub dialect: Dialect,
    /// Whether a ping was sent, and no input has come since.
    pub pinged: bool,
    pub connected_at: Coarse,
    /// The time of the last input, or of anything else that shows the peer is there.
    pub input_at: Coarse,
    /// The time that the deadline of the present state counts from.
    since: Coarse,
    /// Lines that the client has sent, modulo 2^32.
    pub lines_in: u32,
}

impl<S> Connection<S> {
    /// A connection that a listener has just accepted.
    pub fn new(stream: S, serial: u32, claim: Claim, listener: ListenerKind, now: Moment) -> Connection<S> {
        let state = match (listener.dialect, claim.quota()) {
            (Dialect::Http, _) => State::Http { guarded: listener.loopback },
            (_, Quota::Http) => State::ProxyHeader,
            _ => State::Queued,
        };
        Connection {
            stream,
            serial,
            state,
            ready: Readiness::default(),
            schedule: Schedule::default(),
            claim,
            outbox: Outbox::default(),
            dialect: listener.dialect,
            pinged: false,
            connected_at: now.into(),
            input_at: now.into(),
            since: now.into(),
            lines_in: 0,
        }
    }

    /// The address that the connection is counted by.
    pub fn host(&self) -> Host {
        self.claim.host()
    }

    /// The time of the last request of an active client, or of its entry. A pong is no request.
    pub fn last_request_at(&self) -> Moment {
        self.since.into()
    }

    /// Records a request, from which on the idle time counts.
    pub fn touch(&mut self, now: Moment) {
        if matches!(self.state, State::Active | State::Http { .. }) {
            self.since = now.into();
        }
    }

    /// Records that some bytes came.
    fn record_input(&mut self, now: Moment) {
        self.record_alive(now);
        // A part of a line counts as activity. A pong does not, nor does a byte of an HTTP request.
        if self.dialect == Dialect::Line {
            self.touch(now);
        }
    }

    /// Whether the connection is sent messages and events.
    #[inline]
    pub fn receives(&self) -> bool {
        self.rules().receives
    }

    /// Whether the connection was sent the reason of its end, or is about to be.
    pub fn is_closing(&self) -> bool {
        self.rules().is_closing
    }

    /// The use of decoded input at the moment.
    pub fn intake(&self, limits: &Limits) -> Intake {
        let waits = match (self.rules().input, self.state) {
            (InputUse::Unread | InputUse::Kept | InputUse::Discarded, _) => return Intake::Nothing,
            // One reply at a time bounds the queued output.
            (InputUse::Decoded, State::Http { .. }) => self.is_delayed() || !self.outbox.is_empty(),
            // The client is sent nothing more, so nothing needs room.
            (InputUse::Decoded, State::PeerClosed) if self.is_delayed() => return Intake::Nothing,
            (InputUse::Decoded, State::PeerClosed) => false,
            (InputUse::Decoded, _) => self.is_delayed() || self.is_backlogged(limits),
        };
        match waits {
            false => Intake::All,
            true if self.dialect.is_websocket() => Intake::Control,
            true => Intake::Nothing,
        }
    }

    /// Whether a turn is due: there may be input, and it can be used.
    pub fn is_runnable(&self, limits: &Limits) -> bool {
        let has = |any: Readiness| self.ready.intersects(any);
        let (readable, input) = (has(Readiness::READABLE), has(Readiness::READABLE | Readiness::BUFFERED));
        match self.rules().input {
            InputUse::Unread => false,
            InputUse::Kept => readable && !has(Readiness::BUFFERED),
            InputUse::Discarded => readable,
            InputUse::Decoded if self.may_catch_up() => true,
            InputUse::Decoded => match self.intake(limits) {
                Intake::Nothing => false,
                // The peer has sent a close frame, so what is not decoded yet is ignored.
                _ if self.state == State::PeerClosed => has(Readiness::DECODED),
                Intake::Control => input && !has(Readiness::INPUT_FULL),
                Intake::All => input || has(Readiness::DECODED),
            },
        }
    }

    /// Whether the client has asked for what it has missed, and is not sent all of it yet. Its next request may depend on that.
    /// An SSE client has no requests.
    fn is_returning(&self) -> bool {
        let is_catching_up = self.ready.contains(Readiness::CATCHING_UP) && self.state == State::Active;
        is_catching_up && self.dialect.is_websocket()
    }

    /// Whether the chat has more to send to the client, and its outbox is empty. The kernel's send buffer keeps its peer
    /// busy until then.
    pub fn may_catch_up(&self) -> bool {
        self.ready.contains(Readiness::CATCHING_UP) && self.state == State::Active && self.outbox.is_empty()
    }

    /// Whether a client with an empty outbox has nothing else to do. It has no input to use, no postponed output, and nothing
    /// more to catch up with.
    #[inline]
    pub fn is_idle(&self) -> bool {
        let work = Readiness::READABLE | Readiness::BUFFERED | Readiness::DECODED | Readiness::CATCHING_UP;
        self.state == State::Active && !self.ready.intersects(work) && !self.outbox.has_postponed()
    }

    /// Whether a pong can be queued now: the client reads its output, or a pong has been postponed for long.
    pub fn may_pong(&self, limits: &Limits, now: Moment) -> bool {
        let takes = self.ready.contains(Readiness::WRITABLE) && !self.is_backlogged(limits);
        let in_time = takes || self.outbox.is_empty() || self.outbox.is_pong_due(now);
        in_time && !self.overflows(CONTROL_FRAME_MAX_BYTES, Priority::Required, limits)
    }

    /// Whether messages may be left out for the client if it reads slowly. A raw client could not be sent their number.
    pub fn skips(&self, limits: &Limits) -> bool {
        limits.slow_client == SlowClient::Skip && self.dialect != Dialect::Raw
    }

    /// Whether the client must wait before its next message is handled.
    pub fn is_delayed(&self) -> bool {
        self.is_throttled()
            || self.schedule.intersects(Schedule::PAUSED | Schedule::AWAITS_REDIS)
            || self.is_returning()
    }

    /// Whether the client must wait for its rate.
    pub fn is_throttled(&self) -> bool {
        self.schedule.contains(Schedule::THROTTLED)
    }

    /// Whether the client should read its output before more of its requests are handled.
    pub fn is_backlogged(&self, limits: &Limits) -> bool {
        self.outbox.cost_bytes() > limits.soft_bytes()
    }

    /// Whether the client is backlogged and a write has ended blocked. It is not read then, so it may have answered a ping.
    #[inline]
    pub fn is_stalled(&self, limits: &Limits) -> bool {
        self.outbox.progress() != Progress::KeepsUp && self.is_backlogged(limits)
    }

    /// Records whether a request is within the client's rates. If its buckets were full before, the client is sent a notice of
    /// its next wait.
    pub fn charge(&mut self, is_within: bool, was_full: bool) -> Charge {
        if !self.schedule.contains(Schedule::THROTTLED) && was_full {
            self.schedule.remove(Schedule::NOTIFIED);
        }
        if is_within {
            return Charge::Allowed;
        }
        let is_new = !self.schedule.intersects(Schedule::NOTIFIED | Schedule::THROTTLED);
        self.schedule.insert(Schedule::THROTTLED);
        Charge::Throttled { is_new }
    }

    /// Ends the wait for the client's rate.
    pub fn resume(&mut self, now: Moment) {
        self.schedule.remove(Schedule::THROTTLED);
        self.record_read_again(now);
    }

    /// Ends the wait for slow readers.
    pub fn end_pause(&mut self, now: Moment) {
        self.schedule.remove(Schedule::PAUSED);
        self.record_read_again(now);
    }

    /// Restarts the deadlines after a time without reads.
    fn record_read_again(&mut self, now: Moment) {
        self.record_alive(now);
        self.touch(now);
    }

    /// Records that the peer is there.
    pub fn record_alive(&mut self, now: Moment) {
        self.input_at = now.into();
        self.pinged = false;
    }

    /// Reads once into `scratch`. `Ok(0)` means no more input for now, or the end of input: see [`Readiness`].
    ///
    /// # Errors
    /// Those of `recv(2)` that mean the connection is broken.
    pub fn read<N: Net<Stream = S>>(
        &mut self,
        net: &mut N,
        scratch: &mut Scratch,
        most: usize,
        now: Moment,
    ) -> io::Result<usize> {
        loop {
            match scratch.fill(most.min(READ_BYTES), |buffer| net.read(&mut self.stream, buffer)) {
                Ok(0) => {
                    self.ready.remove(Readiness::READABLE);
                    self.ready.insert(Readiness::EOF);
                    return Ok(0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready.remove(Readiness::READABLE);
                    return Ok(0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(count) => {
                    self.record_input(now);
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
