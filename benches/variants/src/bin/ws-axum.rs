//! axum's own example of a chat (examples/chat), without the names: tokio's broadcast channel, and two tasks for each client, to
//! read and to write. Added: a client does not get its own messages, and one that the ring laps during a write is dropped.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use axum::routing::any;
use chinwag_variants::{MAX_LINE, MAX_QUEUED_LINES, Options, announce};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::timeout;

/// Interval of checks while a socket is full.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Sent {
    by: usize,
    message: Message,
}

#[derive(Clone)]
struct Chat {
    ring: Sender<Sent>,
    clients: Arc<AtomicUsize>,
}

fn main() -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(Options::read()))
}

async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::from_std(options.open_nonblocking()?)?;
    announce("http", listener.local_addr()?);
    let chat = Chat { ring: Sender::new(MAX_QUEUED_LINES), clients: Arc::default() };
    axum::serve(listener, Router::new().route("/raw/{room}", any(upgrade)).with_state(chat)).await
}

async fn upgrade(socket: WebSocketUpgrade, State(chat): State<Chat>) -> impl IntoResponse {
    socket.max_message_size(MAX_LINE).on_upgrade(|socket| serve(socket, chat))
}

async fn serve(socket: WebSocket, chat: Chat) {
    let (writer, reader) = socket.split();
    let id = chat.clients.fetch_add(1, Relaxed);
    let sent = chat.ring.subscribe();
    let mut writing = tokio::spawn(write_messages(writer, id, sent));
    let mut reading = tokio::spawn(read_messages(reader, id, chat.ring));
    // The client is gone when either of the two ends.
    tokio::select! {
        _ = &mut writing => reading.abort(),
        _ = &mut reading => writing.abort(),
    }
}

/// Puts each message of the client into the ring.
async fn read_messages(mut reader: SplitStream<WebSocket>, id: usize, ring: Sender<Sent>) {
    while let Some(Ok(message)) = reader.next().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            // No receiver is no error.
            let _ = ring.send(Sent { by: id, message });
        }
    }
}

/// Writes the messages of the others.
async fn write_messages(mut writer: SplitSink<WebSocket, Message>, id: usize, mut ring: Receiver<Sent>) {
    // The ring was closed, or has lapped this client.
    while let Ok(sent) = ring.recv().await {
        if sent.by != id && !send(&mut writer, sent.message, &ring).await {
            return;
        }
    }
}

/// Whether it was sent before the ring lapped the client.
async fn send(writer: &mut SplitSink<WebSocket, Message>, message: Message, ring: &Receiver<Sent>) -> bool {
    let mut sending = pin!(writer.send(message));
    loop {
        match timeout(PATIENCE, &mut sending).await {
            Ok(sent) => return sent.is_ok(),
            Err(_) if ring.len() > MAX_QUEUED_LINES => return false,
            Err(_) => {}
        }
    }
}
