//! The order of turns: clients of the chat come first, then HTTP and closing connections, then sources of much work
//! ([`crate::load`]). The first are served as far as the tick has room; the others share a small budget, so that no flood
//! of theirs delays a line of the chat by more than a few milliseconds.

use super::Server;
use crate::connection::State;
use crate::load::Source;
use crate::net::{Net, Token};

/// Work of HTTP, closing and loaded connections in one tick, in the units of [`crate::load`]; one of them is served in any
/// case. It is about half a millisecond.
pub(super) const LATER_WORK: usize = 64 * 1024;

/// The order in which connections are served, those with more urgent input first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Class {
    /// Clients of the chat.
    Chat,
    /// Connections whose requests may each be expensive, and those whose input is thrown away.
    Other,
    /// Sources that have caused much work lately.
    Loaded,
}

/// Connections that are to have a turn, each in the order in which they came.
pub(super) struct Order {
    /// Those served as far as the tick has room.
    pub first: Vec<Token>,
    /// Those served within a budget.
    pub later: Vec<Token>,
}

impl<N: Net> Server<N> {
    /// Divides the connections that are to have a turn by their class.
    pub(super) fn order(&self, tokens: Vec<Token>) -> Order {
        let (first, mut later): (_, Vec<Token>) =
            tokens.into_iter().partition(|token| self.class(*token) == Class::Chat);
        later.sort_by_cached_key(|token| self.class(*token));
        Order { first, later }
    }

    fn class(&self, token: Token) -> Class {
        let Some(connection) = self.roster.get(token) else {
            return Class::Other;
        };
        let loaded = !self.load.is_empty()
            && self.load.is_loaded(Source::of(connection.host(), token.slot), self.now.moment);
        match connection.state() {
            _ if loaded => Class::Loaded,
            State::Queued | State::Naming(_) | State::Active | State::PeerClosed => Class::Chat,
            State::Http { .. }
            | State::Closing(_)
            | State::Draining(_)
            | State::Lingering
            | State::Closed => Class::Other,
        }
    }
}
