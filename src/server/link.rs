//! The two sockets of the link to Redis. The backplane parses their bytes and requests [`LinkAction`]s.
//!
//! The sockets are on the same loop as the clients. Reads have a budget per tick, and the output of a tick goes out in one
//! write.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};

use super::Server;
use super::questions::Asked;
use super::submit::Submitter;
use super::turn::TICK_BYTES;
use crate::backplane::{Backplane, LinkAction, RedisConnection};
use crate::connection::Readiness;
use crate::inbox::READ_BYTES;
use crate::net::{ConnectTarget, Net, Token};
use crate::protocol::RemoteEvent;
use crate::sparse::Sparse;

/// The first slot of the link. The roster never has that many.
const FIRST_SLOT: u32 = 1 << 31;

/// Budget for reads of one socket per tick.
const LINK_TURN_BYTES: usize = 256 * 1024;

/// The log's reason for the end of input.
const CLOSED: &str = "it has closed the connection";

/// The link to Redis of a process with `--redis`.
pub struct RedisLink<S> {
    pub backplane: Backplane,
    /// `None` between two attempts.
    sockets: Option<[Socket<S>; 2]>,
    /// Number of attempts. Events of an older session's sockets are ignored.
    serial: u32,
    /// Whether a result of the name lookup is available.
    resolved: bool,
    /// The questions of connections, by slot.
    pub(super) asked: Sparse<Asked>,
    /// The changes that were made here and are not committed yet.
    pub(super) tickets: HashMap<u64, Submitter>,
}

struct Socket<S> {
    stream: S,
    ready: Readiness,
}

impl<S> RedisLink<S> {
    pub fn new(backplane: Backplane) -> RedisLink<S> {
        RedisLink {
            backplane,
            sockets: None,
            serial: 0,
            resolved: false,
            asked: Sparse::default(),
            tickets: HashMap::new(),
        }
    }

    /// Records that a result of the name lookup is available.
    pub fn record_resolved(&mut self) {
        self.resolved = true;
    }

    /// Records readiness of one of the sockets. Other tokens are ignored.
    pub fn record_readiness(&mut self, token: Token, readable: bool, writable: bool) {
        let index = token.slot.checked_sub(FIRST_SLOT).filter(|_| token.serial == self.serial);
        let sockets = self.sockets.as_mut().zip(index);
        if let Some(socket) = sockets.and_then(|(sockets, index)| sockets.get_mut(index as usize)) {
            socket.ready |= Readiness::of(readable, writable);
        }
    }

    /// Whether the link needs a tick at once.
    pub fn has_work(&self) -> bool {
        self.resolved
            || self.sockets.iter().flatten().any(|socket| socket.ready.contains(Readiness::READABLE))
    }
}

impl<N: Net> Server<N> {
    /// The link to the other processes, for tests and statistics.
    pub fn backplane(&self) -> Option<&Backplane> {
        self.link.as_ref().map(|link| &link.backplane)
    }

    /// Reads from Redis, and handles deadlines.
    pub(super) fn receive_link(&mut self) {
        // Without `--redis` there is no link.
        let Some(link) = &mut self.link else {
            return;
        };
        if std::mem::take(&mut link.resolved)
            && let Some(addresses) = self.net.resolved()
        {
            link.backplane.handle_resolved(addresses.map_err(|error| error.to_string()), self.now);
        }
        for connection in RedisConnection::BOTH {
            self.read_link(connection);
        }
        if let Some(link) = &mut self.link {
            link.backplane.handle_timeout(self.now);
        }
        self.run_actions();
    }

    /// Sends the output of this tick. If the flush to local clients is delayed, the link waits for the next tick too.
    pub(super) fn write_link(&mut self) {
        if self.coalescing.is_waiting() {
            return;
        }
        // Without `--redis` there is no link.
        let Some(link) = &mut self.link else {
            return;
        };
        link.backplane.encode_queued(self.now);
        let written = RedisConnection::BOTH
            .into_iter()
            .try_for_each(|connection| link.write(connection, &mut self.net));
        if let Err(error) = written {
            self.read_link(RedisConnection::Subscriptions);
            if let Some(link) = &mut self.link {
                link.backplane.handle_broken(&error.to_string(), self.now);
            }
        }
        self.run_actions();
    }

    fn read_link(&mut self, connection: RedisConnection) {
        let mut bytes_left = LINK_TURN_BYTES;
        // At least one read per tick. Otherwise busy clients could starve the link until it times out.
        while bytes_left == LINK_TURN_BYTES
            || (bytes_left > 0 && self.fanout.arena().open_bytes() < TICK_BYTES)
        {
            let Some(link) = &mut self.link else {
                debug_assert!(false, "only a process with a link reads it");
                return;
            };
            // An error of the last read may have closed the sockets.
            let Some(socket) = link.sockets.as_mut().map(|sockets| &mut sockets[connection as usize]) else {
                return;
            };
            if !socket.ready.contains(Readiness::READABLE) {
                return;
            }
            let read = self.scratch.fill(READ_BYTES, |buffer| self.net.read(&mut socket.stream, buffer));
            match read {
                Ok(0) => link.backplane.handle_broken(CLOSED, self.now),
                Ok(count) => {
                    link.backplane.receive(connection, self.scratch.unused(), self.now);
                    self.scratch.consume(count);
                    bytes_left = bytes_left.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.ready.remove(Readiness::READABLE);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => link.backplane.handle_broken(&error.to_string(), self.now),
            }
            // Actions run before the next read, so that their order is kept and their output is bounded.
            self.run_actions();
        }
    }

    fn run_actions(&mut self) {
        while let Some(link) = &mut self.link
            && let Some(action) = link.backplane.next_action()
        {
            match action {
                LinkAction::Resolve { host, port } => self.net.resolve(&host, port),
                LinkAction::Connect(target) => {
                    if let Err(error) = link.connect(&target, &mut self.net) {
                        link.backplane.handle_broken(&error.to_string(), self.now);
                    }
                }
                LinkAction::Disconnect => link.sockets = None,
                LinkAction::Deliver(event) => self.handle_remote_event(event),
                LinkAction::Register => {
                    // Names that were given and not taken yet are not registered, so they are claimed again.
                    link.asked.retain(|asked| !asked.is_answered());
                    link.backplane.register(&self.fanout.chat().presences());
                }
                LinkAction::ReadTable => {
                    let state = self.fanout.chat().access().state(self.now);
                    link.backplane.read_table(state.into_entries());
                }
                LinkAction::Table(table) => {
                    let table = link.backplane.parse_table(table);
                    self.handle_remote_event(RemoteEvent::Access(table));
                }
                LinkAction::Answer { asker, facts } => self.answer_questions(asker, facts),
                LinkAction::Shed { room, id } => {
                    self.record_shed(id.serial);
                    self.handle_remote_event(RemoteEvent::Discarded { room, id });
                }
                LinkAction::Confirmed { ticket, seq, is_followed } => {
                    self.record_confirmed(ticket, seq, is_followed)
                }
            }
        }
    }
}

impl<S> RedisLink<S> {
    fn connect<N: Net<Stream = S>>(&mut self, target: &ConnectTarget, net: &mut N) -> io::Result<()> {
        self.serial = self.serial.wrapping_add(1);
        let mut connect = |connection: RedisConnection| -> io::Result<Socket<S>> {
            let mut stream = net.connect(target)?;
            net.register(&mut stream, Token { slot: FIRST_SLOT + connection as u32, serial: self.serial })?;
            Ok(Socket { stream, ready: Readiness::default() })
        };
        let [first, second] = RedisConnection::BOTH;
        self.sockets = Some([connect(first)?, connect(second)?]);
        Ok(())
    }

    /// Writes the pending output until the socket would block.
    fn write<N: Net<Stream = S>>(&mut self, connection: RedisConnection, net: &mut N) -> io::Result<()> {
        // There are no sockets between two attempts.
        let Some(socket) = self.sockets.as_mut().map(|sockets| &mut sockets[connection as usize]) else {
            return Ok(());
        };
        let out = self.backplane.output(connection);
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
