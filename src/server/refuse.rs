//! Refusals: connections that are not admitted are sent the reason, counted, and logged at most once a second for each address.

use super::Server;
use crate::codec::http::AfterHead;
use crate::host::Host;
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Dialect};

impl<N: Net> Server<N> {
    /// The reason to refuse a new connection of an address, whatever the number of its open ones. It counts as an arrival.
    pub(super) fn refusal_of(&mut self, host: Host) -> Option<CloseReason> {
        let is_within_rate = self.roster.take_arrival(host, self.now.moment);
        let too_many = (!is_within_rate).then_some(CloseReason::TooManyArrivals);
        self.ban_of(host).or(too_many)
    }

    /// Sends a connection the reason for which it is refused, and closes it. It has sent no request.
    pub(super) fn refuse(&mut self, token: Token, reason: CloseReason) {
        self.refuse_request(token, reason, None, AfterHead::Body);
    }

    /// Refuses a connection by the response to its request, which is of that `origin`.
    pub(super) fn refuse_request(
        &mut self,
        token: Token,
        reason: CloseReason,
        origin: Option<&str>,
        follows: AfterHead,
    ) {
        let Some(connection) = self.roster.live(token) else {
            return;
        };
        let (host, is_http) = (connection.host(), connection.dialect == Dialect::Http);
        self.record_refusal(Some(token), host, reason);
        if is_http {
            self.send_refusal(token, reason, origin, follows);
        }
        self.roster.close(token, reason);
    }

    /// Counts the refusal of a connection, and logs at most one a second for each address. An aborted connection has no token.
    pub(super) fn record_refusal(&mut self, token: Option<Token>, peer: Host, reason: CloseReason) {
        self.metrics.refused += 1;
        let Some(others) = self.admission.addresses_mut().record_refusal(peer, self.now.moment) else {
            // It was counted, and is logged with the next one.
            return;
        };
        let id = token.map_or_else(|| "-".to_string(), |token| token.serial.to_string());
        let (reason, clients) = (reason.as_str(), self.admission.clients());
        log::info!("refuse id={id} peer={peer} reason={reason} others={others} clients={clients}");
    }

    /// Logs the refusals that were counted and not logged.
    pub(super) fn log_refusals(&mut self) {
        for (peer, others) in self.admission.addresses_mut().take_refusals(self.now.moment) {
            log::info!("refuse peer={peer} others={others} clients={}", self.admission.clients());
        }
    }
}
