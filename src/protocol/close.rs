//! Why a connection ends: [`CloseReason`].

use crate::text::Text;

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The client said `/quit`.
    Quit,
    /// The client closed its side, and all it had sent was dealt with.
    EndOfInput,
    /// The connection broke: reset, timed out, host gone.
    Lost,
    /// The write buffer reached its hard limit.
    BufferFull,
    /// The write buffer stayed over its soft limit too long.
    BufferHigh,
    /// Nothing was taken of what waits for too long.
    Stalled,
    /// All clients together held too much, and this one most.
    ServerMemory,
    /// No name was given in time.
    NoName,
    /// Nothing was sent for too long.
    Idle,
    /// A line would not end.
    EndlessLine,
    /// The first line was an HTTP request, at the listener for lines.
    HttpRequest,
    /// The first input was of another protocol than HTTP, or no text.
    OtherProtocol,
    /// No place, and no place to wait.
    Full,
    /// Too many connections from the same address.
    TooManyFromAddress,
    /// Too many new connections from the same address in a short time.
    TooManyArrivals,
    /// The server ends.
    Shutdown,
    /// A WebSocket client has closed, as it should.
    PeerClosed,
    /// A frame broke the rules of RFC 6455.
    BadFrame,
    /// A text was no UTF-8.
    BadText,
    /// A message was over the limit.
    TooLarge,
    /// A message came in too many frames.
    TooManyFrames,
    /// A WebSocket client did not answer when it was asked whether it is there.
    NoPong,
    /// The last answer of an HTTP connection was given.
    Answered,
    /// An HTTP client took too long with the head of a request, or asked for nothing more.
    NoRequest,
    /// An idle HTTP connection was closed because a newcomer needed its place.
    Evicted,
}

impl CloseReason {
    /// One word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Quit => "quit",
            CloseReason::EndOfInput => "end-of-input",
            CloseReason::Lost => "lost",
            CloseReason::BufferFull => "buffer-full",
            CloseReason::BufferHigh => "buffer-high",
            CloseReason::Stalled => "stalled",
            CloseReason::ServerMemory => "server-memory",
            CloseReason::NoName => "no-name",
            CloseReason::Idle => "idle",
            CloseReason::EndlessLine => "endless-line",
            CloseReason::HttpRequest => "http-request",
            CloseReason::OtherProtocol => "other-protocol",
            CloseReason::Full => "full",
            CloseReason::TooManyFromAddress => "too-many-from-address",
            CloseReason::TooManyArrivals => "too-many-arrivals",
            CloseReason::Shutdown => "shutdown",
            CloseReason::PeerClosed => "peer-closed",
            CloseReason::BadFrame => "bad-frame",
            CloseReason::BadText => "bad-text",
            CloseReason::TooLarge => "too-large",
            CloseReason::TooManyFrames => "too-many-frames",
            CloseReason::NoPong => "no-pong",
            CloseReason::Answered => "answered",
            CloseReason::NoRequest => "no-request",
            CloseReason::Evicted => "evicted",
        }
    }

    /// The code of the close frame for a WebSocket client (RFC 6455, 7.4.1, and IANA's registry for 1013); `None` if there
    /// is nobody to tell, or it was answered already.
    pub fn websocket_code(self) -> Option<u16> {
        use CloseReason::{
            Answered, BadFrame, BadText, BufferFull, BufferHigh, EndOfInput, EndlessLine, Evicted, Full,
            HttpRequest, Idle, Lost, NoName, NoPong, NoRequest, OtherProtocol, PeerClosed, Quit,
            ServerMemory, Shutdown, Stalled, TooLarge, TooManyArrivals, TooManyFrames, TooManyFromAddress,
        };
        Some(match self {
            Lost | PeerClosed | Answered | NoRequest | Evicted | HttpRequest | OtherProtocol => return None,
            Quit | EndOfInput => 1000,
            Shutdown => 1001,
            BadFrame => 1002,
            BadText => 1007,
            NoName | Idle | EndlessLine | TooManyFromAddress | TooManyArrivals => 1008,
            TooLarge | TooManyFrames => 1009,
            // Come again: nothing was wrong with what the client said.
            BufferFull | BufferHigh | Stalled | ServerMemory | NoPong | Full => 1013,
        })
    }

    /// Whether what is said still reaches the client until it has left the chat.
    pub const fn receives_until_closed(self) -> bool {
        !self.is_drop() && !matches!(self, CloseReason::Lost | CloseReason::PeerClosed)
    }

    /// Whether the server gave up on a client that does not read.
    pub const fn is_drop(self) -> bool {
        use CloseReason::{BufferFull, BufferHigh, ServerMemory, Stalled};
        matches!(self, BufferFull | BufferHigh | Stalled | ServerMemory)
    }

    /// What the client itself is told; `None` if it does not want to know or can't be told.
    pub fn farewell(self) -> Option<&'static str> {
        Some(match self {
            CloseReason::EndOfInput | CloseReason::Lost | CloseReason::PeerClosed => return None,
            CloseReason::Answered | CloseReason::NoRequest | CloseReason::Evicted => return None,
            CloseReason::Quit => "bye",
            CloseReason::BufferFull => "you were dropped: too much was waiting for you to read it",
            CloseReason::BufferHigh => "you were dropped: you were behind with reading for too long",
            CloseReason::Stalled => "you were dropped: you stopped reading",
            CloseReason::ServerMemory => "you were dropped: the server ran short of memory for what waits",
            CloseReason::NoName => "you gave no name in time. connect again to try again",
            CloseReason::Idle => "you were idle for too long. connect again to go on",
            CloseReason::EndlessLine => "your line does not end. good-bye",
            CloseReason::HttpRequest => {
                "this is the listener for nc and telnet. browsers and curl use the HTTP listener: \
                 port 7712, unless --http says another"
            }
            CloseReason::OtherProtocol => "that is another protocol. send lines of UTF-8 text, as nc does",
            CloseReason::Full => "the server is full. try again later",
            CloseReason::TooManyFromAddress => {
                "too many connections from your address. close one of them first"
            }
            CloseReason::TooManyArrivals => {
                "too many new connections from your address. wait a moment and try again"
            }
            CloseReason::Shutdown => "the server is shutting down",
            CloseReason::BadFrame => "your frame breaks the rules of RFC 6455",
            CloseReason::BadText => "your text is not UTF-8",
            CloseReason::TooLarge => "your message is too large",
            CloseReason::TooManyFrames => "your message is in too many frames: send longer ones",
            CloseReason::NoPong => "you did not answer a ping",
        })
    }

    /// What the rest of the room is told behind `ann left`.
    pub fn announced_reason(self) -> Option<Text> {
        match self {
            reason if reason.is_drop() => Text::clean("too slow"),
            CloseReason::Idle => Text::clean("idle"),
            _ => None,
        }
    }
}
