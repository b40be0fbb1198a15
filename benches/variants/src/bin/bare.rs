//! The limit: reads a socket and writes the lines to every other socket. With `--batched`, the limit under load: all
//! lines of one poll go to every socket in one write. No chat; a queue only for bytes that the kernel did not take.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::ops::Range;
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_BYTES, Options, announce};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);

struct Client {
    socket: TcpStream,
    /// The start of a line whose end has not come.
    tail: Vec<u8>,
    /// Output that the kernel did not take.
    pending: Vec<u8>,
    /// This tick's lines that the client sent itself.
    own: Range<usize>,
    /// The kernel has reported the end of the input, so it is read until it comes.
    ending: bool,
    /// Whether it is in the list of sockets to read.
    is_readable: bool,
}

/// Whether a client's socket may hold more input after a read.
enum AfterRead {
    Nothing,
    More,
    Gone,
}

fn main() -> io::Result<()> {
    let options = Options::read();
    let mut listener = TcpListener::from_std(options.open_nonblocking()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    announce("line", listener.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 64 * 1024];
    let mut clients = Slab::<Client>::new();
    let mut readable = Vec::new();
    let mut senders = Vec::new();
    let mut batch = Vec::new();
    loop {
        let timeout = if readable.is_empty() { None } else { Some(Duration::ZERO) };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let must_accept = latch(&events, &mut clients, &mut readable);
        for id in std::mem::take(&mut readable) {
            let Some(client) = clients.get_mut(id) else { continue };
            client.is_readable = false;
            match client.read(&mut scratch, &mut batch) {
                AfterRead::Nothing => senders.push(id),
                AfterRead::More => {
                    client.is_readable = true;
                    readable.push(id);
                    senders.push(id);
                }
                AfterRead::Gone => drop(clients.remove(id)),
            }
            if !options.batched {
                write_batch(&mut clients, &mut batch, &mut senders);
            }
        }
        write_batch(&mut clients, &mut batch, &mut senders);
        // Last, so that no slot is reused while its events may still be in the batch.
        if must_accept {
            accept(&mut listener, poll.registry(), &mut clients);
        }
    }
}

/// Writes the batch to all clients but each sender's own part.
fn write_batch(clients: &mut Slab<Client>, batch: &mut Vec<u8>, senders: &mut Vec<usize>) {
    if !batch.is_empty() {
        clients.retain(|_, client| client.write(batch).is_ok());
        batch.clear();
        batch.shrink_to(1024 * 1024);
    }
    for id in senders.drain(..) {
        if let Some(client) = clients.get_mut(id) {
            client.own = 0..0;
        }
    }
}

/// Records the clients with input, and flushes those whose socket has space. Returns whether a
/// connection is to be accepted.
fn latch(events: &Events, clients: &mut Slab<Client>, readable: &mut Vec<usize>) -> bool {
    let mut must_accept = false;
    for event in events {
        let Token(id) = event.token();
        must_accept |= event.token() == LISTENER;
        let Some(client) = clients.get_mut(id) else { continue };
        client.ending |= event.is_read_closed() || event.is_error();
        if event.is_writable() && client.flush().is_err() {
            clients.remove(id);
        } else if (event.is_readable() || client.ending) && !client.is_readable {
            client.is_readable = true;
            readable.push(id);
        }
    }
    must_accept
}

fn accept(listener: &mut TcpListener, registry: &Registry, clients: &mut Slab<Client>) {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                let slot = clients.vacant_entry();
                let both = Interest::READABLE | Interest::WRITABLE;
                if registry.register(&mut socket, Token(slot.key()), both).is_ok() {
                    slot.insert(Client {
                        socket,
                        tail: Vec::new(),
                        pending: Vec::new(),
                        own: 0..0,
                        ending: false,
                        is_readable: false,
                    });
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            // The queue is empty, or no descriptor is free. The next connection makes a new event.
            Err(_) => return,
        }
    }
}

impl Client {
    /// Reads once, and appends the whole lines to the batch.
    fn read(&mut self, scratch: &mut [u8], batch: &mut Vec<u8>) -> AfterRead {
        let (got, left) = match self.socket.read(scratch) {
            Ok(0) => return AfterRead::Gone,
            // A short read has emptied the socket, so there is no need to read until it would block (see epoll(7)).
            Ok(n) if n < scratch.len() && !self.ending => (&scratch[..n], AfterRead::Nothing),
            Ok(n) => (&scratch[..n], AfterRead::More),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return AfterRead::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => return AfterRead::More,
            Err(_) => return AfterRead::Gone,
        };
        let Some(end) = got.iter().rposition(|byte| *byte == b'\n') else {
            self.tail.extend_from_slice(got);
            return if self.tail.len() < MAX_LINE { left } else { AfterRead::Gone };
        };
        let (lines, rest) = got.split_at(end + 1);
        let start = batch.len();
        batch.append(&mut self.tail);
        batch.extend_from_slice(lines);
        self.own = start..batch.len();
        self.tail = rest.to_vec();
        left
    }

    /// Writes the batch but for the client's own part, and keeps the bytes that the kernel does not take. An error: the client
    /// is gone or too slow.
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let (before, after) = (&batch[..self.own.start], &batch[self.own.end..]);
        if self.pending.len() + before.len() + after.len() > MAX_QUEUED_BYTES && !self.pending.is_empty() {
            self.flush()?;
        }
        let taken = if self.pending.is_empty() { try_write(&self.socket, before, after)? } else { 0 };
        self.pending.extend_from_slice(&before[taken.min(before.len())..]);
        self.pending.extend_from_slice(&after[taken.saturating_sub(before.len())..]);
        match self.pending.len() <= MAX_QUEUED_BYTES {
            true => Ok(()),
            false => Err(ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let taken = try_write(&self.socket, &self.pending, &[])?;
        self.pending.drain(..taken);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        Ok(())
    }
}

/// One write. A socket that is full takes nothing, or less than all, and becomes writable later.
fn try_write(mut socket: &TcpStream, before: &[u8], after: &[u8]) -> io::Result<usize> {
    loop {
        let written = match (before, after) {
            ([], []) => return Ok(0),
            // One part goes out by send(2), which is cheaper than writev(2).
            (part, []) | ([], part) => socket.write(part),
            _ => socket.write_vectored(&[IoSlice::new(before), IoSlice::new(after)]),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}
