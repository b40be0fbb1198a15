//! The protocols of the servers: the first bytes of a client, and the bytes of a line that it sends. The bytes that a server
//! sends are cut into lines and everything else.
//!
//! Pure: bytes in, [`Piece`]s out. Texts have one known length, so most protocols are cut by counting.

mod websocket;

use memchr::{memchr, memmem};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A line goes to everyone else as it is.
    Plain,
    /// chinwag's line protocol: the name first; lines come as `NAME: text`.
    Chinwag,
    /// Pub/sub in RESP2. A subscriber may not publish there, so talkers have connections of their own.
    Redis,
    /// The NATS client protocol. `"echo":false` keeps a sender's own lines from it.
    Nats,
    /// A WebSocket message goes to everyone else as it is: chinwag's `/raw`, and the variants.
    RawWebSocket,
    /// chinwag's JSON objects.
    JsonWebSocket,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub number: u32,
    /// Whether it receives lines; where talkers have connections of their own, they don't.
    pub listens: bool,
}

/// A step of coming in: bytes to send, and then to read to the end of the line that has this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub send: Vec<u8>,
    pub until: Vec<u8>,
}

/// The next thing in the bytes that a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The bytes end within a piece.
    Partial,
    /// This number of bytes is no line.
    Other(usize),
    /// This number of bytes is to be answered with these.
    Ping(usize, Vec<u8>),
    /// A line with its length in all.
    Line { length: usize, text: &'a [u8] },
    /// An error of the server, or bytes that are none of these pieces.
    Wrong(String),
}

/// A protocol when every text has this length.
#[derive(Clone, Copy)]
pub struct Speech {
    pub protocol: Protocol,
    pub text_bytes: usize,
}

const CHINWAG_PREFIX_BYTES: usize = "u00000: ".len();
const REDIS_HEAD: &[u8] = b"*3\r\n$7\r\nmessage\r\n$5\r\nlobby\r\n$";

impl Protocol {
    pub fn is_websocket(self) -> bool {
        matches!(self, Protocol::RawWebSocket | Protocol::JsonWebSocket)
    }

    /// The listener that speaks it, where a server prints its addresses.
    pub fn listener(self) -> &'static str {
        if self.is_websocket() { "http" } else { "line" }
    }

    /// Length of the text in a line of this length with its end.
    pub fn text_bytes(self, line_bytes: usize) -> usize {
        let prefix = if self == Protocol::Chinwag { CHINWAG_PREFIX_BYTES } else { 0 };
        line_bytes - "\n".len() - prefix
    }
}

impl Step {
    fn new(send: impl Into<Vec<u8>>, until: impl Into<Vec<u8>>) -> Step {
        Step { send: send.into(), until: until.into() }
    }

    /// The number of these bytes that end the step; `None` if it goes on.
    pub fn end(&self, bytes: &[u8]) -> Option<usize> {
        let found = memmem::find(bytes, &self.until)? + self.until.len();
        match self.until.ends_with(b"\n") {
            true => Some(found),
            false => Some(found + line_length(&bytes[found..])?),
        }
    }
}

impl Speech {
    pub fn enter(&self, client: Client) -> Vec<Step> {
        let name = format!("u{:05}", client.number);
        match self.protocol {
            Protocol::Plain => Vec::new(),
            Protocol::Chinwag => {
                vec![Step::new("", "-- welcome"), Step::new(format!("{name}\n"), format!("-- hello {name}."))]
            }
            Protocol::Redis if client.listens => vec![Step::new("SUBSCRIBE lobby\r\n", ":1\r\n")],
            Protocol::Redis => vec![Step::new("PING\r\n", "PONG")],
            Protocol::Nats => {
                let options = r#"{"verbose":false,"pedantic":false,"echo":false,"protocol":1}"#;
                vec![Step::new(format!("CONNECT {options}\r\nSUB lobby 1\r\nPING\r\n"), "PONG")]
            }
            Protocol::RawWebSocket => vec![websocket::upgrade("/raw/lobby")],
            Protocol::JsonWebSocket => {
                vec![websocket::upgrade(&format!("/ws?name={name}&room=lobby&history=0"))]
            }
        }
    }

    pub fn send(&self, text: &[u8]) -> Vec<u8> {
        let length = text.len();
        match self.protocol {
            Protocol::Plain | Protocol::Chinwag => [text, b"\n"].concat(),
            Protocol::Redis => {
                let head = format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nlobby\r\n${length}\r\n");
                [head.as_bytes(), text, b"\r\n"].concat()
            }
            Protocol::Nats => [format!("PUB lobby {length}\r\n").as_bytes(), text, b"\r\n"].concat(),
            Protocol::RawWebSocket => websocket::masked(websocket::TEXT, text),
            Protocol::JsonWebSocket => {
                let object = [br#"{"type":"say","room":"lobby","text":""#, text, br#""}"#].concat();
                websocket::masked(websocket::TEXT, &object)
            }
        }
    }

    /// The first piece of the bytes that came.
    pub fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        match self.protocol {
            Protocol::Plain => self.framed(bytes, 0, b"\n"),
            Protocol::Chinwag if bytes.len() < CHINWAG_PREFIX_BYTES => Piece::Partial,
            Protocol::Chinwag if bytes.starts_with(b"-- ") => other(bytes),
            Protocol::Chinwag => match &bytes[6..CHINWAG_PREFIX_BYTES] {
                b": " => self.framed(bytes, CHINWAG_PREFIX_BYTES, b"\n"),
                _ => wrong(bytes),
            },
            Protocol::Redis => match bytes.first() {
                None => Piece::Partial,
                // The number of clients that a line of this connection reached.
                Some(b':') => other(bytes),
                Some(b'*') if bytes.len() < REDIS_HEAD.len() => Piece::Partial,
                Some(b'*') if bytes.starts_with(REDIS_HEAD) => {
                    self.framed(bytes, REDIS_HEAD.len() + self.length_digits() + 2, b"\r\n")
                }
                Some(_) => wrong(bytes),
            },
            Protocol::Nats if bytes.starts_with(b"MSG ") => {
                self.framed(bytes, "MSG lobby 1 ".len() + self.length_digits() + 2, b"\r\n")
            }
            Protocol::Nats => match (line_length(bytes), bytes.first()) {
                (None, _) => Piece::Partial,
                (Some(length), _) if bytes.starts_with(b"PING") => Piece::Ping(length, b"PONG\r\n".to_vec()),
                (Some(length), Some(b'P' | b'+' | b'I')) => Piece::Other(length),
                _ => wrong(bytes),
            },
            Protocol::RawWebSocket | Protocol::JsonWebSocket => {
                websocket::cut(bytes, |message| self.text_in(message))
            }
        }
    }

    /// The text in a WebSocket message. An object is not parsed: its text has no escapes and is the last but two keys.
    fn text_in<'a>(&self, message: &'a [u8]) -> Piece<'a> {
        let length = message.len();
        if self.protocol == Protocol::RawWebSocket {
            return match length == self.text_bytes {
                true => Piece::Line { length, text: message },
                false => wrong(message),
            };
        }
        if message.starts_with(br#"{"type":"error","#) {
            return wrong(message);
        }
        if !message.starts_with(br#"{"type":"message","#) {
            return Piece::Other(length);
        }
        let start = memmem::find(message, br#""text":""#).map(|at| at + br#""text":""#.len());
        let rest = start.and_then(|start| message[start..].split_at_checked(self.text_bytes));
        match rest {
            Some((text, rest)) if rest.starts_with(b"\"") => Piece::Line { length, text },
            _ => wrong(message),
        }
    }

    /// A text behind a head of known length, and its end.
    fn framed<'a>(&self, bytes: &'a [u8], head: usize, end: &[u8]) -> Piece<'a> {
        let length = head + self.text_bytes + end.len();
        if bytes.len() < length {
            return Piece::Partial;
        }
        match bytes[..length].ends_with(end) {
            true => Piece::Line { length, text: &bytes[head..head + self.text_bytes] },
            false => wrong(bytes),
        }
    }

    fn length_digits(&self) -> usize {
        self.text_bytes.to_string().len()
    }
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|end| end + 1)
}

/// The first line as something else.
fn other(bytes: &[u8]) -> Piece<'_> {
    line_length(bytes).map_or(Piece::Partial, Piece::Other)
}

fn wrong(bytes: &[u8]) -> Piece<'_> {
    let excerpt = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
    Piece::Wrong(format!("unexpected: {}", excerpt.escape_debug()))
}
