//! The echo of telnet clients. A token must not be shown while it is typed. So the server offers to echo the input, and does not
//! (RFC 857). A client is taken for telnet if its line ended with CR, as RFC 854 demands; `nc` sends LF alone, and would print the
//! command.

use super::Server;
use crate::chat::ClientId;
use crate::codec::telnet;
use crate::net::{Net, Token};

/// The echo of a telnet client that has given the name of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TerminalEcho {
    /// The client shows what is typed.
    Local,
    /// The client was asked for its token, and shows nothing.
    Off,
}

impl<N: Net> Server<N> {
    /// Records that a client that is about to be asked for its token speaks telnet, by the line of so many
    /// `bytes` that is next.
    pub(super) fn record_telnet(&mut self, token: Token, bytes: usize) {
        if self.scratch.unused()[..bytes].contains(&b'\r') {
            self.echoes.insert(token.slot, TerminalEcho::Local);
        }
    }

    /// Switches the echo of a client off that was asked for its token.
    pub(super) fn stop_echo(&mut self, id: ClientId) {
        if let Some(token) = self.roster.live_token(id)
            && self.echoes.get(token.slot).is_some()
        {
            self.echoes.insert(token.slot, TerminalEcho::Off);
            self.send_bytes(token, |out| out.extend_from_slice(&telnet::WILL_ECHO));
        }
    }

    /// Switches the echo of a client on again that has answered.
    pub(super) fn restore_echo(&mut self, token: Token) {
        if self.echoes.take(token.slot) == Some(TerminalEcho::Off) {
            self.send_bytes(token, |out| out.extend_from_slice(&telnet::WONT_ECHO));
        }
    }
}
