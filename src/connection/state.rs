//! The states of a connection, and one table of their rules.

use super::Connection;
use crate::protocol::{CloseReason, Dialect};
use crate::quota::Quota;
use crate::time::Moment;

/// The state of a connection. Its states follow each other in this order, and some may be left out.
// The tag is read for each delivery. Without `repr` it would be hidden in `Naming`, and cost four instructions more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// The connection speaks HTTP, and is no client of the chat.
    Http {
        /// Whether the listener is on a loopback address, which serves only host names of this machine.
        guarded: bool,
    },
    /// A trusted proxy has opened the connection, and has not sent the header of the PROXY protocol yet.
    ProxyHeader,
    /// The client waits until another one leaves.
    Queued,
    /// The client was admitted, and has no name yet.
    Naming(Naming),
    /// The client has entered the chat.
    Active,
    /// A WebSocket client has sent a close frame, and was answered. Messages that it sent before are still handled. It may not
    /// have entered the chat yet, since that waits for Redis.
    PeerClosed,
    /// The connection is closed for that reason at the next reaping. It is still in the chat, and its input is ignored.
    Closing(CloseReason),
    /// The client has left the chat, and is sent its queued output and the reason.
    Draining(CloseReason),
    /// All was sent and our side is shut down. Input is discarded until the peer closes too.
    Lingering,
    /// The connection is freed at the next reaping.
    Closed,
}

/// The progress of a client towards a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// The client was not asked for a name (`--guests`). It enters once it has shown that it speaks lines, or is silent.
    Unasked,
    /// The client was asked for its name. Its next line is the answer, whenever it was sent.
    Asked(Silence),
    /// The client was asked again, since its name was refused.
    Repeated(Silence),
}

/// The use of a client's silence. Input that was sent before a reply can't be an answer to it. A person, or a program that
/// reads, waits for the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// Silence makes no difference.
    Unneeded,
    /// A line is pending. It is an answer only if no input follows it for a moment.
    Awaited,
    /// No input has followed the line.
    Over,
}

/// The use of input in a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputUse {
    /// It is not read.
    Unread,
    /// It is read and kept until the client is admitted, up to a bound.
    Kept,
    /// It is decoded, while nothing else makes the client wait ([`Connection::intake`]).
    Decoded,
    /// It is read and not used.
    Discarded,
}

/// The deadline of a state; [`Connection::deadline`] has the times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// The state has none of its own.
    None,
    /// The header of the PROXY protocol is complete by then.
    ProxyHeader,
    /// The next HTTP request has begun by then, or is complete.
    Request,
    /// The client has a name by then.
    Name,
    /// The client has sent something by then.
    Idle,
    /// The peer has taken its last bytes by then.
    Drain,
    /// The peer has closed by then.
    Linger,
}

/// A row of the table of states.
#[derive(Clone, Copy, Debug)]
pub struct StateRules {
    pub input: InputUse,
    /// Whether the client is sent messages of others and events.
    pub receives: bool,
    pub is_closing: bool,
    pub timeout: Timeout,
    /// The quotas that may count a connection in this state.
    pub quotas: &'static [Quota],
    /// The position in the order of states.
    rank: u8,
}

impl State {
    /// The rules for a connection in this state that speaks `dialect`.
    #[inline]
    pub const fn rules(self, dialect: Dialect) -> StateRules {
        use InputUse::{Decoded, Discarded, Kept, Unread};
        const CLOSING: &[Quota] = &[Quota::Closing, Quota::Refused];
        let (rank, input, receives, timeout, quotas): (_, _, _, _, &'static [Quota]) = match self {
            State::Http { .. } => (0, Decoded, false, Timeout::Request, &[Quota::Http]),
            State::ProxyHeader => (0, Decoded, false, Timeout::ProxyHeader, &[Quota::Http]),
            // The first line of a line client may be its name, so it is decoded after the question for it.
            State::Queued if matches!(dialect, Dialect::Line) => {
                (1, Kept, true, Timeout::None, &[Quota::Queue])
            }
            State::Queued => (1, Decoded, true, Timeout::None, &[Quota::Queue]),
            State::Naming(_) => (2, Decoded, true, Timeout::Name, &[Quota::Client]),
            State::Active => (3, Decoded, true, Timeout::Idle, &[Quota::Client]),
            State::PeerClosed => (4, Decoded, false, Timeout::None, &[Quota::Client]),
            State::Closing(reason) => (5, Unread, reason.receives_until_closed(), Timeout::None, &Quota::ALL),
            State::Draining(_) => (6, Discarded, false, Timeout::Drain, CLOSING),
            State::Lingering => (7, Discarded, false, Timeout::Linger, CLOSING),
            State::Closed => (8, Unread, false, Timeout::None, CLOSING),
        };
        StateRules { input, receives, is_closing: rank >= 5, timeout, quotas, rank }
    }
}

impl<S> Connection<S> {
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// The rules for the connection in its present state.
    #[inline]
    pub fn rules(&self) -> StateRules {
        self.state.rules(self.dialect)
    }

    /// Changes the state, and starts its deadline at `now`.
    pub fn start_state(&mut self, state: State, now: Moment) {
        self.set_state(state);
        self.since = now.into();
    }

    /// Changes the state, and nothing else. This is the only place that does.
    ///
    /// # Panics
    /// In debug builds, if the state comes before the present one in the order of states, or its quota is another than the
    /// connection's.
    pub fn set_state(&mut self, state: State) {
        let (before, after) = (self.rules(), state.rules(self.dialect));
        debug_assert!(before.rank <= after.rank, "{state:?} after {:?}", self.state);
        self.state = state;
        debug_assert!(self.has_its_quota(), "{state:?} in the quota {:?}", self.claim.quota());
    }

    /// Whether the quota of the connection is one of its state.
    pub fn has_its_quota(&self) -> bool {
        self.rules().quotas.contains(&self.claim.quota())
    }
}
