//! The textbook chat on tokio-tungstenite: the stream is split, and each queued message is sent by itself.

use std::io;
use std::net::SocketAddr;

use chinwag_variants::peers::Peers;
use chinwag_variants::{MAX_LINE, Options, announce_http};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Result};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

type Socket = WebSocketStream<TcpStream>;

fn main() -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(Options::read()))
}

async fn run(options: Options) -> io::Result<()> {
    let door = TcpListener::from_std(options.open_nonblocking()?)?;
    announce_http(door.local_addr()?);
    Peers::default().admit_all(door, serve).await;
    Ok(())
}

async fn serve(stream: TcpStream, address: SocketAddr, messages: Receiver<Message>, peers: Peers<Message>) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_LINE));
    let Ok(socket) = accept_async_with_config(stream, Some(config)).await else {
        return;
    };
    let (writer, reader) = socket.split();
    // Whichever ends first, the client is gone.
    let _ = tokio::select! {
        ended = hear(reader, address, &peers) => ended,
        ended = speak(writer, messages) => ended,
    };
}

/// Hands every message that the client sends to all others.
async fn hear(mut reader: SplitStream<Socket>, address: SocketAddr, peers: &Peers<Message>) -> Result<()> {
    while let Some(message) = reader.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            peers.tell_others(address, &message);
        }
    }
    Ok(())
}

/// Sends every message that is queued for the client.
async fn speak(mut writer: SplitSink<Socket, Message>, mut messages: Receiver<Message>) -> Result<()> {
    while let Some(message) = messages.recv().await {
        writer.send(message).await?;
    }
    Ok(())
}
