//! Connections from trusted proxies (`--trust-proxy`): limits by address count the proxy's client, not the proxy.
//!
//! At the line listener the proxy sends a header of the PROXY protocol first. At the HTTP listener each request may be of
//! another client. So the client's address counts the connection from the request to the response. If it has become a client of the
//! chat, its address counts it to the end.

use ::http::{Method, StatusCode};

use super::Server;
use super::turn::{NextStep, QUEUED_INBOX_BYTES};
use crate::codec::forwarded::{ForwardedFor, client_of};
use crate::codec::http::{AfterHead, HttpRequest, origin_of};
use crate::codec::proxy::{self, ProxyHeader};
use crate::connection::{Readiness, State};
use crate::host::Host;
use crate::net::{Net, Peer, Token};
use crate::protocol::CloseReason;
use crate::quota::{Moved, Quota};
use crate::web;

impl<N: Net> Server<N> {
    /// Reads the header of the PROXY protocol, and admits, queues or refuses the client behind it.
    pub(super) fn read_proxy_header(&mut self, token: Token) -> NextStep {
        let Some(proxy) = self.admission.proxy_of(token) else {
            debug_assert!(false, "the proxy of {token:?} was not recorded");
            return NextStep::Stop;
        };
        let Some(connection) = self.roster.live_mut(token) else {
            return NextStep::Stop;
        };
        let ended = connection.ready.contains(Readiness::EOF);
        let unused = self.scratch.unused();
        match proxy::read(unused) {
            // The proxy checks whether the listener is there.
            ProxyHeader::Incomplete if ended && unused.is_empty() => {
                self.roster.close(token, CloseReason::EndOfInput);
                NextStep::Stop
            }
            ProxyHeader::Incomplete if !ended => {
                connection.ready.remove(Readiness::BUFFERED);
                NextStep::Read
            }
            ProxyHeader::Incomplete => self.refuse_proxy(token, proxy, "incomplete"),
            ProxyHeader::Malformed(problem) => self.refuse_proxy(token, proxy, problem),
            ProxyHeader::Complete { bytes, source } => {
                self.scratch.consume(bytes);
                let host = source.map_or(proxy.into(), |source| Host::behind(proxy, Some(source)));
                self.receive_proxied(token, host);
                NextStep::Decode
            }
        }
    }

    fn refuse_proxy(&mut self, token: Token, proxy: Peer, problem: &str) -> NextStep {
        self.log_bad_header(token, proxy, problem);
        self.roster.close(token, CloseReason::NoProxyHeader);
        NextStep::Stop
    }

    /// Logs that a proxy has sent no usable header of the PROXY protocol.
    pub(super) fn log_bad_header(&self, token: Token, proxy: Peer, problem: &str) {
        let id = token.serial;
        log::warn!("PROXY header refused id={id} proxy={} problem={problem}", ShownPeer(proxy));
    }

    /// Admits, queues or refuses the client of a proxy at the line listener.
    fn receive_proxied(&mut self, token: Token, host: Host) {
        let refusal = self.refusal_of(host);
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        match self.admission.move_claim(connection, host, refusal) {
            Moved::Admitted => self.receive_arrival_of_lines(token),
            Moved::Refused(reason) => self.refuse(token, reason),
            Moved::Aborted(reason) => {
                self.record_refusal(Some(token), host, reason);
                self.roster.close(token, CloseReason::ConnectionLost);
            }
        }
        // The read that has found the header may have filled the inbox of a client in the queue.
        let is_full = self.scratch.unused().len() >= QUEUED_INBOX_BYTES;
        if let Some(connection) = self.roster.live_mut(token).filter(|c| c.state() == State::Queued) {
            connection.ready.set(Readiness::BUFFERED, is_full);
        }
    }

    /// Counts a connection under the client of this request, if a trusted proxy has opened it. Returns whether that
    /// address may have one more connection; if not, the request is refused.
    pub(super) fn follow_request(&mut self, token: Token, request: &HttpRequest) -> bool {
        let Some(proxy) = self.admission.proxy_of(token) else {
            return true;
        };
        let (origin, follows) =
            (origin_of(request.headers()), AfterHead::of(request.method() == Method::HEAD));
        let host = match client_of(request.headers(), |address| self.admission.is_trusted(Peer::Ip(address)))
        {
            ForwardedFor::Absent => proxy.into(),
            ForwardedFor::Client(address) => Host::behind(proxy, Some(address)),
            ForwardedFor::Unusable => {
                log::debug!("forwarded address not usable id={} proxy={}", token.serial, ShownPeer(proxy));
                if self.fanout.chat().access().bans().has_networks() {
                    // A banned client must not escape by a field of its own.
                    self.refuse_unknown(token, origin, follows);
                    return false;
                }
                Host::behind(proxy, None)
            }
        };
        let ban = self.ban_of(host);
        let Some(connection) = self.roster.live_mut(token) else {
            return false;
        };
        match self.admission.move_claim(connection, host, ban) {
            Moved::Admitted => true,
            Moved::Refused(reason) | Moved::Aborted(reason) => {
                self.refuse_request(token, reason, origin, follows);
                false
            }
        }
    }

    /// Refuses a request whose address is not known, while addresses are banned.
    fn refuse_unknown(&mut self, token: Token, origin: Option<&str>, follows: AfterHead) {
        let text = "the proxy's X-Forwarded-For and Forwarded fields are malformed or differ: let it set one and \
            remove the other";
        let response = web::error(StatusCode::BAD_REQUEST, "bad_forwarded", text);
        self.respond(token, &response, origin, follows, true);
    }

    /// Ends what [`Server::follow_request`] began, since the response is queued.
    pub(super) fn end_request(&mut self, token: Token) {
        if self.admission.proxy_of(token).is_some()
            && let Some(connection) = self.roster.live_mut(token)
            && connection.claim.quota() == Quota::Http
        {
            let moved = self.admission.move_claim(connection, Host::PROXY, None);
            debug_assert_eq!(moved, Moved::Admitted, "a proxy is exempt");
        }
    }

    /// The reason to refuse a client that enters behind a proxy, since its address opens connections too fast.
    pub(super) fn refusal_behind_proxy(&mut self, token: Token) -> Option<CloseReason> {
        self.admission.proxy_of(token)?;
        let host = self.roster.live(token)?.host();
        if self.roster.take_arrival(host, self.now.moment) {
            return None;
        }
        self.record_refusal(Some(token), host, CloseReason::TooManyArrivals);
        Some(CloseReason::TooManyArrivals)
    }
}

/// A peer for the log.
struct ShownPeer(Peer);

impl std::fmt::Display for ShownPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Peer::Ip(address) => write!(f, "{address}"),
            Peer::Local => write!(f, "unix"),
        }
    }
}
