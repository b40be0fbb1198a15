//! How much of what was said may be remembered, over all rooms: [`Ledger`].
//!
//! Each room keeps its own messages; the ledger knows in which order they came, so that past the memory limit the
//! oldest of all goes first, whosever room it is in.

use std::collections::VecDeque;

use super::ids::RoomId;
use crate::protocol::Message;

/// Entries are swept when there are this many times as many as messages, and more than [`SWEEP_LEAST`].
const SWEEP_FACTOR: usize = 2;
const SWEEP_LEAST: usize = 64;

/// What is remembered, without the messages themselves.
#[derive(Debug)]
pub struct Ledger {
    max_bytes: usize,
    bytes: usize,
    messages: usize,
    /// Room and number of each message, in the order they came. An entry stays when its room drops the message by
    /// itself, until it comes to the front or is swept.
    order: VecDeque<(RoomId, u64)>,
}

impl Ledger {
    /// Room for `max_bytes`.
    pub fn new(max_bytes: usize) -> Ledger {
        Ledger { max_bytes, bytes: 0, messages: 0, order: VecDeque::new() }
    }

    /// A message was stored.
    pub fn stored(&mut self, room: RoomId, message: &Message) {
        self.bytes += memory_bytes(message);
        self.messages += 1;
        self.order.push_back((room, message.seq));
    }

    /// A message was dropped.
    pub fn dropped(&mut self, message: &Message) {
        self.bytes -= memory_bytes(message);
        self.messages -= 1;
    }

    /// The message to drop next, if there are too many. It may have been dropped already.
    pub fn excess(&mut self) -> Option<(RoomId, u64)> {
        match self.bytes > self.max_bytes {
            true => self.order.pop_front(),
            false => None,
        }
    }

    /// Forgets the entries of messages that are gone, once they are many. `is_there` tells.
    pub fn sweep(&mut self, is_there: impl Fn(RoomId, u64) -> bool) {
        if self.order.len() > SWEEP_LEAST.max(self.messages * SWEEP_FACTOR) {
            self.order.retain(|(room, seq)| is_there(*room, *seq));
        }
    }

    /// Memory of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Memory of a message: itself behind a reference count, its text, a name that does not fit into it, and its places in
/// two queues.
fn memory_bytes(message: &Message) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    const QUEUES: usize = size_of::<usize>() + size_of::<(RoomId, u64)>();
    size_of::<Message>() + COUNTS + QUEUES + message.body.len() + message.from.heap_bytes()
}
