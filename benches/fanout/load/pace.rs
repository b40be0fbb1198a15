//! When the next line is said: in turn, or on a schedule.

use std::time::{Duration, Instant};

use super::Load;
use super::crowd::{MANY_EVENTS, PATIENCE};

/// Below this the loop does not sleep: `epoll_wait` counts in milliseconds, and rounds up.
const SLEEP_LEAST: Duration = Duration::from_millis(2);

/// Events taken between two looks at the schedule: to read 1,024 takes 4 ms, and what is due meanwhile would be said late
/// and in a heap, which a server would be blamed for.
const EVENTS_A_LOOK: usize = 64;

impl Load<'_> {
    /// Every talker says its next line when its last one has reached everybody. Ends when all is heard.
    pub fn say_in_turn(&mut self, seconds: f64) -> Result<(), String> {
        self.crowd.set_events_a_turn(MANY_EVENTS);
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        self.books.finished = (0..self.talkers.len() as u32).collect();
        let mut watch = Watch::new();
        loop {
            let now = Instant::now();
            for talker in std::mem::take(&mut self.books.finished) {
                if now < end {
                    self.say(talker, now)?;
                }
            }
            if self.books.ledger.open() == 0 {
                return Ok(());
            }
            self.turn(Duration::from_secs(1))?;
            watch.look(self)?;
        }
    }

    /// What the schedule has for so long, whatever has been heard. Ends when all is heard.
    pub fn say_on_schedule(
        &mut self,
        schedule: impl Iterator<Item = (f64, u32)>,
        seconds: f64,
    ) -> Result<(), String> {
        self.crowd.set_events_a_turn(EVENTS_A_LOOK);
        let start = Instant::now();
        let mut schedule = schedule
            .take_while(|(at, _)| *at < seconds)
            .map(|(at, talker)| (start + Duration::from_secs_f64(at), talker))
            .peekable();
        let mut watch = Watch::new();
        loop {
            let now = Instant::now();
            while let Some((at, talker)) = schedule.next_if(|(at, _)| *at <= now) {
                self.say(talker, at)?;
            }
            let next = schedule.peek().map(|(at, _)| *at);
            if next.is_none() && self.books.ledger.open() == 0 {
                self.books.finished.clear();
                return Ok(());
            }
            let wait = match next {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None => Duration::from_millis(100),
            };
            self.turn(if wait > SLEEP_LEAST { wait - SLEEP_LEAST } else { Duration::ZERO })?;
            watch.look(self)?;
        }
    }

    fn say(&mut self, talker: u32, at: Instant) -> Result<(), String> {
        let stamp = self.books.say(talker, at);
        let text = stamp.text(self.order.text_bytes());
        self.crowd.say(self.talkers[talker as usize], &text)
    }

    fn turn(&mut self, timeout: Duration) -> Result<bool, String> {
        let books = &mut self.books;
        self.crowd.turn(timeout, &mut |listener, from, text| books.hear(listener, from, text))
    }
}

/// Notices that nothing is heard any more.
struct Watch {
    deliveries: u64,
    since: Instant,
}

impl Watch {
    fn new() -> Watch {
        Watch { deliveries: 0, since: Instant::now() }
    }

    fn look(&mut self, load: &Load) -> Result<(), String> {
        if load.books.deliveries != self.deliveries || load.books.ledger.open() == 0 {
            *self = Watch { deliveries: load.books.deliveries, since: Instant::now() };
        }
        match self.since.elapsed() > PATIENCE {
            true => Err(format!("{} deliveries are lost", load.books.ledger.missing())),
            false => Ok(()),
        }
    }
}
