//! The chat of the tokio tutorials, whatever a message is. Each client has a task and an `mpsc` channel, and a map of all
//! peers is behind a mutex.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::MAX_QUEUED_LINES;

pub struct Peers<M>(Arc<Mutex<HashMap<SocketAddr, Peer<M>>>>);

struct Peer<M> {
    queue: Sender<M>,
    task: AbortHandle,
}

impl<M> Clone for Peers<M> {
    fn clone(&self) -> Peers<M> {
        Peers(self.0.clone())
    }
}

impl<M> Default for Peers<M> {
    fn default() -> Peers<M> {
        Peers(Arc::default())
    }
}

impl<M: Clone + Send + 'static> Peers<M> {
    /// Accepts connections for ever. A client leaves when the future of `serve` ends.
    pub async fn admit_all<F>(
        self,
        listener: TcpListener,
        serve: impl Fn(TcpStream, SocketAddr, Receiver<M>, Peers<M>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (queue, messages) = channel(MAX_QUEUED_LINES);
            let (serving, peers) = (serve(stream, address, messages, self.clone()), self.clone());
            // The lock is held over both, so the client is among the peers before its task removes it.
            let mut all = self.0.lock().unwrap();
            let task = tokio::spawn(async move {
                serving.await;
                peers.0.lock().unwrap().remove(&address);
            });
            all.insert(address, Peer { queue, task: task.abort_handle() });
        }
    }

    /// Queues the message for all but its sender. A client whose queue is full is dropped.
    pub fn broadcast(&self, from: SocketAddr, message: &M) {
        self.0.lock().unwrap().retain(|address, peer| {
            let keeps_up = *address == from || peer.queue.try_send(message.clone()).is_ok();
            if !keeps_up {
                peer.task.abort();
            }
            keeps_up
        });
    }
}
