//! Reasons for the end of a connection: [`CloseReason`].

use crate::text::Text;

/// The reason why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The client said `/quit`.
    Quit,
    /// The client closed its side, and all its input was handled.
    EndOfInput,
    /// The connection was reset or timed out.
    ConnectionLost,
    /// The queued output reached its hard limit (`overflow` in `server/fanout.rs`).
    BufferFull,
    /// The queued output stayed over its soft limit for too long (`slow_deadline` in `connection/deadlines.rs`,
    /// which `expire` in `server.rs` carries out).
    BufferHigh,
    /// The client read none of its queued output for too long (`slow_deadline` and `expire`, too).
    Stalled,
    /// The queued output of all clients was over its limit, and this client had the most (`drop_heaviest` in
    /// `server/flush.rs`).
    ServerMemory,
    /// The client gave no name in time.
    NoName,
    /// The client sent nothing for too long.
    Idle,
    /// A line went on far beyond the limit.
    EndlessLine,
    /// An HTTP request came to a line listener.
    HttpRequest,
    /// Input of another protocol, or binary input, came to a line listener.
    OtherProtocol,
    /// A header of the PROXY protocol came from an address that `--trust-proxy` does not name.
    UntrustedProxy,
    /// A trusted proxy sent no header of the PROXY protocol, or a malformed one.
    NoProxyHeader,
    /// There was neither a free quota nor room in the queue.
    ServerFull,
    /// Too many connections from the same address.
    TooManyFromAddress,
    /// Too many new connections from the same address in a short time.
    TooManyArrivals,
    Shutdown,
    /// A WebSocket client has sent a close frame.
    PeerClosed,
    /// A frame broke the rules of RFC 6455.
    BadFrame,
    /// A WebSocket text was not UTF-8.
    BadText,
    /// A WebSocket message was over the limit.
    TooLarge,
    /// A WebSocket message had too many frames.
    TooManyFrames,
    /// A WebSocket client did not answer a ping.
    NoPong,
    /// The last response of an HTTP connection was sent.
    ResponseSent,
    /// An HTTP client took too long to send a request.
    RequestTimeout,
    /// An idle HTTP connection made room for a new connection.
    Evicted,
    /// A moderator has removed the client.
    Kicked,
    /// The name or the address of the client is banned.
    Banned,
    /// Too many logins of the connection have failed, or the token of its request was wrong.
    LoginFailed,
    /// A client did not log in in time (`--access login`).
    NoLogin,
    /// The session has expired, or its account is gone.
    SessionEnded,
    /// The client may not be in its only room any more.
    NotAllowed,
}

impl CloseReason {
    /// The word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Quit => "quit",
            CloseReason::EndOfInput => "end-of-input",
            CloseReason::ConnectionLost => "lost",
            CloseReason::BufferFull => "buffer-full",
            CloseReason::BufferHigh => "buffer-high",
            CloseReason::Stalled => "stalled",
            CloseReason::ServerMemory => "server-memory",
            CloseReason::NoName => "no-name",
            CloseReason::Idle => "idle",
            CloseReason::EndlessLine => "endless-line",
            CloseReason::HttpRequest => "http-request",
            CloseReason::OtherProtocol => "other-protocol",
            CloseReason::UntrustedProxy => "untrusted-proxy",
            CloseReason::NoProxyHeader => "no-proxy-header",
            CloseReason::ServerFull => "full",
            CloseReason::TooManyFromAddress => "too-many-from-address",
            CloseReason::TooManyArrivals => "too-many-arrivals",
            CloseReason::Shutdown => "shutdown",
            CloseReason::PeerClosed => "peer-closed",
            CloseReason::BadFrame => "bad-frame",
            CloseReason::BadText => "bad-text",
            CloseReason::TooLarge => "too-large",
            CloseReason::TooManyFrames => "too-many-frames",
            CloseReason::NoPong => "no-pong",
            CloseReason::ResponseSent => "answered",
            CloseReason::RequestTimeout => "no-request",
            CloseReason::Evicted => "evicted",
            CloseReason::Kicked => "kicked",
            CloseReason::Banned => "banned",
            CloseReason::LoginFailed => "login-failed",
            CloseReason::NoLogin => "no-login",
            CloseReason::SessionEnded => "session-ended",
            CloseReason::NotAllowed => "not-allowed",
        }
    }

    /// The code of the close frame for a WebSocket client (RFC 6455, 7.4.1, and IANA's registry for 1013). `None` if no
    /// close frame is to be sent.
    pub fn websocket_code(self) -> Option<u16> {
        use CloseReason::{
            BadFrame, BadText, Banned, BufferFull, BufferHigh, ConnectionLost, EndOfInput, EndlessLine,
            Evicted, HttpRequest, Idle, Kicked, LoginFailed, NoLogin, NoName, NoPong, NoProxyHeader,
            NotAllowed, OtherProtocol, PeerClosed, Quit, RequestTimeout, ResponseSent, ServerFull,
            ServerMemory, SessionEnded, Shutdown, Stalled, TooLarge, TooManyArrivals, TooManyFrames,
            TooManyFromAddress, UntrustedProxy,
        };
        Some(match self {
            ConnectionLost | PeerClosed | ResponseSent | RequestTimeout | Evicted | HttpRequest
            | OtherProtocol | UntrustedProxy | NoProxyHeader => return None,
            Quit | EndOfInput => 1000,
            Shutdown => 1001,
            BadFrame => 1002,
            BadText => 1007,
            NoName | Idle | EndlessLine | TooManyFromAddress | TooManyArrivals => 1008,
            Kicked | Banned | LoginFailed | NoLogin | SessionEnded | NotAllowed => 1008,
            TooLarge | TooManyFrames => 1009,
            // "Try again later": the client's messages were in order.
            BufferFull | BufferHigh | Stalled | ServerMemory | NoPong | ServerFull => 1013,
        })
    }

    /// Whether the client still receives messages until it has left the chat.
    pub const fn receives_until_closed(self) -> bool {
        !self.is_drop() && !matches!(self, CloseReason::ConnectionLost | CloseReason::PeerClosed)
    }

    /// Whether the client was dropped because it read too slowly.
    pub const fn is_drop(self) -> bool {
        use CloseReason::{BufferFull, BufferHigh, ServerMemory, Stalled};
        matches!(self, BufferFull | BufferHigh | Stalled | ServerMemory)
    }

    /// The text for the client itself; `None` if it gets none.
    pub fn farewell(self) -> Option<&'static str> {
        Some(match self {
            CloseReason::EndOfInput | CloseReason::ConnectionLost | CloseReason::PeerClosed => return None,
            CloseReason::ResponseSent | CloseReason::RequestTimeout | CloseReason::Evicted => return None,
            CloseReason::Quit => "bye",
            CloseReason::BufferFull => "you were dropped: too much was waiting for you to read it",
            CloseReason::BufferHigh => "you were dropped: you were behind with reading for too long",
            CloseReason::Stalled => "you were dropped: you stopped reading",
            CloseReason::ServerMemory => {
                "you were dropped: the server ran short of memory for unread messages"
            }
            CloseReason::NoName => "you gave no name in time. connect again to try again",
            CloseReason::Idle => "you were idle for too long. connect again to go on",
            CloseReason::EndlessLine => "your line does not end. good-bye",
            CloseReason::HttpRequest => {
                "this is the listener for nc and telnet. browsers and curl use the HTTP listener: \
                 port 7712, unless --http says another"
            }
            CloseReason::OtherProtocol => "that is another protocol. send lines of UTF-8 text, as nc does",
            CloseReason::UntrustedProxy => {
                "that is a header of the PROXY protocol, from an address that is no trusted proxy: \
                 name it with --trust-proxy, or switch the header off in the proxy"
            }
            CloseReason::NoProxyHeader => {
                "a trusted proxy must begin with a header of the PROXY protocol: switch it on in the proxy \
                 (HAProxy: send-proxy), or name fewer proxies with --trust-proxy"
            }
            CloseReason::ServerFull => "the server is full. try again later",
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
            CloseReason::Kicked => "a moderator has removed you",
            CloseReason::Banned => "a moderator has banned you",
            CloseReason::LoginFailed => "the login has failed. check the token and connect again",
            CloseReason::NoLogin => "you did not log in in time. connect again to try again",
            CloseReason::SessionEnded => "your session has expired. log in again",
            CloseReason::NotAllowed => "you may not be in this room any more",
        })
    }

    /// The reason that the other members see behind `ann left`.
    pub fn announced_reason(self) -> Option<Text> {
        match self {
            reason if reason.is_drop() => Text::clean("too slow"),
            CloseReason::Idle => Text::clean("idle"),
            CloseReason::Banned => Text::clean("banned"),
            CloseReason::SessionEnded => Text::clean("session expired"),
            _ => None,
        }
    }
}
