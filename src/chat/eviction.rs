//! The memory limit for the history of all rooms: [`EvictionQueue`].
//!
//! Each room stores its own messages. The queue has the order in which they came, so that over the limit the oldest message
//! of all rooms is evicted first.

use std::collections::VecDeque;

use super::ids::RoomId;
use crate::protocol::Message;

/// Stale entries are swept when there are more entries than this many times the messages, and more than [`SWEEP_MIN`].
const SWEEP_FACTOR: usize = 2;
const SWEEP_MIN: usize = 64;

/// The order and the memory of all stored messages.
#[derive(Debug)]
pub struct EvictionQueue {
    max_bytes: usize,
    bytes: usize,
    messages: usize,
    /// Room and number of each message, oldest first. The entry of a message that its room has removed is stale until it
    /// reaches the front or is swept.
    order: VecDeque<(RoomId, u64)>,
}

impl EvictionQueue {
    pub fn new(max_bytes: usize) -> EvictionQueue {
        EvictionQueue { max_bytes, bytes: 0, messages: 0, order: VecDeque::new() }
    }

    /// Replaces the limit. [`EvictionQueue::pop_excess`] enforces it.
    pub fn set_max(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Records that a room has stored a message.
    pub fn record_stored(&mut self, room: RoomId, message: &Message) {
        self.bytes += memory_bytes(message);
        self.messages += 1;
        self.order.push_back((room, message.seq));
    }

    /// Records that a room has removed a message.
    pub fn record_removed(&mut self, message: &Message) {
        self.bytes -= memory_bytes(message);
        self.messages -= 1;
    }

    /// Takes the message to evict next, if the limit is exceeded. Its room may have removed it already.
    pub fn pop_excess(&mut self) -> Option<(RoomId, u64)> {
        match self.bytes > self.max_bytes {
            true => self.order.pop_front(),
            false => None,
        }
    }

    /// Removes stale entries once there are many.
    pub fn sweep(&mut self, is_stored: impl Fn(RoomId, u64) -> bool) {
        if self.order.len() > SWEEP_MIN.max(self.messages * SWEEP_FACTOR) {
            self.order.retain(|(room, seq)| is_stored(*room, *seq));
        }
    }

    /// The number of entries, with stale ones.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The memory of all stored messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The memory of a message: itself behind a reference count, its text, a name on the heap, and its entries in two queues.
fn memory_bytes(message: &Message) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    const QUEUES: usize = size_of::<usize>() + size_of::<(RoomId, u64)>();
    size_of::<Message>() + COUNTS + QUEUES + message.body.len() + message.from.heap_bytes()
}
