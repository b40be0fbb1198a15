//! A WebSocket message that is not complete: [`Partial`].

use super::{Whole, unmask};
use crate::protocol::CloseReason;

/// A message of which some bytes are still to come, in the frame that is open or in others.
#[derive(Debug)]
pub struct Partial {
    is_text: bool,
    /// The payload so far, without the mask.
    payload: Vec<u8>,
    /// Bytes of a text that are whole characters. At most three more begin a character that is not complete.
    checked: usize,
    /// Frames that have begun.
    frames: usize,
    frame: FrameProgress,
}

/// The frame that has begun last.
#[derive(Clone, Copy, Debug, Default)]
struct FrameProgress {
    /// Bytes that are still to come.
    left: usize,
    /// The mask for the next of them.
    mask: [u8; 4],
    is_final: bool,
    is_over: bool,
}

impl Partial {
    /// A message of no frames yet.
    pub(super) fn new(is_text: bool) -> Partial {
        let frame = FrameProgress { is_over: true, ..FrameProgress::default() };
        Partial { is_text, payload: Vec::new(), checked: 0, frames: 0, frame }
    }

    /// Begins a frame.
    pub(super) fn open(&mut self, payload_bytes: usize, mask: [u8; 4], is_final: bool) {
        debug_assert!(self.frame.is_over, "the last frame goes on");
        self.frames += 1;
        self.frame = FrameProgress { left: payload_bytes, mask, is_final, is_over: false };
    }

    /// Bytes of the message, with those that are still to come in the frame that is open.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.frame.left
    }

    /// Memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.payload.capacity()
    }

    /// Frames that have begun.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Whether the next byte of input belongs to the payload of a frame.
    pub(super) fn is_within_a_frame(&self) -> bool {
        !self.frame.is_over
    }

    /// Whether nothing is still to come.
    pub(super) fn is_whole(&self) -> bool {
        self.frame.is_over && self.frame.is_final
    }

    /// Moves bytes of the open frame here from the front of `input`: how many, and the message if it is whole with them.
    ///
    /// # Errors
    /// The text can't become UTF-8 any more.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        message_max: usize,
    ) -> Result<(usize, Option<Whole<'_>>), CloseReason> {
        let masked = &input[..input.len().min(self.frame.left)];
        let before = self.payload.len();
        self.reserve(masked.len(), message_max);
        self.payload.extend_from_slice(masked);
        unmask(&mut self.payload[before..], self.frame.mask);
        let is_over = masked.len() == self.frame.left;
        if self.is_text {
            match self.check(is_over && self.frame.is_final) {
                Some(checked) => self.checked = checked,
                None => return Err(CloseReason::BadText),
            }
        }
        self.frame.left -= masked.len();
        self.frame.mask.rotate_left(masked.len() % 4);
        self.frame.is_over = is_over;
        Ok((masked.len(), if self.is_whole() { self.whole() } else { None }))
    }

    /// The length of the text in whole characters; `None` if it is no UTF-8, whatever follows.
    fn check(&self, is_whole: bool) -> Option<usize> {
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => Some(self.payload.len()),
            Err(error) if error.error_len().is_some() || is_whole => None,
            Err(error) => Some(self.checked + error.valid_up_to()),
        }
    }

    fn whole(&self) -> Option<Whole<'_>> {
        match self.is_text {
            true => std::str::from_utf8(&self.payload).ok().map(Whole::Text),
            false => Some(Whole::Binary(&self.payload)),
        }
    }

    /// Makes room by doubling, as a vector does, but never for more than a message may have.
    fn reserve(&mut self, more: usize, message_max: usize) {
        let needed = self.payload.len() + more;
        if needed > self.payload.capacity() {
            let target = needed.max((2 * self.payload.capacity()).min(message_max));
            self.payload.reserve_exact(target - self.payload.len());
        }
    }
}
