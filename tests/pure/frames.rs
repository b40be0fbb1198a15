//! A harness for WebSocket, written from RFC 6455 and not from the code under test. [`frame`] encodes as a client,
//! [`Peer`] decodes as the server, and [`parse`] decodes as a client.

use chinwag::codec::websocket::{Decoder, UNUSED_MAX_BYTES};
use chinwag::codec::{Input, Step, Unfinished, raw};
use chinwag::protocol::{CloseReason, Payload, Request};

/// The FIN bit, set in the last frame of a message.
pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = FIN | 8;
pub const PING: u8 = FIN | 9;
pub const PONG: u8 = FIN | 10;

const MASK_BIT: u8 = 0x80;

/// Masking key of clients in these tests.
pub const MASK: [u8; 4] = [0x12, 0x00, 0xff, 0x80];

/// Encodes a frame of a client, with the shortest length.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame_masked(first, payload.as_ref(), MASK)
}

/// Encodes a frame with that masking key.
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

/// Encodes the header of a masked frame without the mask. Its length takes 0, 2 or 8 bytes behind the first two.
pub fn header(first: u8, length: u64, length_bytes: usize) -> Vec<u8> {
    let short = match length_bytes {
        0 => length as u8,
        2 => 126,
        _ => 127,
    };
    [&[first, MASK_BIT | short], &length.to_be_bytes()[8 - length_bytes..]].concat()
}

/// Encodes a close frame of a client.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A result of the decoder.
#[derive(Clone, PartialEq, Debug)]
pub enum Decoded {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// The client closes with that code.
    Close(u16),
    /// The connection fails for that reason.
    Failed(CloseReason),
}

/// The input of one connection. Connections share the decoder.
#[derive(Default)]
pub struct Peer {
    unfinished: Option<Box<Unfinished>>,
    unused: Vec<u8>,
    pub decoded: Vec<Decoded>,
}

impl Peer {
    /// Handles one read. Behind the end nothing is decoded.
    pub fn read(&mut self, decoder: &mut Decoder, message_max: usize, bytes: &[u8]) {
        self.unused.extend_from_slice(bytes);
        while self.decode(decoder) {}
        let waits = self.unused.len();
        let memory = self.unfinished.as_ref().map_or(0, |unfinished| unfinished.memory_bytes());
        assert!(memory <= message_max, "{memory} bytes for a message of at most {message_max}");
        assert!(self.has_ended() || waits <= UNUSED_MAX_BYTES, "{waits} bytes wait");
    }

    fn has_ended(&self) -> bool {
        matches!(self.decoded.last(), Some(Decoded::Close(_) | Decoded::Failed(_)))
    }

    /// Returns whether no message and no frame is incomplete.
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
            Step::Fail(reason) => self.decoded.push(Decoded::Failed(reason)),
            Step::Used { bytes, input } => {
                assert!((1..=self.unused.len()).contains(&bytes), "used {bytes} of {}", self.unused.len());
                self.unused.drain(..bytes);
                self.decoded.extend(input.map(decoded));
            }
        }
        true
    }
}

fn decoded(input: Input) -> Decoded {
    match input {
        Input::Request { request: Ok(Request::Relay(Payload::Text(text))), tag: None } => {
            Decoded::Text(text.into())
        }
        Input::Request { request: Ok(Request::Relay(Payload::Binary(bytes))), tag: None } => {
            Decoded::Binary(bytes.into())
        }
        Input::Ping(payload) => Decoded::Ping(payload.into()),
        Input::Close(code) => Decoded::Close(code),
        other => panic!("a raw message can't be {other:?}"),
    }
}

/// Decodes bytes that arrive in these pieces.
pub fn decode<'a>(message_max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Decoded> {
    let (mut decoder, mut peer) = (Decoder::new(message_max), Peer::default());
    pieces.into_iter().for_each(|piece| peer.read(&mut decoder, message_max, piece));
    peer.decoded
}

/// Decodes frames of the server to first bytes and payloads (RFC 6455, 5.2). They must be unmasked, without reserved
/// bits, and have the shortest length.
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
