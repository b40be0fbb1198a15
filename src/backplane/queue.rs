//! What is on its way to Redis: [`Queue`], one line of commands, each answered in its turn.
//!
//! What was published stays in it until Redis has answered, and is sent again if the session ends before: so it may
//! arrive twice, but is not lost. What belongs to the session ends with it.
//!
//! When a session ends, what is said is held back until somebody releases it: Redis passes on what it is told to whoever
//! listens at that moment, and those who lost their sessions too may not be back yet.

use std::collections::VecDeque;
use std::mem;

use crate::text::{Name, RoomName};

/// Bytes that may be sent and not answered yet. More would only wait in Redis's buffers instead of here.
const WINDOW_BYTES: usize = 256 * 1024;

/// What the session itself may need at a time, above all to put all clients of a large process into Redis. More is a
/// Redis that takes nothing.
const UPKEEP_MAX_BYTES: usize = 128 * 1024 * 1024;

/// What a command is for, and so what its answer means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Something said in a room.
    Message {
        /// Which.
        room: RoomName,
    },
    /// Something said to one client of another process.
    Private {
        /// By whom.
        from: Name,
        /// To whom.
        to: Name,
    },
    /// To see whether a process is still there.
    Probe {
        /// Which.
        process: u64,
    },
    /// To get all clients of a process.
    Snapshot {
        /// Which.
        process: u64,
    },
    /// To tell the others in a room the number of our last message there. It must not come before that message.
    Mark,
    /// To see whether our own clients are in Redis as we have put them there.
    Check {
        /// The version they are to be at.
        version: u64,
    },
    /// To take those who are gone out of Redis.
    Removal,
    /// The last command that puts our clients into Redis.
    Registered,
    /// To tell all processes that we are there.
    Announced,
    /// To see whether Redis has taken all that was held back.
    Proof,
    /// Whatever else the session needs.
    Housekeeping,
}

impl Purpose {
    /// Whether it is kept for the next session.
    fn outlives_session(&self) -> bool {
        matches!(self, Purpose::Message { .. } | Purpose::Private { .. })
    }

    /// Whether it waits with what is held back.
    pub fn can_be_held(&self) -> bool {
        self.outlives_session() || matches!(self, Purpose::Mark | Purpose::Proof)
    }

    /// Whether the beginning of a session lacks such a command, so that only the same again shows that Redis takes it.
    pub fn must_be_tried_again(&self) -> bool {
        matches!(
            self,
            Purpose::Probe { .. } | Purpose::Snapshot { .. } | Purpose::Check { .. } | Purpose::Removal
        )
    }
}

#[derive(Debug)]
struct QueueEntry {
    purpose: Purpose,
    command: Box<[u8]>,
}

impl QueueEntry {
    fn cost_bytes(&self) -> usize {
        size_of::<QueueEntry>() + self.command.len()
    }
}

/// Commands in their order: first those that are sent and not answered, then those that are not sent, then those that are
/// held back.
#[derive(Debug)]
pub struct Queue {
    entries: VecDeque<QueueEntry>,
    /// Nothing, unless something is to be held back. Then nothing in front of it outlives the session.
    held: VecDeque<QueueEntry>,
    holds: bool,
    /// How many of the entries are sent.
    sent: usize,
    /// Bytes of those.
    sent_bytes: usize,
    /// What messages cost, and what the rest does.
    message_bytes: usize,
    housekeeping_bytes: usize,
    /// For messages.
    max_bytes: usize,
    /// What had to make room and nobody has asked for yet.
    shed: Vec<Purpose>,
}

impl Queue {
    /// An empty queue for so much.
    pub fn new(max_bytes: usize) -> Queue {
        Queue {
            entries: VecDeque::new(),
            held: VecDeque::new(),
            holds: false,
            sent: 0,
            sent_bytes: 0,
            message_bytes: 0,
            housekeeping_bytes: 0,
            max_bytes,
            shed: Vec::new(),
        }
    }

    /// Adds a command. If that is too much, the oldest messages that are not sent make room.
    pub fn push(&mut self, purpose: Purpose, command: Vec<u8>) {
        let entry = QueueEntry { purpose, command: command.into() };
        *self.account(&entry) += entry.cost_bytes();
        match self.holds && entry.purpose.can_be_held() {
            true => self.held.push_back(entry),
            false => self.entries.push_back(entry),
        }
        let (line, mut from) = match self.holds {
            true => (&mut self.held, 0),
            false => (&mut self.entries, self.sent),
        };
        while self.message_bytes > self.max_bytes {
            let mut unsent = line.range(from..);
            let Some(oldest) = unsent.position(|entry| entry.purpose.outlives_session()) else {
                return;
            };
            from += oldest;
            if let Some(entry) = line.remove(from) {
                self.message_bytes -= entry.cost_bytes();
                self.shed.push(entry.purpose);
            }
        }
    }

    /// What has made room since this was last asked.
    pub fn take_shed(&mut self) -> Vec<Purpose> {
        mem::take(&mut self.shed)
    }

    /// Whether the session needs too much.
    pub fn is_over(&self) -> bool {
        self.housekeeping_bytes > UPKEEP_MAX_BYTES
    }

    /// Appends to `out` what may be sent now. Whether there was anything.
    pub fn send(&mut self, out: &mut Vec<u8>) -> bool {
        let before = self.sent;
        while self.sent_bytes < WINDOW_BYTES
            && let Some(entry) = self.entries.get(self.sent)
        {
            out.extend_from_slice(&entry.command);
            self.sent_bytes += entry.command.len();
            self.sent += 1;
        }
        self.sent > before
    }

    /// The oldest command that Redis has not answered, and its purpose.
    pub fn oldest(&self) -> Option<(&Purpose, &[u8])> {
        self.entries.front().filter(|_| self.sent > 0).map(|entry| (&entry.purpose, &entry.command[..]))
    }

    /// Redis has answered the oldest: what it was for. `None`: nothing was asked.
    pub fn answered(&mut self) -> Option<Purpose> {
        self.sent = self.sent.checked_sub(1)?;
        let entry = self.entries.pop_front()?;
        self.sent_bytes -= entry.command.len();
        *self.account(&entry) -= entry.cost_bytes();
        Some(entry.purpose)
    }

    /// The session is over: what was sent is to be sent again, what belonged to the session is forgotten, and what is said
    /// is held back from now on.
    pub fn cut(&mut self) {
        (self.sent, self.sent_bytes, self.holds) = (0, 0, true);
        self.entries.append(&mut self.held);
        self.held = mem::take(&mut self.entries);
        self.held.retain(|entry| entry.purpose.outlives_session());
        self.message_bytes = self.held.iter().map(QueueEntry::cost_bytes).sum();
        self.housekeeping_bytes = 0;
    }

    /// Nothing is held back any more.
    pub fn release(&mut self) {
        self.holds = false;
        self.entries.append(&mut self.held);
    }

    /// Whether Redis owes an answer.
    pub fn is_waiting(&self) -> bool {
        self.sent > 0
    }

    /// Whether everything is sent.
    pub fn is_sent(&self) -> bool {
        self.sent == self.entries.len() && self.held.is_empty()
    }

    /// How many messages are in it.
    pub fn messages(&self) -> usize {
        self.entries.iter().chain(&self.held).filter(|entry| entry.purpose.outlives_session()).count()
    }

    /// What is in it costs so much.
    pub fn bytes(&self) -> usize {
        self.message_bytes + self.housekeeping_bytes
    }

    /// Where a command's cost is counted.
    fn account(&mut self, entry: &QueueEntry) -> &mut usize {
        match entry.purpose.outlives_session() {
            true => &mut self.message_bytes,
            false => &mut self.housekeeping_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(room: &str) -> Purpose {
        Purpose::Message { room: RoomName::parse(room).unwrap() }
    }

    fn sent(queue: &mut Queue) -> String {
        let mut out = Vec::new();
        queue.send(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_outlive_the_session_and_nothing_else_does() {
        let mut queue = Queue::new(4096);
        queue.push(message("a"), b"1".to_vec());
        queue.push(Purpose::Housekeeping, b"2".to_vec());
        queue.push(message("b"), b"3".to_vec());
        assert_eq!(sent(&mut queue), "123");
        assert_eq!(queue.answered(), Some(message("a")));
        queue.push(message("c"), b"4".to_vec());
        queue.cut();
        assert_eq!(sent(&mut queue), "");
        queue.release();
        assert_eq!(sent(&mut queue), "34");
        assert_eq!([queue.answered(), queue.answered()], [Some(message("b")), Some(message("c"))]);
        assert_eq!((queue.answered(), queue.bytes()), (None, 0));
    }

    #[test]
    fn the_oldest_unsent_messages_make_room() {
        let cost = size_of::<QueueEntry>() + 10;
        let mut queue = Queue::new(2 * cost);
        queue.push(message("sent"), vec![b'.'; 10]);
        assert!(queue.send(&mut Vec::new()));
        queue.push(Purpose::Housekeeping, vec![b'u'; 10]);
        queue.push(message("a"), vec![b'a'; 10]);
        assert_eq!(queue.take_shed(), []);
        queue.push(message("b"), vec![b'b'; 10]);
        assert_eq!(queue.take_shed(), [message("a")]);
        assert!(!queue.is_over());
        assert_eq!(sent(&mut queue), "u".repeat(10) + &"b".repeat(10));
        (0..3).for_each(|_| queue.push(Purpose::Housekeeping, vec![0; UPKEEP_MAX_BYTES / 4]));
        assert_eq!((queue.take_shed(), queue.is_over()), (vec![], false), "it takes no room from messages");
        queue.push(Purpose::Housekeeping, vec![0; UPKEEP_MAX_BYTES / 4]);
        assert!(queue.is_over());
    }

    #[test]
    fn what_is_held_back_keeps_its_order_and_is_shed_too() {
        let cost = size_of::<QueueEntry>() + 1;
        let mut queue = Queue::new(2 * cost);
        queue.push(message("a"), b"1".to_vec());
        sent(&mut queue);
        queue.cut();
        queue.push(message("b"), b"2".to_vec());
        queue.push(Purpose::Mark, b"3".to_vec());
        queue.push(Purpose::Housekeeping, b"4".to_vec());
        assert_eq!((sent(&mut queue).as_str(), queue.is_sent()), ("4", false));
        queue.push(message("c"), b"5".to_vec());
        assert_eq!((queue.take_shed(), queue.is_over()), (vec![message("a")], false));
        assert_eq!(queue.answered(), Some(Purpose::Housekeeping));
        queue.release();
        assert_eq!((sent(&mut queue).as_str(), queue.is_sent()), ("235", true));
    }

    #[test]
    fn no_more_is_sent_than_the_window_takes() {
        let mut queue = Queue::new(1 << 30);
        (0..3).for_each(|_| queue.push(message("a"), vec![0; WINDOW_BYTES / 2]));
        assert_eq!(sent(&mut queue).len(), WINDOW_BYTES);
        assert!(!queue.is_sent());
        queue.answered();
        assert_eq!(sent(&mut queue).len(), WINDOW_BYTES / 2);
        assert!(queue.is_sent());
    }
}
