//! A WebSocket client for the virtual network: it encodes as a browser does, and decodes the answers.

use crate::frames::parse;
pub use crate::frames::{BINARY, CLOSE, CONTINUE, Frame, PING, PONG, TEXT, fragment, frame};
use crate::stage::Stage;
use crate::world::Wire;

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
