//! WebSocket frames (RFC 6455): cut here, understood by tungstenite, which is shared by all connections.
//!
//! A context of tungstenite costs hundreds of bytes and keeps a buffer, so connections have none of their own: each
//! whole frame goes through the one in [`Decoder`], by a stream in memory. Only while a message in several frames is
//! open does a connection need one to itself ([`Fragments`]).

use std::io::{self, Cursor, ErrorKind, Read, Write};

use tungstenite::Message;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::{Input, Step, Unfinished};
use crate::protocol::CloseReason;

/// A frame's header is at most this (RFC 6455, 5.2: two bytes, eight of length, four of mask).
const HEADER_MAX_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_MAX_BYTES: u64 = 125;

/// The most frames of one message: they may be empty, so a limit on bytes is none.
const FRAGMENTS_MAX: usize = 1024;

/// The most input that can wait for the rest of a frame, for messages of `message_max` bytes.
pub fn unused_max_bytes(message_max: usize) -> usize {
    message_max + HEADER_MAX_BYTES
}

/// A message in several frames, of which some have come.
#[derive(Debug)]
pub struct Fragments {
    context: WebSocketContext,
    frames: usize,
    bytes: u64,
}

/// What understands the frames of all connections.
#[derive(Debug)]
pub struct Decoder {
    context: WebSocketContext,
    message_max: usize,
}

/// How a whole message is read: as text, or as bytes.
pub enum Whole<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary one.
    Binary(&'a [u8]),
}

impl Decoder {
    /// A decoder of messages up to `message_max` bytes.
    pub fn new(message_max: usize) -> Decoder {
        Decoder { context: new_context(message_max), message_max }
    }

    /// Takes one frame off the front of `input`; a message that is whole with it is handed to `read`.
    pub fn decode(
        &mut self,
        unfinished: &mut Option<Box<Unfinished>>,
        input: &[u8],
        read: fn(Whole<'_>) -> Input,
    ) -> Step {
        let mut fragments = match unfinished.as_deref_mut() {
            Some(Unfinished::Fragments(fragments)) => Some(fragments),
            _ => None,
        };
        let frame = match self.cut(fragments.as_deref(), input) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Step::Incomplete,
            Err(reason) => return Step::Fail(reason),
        };
        let bytes = frame.bytes.len();
        if frame.opens && fragments.is_none() {
            let context = new_context(self.message_max);
            *unfinished = Some(Box::new(Unfinished::Fragments(Fragments { context, frames: 0, bytes: 0 })));
            let Some(Unfinished::Fragments(opened)) = unfinished.as_deref_mut() else { unreachable!() };
            fragments = Some(opened);
        }
        let message = match fragments {
            Some(fragments) => {
                // Pings and pongs between the frames of a message are no part of it.
                if !frame.is_control {
                    fragments.frames += 1;
                    fragments.bytes += frame.payload_bytes;
                }
                understand(&mut fragments.context, frame.bytes)
            }
            None => understand(&mut self.context, frame.bytes),
        };
        match message {
            Ok(message) => self.input_of(unfinished, message, bytes, read),
            Err(error) => {
                self.context = new_context(self.message_max);
                Step::Fail(close_reason(&error))
            }
        }
    }

    fn input_of(
        &mut self,
        unfinished: &mut Option<Box<Unfinished>>,
        message: Option<Message>,
        bytes: usize,
        read: fn(Whole<'_>) -> Input,
    ) -> Step {
        let input = match message {
            None | Some(Message::Pong(_) | Message::Frame(_)) => None,
            Some(Message::Ping(payload)) => Some(Input::Ping(payload[..].into())),
            Some(Message::Text(text)) => Some(read(Whole::Text(text.as_str()))),
            Some(Message::Binary(payload)) => Some(read(Whole::Binary(&payload))),
            Some(Message::Close(close)) => {
                self.context = new_context(self.message_max);
                match close.map_or(CloseCode::Normal, |close| close.code) {
                    CloseCode::Protocol => return Step::Fail(CloseReason::BadFrame),
                    code => Some(Input::Close(code.into())),
                }
            }
        };
        let whole = matches!(input, Some(Input::Request { .. }));
        if whole {
            *unfinished = None;
        }
        Step::Used { bytes, input }
    }

    /// The first frame of `input`, once all of it is there. What can be judged by its header is.
    fn cut<'a>(
        &self,
        open: Option<&Fragments>,
        input: &'a [u8],
    ) -> Result<Option<WholeFrame<'a>>, CloseReason> {
        let mut cursor = Cursor::new(input);
        let header = FrameHeader::parse(&mut cursor).map_err(|error| close_reason(&error))?;
        let Some((header, payload_bytes)) = header else {
            return Ok(None);
        };
        let header_bytes = cursor.position() as usize;
        let is_control = matches!(header.opcode, OpCode::Control(_));
        let reserved = header.rsv1 || header.rsv2 || header.rsv3;
        let minimal = header.len(payload_bytes) == header_bytes;
        let bad_control = is_control && (payload_bytes > CONTROL_MAX_BYTES || !header.is_final);
        // The highest bit of a length is 0 (RFC 6455, 5.2), but what is wrong with it is its size.
        let before = open.map_or((0, 0), |open| (open.bytes, open.frames));
        let too_large = !is_control && payload_bytes.saturating_add(before.0) > self.message_max as u64;
        if reserved || header.mask.is_none() || bad_control || !minimal {
            return Err(CloseReason::BadFrame);
        }
        let too_many = !is_control && before.1 >= FRAGMENTS_MAX;
        if too_large || too_many {
            return Err(CloseReason::TooLarge);
        }
        let opens = !header.is_final && !matches!(header.opcode, OpCode::Data(Data::Continue));
        let whole = input.get(..header_bytes + payload_bytes as usize);
        Ok(whole.map(|bytes| WholeFrame { bytes, payload_bytes, is_control, opens }))
    }
}

/// A frame, all of which has come.
struct WholeFrame<'a> {
    bytes: &'a [u8],
    payload_bytes: u64,
    is_control: bool,
    /// Whether it is the first of several of a message.
    opens: bool,
}

/// Sized for one frame: by default a context reads 128 KiB at a time, and zeroes as much for it.
fn new_context(message_max: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(0)
        .max_frame_size(Some(message_max))
        .max_message_size(Some(message_max));
    WebSocketContext::new(Role::Server, Some(config))
}

/// What a whole frame says; `None` if its message goes on.
fn understand(context: &mut WebSocketContext, frame: &[u8]) -> Result<Option<Message>, Error> {
    match context.read(&mut Wire { frame }) {
        Ok(message) => Ok(Some(message)),
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A connection on which one frame has come. What the context wants to answer is thrown away: the server answers.
struct Wire<'a> {
    frame: &'a [u8],
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.frame.read(buffer) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            other => other,
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn close_reason(error: &Error) -> CloseReason {
    match error {
        Error::Utf8(_) => CloseReason::BadText,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseReason::TooLarge,
        _ => CloseReason::BadFrame,
    }
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
