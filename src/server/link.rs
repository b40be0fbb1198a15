//! The link to Redis: the two sockets, and what the backplane wants done. What their bytes mean is the backplane's.
//!
//! They are on the same loop as everybody's, and written to and read by the same rules: what a read finds is bounded a
//! tick, and what a tick has brought goes out in one write.

use std::io::{self, ErrorKind, IoSlice};

use super::Server;
use super::turn::TICK_BYTES;
use crate::backplane::{Backplane, Link, LinkAction};
use crate::connection::Readiness;
use crate::inbox::READ_BYTES;
use crate::net::{ConnectTarget, Net, Token};
use crate::time::Moment;

/// Slots from here on are the link's. The roster never has as many.
const FIRST_SLOT: u32 = 1 << 31;

/// Bytes read of each socket in one tick.
const TURN_BYTES: usize = 256 * 1024;

/// What is said of a socket at its end.
const CLOSED: &str = "it has closed the connection";

/// The link of a process that is one of several.
pub struct Linked<S> {
    /// What is to be done, and why.
    pub backplane: Backplane,
    /// While there is a session, or is to be one.
    sockets: Option<[Socket<S>; 2]>,
    /// Sessions tried, so that no event of an old one is taken for one of the new.
    serial: u32,
    /// Whether the network has found addresses.
    resolved: bool,
}

struct Socket<S> {
    stream: S,
    ready: Readiness,
}

impl<S> Linked<S> {
    /// A link that is not made yet.
    pub fn new(backplane: Backplane) -> Linked<S> {
        Linked { backplane, sockets: None, serial: 0, resolved: false }
    }

    /// The network has found addresses, or none.
    pub fn record_resolved(&mut self) {
        self.resolved = true;
    }

    /// Notes readiness of one of the sockets; of anything else, nothing.
    pub fn record_readiness(&mut self, token: Token, readable: bool, writable: bool) {
        let index = token.slot.checked_sub(FIRST_SLOT).filter(|_| token.serial == self.serial);
        let sockets = self.sockets.as_mut().zip(index);
        if let Some(socket) = sockets.and_then(|(sockets, index)| sockets.get_mut(index as usize)) {
            socket.ready |= Readiness::of(readable, writable);
        }
    }

    /// Whether something can be done at once.
    pub fn has_work(&self) -> bool {
        self.resolved
            || self.sockets.iter().flatten().any(|socket| socket.ready.contains(Readiness::READABLE))
    }

    /// When it next wants a tick.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.backplane.next_timeout()
    }
}

impl<N: Net> Server<N> {
    /// The link to the other processes of the chat, if there are any; for tests and statistics.
    pub fn backplane(&self) -> Option<&Backplane> {
        self.linked.as_ref().map(|linked| &linked.backplane)
    }

    /// Takes what Redis has sent, and does what is due.
    pub(super) fn receive_link(&mut self) {
        let Some(linked) = &mut self.linked else {
            return;
        };
        if std::mem::take(&mut linked.resolved)
            && let Some(addresses) = self.net.resolved()
        {
            linked.backplane.resolved(addresses.map_err(|error| error.to_string()), self.now);
        }
        for link in Link::BOTH {
            self.read_link(link);
        }
        if let Some(linked) = &mut self.linked {
            linked.backplane.handle_timeout(self.now);
        }
        self.do_actions();
    }

    /// Sends what this tick has brought; or with the next, if that is when the first of our own clients hear it.
    pub(super) fn write_link(&mut self) {
        if self.coalescing.is_waiting() {
            return;
        }
        let Some(linked) = &mut self.linked else {
            return;
        };
        linked.backplane.send(self.now);
        let written = Link::BOTH.into_iter().try_for_each(|link| linked.write(link, &mut self.net));
        if let Err(error) = written {
            self.read_link(Link::Subscriptions);
            if let Some(linked) = &mut self.linked {
                linked.backplane.broken(&error.to_string(), self.now);
            }
        }
        self.do_actions();
    }

    fn read_link(&mut self, link: Link) {
        let mut bytes_left = TURN_BYTES;
        // One read in any case: clients that fill each tick must not make the link look dead.
        while bytes_left == TURN_BYTES || (bytes_left > 0 && self.fanout.arena().open_bytes() < TICK_BYTES) {
            let Some(linked) = &mut self.linked else {
                return;
            };
            let Some(socket) = linked.sockets.as_mut().map(|sockets| &mut sockets[link as usize]) else {
                return;
            };
            if !socket.ready.contains(Readiness::READABLE) {
                return;
            }
            let read = self.scratch.fill(READ_BYTES, |buffer| self.net.read(&mut socket.stream, buffer));
            match read {
                Ok(0) => linked.backplane.broken(CLOSED, self.now),
                Ok(count) => {
                    linked.backplane.receive(link, self.scratch.unused(), self.now);
                    self.scratch.consume(count);
                    bytes_left = bytes_left.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.ready.remove(Readiness::READABLE);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => linked.backplane.broken(&error.to_string(), self.now),
            }
            // Before the next read, so that what came first is told first, and what it brings is bounded.
            self.do_actions();
        }
    }

    fn do_actions(&mut self) {
        while let Some(linked) = &mut self.linked
            && let Some(action) = linked.backplane.next_action()
        {
            match action {
                LinkAction::Resolve { host, port } => self.net.resolve(&host, port),
                LinkAction::Connect(target) => {
                    if let Err(error) = linked.connect(&target, &mut self.net) {
                        linked.backplane.broken(&error.to_string(), self.now);
                    }
                }
                LinkAction::Hangup => linked.sockets = None,
                LinkAction::Tell(event) => self.handle_remote_event(event),
                LinkAction::Register => linked.backplane.register(&self.fanout.chat().presences()),
            }
        }
    }
}

impl<S> Linked<S> {
    fn connect<N: Net<Stream = S>>(&mut self, target: &ConnectTarget, net: &mut N) -> io::Result<()> {
        self.serial = self.serial.wrapping_add(1);
        let mut connect = |link: Link| -> io::Result<Socket<S>> {
            let mut stream = net.connect(target)?;
            net.watch(&mut stream, Token { slot: FIRST_SLOT + link as u32, serial: self.serial })?;
            Ok(Socket { stream, ready: Readiness::default() })
        };
        let [first, second] = Link::BOTH;
        self.sockets = Some([connect(first)?, connect(second)?]);
        Ok(())
    }

    /// Writes what waits, as far as the socket takes it.
    fn write<N: Net<Stream = S>>(&mut self, link: Link, net: &mut N) -> io::Result<()> {
        let Some(socket) = self.sockets.as_mut().map(|sockets| &mut sockets[link as usize]) else {
            return Ok(());
        };
        let out = self.backplane.output(link);
        while socket.ready.contains(Readiness::WRITABLE) && !out.is_empty() {
            match net.write(&mut socket.stream, &[IoSlice::new(out)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.ready.remove(Readiness::WRITABLE);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
