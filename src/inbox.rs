//! What came in: [`Inbox`], what one connection has sent and nobody has used yet; [`Inboxes`], those of all; and
//! [`Scratch`], the one buffer that all connections read into.
//!
//! A turn takes the inbox, loads its bytes to the front of the scratch buffer, reads behind them, lets the codec consume
//! from the front, and puts back what is left. Nearly always nothing is left, so only few connections have an inbox.

use std::io;

use crate::codec::websocket::Waiting;
use crate::codec::{Input, Unfinished};
use crate::protocol::CloseReason;
use crate::sparse::Sparse;

/// Bytes asked of the kernel in one read. Larger means fewer calls for who sends much; smaller, less to keep for a
/// client that may send only so many messages at once.
pub const READ_BYTES: usize = 8 * 1024;

/// The unused input of a connection between its turns.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Box<[u8]>,
    /// What its codec is in the middle of.
    pub unfinished: Option<Box<Unfinished>>,
    /// What was read of it that it may not be heard with yet.
    held: Option<Input>,
    /// Messages of a WebSocket client behind that.
    pub waiting: Waiting,
    /// Why nothing can be decoded behind those.
    pub failed: Option<CloseReason>,
}

impl Inbox {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.unfinished.is_none() && !self.has_messages() && self.failed.is_none()
    }

    /// Whether something of the client waits to be handled.
    pub fn has_messages(&self) -> bool {
        self.held.is_some() || !self.waiting.is_empty()
    }

    /// The input that was not used.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps what was read while the client has to wait.
    pub fn hold(&mut self, input: Input) {
        self.held = Some(input);
    }

    /// What was kept while the client had to wait.
    pub fn take_held(&mut self) -> Option<Input> {
        self.held.take()
    }
}

/// The inboxes of the connections that have something in them, by slot.
#[derive(Debug, Default)]
pub struct Inboxes {
    full: Sparse<Box<Inbox>>,
}

impl Inboxes {
    /// Takes the inbox of a connection, for a turn.
    pub fn take(&mut self, slot: u32) -> Inbox {
        self.full.take(slot).map_or_else(Inbox::default, |inbox| *inbox)
    }

    /// Puts it back, if there is something in it.
    pub fn put(&mut self, slot: u32, inbox: Inbox) {
        if !inbox.is_empty() {
            self.full.insert(slot, Box::new(inbox));
        }
    }

    /// The inbox of a connection, if there is something in it.
    pub fn get(&self, slot: u32) -> Option<&Inbox> {
        self.full.get(slot).map(|inbox| &**inbox)
    }

    /// Bytes that a connection has sent and nobody has used.
    pub fn unused_bytes(&self, slot: u32) -> usize {
        self.full.get(slot).map_or(0, |inbox| inbox.bytes.len())
    }

    /// Memory of the messages of a connection that are not complete, or wait.
    pub fn message_bytes(&self, slot: u32) -> usize {
        self.full.get(slot).map_or(0, |inbox| {
            let unfinished = inbox.unfinished.as_ref().map_or(0, |unfinished| unfinished.memory_bytes());
            unfinished + inbox.waiting.memory_bytes()
        })
    }

    /// Whether there is something in a connection's inbox.
    pub fn has(&self, slot: u32) -> bool {
        self.full.get(slot).is_some()
    }

    /// Whose there are, in no order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.full.slots()
    }
}

/// The shared read buffer. Between turns it holds nothing.
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

    /// Begins a turn with what the inbox has.
    pub fn load(&mut self, inbox: &mut Inbox) {
        let bytes = std::mem::take(&mut inbox.bytes);
        self.buffer[..bytes.len()].copy_from_slice(&bytes);
        (self.start, self.end) = (0, bytes.len());
    }

    /// Ends a turn: what is left goes back.
    pub fn store(&mut self, inbox: &mut Inbox) {
        inbox.bytes = self.unused().into();
        (self.start, self.end) = (0, 0);
    }

    /// What the codec may look at.
    pub fn unused(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The codec is done with the first `bytes`.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end, "consumed more than there was");
    }

    /// Whether a whole read fits behind the unused bytes.
    pub fn has_room(&self) -> bool {
        self.buffer.len() - (self.end - self.start) >= READ_BYTES
    }

    /// Reads once, behind the unused bytes, at most `most` bytes.
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
    fn what_is_left_of_one_turn_begins_the_next() {
        let mut scratch = Scratch::new(16);
        let mut inbox = Inbox::default();
        let give = |scratch: &mut Scratch, bytes: &[u8]| {
            let read = |buffer: &mut [u8]| {
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            };
            assert_eq!(scratch.fill(READ_BYTES, read).unwrap(), bytes.len());
        };
        scratch.load(&mut inbox);
        give(&mut scratch, b"one\ntw");
        scratch.consume(4);
        give(&mut scratch, b"o");
        scratch.store(&mut inbox);
        assert_eq!(&*inbox.bytes, b"two");
        scratch.load(&mut inbox);
        assert!(inbox.is_empty());
        give(&mut scratch, b"\n");
        assert_eq!(scratch.unused(), b"two\n");
        scratch.consume(4);
        scratch.store(&mut inbox);
        assert!(inbox.is_empty());
    }

    #[test]
    fn only_what_is_not_empty_is_kept() {
        let mut inboxes = Inboxes::default();
        inboxes.put(1, Inbox::default());
        assert!(!inboxes.has(1));
        inboxes.put(1, inbox(3));
        assert!(inboxes.has(1) && !inboxes.has(2));
        let mut held = inboxes.take(1);
        assert!(!inboxes.has(1) && inboxes.take(1).is_empty());
        held.bytes = Box::default();
        held.hold(Input::Continue);
        inboxes.put(2, held);
        assert!(matches!(inboxes.take(2).take_held(), Some(Input::Continue)));
    }

    fn inbox(bytes: usize) -> Inbox {
        Inbox { bytes: vec![b'x'; bytes].into(), ..Inbox::default() }
    }

    #[test]
    fn there_is_room_for_a_read_behind_the_most_an_inbox_has() {
        let mut scratch = Scratch::new(16);
        scratch.load(&mut inbox(16));
        assert!(scratch.has_room());
        scratch.load(&mut inbox(17));
        assert!(!scratch.has_room());
    }
}
