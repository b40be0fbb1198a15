//! An incomplete WebSocket message: [`Partial`].

use super::{WebSocketMessage, unmask};
use crate::protocol::CloseReason;

/// A message whose last frame is incomplete or still missing.
#[derive(Debug)]
pub struct Partial {
    is_text: bool,
    /// The unmasked payload so far.
    payload: Vec<u8>,
    /// Bytes of `payload` that are complete characters. At most three more bytes begin an incomplete one.
    valid_bytes: usize,
    /// Frames so far, with the open one.
    frames: usize,
    frame: FrameProgress,
}

/// The state of the latest frame.
#[derive(Clone, Copy, Debug, Default)]
struct FrameProgress {
    remaining_bytes: usize,
    /// The mask, rotated so that it applies to the next byte.
    mask: [u8; 4],
    is_final: bool,
    is_received: bool,
}

impl Partial {
    /// A message without frames.
    pub(super) fn new(is_text: bool) -> Partial {
        let frame = FrameProgress { is_received: true, ..FrameProgress::default() };
        Partial { is_text, payload: Vec::new(), valid_bytes: 0, frames: 0, frame }
    }

    pub(super) fn begin_frame(&mut self, payload_bytes: usize, mask: [u8; 4], is_final: bool) {
        debug_assert!(self.frame.is_received, "a frame begins only after the last one is complete");
        self.frames += 1;
        self.frame = FrameProgress { remaining_bytes: payload_bytes, mask, is_final, is_received: false };
    }

    /// Length of the message with the missing bytes of the open frame.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.frame.remaining_bytes
    }

    /// Bytes of heap memory.
    pub fn memory_bytes(&self) -> usize {
        self.payload.capacity()
    }

    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Whether the next byte of input is payload of the open frame.
    pub(super) fn is_within_a_frame(&self) -> bool {
        !self.frame.is_received
    }

    pub(super) fn is_complete(&self) -> bool {
        self.frame.is_received && self.frame.is_final
    }

    /// Appends payload of the open frame from the front of `input`. Returns the bytes used, and the message if it is complete.
    ///
    /// # Errors
    /// The text is not UTF-8 (RFC 6455, 8.1).
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        message_max: usize,
    ) -> Result<(usize, Option<WebSocketMessage<'_>>), CloseReason> {
        let masked = &input[..input.len().min(self.frame.remaining_bytes)];
        let before = self.payload.len();
        self.reserve(masked.len(), message_max);
        self.payload.extend_from_slice(masked);
        unmask(&mut self.payload[before..], self.frame.mask);
        let is_received = masked.len() == self.frame.remaining_bytes;
        if self.is_text {
            match self.valid_len(is_received && self.frame.is_final) {
                Some(valid_bytes) => self.valid_bytes = valid_bytes,
                None => return Err(CloseReason::BadText),
            }
        }
        self.frame.remaining_bytes -= masked.len();
        self.frame.mask.rotate_left(masked.len() % 4);
        self.frame.is_received = is_received;
        Ok((masked.len(), if self.is_complete() { self.message() } else { None }))
    }

    /// Length of the text in complete characters; `None` if it is not UTF-8.
    fn valid_len(&self, is_complete: bool) -> Option<usize> {
        match std::str::from_utf8(&self.payload[self.valid_bytes..]) {
            Ok(_) => Some(self.payload.len()),
            Err(error) if error.error_len().is_some() || is_complete => None,
            Err(error) => Some(self.valid_bytes + error.valid_up_to()),
        }
    }

    fn message(&self) -> Option<WebSocketMessage<'_>> {
        match self.is_text {
            true => std::str::from_utf8(&self.payload).ok().map(WebSocketMessage::Text),
            false => Some(WebSocketMessage::Binary(&self.payload)),
        }
    }

    /// Doubles the capacity as a vector does, but never beyond the size limit of a message.
    fn reserve(&mut self, more: usize, message_max: usize) {
        let needed = self.payload.len() + more;
        if needed > self.payload.capacity() {
            let target = needed.max((2 * self.payload.capacity()).min(message_max));
            self.payload.reserve_exact(target - self.payload.len());
        }
    }
}
