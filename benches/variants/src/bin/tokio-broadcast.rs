//! The chat on `tokio::sync::broadcast`: one ring of lines for all; whom the ring has lapped is dropped.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_variants::{MAX_LINE, MAX_QUEUED_LINES, Options, announce};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::{sleep, timeout};

/// How often a client that takes nothing is looked at.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Line {
    from: SocketAddr,
    bytes: Arc<[u8]>,
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
    let ring = Sender::new(MAX_QUEUED_LINES);
    loop {
        match door.accept().await {
            Ok((stream, address)) => {
                tokio::spawn(serve(stream, address, ring.clone(), ring.subscribe()));
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, ring: Sender<Line>, lines: Receiver<Line>) {
    let (reader, writer) = stream.into_split();
    // Whichever ends first, the client is gone.
    let _ = tokio::select! {
        ended = hear(reader, address, ring) => ended,
        ended = speak(writer, address, lines) => ended,
    };
}

/// Puts every line that the client sends on the ring.
async fn hear(reader: OwnedReadHalf, address: SocketAddr, ring: Sender<Line>) -> io::Result<()> {
    let mut reader = BufReader::new(reader).take(0);
    let mut line = Vec::new();
    loop {
        reader.set_limit(MAX_LINE as u64);
        reader.read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        // Nobody to hear it is no error.
        let _ = ring.send(Line { from: address, bytes: line[..].into() });
        line.clear();
    }
}

/// Writes every line on the ring that others sent.
async fn speak(writer: OwnedWriteHalf, address: SocketAddr, mut lines: Receiver<Line>) -> io::Result<()> {
    // The ring was closed, or has lapped this client.
    while let Ok(line) = lines.recv().await {
        if line.from != address {
            write_all(&writer, &line.bytes, &lines).await?;
        }
    }
    Ok(())
}

/// Writes all of it, unless the ring laps the client meanwhile.
async fn write_all(writer: &OwnedWriteHalf, mut bytes: &[u8], lines: &Receiver<Line>) -> io::Result<()> {
    while !bytes.is_empty() {
        match writer.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                while timeout(PATIENCE, writer.writable()).await.is_err() {
                    if lines.len() > MAX_QUEUED_LINES {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
