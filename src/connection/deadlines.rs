//! Per-connection deadlines: [`Connection::deadline`].

use std::time::Duration;

use super::{Connection, Naming, Readiness, Schedule, Silence, State, Timeout};
use crate::limits::Limits;
use crate::protocol::{CloseReason, Dialect};
use crate::time::Moment;

/// The longest time without progress for a peer that reads its last bytes, if `--stall-timeout` is off.
const DRAIN_STALL: Duration = Duration::from_secs(10);

/// The longest time for a peer to read its last bytes.
const DRAIN: Duration = Duration::from_secs(60);

/// The time for which input is discarded after the last bytes. Closing a socket with unread input makes the kernel send a
/// reset (RFC 1122, 4.2.2.13). That can destroy the last bytes before the peer reads them.
const LINGER: Duration = Duration::from_secs(1);

/// Silence after which the server assumes that a client waits for its reply. A lost segment is sent again after 200 ms on a
/// short path. A person takes longer to read a reply and type another line.
const SILENCE: Duration = Duration::from_millis(400);

/// The action at a connection's deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Close(CloseReason),
    /// A ping is to be sent.
    Ping,
    /// The client was silent for `SILENCE`.
    Silence,
    /// The time of a closing peer to read its last bytes is over.
    Abort,
}

impl<S> Connection<S> {
    /// The next deadline and its event.
    pub fn deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let deadlines = [self.own_deadline(limits), self.ping_deadline(limits), self.slow_deadline(limits)];
        deadlines.into_iter().flatten().min_by_key(|(moment, _)| *moment)
    }

    /// The deadline of the present state.
    fn own_deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let since = Moment::from(self.since);
        let close = |after: Duration, reason| Some((since + after, Due::Close(reason)));
        match (self.rules().timeout, self.state) {
            (Timeout::None, _) => None,
            (Timeout::ProxyHeader, _) => close(limits.http, CloseReason::NoProxyHeader),
            // A throttled client has sent more than was handled.
            (Timeout::Request | Timeout::Idle, _) if self.is_delayed() => None,
            (Timeout::Request, _) if !self.outbox.is_empty() => None,
            (Timeout::Request, _) => close(limits.http, CloseReason::RequestTimeout),
            // The client waits for the server, and its deadline is set again with the answers.
            (Timeout::Name, _) if self.schedule.contains(Schedule::AWAITS_REDIS) => None,
            (
                Timeout::Name,
                State::Naming(
                    Naming::Unasked | Naming::Asked(Silence::Awaited) | Naming::Repeated(Silence::Awaited),
                ),
            ) => {
                let silent = since.max(self.input_at.into()) + SILENCE;
                // Input without the end of a line does not extend the time for a name.
                let last = since + limits.name.max(SILENCE);
                match silent <= last {
                    true => Some((silent, Due::Silence)),
                    false => Some((last, Due::Close(CloseReason::NoName))),
                }
            }
            (Timeout::Name, _) => close(limits.name, CloseReason::NoName),
            // An SSE client sends nothing.
            (Timeout::Idle, _) if self.dialect == Dialect::Events => None,
            (Timeout::Idle, _) => limits.idle.and_then(|idle| close(idle, CloseReason::Idle)),
            (Timeout::Drain, _) => {
                let stalled = self.outbox.stalled_since().unwrap_or(since).max(since);
                let last = (stalled + limits.stall.unwrap_or(DRAIN_STALL)).min(since + DRAIN);
                Some((last, Due::Abort))
            }
            (Timeout::Linger, _) => Some((since + LINGER, Due::Abort)),
        }
    }

    /// The time of the next ping, or of the end if the last ping is not answered.
    fn ping_deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        // A client that is not read may have answered.
        if self.is_delayed() || self.is_stalled(limits) {
            return None;
        }
        let ping_at = Moment::from(self.input_at) + limits.ping_interval;
        let gets_pings = match self.dialect {
            Dialect::Json | Dialect::Raw => matches!(self.state, State::Queued | State::Active),
            Dialect::Events => matches!(self.state, State::Active),
            Dialect::Line | Dialect::Http => false,
        };
        gets_pings.then(|| match self.pinged {
            true => (ping_at + limits.ping_timeout, Due::Close(CloseReason::NoPong)),
            false => (ping_at, Due::Ping),
        })
    }

    /// The time at which the client will have been slow for too long.
    fn slow_deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        // Nothing can be left out of an HTTP response, so a peer that does not read one is dropped under both policies.
        let skips = self.skips(limits) && !matches!(self.state, State::Http { .. });
        if self.is_closing() || skips {
            return None;
        }
        // A client whose socket is writable again must not be dropped because of a batching delay.
        let about_to_flush =
            self.schedule.contains(Schedule::DIRTY) && self.ready.contains(Readiness::WRITABLE);
        let stalled = self.outbox.stalled_since().filter(|_| !about_to_flush).zip(limits.stall);
        let stalled = stalled.map(|(since, span)| (since + span, Due::Close(CloseReason::Stalled)));
        let high = self.outbox.over_soft_since().zip(limits.soft);
        let high = high.map(|(since, soft)| (since + soft.span, Due::Close(CloseReason::BufferHigh)));
        stalled.into_iter().chain(high).min_by_key(|(moment, _)| *moment)
    }
}
