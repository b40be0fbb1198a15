//! The end: nobody is let in any more, everybody is told good-bye and sent on their way, and then the loop stops.
//!
//! Alone, a server tells everybody at once. One of several leaves the others first, and then spreads its farewells over
//! most of the grace, so that its clients don't all turn up at another one in the same instant.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Control, Server};
use crate::net::{Net, Token};
use crate::protocol::CloseReason;
use crate::time::Moment;

/// The part of the grace over which farewells are spread. The rest is for those who come last to hear theirs.
const SPREAD: f64 = 0.75;

/// The end, once it has begun.
#[derive(Debug)]
pub struct Ending {
    /// When it is over at the latest.
    pub deadline: Moment,
    /// The tick it began in. What that one queued last, the next one flushes.
    tick: u64,
    began: Moment,
    /// Between the first farewell and the last.
    spread: Duration,
    /// Who has not been told yet.
    staying: VecDeque<Token>,
    told: usize,
}

impl Ending {
    /// When the next farewell is due.
    fn next_farewell(&self) -> Option<Moment> {
        let everybody = self.told + self.staying.len();
        let share = self.told as f64 / everybody.max(1) as f64;
        (!self.staying.is_empty()).then(|| self.began + self.spread.mul_f64(share))
    }

    /// When it next wants a tick.
    pub fn next_timeout(&self) -> Moment {
        self.next_farewell().unwrap_or(self.deadline)
    }
}

impl<N: Net> Server<N> {
    /// Lets nobody in any more, and begins to send everybody away.
    pub(super) fn begin_to_end(&mut self) {
        log::info!("ending clients={} grace_ms={}", self.admission.clients(), self.config.grace.as_millis());
        self.net.close_listeners();
        self.admission.close();
        let grace = self.config.grace;
        let mut spread = Duration::ZERO;
        if let Some(linked) = &mut self.linked {
            linked.backplane.leave();
            spread = grace.mul_f64(SPREAD);
        }
        let began = self.now.moment;
        let staying = self.roster.iter().map(|(token, _)| token).collect();
        self.ending =
            Some(Ending { deadline: began + grace, tick: self.ticks, began, spread, staying, told: 0 });
        self.say_farewell();
    }

    /// Sends those away whose turn it is.
    pub(super) fn say_farewell(&mut self) {
        while let Some(ending) = &mut self.ending
            && ending.next_farewell().is_some_and(|due| due <= self.now.moment)
            && let Some(token) = ending.staying.pop_front()
        {
            ending.told += 1;
            self.roster.close(token, CloseReason::Shutdown);
        }
    }

    /// Says in the log what nobody else can be told any more.
    pub(super) fn log_what_is_lost(&self) {
        let lost = self.linked.as_ref().map_or(0, |linked| linked.backplane.unconfirmed());
        if lost > 0 {
            log::warn!(
                "ended before redis confirmed all messages, other servers may miss some messages={lost}"
            );
        }
    }

    /// Whether there is another tick.
    pub(super) fn control(&self) -> Control {
        let Some(ending) = &self.ending else {
            return Control::Continue;
        };
        let empty = self.roster.is_empty();
        let linked = self.linked.as_ref().filter(|linked| !linked.backplane.is_done());
        let over = self.now.moment >= ending.deadline && self.ticks > ending.tick;
        match over || (empty && linked.is_none()) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }
}
