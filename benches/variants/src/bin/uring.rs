//! The chat on io_uring, by tokio-uring: one thread, two tasks per client, and tokio's channel between them.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_LINES, Options, announce};
use slab::Slab;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;
use tokio_uring::net::{TcpListener, TcpStream};

/// Lines in one write.
const BATCH: usize = 64;

/// Most bytes of a read. The kernel holds such a buffer for every idle client, so it is small.
const READ: usize = 2048;

type Line = Rc<[u8]>;
type Room = Rc<RefCell<Slab<Peer>>>;

struct Peer {
    queue: Sender<Line>,
    stream: Rc<TcpStream>,
}

fn main() -> io::Result<()> {
    // A larger ring than tokio-uring's 256 entries: a thousand clients' submissions take one system call. Completions
    // do not interrupt the only thread, which polls for them anyway.
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun().setup_single_issuer().setup_cqsize(16 * 1024);
    tokio_uring::builder().entries(4096).uring_builder(&ring).start(run(Options::read()))
}

async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::from_std(options.open()?);
    announce("line", listener.local_addr()?);
    let room = Room::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let stream = Rc::new(stream);
        let (queue, lines) = channel(MAX_QUEUED_LINES);
        let id = room.borrow_mut().insert(Peer { queue, stream: stream.clone() });
        tokio_uring::spawn(write_lines(stream.clone(), lines));
        let room = room.clone();
        tokio_uring::spawn(async move {
            let _ = read_lines(&stream, id, &room).await;
            let _ = stream.shutdown(Shutdown::Both);
            room.borrow_mut().remove(id);
        });
    }
}

/// Sends each line of the client to all others.
async fn read_lines(stream: &TcpStream, id: usize, room: &Room) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ);
    let mut tail = Vec::new();
    loop {
        let (read, returned) = stream.read(buffer).await;
        buffer = returned;
        let mut got = &buffer[..read?];
        if got.is_empty() {
            return Ok(());
        }
        while let Some(end) = got.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = got.split_at(end + 1);
            tail.extend_from_slice(line);
            broadcast(&room.borrow(), id, &Line::from(&tail[..]));
            tail.clear();
            got = rest;
        }
        tail.extend_from_slice(got);
        if tail.len() >= MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Writes what is queued for the client, a batch at a time. Ends when the client has left the room.
async fn write_lines(stream: Rc<TcpStream>, mut lines: Receiver<Line>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        let (written, _) = stream.write_all(batch.concat()).await;
        batch.clear();
        if written.is_err() {
            break;
        }
    }
    // Ends the reader too, which then leaves the room.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Queues the line for all but its sender. A client whose queue is full is dropped: its socket is shut, which ends both tasks.
fn broadcast(peers: &Slab<Peer>, from: usize, line: &Line) {
    for (_, peer) in peers.iter().filter(|(id, _)| *id != from) {
        if peer.queue.try_send(line.clone()).is_err() {
            let _ = peer.stream.shutdown(Shutdown::Both);
        }
    }
}
