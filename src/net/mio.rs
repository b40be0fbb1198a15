//! [`Net`] by mio: [`MioNet`]. Only this file uses `mio`, and only this file reads a clock.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use socket2::{SockRef, Socket};

use super::bind::{Listener, SocketFile, set_stream_options};
use super::resolve::Resolver;
use super::{ConnectTarget, ListenerId, Net, Peer, PollEvent, Signal, Token};
use crate::time::Moment;

/// The most events of one poll. More events come with the next poll.
const EVENTS_PER_POLL: usize = 1024;

/// Slots from `RESOLVER_SLOT` on are the resolver, the listeners in descending order, and the signals.
const SIGNALS_SLOT: u32 = u32::MAX;
const FIRST_LISTENER_SLOT: u32 = u32::MAX - 1;
const LAST_LISTENER_SLOT: u32 = u32::MAX - 1024;
const RESOLVER_SLOT: u32 = LAST_LISTENER_SLOT - 1;

/// The sockets, signals and clocks of the operating system.
pub struct MioNet {
    poll: Poll,
    events: Events,
    signals: Signals,
    /// `None` for a closed listener.
    listeners: Vec<Option<OpenListener>>,
    resolver: Resolver,
    started: Instant,
}

enum OpenListener {
    Tcp(TcpListener),
    /// The file is removed with the listener.
    Unix(UnixListener, #[allow(dead_code, reason = "held for its drop")] Option<SocketFile>),
}

impl MioNet {
    /// Takes non-blocking listeners. From now on `SIGTERM`, `SIGINT` and `SIGHUP` are events.
    ///
    /// # Errors
    /// Those of `epoll_create(2)`, `epoll_ctl(2)` and `sigaction(2)`.
    pub fn new(listeners: Vec<Listener>) -> io::Result<MioNet> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        poll.registry().register(&mut signals, mio::Token(SIGNALS_SLOT as usize), Interest::READABLE)?;
        let mut open = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let token = mio::Token(FIRST_LISTENER_SLOT as usize - index);
            open.push(Some(match listener {
                Listener::Tcp(listener) => {
                    let mut listener = TcpListener::from_std(listener);
                    poll.registry().register(&mut listener, token, Interest::READABLE)?;
                    OpenListener::Tcp(listener)
                }
                Listener::Unix(listener, file) => {
                    let mut listener = UnixListener::from_std(listener);
                    poll.registry().register(&mut listener, token, Interest::READABLE)?;
                    OpenListener::Unix(listener, file)
                }
            }));
        }
        let events = Events::with_capacity(EVENTS_PER_POLL);
        Ok(MioNet {
            poll,
            events,
            signals,
            listeners: open,
            resolver: Resolver::default(),
            started: Instant::now(),
        })
    }
}

impl Net for MioNet {
    /// One type for all socket families. It has four bytes.
    type Stream = Socket;

    fn poll(&mut self, events: &mut Vec<PollEvent>, timeout: Option<Duration>) -> io::Result<()> {
        // A result that was available at once has no event from the kernel.
        let timeout = if self.resolver.has_event() { Some(Duration::ZERO) } else { timeout };
        self.poll.poll(&mut self.events, timeout)?;
        for event in &self.events {
            let token = unpack(event.token());
            match token.slot {
                SIGNALS_SLOT => events.extend(self.signals.pending().map(|signal| match signal {
                    SIGHUP => PollEvent::Signal(Signal::Reload),
                    _ => PollEvent::Signal(Signal::Terminate),
                })),
                LAST_LISTENER_SLOT..=FIRST_LISTENER_SLOT => {
                    events.push(PollEvent::Listener((FIRST_LISTENER_SLOT - token.slot) as ListenerId));
                }
                RESOLVER_SLOT => {
                    self.resolver.advance(|stream| register_resolver(self.poll.registry(), stream))
                }
                // After an error or an end both calls are worth a try: they return the details.
                _ => events.push(PollEvent::Connection {
                    token,
                    readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                    writable: event.is_writable() || event.is_write_closed() || event.is_error(),
                }),
            }
        }
        events.extend(self.resolver.take_event().then_some(PollEvent::Resolved));
        Ok(())
    }

    fn sleep(&mut self, span: Duration) {
        if let Ok(span) = Timespec::try_from(span) {
            let _ = poll(&mut [], Some(&span));
        }
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.started.elapsed().as_millis() as u64)
    }

    fn unix_millis(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_epoch.map_or(0, |span| span.as_millis() as u64)
    }

    fn nanos(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn process_id(&self) -> u64 {
        // The keys of `RandomState` come from the system's random numbers.
        RandomState::new().hash_one(std::process::id())
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<(Socket, Peer)> {
        match self.listeners.get(listener).and_then(Option::as_ref) {
            Some(OpenListener::Tcp(listener)) => {
                let (stream, address) = listener.accept()?;
                let ip = match address {
                    SocketAddr::V4(address) => (*address.ip()).into(),
                    SocketAddr::V6(address) => (*address.ip()).into(),
                };
                Ok((OwnedFd::from(stream).into(), Peer::Ip(ip)))
            }
            Some(OpenListener::Unix(listener, _)) => {
                let (stream, _) = listener.accept()?;
                Ok((OwnedFd::from(stream).into(), Peer::Local))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn connect(&mut self, target: &ConnectTarget) -> io::Result<Socket> {
        match target {
            ConnectTarget::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                set_stream_options(&SockRef::from(&stream))?;
                Ok(OwnedFd::from(stream).into())
            }
            ConnectTarget::Unix(path) => Ok(OwnedFd::from(UnixStream::connect(path)?).into()),
        }
    }

    fn resolve(&mut self, host: &str, port: u16) {
        self.resolver.start(host, port, |stream| register_resolver(self.poll.registry(), stream));
    }

    fn resolved(&mut self) -> Option<io::Result<Vec<SocketAddr>>> {
        self.resolver.take_answer()
    }

    fn register(&mut self, stream: &mut Socket, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), pack(token), both)
    }

    fn read(&mut self, stream: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    fn write(&mut self, stream: &mut Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // send(2) for one slice is cheaper than sendmsg(2).
        match slices {
            [slice] => stream.write(slice),
            slices => stream.write_vectored(slices),
        }
    }

    /// Searches the number by bisection, because no crate has a safe call for `SIOCOUTQNSD`. Linux reports a socket as writable
    /// if no more than half of `TCP_NOTSENT_LOWAT` is unsent. Beyond two thirds of the send buffer it is never writable, and the
    /// result is the maximum.
    fn unsent_bytes(&mut self, stream: &mut Socket) -> u32 {
        // A Unix socket has no such option, since written bytes are at the other end at once.
        match has_at_most_unsent(stream, 0) {
            Ok(false) => {}
            Ok(true) | Err(_) => return 0,
        }
        let (mut too_few, mut enough) = (0, SEARCH_MAX_BYTES + 1);
        while enough - too_few > enough / 16 + 1 {
            let guess = too_few + (enough - too_few) / 2;
            match has_at_most_unsent(stream, guess) {
                Ok(true) => enough = guess,
                _ => too_few = guess,
            }
        }
        match has_at_most_unsent(stream, 0) {
            Ok(false) => enough,
            _ => 0,
        }
    }

    fn shutdown_write(&mut self, stream: &mut Socket) -> io::Result<()> {
        stream.shutdown(Shutdown::Write)
    }

    fn close_listener(&mut self, listener: ListenerId) {
        if let Some(open) = self.listeners.get_mut(listener) {
            *open = None;
        }
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }
}

/// The upper bound of the search. Linux buffers at most 4 MiB per socket by default.
const SEARCH_MAX_BYTES: u32 = 64 * 1024 * 1024;

/// Whether at most `bytes` are unsent. If not, an event follows when that is the case.
///
/// # Errors
/// Those of `setsockopt(2)` and `poll(2)`.
fn has_at_most_unsent(stream: &Socket, bytes: u32) -> io::Result<bool> {
    // Linux counts a socket as writable once no more than half of the limit is unsent.
    stream.set_tcp_notsent_lowat(2 * bytes + 1)?;
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::OUT))
}

/// Registers the socket by which the resolver's thread sends its result.
///
/// # Errors
/// Those of `epoll_ctl(2)`.
fn register_resolver(registry: &Registry, stream: &StdUnixStream) -> io::Result<()> {
    registry.register(
        &mut SourceFd(&stream.as_raw_fd()),
        mio::Token(RESOLVER_SLOT as usize),
        Interest::READABLE,
    )
}

/// Packs a token into one word: the serial above the slot.
fn pack(token: Token) -> mio::Token {
    const { assert!(usize::BITS >= 64, "tokens need 64-bit words") };
    mio::Token(((token.serial as usize) << 32) | token.slot as usize)
}

fn unpack(token: mio::Token) -> Token {
    Token { slot: token.0 as u32, serial: (token.0 >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
    use std::os::unix::net::UnixListener as StdUnixListener;

    use super::*;

    #[test]
    fn peer_of_a_connection_is_its_address_and_a_unix_socket_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let tcp = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let unix = StdUnixListener::bind(&path).unwrap();
        // A connection is in the backlog as soon as the connect returns.
        let _clients = (
            StdTcpStream::connect(tcp.local_addr().unwrap()).unwrap(),
            StdUnixStream::connect(&path).unwrap(),
        );
        let mut net = MioNet::new(vec![Listener::Tcp(tcp), Listener::Unix(unix, None)]).unwrap();
        assert_eq!(net.accept(0).unwrap().1, Peer::Ip(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(net.accept(1).unwrap().1, Peer::Local);
    }

    #[test]
    fn sleep_takes_as_long_as_it_is_asked_to() {
        let mut net = MioNet::new(Vec::new()).unwrap();
        let before = net.nanos();
        net.sleep(Duration::from_millis(5));
        assert!(net.nanos() - before >= 5_000_000);
    }

    #[test]
    fn tokens_are_unpacked_as_they_were_packed() {
        for token in [Token { slot: 0, serial: u32::MAX }, Token { slot: 9_999, serial: 7 }] {
            assert_eq!(unpack(pack(token)), token);
        }
    }
}
