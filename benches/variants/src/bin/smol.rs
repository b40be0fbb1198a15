//! The chat on smol: one thread, a `LocalExecutor`, two tasks and an `async-channel` per client.

use std::cell::RefCell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_LINES, Options, announce};
use slab::Slab;
use smol::channel::{Receiver, Sender, unbounded};
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::{Async, LocalExecutor, Task, Timer, future};

/// Bytes after which a batch is written though there are more lines.
const BATCH: usize = 64 * 1024;

/// Lines after which a task yields to the others. smol has no budget of its own.
const TURN: usize = 64;

type Line = Rc<[u8]>;
type Room = Rc<RefCell<Slab<Peer>>>;

/// The channel is unbounded, and its length is checked before each send. A bounded channel allocates its whole capacity,
/// 100 KiB for each idle client.
struct Peer {
    queue: Sender<Line>,
    /// One reads and one writes: a task for both would try to read whenever it is woken to write. Dropping them ends them.
    _tasks: [Task<()>; 2],
}

fn main() -> io::Result<()> {
    let executor = Rc::new(LocalExecutor::new());
    // A task of its own: the future that `run` gets is polled in every turn, and would try to accept.
    let chat = executor.spawn(run(executor.clone(), Options::read()));
    smol::block_on(executor.run(chat))
}

async fn run(executor: Rc<LocalExecutor<'static>>, options: Options) -> io::Result<()> {
    let listener = Async::<TcpListener>::try_from(options.open()?)?;
    announce("line", listener.get_ref().local_addr()?);
    let room = Room::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            Timer::after(Duration::from_millis(10)).await;
            continue;
        };
        join(&executor, &room, Rc::new(stream));
    }
}

fn join(executor: &LocalExecutor<'static>, room: &Room, stream: Rc<Async<TcpStream>>) {
    let (queue, lines) = unbounded();
    let mut peers = room.borrow_mut();
    let slot = peers.vacant_entry();
    let id = slot.key();
    let (reader, room_of_reader) = (stream.clone(), room.clone());
    let read_lines = executor.spawn(async move {
        let _ = read_lines(&reader, id, &room_of_reader).await;
        room_of_reader.borrow_mut().remove(id);
    });
    let room = room.clone();
    let write_lines = executor.spawn(async move {
        let _ = write_lines(&stream, lines).await;
        room.borrow_mut().remove(id);
    });
    slot.insert(Peer { queue, _tasks: [read_lines, write_lines] });
}

/// Sends each line of the client to all others.
async fn read_lines(stream: &Async<TcpStream>, id: usize, room: &Room) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1024, stream).take(0);
    let mut line = Vec::new();
    for count in 1_usize.. {
        reader.set_limit(MAX_LINE as u64);
        reader.read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            break;
        }
        broadcast(&mut room.borrow_mut(), id, &Line::from(&line[..]));
        line.clear();
        if count.is_multiple_of(TURN) {
            future::yield_now().await;
        }
    }
    Ok(())
}

/// Writes what is queued for the client, a batch at a time.
async fn write_lines(mut stream: &Async<TcpStream>, lines: Receiver<Line>) -> io::Result<()> {
    while let Ok(first) = lines.recv().await {
        let Ok(second) = lines.try_recv() else {
            stream.write_all(&first).await?;
            continue;
        };
        let mut batch = [&first[..], &second[..]].concat();
        while batch.len() < BATCH
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
        }
        stream.write_all(&batch).await?;
    }
    Ok(())
}

/// Queues the line for all but its sender. A client whose queue is full is dropped.
fn broadcast(peers: &mut Slab<Peer>, from: usize, line: &Line) {
    peers.retain(|id, peer| {
        id == from || peer.queue.len() < MAX_QUEUED_LINES && peer.queue.try_send(line.clone()).is_ok()
    });
}
