//! Input: [`Inbox`] is the unused input of one connection, [`Inboxes`] has those of all connections, and all connections
//! read into one buffer, [`Scratch`].
//!
//! A turn copies the inbox to the front of the scratch buffer and reads behind it. The codec consumes bytes from the front,
//! and the rest is stored in the inbox. Nearly always there is no rest, so few connections have an inbox.

use std::io;

use crate::codec::websocket::Waiting;
use crate::codec::{Input, Unfinished};
use crate::protocol::CloseReason;
use crate::sparse::Sparse;

/// The length of one read. A larger one saves calls for clients that send much. A smaller one leaves less unused input of
/// clients that are over their rate.
pub const READ_BYTES: usize = 8 * 1024;

/// The unused input of a connection between its turns.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Box<[u8]>,
    /// Input that the codec has decoded in part.
    pub unfinished: Option<Box<Unfinished>>,
    /// Decoded input that is handled when the client's wait is over.
    delayed: Option<Input>,
    /// Later messages of a WebSocket client.
    pub waiting: Waiting,
    /// The reason for which the bytes behind these messages can't be decoded.
    pub failed: Option<CloseReason>,
}

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.unfinished.is_none() && !self.has_messages() && self.failed.is_none()
    }

    /// Whether a request or message has begun. A CR may be the first half of a blank line, which precedes a request.
    pub fn has_begun(&self) -> bool {
        self.unfinished.is_some() || !matches!(&*self.bytes, [] | b"\r")
    }

    /// Whether decoded input waits to be handled.
    pub fn has_messages(&self) -> bool {
        self.delayed.is_some() || !self.waiting.is_empty()
    }

    /// Input that was not decoded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Stores decoded input while the client must wait.
    pub fn delay(&mut self, input: Input) {
        self.delayed = Some(input);
    }

    pub fn take_delayed(&mut self) -> Option<Input> {
        self.delayed.take()
    }
}

/// The inboxes that are not empty, by the slots of their connections.
#[derive(Debug, Default)]
pub struct Inboxes {
    inboxes: Sparse<Box<Inbox>>,
}

impl Inboxes {
    /// Takes the inbox of a connection, which is empty if none is stored.
    pub fn take(&mut self, slot: u32) -> Inbox {
        self.inboxes.take(slot).map_or_else(Inbox::default, |inbox| *inbox)
    }

    /// Stores an inbox unless it is empty.
    pub fn store(&mut self, slot: u32, inbox: Inbox) {
        if !inbox.is_empty() {
            self.inboxes.insert(slot, Box::new(inbox));
        }
    }

    /// The inbox of a connection, unless it is empty.
    pub fn get(&self, slot: u32) -> Option<&Inbox> {
        self.inboxes.get(slot).map(|inbox| &**inbox)
    }

    /// Bytes of a connection that were read and not decoded.
    pub fn unused_bytes(&self, slot: u32) -> usize {
        self.inboxes.get(slot).map_or(0, |inbox| inbox.bytes.len())
    }

    /// Memory of incomplete and waiting messages of a connection.
    pub fn message_bytes(&self, slot: u32) -> usize {
        self.inboxes.get(slot).map_or(0, |inbox| {
            let unfinished = inbox.unfinished.as_ref().map_or(0, |unfinished| unfinished.memory_bytes());
            unfinished + inbox.waiting.memory_bytes()
        })
    }

    /// Whether a connection has unused input.
    pub fn has(&self, slot: u32) -> bool {
        self.inboxes.get(slot).is_some()
    }

    /// The slots of connections with unused input, in no order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.inboxes.slots()
    }
}

/// The shared read buffer. Between turns it is empty.
#[derive(Debug)]
pub struct Scratch {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Scratch {
    /// A buffer for [`READ_BYTES`] behind at most `unused_max_bytes` of an inbox.
    pub fn new(unused_max_bytes: usize) -> Scratch {
        Scratch { buffer: vec![0; unused_max_bytes + READ_BYTES].into(), start: 0, end: 0 }
    }

    /// Begins a turn with the bytes of an inbox.
    pub fn load(&mut self, inbox: &mut Inbox) {
        let bytes = std::mem::take(&mut inbox.bytes);
        self.buffer[..bytes.len()].copy_from_slice(&bytes);
        (self.start, self.end) = (0, bytes.len());
    }

    /// Ends a turn: the unused bytes go back to the inbox.
    pub fn store(&mut self, inbox: &mut Inbox) {
        inbox.bytes = self.unused().into();
        (self.start, self.end) = (0, 0);
    }

    pub fn unused(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Drops the first `bytes`, which the codec has used.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end, "more bytes were consumed than read");
    }

    /// Whether a whole read fits behind the unused bytes.
    pub fn has_room(&self) -> bool {
        self.buffer.len() - (self.end - self.start) >= READ_BYTES
    }

    /// Reads at most `most` bytes behind the unused ones, in one call.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn fill(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let end = self.buffer.len().min(self.end + most);
        let count = read(&mut self.buffer[self.end..end])?;
        self.end += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_bytes_of_a_turn_begin_the_next() {
        let mut scratch = Scratch::new(16);
        let mut inbox = Inbox::default();
        let fill = |scratch: &mut Scratch, bytes: &[u8]| {
            let read = |buffer: &mut [u8]| {
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            };
            assert_eq!(scratch.fill(READ_BYTES, read).unwrap(), bytes.len());
        };
        scratch.load(&mut inbox);
        fill(&mut scratch, b"one\ntw");
        scratch.consume(4);
        fill(&mut scratch, b"o");
        scratch.store(&mut inbox);
        assert_eq!(&*inbox.bytes, b"two");
        scratch.load(&mut inbox);
        assert!(inbox.is_empty());
        fill(&mut scratch, b"\n");
        assert_eq!(scratch.unused(), b"two\n");
        scratch.consume(4);
        scratch.store(&mut inbox);
        assert!(inbox.is_empty());
    }

    #[test]
    fn blank_line_begins_no_request() {
        for (bytes, has_begun) in [(&b""[..], false), (b"\r", false), (b"\rG", true), (b"G", true)] {
            assert_eq!(Inbox { bytes: bytes.into(), ..Inbox::default() }.has_begun(), has_begun, "{bytes:?}");
        }
        assert!(Inbox { unfinished: Some(Unfinished::LineEnd.into()), ..Inbox::default() }.has_begun());
    }

    #[test]
    fn empty_inbox_is_not_stored() {
        let mut inboxes = Inboxes::default();
        inboxes.store(1, Inbox::default());
        assert!(!inboxes.has(1));
        inboxes.store(1, inbox(3));
        assert!(inboxes.has(1) && !inboxes.has(2));
        let mut taken = inboxes.take(1);
        assert!(!inboxes.has(1) && inboxes.take(1).is_empty());
        taken.bytes = Box::default();
        taken.delay(Input::Continue);
        inboxes.store(2, taken);
        assert!(matches!(inboxes.take(2).take_delayed(), Some(Input::Continue)));
    }

    fn inbox(bytes: usize) -> Inbox {
        Inbox { bytes: vec![b'x'; bytes].into(), ..Inbox::default() }
    }

    #[test]
    fn longest_inbox_leaves_room_for_a_read() {
        let mut scratch = Scratch::new(16);
        scratch.load(&mut inbox(16));
        assert!(scratch.has_room());
        scratch.load(&mut inbox(17));
        assert!(!scratch.has_room());
    }
}
