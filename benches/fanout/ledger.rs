//! What was said, who has heard it, and whether that is right: each line once, whole, in its sender's order, by
//! everybody in the room but its sender.
//!
//! Pure: the clock is an argument, in nanoseconds since the run's start.

use std::collections::VecDeque;
use std::fmt;

use crate::payload::{PROBE, Stamp};

/// Somebody who says lines.
struct Talker {
    room: u32,
    /// The listener that is the same client, if the protocol lets a client do both.
    own: Option<u32>,
    /// The sequence number of `open`'s first line; those before it have reached everybody.
    done: u32,
    /// The lines that have not reached everybody yet, in their order.
    open: VecDeque<Open>,
    /// Counts the talkers of a room: the talker's column in each listener's row.
    column: usize,
}

struct Open {
    said_at: u64,
    missing: u32,
}

/// What a delivery meant.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// When the line was meant to be said.
    pub said_at: u64,
    /// The talker's number, if everybody has now heard all it said.
    pub finished: Option<u32>,
}

/// Why a contender gets no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Torn,
    NeverSaid(Stamp),
    OtherRoom(Stamp),
    Own(Stamp),
    Repeated(Stamp),
    /// A later line came while this sequence number was expected.
    Skipped(Stamp, u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Fault::Torn => write!(f, "a line came torn"),
            Fault::NeverSaid(stamp) => write!(f, "a line came that nobody said: {stamp:?}"),
            Fault::OtherRoom(stamp) => write!(f, "a line of another room came: {stamp:?}"),
            Fault::Own(stamp) => write!(f, "a sender got its own line: {stamp:?}"),
            Fault::Repeated(stamp) => write!(f, "a line came twice: {stamp:?}"),
            Fault::Skipped(stamp, due) => write!(f, "line {due} is lost or out of order: {stamp:?} came"),
        }
    }
}

/// The books of one run.
pub struct Ledger {
    text_bytes: usize,
    talkers: Vec<Talker>,
    /// The room of each listener.
    rooms: Vec<u32>,
    /// The number of listeners of each room.
    members: Vec<u32>,
    /// The sequence number due next: a row a listener, a column a talker of its room.
    due: Vec<u32>,
    columns: usize,
    open: usize,
}

impl Ledger {
    /// `listeners` names each listener's room, `talkers` each talker's room and its own listener.
    pub fn new(text_bytes: usize, listeners: &[u32], talkers: &[(u32, Option<u32>)]) -> Ledger {
        let rooms =
            listeners.iter().chain(talkers.iter().map(|(room, _)| room)).max().map_or(0, |max| max + 1);
        let mut members = vec![0; rooms as usize];
        listeners.iter().for_each(|room| members[*room as usize] += 1);
        let mut columns = vec![0; rooms as usize];
        let talkers: Vec<Talker> = talkers
            .iter()
            .map(|&(room, own)| {
                let column = columns[room as usize];
                columns[room as usize] += 1;
                Talker { room, own, done: 0, open: VecDeque::new(), column }
            })
            .collect();
        let columns = columns.into_iter().max().unwrap_or(0);
        let due = vec![0; listeners.len() * columns];
        Ledger { text_bytes, talkers, rooms: listeners.to_vec(), members, due, columns, open: 0 }
    }

    /// The talker says its next line, meant for this time.
    pub fn say(&mut self, talker: u32, at: u64) -> Stamp {
        let who = &mut self.talkers[talker as usize];
        let missing = self.members[who.room as usize] - u32::from(who.own.is_some());
        who.open.push_back(Open { said_at: at, missing });
        self.open += 1;
        Stamp { sender: talker, sequence: who.done + who.open.len() as u32 - 1 }
    }

    /// Somebody hears a text. Nothing, if it is a probe.
    pub fn hear(&mut self, listener: u32, text: &[u8]) -> Result<Option<Heard>, Fault> {
        let stamp = Stamp::read(text, self.text_bytes).ok_or(Fault::Torn)?;
        if stamp.sender == PROBE {
            return Ok(None);
        }
        let talker = self.talkers.get_mut(stamp.sender as usize).ok_or(Fault::NeverSaid(stamp))?;
        if talker.room != self.rooms[listener as usize] {
            return Err(Fault::OtherRoom(stamp));
        }
        if talker.own == Some(listener) {
            return Err(Fault::Own(stamp));
        }
        if stamp.sequence >= talker.done + talker.open.len() as u32 {
            return Err(Fault::NeverSaid(stamp));
        }
        let due = &mut self.due[listener as usize * self.columns + talker.column];
        match stamp.sequence.cmp(due) {
            std::cmp::Ordering::Less => return Err(Fault::Repeated(stamp)),
            std::cmp::Ordering::Greater => return Err(Fault::Skipped(stamp, *due)),
            std::cmp::Ordering::Equal => *due += 1,
        }
        let line = &mut talker.open[(stamp.sequence - talker.done) as usize];
        line.missing -= 1;
        let said_at = line.said_at;
        while talker.open.front().is_some_and(|line| line.missing == 0) {
            talker.open.pop_front();
            talker.done += 1;
            self.open -= 1;
        }
        let finished = talker.open.is_empty().then_some(stamp.sender);
        Ok(Some(Heard { said_at, finished }))
    }

    /// The lines that have not reached everybody.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The deliveries that are still to come.
    pub fn missing(&self) -> u64 {
        self.talkers.iter().flat_map(|talker| &talker.open).map(|line| u64::from(line.missing)).sum()
    }
}
