//! The waits of talkers: for their own rates, for those of their addresses, and for slow readers.

use super::{Roster, client_in};
use crate::chat::ClientId;
use crate::connection::{Charge, Connection, Schedule, State};
use crate::host::Host;
use crate::net::Token;
use crate::pressure::{Audience, Pressure, RoomIds};
use crate::rate::{AddressRates, Use};
use crate::time::Moment;

impl<S> Roster<S> {
    /// Counts a request of a client against its rates and its address's, or throttles it until
    /// [`Roster::next_unthrottled`].
    pub fn charge(&mut self, token: Token, what: Use, now: Moment) -> Charge {
        let Some(connection) = client_in(&mut self.connections, token.into()) else {
            return Charge::Allowed;
        };
        let host = connection.host();
        if host.is_exempt() && what == Use::Request {
            return Charge::Allowed;
        }
        let was_full = self.rates.is_full(token.slot, now)
            && (host.is_exempt() || self.address_rates.is_full(host, now));
        let ready_at = self.address_rates.ready_at(host, what);
        let is_within = match what {
            _ if ready_at > now => {
                self.rates.wait(token.slot, ready_at);
                false
            }
            Use::Message { bytes } | Use::Publish { bytes } => self.rates.take(token.slot, bytes, now),
            Use::Request | Use::Connection | Use::FailedLogin => true,
        };
        if is_within {
            self.address_rates.spend(host, what, now);
        }
        connection.charge(is_within, was_full)
    }

    /// Whether the address of a connection may make one more request.
    pub fn may_request(&mut self, token: Token, now: Moment) -> bool {
        let host = self.live(token).map(Connection::host).filter(|host| !host.is_exempt());
        host.is_none_or(|host| self.address_rates.ready_at(host, Use::Request) <= now)
    }

    /// Counts a ping that is handled while its client must wait.
    pub fn count_request(&mut self, token: Token, now: Moment) {
        if let Some(host) = self.live(token).map(Connection::host) {
            self.address_rates.spend(host, Use::Request, now);
        }
    }

    /// Whether an address may open one more connection; if so, it is counted.
    pub fn take_arrival(&mut self, host: Host, now: Moment) -> bool {
        let may = self.address_rates.ready_at(host, Use::Connection) <= now;
        if may {
            self.address_rates.spend(host, Use::Connection, now);
        }
        may
    }

    /// Whether an address may try one more login.
    pub fn may_log_in(&mut self, host: Host, now: Moment) -> bool {
        self.address_rates.ready_at(host, Use::FailedLogin) <= now
    }

    /// Charges an address for a login that has failed, or for a registration.
    pub fn charge_login(&mut self, host: Host, now: Moment) {
        self.address_rates.spend(host, Use::FailedLogin, now);
    }

    /// The rates of the addresses that were active lately.
    pub fn address_rates(&self) -> &AddressRates {
        &self.address_rates
    }

    /// The next client whose wait for its rate is over.
    pub fn next_unthrottled(&mut self, now: Moment) -> Option<Token> {
        let slot = self.rates.next_unthrottled(now)?;
        self.live_token(ClientId(slot))
    }

    /// Drops the buckets that are full, once a refill interval.
    pub fn sweep_full(&mut self, now: Moment) {
        self.rates.sweep(now);
        self.address_rates.sweep(now);
    }

    /// The clients that read more slowly than others talk.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Pauses a client until its message may be sent to the target.
    pub fn pause(&mut self, token: Token, target: Audience) {
        if let Some(connection) = self.live_mut(token) {
            connection.schedule.insert(Schedule::PAUSED);
            self.pressure.wait(token, target);
        }
    }

    /// Records a flush that left something queued. `rooms` returns the rooms of the client.
    pub fn record_blocked(
        &mut self,
        token: Token,
        taken_bytes: usize,
        rooms: impl FnOnce(ClientId) -> RoomIds,
        now: Moment,
    ) {
        let Some(connection) = self.live(token) else {
            return;
        };
        let over = connection.outbox.cost_bytes() > self.limits.watermark_bytes;
        let lags = over && connection.state() == State::Active;
        if lags || self.pressure.has(token.into()) {
            self.pressure.record_flush(token.into(), lags, taken_bytes, rooms(token.into()), now);
        }
    }

    /// Records that a client has nothing queued any more, or has left the chat.
    pub fn record_unblocked(&mut self, token: Token, now: Moment) {
        self.pressure.remove(token.into(), now);
    }

    /// Gives a turn to each talker whose wait for slow readers is over.
    pub fn resume_talkers(&mut self, now: Moment) {
        self.pressure.expire(now);
        for token in self.pressure.take_released() {
            // A talker that was freed while it waited has left its token there.
            if let Some(connection) = self.get_mut(token) {
                connection.end_pause(now);
                self.wake(token);
                self.arm(token);
            }
        }
    }
}
