//! WebSocket frames (RFC 6455). The server reads them here and writes them here.
//!
//! [`Decoder::decode`] consumes the payload of a data frame as it arrives, so text that can't become UTF-8 is refused
//! within a frame, and one connection never holds more than one message that is not complete ([`Partial`]). A message
//! that arrives whole, in one frame, is read straight from the input, and leaves nothing behind. tungstenite parses and
//! formats the headers.

mod partial;
mod waiting;

use std::io::Cursor;

use tungstenite::error::Error;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::{Input, Step, Unfinished};
use crate::protocol::CloseReason;

pub use partial::Partial;
pub use waiting::Waiting;

/// A frame's header is at most this (RFC 6455, 5.2: two bytes, eight of length, four of mask).
const HEADER_MAX_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_MAX_BYTES: usize = 125;

/// The longest control frame of the server, which does not mask.
pub const CONTROL_FRAME_MAX_BYTES: usize = 2 + CONTROL_MAX_BYTES;

/// The most input that can wait for the rest of a header or a control frame.
pub const UNUSED_MAX_BYTES: usize = HEADER_MAX_BYTES + CONTROL_MAX_BYTES;

/// Frames that any message may have, however short they are.
const FRAMES_FREE: usize = 1024;

/// A message may have one more frame for so many bytes of the limit. Shorter frames are mostly header.
const FRAME_BYTES: usize = 8;

/// The most frames of one message. Empty frames cost work, and a limit on bytes does not bound them.
pub fn max_frames(message_max: usize) -> usize {
    FRAMES_FREE + message_max / FRAME_BYTES
}

/// The decoder of all connections. What it remembers of one is in that connection's [`Unfinished`].
#[derive(Debug)]
pub struct Decoder {
    message_max: usize,
    /// The payload of a message that came in one piece.
    payload: Vec<u8>,
}

/// How a whole message is read: as text, or as bytes.
#[derive(Clone, Copy, Debug)]
pub enum Whole<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary one.
    Binary(&'a [u8]),
}

/// A frame whose header has arrived and keeps the rules.
struct FrameHead {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    bytes: usize,
    payload_bytes: usize,
}

impl Decoder {
    /// A decoder of messages up to `message_max` bytes.
    pub fn new(message_max: usize) -> Decoder {
        Decoder { message_max, payload: Vec::new() }
    }

    /// Takes one step through `input`: a frame, or as much of a long one as is there. `take` gets a message that is whole
    /// with it. A message that needs more than `room` bytes is left where it is ([`Step::Blocked`]).
    ///
    /// Nothing may be decoded behind a step that fails.
    pub fn decode(
        &mut self,
        unfinished: &mut Option<Box<Unfinished>>,
        input: &[u8],
        room: usize,
        take: impl FnOnce(Whole<'_>) -> Option<Input>,
    ) -> Step {
        let partial = match unfinished.as_deref_mut() {
            Some(Unfinished::Message(partial)) => Some(partial),
            _ => None,
        };
        if let Some(partial) = partial.as_deref()
            && partial.is_within_a_frame()
        {
            return if input.is_empty() {
                Step::Incomplete
            } else {
                self.receive(unfinished, 0, input, take)
            };
        }
        let head = match self.head(partial.as_deref(), input) {
            Ok(Some(head)) => head,
            Ok(None) => return Step::Incomplete,
            Err(reason) => return Step::Fail(reason),
        };
        let arrived = &input[head.bytes..input.len().min(head.bytes + head.payload_bytes)];
        let opcode = match head.opcode {
            OpCode::Control(control) => return decode_control(control, &head, arrived),
            OpCode::Data(opcode) => opcode,
        };
        let before = partial.as_deref().map_or(0, |partial| partial.bytes());
        if Waiting::bytes_of(before + head.payload_bytes) > room {
            return Step::Blocked;
        }
        let is_text = opcode == Data::Text;
        match partial {
            None if head.is_final && arrived.len() == head.payload_bytes => {
                return self.read_whole(&head, is_text, arrived, take);
            }
            None => *unfinished = Some(Box::new(Unfinished::Message(Partial::new(is_text)))),
            Some(_) => {}
        }
        if let Some(Unfinished::Message(partial)) = unfinished.as_deref_mut() {
            partial.open(head.payload_bytes, head.mask, head.is_final);
        }
        self.receive(unfinished, head.bytes, &input[head.bytes..], take)
    }

    /// The whole message of one frame, without a copy that outlives the step.
    fn read_whole(
        &mut self,
        head: &FrameHead,
        is_text: bool,
        masked: &[u8],
        take: impl FnOnce(Whole<'_>) -> Option<Input>,
    ) -> Step {
        self.payload.clear();
        self.payload.extend_from_slice(masked);
        unmask(&mut self.payload, head.mask);
        let whole = match is_text {
            true => std::str::from_utf8(&self.payload).map(Whole::Text),
            false => Ok(Whole::Binary(&self.payload)),
        };
        match whole {
            Ok(whole) => Step::Used { bytes: head.bytes + masked.len(), input: take(whole) },
            Err(_) => Step::Fail(CloseReason::BadText),
        }
    }

    /// Moves what has arrived of the frame that is open into its message, behind `header_bytes` of input.
    fn receive(
        &self,
        unfinished: &mut Option<Box<Unfinished>>,
        header_bytes: usize,
        input: &[u8],
        take: impl FnOnce(Whole<'_>) -> Option<Input>,
    ) -> Step {
        let Some(Unfinished::Message(partial)) = unfinished.as_deref_mut() else {
            unreachable!("a frame is open, so its message is");
        };
        let (bytes, whole) = match partial.receive(input, self.message_max) {
            Ok(received) => received,
            Err(reason) => return Step::Fail(reason),
        };
        let input = whole.and_then(take);
        if partial.is_whole() {
            *unfinished = None;
        }
        Step::Used { bytes: header_bytes + bytes, input }
    }

    /// The header at the front of `input`, once all of it is there. What can be judged by it is.
    fn head(&self, partial: Option<&Partial>, input: &[u8]) -> Result<Option<FrameHead>, CloseReason> {
        let mut cursor = Cursor::new(input);
        let Some((header, payload_bytes)) =
            FrameHeader::parse(&mut cursor).map_err(|error| reason(&error))?
        else {
            return Ok(None);
        };
        let bytes = cursor.position() as usize;
        let reserved = header.rsv1 || header.rsv2 || header.rsv3;
        let minimal = header.len(payload_bytes) == bytes;
        let fits = match header.opcode {
            OpCode::Control(_) => header.is_final && payload_bytes <= CONTROL_MAX_BYTES as u64,
            // A message begins behind the end of the last one, and goes on only if it has begun.
            OpCode::Data(data) => (data == Data::Continue) == partial.is_some(),
        };
        let Some(mask) = header.mask.filter(|_| !reserved && minimal && fits) else {
            return Err(CloseReason::BadFrame);
        };
        if matches!(header.opcode, OpCode::Data(_)) {
            let (before, frames) = partial.map_or((0, 0), |partial| (partial.bytes(), partial.frames()));
            // The highest bit of a length is 0 (RFC 6455, 5.2), but what is wrong with it is its size.
            if payload_bytes.saturating_add(before as u64) > self.message_max as u64 {
                return Err(CloseReason::TooLarge);
            }
            if frames >= max_frames(self.message_max) {
                return Err(CloseReason::TooManyFrames);
            }
        }
        let payload_bytes = payload_bytes as usize;
        Ok(Some(FrameHead { opcode: header.opcode, is_final: header.is_final, mask, bytes, payload_bytes }))
    }
}

/// A control frame, of which `arrived` is there. A close that can't become right any more fails before all of it is.
fn decode_control(control: Control, head: &FrameHead, arrived: &[u8]) -> Step {
    let is_whole = arrived.len() == head.payload_bytes;
    let mut payload = arrived.to_vec();
    unmask(&mut payload, head.mask);
    let code = match control {
        Control::Close => match close_code(&payload, is_whole) {
            Ok(code) => code,
            Err(reason) => return Step::Fail(reason),
        },
        _ => 0,
    };
    if !is_whole {
        return Step::Incomplete;
    }
    let input = match control {
        Control::Close => Some(Input::Close(code)),
        Control::Ping => Some(Input::Ping(payload.into())),
        // A pong shows that the client is there, which every read does.
        Control::Pong | Control::Reserved(_) => None,
    };
    Step::Used { bytes: head.bytes + head.payload_bytes, input }
}

/// The code of a close (RFC 6455, 5.5.1), of which `payload` has arrived.
fn close_code(payload: &[u8], is_whole: bool) -> Result<u16, CloseReason> {
    let (code, why) = match payload {
        [] => return Ok(CloseCode::Normal.into()),
        [_] if is_whole => return Err(CloseReason::BadFrame),
        [_] => return Ok(CloseCode::Normal.into()),
        [high, low, why @ ..] => (u16::from_be_bytes([*high, *low]), why),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(CloseReason::BadFrame);
    }
    match std::str::from_utf8(why) {
        Err(error) if is_whole || error.error_len().is_some() => Err(CloseReason::BadText),
        _ => Ok(code),
    }
}

/// Takes the mask off (RFC 6455, 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at & 3];
    }
}

fn reason(error: &Error) -> CloseReason {
    debug_assert!(matches!(error, Error::Protocol(_)), "a header is wrong in another way: {error}");
    CloseReason::BadFrame
}

/// Appends a text message in one frame, unmasked as a server's are.
pub fn text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    frame(OpCode::Data(Data::Text), out, write);
}

/// Appends a binary message in one frame.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    frame(OpCode::Data(Data::Binary), out, |out| out.extend_from_slice(payload));
}

/// Appends the question whether the client is there.
pub fn ping(out: &mut Vec<u8>) {
    frame(OpCode::Control(Control::Ping), out, |_| {});
}

/// Appends the answer to a client's question, with what it gave to be returned.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(OpCode::Control(Control::Pong), out, |out| out.extend_from_slice(payload));
}

/// Appends the end of the conversation.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    frame(OpCode::Control(Control::Close), out, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    });
}

fn frame(opcode: OpCode, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Most headers are this long; a longer one moves the payload.
    const SHORT_HEADER: [u8; 2] = [0; 2];
    out.extend_from_slice(&SHORT_HEADER);
    write(out);
    let payload_bytes = (out.len() - start - SHORT_HEADER.len()) as u64;
    let mut header = Vec::with_capacity(HEADER_MAX_BYTES);
    let plain = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
    plain.format(payload_bytes, &mut header).expect("a vector takes all");
    out.splice(start..start + SHORT_HEADER.len(), header);
}
