//! WebSocket frames (RFC 6455). tungstenite parses and formats the headers.
//!
//! [`Decoder::decode`] consumes the payload of a data frame as it arrives. So invalid UTF-8 is refused within a frame, and a
//! connection holds at most one incomplete message ([`Partial`]). A message that arrives complete, in one frame, is read
//! without a copy per connection.

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

/// The longest header of a frame: two bytes, eight of length, four of mask (RFC 6455, 5.2).
const HEADER_MAX_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_MAX_BYTES: usize = 125;

/// The longest control frame of the server, which sends no mask.
pub const CONTROL_FRAME_MAX_BYTES: usize = 2 + CONTROL_MAX_BYTES;

/// The most bytes of an incomplete header or control frame.
pub const UNUSED_MAX_BYTES: usize = HEADER_MAX_BYTES + CONTROL_MAX_BYTES;

/// Frames that every message may have, however short they are.
const FRAMES_FREE: usize = 1024;

/// A message may have one more frame per so many bytes of the size limit. Shorter frames are mostly header.
const FRAME_BYTES: usize = 8;

/// The most frames of one message. Empty frames cost work, and a limit on bytes does not bound them.
pub fn max_frames(message_max: usize) -> usize {
    FRAMES_FREE + message_max / FRAME_BYTES
}

/// The decoder of all connections. The state of one connection is in its [`Unfinished`].
#[derive(Debug)]
pub struct Decoder {
    message_max: usize,
    /// The unmasked payload of a message in one frame. It is reused.
    payload: Vec<u8>,
}

/// A complete message.
#[derive(Clone, Copy, Debug)]
pub enum WebSocketMessage<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// The header of a frame, checked.
struct FrameHead {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    bytes: usize,
    payload_bytes: usize,
}

impl Decoder {
    pub fn new(message_max: usize) -> Decoder {
        Decoder { message_max, payload: Vec::new() }
    }

    /// Decodes one frame, or the available part of a long one. Calls `on_message` if it completes a message.
    ///
    /// A message that needs more than `room` bytes is not consumed ([`Step::Blocked`]). After [`Step::Fail`] no more input may
    /// be decoded.
    pub fn decode(
        &mut self,
        unfinished: &mut Option<Box<Unfinished>>,
        input: &[u8],
        room: usize,
        on_message: impl FnOnce(WebSocketMessage<'_>) -> Option<Input>,
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
                self.receive(unfinished, 0, input, on_message)
            };
        }
        let head = match self.parse_header(partial.as_deref(), input) {
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
                return self.read_single_frame(&head, is_text, arrived, on_message);
            }
            None => *unfinished = Some(Box::new(Unfinished::Message(Partial::new(is_text)))),
            Some(_) => {}
        }
        if let Some(Unfinished::Message(partial)) = unfinished.as_deref_mut() {
            partial.begin_frame(head.payload_bytes, head.mask, head.is_final);
        }
        self.receive(unfinished, head.bytes, &input[head.bytes..], on_message)
    }

    /// Decodes a message that is complete in one frame. The buffer for its payload is reused.
    fn read_single_frame(
        &mut self,
        head: &FrameHead,
        is_text: bool,
        masked: &[u8],
        on_message: impl FnOnce(WebSocketMessage<'_>) -> Option<Input>,
    ) -> Step {
        self.payload.clear();
        self.payload.extend_from_slice(masked);
        unmask(&mut self.payload, head.mask);
        let message = match is_text {
            true => std::str::from_utf8(&self.payload).map(WebSocketMessage::Text),
            false => Ok(WebSocketMessage::Binary(&self.payload)),
        };
        match message {
            Ok(message) => Step::Used { bytes: head.bytes + masked.len(), input: on_message(message) },
            Err(_) => Step::Fail(CloseReason::BadText),
        }
    }

    /// Moves the available payload of the open frame into its message. `header_bytes` of input are in front of it.
    fn receive(
        &self,
        unfinished: &mut Option<Box<Unfinished>>,
        header_bytes: usize,
        input: &[u8],
        on_message: impl FnOnce(WebSocketMessage<'_>) -> Option<Input>,
    ) -> Step {
        let Some(Unfinished::Message(partial)) = unfinished.as_deref_mut() else {
            debug_assert!(false, "payload is received only for a partial message");
            return Step::Fail(CloseReason::BadFrame);
        };
        let (bytes, message) = match partial.receive(input, self.message_max) {
            Ok(received) => received,
            Err(reason) => return Step::Fail(reason),
        };
        let input = message.and_then(on_message);
        if partial.is_complete() {
            *unfinished = None;
        }
        Step::Used { bytes: header_bytes + bytes, input }
    }

    /// Parses and checks the header at the front of `input`; `None` if it is incomplete.
    ///
    /// # Errors
    /// The frame breaks a rule (RFC 6455, 5.2 and 5.5), or its message is over a limit.
    fn parse_header(
        &self,
        partial: Option<&Partial>,
        input: &[u8],
    ) -> Result<Option<FrameHead>, CloseReason> {
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
            // A continuation frame needs an open message; any other data frame needs that there is none.
            OpCode::Data(data) => (data == Data::Continue) == partial.is_some(),
        };
        let Some(mask) = header.mask.filter(|_| !reserved && minimal && fits) else {
            return Err(CloseReason::BadFrame);
        };
        if matches!(header.opcode, OpCode::Data(_)) {
            let (before, frames) = partial.map_or((0, 0), |partial| (partial.bytes(), partial.frames()));
            // A length with the highest bit set is invalid (RFC 6455, 5.2), but "too large" is the clearer reason.
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

/// Decodes a control frame, of which `arrived` is available. An invalid close frame fails before it is complete.
fn decode_control(control: Control, head: &FrameHead, arrived: &[u8]) -> Step {
    let is_complete = arrived.len() == head.payload_bytes;
    let mut payload = arrived.to_vec();
    unmask(&mut payload, head.mask);
    let code = match control {
        Control::Close => match close_code(&payload, is_complete) {
            Ok(code) => code,
            Err(reason) => return Step::Fail(reason),
        },
        _ => 0,
    };
    if !is_complete {
        return Step::Incomplete;
    }
    let input = match control {
        Control::Close => Some(Input::Close(code)),
        Control::Ping => Some(Input::Ping(payload.into())),
        // Every read shows that the client is alive, so a pong has no further meaning.
        Control::Pong | Control::Reserved(_) => None,
    };
    Step::Used { bytes: head.bytes + head.payload_bytes, input }
}

/// The code of a close frame (RFC 6455, 5.5.1), of which `payload` has arrived.
///
/// # Errors
/// The code is not allowed, or the reason is not UTF-8.
fn close_code(payload: &[u8], is_complete: bool) -> Result<u16, CloseReason> {
    let (code, why) = match payload {
        [] => return Ok(CloseCode::Normal.into()),
        [_] if is_complete => return Err(CloseReason::BadFrame),
        [_] => return Ok(CloseCode::Normal.into()),
        [high, low, why @ ..] => (u16::from_be_bytes([*high, *low]), why),
    };
    if !is_allowed(code) {
        return Err(CloseReason::BadFrame);
    }
    match std::str::from_utf8(why) {
        Err(error) if is_complete || error.error_len().is_some() => Err(CloseReason::BadText),
        _ => Ok(code),
    }
}

/// Whether a close frame may have that code (RFC 6455, 7.4, and IANA's registry). tungstenite does not know 1014.
fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Removes the mask (RFC 6455, 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at & 3];
    }
}

fn reason(error: &Error) -> CloseReason {
    debug_assert!(
        matches!(error, Error::Protocol(_)),
        "parsing a header fails only for a protocol error: {error}"
    );
    CloseReason::BadFrame
}

/// Appends a text message in one unmasked frame.
pub fn text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    frame(OpCode::Data(Data::Text), out, write);
}

/// Appends a binary message in one frame.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    frame(OpCode::Data(Data::Binary), out, |out| out.extend_from_slice(payload));
}

/// Appends a ping frame.
pub fn ping(out: &mut Vec<u8>) {
    frame(OpCode::Control(Control::Ping), out, |_| {});
}

/// Appends a pong frame with the payload of the ping.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(OpCode::Control(Control::Pong), out, |out| out.extend_from_slice(payload));
}

/// Appends a close frame.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    frame(OpCode::Control(Control::Close), out, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    });
}

fn frame(opcode: OpCode, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Most headers have this length. A longer one moves the payload.
    const SHORT_HEADER: [u8; 2] = [0; 2];
    out.extend_from_slice(&SHORT_HEADER);
    write(out);
    let payload_bytes = (out.len() - start - SHORT_HEADER.len()) as u64;
    let mut header = Vec::with_capacity(HEADER_MAX_BYTES);
    let plain = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
    plain.format(payload_bytes, &mut header).expect("writing to a vector can't fail");
    out.splice(start..start + SHORT_HEADER.len(), header);
}
