//! The chat on tokio with what experience adds. One small task per client is woken by its two slots of readiness instead of by
//! `select!`. All clients share a read buffer, and whole reads are passed on rather than lines. Queues are emptied by
//! `poll_recv_many`, with one write per batch.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_BYTES, Options, announce};
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Pieces in one write.
const BATCH: usize = 64;

/// Most bytes of a read, which is also the longest turn of a client before the others have theirs.
const READ: usize = 16 * 1024;

/// Tasks that run before the kernel is asked for events again: about all that a line wakes. The 61 of tokio would ask 16 times a
/// line among a thousand clients.
const EVENT_INTERVAL: u32 = 1024;

thread_local! {
    /// The read buffer of all clients of a thread, so that an idle one needs none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// One or more whole lines, shared by all receivers. Half the size of `Bytes`, and cloned without a virtual call.
type Lines = Arc<[u8]>;

type Room = RwLock<Slab<Peer>>;

/// The queue counts bytes, which bounds its memory better than a count of lines would.
struct Peer {
    queue: UnboundedSender<Lines>,
    queued: Arc<AtomicUsize>,
    task: AbortHandle,
}

struct Client {
    id: usize,
    room: Arc<Room>,
    stream: TcpStream,
    /// The start of a line whose end has not come.
    tail: Vec<u8>,
    queue: UnboundedReceiver<Lines>,
    queued: Arc<AtomicUsize>,
    /// Taken from the queue, and how much of the first piece is written.
    batch: Vec<Lines>,
    written: usize,
}

fn main() -> io::Result<()> {
    let mut runtime = Builder::new_current_thread();
    runtime.event_interval(EVENT_INTERVAL).enable_all().build()?.block_on(run(Options::read()))
}

async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::from_std(options.open_nonblocking()?)?;
    announce("line", listener.local_addr()?);
    let room = Arc::new(Room::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => join(&room, stream),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn join(room: &Arc<Room>, stream: TcpStream) {
    let (queue, receiver) = unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    // The lock is held over both, so the client is in the room before its task removes it.
    let mut peers = room.write().unwrap();
    let slot = peers.vacant_entry();
    let mut client = Client {
        id: slot.key(),
        room: room.clone(),
        stream,
        tail: Vec::new(),
        queue: receiver,
        queued: queued.clone(),
        batch: Vec::new(),
        written: 0,
    };
    let task = tokio::spawn(async move {
        let _ = poll_fn(|cx| client.poll(cx)).await;
        leave(&client.room, client.id, &client.queued);
    });
    slot.insert(Peer { queue, queued, task: task.abort_handle() });
}

/// Removes a client from the room, unless that has happened and another has its slot.
fn leave(room: &Room, id: usize, queued: &Arc<AtomicUsize>) {
    let mut peers = room.write().unwrap();
    if peers.get(id).is_some_and(|peer| Arc::ptr_eq(&peer.queued, queued)) {
        peers.remove(id).task.abort();
    }
}

impl Client {
    /// Reads and writes as far as the socket permits. Ready: the client is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(ended) = self.poll_read_lines(cx) {
            return Poll::Ready(ended);
        }
        self.poll_write_lines(cx)
    }

    /// Sends the whole lines of one read to all others.
    fn poll_read_lines(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let got = buffer.filled();
                let is_all = got.len() < READ;
                if got.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                match got.iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => {
                        let (lines, rest) = got.split_at(end + 1);
                        self.broadcast(lines);
                        self.tail = rest.to_vec();
                    }
                    None if self.tail.len() + got.len() < MAX_LINE => self.tail.extend_from_slice(got),
                    None => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                }
                // Other clients have their turn before the rest.
                if !is_all {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        })
    }

    /// Queues the lines for all others. A client whose queue is full is dropped.
    fn broadcast(&self, lines: &[u8]) {
        let lines: Lines = match self.tail.is_empty() {
            true => lines.into(),
            false => [&self.tail, lines].concat().into(),
        };
        let mut slow = Vec::new();
        for (id, peer) in self.room.read().unwrap().iter().filter(|(id, _)| *id != self.id) {
            let queued = peer.queued.fetch_add(lines.len(), Relaxed) + lines.len();
            if queued > MAX_QUEUED_BYTES || peer.queue.send(lines.clone()).is_err() {
                slow.push((id, peer.queued.clone()));
            }
        }
        for (id, queued) in slow {
            leave(&self.room, id, &queued);
        }
    }

    /// Writes queued lines, a batch at a time.
    fn poll_write_lines(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.batch.is_empty() {
                self.batch.reserve_exact(self.queue.len().min(BATCH));
                if ready!(self.queue.poll_recv_many(cx, &mut self.batch, BATCH)) == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            let mut slices = [IoSlice::new(&[]); BATCH];
            for (slice, lines) in slices.iter_mut().zip(&self.batch) {
                *slice = IoSlice::new(lines);
            }
            slices[0] = IoSlice::new(&self.batch[0][self.written..]);
            let stream = Pin::new(&mut self.stream);
            // One piece goes out by send(2), which is cheaper than writev(2).
            let written = match &slices[..self.batch.len()] {
                [piece] => stream.poll_write(cx, piece),
                pieces => stream.poll_write_vectored(cx, pieces),
            };
            let n = ready!(written)?;
            self.advance(n);
        }
    }

    /// Removes written bytes from the batch.
    fn advance(&mut self, n: usize) {
        self.queued.fetch_sub(n, Relaxed);
        self.written += n;
        let mut whole = 0;
        while whole < self.batch.len() && self.written >= self.batch[whole].len() {
            self.written -= self.batch[whole].len();
            whole += 1;
        }
        match whole == self.batch.len() {
            true => self.batch = Vec::new(),
            false => drop(self.batch.drain(..whole)),
        }
    }
}
