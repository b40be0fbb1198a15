//! Queued input messages of a delayed client: [`Waiting`].

use super::WebSocketMessage;
use crate::codec::Input;

/// The least capacity of the queue, whatever the size limit of a message is.
const MIN_BYTES: usize = 16 * 1024;

/// The kind and the length in front of each message.
const HEAD_BYTES: usize = 1 + size_of::<u32>();

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// A queue of complete messages in one buffer. Each costs five bytes more than its payload.
#[derive(Debug, Default)]
pub struct Waiting {
    bytes: Vec<u8>,
    /// Index of the first message.
    start: usize,
}

impl Waiting {
    /// Bytes that a message takes in the queue.
    pub fn bytes_of(message_bytes: usize) -> usize {
        HEAD_BYTES + message_bytes
    }

    /// The capacity for messages of at most `message_max` bytes: one of these, or many short ones.
    pub fn max_bytes(message_max: usize) -> usize {
        Waiting::bytes_of(message_max.max(MIN_BYTES))
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub fn push(&mut self, message: WebSocketMessage<'_>) {
        let (kind, payload) = match message {
            WebSocketMessage::Text(text) => (TEXT, text.as_bytes()),
            WebSocketMessage::Binary(bytes) => (BINARY, bytes),
        };
        self.reserve(Waiting::bytes_of(payload.len()));
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Makes room: first by removing consumed messages, then by growing a quarter, since the capacity counts as memory.
    fn reserve(&mut self, more: usize) {
        if self.bytes.len() + more > self.bytes.capacity() {
            self.bytes.drain(..std::mem::take(&mut self.start));
        }
        if self.bytes.len() + more > self.bytes.capacity() {
            self.bytes.reserve_exact(more.max(self.bytes.len() / 4));
        }
    }

    /// Bytes of heap memory.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Removes the first message and decodes it.
    pub fn pop(&mut self, read: fn(WebSocketMessage<'_>) -> Input) -> Option<Input> {
        let (head, rest) = self.bytes[self.start..].split_first_chunk::<HEAD_BYTES>()?;
        let [kind, length @ ..] = *head;
        let payload = &rest[..u32::from_le_bytes(length) as usize];
        let message = match kind {
            TEXT => WebSocketMessage::Text(
                std::str::from_utf8(payload).expect("text was checked when it was queued"),
            ),
            _ => WebSocketMessage::Binary(payload),
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
    fn messages_come_out_in_order_and_free_their_memory() {
        let mut waiting = Waiting::default();
        let payload = |number: usize| vec![b'a' + (number % 26) as u8; number * 7 % 300];
        let (mut pushed, mut next, mut most) = (0, 0, 0);
        while next < 1_000 {
            for _ in 0..pushed % 5 + 1 {
                let payload = payload(pushed);
                waiting.push(match pushed % 3 {
                    0 => WebSocketMessage::Binary(&payload),
                    _ => WebSocketMessage::Text(std::str::from_utf8(&payload).unwrap()),
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
