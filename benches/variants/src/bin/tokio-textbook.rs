//! The chat of the tokio tutorials: a task and an `mpsc` channel per client, and a map of all peers behind a mutex
//! (`peers.rs`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chinwag_variants::peers::Peers;
use chinwag_variants::{MAX_LINE, Options, announce};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::Receiver;

type Line = Arc<[u8]>;

fn main() -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(Options::read()))
}

async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::from_std(options.open_nonblocking()?)?;
    announce("line", listener.local_addr()?);
    Peers::default().admit_all(listener, serve).await;
    Ok(())
}

async fn serve(stream: TcpStream, address: SocketAddr, lines: Receiver<Line>, peers: Peers<Line>) {
    let (reader, writer) = stream.into_split();
    // The client is gone when either of the two ends.
    let _ = tokio::select! {
        ended = read_lines(reader, address, &peers) => ended,
        ended = write_lines(writer, lines) => ended,
    };
}

/// Sends each line of the client to all others.
async fn read_lines(reader: OwnedReadHalf, address: SocketAddr, peers: &Peers<Line>) -> io::Result<()> {
    let mut reader = BufReader::new(reader).take(0);
    let mut line = Vec::new();
    loop {
        reader.set_limit(MAX_LINE as u64);
        reader.read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        peers.broadcast(address, &Line::from(&line[..]));
        line.clear();
    }
}

/// Writes every line that is queued for the client.
async fn write_lines(mut writer: OwnedWriteHalf, mut lines: Receiver<Line>) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        writer.write_all(&line).await?;
    }
    Ok(())
}
