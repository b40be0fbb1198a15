//! A harness for WebSocket: what a client sends ([`frame`]), how the server hears it ([`Peer`]), and what a client makes
//! of what it is sent ([`parse`]), written from RFC 6455 and not from the code under test.

use chinwag::codec::websocket::{Decoder, UNUSED_MAX_BYTES};
use chinwag::codec::{Input, Step, Unfinished, raw};
use chinwag::protocol::{CloseReason, Payload, Request};

/// FIN, the bit that says that a message ends here.
pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = FIN | 8;
pub const PING: u8 = FIN | 9;
pub const PONG: u8 = FIN | 10;

const MASK_BIT: u8 = 0x80;

/// What a client masks with in these tests.
pub const MASK: [u8; 4] = [0x12, 0x00, 0xff, 0x80];

/// A frame of a client, with the shortest length.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame_masked(first, payload.as_ref(), MASK)
}

/// The same with that mask.
pub fn frame_masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64, length_bytes(payload.len()));
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn length_bytes(payload: usize) -> usize {
    match payload {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    }
}

/// The header of a masked frame, without the mask: its length in 0, 2 or 8 bytes behind the first two.
pub fn header(first: u8, length: u64, length_bytes: usize) -> Vec<u8> {
    let short = match length_bytes {
        0 => length as u8,
        2 => 126,
        _ => 127,
    };
    [&[first, MASK_BIT | short], &length.to_be_bytes()[8 - length_bytes..]].concat()
}

/// A close frame of a client.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// What the decoder made of some bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// It closes, with that code.
    Close(u16),
    /// There is no going on with it.
    Failed(CloseReason),
}

/// The reading side of one connection. The decoder is everybody's.
#[derive(Default)]
pub struct Peer {
    unfinished: Option<Box<Unfinished>>,
    unused: Vec<u8>,
    pub heard: Vec<Heard>,
}

impl Peer {
    /// One read. Behind the end nothing is read.
    pub fn read(&mut self, decoder: &mut Decoder, message_max: usize, bytes: &[u8]) {
        self.unused.extend_from_slice(bytes);
        while self.decode(decoder) {}
        let waits = self.unused.len();
        let memory = self.unfinished.as_ref().map_or(0, |unfinished| unfinished.memory_bytes());
        assert!(memory <= message_max, "{memory} bytes for a message of at most {message_max}");
        assert!(self.has_ended() || waits <= UNUSED_MAX_BYTES, "{waits} bytes wait");
    }

    fn has_ended(&self) -> bool {
        matches!(self.heard.last(), Some(Heard::Close(_) | Heard::Failed(_)))
    }

    /// Whether it is in the middle of a message or a frame.
    pub fn is_idle(&self) -> bool {
        self.unfinished.is_none() && self.unused.is_empty()
    }

    fn decode(&mut self, decoder: &mut Decoder) -> bool {
        if self.has_ended() {
            return false;
        }
        match decoder.decode(&mut self.unfinished, &self.unused, usize::MAX, |m| Some(raw::decode(m))) {
            Step::Incomplete => return false,
            Step::Blocked => panic!("there is room for all"),
            Step::Fail(reason) => self.heard.push(Heard::Failed(reason)),
            Step::Used { bytes, input } => {
                assert!((1..=self.unused.len()).contains(&bytes), "used {bytes} of {}", self.unused.len());
                self.unused.drain(..bytes);
                self.heard.extend(input.map(heard_of));
            }
        }
        true
    }
}

fn heard_of(input: Input) -> Heard {
    match input {
        Input::Request { request: Ok(Request::Relay(Payload::Text(text))), tag: None } => {
            Heard::Text(text.into())
        }
        Input::Request { request: Ok(Request::Relay(Payload::Binary(bytes))), tag: None } => {
            Heard::Binary(bytes.into())
        }
        Input::Ping(payload) => Heard::Ping(payload.into()),
        Input::Close(code) => Heard::Close(code),
        other => panic!("a raw message can't be {other:?}"),
    }
}

/// What is heard when the bytes come in these pieces.
pub fn heard<'a>(message_max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Heard> {
    let (mut decoder, mut peer) = (Decoder::new(message_max), Peer::default());
    pieces.into_iter().for_each(|piece| peer.read(&mut decoder, message_max, piece));
    peer.heard
}

/// Frames of the server, as first bytes and payloads (RFC 6455, 5.2). Not masked, no bits reserved, each length as short as
/// can be.
#[track_caller]
pub fn parse(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, short, rest @ ..] = bytes {
        assert_eq!(first & 0x70, 0, "reserved bits");
        assert_eq!(short & MASK_BIT, 0, "a server does not mask");
        let (length, least, rest) = match *short {
            126 => (rest[..2].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 126, &rest[2..]),
            127 => (rest[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0x1_0000, &rest[8..]),
            short => (u64::from(short), 0, rest),
        };
        assert!(length >= least, "{length} is not the shortest form");
        assert!(first & 0x08 == 0 || (length <= 125 && first & FIN != 0), "a long control frame");
        let (payload, rest) = rest.split_at(length as usize);
        frames.push((*first, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a header");
    frames
}
