//! The chat without a poll loop or a runtime: a thread per client that reads, and one that writes.

// Started by C's `main`, not by Rust's, which would give every thread a second stack for the handler of overflows: four
// mappings a thread, and 9,000 clients would pass the kernel's `vm.max_map_count` of 65,530.
#![no_main]

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, sleep};
use std::time::Duration;

use chinwag_variants::{MAX_LINE, Options, announce};
use slab::Slab;

/// Lines in a queue. The channel allocates for all of them at once, so fewer than elsewhere.
const QUEUE: usize = 1024;

/// Bytes after which a batch is written though there are more lines.
const BATCH: usize = 64 * 1024;

/// Room for the calls below, no more.
const STACK: usize = 64 * 1024;

type Line = Arc<[u8]>;
type Room = Arc<Mutex<Slab<Peer>>>;

struct Peer {
    queue: SyncSender<Line>,
    stream: Arc<TcpStream>,
}

// Safe: no other function has this name, and only C's start-up code calls it.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let Err(error) = run();
    eprintln!("{error}");
    1
}

fn run() -> io::Result<Infallible> {
    let door = Options::read().open()?;
    announce(door.local_addr()?);
    let room = Room::default();
    loop {
        let joined = door.accept().and_then(|(stream, _)| join(&room, stream.into()));
        if joined.is_err() {
            sleep(Duration::from_millis(10));
        }
    }
}

fn join(room: &Room, stream: Arc<TcpStream>) -> io::Result<()> {
    let (queue, lines) = sync_channel(QUEUE);
    let id = room.lock().unwrap().insert(Peer { queue, stream: stream.clone() });
    let writer = stream.clone();
    let speaker = Builder::new().stack_size(STACK).spawn(move || {
        let _ = speak(&writer, &lines);
        // Ends the reader too, which then leaves the room.
        let _ = writer.shutdown(Shutdown::Both);
    });
    let leaver = room.clone();
    let hearer = speaker.and_then(|_| {
        Builder::new().stack_size(STACK).spawn(move || {
            let _ = hear(&stream, id, &leaver);
            let _ = stream.shutdown(Shutdown::Both);
            leaver.lock().unwrap().remove(id);
        })
    });
    if hearer.is_err() {
        room.lock().unwrap().remove(id);
    }
    hearer.map(drop)
}

/// Hands every line that the client sends to all others.
fn hear(stream: &TcpStream, id: usize, room: &Room) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1024, stream).take(0);
    let mut line = Vec::new();
    loop {
        reader.set_limit(MAX_LINE as u64);
        reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        broadcast(&room.lock().unwrap(), id, &Line::from(&line[..]));
        line.clear();
    }
}

/// Writes what is queued for the client, a batch at a time. Ends when the client has left the room.
fn speak(mut stream: &TcpStream, lines: &Receiver<Line>) -> io::Result<()> {
    while let Ok(first) = lines.recv() {
        let Ok(second) = lines.try_recv() else {
            stream.write_all(&first)?;
            continue;
        };
        let mut batch = [&first[..], &second[..]].concat();
        while batch.len() < BATCH
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
        }
        stream.write_all(&batch)?;
    }
    Ok(())
}

/// Queues the line for all but its sender; whose queue is full is dropped: both its threads find their socket shut.
fn broadcast(peers: &Slab<Peer>, from: usize, line: &Line) {
    for (_, peer) in peers.iter().filter(|(id, _)| *id != from) {
        if peer.queue.try_send(line.clone()).is_err() {
            let _ = peer.stream.shutdown(Shutdown::Both);
        }
    }
}
