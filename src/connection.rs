//! One client: its socket, what it is to be sent, and where it is in its life.
//!
//! Ten thousand of these are mostly idle, so size counts: it is 64 bytes, and `tests/tidy.rs` sees that
//! it stays so. What an idle one has no use for is no field of it, but in a table of those who
//! have it: what came in and is not used ([`crate::inbox`]), how much it has sent lately ([`crate::rate`]).

mod deadlines;
mod output;
mod quota;

use std::io::{self, ErrorKind};

use bitflags::bitflags;

use crate::codec::websocket::CONTROL_FRAME_MAX_BYTES;
use crate::config::SlowClient;
use crate::host::Host;
use crate::inbox::{READ_BYTES, Scratch};
use crate::limits::Limits;
use crate::net::{ListenerKind, Net};
use crate::outbox::{Outbox, Progress};
use crate::protocol::{CloseReason, Dialect};
use crate::time::{Coarse, Moment};

pub use deadlines::Due;
pub use quota::Quota;

/// Where a connection is in its life. It goes down this list, some steps left out, never up.
// Its tag is read for each delivery. Without this it would be hidden in `Naming`, and cost four instructions more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Speaks HTTP, and is no client of the chat.
    Http {
        /// Whether the listener is on a loopback address, where only this machine's names may be asked for.
        guarded: bool,
    },
    /// Waiting for another client to leave.
    Queued,
    /// Let in, and without a name so far.
    Naming(Naming),
    /// A member of a room.
    Active,
    /// A WebSocket client that has closed, and was answered. The messages it sent before are still dealt with.
    PeerClosed,
    /// To be closed for that reason, at the next reaping. Still in the chat, but says nothing more.
    Closing(CloseReason),
    /// Out of the chat for that reason; what waits and the last words are on their way.
    Draining(CloseReason),
    /// All is sent and our side is shut down; input is thrown away until the peer closes too.
    Lingering,
    /// To be freed at the next reaping.
    Closed,
}

/// Whether a client without a name was asked for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// It was not (`--guests`), and sees nothing of the chat before it has shown that it speaks lines, or is silent.
    Unasked,
    /// It was. Its next line is the answer, whenever it was sent.
    Asked(Silence),
    /// It was asked again, since its name was refused.
    Repeated(Silence),
}

/// Whether it matters that a client is silent. What it sends before the server has replied can't be meant as a reply to
/// that; and a person, or a program that reads, waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// It does not.
    Unneeded,
    /// A line waits: it is an answer only if nothing follows it for a moment.
    PendingRequest,
    /// Nothing has followed.
    Over,
}

bitflags! {
    /// What there is to be had of a connection. Events only ever add [`READABLE`](Readiness::READABLE) and
    /// [`WRITABLE`](Readiness::WRITABLE); only the answer of a call, `WouldBlock` or the end of input, takes them away.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Readiness: u8 {
        /// A read may find something.
        const READABLE = 1;
        /// A write may get something off.
        const WRITABLE = 1 << 1;
        /// A read has found the end.
        const EOF = 1 << 2;
        /// What was read may hold a whole line. Of a line client that waits for a place, which is not decoded: as much is
        /// kept as may be.
        const BUFFERED = 1 << 3;
        /// Input was decoded that has to wait until the client may go on.
        const DECODED = 1 << 4;
        /// As much of that waits as may, so nothing more is read.
        const INPUT_FULL = 1 << 5;
        /// The client has closed its WebSocket, and was answered: it may be sent nothing more.
        const CLOSE_SENT = 1 << 6;
        /// The chat has more to send to it, once it has taken what waits.
        const CATCHING_UP = 1 << 7;
    }

    /// Which of the roster's queues a connection is in; each at most once.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Schedule: u8 {
        /// It has a turn coming.
        const RUNNABLE = 1;
        /// It has something to flush.
        const DIRTY = 1 << 1;
        /// It has said something that waits for slow readers ([`crate::pressure`]).
        const PAUSED = 1 << 2;
        /// It must wait until its allowance lets it go on.
        const THROTTLED = 1 << 3;
        /// It was slowed down lately, and told so.
        const NOTIFIED = 1 << 4;
    }
}

impl Readiness {
    /// What an event says.
    pub fn of(readable: bool, writable: bool) -> Readiness {
        let mut ready = Readiness::empty();
        ready.set(Readiness::READABLE, readable);
        ready.set(Readiness::WRITABLE, writable);
        ready
    }
}

/// Whether a client may be heard, as far as the rate limit goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charge {
    /// It may.
    Allowed,
    /// It must wait.
    Throttled {
        /// Whether it was not slowed down lately, and does not know.
        news: bool,
    },
}

/// The use of a connection's input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intake {
    /// It is not read.
    Nothing,
    /// The control frames of a WebSocket client are answered, its messages wait.
    Control,
    /// Everything is handled.
    All,
}

/// Whether a frame may be left out for a client that reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// It may: somebody said something to a room or to this client.
    Droppable,
    /// It may not: it tells this client about its connection.
    Required,
    /// It may not, and a large one does not count as what waits: it answers a request of this client, which is not read
    /// while too much waits, so there are never many of them.
    Reply,
}

/// What became of a frame for one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is queued.
    Queued,
    /// There is no room for it in the client's write buffer.
    Full,
    /// The client is closing and hears nothing more.
    Closing,
}

/// One client. `S` is its socket.
#[derive(Debug)]
pub struct Connection<S> {
    /// The socket.
    pub stream: S,
    /// Distinguishes it from others that had or will have its slot.
    pub serial: u32,
    /// Where it is in its life.
    pub state: State,
    /// What may be had of its socket, and of what was read of it.
    pub ready: Readiness,
    /// The queues it is in.
    pub schedule: Schedule,
    /// The quota it counts against; only `server/accept.rs` changes it.
    pub quota: Quota,
    /// Whose it is.
    pub host: Host,
    /// What it is to be sent.
    pub outbox: Outbox,
    /// What it speaks.
    pub dialect: Dialect,
    /// Whether it was asked if it is there, and has not answered.
    pub pinged: bool,
    /// When it came.
    pub connected_at: Coarse,
    /// When it was last heard of.
    pub input_at: Coarse,
    /// What the deadline of its present life counts from: the question for the name, the last request, the farewell.
    since: Coarse,
    /// Lines it has sent, modulo 2^32.
    pub lines_in: u32,
}

impl<S> Connection<S> {
    /// A connection that was just accepted at that listener, and counts against the quota of `place`.
    pub fn new(
        stream: S,
        serial: u32,
        host: Host,
        listener: ListenerKind,
        quota: Quota,
        now: Moment,
    ) -> Connection<S> {
        let state = match listener.dialect {
            Dialect::Http => State::Http { guarded: listener.loopback },
            _ => State::Queued,
        };
        Connection {
            stream,
            serial,
            state,
            ready: Readiness::default(),
            schedule: Schedule::default(),
            quota,
            host,
            outbox: Outbox::default(),
            dialect: listener.dialect,
            pinged: false,
            connected_at: now.into(),
            input_at: now.into(),
            since: now.into(),
            lines_in: 0,
        }
    }

    /// Goes on to `life`, whose deadline counts from `now`.
    pub fn set_state(&mut self, state: State, now: Moment) {
        self.state = state;
        self.since = now.into();
    }

    /// It has asked for something: what it may be idle for begins anew.
    pub fn touch(&mut self, now: Moment) {
        if matches!(self.state, State::Active | State::Http { .. }) {
            self.since = now.into();
        }
    }

    /// It has sent some bytes, so it is there.
    fn record_input(&mut self, now: Moment) {
        self.record_alive(now);
        // A line may take its time; a pong is no sign of somebody who is not idle, nor a byte of one who asks for something.
        if self.dialect == Dialect::Line {
            self.touch(now);
        }
    }

    /// Whether it has a place among the clients.
    pub fn is_client(&self) -> bool {
        matches!(self.state, State::Naming(_) | State::Active | State::PeerClosed)
    }

    /// Whether what is said reaches it: until it has left the chat, unless it was given up.
    pub fn hears(&self) -> bool {
        match self.state {
            State::Queued | State::Naming(_) | State::Active => true,
            State::Closing(reason) => reason.receives_until_closed(),
            State::Http { .. }
            | State::PeerClosed
            | State::Draining(_)
            | State::Lingering
            | State::Closed => false,
        }
    }

    /// Whether it has been told good-bye, or is about to be.
    pub fn is_closing(&self) -> bool {
        !self.is_client() && !matches!(self.state, State::Queued | State::Http { .. })
    }

    /// Whether its input is decoded. That of a line client that waits is kept until it is let in.
    pub fn decodes_input(&self) -> bool {
        match self.state {
            State::Queued => self.dialect != Dialect::Line,
            State::Http { .. } | State::Naming(_) | State::Active | State::PeerClosed => true,
            State::Closing(_) | State::Draining(_) | State::Lingering | State::Closed => false,
        }
    }

    /// The use of its input at the moment.
    pub fn intake(&self, limits: &Limits) -> Intake {
        let waits = match self.state {
            State::Queued if self.dialect == Dialect::Line => return Intake::Nothing,
            // One answer at a time: so what waits for it is bounded, whatever it asks for.
            State::Http { .. } => self.is_delayed() || !self.outbox.is_empty(),
            State::Queued | State::Naming(_) | State::Active => {
                self.is_delayed() || self.is_backlogged(limits)
            }
            // It is sent nothing more, so nothing of it needs room.
            State::PeerClosed if self.is_delayed() => return Intake::Nothing,
            State::PeerClosed => false,
            State::Closing(_) | State::Draining(_) | State::Lingering | State::Closed => {
                return Intake::Nothing;
            }
        };
        match waits {
            false => Intake::All,
            true if self.dialect.is_websocket() => Intake::Control,
            true => Intake::Nothing,
        }
    }

    /// Whether it should have a turn: there may be input, and nothing speaks against using it.
    pub fn is_runnable(&self, limits: &Limits) -> bool {
        let has = |any: Readiness| self.ready.intersects(any);
        let (readable, input) = (has(Readiness::READABLE), has(Readiness::READABLE | Readiness::BUFFERED));
        match (self.state, self.intake(limits)) {
            (State::Queued, _) if self.dialect == Dialect::Line => readable && !has(Readiness::BUFFERED),
            (State::Draining(_) | State::Lingering, _) => readable,
            (State::Active, _) if self.may_catch_up() => true,
            (_, Intake::Nothing) => false,
            // It has closed, so what is still to be read says nothing.
            (State::PeerClosed, _) => has(Readiness::DECODED),
            (_, Intake::Control) => input && !has(Readiness::INPUT_FULL),
            (_, Intake::All) => input || has(Readiness::DECODED),
        }
    }

    /// Whether the chat has more to send to it, and nothing waits. The kernel's send buffer keeps its peer busy until then.
    pub fn may_catch_up(&self) -> bool {
        self.ready.contains(Readiness::CATCHING_UP) && self.state == State::Active && self.outbox.is_empty()
    }

    /// Whether a client with an empty outbox has nothing else going on: no input to go on with, no gap to be told of, and
    /// nothing more to catch up with.
    #[inline]
    pub fn is_idle(&self) -> bool {
        let work = Readiness::READABLE | Readiness::BUFFERED | Readiness::DECODED | Readiness::CATCHING_UP;
        self.state == State::Active && !self.ready.intersects(work) && !self.outbox.has_postponed()
    }

    /// Whether a pong can be queued now: the client takes what it is sent, or a pong has been postponed for long.
    pub fn may_pong(&self, limits: &Limits, now: Moment) -> bool {
        let takes = self.ready.contains(Readiness::WRITABLE) && !self.is_backlogged(limits);
        let in_time = takes || self.outbox.is_empty() || self.outbox.is_pong_due(now);
        in_time && !self.overflows(CONTROL_FRAME_MAX_BYTES, Priority::Required, limits)
    }

    /// Whether messages may be left out for it, if it reads slowly. There is no word for that on the raw listener.
    pub fn skips(&self, limits: &Limits) -> bool {
        limits.slow_client == SlowClient::Skip && self.dialect != Dialect::Raw
    }

    /// Whether it must wait before it is read again.
    pub fn is_delayed(&self) -> bool {
        self.is_over_rate() || self.schedule.contains(Schedule::PAUSED)
    }

    /// Whether it must wait for its allowance.
    pub fn is_over_rate(&self) -> bool {
        self.schedule.contains(Schedule::THROTTLED)
    }

    /// Whether so much waits for it that it should read before it asks for more.
    pub fn is_backlogged(&self, limits: &Limits) -> bool {
        self.outbox.cost_bytes() > limits.soft_bytes()
    }

    /// The same, where the peer has not taken it: so it is not read, and may have answered a ping.
    #[inline]
    pub fn is_stalled(&self, limits: &Limits) -> bool {
        self.outbox.progress() != Progress::KeepsUp && self.is_backlogged(limits)
    }

    /// Notes that a message of it was `paid` for out of its allowance, or must wait; and whether it was `rested` before.
    pub fn charge(&mut self, paid: bool, rested: bool) -> Charge {
        if !self.schedule.contains(Schedule::THROTTLED) && rested {
            self.schedule.remove(Schedule::NOTIFIED);
        }
        if paid {
            return Charge::Allowed;
        }
        let news = !self.schedule.intersects(Schedule::NOTIFIED | Schedule::THROTTLED);
        self.schedule.insert(Schedule::THROTTLED);
        Charge::Throttled { news }
    }

    /// The wait for its allowance is over.
    pub fn resume(&mut self, now: Moment) {
        self.schedule.remove(Schedule::THROTTLED);
        self.schedule.insert(Schedule::NOTIFIED);
        self.record_read_again(now);
    }

    /// The wait for slow readers is over.
    pub fn release(&mut self, now: Moment) {
        self.schedule.remove(Schedule::PAUSED);
        self.record_read_again(now);
    }

    /// Nothing was read of it meanwhile, so what it may be silent for begins anew.
    fn record_read_again(&mut self, now: Moment) {
        self.record_alive(now);
        self.touch(now);
    }

    /// It is there, whether or not it has said something.
    pub fn record_alive(&mut self, now: Moment) {
        self.input_at = now.into();
        self.pinged = false;
    }

    /// Reads once into `scratch`. `Ok(0)` when there is nothing more for now, or ever: see [`Readiness`].
    ///
    /// # Errors
    /// `recv(2)`'s that mean the connection is broken.
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
