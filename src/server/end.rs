//! The shutdown: the server accepts no more connections, closes all with the reason, and stops.
//!
//! A single server closes all connections at once. A server that shares its chat leaves the other processes first. Then it
//! spreads the closes over most of the grace time, so that its clients don't all reconnect to another server at once.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Control, Server};
use crate::net::{Net, Token};
use crate::protocol::CloseReason;
use crate::time::Moment;

/// The part of the grace time over which closes are spread. In the rest the last clients receive the reason.
const SPREAD: f64 = 0.75;

/// The state of the shutdown.
#[derive(Debug)]
pub struct Ending {
    /// The time at which the server stops at the latest.
    pub deadline: Moment,
    /// The tick in which the shutdown began. The next one flushes its output, so the server does not stop before that.
    tick: u64,
    began: Moment,
    /// The time between the first close and the last.
    spread: Duration,
    /// Connections that were not closed yet.
    staying: VecDeque<Token>,
    /// The number of connections that were closed.
    closed: usize,
}

impl Ending {
    /// The time of the next close.
    fn next_close(&self) -> Option<Moment> {
        let all = self.closed + self.staying.len();
        let share = self.closed as f64 / all.max(1) as f64;
        (!self.staying.is_empty()).then(|| self.began + self.spread.mul_f64(share))
    }

    /// The time of the next tick that the shutdown needs.
    pub fn next_timeout(&self) -> Moment {
        self.next_close().unwrap_or(self.deadline)
    }
}

impl<N: Net> Server<N> {
    /// Closes the listeners, and begins to close the connections.
    pub(super) fn begin_shutdown(&mut self) {
        log::info!("ending clients={} grace_ms={}", self.admission.clients(), self.config.grace.as_millis());
        self.net.close_listeners();
        self.admission.close();
        let grace = self.config.grace;
        let mut spread = Duration::ZERO;
        if let Some(link) = &mut self.link {
            link.backplane.leave();
            spread = grace.mul_f64(SPREAD);
        }
        let began = self.now.moment;
        let staying = self.roster.iter().map(|(token, _)| token).collect();
        self.ending =
            Some(Ending { deadline: began + grace, tick: self.ticks, began, spread, staying, closed: 0 });
        self.close_staying();
    }

    /// Closes the connections whose close is due.
    pub(super) fn close_staying(&mut self) {
        while let Some(ending) = &mut self.ending
            && ending.next_close().is_some_and(|due| due <= self.now.moment)
            && let Some(token) = ending.staying.pop_front()
        {
            ending.closed += 1;
            // It may have been freed since the shutdown began.
            if self.roster.get(token).is_some() {
                self.roster.close(token, CloseReason::Shutdown);
            }
        }
    }

    /// Logs the number of messages that Redis has not confirmed.
    pub(super) fn log_unconfirmed(&self) {
        let unconfirmed = self.link.as_ref().map_or(0, |link| link.backplane.unconfirmed());
        if unconfirmed > 0 {
            log::warn!(
                "ended before redis confirmed all messages, other servers may miss some messages={unconfirmed}"
            );
        }
    }

    pub(super) fn control(&self) -> Control {
        let Some(ending) = &self.ending else {
            return Control::Continue;
        };
        let is_empty = self.roster.is_empty();
        let link = self.link.as_ref().filter(|link| !link.backplane.is_done());
        let is_over = self.now.moment >= ending.deadline && self.ticks > ending.tick;
        match is_over || (is_empty && link.is_none()) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }
}
