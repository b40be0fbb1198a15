//! Decoding bytes to requests and encoding events to bytes, one module per dialect. A codec has no access to the state of
//! the chat, nor to sockets.
//!
//! The decoder state of a connection between two pieces of input is its [`Unfinished`]. It is nearly always empty, so it is
//! boxed, and an idle connection pays nothing for it. State that connections share is in [`Codecs`].

pub mod foreign;
pub mod forwarded;
pub mod http;
pub mod json;
pub mod line;
pub mod proxy;
pub mod raw;
pub mod resp;
pub mod sse;
pub mod telnet;
pub mod websocket;

use websocket::{Waiting, WebSocketMessage};

use crate::config::Config;
use crate::protocol::{CloseReason, Dialect, Event, Problem, Request};
use crate::rate::Use;

/// The decoder state of a connection in the middle of a line, request or message.
#[derive(Debug)]
pub enum Unfinished {
    /// The last line ended with CR. A following LF or NUL belongs to the same line end.
    LineEnd,
    /// A line over the limit. The bytes past the limit are discarded.
    Line { discarded_bytes: usize },
    /// An HTTP request whose body is incomplete.
    Body(http::PendingRequest),
    /// An incomplete WebSocket message.
    Message(websocket::Partial),
}

impl Unfinished {
    /// Bytes of heap memory besides the value itself.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Unfinished::Message(partial) => partial.memory_bytes(),
            Unfinished::Body(pending) => pending.memory_bytes(),
            Unfinished::LineEnd | Unfinished::Line { .. } => 0,
        }
    }
}

/// The result of one decoding step. Repeat with the remaining input until the result is [`Step::Incomplete`].
#[derive(Debug)]
pub enum Step {
    /// More input is needed.
    Incomplete,
    /// Some input was consumed.
    Used {
        /// At least one.
        bytes: usize,
        /// `None` if the bytes complete no input.
        input: Option<Input>,
    },
    /// The next message does not fit into the queue of waiting messages.
    Blocked,
    /// The connection must be closed.
    Fail(CloseReason),
}

/// Decoded input of a client.
#[derive(Debug)]
pub enum Input {
    /// A request to the chat, or the reason why it is invalid.
    Request {
        request: Result<Request, Problem>,
        /// The reply carries the same tag.
        tag: Option<Tag>,
    },
    /// An HTTP request, or the reason why it is refused.
    Http(Result<Box<http::HttpRequest>, http::Refusal>),
    /// An HTTP client expects `100 Continue` before it sends the body.
    Continue,
    /// A ping, whose payload the pong returns (RFC 6455, 5.5.2).
    Ping(Box<[u8]>),
    /// A close frame with its code (RFC 6455, 5.5.1).
    Close(u16),
}

impl Input {
    /// Its kind for the rate limits of the client and of its address; `None` if it is free.
    pub fn counts_as(&self) -> Option<Use> {
        match self {
            Input::Request { request, .. } => {
                Some(Use::Message { bytes: request.as_ref().map_or(0, Request::content_bytes) })
            }
            Input::Http(Ok(request)) if !request.method().is_safe() => {
                Some(Use::Publish { bytes: request.body().len() })
            }
            Input::Http(_) | Input::Ping(_) => Some(Use::Request),
            Input::Continue | Input::Close(_) => None,
        }
    }
}

impl Step {
    /// A step that consumes `bytes` and may yield a request without a tag.
    pub fn request(bytes: usize, request: Option<Result<Request, Problem>>) -> Step {
        Step::Used { bytes, input: request.map(|request| Input::Request { request, tag: None }) }
    }
}

/// The `id` of a request, as JSON. The reply has the same `id`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(pub Box<str>);

/// The meaning of a line client's next line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// The line answers the question for a name.
    pub name: bool,
    /// The line answers the question for the token of an account.
    pub token: bool,
    /// No text came before it, so this line shows whether the client speaks another protocol.
    pub first: bool,
}

/// All decoders, with the buffers and limits that connections share.
#[derive(Debug)]
pub struct Codecs {
    line_max: usize,
    message_max: usize,
    websocket: websocket::Decoder,
}

impl Codecs {
    pub fn new(config: &Config) -> Codecs {
        let message_max = config.message_max_bytes();
        Codecs {
            line_max: config.line_max_bytes(),
            message_max,
            websocket: websocket::Decoder::new(message_max),
        }
    }

    /// The most bytes of unconsumed input, for an incomplete line, head or frame.
    pub fn unused_max_bytes(&self) -> usize {
        let lengths =
            [line::unused_max_bytes(self.line_max), http::UNUSED_MAX_BYTES, websocket::UNUSED_MAX_BYTES];
        lengths.into_iter().max().unwrap_or_default()
    }

    /// Decodes one step of `input`. With `ended` no more input will come. `expected` concerns line clients only.
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
            Dialect::Events if input.is_empty() => Step::Incomplete,
            Dialect::Events => Step::Used { bytes: input.len(), input: None },
        }
    }

    /// Decodes one step of a WebSocket client that is delayed. Control frames are returned; messages are queued in `waiting`
    /// as long as they fit.
    pub fn decode_ahead(
        &mut self,
        unfinished: &mut Option<Box<Unfinished>>,
        waiting: &mut Waiting,
        input: &[u8],
    ) -> Step {
        let room = Waiting::max_bytes(self.message_max).saturating_sub(waiting.bytes());
        let enqueue = |message: WebSocketMessage<'_>| {
            waiting.push(message);
            None
        };
        self.websocket.decode(unfinished, input, room, enqueue)
    }

    /// Dequeues and decodes the first waiting message.
    pub fn next_waiting(&self, dialect: Dialect, waiting: &mut Waiting) -> Option<Input> {
        match dialect {
            Dialect::Json => waiting.pop(json::decode),
            Dialect::Raw => waiting.pop(raw::decode),
            Dialect::Line | Dialect::Http | Dialect::Events => None,
        }
    }

    /// The reason to close a line client in the queue whose first line is another protocol. `max_bytes` of input are kept.
    pub fn foreign(&self, input: &[u8], max_bytes: usize, ended: bool) -> Option<CloseReason> {
        foreign::reason(input, max_bytes.min(line::unused_max_bytes(self.line_max)), ended)
    }
}

/// The notices for people when the link to the other processes goes down and comes up.
const DISCONNECTED: &str =
    "the other servers are out of reach: until they are back you see only messages of this one";
const CONNECTED: &str = "the other servers are within reach again";

/// Appends an event in `dialect`. Some dialects omit some events. `tag` marks a reply.
pub fn encode(dialect: Dialect, event: &Event, tag: Option<&Tag>, out: &mut Vec<u8>) {
    match dialect {
        Dialect::Line => line::encode(event, out),
        Dialect::Json => json::encode(event, tag, out),
        Dialect::Raw => raw::encode(event, out),
        Dialect::Events => sse::encode(event, out),
        Dialect::Http => {}
    }
}
