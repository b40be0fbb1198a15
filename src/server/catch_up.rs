//! Missed messages: a client that reads too slowly is sent their number, and one that reconnects is sent the messages.

use super::Server;
use crate::chat::RoomId;
use crate::connection::Readiness;
use crate::net::{Net, Token};
use crate::protocol::{Dialect, Event};

impl<N: Net> Server<N> {
    /// Sends a client the next part of the messages that it missed before it reconnected.
    pub(super) fn catch_up(&mut self, token: Token) {
        self.call_chat_for(token, None, |chat, now, effects| chat.catch_up(token.into(), now, effects));
        self.record_catching_up(token);
    }

    /// Records whether the chat has more to send to a client.
    pub(super) fn record_catching_up(&mut self, token: Token) {
        let catches_up = self.fanout.chat().is_catching_up(token.into());
        if let Some(connection) = self.roster.live_mut(token) {
            connection.ready.set(Readiness::CATCHING_UP, catches_up);
        }
    }

    /// Sends a client the number of messages that it missed because it read too slowly. A client that may be in several rooms
    /// is sent the number of each.
    pub(super) fn send_missed(&mut self, token: Token) {
        self.deliver_batch();
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        let mut missed = connection.outbox.take_missed();
        if connection.dialect == Dialect::Line && !missed.is_empty() {
            missed = vec![(None, missed.iter().map(|(_, count)| count).sum())];
        }
        for (source, count) in missed {
            let room =
                source.and_then(|source| self.fanout.chat().room_name(RoomId::from_u64(source)).cloned());
            self.send_last_event(token, &Event::Missed { room, count });
        }
    }
}
