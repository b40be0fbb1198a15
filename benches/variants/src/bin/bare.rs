//! The limit: read a socket, write what came to every other socket. No chat, no batches, and no queue until a socket
//! is full.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_BYTES, Options, announce};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

const DOOR: Token = Token(usize::MAX);

struct Client {
    socket: TcpStream,
    /// The start of a line whose end has not come.
    tail: Vec<u8>,
    /// What the kernel did not take.
    pending: Vec<u8>,
    /// The kernel has told of the end of the input: read on until it comes.
    ending: bool,
}

/// What a client's socket may still hold after a read.
enum Left {
    Nothing,
    More,
    Gone,
}

fn main() -> io::Result<()> {
    let mut door = TcpListener::from_std(Options::read().open_nonblocking()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut door, DOOR, Interest::READABLE)?;
    announce(door.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 64 * 1024];
    let mut clients = Slab::<Client>::new();
    let mut unfinished = Vec::new();
    loop {
        let timeout = if unfinished.is_empty() { None } else { Some(Duration::ZERO) };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let mut readable = std::mem::take(&mut unfinished);
        let mut knocked = false;
        for event in &events {
            let Token(id) = event.token();
            knocked |= event.token() == DOOR;
            let Some(client) = clients.get_mut(id) else { continue };
            client.ending |= event.is_read_closed() || event.is_error();
            if event.is_writable() && client.flush().is_err() {
                clients.remove(id);
            } else if event.is_readable() || event.is_read_closed() || event.is_error() {
                readable.push(id);
            }
        }
        for id in readable {
            match relay(&mut clients, id, &mut scratch) {
                Left::Nothing => {}
                Left::More => unfinished.push(id),
                Left::Gone => drop(clients.try_remove(id)),
            }
        }
        // Last, so that no slot is reused while its events may still be in the batch.
        if knocked {
            accept(&mut door, poll.registry(), &mut clients);
        }
    }
}

fn accept(door: &mut TcpListener, registry: &Registry, clients: &mut Slab<Client>) {
    loop {
        match door.accept() {
            Ok((mut socket, _)) => {
                let slot = clients.vacant_entry();
                let both = Interest::READABLE | Interest::WRITABLE;
                if registry.register(&mut socket, Token(slot.key()), both).is_ok() {
                    slot.insert(Client { socket, tail: Vec::new(), pending: Vec::new(), ending: false });
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            // Nobody is left, or no descriptor: the next to knock makes a new event.
            Err(_) => return,
        }
    }
}

/// Reads once from a client and writes the whole lines to all others.
fn relay(clients: &mut Slab<Client>, id: usize, scratch: &mut [u8]) -> Left {
    let Some(client) = clients.get_mut(id) else { return Left::Nothing };
    let (got, left) = match client.socket.read(scratch) {
        Ok(0) => return Left::Gone,
        // A short read has emptied the socket, so there is no need to read until it would block (see epoll(7)).
        Ok(n) if n < scratch.len() && !client.ending => (&scratch[..n], Left::Nothing),
        Ok(n) => (&scratch[..n], Left::More),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Left::Nothing,
        Err(error) if error.kind() == ErrorKind::Interrupted => return Left::More,
        Err(_) => return Left::Gone,
    };
    let Some(end) = got.iter().rposition(|byte| *byte == b'\n') else {
        client.tail.extend_from_slice(got);
        return if client.tail.len() < MAX_LINE { left } else { Left::Gone };
    };
    let (lines, rest) = got.split_at(end + 1);
    let mut joined = std::mem::replace(&mut client.tail, rest.to_vec());
    if joined.is_empty() {
        write_to_others(clients, id, lines);
    } else {
        joined.extend_from_slice(lines);
        write_to_others(clients, id, &joined);
    }
    left
}

fn write_to_others(clients: &mut Slab<Client>, from: usize, lines: &[u8]) {
    clients.retain(|id, client| id == from || client.write(lines).is_ok());
}

impl Client {
    /// Writes, and keeps what the kernel does not take. An error: the client is gone or too slow.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.pending.len() + lines.len() > MAX_QUEUED_BYTES {
            self.flush()?;
        }
        let taken = if self.pending.is_empty() { try_write(&self.socket, lines)? } else { 0 };
        self.pending.extend_from_slice(&lines[taken..]);
        match self.pending.len() <= MAX_QUEUED_BYTES {
            true => Ok(()),
            false => Err(ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let taken = try_write(&self.socket, &self.pending)?;
        self.pending.drain(..taken);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        Ok(())
    }
}

/// One write. A socket that is full takes nothing, or less than all, and becomes writable later.
fn try_write(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}
