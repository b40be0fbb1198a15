//! The servers that are compared, and their settings.

use crate::speech::Protocol;

/// The way to start a server; see `server.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    Chinwag,
    /// A binary of `benches/variants/` and its arguments.
    Variant(&'static str, &'static [&'static str]),
    Redis,
    Nats,
}

#[derive(Clone, Debug)]
pub struct Contender {
    pub name: &'static str,
    pub launch: Launch,
    pub protocol: Protocol,
    /// For the report: what it is, and its settings.
    pub about: &'static str,
}

pub fn all() -> Vec<Contender> {
    let chinwag = |name, protocol, about| Contender { name, launch: Launch::Chinwag, protocol, about };
    let variant = |name, binary, args, protocol, about| {
        let launch = Launch::Variant(binary, args);
        Contender { name, launch, protocol, about }
    };
    let lines = |name, args, about| variant(name, name, args, Protocol::Plain, about);
    let messages = |name, binary, about| variant(name, binary, &[], Protocol::RawWebSocket, about);
    vec![
        chinwag(
            "chinwag",
            Protocol::Chinwag,
            "this server. --rate off (no flood limit), --history 0, --max-clients 12000, --log warn. Its clients have \
             names, and 8 bytes of each line are the sender's",
        ),
        lines("bare", &[], "a limit: reads a line, writes it to every socket; no chat in it"),
        variant(
            "bare-batched",
            "bare",
            &["--batched"],
            Protocol::Plain,
            "a limit: the bare loop, one write per socket and tick",
        ),
        lines("tokio-textbook", &[], "a task and an mpsc channel per client, one write a line; one thread"),
        lines("tokio-tuned", &[], "one task per client, one write a batch, small buffers; one thread"),
        lines("smol", &[], "a task and a channel per client, one write a batch; one thread"),
        lines(
            "uring",
            &[],
            "tokio-uring, one thread, one write per 64 lines; a write is not always a system call",
        ),
        Contender {
            name: "redis",
            launch: Launch::Redis,
            protocol: Protocol::Redis,
            about: "pub/sub, RESP2: talkers have connections of their own, so one more delivery a line. No snapshots, \
                    no append-only file; client-output-buffer-limit pubsub 256kb 64kb 10 (chinwag's own), maxclients \
                    12000",
        },
        Contender {
            name: "nats",
            launch: Launch::Nats,
            protocol: Protocol::Nats,
            about: "echo off. max_pending 256KB (chinwag's own) and so max_payload 64KB, max_connections 12000, \
                    ping_interval 1h",
        },
        chinwag(
            "chinwag-raw",
            Protocol::RawWebSocket,
            "the same server by /raw/lobby: a message is relayed as it is",
        ),
        chinwag(
            "chinwag-ws",
            Protocol::JsonWebSocket,
            "the same server by /ws: objects with the room, the sender, a number and the time",
        ),
        messages(
            "tungstenite-tuned",
            "ws-tuned",
            "tokio-tungstenite: one flush a batch, the stream not split, small buffers; one thread",
        ),
        messages(
            "axum",
            "ws-axum",
            "axum's example of a chat without its names: tokio's broadcast channel; one thread",
        ),
    ]
}
