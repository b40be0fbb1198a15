//! The order of turns: clients of the chat come first, then HTTP and closing connections, then sources of much work
//! ([`crate::load`]). The first are served while the tick has room. The others share a small budget, so their floods delay a
//! line of the chat by a few milliseconds at most.

use super::Server;
use crate::connection::State;
use crate::load::Source;
use crate::net::{Net, Token};

/// Work of HTTP, closing and loaded connections in one tick, in the units of [`crate::load`]. It is about half a
/// millisecond, and at least one of them is served.
pub(super) const LATER_WORK: usize = 64 * 1024;

/// The class of a connection. Its order is that of the turns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Class {
    /// A client of the chat.
    Chat,
    /// A connection whose requests may be expensive, or whose input is discarded.
    Other,
    /// A connection of a source that has caused much work lately.
    Loaded,
}

/// The order of turns in one tick.
pub(super) struct TurnOrder {
    /// Connections that are served while the tick has room.
    pub first: Vec<Token>,
    /// Connections that are served within [`LATER_WORK`].
    pub later: Vec<Token>,
}

impl<N: Net> Server<N> {
    /// Divides connections by their class. Those of one class keep their order.
    pub(super) fn order(&self, tokens: Vec<Token>) -> TurnOrder {
        let (first, mut later): (_, Vec<Token>) =
            tokens.into_iter().partition(|token| self.class(*token) == Class::Chat);
        later.sort_by_cached_key(|token| self.class(*token));
        TurnOrder { first, later }
    }

    fn class(&self, token: Token) -> Class {
        let Some(connection) = self.roster.get(token) else {
            // It was freed after its turn was queued.
            return Class::Other;
        };
        let loaded = !self.load.is_empty()
            && self.load.is_loaded(Source::of(connection.host(), token.slot), self.now.moment);
        match connection.state() {
            _ if loaded => Class::Loaded,
            State::Queued | State::Naming(_) | State::Active | State::PeerClosed => Class::Chat,
            State::Http { .. }
            | State::ProxyHeader
            | State::Closing(_)
            | State::Draining(_)
            | State::Lingering
            | State::Closed => Class::Other,
        }
    }
}
