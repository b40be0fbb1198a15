//! How each kind of server is spoken to: how a client comes in, how it says a line, and how what the server sends is
//! cut into lines heard and everything else.
//!
//! Pure: bytes in, [`Piece`]s out. Texts have one known length, so most protocols are cut by counting.

mod irc;
mod json;
mod line;
mod mqtt;
mod nats;
mod ncat;
mod redis;
mod text;
mod wait;
mod websocket;

use serde::{Deserialize, Serialize};

pub use wait::Wait;
use websocket::{Kind, WebSocket};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// A line goes to everyone else as it is.
    Plain,
    /// chinwag's line door: the name first; lines come as `NAME: text`.
    Chinwag,
    /// The same, and those who talk are at another process.
    ChinwagFar,
    Ncat,
    Irc,
    Redis,
    Nats,
    Mqtt,
    /// A WebSocket message goes to everyone else as it is: chinwag's raw door, and the variants.
    RawWebSocket,
    /// chinwag's JSON door.
    JsonWebSocket,
    MqttWebSocket,
    /// nchan, a module of nginx: a path to subscribe at and one to publish at.
    Nchan,
}

impl Protocol {
    /// What the door is called that speaks it, where a server tells its addresses.
    pub fn door(self) -> &'static str {
        match self {
            Protocol::RawWebSocket | Protocol::JsonWebSocket => "http",
            _ => "line",
        }
    }
}

/// Who a connection is.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub number: u32,
    /// Nothing is the room everybody is in.
    pub room: Option<u32>,
    /// Whether it hears what is said; in some protocols those who talk do not.
    pub hears: bool,
}

/// A step of coming in: something to send, then something to wait for.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub send: Vec<u8>,
    pub wait: Wait,
}

/// The next thing in what a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Not all here yet.
    Partial,
    /// So many bytes that are no line.
    Noise(usize),
    /// So many bytes that ask for this answer.
    Question(usize, Vec<u8>),
    /// A line of so many bytes in all; who said it, if the protocol tells.
    Line { length: usize, from: Option<u32>, text: &'a [u8] },
    /// The server complains, or what came is none of this.
    Wrong(String),
}

pub trait Speech {
    /// What a client does to come in.
    fn enter(&self, client: Client) -> Vec<Step>;

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>);

    /// The first piece of what came.
    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a>;

    /// Whether those who talk need a connection of their own, because a subscriber may not publish or would hear
    /// itself.
    fn talkers_apart(&self) -> bool {
        false
    }
}

/// What a line server puts in front of a text, in bytes. The other protocols frame their texts in ways of their own.
pub fn name_bytes(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Chinwag | Protocol::ChinwagFar => line::PREFIX_BYTES,
        _ => 0,
    }
}

/// The speech of a protocol when every text has this length.
pub fn speech(protocol: Protocol, text_bytes: usize) -> Box<dyn Speech> {
    match protocol {
        Protocol::Plain => Box::new(line::Plain { text_bytes }),
        Protocol::Chinwag => Box::new(line::Chinwag { text_bytes, talkers_apart: false }),
        Protocol::ChinwagFar => Box::new(line::Chinwag { text_bytes, talkers_apart: true }),
        Protocol::Ncat => Box::new(ncat::Ncat { text_bytes }),
        Protocol::Irc => Box::new(irc::Irc),
        Protocol::Redis => Box::new(redis::Redis { text_bytes }),
        Protocol::Nats => Box::new(nats::Nats { text_bytes }),
        Protocol::Mqtt => Box::new(mqtt::Mqtt),
        Protocol::RawWebSocket => websocket(text::Text { text_bytes, talkers_apart: false }, |client| {
            format!("/raw/{}", json::room_name(client))
        }),
        Protocol::JsonWebSocket => websocket(json::Json { text_bytes }, json::path),
        Protocol::MqttWebSocket => Box::new(WebSocket {
            inner: mqtt::Mqtt,
            path: |_| "/".to_string(),
            subprotocol: Some("mqtt"),
            kind: Kind::Binary,
        }),
        Protocol::Nchan => websocket(text::Text { text_bytes, talkers_apart: true }, |client| {
            format!("/{}/{}", if client.hears { "hear" } else { "say" }, room(client))
        }),
    }
}

/// Messages of text.
fn websocket<S: Speech + 'static>(inner: S, path: fn(Client) -> String) -> Box<dyn Speech> {
    Box::new(WebSocket { inner, path, subprotocol: None, kind: Kind::Text })
}

/// `u00012`: always as long.
fn name(number: u32) -> String {
    format!("u{number:05}")
}

/// The number in such a name.
fn number(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"u")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `r00000`: always as long. Whoever has no rooms talks in the first.
fn room(client: Client) -> String {
    format!("r{:05}", client.room.unwrap_or(0))
}

/// What came, as far as a person wants to see it in an error.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).escape_debug().to_string()
}

/// The length of the first line with its end, if it is all here.
fn line_length(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|end| end + 1)
}

/// The first line as noise.
fn noise(bytes: &[u8]) -> Piece<'_> {
    line_length(bytes).map_or(Piece::Partial, Piece::Noise)
}

/// A frame of a known head, a text of a known length, and an end.
fn framed<'a>(bytes: &'a [u8], head: usize, text_bytes: usize, end: &[u8], from: Option<u32>) -> Piece<'a> {
    let length = head + text_bytes + end.len();
    if bytes.len() < length {
        return Piece::Partial;
    }
    match &bytes[head + text_bytes..length] == end {
        true => Piece::Line { length, from, text: &bytes[head..head + text_bytes] },
        false => Piece::Wrong(format!("a line without its end: {}", excerpt(bytes))),
    }
}
