//! The seam: everything the server asks of the outside, as the trait [`Net`].
//!
//! [`mio::MioNet`] is the real one. `tests/sim` has a virtual one, on which the whole server runs with short
//! reads, lost descriptors, resets and a clock of its own, the same way each time for the same seed.

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

/// Names a connection to the network: its slot in the roster, and a serial number that no other connection has.
///
/// Slots are used again, serials are not (before 2^32 connections), so an event that outlived its connection
/// finds nothing instead of somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Token {
    /// Index in the roster.
    pub slot: u32,
    /// Which connection in that slot.
    pub serial: u32,
}

/// Which of the listening sockets, in the order they were opened.
pub type ListenerId = usize;

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerKind {
    /// What is spoken there at first: lines, or HTTP.
    pub dialect: Dialect,
    /// Whether it is open to this machine alone, by its address.
    pub loopback: bool,
}

impl ListenerKind {
    /// A line listener.
    pub const LINE: ListenerKind = ListenerKind { dialect: Dialect::Line, loopback: true };
}

/// Something [`Net::poll`] found. Readiness is a transition, told once (`EPOLLET`): until a call answers
/// `WouldBlock` there may be more to do and no further event for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollEvent {
    /// A listener may have connections to accept.
    Listener(ListenerId),
    /// A connection may have become readable (data, end or error) or writable.
    Connection {
        /// Which; possibly one that is gone.
        token: Token,
        /// A read may find something.
        readable: bool,
        /// A write may get something off.
        writable: bool,
    },
    /// The process was sent a signal.
    Signal(Signal),
    /// [`Net::resolved`] has the addresses of the name that was asked for.
    Resolved,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGTERM`, `SIGINT`: end.
    Terminate,
    /// `SIGHUP`: read files again.
    Reload,
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A TCP connection from there.
    Ip(IpAddr),
    /// A Unix socket: somebody on this machine.
    Local,
}

/// Where a connection of our own is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectTarget {
    /// There, by TCP.
    Tcp(SocketAddr),
    /// To whoever listens on the Unix socket with that path.
    Unix(PathBuf),
}

/// What an error of [`Net::accept`] means for the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptError {
    /// Nobody waits; there will be an event.
    Nobody,
    /// That connection failed; the next may be waiting.
    ThisOne,
    /// No descriptors or no memory; somebody may be waiting, and there will be no event.
    Exhausted,
    /// Nothing can be accepted there any more, however often it is tried.
    Broken,
}

impl From<&io::Error> for AcceptError {
    /// After `accept(2)`: the errors that Linux passes on from the new connection concern it alone. Whatever is not
    /// known counts as exhaustion, which is tried again later and can't spin.
    fn from(error: &io::Error) -> AcceptError {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => AcceptError::Nobody,
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
            ) => AcceptError::ThisOne,
            // No connection brings EOPNOTSUPP today, though accept(2) has it in its list: it is no socket that streams.
            Some(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP) => AcceptError::Broken,
            None if error.kind() == io::ErrorKind::WouldBlock => AcceptError::Nobody,
            _ => AcceptError::Exhausted,
        }
    }
}

/// What the server asks of the outside. No call blocks but [`Net::poll`] and [`Net::rest`].
pub trait Net {
    /// A connection's socket. Dropping it closes it.
    type Stream;

    /// Waits until something happens or `timeout` is over (`None`: for ever), and appends it to `events`.
    ///
    /// # Errors
    /// `Interrupted` may be returned at any time and means nothing; any other error is the end of the server.
    fn poll(&mut self, events: &mut Vec<PollEvent>, timeout: Option<Duration>) -> io::Result<()>;

    /// Lets that much time pass, whatever happens meanwhile; only a signal ends it early. Finer than a `timeout`, which is
    /// in milliseconds.
    fn rest(&mut self, span: Duration);

    /// The steady clock (`CLOCK_MONOTONIC`), from the start of the process.
    fn now(&self) -> Moment;

    /// The clock on the wall, in milliseconds since the Unix epoch.
    fn unix_millis(&self) -> u64;

    /// The steady clock in nanoseconds, to see how long something took.
    fn nanos(&self) -> u64;

    /// A number that no other process has.
    fn process_id(&self) -> u64;

    /// Takes a waiting connection. It is not watched yet.
    ///
    /// # Errors
    /// `accept(2)`'s: `WouldBlock` when none waits, `EMFILE` and `ENFILE` when descriptors ran out, and those
    /// of the connection itself (`ECONNABORTED`, `EPROTO`, …).
    fn accept(&mut self, listener: ListenerId) -> io::Result<(Self::Stream, Peer)>;

    /// Begins a connection of our own. It is not watched yet, and may not stand yet.
    ///
    /// Until it stands, reads and writes answer `WouldBlock`; the first writable event tells that it does. If it comes to
    /// nothing there is an event for both kinds, and the call made next, be it a read or a write, fails with the reason
    /// (`ECONNREFUSED`, `ETIMEDOUT`, …). The reason is told once: after it there is the end of input, and writes fail
    /// with `EPIPE`. How long that takes is not promised; the kernel gives up after a minute or two.
    ///
    /// # Errors
    /// `socket(2)`'s and `connect(2)`'s, as far as they are known at once: `EMFILE`, `ENETUNREACH`, and all of a Unix
    /// socket's, which never takes time: `ENOENT`, `ECONNREFUSED`, and `WouldBlock` where too many wait to be accepted,
    /// which no event will tell the end of.
    fn connect(&mut self, target: &ConnectTarget) -> io::Result<Self::Stream>;

    /// Begins to look up the addresses of `host`, a name or an address without brackets; [`PollEvent::Resolved`] comes once
    /// they are known, or can't be.
    ///
    /// There is one question at a time: what was asked before is forgotten, and its answer never seen. Asking for the
    /// same again while it is looked up goes on waiting for that; anything else is looked up once that is over.
    fn resolve(&mut self, host: &str, port: u16);

    /// Takes the answer to [`Net::resolve`], if there is one: at least one address, best first, each with the port that
    /// was asked for; or else why there is none, as text for people.
    fn resolved(&mut self) -> Option<io::Result<Vec<SocketAddr>>>;

    /// Watches the stream for both kinds of readiness, from now until it is dropped.
    ///
    /// # Errors
    /// `epoll_ctl(2)`'s: `ENOSPC` and `ENOMEM`.
    fn watch(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;

    /// Reads into `buffer`; 0 is the end of input.
    ///
    /// # Errors
    /// `recv(2)`'s.
    fn read(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes from `slices` in order, and returns how many bytes were taken.
    ///
    /// # Errors
    /// `send(2)`'s.
    fn write(&mut self, stream: &mut Self::Stream, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Bytes that were written and that the other end has had no room for yet, possibly rounded up.
    ///
    /// Unless there are none, an event comes when they are sent; or before, and then this is to be called again.
    fn unsent(&mut self, stream: &mut Self::Stream) -> u32;

    /// Tells the other end that nothing more follows. [`Net::unsent`] is of no use after that.
    ///
    /// # Errors
    /// `shutdown(2)`'s.
    fn finish(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Closes one listener. The others keep their numbers.
    fn close_listener(&mut self, listener: ListenerId);

    /// Closes every listener; who is not accepted yet is refused.
    fn close_listeners(&mut self);
}
