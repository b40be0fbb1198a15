//! WebSocket (RFC 6455) around another protocol: that one's bytes become messages, a message each time it says
//! something, and what comes in a message is one piece of it.

use super::{Client, Piece, Speech, Step, Wait, excerpt};

pub struct WebSocket<S> {
    pub inner: S,
    pub path: fn(Client) -> String,
    pub subprotocol: Option<&'static str>,
    pub kind: Kind,
}

/// Opcodes of section 5.2, with the bit for a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Text = 0x81,
    Binary = 0x82,
}

const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

const MASKED: u8 = 0x80;

/// The example of section 1.3, for everybody: a server has the same work with any key.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Of section 5.7: to unmask costs the same with any mask but none.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl<S: Speech> Speech for WebSocket<S> {
    fn enter(&self, client: Client) -> Vec<Step> {
        let path = (self.path)(client);
        let subprotocol =
            self.subprotocol.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{subprotocol}\r\n"
        );
        let mut steps = vec![Step { send: request.into_bytes(), wait: Wait::Upgrade(ACCEPT.to_string()) }];
        steps.extend(self.inner.enter(client).into_iter().map(|step| self.framed(step)));
        steps
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        let mut message = Vec::with_capacity(text.len() + 64);
        self.inner.say(client, text, &mut message);
        mask(self.kind as u8, &message, out);
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        let data = self.kind as u8;
        // Nobody here has a reason to cut a message into several frames, or to compress or mask one.
        let is_due = bytes.first().is_none_or(|first| [data, PING, PONG, CLOSE].contains(first));
        if !is_due || bytes.get(1).is_some_and(|second| second & MASKED != 0) {
            return Piece::Wrong(format!("no frame of this kind was due: {}", excerpt(bytes)));
        }
        let Some((head, length)) = extent(bytes) else {
            return Piece::Partial;
        };
        let payload = &bytes[head..length];
        match bytes[0] {
            first if first == data => within(self.inner.cut(payload), payload.len(), length),
            PING => {
                let mut pong = Vec::new();
                mask(PONG, payload, &mut pong);
                Piece::Question(length, pong)
            }
            PONG => Piece::Noise(length),
            _ => Piece::Wrong(format!("the server closes: {}", excerpt(payload))),
        }
    }

    fn talkers_apart(&self) -> bool {
        self.inner.talkers_apart()
    }
}

impl<S> WebSocket<S> {
    /// A step of the inner protocol, in frames.
    fn framed(&self, step: Step) -> Step {
        let mut send = Vec::new();
        if !step.send.is_empty() {
            mask(self.kind as u8, &step.send, &mut send);
        }
        let wait = match step.wait {
            Wait::Bytes(bytes) => Wait::Bytes([head(self.kind as u8, bytes.len(), 0), bytes].concat()),
            other => other,
        };
        Step { send, wait }
    }
}

/// A piece that must be the whole payload, as a piece that is the whole frame.
fn within(piece: Piece<'_>, payload: usize, frame: usize) -> Piece<'_> {
    match piece {
        Piece::Noise(length) if length == payload => Piece::Noise(frame),
        Piece::Line { length, from, text } if length == payload => Piece::Line { length: frame, from, text },
        Piece::Wrong(what) => Piece::Wrong(what),
        _ => Piece::Wrong("a message holds less or more than one thing".to_string()),
    }
}

/// Where a frame's payload begins and where it ends, if it is all here. It has no mask.
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, payload): (usize, usize) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?).try_into().ok()?),
        length => (2, usize::from(length)),
    };
    let length = head.checked_add(payload)?;
    (bytes.len() >= length).then_some((head, length))
}

/// A client's frame.
fn mask(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.extend(head(first, payload.len(), MASKED));
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The first bytes of a frame, up to the mask.
fn head(first: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(masked | length as u8),
        126..0x1_0000 => {
            head.push(masked | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(masked | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}
