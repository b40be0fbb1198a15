//! The commands for Redis that are unsent or unanswered: [`Queue`]. Redis answers them in order.
//!
//! Messages stay in the queue until Redis has answered, and are sent again if the session ends before. So they may arrive
//! twice, but are not lost. PeerStream commands are discarded with the session.
//!
//! After the end of a session messages are held back until [`Queue::release`]. Redis delivers only to current subscribers, and
//! processes that lost their sessions too may not be back yet.

use std::collections::VecDeque;
use std::mem;

use crate::text::{Name, RoomName};

/// The most bytes sent and unanswered. More would only fill Redis's buffers.
const WINDOW_BYTES: usize = 256 * 1024;

/// The most bytes of other commands than messages, mainly for the registration of many clients. More means that Redis does
/// not read.
const HOUSEKEEPING_MAX_BYTES: usize = 128 * 1024 * 1024;

/// The purpose of a command, which decides how its reply is handled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A message to a room.
    Message {
        room: RoomName,
    },
    /// A private message to a client of another process.
    Private {
        from: Name,
        to: Name,
    },
    /// Requests whether a process is subscribed.
    Probe {
        process: u64,
    },
    /// Reads all clients of a process.
    Snapshot {
        process: u64,
    },
    /// The watermark of a room. It must not overtake the messages before it.
    Watermark,
    /// Reads the version of our own clients in Redis, to detect that another program has changed them.
    CheckRegistration {
        /// The expected version.
        version: u64,
    },
    /// Removes departed clients from the hash.
    Removal,
    /// The last command of the registration.
    Registered,
    /// The hello to all processes.
    Announced,
    /// A `PING` behind the held messages: its reply shows that Redis has accepted them.
    Proof,
    Housekeeping,
}

impl Purpose {
    /// Whether the command is kept for the next session.
    fn outlives_session(&self) -> bool {
        matches!(self, Purpose::Message { .. } | Purpose::Private { .. })
    }

    /// Whether the command is held back together with the messages.
    pub fn can_be_held(&self) -> bool {
        self.outlives_session() || matches!(self, Purpose::Watermark | Purpose::Proof)
    }

    /// Whether a refused command must be repeated to show that Redis accepts it. The start of a session has no such command.
    pub fn needs_retry(&self) -> bool {
        matches!(
            self,
            Purpose::Probe { .. }
                | Purpose::Snapshot { .. }
                | Purpose::CheckRegistration { .. }
                | Purpose::Removal
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

/// Commands in order: first unanswered ones, then unsent ones, then held ones.
#[derive(Debug)]
pub struct Queue {
    entries: VecDeque<QueueEntry>,
    /// Empty unless `holds` is set. Then no command in `entries` outlives the session.
    held: VecDeque<QueueEntry>,
    holds: bool,
    /// Number of entries that are sent and unanswered.
    sent: usize,
    sent_bytes: usize,
    /// Memory of the messages, and of the other commands.
    message_bytes: usize,
    housekeeping_bytes: usize,
    /// The limit for `message_bytes`.
    max_bytes: usize,
    /// Messages discarded since the last [`Queue::take_shed`].
    shed: Vec<Purpose>,
}

impl Queue {
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

    /// Adds a command. If messages exceed the limit, the oldest unsent ones are discarded.
    pub fn push(&mut self, purpose: Purpose, command: Vec<u8>) {
        let entry = QueueEntry { purpose, command: command.into() };
        *self.counter(&entry) += entry.cost_bytes();
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
            // Messages that are sent can't be discarded.
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

    /// The messages discarded since the last call.
    pub fn take_shed(&mut self) -> Vec<Purpose> {
        mem::take(&mut self.shed)
    }

    /// Whether commands other than messages exceed their limit.
    pub fn is_over_limit(&self) -> bool {
        self.housekeeping_bytes > HOUSEKEEPING_MAX_BYTES
    }

    /// Appends the commands that fit into the window. Returns whether there were any.
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

    /// The oldest unanswered command with its purpose.
    pub fn oldest(&self) -> Option<(&Purpose, &[u8])> {
        self.entries.front().filter(|_| self.sent > 0).map(|entry| (&entry.purpose, &entry.command[..]))
    }

    /// Removes the oldest command after its reply. `None` if no reply was expected.
    pub fn pop_answered(&mut self) -> Option<Purpose> {
        self.sent = self.sent.checked_sub(1)?;
        debug_assert!(self.sent < self.entries.len(), "sent commands stay in the queue until their replies");
        let entry = self.entries.pop_front()?;
        self.sent_bytes -= entry.command.len();
        *self.counter(&entry) -= entry.cost_bytes();
        Some(entry.purpose)
    }

    /// Ends the session: unanswered messages become unsent, other commands are discarded, and messages are held from now on.
    pub fn end_session(&mut self) {
        (self.sent, self.sent_bytes, self.holds) = (0, 0, true);
        self.entries.append(&mut self.held);
        self.held = mem::take(&mut self.entries);
        self.held.retain(|entry| entry.purpose.outlives_session());
        self.message_bytes = self.held.iter().map(QueueEntry::cost_bytes).sum();
        self.housekeeping_bytes = 0;
    }

    /// Ends the hold.
    pub fn release(&mut self) {
        self.holds = false;
        self.entries.append(&mut self.held);
    }

    /// Whether a reply is pending.
    pub fn is_waiting(&self) -> bool {
        self.sent > 0
    }

    /// Whether every command is sent.
    pub fn is_sent(&self) -> bool {
        self.sent == self.entries.len() && self.held.is_empty()
    }

    /// Number of queued messages.
    pub fn messages(&self) -> usize {
        self.entries.iter().chain(&self.held).filter(|entry| entry.purpose.outlives_session()).count()
    }

    /// Memory of all queued commands.
    pub fn bytes(&self) -> usize {
        self.message_bytes + self.housekeeping_bytes
    }

    /// The counter for the memory of `entry`.
    fn counter(&mut self, entry: &QueueEntry) -> &mut usize {
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
        assert_eq!(queue.pop_answered(), Some(message("a")));
        queue.push(message("c"), b"4".to_vec());
        queue.end_session();
        assert_eq!(sent(&mut queue), "");
        queue.release();
        assert_eq!(sent(&mut queue), "34");
        assert_eq!([queue.pop_answered(), queue.pop_answered()], [Some(message("b")), Some(message("c"))]);
        assert_eq!((queue.pop_answered(), queue.bytes()), (None, 0));
    }

    #[test]
    fn oldest_unsent_messages_are_shed() {
        let cost = size_of::<QueueEntry>() + 10;
        let mut queue = Queue::new(2 * cost);
        queue.push(message("sent"), vec![b'.'; 10]);
        assert!(queue.send(&mut Vec::new()));
        queue.push(Purpose::Housekeeping, vec![b'u'; 10]);
        queue.push(message("a"), vec![b'a'; 10]);
        assert_eq!(queue.take_shed(), []);
        queue.push(message("b"), vec![b'b'; 10]);
        assert_eq!(queue.take_shed(), [message("a")]);
        assert!(!queue.is_over_limit());
        assert_eq!(sent(&mut queue), "u".repeat(10) + &"b".repeat(10));
        (0..3).for_each(|_| queue.push(Purpose::Housekeeping, vec![0; HOUSEKEEPING_MAX_BYTES / 4]));
        assert_eq!((queue.take_shed(), queue.is_over_limit()), (vec![], false), "it has its own limit");
        queue.push(Purpose::Housekeeping, vec![0; HOUSEKEEPING_MAX_BYTES / 4]);
        assert!(queue.is_over_limit());
    }

    #[test]
    fn held_commands_keep_their_order_and_are_shed_too() {
        let cost = size_of::<QueueEntry>() + 1;
        let mut queue = Queue::new(2 * cost);
        queue.push(message("a"), b"1".to_vec());
        sent(&mut queue);
        queue.end_session();
        queue.push(message("b"), b"2".to_vec());
        queue.push(Purpose::Watermark, b"3".to_vec());
        queue.push(Purpose::Housekeeping, b"4".to_vec());
        assert_eq!((sent(&mut queue).as_str(), queue.is_sent()), ("4", false));
        queue.push(message("c"), b"5".to_vec());
        assert_eq!((queue.take_shed(), queue.is_over_limit()), (vec![message("a")], false));
        assert_eq!(queue.pop_answered(), Some(Purpose::Housekeeping));
        queue.release();
        assert_eq!((sent(&mut queue).as_str(), queue.is_sent()), ("235", true));
    }

    #[test]
    fn window_limits_the_bytes_sent() {
        let mut queue = Queue::new(1 << 30);
        (0..3).for_each(|_| queue.push(message("a"), vec![0; WINDOW_BYTES / 2]));
        assert_eq!(sent(&mut queue).len(), WINDOW_BYTES);
        assert!(!queue.is_sent());
        queue.pop_answered();
        assert_eq!(sent(&mut queue).len(), WINDOW_BYTES / 2);
        assert!(queue.is_sent());
    }
}
