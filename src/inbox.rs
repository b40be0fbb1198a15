//! What came in: [`Inbox`], the bytes one connection has not used yet, and [`Scratch`], the one buffer that all
//! connections read into.
//!
//! A turn loads the inbox to the front of the scratch buffer, reads behind it, lets the codec consume from the front,
//! and stores what is left. Nearly always nothing is left, so an idle inbox owns nothing.

use std::io;

/// Bytes asked of the kernel in one read. Larger means fewer calls for who sends much; smaller, less to keep for a
/// client that may send only so many messages at once.
pub const READ_BYTES: usize = 8 * 1024;

/// The unused input of a connection between its turns.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Boxed twice, so that an empty inbox is one word.
    bytes: Option<Box<Box<[u8]>>>,
}

impl Inbox {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_none()
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
        let bytes = inbox.bytes.take();
        let bytes = bytes.as_ref().map_or(&[][..], |bytes| bytes);
        self.buffer[..bytes.len()].copy_from_slice(bytes);
        (self.start, self.end) = (0, bytes.len());
    }

    /// Ends a turn: what is left goes back.
    pub fn store(&mut self, inbox: &mut Inbox) {
        inbox.bytes = (!self.unused().is_empty()).then(|| Box::new(self.unused().into()));
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
        assert_eq!(inbox.len(), 3);
        scratch.load(&mut inbox);
        assert!(inbox.is_empty());
        give(&mut scratch, b"\n");
        assert_eq!(scratch.unused(), b"two\n");
        scratch.consume(4);
        scratch.store(&mut inbox);
        assert_eq!(inbox.len(), 0);
    }

    fn inbox(bytes: usize) -> Inbox {
        Inbox { bytes: Some(Box::new(vec![b'x'; bytes].into())) }
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
