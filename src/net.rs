//! The operating system as the trait [`Net`]: sockets, signals and clocks.
//!
//! [`mio::MioNet`] implements it. `tests/sim` has a virtual implementation with short reads, exhausted descriptors, resets and
//! a virtual clock, which is deterministic for a seed.

pub mod bind;
mod inherit;
pub mod mio;
pub mod resolve;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::Dialect;
use crate::time::Moment;

/// Identifies a connection by its slot in the roster and a unique serial number.
///
/// Slots are reused, serials are not (before 2^32 connections). So a late event of a closed connection finds no connection,
/// instead of a newer one in the same slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Token {
    /// Index in the roster.
    pub slot: u32,
    pub serial: u32,
}

/// Index of a listener, in the order of opening.
pub type ListenerId = usize;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerKind {
    /// The dialect of new connections: lines or HTTP.
    pub dialect: Dialect,
    /// Whether the address is a loopback address.
    pub loopback: bool,
}

impl ListenerKind {
    pub const LINE: ListenerKind = ListenerKind { dialect: Dialect::Line, loopback: true };
}

/// An event of [`Net::poll`]. Readiness is edge-triggered (`EPOLLET`): there is no further event until a call has returned
/// `WouldBlock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollEvent {
    /// A listener may have connections to accept.
    Listener(ListenerId),
    /// A connection may have become readable (data, end or error) or writable.
    Connection {
        /// It may be of a connection that is closed already.
        token: Token,
        readable: bool,
        writable: bool,
    },
    Signal(Signal),
    /// [`Net::resolved`] has a result.
    Resolved,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGTERM` or `SIGINT`.
    Terminate,
    /// `SIGHUP`: read the files again.
    Reload,
}

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Ip(IpAddr),
    /// A process on this machine, by a Unix socket.
    Local,
}

/// The address for an outgoing connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectTarget {
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The meaning of an error of [`Net::accept`] for the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptError {
    /// No connection is pending. There will be an event.
    WouldBlock,
    /// One pending connection failed. Others may be pending.
    ConnectionFailed,
    /// Descriptors or memory ran out. Connections may be pending, and there will be no event.
    Exhausted,
    /// The listener can't accept any more.
    ListenerBroken,
}

impl From<&io::Error> for AcceptError {
    /// Classifies by `accept(2)`: Linux passes on errors of the new connection, which concern it alone. An unknown error counts
    /// as exhaustion, because the server retries that later and so can't spin.
    fn from(error: &io::Error) -> AcceptError {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => AcceptError::WouldBlock,
            Some(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::TIMEDOUT,
            ) => AcceptError::ConnectionFailed,
            // accept(2) lists EOPNOTSUPP for connections too, but Linux returns it only for a socket of another type.
            Some(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP) => {
                AcceptError::ListenerBroken
            }
            None if error.kind() == io::ErrorKind::WouldBlock => AcceptError::WouldBlock,
            _ => AcceptError::Exhausted,
        }
    }
}

/// The operating system. Only [`Net::poll`] and [`Net::sleep`] block.
pub trait Net {
    /// The socket of a connection. Dropping it closes it.
    type Stream;

    /// Waits for events until `timeout` (`None`: without end), and appends them to `events`.
    ///
    /// # Errors
    /// Those of `epoll_wait(2)`. `Interrupted` may occur at any time and is harmless; any other error is fatal.
    fn poll(&mut self, events: &mut Vec<PollEvent>, timeout: Option<Duration>) -> io::Result<()>;

    /// Sleeps with nanosecond resolution, while a `timeout` has milliseconds. Only a signal ends it early.
    fn sleep(&mut self, span: Duration);

    /// The monotonic clock (`CLOCK_MONOTONIC`), from the start of the process.
    fn now(&self) -> Moment;

    /// The wall clock, in milliseconds since the Unix epoch.
    fn unix_millis(&self) -> u64;

    /// The monotonic clock in nanoseconds, for measurements.
    fn nanos(&self) -> u64;

    /// A random number that identifies this process among those of a chat.
    fn process_id(&self) -> u64;

    /// Accepts a pending connection. It is not registered yet.
    ///
    /// # Errors
    /// Those of `accept(2)`: `WouldBlock` if none is pending, `EMFILE` and `ENFILE` if descriptors ran out, and errors of the
    /// connection itself (`ECONNABORTED`, `EPROTO`, …).
    fn accept(&mut self, listener: ListenerId) -> io::Result<(Self::Stream, Peer)>;

    /// Begins an outgoing connection. It is not registered yet, and may not be established yet.
    ///
    /// Until it is established, reads and writes return `WouldBlock`; then there is a writable event. If it fails, there is an
    /// event for both kinds of readiness, and the next read or write returns the reason (`ECONNREFUSED`, `ETIMEDOUT`, …). The
    /// reason is returned once. After it reads return the end of input, and writes fail with `EPIPE`. The kernel gives up
    /// after a minute or two.
    ///
    /// # Errors
    /// Those of `socket(2)` and `connect(2)` that occur at once, such as `EMFILE` and `ENETUNREACH`. A Unix socket connects at
    /// once, so all its errors occur here: `ENOENT`, `ECONNREFUSED`, and `WouldBlock` if the backlog is full. No event follows
    /// the latter.
    fn connect(&mut self, target: &ConnectTarget) -> io::Result<Self::Stream>;

    /// Begins to resolve `host`, a name or an address without brackets. [`PollEvent::Resolved`] follows with the result.
    ///
    /// There is one lookup at a time. A new call replaces the previous one, whose result is discarded. A call for the same host
    /// continues the running lookup; another host is looked up when the running one ends.
    fn resolve(&mut self, host: &str, port: u16);

    /// Returns the result of [`Net::resolve`] once: at least one address with the port, best first.
    ///
    /// # Errors
    /// Those of `getaddrinfo(3)`, as text for people.
    fn resolved(&mut self) -> Option<io::Result<Vec<SocketAddr>>>;

    /// Registers the stream for both kinds of readiness, until it is dropped.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`: `ENOSPC` and `ENOMEM`.
    fn register(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;

    /// Reads into `buffer`; 0 is the end of input.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    fn read(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes `slices` in order, and returns the number of bytes written.
    ///
    /// # Errors
    /// Those of `send(2)`.
    fn write(&mut self, stream: &mut Self::Stream, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Bytes in the socket's buffer that are not sent yet, possibly rounded up.
    ///
    /// If there are any, an event follows when they are sent. It may be early, so call this again.
    fn unsent_bytes(&mut self, stream: &mut Self::Stream) -> u32;

    /// Closes the write half. [`Net::unsent_bytes`] is of no use after that.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Closes one listener. The others keep their indices.
    fn close_listener(&mut self, listener: ListenerId);

    /// Closes every listener. Pending connections are refused.
    fn close_listeners(&mut self);
}
