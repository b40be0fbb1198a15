//! The chat on tokio-tungstenite with what experience adds. The stream is not split, so nothing is locked. Queues are emptied by
//! `recv_many`, messages are only fed, and flushed once a batch. Buffers are small.

use std::io;
use std::net::SocketAddr;

use chinwag_variants::peers::Peers;
use chinwag_variants::{MAX_LINE, Options, announce};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Result};

/// Messages in one flush.
const BATCH: usize = 64;

/// Each client has one. The default is 128 KiB.
const READ_BUFFER: usize = 4 * 1024;

/// A batch of short messages fits. With this much a write does not wait for the flush.
const WRITE_BUFFER: usize = 16 * 1024;

/// Tasks that run before the kernel is asked for events again: about all that a message wakes. The 61 of tokio would ask 16 times
/// a message among a thousand clients.
const EVENT_INTERVAL: u32 = 1024;

fn main() -> io::Result<()> {
    let mut runtime = Builder::new_current_thread();
    runtime.event_interval(EVENT_INTERVAL).enable_all().build()?.block_on(run(Options::read()))
}

async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::from_std(options.open_nonblocking()?)?;
    announce("http", listener.local_addr()?);
    Peers::default().admit_all(listener, serve).await;
    Ok(())
}

async fn serve(stream: TcpStream, address: SocketAddr, messages: Receiver<Message>, peers: Peers<Message>) {
    // However it ends, the client is gone.
    let _ = converse(stream, address, messages, peers).await;
}

async fn converse(
    stream: TcpStream,
    address: SocketAddr,
    mut messages: Receiver<Message>,
    peers: Peers<Message>,
) -> Result<()> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_LINE));
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            received = socket.next() => match received.transpose()? {
                // All queues share the text, by a count of references.
                Some(message) if message.is_text() || message.is_binary() => {
                    peers.broadcast(address, &message);
                }
                Some(_) => {}
                None => return Ok(()),
            },
            count = messages.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return Ok(());
                }
                for message in batch.drain(..) {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
