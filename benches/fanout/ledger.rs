//! Lines that were sent, and the clients that have received them. Each line must arrive once, whole, in its sender's
//! order, at everybody but its sender.
//!
//! Pure: the clock is an argument, in nanoseconds since the run's start.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::payload::Stamp;

struct Talker {
    /// The listener that is the same client, if the protocol lets a client do both.
    own: Option<u32>,
    /// The sequence number of `open`'s first line; those before it have reached everybody.
    done: u32,
    /// Lines that have not reached everybody yet.
    open: VecDeque<Open>,
}

struct Open {
    sent_at: u64,
    missing: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The time at which the line was due.
    pub sent_at: u64,
    /// The talker's number, if everybody has now received all its lines.
    pub finished: Option<u32>,
}

/// Why a contender gets no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Torn,
    NeverSent(Stamp),
    /// A sender got its own line.
    Own(Stamp),
    Repeated(Stamp),
    /// A line came while an earlier one, with this sequence number, was expected.
    Skipped(Stamp, u32),
}

pub struct Ledger {
    text_bytes: usize,
    listeners: usize,
    talkers: Vec<Talker>,
    /// The sequence number expected next: a row for each listener, a column for each talker.
    due: Vec<u32>,
    open: usize,
}

impl Ledger {
    /// `own` has each talker's own listener.
    pub fn new(text_bytes: usize, listeners: usize, own: &[Option<u32>]) -> Ledger {
        let talker = |own: &Option<u32>| Talker { own: *own, done: 0, open: VecDeque::new() };
        let talkers: Vec<Talker> = own.iter().map(talker).collect();
        Ledger { text_bytes, listeners, due: vec![0; listeners * talkers.len()], talkers, open: 0 }
    }

    /// The talker sends its next line, which was due at this time.
    pub fn send(&mut self, talker: u32, at: u64) -> Stamp {
        let from = &mut self.talkers[talker as usize];
        let missing = self.listeners as u32 - u32::from(from.own.is_some());
        from.open.push_back(Open { sent_at: at, missing });
        self.open += 1;
        Stamp { sender: talker, sequence: from.done + from.open.len() as u32 - 1 }
    }

    /// A listener receives a text.
    pub fn receive(&mut self, listener: u32, text: &[u8]) -> Result<Delivery, Fault> {
        let stamp = Stamp::read(text, self.text_bytes).ok_or(Fault::Torn)?;
        let columns = self.talkers.len();
        let talker = self.talkers.get_mut(stamp.sender as usize).ok_or(Fault::NeverSent(stamp))?;
        if talker.own == Some(listener) {
            return Err(Fault::Own(stamp));
        }
        if stamp.sequence >= talker.done + talker.open.len() as u32 {
            return Err(Fault::NeverSent(stamp));
        }
        let due = &mut self.due[listener as usize * columns + stamp.sender as usize];
        match stamp.sequence.cmp(due) {
            Ordering::Less => return Err(Fault::Repeated(stamp)),
            Ordering::Greater => return Err(Fault::Skipped(stamp, *due)),
            Ordering::Equal => *due += 1,
        }
        let line = &mut talker.open[(stamp.sequence - talker.done) as usize];
        line.missing -= 1;
        let sent_at = line.sent_at;
        while talker.open.front().is_some_and(|line| line.missing == 0) {
            talker.open.pop_front();
            talker.done += 1;
            self.open -= 1;
        }
        let finished = talker.open.is_empty().then_some(stamp.sender);
        Ok(Delivery { sent_at, finished })
    }

    /// Lines that have not reached everybody.
    pub fn open(&self) -> usize {
        self.open
    }
}
