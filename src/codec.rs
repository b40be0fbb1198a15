//! Bytes to requests and events to bytes, one module a listener. A codec never sees an id, a room's members or a socket.
//!
//! What a codec remembers of a connection between two pieces of input is its [`Unfinished`]: nothing, nearly always, so
//! that an idle connection has no place for it. What it shares between connections is in [`Codecs`].

pub mod foreign;
pub mod http;
pub mod json;
pub mod line;
pub mod raw;
pub mod resp;
pub mod sse;
pub mod telnet;
pub mod websocket;

use websocket::{Waiting, Whole};

use crate::config::Config;
use crate::protocol::{CloseReason, Dialect, Event, Problem, Request};
use crate::rate::Use;

/// What a codec is in the middle of.
#[derive(Debug)]
pub enum Unfinished {
    /// A line that ended with CR. An LF or NUL that follows belongs to that end.
    LineEnd,
    /// A line over the limit, of which so much past the limit was thrown away.
    Line {
        /// How much.
        discarded_bytes: usize,
    },
    /// An HTTP request whose body is still to come.
    Body(http::PendingRequest),
    /// A WebSocket message that is not complete.
    Message(websocket::Partial),
}

impl Unfinished {
    /// Memory that it takes besides itself.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Unfinished::Message(partial) => partial.memory_bytes(),
            Unfinished::LineEnd | Unfinished::Line { .. } | Unfinished::Body(_) => 0,
        }
    }
}

/// One step of decoding. Give the codec what is left of the input until it answers [`Step::Incomplete`].
#[derive(Debug)]
pub enum Step {
    /// Nothing can be made of the input before more comes.
    Incomplete,
    /// So many bytes are used up.
    Used {
        /// How many; at least one.
        bytes: usize,
        /// What they say, if anything.
        input: Option<Input>,
    },
    /// The next message has to wait: there is no room for it.
    Blocked,
    /// There is no going on with this client.
    Fail(CloseReason),
}

/// What a client says.
#[derive(Debug)]
pub enum Input {
    /// Something for the chat, or something that can't be read.
    Request {
        /// What.
        request: Result<Request, Problem>,
        /// What the answer is to be marked with.
        tag: Option<Tag>,
    },
    /// An HTTP request, or why there is none.
    Http(Result<Box<http::HttpRequest>, http::Refusal>),
    /// An HTTP client waits to hear whether it should send the body.
    Continue,
    /// The client wants to know whether we are there, and to have these bytes back (RFC 6455, 5.5.2).
    Ping(Box<[u8]>),
    /// The client closes the WebSocket, with that code (RFC 6455, 5.5.1).
    Close(u16),
}

impl Input {
    /// Its kind, as the rates of its client and its address count it; `None` if they do not.
    pub fn counts_as(&self) -> Option<Use> {
        match self {
            Input::Request { request, .. } => {
                Some(Use::Message { bytes: request.as_ref().map_or(0, Request::said_bytes) })
            }
            Input::Http(Ok(call)) if !call.method().is_safe() => {
                Some(Use::Message { bytes: call.body().len() })
            }
            Input::Http(_) | Input::Ping(_) => Some(Use::Request),
            Input::Continue | Input::Close(_) => None,
        }
    }
}

impl Step {
    /// A step that a request without a tag comes of, or nothing.
    pub fn request(bytes: usize, request: Option<Result<Request, Problem>>) -> Step {
        Step::Used { bytes, input: request.map(|request| Input::Request { request, tag: None }) }
    }
}

/// The `id` of a request, as JSON: it comes back on the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(pub Box<str>);

/// The meaning of a line client's next line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// The answer to the question for a name, and not chat.
    pub name: bool,
    /// Nothing was said before it, so it shows whether the client speaks this protocol at all.
    pub first: bool,
}

/// All codecs, with what they share between connections.
#[derive(Debug)]
pub struct Codecs {
    line_max: usize,
    message_max: usize,
    websocket: websocket::Decoder,
}

impl Codecs {
    /// Codecs under the limits of `config`.
    pub fn new(config: &Config) -> Codecs {
        let message_max = config.message_max_bytes();
        Codecs {
            line_max: config.line_max_bytes(),
            message_max,
            websocket: websocket::Decoder::new(message_max),
        }
    }

    /// The most input that can wait for the rest of a line, a request or a message.
    pub fn unused_max_bytes(&self) -> usize {
        let lengths = [
            line::unused_max_bytes(self.line_max),
            http::unused_max_bytes(self.message_max),
            websocket::UNUSED_MAX_BYTES,
        ];
        lengths.into_iter().max().unwrap_or_default()
    }

    /// Takes one step through `input`. With `ended` no more will come. `expected` concerns line clients.
    pub fn decode(
        &mut self,
        dialect: Dialect,
        unfinished: &mut Option<Box<Unfinished>>,
        expected: Expected,
        input: &[u8],
        ended: bool,
    ) -> Step {
        match dialect {
            Dialect::Line => line::decode(unfinished, expected, input, ended, self.line_max),
            Dialect::Http => http::decode(unfinished, input, self.message_max),
            Dialect::Json => self.websocket.decode(unfinished, input, usize::MAX, |m| Some(json::decode(m))),
            Dialect::Raw => self.websocket.decode(unfinished, input, usize::MAX, |m| Some(raw::decode(m))),
            // No client of ours speaks it.
            Dialect::Redis => Step::Incomplete,
            Dialect::Events if input.is_empty() => Step::Incomplete,
            Dialect::Events => Step::Used { bytes: input.len(), input: None },
        }
    }

    /// Takes one step through the input of a WebSocket client that must wait. Its control frames come out, and its messages
    /// go to `waiting` as long as there is room.
    pub fn decode_ahead(
        &mut self,
        unfinished: &mut Option<Box<Unfinished>>,
        waiting: &mut Waiting,
        input: &[u8],
    ) -> Step {
        let room = Waiting::max_bytes(self.message_max).saturating_sub(waiting.bytes());
        let keep = |message: Whole<'_>| {
            waiting.push(message);
            None
        };
        self.websocket.decode(unfinished, input, room, keep)
    }

    /// Reads the first of the messages that wait.
    pub fn next_waiting(&self, dialect: Dialect, waiting: &mut Waiting) -> Option<Input> {
        match dialect {
            Dialect::Json => waiting.pop(json::decode),
            Dialect::Raw => waiting.pop(raw::decode),
            Dialect::Line | Dialect::Http | Dialect::Events | Dialect::Redis => None,
        }
    }

    /// The reason to close a line client that waits for a place: its input so far, of which `most` bytes are kept, is
    /// no text.
    pub fn foreign(&self, input: &[u8], most: usize, ended: bool) -> Option<CloseReason> {
        foreign::reason(input, most.min(line::unused_max_bytes(self.line_max)), ended)
    }
}

/// What people are told when the other processes are out of reach, and when they are not any more.
const APART: &str =
    "the other servers are out of reach: until they are back you hear only who is on this one";
const TOGETHER: &str = "the other servers are within reach again";

/// Appends what a client that speaks `dialect` sees of an event; for some, nothing. `tag` marks an answer.
pub fn encode(dialect: Dialect, event: &Event, tag: Option<&Tag>, out: &mut Vec<u8>) {
    match dialect {
        Dialect::Line => line::encode(event, out),
        Dialect::Json => json::encode(event, tag, out),
        Dialect::Raw => raw::encode(event, out),
        Dialect::Events => sse::encode(event, out),
        Dialect::Redis | Dialect::Http => {}
    }
}
