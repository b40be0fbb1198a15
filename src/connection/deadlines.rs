//! When something becomes of a connection by itself: [`Connection::deadline`].

use std::time::Duration;

use super::{Connection, Naming, Readiness, Schedule, Silence, State};
use crate::limits::Limits;
use crate::protocol::{CloseReason, Dialect};
use crate::time::Moment;

/// How long the last words may take to be read where `--stall-timeout` is off.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long what waits may take to be read by somebody who does read it, but slowly.
const DRAIN: Duration = Duration::from_secs(60);

/// How long input is thrown away after the last words. Closing a socket with unread input makes the kernel send a
/// reset (RFC 1122, 4.2.2.13), which can destroy the last words before they are read.
const LINGER: Duration = Duration::from_secs(1);

/// Silence after which a client is taken to wait for the server. It is more than a lost segment takes to be sent again
/// over a short way (200 ms), and less than a person takes to read an answer and type another.
const SILENCE: Duration = Duration::from_millis(400);

/// What a connection's deadline brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// The end, for that reason.
    Close(CloseReason),
    /// The question whether it is still there.
    Ping,
    /// The client waits for what the server says.
    Silence,
    /// The end of patience with a peer that was told good-bye.
    Forget,
}

impl<S> Connection<S> {
    /// The next deadline, and what it brings.
    pub fn deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let deadlines = [self.own_deadline(limits), self.ping_deadline(limits), self.slow_deadline(limits)];
        deadlines.into_iter().flatten().min_by_key(|(moment, _)| *moment)
    }

    /// The deadline of its present life.
    fn own_deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let since = Moment::from(self.since);
        let close = |after: Duration, reason| Some((since + after, Due::Close(reason)));
        match self.state {
            // It has said more, and is not heard.
            State::Http { .. } | State::Active if self.is_delayed() => None,
            State::Http { .. } if self.outbox.is_empty() => close(limits.http, CloseReason::NoRequest),
            State::Naming(
                Naming::Unasked
                | Naming::Asked(Silence::PendingRequest)
                | Naming::Repeated(Silence::PendingRequest),
            ) => Some((since.max(self.input_at.into()) + SILENCE, Due::Silence)),
            State::Naming(_) => close(limits.name, CloseReason::NoName),
            // Who only listens has nothing to say.
            State::Active if self.dialect == Dialect::Events => None,
            State::Active => limits.idle.and_then(|idle| close(idle, CloseReason::Idle)),
            State::Draining(_) => {
                let stalled = self.outbox.stalled_since().unwrap_or(since).max(since);
                let patience = (stalled + limits.stall.unwrap_or(FAREWELL)).min(since + DRAIN);
                Some((patience, Due::Forget))
            }
            State::Lingering => Some((since + LINGER, Due::Forget)),
            State::Http { .. } | State::Queued | State::PeerClosed | State::Closing(_) | State::Closed => {
                None
            }
        }
    }

    /// When it is to be asked whether it is there, or will have been silent for too long after that.
    fn ping_deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        // Who is not read may well have answered.
        if self.is_delayed() || self.is_stalled(limits) {
            return None;
        }
        let asked_at = Moment::from(self.input_at) + limits.ping_interval;
        match (self.dialect, self.state) {
            (Dialect::Json | Dialect::Raw, State::Queued | State::Active) if self.pinged => {
                Some((asked_at + limits.ping_timeout, Due::Close(CloseReason::NoPong)))
            }
            (Dialect::Json | Dialect::Raw, State::Queued | State::Active) => Some((asked_at, Due::Ping)),
            (Dialect::Events, State::Active) => Some((asked_at, Due::Ping)),
            _ => None,
        }
    }

    /// When it will have been slow for too long.
    fn slow_deadline(&self, limits: &Limits) -> Option<(Moment, Due)> {
        // Nothing can be left out of an answer, so who does not read one is dropped in any case.
        let skips = self.skips(limits) && !matches!(self.state, State::Http { .. });
        if self.is_closing() || skips {
            return None;
        }
        // Whose socket takes something again must not pay for a flush that waits.
        let about_to_flush =
            self.schedule.contains(Schedule::DIRTY) && self.ready.contains(Readiness::WRITABLE);
        let stalled = self.outbox.stalled_since().filter(|_| !about_to_flush).zip(limits.stall);
        let stalled = stalled.map(|(since, span)| (since + span, Due::Close(CloseReason::Stalled)));
        let high = self.outbox.over_soft_since().zip(limits.soft);
        let high = high.map(|(since, soft)| (since + soft.span, Due::Close(CloseReason::BufferHigh)));
        stalled.into_iter().chain(high).min_by_key(|(moment, _)| *moment)
    }
}
