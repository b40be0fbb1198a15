//! The chat of the tokio tutorials: a task and an `mpsc` channel per client, and a map of all peers behind a mutex.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_LINES, Options, announce};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::sleep;

type Line = Arc<[u8]>;
type Peers = Arc<Mutex<HashMap<SocketAddr, Peer>>>;

struct Peer {
    queue: Sender<Line>,
    task: AbortHandle,
}

fn main() -> io::Result<()> {
    let options = Options::read_with_threads();
    let mut runtime = match options.threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.worker_threads(options.threads).enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> io::Result<()> {
    let door = TcpListener::from_std(options.open_nonblocking()?)?;
    announce(door.local_addr()?);
    let peers = Peers::default();
    loop {
        let Ok((stream, address)) = door.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (queue, lines) = channel(MAX_QUEUED_LINES);
        // The lock is held over both, so that the task finds itself among the peers.
        let mut all = peers.lock().unwrap();
        let task = tokio::spawn(serve(stream, address, lines, peers.clone())).abort_handle();
        all.insert(address, Peer { queue, task });
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, lines: Receiver<Line>, peers: Peers) {
    let (reader, writer) = stream.into_split();
    // Whichever ends first, the client is gone.
    let _ = tokio::select! {
        ended = hear(reader, address, &peers) => ended,
        ended = speak(writer, lines) => ended,
    };
    peers.lock().unwrap().remove(&address);
}

/// Hands every line that the client sends to all others.
async fn hear(reader: OwnedReadHalf, address: SocketAddr, peers: &Peers) -> io::Result<()> {
    let mut reader = BufReader::new(reader).take(0);
    let mut line = Vec::new();
    loop {
        reader.set_limit(MAX_LINE as u64);
        reader.read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        broadcast(&mut peers.lock().unwrap(), address, &Line::from(&line[..]));
        line.clear();
    }
}

/// Writes every line that is queued for the client.
async fn speak(mut writer: OwnedWriteHalf, mut lines: Receiver<Line>) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        writer.write_all(&line).await?;
    }
    Ok(())
}

/// Queues the line for all but its sender; whose queue is full is dropped.
fn broadcast(peers: &mut HashMap<SocketAddr, Peer>, from: SocketAddr, line: &Line) {
    peers.retain(|address, peer| {
        let keeps_up = *address == from || peer.queue.try_send(line.clone()).is_ok();
        if !keeps_up {
            peer.task.abort();
        }
        keeps_up
    });
}
