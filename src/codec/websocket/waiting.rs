//! Messages of a client that may not be handled yet: [`Waiting`].

use super::Whole;
use crate::codec::Input;

/// Room for waiting messages whatever the limit on one is, in bytes.
const LEAST_BYTES: usize = 16 * 1024;

/// A message's kind and length in front of it.
const HEAD_BYTES: usize = 1 + size_of::<u32>();

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Whole messages in the order they came, as bytes: a short one costs five bytes more than it has.
#[derive(Debug, Default)]
pub struct Waiting {
    bytes: Vec<u8>,
    /// Index of the first one.
    start: usize,
}

impl Waiting {
    /// Memory of a message of so many bytes.
    pub fn bytes_of(message_bytes: usize) -> usize {
        HEAD_BYTES + message_bytes
    }

    /// The most that may wait where messages have at most `message_max` bytes: one of these, or many short ones.
    pub fn max_bytes(message_max: usize) -> usize {
        Waiting::bytes_of(message_max.max(LEAST_BYTES))
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Appends a message.
    pub fn push(&mut self, message: Whole<'_>) {
        let (kind, payload) = match message {
            Whole::Text(text) => (TEXT, text.as_bytes()),
            Whole::Binary(bytes) => (BINARY, bytes),
        };
        self.reserve(Waiting::bytes_of(payload.len()));
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Makes room: first where messages were taken, then a quarter more at a time, since all of it counts as memory.
    fn reserve(&mut self, more: usize) {
        if self.bytes.len() + more > self.bytes.capacity() {
            self.bytes.drain(..std::mem::take(&mut self.start));
        }
        if self.bytes.len() + more > self.bytes.capacity() {
            self.bytes.reserve_exact(more.max(self.bytes.len() / 4));
        }
    }

    /// Memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the first message.
    pub fn pop(&mut self, read: fn(Whole<'_>) -> Input) -> Option<Input> {
        let (head, rest) = self.bytes[self.start..].split_first_chunk::<HEAD_BYTES>()?;
        let [kind, length @ ..] = *head;
        let payload = &rest[..u32::from_le_bytes(length) as usize];
        let message = match kind {
            TEXT => Whole::Text(std::str::from_utf8(payload).expect("it was checked when it came")),
            _ => Whole::Binary(payload),
        };
        let input = read(message);
        self.start += HEAD_BYTES + payload.len();
        if self.is_empty() {
            *self = Waiting::default();
        }
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raw;
    use crate::protocol::{Payload, Request};

    fn popped(waiting: &mut Waiting) -> Option<Vec<u8>> {
        match waiting.pop(raw::decode)? {
            Input::Request { request: Ok(Request::Relay(Payload::Text(text))), .. } => {
                Some(text.as_bytes().into())
            }
            Input::Request { request: Ok(Request::Relay(Payload::Binary(bytes))), .. } => Some(bytes.into()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_come_out_as_they_went_in_and_leave_no_room_behind() {
        let mut waiting = Waiting::default();
        let payload = |number: usize| vec![b'a' + (number % 26) as u8; number * 7 % 300];
        let (mut pushed, mut next, mut most) = (0, 0, 0);
        while next < 1_000 {
            for _ in 0..pushed % 5 + 1 {
                let payload = payload(pushed);
                waiting.push(match pushed % 3 {
                    0 => Whole::Binary(&payload),
                    _ => Whole::Text(std::str::from_utf8(&payload).unwrap()),
                });
                pushed += 1;
            }
            most = most.max(waiting.bytes());
            while next < pushed.saturating_sub(8) {
                assert_eq!(popped(&mut waiting), Some(payload(next)));
                next += 1;
            }
            assert!(waiting.memory_bytes() <= most + most / 4, "{} bytes", waiting.memory_bytes());
        }
        (next..pushed).for_each(|number| assert_eq!(popped(&mut waiting), Some(payload(number))));
        assert_eq!((popped(&mut waiting), waiting.memory_bytes()), (None, 0));
    }
}
