//! A WebSocket client for the virtual network: it encodes as a browser does, and decodes the answers.

use crate::stage::Stage;
use crate::world::Wire;

/// Opcodes (RFC 6455, 5.2).
pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame of the server: opcode and payload.
pub type Frame = (u8, Vec<u8>);

/// A client, and the position up to which the test has looked at its input.
pub struct Socket {
    pub wire: Wire,
    seen: usize,
}

/// Returns the request to switch protocols.
pub fn handshake(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:7712\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// Encodes a whole frame as clients do, masked.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment(0x80 | opcode, payload)
}

/// Encodes a frame with that first byte: the FIN bit, RSV bits and opcode.
pub fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ ..65_536 => bytes.extend([&[0xfe][..], &(length as u16).to_be_bytes()].concat()),
        length => bytes.extend([&[0xff][..], &(length as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Returns the whole frames at the beginning of `bytes`, and their length together.
fn parse(mut bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (all, mut frames) = (bytes.len(), Vec::new());
    while let [first, second, rest @ ..] = bytes {
        assert_eq!((first & 0xf0, second & 0x80), (0x80, 0), "a server's frame is whole and unmasked");
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (u16::from_be_bytes([*a, *b]) as usize, rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, rest)
            }
            (126 | 127, _) => break,
            (length, rest) => (*length as usize, rest),
        };
        let Some((payload, behind)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = behind;
    }
    (frames, all - bytes.len())
}

impl Socket {
    /// Connects and switches protocols.
    #[track_caller]
    pub fn open(stage: &mut Stage, path: &str) -> Socket {
        let wire = stage.connect_http();
        stage.send(wire, handshake(path, "").as_bytes());
        stage.run();
        Socket::upgraded(stage, wire)
    }

    /// Wraps a client whose upgrade was accepted.
    #[track_caller]
    pub fn upgraded(stage: &Stage, wire: Wire) -> Socket {
        let raw = stage.raw(wire);
        let head = raw.windows(4).position(|end| end == b"\r\n\r\n").expect("a whole head") + 4;
        let text = String::from_utf8_lossy(&raw[..head]).into_owned();
        assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
        assert!(text.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{text}");
        Socket { wire, seen: head }
    }

    /// Returns the frames read since the last call.
    pub fn frames(&mut self, stage: &Stage) -> Vec<Frame> {
        let (frames, length) = parse(&stage.raw(self.wire)[self.seen..]);
        self.seen += length;
        frames
    }

    /// Runs, and returns the texts read since the last call.
    pub fn texts(&mut self, stage: &mut Stage) -> Vec<String> {
        stage.run();
        let texts = self.frames(stage).into_iter().filter(|(opcode, _)| *opcode == TEXT);
        texts.map(|(_, text)| String::from_utf8(text).expect("UTF-8")).collect()
    }

    pub fn say(&self, stage: &mut Stage, json: &str) {
        stage.send(self.wire, &frame(TEXT, json.as_bytes()));
    }

    /// Runs, and returns the code and reason of the server's close frame.
    #[track_caller]
    pub fn closed(&mut self, stage: &mut Stage) -> (u16, String) {
        stage.run();
        let frames = self.frames(stage);
        let Some((CLOSE, payload)) = frames.last() else {
            panic!("no close frame at the end of {frames:?}");
        };
        let closes = frames.iter().filter(|(opcode, _)| *opcode == CLOSE).count();
        assert_eq!(closes, 1, "closed more than once");
        (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8_lossy(&payload[2..]).into_owned())
    }
}
